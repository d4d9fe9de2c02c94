"""Which models the observer of a namespace watches, and which revisions it compares."""

import hashlib
import json
from collections.abc import Iterable

from pydantic import Field

from tidegate.api.types import ApiModel


class WatchedOutput(ApiModel):
    """An output of the contract; ``shape`` has the batch dimension. ``labelled``: it has one score for each label."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    labelled: bool = False


class Watched(ApiModel):
    """One model: the revisions whose answers are compared, and how much that may cost."""

    model: str
    revisions: tuple[str, ...]
    outputs: tuple[WatchedOutput, ...]
    max_batch_size: int = 0
    max_replays_per_second: float = 10.0


class Watching(ApiModel):
    """Everything that the observer of one namespace watches, by model."""

    models: dict[str, Watched] = Field(default_factory=dict)

    def with_model(self, model: str, watched: Watched | None, present: Iterable[str]) -> "Watching":
        """With this model watched so, or not at all, and without those that no longer exist."""
        kept = {name: w for name, w in self.models.items() if name in set(present) and name != model}
        return Watching(models=dict(sorted((kept | ({model: watched} if watched else {})).items())))


def watching_version(watching: Watching) -> str:
    """What the observer reports back once it has read this."""
    text = json.dumps(watching.to_wire(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
