"""Whether an object already is what it should be: then it costs no request."""

import re
from collections.abc import Mapping, Sequence
from decimal import ROUND_UP, Context, Decimal
from typing import Any

_SUFFIXES = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_QUANTITY = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3}|[numkMGTPE]|[KMGTPE]i)?")
_EXACT = Context(prec=2000)
_LARGEST = Decimal(2**63 - 1)
MAX_LENGTH = 64
"""Longer text is no quantity that anybody writes."""


def quantity(text: str) -> Decimal | None:
    """The number that a Kubernetes quantity stands for; None for other text.

    Like the API server, it rounds up to a billionth and keeps within 63 bits.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2] or ""
    if suffix in _BINARY:
        number = _EXACT.multiply(number, Decimal(1024 ** _BINARY[suffix]))
    else:
        exponent = _SUFFIXES[suffix] if suffix in _SUFFIXES else int(suffix[1:])
        number = _EXACT.scaleb(number, exponent)
    return min(number.quantize(Decimal("1e-9"), ROUND_UP, _EXACT), _LARGEST)


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
