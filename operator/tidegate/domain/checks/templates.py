"""Variables in the text of a PromQL query: ``{{namespace}}``, ``{{model}}``, ``{{stable}}`` and ``{{canary}}``.

A variable stands inside a quoted string, where its value is written with that string's own escapes, so that no value
can end the string. Everywhere else, and for a name that is not known, the query is refused with a sentence.
"""

import re
from collections.abc import Iterator, Mapping

NAMES = ("namespace", "model", "stable", "canary")
"""``stable`` and ``canary`` are names of revisions."""
_VARIABLE = re.compile(r"\{\{\s*([^{}\s]*)\s*\}\}")
_QUOTES = ('"', "'", "`")
_RAW = "`"


def expand(query: str, values: Mapping[str, str]) -> str:
    """The query with every variable replaced by its value. Raises ValueError with a sentence that names the variable.

    E.g. ``sum(x{model="{{model}}"})`` with digits becomes ``sum(x{model="digits"})``.
    """
    return "".join(_pieces(query, values))


def fault(query: str) -> str | None:
    """Why the variables of a query cannot be used, in one sentence; None where they can, whatever their values."""
    try:
        expand(query, dict.fromkeys(NAMES, ""))
    except ValueError as error:
        return str(error)
    return None


def _pieces(query: str, values: Mapping[str, str]) -> Iterator[str]:
    """The text piece by piece. ``quote`` is the mark that ends the string around a piece; empty outside of strings."""
    quote, at = "", 0
    while at < len(query):
        variable = _VARIABLE.match(query, at)
        if variable:
            yield _value(variable[1], values, quote)
            at = variable.end()
            continue
        mark, length = query[at], 1
        if mark == "#" and not quote:
            end = query.find("\n", at)
            length = len(query) - at if end < 0 else end - at
        elif mark == "\\" and quote not in ("", _RAW):
            length = 2
        elif mark in _QUOTES and quote in ("", mark):
            quote = "" if quote else mark
        yield query[at : at + length]
        at += length


def _value(name: str, values: Mapping[str, str], quote: str) -> str:
    if name not in values:
        known = ", ".join(f"{{{{{n}}}}}" for n in NAMES)
        why = "has no value here" if name in NAMES else f"is not known: write one of {known}"
        raise ValueError(f"{{{{{name}}}}} {why}")
    if not quote:
        raise ValueError(f'{{{{{name}}}}} is not inside quotes: write it as in model="{{{{{name}}}}}"')
    if quote == _RAW:
        if _RAW in values[name]:
            raise ValueError(f"the value of {{{{{name}}}}} holds a backtick: write it inside double quotes")
        return values[name]
    return "".join(_escaped(letter, quote) for letter in values[name])


def _escaped(letter: str, quote: str) -> str:
    """One character within a string. The other kind of quote may not be escaped: PromQL refuses that."""
    if letter in ("\\", quote):
        return f"\\{letter}"
    return letter if letter >= " " else f"\\x{ord(letter):02x}"
