"""Rollouts without any router: kube-proxy leads to the pods, and shares come from numbers of pods.

The load opens connections anew and keeps others. A kept connection stays on its pod until the pod ends, so that shares
are seen in fresh ones alone. A client that keeps connections connects again when the server has closed one, as HTTP
libraries do; what it asks a pod that is ending fails. Nothing but a router could tell it to move before.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from e2e_load import RATES, Load
from e2e_models import Bundle
from e2e_rollout import MODEL, Serving, check_share
from e2e_world import Space, World

HELD = 6.0
"""Seconds for which shares are counted."""
FRESH = 60.0
ENDING = 10.0
"""Seconds that Triton takes at most to end; kept connections fail in them and at no other time."""
ROLLOUT = {
    "steps": [{"weight": 50, "hold": "10m"}],
    "analysis": {"checks": [{"name": "errors", "prometheus": {"query": "vector(0)", "max": 0.1}}]},
    "bake": {"duration": "0s"},
}


class Direct(Serving):
    """A model of two pods that kube-proxy leads to."""

    moved = math.inf
    """When somebody asked for what makes pods end."""

    def bundle(self, version: int) -> Bundle:
        return self.space.world.bundles[f"adder:{version}"]

    def ask(self, verb: str, text: str) -> None:
        self.space.kubectl("annotate", "md", MODEL, f"tidegate.dev/{verb}={text}", "--overwrite")

    def hold(self) -> None:
        """Wait until the step with half of the connections has begun."""
        self.until(lambda: "stepStartedAt" in self.status().get("rollout", {}), "the step has begun")
        told = self.status()
        assert (told["stable"]["weight"], told["canary"]["weight"]) == (50, 50)

    def moves(self, verb: str, text: str) -> None:
        """Ask for what makes pods end: from now on kept connections may fail."""
        self.moved = time.time()
        self.ask(verb, text)

    @contextmanager
    def load(self) -> Iterator[Load]:
        """A load of which no fresh connection may fail, and kept ones only while their pods end."""
        self.moved = math.inf
        known = {self.bundle(n).digest: float(n) for n in (1, 2, 3)}
        plan = {
            "http": self.space.address(MODEL),
            "grpc": self.space.address(MODEL, 8001),
            "model": MODEL,
            "offsets": known,
            "direct": True,
            "rates": RATES | {"fresh": (FRESH, 1)},
        }
        load = Load(plan, self.next_file())
        with load:
            yield load
        self.space.say(load.summary())
        failures = sorted(load.failures(), key=lambda r: r.at)
        failed = Counter(r.kind for r in failures)
        worst = sorted(failures, key=lambda r: r.kind != "fresh")[:8]
        told = json.dumps([(r.at - self.moved, r.kind, r.milliseconds, r.error[:160]) for r in worst], indent=1)
        span = failures[-1].at - failures[0].at if failures else 0.0
        self.space.say(f"failed by kind: {dict(failed)} in {span:.1f} s")
        assert failed["fresh"] == 0, f"{told}\n{self.space.explain()}"
        assert not failures or (failures[0].at > self.moved and span <= ENDING), told


@pytest.fixture(scope="module")
def direct(world: World, make_space: Callable[[str], Space], tmp_path_factory: pytest.TempPathFactory) -> Direct:
    """One model for the tests here; each takes it as the one before left it."""
    space = make_space("service")
    space.deploy(MODEL, world.bundles["adder:1"], replicas=2, traffic={"router": "Service"}, rollout=ROLLOUT)
    space.wait_ready(MODEL)
    return Direct(space, tmp_path_factory.mktemp("service"))


def fresh(load: Load, since: float, until: float = math.inf) -> Counter[str]:
    """Answers on fresh connections by digest."""
    return Counter(r.revision for r in load.requests() if r.kind == "fresh" and since <= r.at < until and not r.error)


def test_a_rollout_by_pods_loses_no_fresh_request_and_half_of_the_pods_get_half(direct: Direct) -> None:
    old, new = direct.bundle(1), direct.bundle(2)
    assert not direct.space.objects("pods", "tidegate.dev/component=router"), "a router runs"
    with direct.load() as load:
        direct.space.point_to(MODEL, new)
        direct.hold()
        begun = load.requests()[-1].at
        direct.until(lambda: load.requests()[-1].at > begun + HELD, "requests at half")
        shares = fresh(load, begun, begun + HELD)
        check_share(direct.space, "half of the pods, fresh connections", 50, shares[new.digest], shares.total())
        direct.moves("promote", "full")
        direct.space.wait_ready(MODEL)
        promoted = load.requests()[-1].at
        direct.until(lambda: direct.alone(2), "two pods serve and no other is there", 180)
        direct.until(lambda: load.requests()[-1].at > promoted + 4, "requests after the promotion")
        assert set(fresh(load, promoted)) == {new.digest}
    assert direct.status()["stable"]["digest"] == new.digest != old.digest


def test_a_rollout_that_is_given_up_loses_no_fresh_request(direct: Direct) -> None:
    stable, bad = direct.bundle(2), direct.bundle(3)
    before = direct.space.ready_servers(MODEL)
    with direct.load() as load:
        direct.space.point_to(MODEL, bad)
        direct.hold()
        direct.until(lambda: any(r.revision == bad.digest for r in load.requests()), "the canary answers")
        direct.moves("abort", "now")
        # Routed is still true for half at the moment of the request; it is told with the rest once that was decided.
        told = ("RolledBack", "Routed")
        direct.until(
            lambda: all(direct.space.condition(MODEL, kind).get("status") == "True" for kind in told),
            "the Service leads back",
        )
        back = load.requests()[-1].at
        direct.until(lambda: direct.alone(2), "two pods serve and no other is there", 180)
        direct.until(lambda: load.requests()[-1].at > back + 4, "requests after the way back")
        assert set(fresh(load, back)) == {stable.digest}
    assert direct.space.ready_servers(MODEL) == before, "the way back restarted a pod"
