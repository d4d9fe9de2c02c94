"""Rules of ``spec.rollout``: which steps and checks make sense."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from tidegate.api.rule import Rule, between

STEPS = "spec.rollout.steps"
CHECKS = "spec.rollout.analysis.checks"
STEP_KINDS = ("weight", "parity", "shadow", "pause")
CHECK_KINDS = ("percentile", "maxPercent", "minAgreementPercent", "prometheus")
Wire = Mapping[str, Any]


def _one_of(kinds: Sequence[str]) -> tuple[str, Callable[[Wire], bool]]:
    """CEL and Python of "exactly one of these fields is there"."""
    present = ", ".join(f"has(self.{kind})" for kind in kinds)
    return f"[{present}].exists_one(p, p)", lambda item: sum(kind in item for kind in kinds) == 1


def _needs(field: str, kind: str) -> tuple[str, Callable[[Wire], bool]]:
    """CEL and Python of "this field only beside that one"."""
    return f"!has(self.{field}) || has(self.{kind})", lambda item: field not in item or kind in item


def _weights(steps: Sequence[Wire]) -> list[int]:
    return [step["weight"] for step in steps if "weight" in step]


def _no(rollout: Wire, *kinds: str) -> bool:
    return not any(kind in step for step in rollout.get("steps", ()) for kind in kinds)


_ONE_STEP, _ONE_STEP_HOLDS = _one_of(STEP_KINDS)
_ONE_CHECK, _ONE_CHECK_HOLDS = _one_of(CHECK_KINDS)


def _only_with(path: str, field: str, kind: str, message: str) -> Rule:
    cel, holds = _needs(field, kind)
    return Rule(path, cel, holds, message, field=f".{field}")


ROLLOUT_RULES = (
    Rule(
        f"{STEPS}[]",
        _ONE_STEP,
        _ONE_STEP_HOLDS,
        "a step is exactly one of weight, parity, shadow and pause: write each as an item of its own",
    ),
    Rule(
        f"{STEPS}[]",
        "has(self.weight) == has(self.hold)",
        lambda step: ("weight" in step) == ("hold" in step),
        "weight and hold go together: say how long the weight stays, such as {weight: 5, hold: 2m}; the hold of a "
        "shadow step and the duration of a pause stand inside them",
    ),
    Rule(
        STEPS,
        "self.filter(s, has(s.weight)).map(s, s.weight).isSorted() && "
        "self.all(s, !has(s.weight) || self.exists_one(t, has(t.weight) && t.weight == s.weight))",
        lambda steps: all(a < b for a, b in pairwise(_weights(steps))),
        "weights must rise from step to step, so 100 can only be the last: put the steps in order and remove repeated "
        "weights",
    ),
    Rule(
        "spec.rollout",
        "self.strategy == 'Canary' || !has(self.steps) || self.steps.all(s, !has(s.weight))",
        lambda rollout: rollout.get("strategy") == "Canary" or _no(rollout, "weight"),
        "weight steps belong to strategy Canary: BlueGreen and Recreate move all requests at once",
        field=".steps",
    ),
    Rule(
        "spec.rollout",
        "self.strategy != 'Recreate' || !has(self.steps) || self.steps.all(s, !has(s.shadow))",
        lambda rollout: rollout.get("strategy") != "Recreate" or _no(rollout, "shadow"),
        "shadow steps compare with a revision that serves, and Recreate has stopped it: remove them, or choose Canary "
        "or BlueGreen",
        field=".steps",
    ),
    between(f"{STEPS}[].hold", "1s", "24h", "hold"),
    between(f"{STEPS}[].shadow.hold", "1s", "24h", "hold"),
    between(f"{STEPS}[].pause.duration", "1s", "24h", "duration"),
    between("spec.rollout.analysis.interval", "1s", "1h", "interval"),
    Rule(
        CHECKS,
        "size(self) > 0",
        lambda checks: len(checks) > 0,
        "an analysis without checks looks at nothing: name at least one, or leave checks out for the defaults",
    ),
    Rule(
        CHECKS,
        "self.all(c, self.exists_one(d, d.name == c.name))",
        lambda checks: len({check.get("name") for check in checks}) == len(checks),
        "two checks have one name: give each a name of its own",
    ),
    Rule(
        f"{CHECKS}[]",
        _ONE_CHECK,
        _ONE_CHECK_HOLDS,
        "a check has exactly one of percentile (latency), maxPercent (errors), minAgreementPercent (predictions) and "
        "prometheus (a query)",
    ),
    _only_with(f"{CHECKS}[]", "maxMilliseconds", "percentile", "maxMilliseconds needs a percentile, such as 95"),
    _only_with(f"{CHECKS}[]", "maxIncreasePercent", "percentile", "maxIncreasePercent needs a percentile, such as 95"),
    _only_with(f"{CHECKS}[]", "maxIncreasePoints", "maxPercent", "maxIncreasePoints needs maxPercent, such as 1"),
    Rule(
        f"{CHECKS}[].prometheus",
        "has(self.max) || has(self.min)",
        lambda query: "max" in query or "min" in query,
        "a query needs a limit: write max, min or both",
    ),
    Rule(
        f"{CHECKS}[].prometheus",
        "!has(self.max) || !has(self.min) || self.min <= self.max",
        lambda query: "max" not in query or "min" not in query or query["min"] <= query["max"],
        "min is greater than max, so that no value would be good: exchange them",
        field=".min",
    ),
    between(f"{CHECKS}[].prometheus.sustained", "1s", "24h", "sustained"),
    between("spec.rollout.bake.duration", "0s", "24h", "duration"),
    between("spec.rollout.progressDeadline", "10s", "24h", "progressDeadline"),
)
