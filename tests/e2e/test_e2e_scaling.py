"""A model is as large as its load needs, on real Triton behind real Envoy, and no request pays for it."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

import pytest
from e2e_load import Load, Request, unharmed
from e2e_sizes import foretold, lived, recorded
from e2e_world import Raw, Space, World, ask

from tidegate.simulation.model import Model

MODEL = "adder"
OBJECTIVE = {"percentile": 95, "milliseconds": 800}
LITTLE: Raw = {"kept": (2.0, 2), "grpc": (2.0, 2)}
MUCH: Raw = {"kept": (15.0, 8), "grpc": (15.0, 4)}
"""One pod of the heavy model serves at most 20 requests a second: the little load fits, and both together do not."""
MOST = 4
WAITERS = 20


@pytest.fixture(scope="module")
def space(make_space: Callable[[str], Space]) -> Space:
    """A namespace of its own."""
    return make_space("scaling")


def load(space: Space, file: Path, rates: Raw) -> Load:
    """A load upon the model."""
    plan = {"http": space.address(MODEL), "grpc": space.address(MODEL, 8001), "model": MODEL, "rates": rates}
    return Load(plan | {"offsets": space.world.offsets}, file)


def desired(space: Space) -> int:
    """Pods that autoscaling asks for."""
    return int((space.status(MODEL).get("scaling") or {}).get("desired", 0))


def late(requests: Sequence[Request], since: float) -> float:
    """Share of the requests that left since then and were not answered in time."""
    recent = [r for r in requests if r.at >= since]
    return sum(r.milliseconds > OBJECTIVE["milliseconds"] for r in recent) / max(len(recent), 1)


def alone(requests: Sequence[Request]) -> float:
    """Seconds of a request that meets no other."""
    return quantiles((r.milliseconds for r in requests), n=10)[0] / 1000


def test_a_model_grows_and_shrinks_with_its_load_and_keeps_its_objective(
    space: Space, world: World, tmp_path: Path
) -> None:
    scaling = {"minReplicas": 1, "maxReplicas": MOST, "objective": OBJECTIVE}
    space.deploy(MODEL, world.bundles["adder:heavy"], autoscaling=scaling, rollout={"steps": []})
    space.wait_ready(MODEL)
    little = load(space, tmp_path / "little.tsv", LITTLE)
    with recorded(lambda: desired(space)) as sizes, unharmed(little, space.say, space.explain):
        space.until(
            lambda: len(little.requests()) > 120 and desired(space) == 1,
            "one pod for a while of little load",
            seconds=300,
        )
        service, begun = alone(little.requests()), time.time()
        much = load(space, tmp_path / "much.tsv", MUCH)
        with unharmed(much, space.say, space.explain):
            space.until(lambda: len(space.ready_servers(MODEL)) >= 2, "more pods are ready", seconds=120)
            ready = time.time()
            space.say(f"{len(space.ready_servers(MODEL))} pods are ready after {ready - begun:.0f} s")

            def held() -> bool:
                return time.time() - begun > 60 and late(much.requests(), time.time() - 15) <= 0.05

            space.until(held, "the objective is held again", seconds=120)
        ended = time.time()
        peak = max(size for _, size in sizes.asked)
        # For some time it keeps what such a jump would need again, as it does in the simulator.
        space.until(lambda: desired(space) < peak, "fewer pods are asked for", seconds=400)
        space.until(lambda: len(space.servers(MODEL)) < peak, "pods went", seconds=60)
        space.say(f"{len(space.servers(MODEL))} pods are left {time.time() - ended:.0f} s after the load")
    requests = [*little.requests(), *much.requests()]
    assert "Scaled" in [reason for reason, _ in space.events(MODEL)]
    course = lived(sizes, requests, begun, OBJECTIVE["milliseconds"])
    # What is late is late while pods start: as long as the one that was asked for now, not as the first one alone.
    live = Model(fixed=service, startup=ready - begun - course.grown, limit=OBJECTIVE["milliseconds"] / 1000)
    prediction = foretold(requests, begun, live, MOST)
    space.say(f"lived:    {course}")
    space.say(f"foretold: {prediction} (a request takes {service * 1000:.0f} ms, a start {live.startup:.1f} s)")
    assert abs(course.peak - prediction.peak) <= 1
    assert abs(course.grown - prediction.grown) <= 10
    assert abs(course.inside - prediction.inside) <= 10
    assert 0.5 <= course.cost / prediction.cost <= 2


def test_an_idle_model_ends_its_pods_and_its_next_requests_wait_for_one(space: Space, world: World) -> None:
    zero = {"minReplicas": 0, "maxReplicas": 2, "objective": OBJECTIVE, "idleBeforeZero": "10s"}
    space.deploy(MODEL, world.bundles["adder:1"], autoscaling=zero, rollout={"steps": []})
    space.wait_ready(MODEL)
    # A pod that is told to go serves until its routers have forgotten it.
    pods = f"tidegate.dev/model={MODEL},tidegate.dev/component=server"
    space.until(lambda: not space.objects("pods", pods), "no pod is left", seconds=180)
    space.until(
        lambda: space.condition(MODEL, "Available").get("reason") == "ScaledToZero", "status says so", seconds=60
    )
    address, begun = space.address(MODEL), time.monotonic()
    with ThreadPoolExecutor(WAITERS) as threads:
        answers = [threads.submit(ask, address, MODEL) for _ in range(WAITERS)]
        assert {a.result()[0] for a in answers} == {2.0}
    space.say(f"{WAITERS} requests waited {time.monotonic() - begun:.1f} s for the first pod")
    space.wait_ready(MODEL)
    assert space.ready_servers(MODEL)
