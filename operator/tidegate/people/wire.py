"""Facts as JSON: the names of Kubernetes, times in UTC, and nothing where there is nothing."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from pydantic.alias_generators import to_camel


def wire(value: Any) -> Any:
    """A value as JSON has it. A list stays where it is empty; a field without a value is left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {to_camel(field.name): getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: wire(item) for name, item in fields.items() if item is not None}
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [wire(item) for item in value] if isinstance(value, tuple | list) else value
