"""Steps of a rollout as they are written, told in words with the time that they take.

They are read in wire form: a kind of step that this module knows nothing of is shown with its fields.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from tidegate.api.types import format_duration, parse_duration
from tidegate.api.v1alpha1 import ModelDeploymentSpec

Step = Mapping[str, Any]
TIMES = ("hold", "duration")


def steps_of(spec: ModelDeploymentSpec) -> list[dict[str, Any]]:
    """The steps that run, in wire form: those of spec, or the defaults where it leaves them out."""
    return [step.to_wire() for step in spec.rollout.effective_steps]


def told(step: Step) -> str:
    """One step in words."""
    if "weight" in step:
        rest = {name: value for name, value in step.items() if name not in ("weight", "hold")}
        text = f"{step['weight']} % of requests, held for {step.get('hold', '0s')}"
        return f"{text}, {fields(rest)}" if rest else text
    return ", ".join(f"{kind}: {fields(value)}" if value else kind for kind, value in step.items())


def fields(value: Any) -> str:
    """A part of the spec in wire form as words: names and values in their order."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {fields(item)}" for name, item in value.items())
    return str(value)


def _times(step: Any) -> list[timedelta]:
    if not isinstance(step, Mapping):
        return []
    own = [parse_duration(value) for name, value in step.items() if name in TIMES and isinstance(value, str)]
    return [*own, *(time for value in step.values() for time in _times(value))]


def waits_for_people(steps: Sequence[Step]) -> bool:
    """True when a step waits until somebody says so."""
    return any("pause" in step and not _times(step) for step in steps)


def shortest(steps: Sequence[Step]) -> timedelta:
    """The sum of all holds: no rollout through these steps is quicker, once its pods are ready."""
    return sum((time for step in steps for time in _times(step)), timedelta(0))


def longest(steps: Sequence[Step], deadline: timedelta) -> timedelta:
    """When it is over, or reported as standing still, at the latest: the deadline counts anew for each move."""
    return shortest(steps) + deadline * (len(steps) + 1)


def in_words(steps: Sequence[Step], deadline: str | None) -> str:
    """How long a rollout takes, in one sentence."""
    least = f"{format_duration(shortest(steps))} after" if steps else "as soon as"
    text = f"At the earliest it is through {least} its pods are ready"
    if waits_for_people(steps):
        text += ", and somebody has to let it go on"
    if deadline is None:
        return f"{text}; how long it may stand still follows from the start-up times that were measured."
    if waits_for_people(steps):
        return f"{text}; each of its other moves may take {deadline} before it is said to stand still."
    latest = format_duration(longest(steps, parse_duration(deadline)))
    return f"{text}; each of its moves may take {deadline}, so after {latest} it is through or said to stand still."
