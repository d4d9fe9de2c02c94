"""Kubernetes quantities as numbers: ``500m`` is 0.5 and ``1Ki`` is 1024."""

import re
from decimal import ROUND_UP, Context, Decimal

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
