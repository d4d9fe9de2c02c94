"""Times, lengths and names in the form that people read."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

PREFIXES = frozenset(
    {
        "md",
        "modeldeployment",
        "modeldeployments",
        "modeldeployment.tidegate.dev",
        "modeldeployments.tidegate.dev",
    }
)
_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def span(length: timedelta) -> str:
    """A length in its two largest units, such as ``3d2h``, ``5m10s`` or ``42s``; what is negative counts as 0."""
    rest = max(int(length.total_seconds()), 0)
    counts = []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        counts.append((count, unit))
    first = next((i for i, (count, _) in enumerate(counts) if count), len(counts) - 1)
    return "".join(f"{count}{unit}" for count, unit in counts[first : first + 2] if count) or "0s"


def moment(when: datetime, now: datetime) -> str:
    """A time of day, with the date where it is not today's."""
    told = when.astimezone(UTC)
    return f"{told:%H:%M:%S} UTC" if told.date() == now.astimezone(UTC).date() else f"{told:%Y-%m-%d %H:%M:%S} UTC"


def since(when: datetime, now: datetime) -> str:
    """A time and how long ago that was."""
    return f"{moment(when, now)} ({span(now - when)} ago)"


def short(digest: str) -> str:
    """Enough of a digest to tell it from others."""
    kind, _, rest = digest.partition(":")
    return f"{kind}:{rest[:12]}" if rest else digest


def sentence(text: str) -> str:
    """A text that ends like a sentence."""
    stripped = text.strip()
    return stripped if not stripped or stripped[-1] in ".!?" else f"{stripped}."


def clean(value: Any) -> Any:
    """A value from the cluster without what would steer a terminal: a model's log can end up in a message."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [clean(item) for item in value]
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "?", value) if isinstance(value, str) else value


def bare(name: str) -> str:
    """``md/digits`` as ``digits``. Raises ValueError with a sentence for another kind."""
    kind, slash, rest = name.rpartition("/")
    if slash and kind.lower() not in PREFIXES:
        raise ValueError(f"{name!r} is no ModelDeployment: write NAME or md/NAME")
    if not rest:
        raise ValueError(f"{name!r} names nothing: write NAME or md/NAME")
    return rest


def count(number: int, what: str) -> str:
    """A number with its noun: ``1 pod``, ``2 pods``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
