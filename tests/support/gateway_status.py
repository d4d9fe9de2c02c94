"""What implementations of the Gateway API write into the status of a route."""

from datetime import datetime
from typing import Any

from domain_objects import wire_time

Raw = dict[str, Any]


def parent_status(route: Raw, now: datetime, **refused: tuple[str, str]) -> Raw:
    """What an implementation writes of a route; ``refused`` gives reason and message by type of condition."""
    conditions = []
    for kind, good in (("Accepted", "Accepted"), ("ResolvedRefs", "ResolvedRefs")):
        reason, message = refused.get(kind, (good, ""))
        conditions.append(
            {
                "type": kind,
                "status": "False" if kind in refused else "True",
                "observedGeneration": route["metadata"]["generation"],
                "reason": reason,
                "message": message,
                "lastTransitionTime": wire_time(now),
            }
        )
    if "PartiallyInvalid" in refused:
        reason, message = refused["PartiallyInvalid"]
        said = {"type": "PartiallyInvalid", "status": "True", "reason": reason, "message": message}
        conditions.append(conditions[0] | said)
    parents = route["spec"].get("parentRefs", ())
    told = {"controllerName": "example.com/tests", "conditions": conditions}
    return {"parents": [{"parentRef": reference} | told for reference in parents]}
