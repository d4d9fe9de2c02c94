"""From a plan to every object that should exist, in the order in which they are written.

The order makes any prefix safe: memory first, then pods and names, and the routers' table last, so that a route never
names what was not yet asked for.
"""

from tidegate.domain.names import ROUTER
from tidegate.domain.observed import Observed
from tidegate.domain.plan import Plan
from tidegate.resources import front, router, workloads
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
        found += [front.network_policy(subject), front.disruption_budget(subject)]
    for load in plan.workloads:
        found += [workloads.headless_service(subject, load), workloads.deployment(subject, load)]
    if plan.replay:
        found.append(parity_job(subject, plan.replay, settings))
    if plan.route:
        found.append(front.service(subject, plan.route.port))
    return found


def router_objects(observed: Observed, plan: Plan, settings: Settings) -> list[Manifest]:
    """The router of the namespace, its table last."""
    if plan.table is None:
        return []
    namespace, owners = observed.subject.namespace, observed.owners
    return [
        router.network_policy(namespace, owners, settings),
        router.disruption_budget(namespace, owners),
        router.config_map(namespace, owners, plan.table, settings, _table_version(observed)),
        router.deployment(namespace, owners, settings),
    ]


def _table_version(observed: Observed) -> str | None:
    """resourceVersion of the table that the plan was made from."""
    for item in observed.router:
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == ROUTER:
            return str(item["metadata"]["resourceVersion"])
    return None
