"""A model is as large as its load needs, on real Triton behind real Envoy, and no request pays for it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_load import Load, unharmed
from e2e_world import Raw, Space, World, ask

MODEL = "adder"
OBJECTIVE = {"percentile": 95, "milliseconds": 800}
LITTLE: Raw = {"kept": (2.0, 2), "grpc": (2.0, 2)}
MUCH: Raw = {"kept": (7.0, 8), "grpc": (7.0, 4)}
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


def late(sent: Load, since: float) -> float:
    """Share of the requests that left since then and were not answered in time."""
    recent = [r for r in sent.requests() if r.at >= since]
    return sum(r.milliseconds > OBJECTIVE["milliseconds"] for r in recent) / max(len(recent), 1)


def test_a_model_grows_and_shrinks_with_its_load_and_keeps_its_objective(
    space: Space, world: World, tmp_path: Path
) -> None:
    manifest = space.manifest(
        MODEL,
        world.bundles["adder:slow"],
        autoscaling={"minReplicas": 1, "maxReplicas": 3, "objective": OBJECTIVE},
        rollout={"steps": []},
    )
    manifest["spec"]["server"]["resources"]["limits"]["cpu"] = "100m"
    space.apply(manifest)
    space.wait_ready(MODEL)
    begun = time.monotonic()
    with unharmed(load(space, tmp_path / "little.tsv", LITTLE), space.say, space.explain) as sent:
        space.until(lambda: len(sent.requests()) > 100, "a while of little load", seconds=90)
        assert desired(space) == 1
        with unharmed(load(space, tmp_path / "much.tsv", MUCH), space.say, space.explain) as more:
            space.until(lambda: desired(space) >= 2, "more pods are asked for", seconds=60)
            space.say(f"asked for {desired(space)} pods after {time.monotonic() - begun:.0f} s")
            space.until(lambda: len(space.ready_servers(MODEL)) >= 2, "they are ready", seconds=90)

            def held() -> bool:
                return late(more, time.time() - 15) <= 0.05

            space.until(held, "the objective is held again", seconds=120)
            space.say(f"held again after {time.monotonic() - begun:.0f} s with {len(space.ready_servers(MODEL))} pods")
        space.until(lambda: len(space.servers(MODEL)) == 1, "one pod is left", seconds=300)
        space.say(f"one pod is left after {time.monotonic() - begun:.0f} s")
    assert "Scaled" in [reason for reason, _ in space.events(MODEL)]


def test_an_idle_model_ends_its_pods_and_its_next_requests_wait_for_one(space: Space, world: World) -> None:
    zero = {"minReplicas": 0, "maxReplicas": 2, "objective": OBJECTIVE, "idleBeforeZero": "10s"}
    space.deploy(MODEL, world.bundles["adder:1"], autoscaling=zero, rollout={"steps": []})
    space.wait_ready(MODEL)
    space.until(lambda: not space.servers(MODEL), "no pod runs", seconds=120)
    space.until(
        lambda: space.condition(MODEL, "Available").get("reason") == "ScaledToZero", "status says so", seconds=60
    )
    address, begun = space.address(MODEL), time.monotonic()
    with ThreadPoolExecutor(WAITERS) as threads:
        answers = [threads.submit(ask, address, MODEL) for _ in range(WAITERS)]
        assert {a.result()[0] for a in answers} == {2.0}
    space.say(f"{WAITERS} requests waited {time.monotonic() - begun:.1f} s for the first pod")
    space.wait_ready(MODEL)
    assert len(space.ready_servers(MODEL)) == 1
