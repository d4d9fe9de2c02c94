"""Scalar types and the base class of every API object.

One base class fixes the conventions of the whole API: camelCase on the wire, snake_case in Python, frozen values,
and unknown fields refused (a field that does nothing is worse than an error).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, core_schema

DURATION_PATTERN = r"^([0-9]{1,6}h([0-9]{1,6}m)?([0-9]{1,6}s)?|[0-9]{1,6}m([0-9]{1,6}s)?|[0-9]{1,6}s)$"
DURATION_MESSAGE = "write hours, minutes and seconds, such as 90s, 2m or 1h30m"
QUANTITY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,9})?([eE][0-9]{1,2}|m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi)?$"
QUANTITY_MESSAGE = "write an amount as Kubernetes does, such as 500m, 2, 1.5Gi or 4G"
_UNITS = {"h": 3600, "m": 60, "s": 1}


class ApiModel(BaseModel):
    """Base of every object in the API."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, frozen=True, extra="forbid")

    def to_wire(self) -> dict[str, Any]:
        """The object as Kubernetes stores it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cel_matches(pattern: str, message: str, value: str = "self") -> dict[str, str]:
    """A CEL validation that ``value`` matches ``pattern``; ``message`` tells the user what to write instead."""
    return {"rule": f"{value}.matches(r'{pattern}')", "message": message}


@dataclass(frozen=True)
class Format:
    """Annotation of a string: its pattern, and the sentence a user reads when the text does not match.

    The sentence is the same in the error of these classes and in the API server's. That is why the schema gets a CEL
    validation and no ``pattern``: for a pattern the API server quotes only the expression. ``pattern`` must be
    anchored and valid for both Python and RE2.
    """

    pattern: str
    message: str
    max_length: int

    def check(self, text: str) -> str:
        """Return ``text``, or raise ValueError with the sentence."""
        if len(text) > self.max_length:
            raise ValueError(f"may not be longer than {self.max_length} characters")
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{text!r} is refused: {self.message}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], CoreSchema]) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {
            "maxLength": self.max_length,
            "x-kubernetes-validations": [cel_matches(self.pattern, self.message)],
        }


def parse_duration(value: object) -> timedelta:
    """Read a duration such as ``90s``, ``2m`` or ``1h30m``. Raises ValueError with a sentence for anything else."""
    if isinstance(value, timedelta):
        return value
    text = str(value)
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError(f"{text!r} is not a duration: {DURATION_MESSAGE}")
    return timedelta(seconds=sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+)([hms])", text)))


def format_duration(value: timedelta) -> str:
    """Write a duration in the shortest form that :func:`parse_duration` reads back."""
    rest = int(value.total_seconds())
    parts = []
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def quantity_text(value: object) -> object:
    """YAML writes whole amounts as numbers (``nvidia.com/gpu: 1``): keep them as text, like Kubernetes does."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 24,
            "x-kubernetes-validations": [cel_matches(DURATION_PATTERN, DURATION_MESSAGE)],
        }
    ),
]

Quantity = Annotated[
    str,
    Format(QUANTITY_PATTERN, QUANTITY_MESSAGE, max_length=32),
    BeforeValidator(quantity_text),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "maxLength": 32,
            "x-kubernetes-validations": [cel_matches(QUANTITY_PATTERN, QUANTITY_MESSAGE, "string(self)")],
        }
    ),
]
