"""What the commands that only look do, and ``pause`` and ``resume``; each returns its exit code."""

from datetime import UTC, datetime, timedelta

from tidegate.people import screen
from tidegate.people.cluster import Cluster
from tidegate.people.explain import explain as sentences_of
from tidegate.people.gitops import owner_of_spec, warning
from tidegate.people.model import Event, Model
from tidegate.people.problem import EXIT_INTERRUPTED, EXIT_READY, NotAllowed
from tidegate.people.report import report_of
from tidegate.people.rows import model_row, revision_rows
from tidegate.people.state import state_of
from tidegate.people.text import columns, model_table, revision_table
from tidegate.people.watching import watch


def get(cluster: Cluster, namespace: str | None, name: str, *, as_json: bool) -> int:
    """Show ModelDeployments as a table; ``namespace`` None means all of them."""
    if name and namespace:
        models = [cluster.get(namespace, name)]
    else:
        models = [model for model in cluster.find_all(namespace) if name in ("", model.name)]
    rows = [model_row(model) for model in models]
    if as_json:
        screen.show_json(rows)
    elif rows:
        screen.show_lines(columns(model_table(rows, datetime.now(UTC), namespaces=namespace is None)))
    else:
        screen.say(f"No ModelDeployment found{f' in namespace {namespace}' if namespace else ''}.")
    return EXIT_READY


def status(cluster: Cluster, namespace: str, name: str, *, as_json: bool) -> int:
    """Show where it is, once."""
    model, now = cluster.get(namespace, name), datetime.now(UTC)
    if as_json:
        screen.show_json(report_of(model, now))
    else:
        screen.show_status(model, now)
    return state_of(model).value


def follow(cluster: Cluster, namespace: str, name: str, timeout: timedelta, *, as_json: bool) -> int:
    """Show where it is until it is Ready, will not be, or time is up."""
    try:
        with screen.following(as_json=as_json) as show:
            return watch(cluster, namespace, name, timeout, show, screen.say)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def set_paused(cluster: Cluster, namespace: str, name: str, *, paused: bool) -> int:
    """Edit ``spec.paused``, and say who may undo it."""
    model = cluster.get(namespace, name)
    word = "paused" if paused else "not paused"
    if model.paused is paused:
        print(f"{name}: spec is {word} already.")
        return EXIT_READY
    cluster.patch(model, {"spec": {"paused": paused}})
    print(f"{name}: spec is {word} now. {_effect(model, paused)}")
    if owner := owner_of_spec(model.managed_fields, "paused"):
        screen.say(f"warning: {warning(owner, 'paused')}")
    return EXIT_READY


def _effect(model: Model, paused: bool) -> str:
    rollout = model.status.rollout
    moving = rollout is not None and not rollout.aborted and model.status.stable is not None
    if rollout is None or not moving:
        return "No rollout is under way; the next one will not move." if paused else "No rollout was held."
    if paused:
        return f"The rollout of {rollout.revision} stays at {rollout.weight} %; the checks go on."
    return f"The rollout of {rollout.revision} goes on from {rollout.weight} %."


def history(cluster: Cluster, namespace: str, name: str, *, as_json: bool) -> int:
    """Show the revisions."""
    rows = revision_rows(cluster.get(namespace, name))
    if as_json:
        screen.show_json(rows)
    elif rows:
        screen.show_lines(columns(revision_table(rows, datetime.now(UTC))))
    else:
        screen.say(f"{name} has had no revision yet.")
    return EXIT_READY


def explain(cluster: Cluster, namespace: str, name: str, *, as_json: bool) -> int:
    """Say why it is where it is."""
    model = cluster.get(namespace, name)
    said = sentences_of(model, _events(cluster, model), datetime.now(UTC))
    if as_json:
        screen.show_json({"name": name, "namespace": namespace, "sentences": said})
    else:
        screen.show_lines(iter(said))
    return EXIT_READY


def _events(cluster: Cluster, model: Model) -> list[Event]:
    """The events, as far as this person may read them."""
    try:
        return cluster.events(model)
    except NotAllowed as error:
        screen.say(f"warning: {error} What happened lately is left out.")
        return []
