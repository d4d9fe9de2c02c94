"""Requests by people that are not desired state: annotations that are carried out once.

A request is new as long as status does not say that exactly this text was handled. A status that was lost must not
repeat what was asked long ago, so whatever is there at the first look counts as handled.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tidegate.api.status import ModelDeploymentStatus
from tidegate.domain.labels import PREFIX

PROMOTE, ABORT, RETRY, ROLLBACK_TO = "promote", "abort", "retry", "rollback-to"
VERBS = (ABORT, ROLLBACK_TO, RETRY, PROMOTE)
"""In the order in which they count where several are new: what is safer goes first."""
FULL = "full"


@dataclass(frozen=True)
class Request:
    """What somebody asked for. ``argument`` is the text before ``@``: ``full``, or the name of a revision."""

    verb: str
    text: str

    @property
    def argument(self) -> str:
        return self.text.partition("@")[0].strip()


def requests(annotations: Mapping[str, str]) -> dict[str, str]:
    """The requests among an object's annotations, by verb."""
    found = {verb: annotations.get(f"{PREFIX}/{verb}") for verb in VERBS}
    return {verb: text[:1024] for verb, text in found.items() if text}


def new_request(asked: Mapping[str, str], status: ModelDeploymentStatus) -> Request | None:
    """The request to carry out now; of several the safest, and the others are not carried out."""
    if status.observed_generation is None:
        return None
    handled = status.handled or {}
    fresh = [Request(verb, asked[verb]) for verb in VERBS if verb in asked and handled.get(verb) != asked[verb]]
    return fresh[0] if fresh else None
