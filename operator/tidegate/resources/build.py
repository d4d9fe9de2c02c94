"""From a plan to every object that should exist, in the order in which they are written.

The order makes any prefix safe: memory first, then pods and names, and the routers' table last, so that a route never
names what was not yet asked for.
"""

from tidegate.domain import names
from tidegate.domain.gateway import referred
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Plan
from tidegate.resources import front, gateway, observer, router, workloads
from tidegate.resources.jobs import parity_job, resolve_job
from tidegate.resources.meta import Manifest
from tidegate.resources.settings import Settings


def own_objects(observed: Observed, plan: Plan, settings: Settings) -> list[Manifest]:
    """The objects of one ModelDeployment."""
    subject = observed.subject
    found = [workloads.controller_revision(subject, r) for r in plan.revisions]
    if plan.resolve:
        found.append(resolve_job(subject, plan.resolve, settings))
    if plan.workloads:
        found += [_network_policy(observed, plan), front.disruption_budget(subject)]
    for load in plan.workloads:
        found += [workloads.headless_service(subject, load), workloads.deployment(subject, load)]
    if plan.replay:
        found.append(parity_job(subject, plan.replay, settings))
    if plan.route and plan.gateway:
        found += [gateway.backend_service(subject, backend.revision) for backend in referred(plan.route)]
        found += [
            gateway.http_route(subject, plan.route, plan.gateway),
            gateway.grpc_route(subject, plan.route, plan.gateway),
        ]
    elif plan.route and plan.selector:
        found.append(front.direct_service(subject, plan.route, plan.selector))
    elif plan.route:
        found.append(front.service(subject, plan.route.port, observed.shard))
    return found


def _network_policy(observed: Observed, plan: Plan) -> Manifest:
    if plan.gateway or plan.selector:
        return front.open_network_policy(observed.subject)
    return front.network_policy(observed.subject, observed.shard)


def router_objects(observed: Observed, plan: Plan, settings: Settings) -> list[Manifest]:
    """The model's router, its table last. It belongs to the models that it has routes of, and goes with the last."""
    if plan.table is None:
        return []
    namespace, shard = observed.subject.namespace, observed.shard
    owners = tuple(owner for owner in observed.owners if owner.name in plan.table.routes)
    return [
        router.network_policy(namespace, shard, owners, settings),
        router.disruption_budget(namespace, shard, owners),
        router.config_map(namespace, shard, owners, plan.table, settings, _table_version(observed)),
        router.deployment(namespace, shard, owners, plan.table, settings),
    ]


def observer_objects(observed: Observed, plan: Plan, settings: Settings) -> list[Manifest]:
    """The namespace's observer while any model is watched."""
    if plan.watching is None or not plan.watching.models:
        return []
    namespace, owners = observed.subject.namespace, observed.owners
    found = next((o for o in observed.observer if o["kind"] == "ConfigMap"), None)
    version = str(found["metadata"]["resourceVersion"]) if found else None
    return [
        observer.network_policy(namespace, owners, settings),
        observer.config_map(namespace, owners, plan.watching, settings, version),
        observer.service(namespace, owners),
        observer.deployment(namespace, owners, settings),
    ]


def _table_version(observed: Observed) -> str | None:
    """resourceVersion of the table that the plan was made from."""
    for item in observed.router:
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == names.router(observed.shard):
            return str(item["metadata"]["resourceVersion"])
    return None
