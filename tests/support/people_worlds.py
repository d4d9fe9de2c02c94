"""ModelDeployments as a person's command finds them: real statuses of the simulated cluster, in every phase."""

import copy
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from domain_objects import Raw, digest, make_spec, wire_time
from domain_world import BEGIN, World, serving

from tidegate.people.model import Event, Model, read

STEPS = [
    {"parity": {}},
    {"weight": 5, "hold": "1m"},
    {"pause": {}},
    {"weight": 50, "hold": "2m"},
]
"""Every kind of step but shadow."""
WEIGHTS = [{"weight": 10, "hold": "1m"}, {"weight": 50, "hold": "1m"}]


def raw(world: World) -> Raw:
    """The object as the API server would give it."""
    subject = world.cluster.subject
    return {
        "metadata": {
            "name": subject.name,
            "namespace": subject.namespace,
            "uid": subject.uid,
            "generation": subject.generation,
            "creationTimestamp": wire_time(BEGIN),
            "annotations": {f"tidegate.dev/{verb}": text for verb, text in world.requests.items()},
        },
        "spec": world.spec.to_wire(),
        "status": world.status.to_wire() if world.looks else {},
    }


def model(world: World) -> Model:
    """What the command makes of it."""
    return read(raw(world))


def events(world: World) -> list[Event]:
    """The events so far; the world does not know when each was, so they are a second apart."""
    first = world.cluster.now - timedelta(seconds=len(world.events))
    return [
        Event(f"e{i}", e.kind, e.reason, e.message, first + timedelta(seconds=i)) for i, e in enumerate(world.events)
    ]


def rolling(steps: list[Raw] | None = None, **rollout: Any) -> World:
    """The rollout of version 2 has its first weight."""
    world = serving(replicas=2, rollout={"steps": steps or WEIGHTS, **rollout})
    world.move_to(2)
    world.until(lambda w: w.weight(2) > 0 and w.status.rollout is not None and w.status.rollout.step_started_at)  # type: ignore[arg-type,return-value]
    return world


def unseen() -> World:
    """No operator has looked at it."""
    return World()


def resolving() -> World:
    """The address is being resolved."""
    world = World()
    world.look()
    return world


def starting() -> World:
    """The first revision starts."""
    world = World(make_spec(replicas=2))
    world.until(lambda w: w.status.phase == "Starting" and w.status.rollout is not None)
    return world


def progressing() -> World:
    """A step is held, and the checks have looked."""
    world = rolling()
    world.run(20)
    return world


def waiting() -> World:
    """A pause step waits for a person."""
    world = serving(replicas=2, rollout={"steps": STEPS})
    world.move_to(2)
    world.until(lambda w: w.status.rollout is not None and w.status.rollout.step == 2)
    world.run(5)
    return world


def extended() -> World:
    """The hold is over, and nobody sends requests."""
    world = rolling()
    world.cluster.idle = True
    world.run(200)
    return world


def paused() -> World:
    """Somebody holds the rollout."""
    world = rolling()
    world.edit(paused=True)
    world.run(5)
    return world


def promoting() -> World:
    """Every step is done, and the rest of the pods start."""
    world = rolling()
    world.ask("promote", "full@now")
    world.until(lambda w: w.status.phase == "Promoting")
    return world


def known_good() -> World:
    """A revision that served before takes over without steps."""
    world = serving(replicas=2, rollout={"steps": WEIGHTS})
    world.move_to(2)
    world.settle()
    world.move_to(1)
    world.until(lambda w: w.status.canary is not None)
    return world


def aborted() -> World:
    """The checks gave the rollout up."""
    world = rolling()
    world.cluster.wrong[digest(2)] = 0.5
    world.settle()
    return world


def baking() -> World:
    """The former revision is warm."""
    world = serving(replicas=2, rollout={"steps": WEIGHTS, "bake": {"duration": "5m"}})
    world.move_to(2)
    world.until(lambda w: w.status.phase == "Baking")
    world.run(20)
    return world


def gone_back() -> World:
    """Somebody went back to the first of three revisions."""
    world = serving()
    first = world.name_of(1)
    for version in (2, 3):
        world.move_to(version)
        world.settle()
    world.ask("rollback-to", f"{first}@now")
    world.settle()
    return world


def ready() -> World:
    """Version 2 serves, version 1 did."""
    world = serving(replicas=2)
    world.move_to(2)
    world.settle()
    return world


def degraded() -> World:
    """Version 1 serves, the next version is not in the store."""
    world = serving()
    world.move_to(9)
    world.until(lambda w: w.status.phase == "Degraded")
    return world


def failed() -> World:
    """Nothing serves: the store is down."""
    world = World()
    world.cluster.store_down = True
    world.until(lambda w: w.status.phase == "Failed")
    return world


def suspended() -> World:
    """No pod shall run."""
    world = serving()
    world.edit(suspend=True)
    world.settle()
    return world


def edited() -> World:
    """Spec was edited, and the operator has not looked since."""
    world = serving()
    world.move_to(2)
    return world


WORLDS: dict[str, Callable[[], World]] = {
    world.__name__: world
    for world in (
        unseen,
        resolving,
        starting,
        progressing,
        waiting,
        extended,
        paused,
        promoting,
        known_good,
        aborted,
        baking,
        gone_back,
        ready,
        degraded,
        failed,
        suspended,
        edited,
    )
}


@functools.cache
def _played(name: str) -> World:
    return WORLDS[name]()


def played(name: str) -> World:
    """One of the worlds, for a test to go on with."""
    return copy.deepcopy(_played(name))
