"""Whether an object already is what it should be: then it costs no request."""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_SUFFIXES = {"": 0, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5}
_QUANTITY = re.compile(r"^([0-9.]+)(e[0-9]+|E[0-9]+|[mkMGTP]|[KMGTP]i)?$")


def quantity(text: str) -> Decimal | None:
    """The number that a Kubernetes quantity stands for; None for other text."""
    match = _QUANTITY.match(text)
    if match is None or match[1].count(".") > 1 or match[1] == ".":
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        return number * Decimal(1024) ** _BINARY[suffix]
    if suffix[:1] in ("e", "E"):
        return number.scaleb(int(suffix[1:]))
    return number.scaleb(_SUFFIXES[suffix])


def holds(wanted: Any, found: Any) -> bool:
    """True when everything in ``wanted`` is in ``found``, defaults and other people's fields aside.

    E.g. ``{"cpu": "1000m"}`` is held by ``{"cpu": "1", "memory": "1Gi"}``: the API server writes quantities its way.
    """
    if isinstance(wanted, Mapping):
        if found is None and not wanted:
            return True
        return isinstance(found, Mapping) and all(
            holds(value, found.get(key)) for key, value in wanted.items() if key != "resourceVersion"
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
