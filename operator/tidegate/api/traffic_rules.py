"""Rules of ``spec.traffic``: what each router can do."""

from collections.abc import Mapping
from typing import Any

from tidegate.api.rule import Rule, between
from tidegate.api.types import DURATION_PATTERN

Wire = Mapping[str, Any]
CHECKS = "self.rollout.analysis.checks"
ENVOY = "!has(self.traffic) || self.traffic.router == 'Envoy'"


def _by_others(spec: Wire) -> bool:
    return bool(spec.get("traffic", {}).get("router", "Envoy") != "Envoy")


def _differ(gateway: Wire, one: str, other: str) -> bool:
    return one in gateway and other in gateway and gateway[one] != gateway[other]


def _shares(rollout: Wire) -> bool:
    """True for a rollout with a weight that is judged before the next."""
    steps = rollout.get("steps")
    return rollout["strategy"] == "Canary" and (steps is None or any("weight" in step for step in steps))


ROUTER = "spec.traffic.router"
ROUTER_STAYS = {
    "rule": "self == oldSelf",
    "message": "the router of a model cannot be changed, because its address changes with it: create another "
    "ModelDeployment, move the clients, and delete this one",
}
"""What the API server checks of an edit. No spec alone can break it, so it is none of the rules below."""

# The API server tries the rules of traffic on its default as well, which is empty.
TRAFFIC_RULES = (
    between("spec.traffic.timeout", "1s", "1h", "timeout"),
    Rule(
        "spec.traffic",
        "(has(self.affinity) && self.affinity == 'Header') == has(self.affinityHeader)",
        lambda traffic: (traffic["affinity"] == "Header") == ("affinityHeader" in traffic),
        "affinityHeader is the header that affinity: Header goes by: give both, or neither",
        field=".affinityHeader",
    ),
    Rule(
        "spec.traffic",
        "(has(self.router) && self.router == 'GatewayAPI') == has(self.gateway)",
        lambda traffic: (traffic["router"] == "GatewayAPI") == ("gateway" in traffic),
        "gateway names the Gateway of router: GatewayAPI: give both, or neither",
        field=".gateway",
    ),
    Rule(
        "spec.traffic",
        "!has(self.router) || self.router != 'GatewayAPI' || !has(self.affinity) || self.affinity == 'None'",
        lambda traffic: traffic["router"] != "GatewayAPI" or traffic["affinity"] == "None",
        "the Gateway API cannot keep clients on a revision: remove affinity, or choose router: Envoy",
        field=".affinity",
    ),
    Rule(
        "spec.traffic",
        "!has(self.router) || self.router != 'Service' || !has(self.affinity) || self.affinity != 'Header'",
        lambda traffic: traffic["router"] != "Service" or traffic["affinity"] != "Header",
        "a Service reads no headers: choose affinity: ClientAddress, which keeps a client on its pod, or router: Envoy",
        field=".affinity",
    ),
    Rule(
        "spec.traffic",
        f"!has(self.router) || self.router != 'Service' || !has(self.timeout) || "
        f"!self.timeout.matches(r'{DURATION_PATTERN}') || duration(self.timeout) == duration('30s')",
        lambda traffic: traffic["router"] != "Service" or traffic["timeout"] == "30s",
        "a Service ends no request: remove timeout and let clients set theirs, or choose router: Envoy",
        field=".timeout",
    ),
    Rule(
        "spec.traffic.gateway",
        "(has(self.hostname) && has(self.grpcHostname) && self.hostname != self.grpcHostname) || "
        "(has(self.sectionName) && has(self.grpcSectionName) && self.sectionName != self.grpcSectionName)",
        lambda gateway: (
            _differ(gateway, "hostname", "grpcHostname") or _differ(gateway, "sectionName", "grpcSectionName")
        ),
        "a Gateway accepts HTTP or gRPC for one hostname of one listener, and refuses the other: give hostname and "
        "grpcHostname that differ, or sectionName and grpcSectionName that differ",
    ),
    Rule(
        "spec",
        f"{ENVOY} || !has(self.rollout) || !has(self.rollout.steps) || self.rollout.steps.all(s, !has(s.shadow))",
        lambda spec: not _by_others(spec) or not any("shadow" in step for step in spec["rollout"].get("steps", ())),
        "shadow steps need router: Envoy, which hands requests with their answers over: remove them",
        field=".rollout.steps",
    ),
    Rule(
        "spec",
        f"{ENVOY} || !has(self.rollout) || !has(self.rollout.analysis) || !has({CHECKS}) || "
        f"{CHECKS}.all(c, has(c.prometheus))",
        lambda spec: (
            not _by_others(spec)
            or all("prometheus" in check for check in spec["rollout"]["analysis"].get("checks", ()))
        ),
        "a Gateway or a Service tells the operator no counts, so that checks of errors, latency and predictions would "
        "wait for ever: write prometheus checks of metrics of your own",
        field=".rollout.analysis.checks",
    ),
    Rule(
        "spec",
        f"{ENVOY} || (has(self.rollout) && ((has(self.rollout.strategy) && self.rollout.strategy != 'Canary') || "
        "(has(self.rollout.steps) && self.rollout.steps.all(s, !has(s.weight))) || "
        f"(has(self.rollout.analysis) && has({CHECKS}))))",
        lambda spec: not _by_others(spec) or not _shares(spec["rollout"]) or "checks" in spec["rollout"]["analysis"],
        "weight steps are judged by checks, and the default ones need the counts of router: Envoy: write "
        "rollout.analysis.checks with prometheus checks, or choose strategy: BlueGreen",
        field=".rollout.analysis",
    ),
    Rule(
        "spec",
        f"{ENVOY} || !has(self.autoscaling)",
        lambda spec: not _by_others(spec) or "autoscaling" not in spec,
        "a Gateway or a Service tells the operator neither how many requests come nor how long they take: remove "
        "autoscaling and let an HPA or KEDA set replicas, or choose router: Envoy",
        field=".autoscaling",
    ),
)
