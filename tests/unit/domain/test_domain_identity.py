"""Names, revisions, routes: what is the same, what differs, and what is read back as it was written."""

from dataclasses import replace

import pytest
from domain_objects import digest, edited, make_spec, pod, uri
from domain_world import BEGIN, World, serving

from tidegate.api.status import Artifact
from tidegate.domain import names
from tidegate.domain.artifact import resolve_key
from tidegate.domain.observed import Observed, PodView, Subject
from tidegate.domain.revision import Pins, Revision, StoredRevision, revision_of
from tidegate.domain.routing import (
    Backend,
    Route,
    RouterReport,
    Table,
    clusters_version,
    knows,
    listeners_version,
    route_version,
    serves,
    table_version,
    up_to_date,
)

PINS = Pins(packager_image="tidegate/packager:1")
REVISION_ID = "ac445433"
RESOLVE_KEY = "5f4e16"


def revision(**fields: object) -> Revision:
    artifact = Artifact(uri=uri(1), digest=digest(1), name="digits", version="1")
    return revision_of(edited(make_spec(), **fields), artifact, PINS)


@pytest.mark.parametrize(
    "fields",
    [
        {"replicas": 7},
        {"paused": True},
        {"rollout": {"steps": []}},
        {"traffic": {"timeout": "5s"}},
        {"revisionHistoryLimit": 0},
        {"suspend": True},
    ],
)
def test_edits_that_do_not_touch_pods_make_no_revision(fields: dict[str, object]) -> None:
    assert revision(**fields).id == revision().id


@pytest.mark.parametrize(
    "fields",
    [
        {"server": {"accelerator": "CPU"}},
        {"server": {"args": ["--log-verbose=1"]}},
        {"server": {"resources": {"limits": {"memory": "1Gi"}}}},
        {"server": {"template": {"spec": {"nodeSelector": {"gpu": "l4"}}}}},
        {"model": {"uri": "s3://other/digits:1"}},
        {"model": {"uri": "s3://models/digits:1", "credentialsSecretRef": {"name": "models-read"}}},
        {"verification": {"signature": {"publicKeySecretRef": {"name": "signing", "key": "a.pub"}}}},
    ],
)
def test_edits_that_touch_pods_make_a_revision(fields: dict[str, object]) -> None:
    assert revision(**fields).id != revision().id


@pytest.mark.parametrize("reference", [{"name": "other", "key": "a.pub"}, {"name": "signing", "key": "b.pub"}])
def test_another_key_is_another_revision(reference: dict[str, str]) -> None:
    def signed(where: dict[str, str]) -> str:
        return revision(verification={"signature": {"publicKeySecretRef": where}}).id

    assert signed(reference) != signed({"name": "signing", "key": "a.pub"})
    assert signed(reference) == signed(dict(reference))


def test_what_asks_for_no_signature_keeps_the_names_that_it_had_before_signatures() -> None:
    assert revision().id == REVISION_ID
    assert "publicKey" not in revision().to_wire()
    assert resolve_key(make_spec()) == RESOLVE_KEY


def test_the_same_bundle_by_version_or_by_digest_is_the_same_revision() -> None:
    assert revision(model={"uri": f"s3://models/digits@{digest(1)}"}).id == revision().id


def test_a_new_operator_makes_no_new_revision_and_keeps_the_old_pins() -> None:
    world = serving()
    before = dict(world.cluster.workloads)
    world.cluster.pins = Pins(packager_image="tidegate/packager:2", drain_seconds=60)
    world.run(5)
    world.look()
    assert world.cluster.workloads == before
    load = next(iter(before.values()))
    assert load.revision.revision.pins.packager_image == "tidegate/packager:1"
    world.move_to(2)
    world.settle()
    load = next(iter(world.cluster.workloads.values()))
    assert load.revision.revision.pins.packager_image == "tidegate/packager:2"


def test_another_time_out_restarts_no_pod_and_the_next_revision_waits_for_its_requests() -> None:
    world = serving()
    before = dict(world.cluster.workloads)
    world.edit(traffic={"timeout": "10m"})
    world.settle()
    assert world.cluster.workloads == before
    world.move_to(2)
    world.settle()
    load = next(iter(world.cluster.workloads.values()))
    assert load.revision.revision.longest_request_seconds == 600


def test_a_revision_of_before_is_as_patient_as_it_was() -> None:
    kept = {name: value for name, value in revision().to_wire().items() if name != "longestRequestSeconds"}
    assert Revision.model_validate(kept).longest_request_seconds == 30


def test_pods_fetch_by_digest_whatever_happens_to_the_version() -> None:
    assert revision().bundle_uri == f"s3://models/digits@{digest(1)}"


@pytest.mark.parametrize("owner", ["a", "digits", "x" * 63, "a" * 44 + "-" * 10 + "b" * 9, "y" * 54, "y" * 55])
def test_names_are_labels(owner: str) -> None:
    made = [names.revision(owner, "0a1b2c3d"), names.resolve_job(owner, "abcdef", 123456)]
    made.append(names.parity_job(owner, made[0], 123456))
    for name in made:
        assert len(name) <= 63
        assert name[0].isalpha()
        assert name[-1].isalnum()


def route(**weights: int) -> Route:
    split = tuple(Backend(revision=r, weight=w, digest="sha256:0") for r, w in weights.items())
    return Route(model="digits", port=20000, timeout_seconds=30, backends=split)


def report(table: Table, **changes: object) -> RouterReport:
    fields = {
        "pod": "r",
        "listeners": listeners_version(table),
        "clusters": clusters_version(table),
        "routes": {name: route_version(r) for name, r in table.routes.items()},
    }
    return RouterReport(**(fields | changes))  # type: ignore[arg-type]


def test_a_router_serves_a_route_only_with_exactly_its_split() -> None:
    table = Table(routes={"digits": route(a=95, b=5)})
    assert serves(report(table), route(a=95, b=5))
    assert not serves(report(table), route(a=90, b=10))
    assert not serves(report(table, reachable=False), route(a=95, b=5))
    assert not serves(report(Table()), route(a=95, b=5))


def test_a_revision_without_weight_is_no_part_of_the_split_but_of_the_table() -> None:
    lean, known = Table(routes={"digits": route(a=100)}), Table(routes={"digits": route(a=100, b=0)})
    assert serves(report(lean), route(a=100, b=0))
    assert not up_to_date(report(lean), known)
    assert up_to_date(report(known), known)
    assert table_version(lean) != table_version(known)


@pytest.mark.parametrize("change", [{"port": 20001}, {"timeout_seconds": 5}, {"model": "faces"}])
def test_whatever_a_router_renders_is_in_its_version(change: dict[str, object]) -> None:
    assert route_version(route(a=100).model_copy(update=change)) != route_version(route(a=100))


def test_a_router_knows_pods_only_by_http_and_grpc() -> None:
    both = frozenset({"10.0.0.1", "10.0.0.2"})
    endpoints = {"a-http": both, "a-grpc": both}
    assert knows(RouterReport("r", endpoints=endpoints), "a", both)
    assert knows(RouterReport("r", endpoints=endpoints), "a", frozenset({"10.0.0.1"}))
    assert not knows(RouterReport("r", endpoints=endpoints | {"a-grpc": frozenset({"10.0.0.1"})}), "a", both)
    assert not knows(RouterReport("r", endpoints={"a-http": both}), "a", both)
    assert not knows(RouterReport("r", reachable=False, endpoints=endpoints), "a", both)


def test_a_port_is_kept_unless_somebody_else_has_it() -> None:
    table = Table(routes={"a": route(x=100).model_copy(update={"model": "a"})})
    assert table.free_port("a", None) == 20000
    assert table.free_port("b", None) == 20001
    assert table.free_port("b", 20007) == 20007
    assert table.free_port("b", 20000) == 20001


def test_what_is_stored_is_read_back_as_it_was() -> None:
    world = serving()
    world.move_to(2)
    world.until(lambda w: w.weight(2) == 25)
    table = world.cluster.table
    assert table is not None
    assert Table.model_validate_json(table.model_dump_json(by_alias=True)) == table
    for stored in world.cluster.revisions.values():
        assert StoredRevision.model_validate(stored.to_wire()) == stored
    assert world.cluster.observe().table() == table
    assert world.cluster.observe().revisions() == world.cluster.revisions


def test_objects_that_cannot_be_read_are_as_good_as_absent() -> None:
    subject = Subject(name="digits", namespace="vision", uid="u-1", generation=1)
    broken = {"kind": "ControllerRevision", "metadata": {"name": "digits-1"}, "revision": 1, "data": {"x": 1}}
    table = {"kind": "ConfigMap", "metadata": {"name": "tidegate-router"}, "data": {"table.json": '{"routes": 7}'}}
    observed = Observed(subject=subject, pins=PINS, objects=(broken,), router=(table,))
    assert observed.revisions() == {}
    assert observed.table() == Table()


def test_bare_objects_never_stop_a_decision() -> None:
    world = World()
    world.cluster.now = BEGIN
    bare = {"kind": "Pod", "metadata": {"name": "p"}}
    view = PodView(bare)
    assert (view.revision, view.address, view.ready, view.leaving, view.ended) == ("", "", False, False, False)
    observed = world.cluster.observe()
    strange = replace(observed, objects=(bare, pod("q")), router=(bare,))
    assert strange.resolve() == ()
    assert [p.name for p in strange.routers()] == ["p"]
