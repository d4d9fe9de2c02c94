"""Pairs of ``spec.autoscaling`` that differ in one field, which shows in the sizes of one day of demand."""

from typing import Any

Raw = dict[str, Any]
OBJECTIVE: Raw = {"milliseconds": 800}


def _asked(**fields: Any) -> Raw:
    return {"maxReplicas": 20, "objective": OBJECTIVE} | fields


def _bounded(direction: str, **rules: Any) -> Raw:
    return _asked(behavior={direction: rules})


def _policies(direction: str, *policies: Raw, select: str = "Max") -> Raw:
    return _bounded(direction, policies=list(policies), selectPolicy=select)


def _policy(seconds: int, kind: str = "Pods", value: int = 1) -> Raw:
    return {"type": kind, "value": value, "periodSeconds": seconds}


def _directions(direction: str, seconds: int) -> dict[str, tuple[Raw, Raw]]:
    each, half = _policy(seconds), _policy(seconds, "Percent", 50)
    rules = f"autoscaling.behavior.{direction}"
    return {
        f"{rules}.stabilizationWindowSeconds": (
            _bounded(direction, stabilizationWindowSeconds=0),
            _bounded(direction, stabilizationWindowSeconds=60),
        ),
        f"{rules}.selectPolicy": (_policies(direction, each), _policies(direction, each, select="Disabled")),
        f"{rules}.policies[].type": (_policies(direction, _policy(seconds, value=50)), _policies(direction, half)),
        f"{rules}.policies[].value": (_policies(direction, each), _policies(direction, _policy(seconds, value=2))),
        f"{rules}.policies[].periodSeconds": (_policies(direction, each), _policies(direction, _policy(seconds // 4))),
    }


SIZING: dict[str, tuple[Raw, Raw]] = {
    "autoscaling.minReplicas": (_asked(minReplicas=1), _asked(minReplicas=3)),
    "autoscaling.maxReplicas": (_asked(), _asked(maxReplicas=2)),
    "autoscaling.objective.percentile": (_asked(), _asked(objective=OBJECTIVE | {"percentile": 50})),
    "autoscaling.objective.milliseconds": (_asked(), _asked(objective={"milliseconds": 60})),
    "autoscaling.idleBeforeZero": (
        _asked(minReplicas=0, idleBeforeZero="20s"),
        _asked(minReplicas=0, idleBeforeZero="1h"),
    ),
    "autoscaling.interval": (_asked(interval="2s"), _asked(interval="30s")),
    **_directions("scaleUp", 40),
    **_directions("scaleDown", 400),
}
"""By field."""
