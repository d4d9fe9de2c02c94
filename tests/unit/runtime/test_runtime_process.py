"""Promises of the operator's process: its health can be asked, its watches wake the queue, its footing is watched."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import kopf
import pytest
import urllib3
from http_stub import Asked, HttpStub, Reply, stub
from kubernetes.client import Configuration
from resources_examples import OTHER_SETTINGS, PLAN, SETTINGS, observed

from tidegate.adapters.api import client
from tidegate.api.v1alpha1 import GROUP, PLURAL, VERSION
from tidegate.domain.labels import COMPONENT, MODEL, SHARD
from tidegate.domain.observed import Raw
from tidegate.domain.plan import Poke
from tidegate.resources.build import own_objects
from tidegate.runtime import app, metrics
from tidegate.runtime.app import Options, identity
from tidegate.runtime.handlers import CHILDREN, configure_kopf, registry
from tidegate.runtime.metrics import Heartbeat, observe, serve
from tidegate.runtime.writes import ensure

LOOPBACK = "127.0.0.1"


def get(port: int, path: str) -> tuple[int, str]:
    with urllib3.PoolManager(retries=False, timeout=5) as http:
        answer = http.request("GET", f"http://{LOOPBACK}:{port}{path}")
        return answer.status, answer.data.decode()


def with_health(story: Callable[[int, Heartbeat], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        heartbeat = Heartbeat()
        runner = await serve(0, heartbeat)
        try:
            # An address of IPv4 is a pair.
            await story(next(a[1] for a in runner.addresses if len(a) == 2), heartbeat)
        finally:
            await runner.cleanup()

    asyncio.run(main())


def test_health_and_readiness_answer_while_the_loop_turns() -> None:
    async def story(port: int, heartbeat: Heartbeat) -> None:
        assert await asyncio.to_thread(get, port, "/healthz") == (200, "ok\n")
        assert await asyncio.to_thread(get, port, "/readyz") == (200, "ok\n")
        assert (await asyncio.to_thread(get, port, "/"))[0] == 404

    with_health(story)


def test_a_loop_that_stood_still_is_unhealthy_and_is_healthy_again_after_a_beat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(port: int, heartbeat: Heartbeat) -> None:
        monkeypatch.setattr(metrics, "STUCK_SECONDS", -1.0)
        assert await asyncio.to_thread(get, port, "/healthz") == (500, "stuck\n")
        monkeypatch.setattr(metrics, "STUCK_SECONDS", 60.0)
        assert (await asyncio.to_thread(get, port, "/healthz"))[0] == 200

    with_health(story)


def test_reconciles_are_counted_by_outcome_and_measured() -> None:
    async def story(port: int, heartbeat: Heartbeat) -> None:
        observe("Unavailable", 0.03)
        status, text = await asyncio.to_thread(get, port, "/metrics")
        assert status == 200
        assert 'tidegate_reconcile_total{result="Unavailable"}' in text
        for name in ("tidegate_reconcile_duration_seconds_bucket", "tidegate_leader", "tidegate_workqueue_depth"):
            assert name in text

    with_health(story)


class Woken:
    """A queue that keeps what it was asked."""

    def __init__(self) -> None:
        self.woken: list[tuple[str, str]] = []
        self.forgotten: list[tuple[str, str]] = []

    def wake(self, namespace: str, name: str, *, delay: float = 0.0) -> None:
        assert delay == 0.0
        self.woken.append((namespace, name))

    def forget(self, namespace: str, name: str) -> None:
        self.forgotten.append((namespace, name))


class Watches:
    """The handlers as Kopf would call them."""

    def __init__(self) -> None:
        self.queue = Woken()
        self.registry = registry(self.queue)  # type: ignore[arg-type]
        self.handlers = list(self.registry._watching.get_all_handlers())

    def event(
        self, plural: str, name: str, kind: str | None = None, labels: dict[str, str] | None = None, **more: Any
    ) -> None:
        self.queue.woken.clear()
        (handler,) = [h for h in self.handlers if h.selector.plural == plural or h.selector.any_name == plural]
        asyncio.run(handler.fn(namespace="vision", name=name, type=kind, labels=labels or {}, **{"body": {}, **more}))


@pytest.fixture
def watches() -> Watches:
    return Watches()


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED"])
def test_whatever_happens_to_a_model_wakes_it(watches: Watches, kind: str | None) -> None:
    watches.event(PLURAL, "digits", kind)
    assert watches.queue.woken == [("vision", "digits")]


@pytest.mark.parametrize("plural", ["deployments", "jobs", "services", "pods"])
def test_whatever_happens_to_an_object_of_a_model_wakes_the_model(watches: Watches, plural: str) -> None:
    watches.event(plural, "digits-1", labels={MODEL: "digits", COMPONENT: "server"})
    assert watches.queue.woken == [("vision", "digits")]


@pytest.mark.parametrize("plural", ["deployments", "pods", "configmaps"])
def test_whatever_happens_to_a_router_wakes_every_model_of_the_namespace(watches: Watches, plural: str) -> None:
    for name in ("digits", "letters"):
        watches.event(PLURAL, name, "ADDED")
    watches.event(plural, "tidegate-router", labels={COMPONENT: "router"})
    assert watches.queue.woken == [("vision", "digits"), ("vision", "letters")]


def written(watches: Watches, shard: str, *models: str) -> None:
    """A router's table is seen, with routes of these models."""
    data = {"lds.json": "{}", "cds.json": "{}", "table.json": "{}"} | {f"rds-{name}.json": "{}" for name in models}
    watches.event("configmaps", "r", "MODIFIED", {COMPONENT: "router", SHARD: shard}, body={"data": data})


@pytest.fixture
def two_routers(watches: Watches) -> Watches:
    for name in ("digits", "letters", "signs"):
        watches.event(PLURAL, name, "ADDED")
    written(watches, "0", "digits", "letters")
    written(watches, "1", "signs")
    return watches


@pytest.mark.parametrize(("shard", "woken"), [("0", ["digits", "letters"]), ("1", ["signs"])])
def test_what_happens_to_one_of_several_routers_wakes_its_own_models(
    two_routers: Watches, shard: str, woken: list[str]
) -> None:
    two_routers.event("pods", "r-1", labels={COMPONENT: "router", SHARD: shard})
    assert two_routers.queue.woken == [("vision", name) for name in woken]


def test_a_model_whose_route_was_taken_out_of_a_table_is_woken_by_that(two_routers: Watches) -> None:
    written(two_routers, "0", "digits")
    assert two_routers.queue.woken == [("vision", "digits"), ("vision", "letters")]
    written(two_routers, "0", "digits")
    assert two_routers.queue.woken == [("vision", "digits")]


def test_a_router_that_was_never_seen_wakes_every_model(two_routers: Watches) -> None:
    two_routers.event("pods", "r-1", labels={COMPONENT: "router", SHARD: "2"})
    assert len(two_routers.queue.woken) == 3


def test_a_deleted_model_wakes_those_of_its_own_router(two_routers: Watches) -> None:
    two_routers.event(PLURAL, "digits", "DELETED")
    assert two_routers.queue.woken == [("vision", "letters")]


def test_a_deleted_model_is_forgotten_and_its_neighbours_take_its_route_out(watches: Watches) -> None:
    for name in ("digits", "letters"):
        watches.event(PLURAL, name, "ADDED")
    watches.event(PLURAL, "digits", "DELETED")
    assert watches.queue.forgotten == [("vision", "digits")]
    assert watches.queue.woken == [("vision", "letters")]
    watches.event("pods", "tidegate-router-1", labels={COMPONENT: "router"})
    assert watches.queue.woken == [("vision", "letters")]


def test_an_object_of_nobody_wakes_nobody(watches: Watches) -> None:
    watches.event("pods", "other", labels={COMPONENT: "server"})
    assert watches.queue.woken == []


def test_deleting_a_model_never_waits_for_the_operator(watches: Watches) -> None:
    assert not list(watches.registry._changing.get_all_handlers()), "these would need a finalizer"
    assert not list(watches.registry._spawning.get_all_handlers())
    watched = {
        (h.selector.group, h.selector.version, h.selector.plural or h.selector.any_name) for h in watches.handlers
    }
    assert watched == {(GROUP, VERSION, PLURAL), ("", "v1", "configmaps"), *CHILDREN}


def test_kopf_asks_in_bounds_and_writes_no_events_of_its_own() -> None:
    settings = kopf.OperatorSettings()
    configure_kopf(settings)
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    for seconds in (settings.networking.request_timeout, settings.watching.server_timeout):
        assert seconds
        assert 0 < seconds <= 600


@pytest.fixture
def server() -> Iterator[HttpStub]:
    """An API server that knows nothing and refuses the lease."""

    def refuse(asked: Asked) -> Reply:
        return Reply({"message": "no lease for you"}, 403 if "leases" in asked.path else 404)

    with stub(refuse) as found:
        yield found


def run(server: HttpStub, monkeypatch: pytest.MonkeyPatch, **more: Any) -> int:
    monkeypatch.setattr(app, "connect", lambda connections: client(Configuration(host=server.url)))
    return app.main(Options(settings=SETTINGS, **{"metrics_port": 0, **more}))


def test_an_operator_that_does_not_lead_touches_nothing_and_stops_when_told(
    server: HttpStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = server.answer

    def stop_soon(asked: Asked) -> Reply:
        os.kill(os.getpid(), signal.SIGTERM)
        return refuse(asked)

    server.answer = stop_soon
    assert run(server, monkeypatch) == 0
    assert {asked.method for asked in server.asked} == {"GET"}
    assert all("leases" in asked.path for asked in server.asked)


def test_a_port_that_is_taken_is_one_sentence_and_a_bad_end(
    server: HttpStub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(server, monkeypatch, metrics_port=port) == 1
    (message,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert message.startswith(f"port {port} for metrics and health cannot be opened: ")
    assert server.asked == []


def test_a_process_has_the_name_of_its_pod_or_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAME", "tidegate-operator-7")
    assert identity() == "tidegate-operator-7"
    monkeypatch.delenv("POD_NAME")
    assert identity().startswith(socket.gethostname())


class Writes:
    """A cluster that takes every write."""

    def __init__(self) -> None:
        self.applied: list[str] = []

    def apply(self, manifest: dict[str, Any], *, force: bool) -> None:
        self.applied.append(f"{manifest['kind']}/{manifest['metadata']['name']}")

    def delete(self, existing: Raw) -> None:
        raise AssertionError("nothing is to be deleted")

    def poke(self, namespace: str, poke: Poke) -> None:
        raise AssertionError("no router is to be told anything")


def test_what_already_is_as_it_should_be_costs_no_request() -> None:
    writes = Writes()
    for manifest in own_objects(observed(), PLAN, SETTINGS):
        ensure(writes, manifest, json.loads(json.dumps(manifest)))
    assert writes.applied == []


@pytest.mark.parametrize("kind", ["Job", "ControllerRevision"])
def test_what_nobody_may_change_does_not_stop_the_model_when_an_upgrade_would_write_it_otherwise(kind: str) -> None:
    writes = Writes()
    wanted = next(o for o in own_objects(observed(), PLAN, OTHER_SETTINGS) if o["kind"] == kind)
    before: dict[str, Any] = json.loads(json.dumps(wanted))
    content = before["spec"]["template"]["spec"]["containers"][0] if kind == "Job" else before["data"]
    content["image" if kind == "Job" else "version"] = "older"
    ensure(writes, wanted, before)
    assert writes.applied == []


def test_a_label_or_an_owner_that_somebody_removed_comes_back() -> None:
    for wanted in own_objects(observed(), PLAN, SETTINGS):
        writes = Writes()
        before: dict[str, Any] = json.loads(json.dumps(wanted))
        del before["metadata"]["ownerReferences"]
        ensure(writes, wanted, before)
        assert writes.applied == [f"{wanted['kind']}/{wanted['metadata']['name']}"]
