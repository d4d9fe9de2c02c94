"""Random histories of edits, faults and lost writes: every look keeps its promises, and work ends."""

from typing import Any, ClassVar

from domain_objects import digest, uri
from domain_world import World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tidegate.domain.observed import Owner
from tidegate.domain.routing import Route

STEPS: list[dict[str, Any]] = [{"parity": {}}, {"weight": 20, "hold": "2s"}, {"weight": 60, "hold": "3s"}]
SERVERS: list[dict[str, Any]] = [{"accelerator": "CPU"}, {"accelerator": "CPU", "args": ["--log-verbose=1"]}]
KEYS = ("a.pub", "b.pub")
QUIET_SECONDS = 400


class Histories(RuleBasedStateMachine):
    """Whatever happens, requests are safe; when nothing more happens, the wanted revision serves and all is silent."""

    @initialize(replicas=st.integers(0, 3), steps=st.sampled_from([STEPS, [], [{"weight": 100, "hold": "1s"}]]))
    def begin(self, replicas: int, steps: list[dict[str, Any]]) -> None:
        self.world = World()
        self.ever_signed: set[str] = set()
        self.asked = 0
        self.world.edit(replicas=replicas, rollout={"steps": steps}, server=SERVERS[0])

    # Users

    @rule(version=st.integers(1, 3))
    def edit_model(self, version: int) -> None:
        self.world.move_to(version)

    @rule(server=st.sampled_from(SERVERS))
    def edit_server(self, server: dict[str, Any]) -> None:
        self.world.edit(server=server)

    @rule(replicas=st.integers(0, 4))
    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        self.world.edit(paused=paused)

    @rule(suspend=st.booleans())
    def suspend(self, suspend: bool) -> None:
        self.world.edit(suspend=suspend)

    @rule(steps=st.sampled_from([STEPS, STEPS[:1], []]))
    def edit_steps(self, steps: list[dict[str, Any]]) -> None:
        self.world.edit(rollout={"steps": steps})

    @rule(key=st.sampled_from([None, *KEYS]))
    def ask_for_a_signature(self, key: str | None) -> None:
        where = {"name": "signing", "key": key}
        self.world.edit(verification={"signature": {"publicKeySecretRef": where}} if key else None)

    @rule(keys=st.sets(st.sampled_from(KEYS)))
    def somebody_signs_or_takes_signatures_away(self, keys: set[str]) -> None:
        self.world.cluster.signed_by = {f"signing/{key}" for key in keys}
        self.ever_signed |= self.world.cluster.signed_by

    @rule(bake=st.sampled_from(["0s", "20s"]))
    def edit_bake(self, bake: str) -> None:
        rollout = self.world.spec.rollout.to_wire() | {"bake": {"duration": bake}}
        self.world.edit(rollout=rollout)

    @rule(verb=st.sampled_from(["promote", "abort", "retry"]), full=st.booleans())
    def ask(self, verb: str, full: bool) -> None:
        self.asked += 1
        self.world.ask(verb, f"full@{self.asked}" if full else str(self.asked))

    @rule(index=st.integers(0, 3))
    def ask_for_a_former_revision(self, index: int) -> None:
        self.asked += 1
        names = sorted(self.world.cluster.revisions)
        self.world.ask("rollback-to", f"{names[index % len(names)] if names else 'none'}@{self.asked}")

    # The cluster

    @rule(version=st.integers(1, 3), share=st.sampled_from([0.0, 0.02, 1.0]))
    def a_bundle_fails_requests(self, version: int, share: float) -> None:
        self.world.cluster.wrong[digest(version)] = share

    @rule(version=st.integers(1, 3))
    def a_bundle_answers_otherwise_than_recorded(self, version: int) -> None:
        self.world.cluster.differing ^= {digest(version)}

    @rule(version=st.integers(1, 3), verdict=st.sampled_from(["Compatible", "Breaking"]))
    def a_bundle_has_another_contract(self, version: int, verdict: str) -> None:
        self.world.cluster.contracts[digest(version)] = verdict

    @rule()
    def clients_go_or_come_back(self) -> None:
        self.world.cluster.idle = not self.world.cluster.idle

    @rule()
    def the_nodes_are_full_or_not(self) -> None:
        self.world.cluster.crowded = not self.world.cluster.crowded

    @rule()
    def the_routers_count_or_not(self) -> None:
        self.world.blind = not self.world.blind

    @rule(index=st.integers(0, 9))
    def lose_a_pod(self, index: int) -> None:
        self.world.cluster.kill_pod(index)

    @rule(version=st.integers(1, 3))
    def a_bundle_stops_loading(self, version: int) -> None:
        self.world.cluster.sick ^= {digest(version)}

    @rule()
    def the_store_goes_down_or_comes_back(self) -> None:
        self.world.cluster.store_down = not self.world.cluster.store_down

    @rule(index=st.integers(0, 1))
    def replace_a_router(self, index: int) -> None:
        self.world.cluster.restart_router(index)

    @precondition(lambda self: bool(self.world.cluster.routers))
    @rule(index=st.integers(0, 1), reachable=st.booleans(), deaf=st.booleans())
    def a_router_goes_silent(self, index: int, reachable: bool, deaf: bool) -> None:
        router = self.world.cluster.routers[index]
        router.reachable, router.deaf = reachable, deaf

    @precondition(lambda self: self.world.cluster.table is not None)
    @rule(revisions=st.integers(0, 2))
    def a_neighbour_changes(self, revisions: int) -> None:
        cluster = self.world.cluster
        owner = Owner("faces", "u-9")
        cluster.owners = [o for o in cluster.owners if o != owner] + ([owner] if revisions else [])
        cluster.changed = True
        assert cluster.table is not None
        if revisions:
            split = tuple({"revision": f"faces-{n}", "weight": 100 if n == 0 else 0} for n in range(revisions))
            route = Route.model_validate({"model": "faces", "port": 20500, "timeoutSeconds": 30, "backends": split})
            cluster.put_table(cluster.table.with_route(route, [o.name for o in cluster.owners]))

    @rule(seconds=st.sampled_from([1, 1, 2, 5, 20]))
    def time_passes(self, seconds: int) -> None:
        self.world.run(seconds)

    # The operator

    @rule()
    def lose_the_status(self) -> None:
        self.world.lose_status()

    @rule()
    def a_status_write_fails(self) -> None:
        self.world.lose_next_status = True
        self.world.look()

    @rule(writes=st.integers(0, 8))
    def the_operator_dies_between_writes(self, writes: int) -> None:
        self.world.stop_after = writes
        self.world.look()
        self.world.stop_after = None

    @rule()
    def reports_are_a_moment_old(self) -> None:
        self.world.stale_reports = self.world.cluster.observe().reports
        self.world.cluster.step()
        self.world.look()

    @invariant()
    def one_moment_passes(self) -> None:
        if hasattr(self, "world"):
            self.world.tick()

    @invariant()
    def nothing_that_was_not_signed_becomes_a_revision(self) -> None:
        if hasattr(self, "world"):
            keys = {r.revision.public_key for r in self.world.cluster.revisions.values()}
            assert {str(key) for key in keys if key} <= self.ever_signed

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.cluster.store_down = False
        world.cluster.signed_by = {f"signing/{key}" for key in KEYS}
        world.cluster.sick.clear()
        world.cluster.wrong.clear()
        world.cluster.differing.clear()
        world.cluster.idle = world.cluster.crowded = world.blind = False
        for router in world.cluster.routers:
            router.reachable, router.deaf = True, False
        model = world.spec.model.to_wire() | {"allowBreaking": True}
        world.edit(paused=False, suspend=False, model=model)
        world.settle(QUIET_SECONDS)
        if not world.ready:
            # It was given up, or somebody went back: it stays so until somebody says otherwise.
            assert world.status.phase == "Aborted", world.summary()
            world.ask("retry", "at the end")
            world.settle(QUIET_SECONDS)
        _check_the_end(world)


def _check_the_end(world: World) -> None:
    """Exactly what spec asks for, nothing left over, and not a word more."""
    assert world.ready, world.summary()
    stable = world.status.stable
    assert stable is not None
    assert stable.uri == world.spec.model.uri or stable.digest == world.status.artifact.digest  # type: ignore[union-attr]
    assert world.cluster.revisions[stable.revision].revision.server == world.spec.server
    assert world.cluster.revisions[stable.revision].revision.public_key == world.spec.public_key
    assert {n: w.replicas for n, w in world.cluster.workloads.items()} == {stable.revision: world.spec.replicas}
    assert [p.revision for p in world.cluster.pods] == [stable.revision] * world.spec.replicas
    assert world.cluster.jobs == {}
    for router in world.cluster.routers:
        shares = {b.revision: b.weight for b in router.loaded.routes["digits"].backends}
        assert shares == {stable.revision: 100}, router
    assert world.status.canary is None
    assert world.status.rollout is None
    looks, before = world.looks, world.status
    world.run(100)
    assert world.looks == looks
    plan = world.look()
    assert world.status == before
    assert (plan.events, plan.pokes, plan.again) == ((), (), None)
    assert world.spec.model.uri in {uri(n) for n in range(1, 4)}


class ServiceHistories(Histories):
    """The same without any router: a Service leads to pods, and never to those of a third revision."""

    CHECKS: ClassVar = {"analysis": {"checks": [{"name": "errors", "prometheus": {"query": "x", "max": 0.1}}]}}

    @initialize(
        replicas=st.integers(0, 3),
        steps=st.sampled_from([STEPS[1:], STEPS, []]),
        extra=st.sampled_from([None, 0, 1]),
        strategy=st.sampled_from(["Canary", "Canary", "BlueGreen"]),
    )
    def begin(self, replicas: int, steps: list[dict[str, Any]], extra: int | None, strategy: str) -> None:
        self.world = World()
        self.world.values = {"errors": 0.0}
        self.ever_signed: set[str] = set()
        self.asked = 0
        self.budget = {"maxExtraReplicas": extra} if extra is not None and (replicas > 1 or extra) else {}
        self.strategy = strategy
        # Without a history no version is known to be good, so that every rollout takes its steps.
        self.world.edit(replicas=replicas, server=SERVERS[0], revisionHistoryLimit=0, **self._wire(steps))

    def _wire(self, steps: list[dict[str, Any]]) -> dict[str, Any]:
        steps = steps if self.strategy == "Canary" else [step for step in steps if "weight" not in step]
        rollout = {"steps": steps, "budget": self.budget, "strategy": self.strategy, "bake": {"duration": "0s"}}
        return {"traffic": {"router": "Service"}, "rollout": rollout | self.CHECKS}

    @rule(steps=st.sampled_from([STEPS[1:], STEPS, []]))
    def edit_steps(self, steps: list[dict[str, Any]]) -> None:
        self.world.edit(**self._wire(steps))

    @rule(value=st.sampled_from([0.0, 1.0]))
    def a_query_turns_bad_or_good(self, value: float) -> None:
        self.world.values = {"errors": value}

    @rule(version=st.integers(1, 3), then=st.integers(1, 3))
    def a_rollout_that_has_pods_in_both_is_superseded(self, version: int, then: int) -> None:
        world = self.world
        world.edit(paused=False, suspend=False, replicas=max(world.spec.replicas, 1))
        world.cluster.sick.clear()
        world.cluster.differing.clear()
        world.cluster.contracts.clear()
        world.cluster.store_down = world.cluster.crowded = world.blind = False
        world.cluster.signed_by = {f"signing/{key}" for key in KEYS}
        self.ever_signed |= world.cluster.signed_by
        world.values = {"errors": 0.0}
        if world.cluster.direct:
            world.cluster.direct.deaf = False
        world.run(40)
        world.move_to(version)
        for _ in range(30):
            if world.cluster.direct and world.cluster.direct.both:
                break
            world.tick()
        world.move_to(then)
        world.run(15)

    @precondition(lambda self: self.world.cluster.direct is not None)
    @rule()
    def slices_are_brought_up_to_date_or_not(self) -> None:
        self.world.cluster.direct.deaf ^= True

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.values = {"errors": 0.0}
        direct = self.world.cluster.direct
        if direct is not None:
            direct.deaf = False
        # No pod beyond one has a place that is never free.
        self.budget = {}
        self.world.edit(**self._wire([]))
        super().teardown()
        direct = self.world.cluster.direct
        assert direct is not None
        assert direct.led == {pod.name for pod in self.world.cluster.pods}


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
TestServiceHistories = ServiceHistories.TestCase
TestServiceHistories.settings = TestHistories.settings
