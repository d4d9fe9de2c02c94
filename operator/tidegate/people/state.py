"""How it stands with a ModelDeployment, in one word that a script can act on."""

from enum import Enum

from tidegate.api.status import Phase
from tidegate.people.model import Model
from tidegate.people.problem import EXIT_FAILED, EXIT_READY, EXIT_UNDER_WAY


class State(Enum):
    """The word, and the exit code of ``status``."""

    READY = EXIT_READY
    FAILED = EXIT_FAILED
    UNDER_WAY = EXIT_UNDER_WAY


def state_of(model: Model) -> State:
    """How it stands now. A status about an older spec says nothing about the one that is there."""
    if not model.seen:
        return State.UNDER_WAY
    if model.holds("Ready"):
        return State.READY
    if stuck(model) or model.status.phase in (Phase.FAILED, Phase.ABORTED):
        return State.FAILED
    return State.UNDER_WAY


def stuck(model: Model) -> bool:
    """True when waiting does not help: given up, Stalled, or suspended.

    A failure that goes on by itself once its cause is gone, such as a store that is down, is none of them.
    """
    return model.seen and (model.holds("Stalled") or model.suspend)
