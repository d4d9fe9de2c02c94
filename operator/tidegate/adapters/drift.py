"""Whether an object already is what it should be: then it costs no request."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidegate.domain.quantities import quantity

ATOMIC = frozenset({"selector"})
"""Fields that are written whole: with a label of somebody else they would choose other objects."""


def holds(wanted: Any, found: Any) -> bool:
    """True when everything in ``wanted`` is in ``found``, defaults and other people's fields aside.

    E.g. ``{"cpu": "1000m"}`` is held by ``{"cpu": "1", "memory": "1Gi"}``: the API server writes quantities its way.
    """
    if isinstance(wanted, Mapping):
        if found is None and not wanted:
            return True
        return isinstance(found, Mapping) and all(
            value == found.get(key) if key in ATOMIC else holds(value, found.get(key))
            for key, value in wanted.items()
            if key != "resourceVersion"
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        if found is None and not wanted:
            return True
        if not isinstance(found, Sequence) or isinstance(found, str):
            return False
        return len(wanted) == len(found) and all(holds(w, f) for w, f in zip(wanted, found, strict=True))
    if wanted == found:
        return True
    if isinstance(wanted, str) and isinstance(found, str):
        number = quantity(wanted)
        return number is not None and number == quantity(found)
    return False
