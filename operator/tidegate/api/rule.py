"""What a rule is: one relation, checked by the API server and by Python alike."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tidegate.api.types import DURATION_PATTERN, parse_duration


@dataclass(frozen=True)
class Rule:
    """One rule: where it applies, how the API server and how Python check it, and what a user reads."""

    path: str
    cel: str
    holds: Callable[[Any], bool]
    message: str
    field: str = ""
    """The field to name in the error, below ``path``, where the rule has to look at more than that field."""

    def validation(self) -> dict[str, str]:
        """The rule as an entry of ``x-kubernetes-validations``."""
        place = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.cel, "message": self.message} | place


def between(path: str, low: str, high: str, what: str) -> Rule:
    """A duration from ``low`` to ``high``. Text that is no duration is left to the type's own message."""
    inside = f"duration(self) >= duration('{low}') && duration(self) <= duration('{high}')"
    return Rule(
        path,
        f"!self.matches(r'{DURATION_PATTERN}') || ({inside})",
        lambda text: parse_duration(low) <= parse_duration(text) <= parse_duration(high),
        f"{what} must be between {low} and {high}",
    )
