"""What the observer of the namespace should watch, and whether its pods were told."""

from datetime import datetime, timedelta

from pydantic import ValidationError

from tidegate.domain.choice import Choice
from tidegate.domain.labels import CONFIG
from tidegate.domain.observed import Observed, Raw
from tidegate.domain.plan import Poke
from tidegate.domain.rollout.steps import Steps, sample_percent_at
from tidegate.domain.watching import Watched, WatchedOutput, Watching, watching_version

POKE_AGAIN = timedelta(seconds=5)


def sample_percent(choice: Choice, steps: Steps) -> int:
    """Share of live requests that is handed to the observer now, in percent."""
    rollout = choice.rollout
    if rollout is None or rollout.aborted or choice.canary is None or rollout.step_started_at is None:
        return 0
    return sample_percent_at(steps, rollout.step)


def watching(observed: Observed, choice: Choice, percent: int) -> Watching:
    """Everything that the namespace's observer should watch.

    A model whose contract is not known, or too long for status, cannot be compared: it is not watched.
    """
    watched = None
    contract = choice.canary.revision if choice.canary else None
    if percent and choice.stable and choice.canary and contract and contract.outputs:
        try:
            watched = Watched(
                model=observed.subject.name,
                revisions=(choice.stable.name, choice.canary.name),
                outputs=tuple(_output(entry) for entry in contract.outputs),
                max_batch_size=contract.max_batch_size or 0,
            )
        except (ValidationError, KeyError):
            watched = None
    present = [owner.name for owner in observed.owners]
    return observed.watching().with_model(observed.subject.name, watched, present)


def _output(entry: Raw) -> WatchedOutput:
    return WatchedOutput(
        name=entry["name"],
        datatype=entry["datatype"],
        shape=tuple(entry["shape"]),
        labelled=bool(entry.get("labelled")),
    )


def observer_pokes(observed: Observed, wanted: Watching, now: datetime) -> tuple[Poke, ...]:
    """Observer pods to be told of what to watch; their kubelet would let them wait for over a minute."""
    version, due = watching_version(wanted), []
    for pod in observed.observers():
        told, _, at = pod.annotations.get(CONFIG, "").partition("@")
        waited = now.timestamp() - (int(at) if at.isdecimal() else 0)
        late = observed.watched_by(pod.name) not in (None, version) and waited >= POKE_AGAIN.total_seconds()
        if told != version or late:
            due.append(Poke(pod=pod.name, mark=f"{version}@{now.timestamp():.0f}"))
    return tuple(due)
