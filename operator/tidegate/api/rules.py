"""Rules that a type alone cannot state: ranges of durations, relations between fields, reserved words.

Each rule is written twice, side by side: as CEL for the API server, which refuses a bad object before it is stored,
and as a Python predicate for everything that reads a spec without a cluster. The same table of specs tests both.
A rule sees the value at its path as it is on the wire, with defaults filled in; ``[]`` in a path means each item.
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from tidegate.api.rollout_rules import ROLLOUT_RULES
from tidegate.api.rule import Rule, between
from tidegate.api.traffic_rules import TRAFFIC_RULES

RESERVED_FLAGS = (
    "--allow-grpc",
    "--allow-http",
    "--allow-metrics",
    "--backend-directory",
    "--disable-auto-complete-config",
    "--exit-on-error",
    "--exit-timeout-secs",
    "--grpc-address",
    "--grpc-port",
    "--grpc-use-ssl",
    "--http-address",
    "--http-port",
    "--load-model",
    "--metrics-address",
    "--metrics-port",
    "--model-config-name",
    "--model-control-mode",
    "--model-repository",
    "--model-store",
    "--repository-poll-secs",
    "--reuse-grpc-port",
    "--reuse-http-port",
    "--strict-readiness",
)
"""Flags of tritonserver that only the operator sets. Their abbreviations count too: getopt would expand them."""

OPERATOR_NAME_PREFIX = "tidegate-router"
NAME_PATTERN = r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
KEY_PATTERN = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
KEY_MESSAGE = "each key must be [<prefix>/]<name>, the name at most 63 letters, digits, '-', '_' or '.', as in team"
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5}
_DECIMAL = {"m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15}


def amount(quantity: str | int) -> Decimal:
    """The number that a Kubernetes quantity such as ``500m`` or ``2Gi`` stands for."""
    text = str(quantity)
    number = text.rstrip("kKmMGTPi")
    suffix = text[len(number) :]
    if suffix in _BINARY:
        return Decimal(number) * Decimal(1024) ** _BINARY[suffix]
    return Decimal(number).scaleb(_DECIMAL.get(suffix, 0))


def _keys(path: str) -> Rule:
    """Keys that Kubernetes accepts as label, annotation or resource names."""
    return Rule(
        path,
        f"self.all(k, k.matches(r'{KEY_PATTERN}'))",
        lambda m: all(re.fullmatch(KEY_PATTERN, k) for k in m),
        KEY_MESSAGE,
    )


def _no_keys_under(path: str, *prefixes: str) -> Rule:
    """Keys that belong to the operator."""
    cel = " && ".join(f"!k.startsWith('{prefix}')" for prefix in prefixes)
    return Rule(
        path,
        f"self.all(k, {cel})",
        lambda m: not any(k.startswith(prefixes) for k in m),
        f"keys under {' and '.join(prefixes)} belong to the operator: use a prefix of your own, such as example.com/",
    )


def _is_reserved(argument: str) -> bool:
    flag = argument.partition("=")[0]
    return any(reserved.startswith(flag) for reserved in RESERVED_FLAGS)


def _requests_within_limits(resources: Mapping[str, Any]) -> bool:
    limits = resources.get("limits", {})
    return all(amount(v) <= amount(limits[k]) for k, v in resources.get("requests", {}).items() if k in limits)


def _devices_are_limits(resources: Mapping[str, Any]) -> bool:
    limits = resources.get("limits", {})
    return all(
        k in limits and amount(v) == amount(limits[k]) for k, v in resources.get("requests", {}).items() if "/" in k
    )


def _gpu_not_zero(server: Mapping[str, Any]) -> bool:
    limits = server.get("resources", {}).get("limits", {})
    return server["accelerator"] != "GPU" or all(
        amount(v) > 0 for k, v in limits.items() if k.startswith("nvidia.com/")
    )


RULES = (
    Rule(
        "",
        f"self.metadata.name.matches(r'{NAME_PATTERN}')",
        lambda obj: re.fullmatch(NAME_PATTERN, obj["metadata"]["name"]) is not None,
        "the name becomes the name of the model's Service: use lower-case letters, digits and '-', start with a "
        "letter, end with a letter or digit, at most 63 characters, such as digits",
        field=".metadata.name",
    ),
    Rule(
        "",
        f"!self.metadata.name.startsWith('{OPERATOR_NAME_PREFIX}')",
        lambda obj: not obj["metadata"]["name"].startswith(OPERATOR_NAME_PREFIX),
        f"the name may not start with {OPERATOR_NAME_PREFIX}: the operator's own objects use these names",
        field=".metadata.name",
    ),
    Rule(
        "spec.model",
        "!has(self.digest) || !self.uri.contains('@') || self.uri.endsWith('@' + self.digest)",
        lambda model: "digest" not in model or "@" not in model["uri"] or model["uri"].endswith("@" + model["digest"]),
        "the digest differs from the one in uri: make them equal, or leave one of them out",
        field=".digest",
    ),
    Rule(
        "spec.model.uri",
        "self.matches('/[^/:@]{1,63}[:@][^/]*$') || !self.matches('/[^/:@]+[:@][^/]*$')",
        lambda uri: len(re.split("[:@]", uri.rpartition("/")[2])[0]) <= 63,
        "the name of the bundle, between the last '/' and the version, may have at most 63 characters",
    ),
    Rule(
        "spec.model.uri",
        "!self.endsWith(':aliases')",
        lambda uri: not uri.endswith(":aliases"),
        "aliases is no version: stores keep a model's aliases under this name; write the version that is meant",
    ),
    Rule(
        "spec.server",
        "self.accelerator != 'GPU' || !has(self.resources) || !has(self.resources.limits) || "
        "self.resources.limits.all(k, !k.startsWith('nvidia.com/') || !isQuantity(string(self.resources.limits[k])) || "
        "quantity(string(self.resources.limits[k])).isGreaterThan(quantity('0')))",
        _gpu_not_zero,
        "accelerator is GPU but resources.limits asks for 0 GPUs: ask for at least 1, or set accelerator: CPU",
        field=".resources.limits",
    ),
    Rule(
        "spec.server.resources",
        "!has(self.requests) || !has(self.limits) || self.requests.all(k, !(k in self.limits) || "
        "!isQuantity(string(self.requests[k])) || !isQuantity(string(self.limits[k])) || "
        "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) <= 0)",
        _requests_within_limits,
        "requests may not be greater than limits: lower the request or raise the limit of the same name",
        field=".requests",
    ),
    Rule(
        "spec.server.resources",
        "!has(self.requests) || self.requests.all(k, !k.contains('/') || !isQuantity(string(self.requests[k])) || "
        "(has(self.limits) && k in self.limits && (!isQuantity(string(self.limits[k])) || "
        "quantity(string(self.requests[k])).compareTo(quantity(string(self.limits[k]))) == 0)))",
        _devices_are_limits,
        "devices such as nvidia.com/gpu cannot be overcommitted: name them in limits and leave them out of requests",
        field=".requests",
    ),
    _keys("spec.server.resources.requests"),
    _keys("spec.server.resources.limits"),
    Rule(
        "spec.server.args[]",
        f"!{list(RESERVED_FLAGS)}.exists(r, r.startsWith(self.split('=')[0]))",
        lambda argument: not _is_reserved(argument),
        "the operator sets this flag itself (repository, model control, ports, addresses, exit and readiness): remove "
        "it from args",
    ),
    _keys("spec.server.template.metadata.labels"),
    _no_keys_under("spec.server.template.metadata.labels", "tidegate.dev/", "app.kubernetes.io/"),
    _keys("spec.server.template.metadata.annotations"),
    _no_keys_under("spec.server.template.metadata.annotations", "tidegate.dev/"),
    _keys("spec.server.template.spec.nodeSelector"),
    *ROLLOUT_RULES,
    Rule(
        "spec.autoscaling",
        "!has(self.minReplicas) || self.minReplicas <= self.maxReplicas",
        lambda scaling: scaling["minReplicas"] <= scaling["maxReplicas"],
        "minReplicas may not be greater than maxReplicas: lower the one or raise the other",
        field=".minReplicas",
    ),
    between("spec.autoscaling.idleBeforeZero", "10s", "24h", "idleBeforeZero"),
    between("spec.autoscaling.interval", "1s", "30s", "interval"),
    *TRAFFIC_RULES,
)


def _select(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value at ``path``, with the place it was found; nothing where a part of the path is absent."""
    places = [("", value)]
    for part in path.split(".") if path else ():
        key = part.removesuffix("[]")
        places = [(f"{where}.{key}".lstrip("."), v[key]) for where, v in places if key in v]
        if part.endswith("[]"):
            places = [(f"{where}[{i}]", item) for where, items in places for i, item in enumerate(items)]
    yield from places


def violations(obj: Mapping[str, Any]) -> list[str]:
    """One sentence for each rule that a wire object (``metadata.name`` and ``spec``, or ``spec`` alone) breaks."""
    rules = RULES if "metadata" in obj else tuple(rule for rule in RULES if rule.path)
    return [
        f"{(where + rule.field).lstrip('.')}: {rule.message}"
        for rule in rules
        for where, value in _select(obj, rule.path)
        if not rule.holds(value)
    ]
