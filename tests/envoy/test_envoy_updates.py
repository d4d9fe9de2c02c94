"""Promises of the protocol between operator and router: what is read back is what is served."""

import pytest
from envoy_router import NAMESPACE, eventually
from envoy_stage import CANARY, NEIGHBOUR, PORT, STABLE, Stage, neighbour, route, table

from tidegate.domain.observed import PodView
from tidegate.domain.routing import (
    clusters_version,
    grpc_cluster,
    http_cluster,
    knows,
    listeners_version,
    route_version,
    serves,
)
from tidegate.resources.envoy import files


def test_the_versions_that_the_operator_reads_are_the_ones_that_it_wrote(stage: Stage) -> None:
    digits, other = route((STABLE, 60), (CANARY, 40)), neighbour()
    report = stage.serve(digits, other)
    wanted = table(digits, other)
    assert report.reachable
    assert report.listeners == listeners_version(wanted)
    assert report.clusters == clusters_version(wanted)
    assert report.routes == {"digits": route_version(digits), "other": route_version(other)}


def test_the_operator_reads_the_addresses_of_both_clusters_of_every_revision(stage: Stage) -> None:
    wanted = table(route((STABLE, 100), (CANARY, 0)))
    stage.serve(*wanted.routes.values())
    addresses = {name: frozenset({stage.servers[name].address}) for name in (STABLE, CANARY)}

    def known() -> bool:
        report = stage.report(wanted)
        return all(knows(report, name, found) for name, found in addresses.items())

    eventually("the router knows the pods of both revisions", known)
    report = stage.report(wanted)
    for name, found in addresses.items():
        assert report.endpoints[http_cluster(name)] == report.endpoints[grpc_cluster(name)] == found
    assert not knows(report, STABLE, frozenset({"127.9.9.9"}))


def test_a_route_that_is_asked_for_is_not_reported_before_it_is_served(stage: Stage) -> None:
    stage.serve(route((STABLE, 100)))
    wanted = table(route((STABLE, 90), (CANARY, 10)))
    assert not serves(stage.report(wanted), wanted.routes["digits"])


def test_a_change_of_weights_changes_neither_listeners_nor_clusters(stage: Stage) -> None:
    before = stage.serve(route((STABLE, 100), (CANARY, 0)))
    created = stage.router.stat("listener_manager.listener_create_success")
    after = stage.serve(route((STABLE, 50), (CANARY, 50)))
    assert (before.listeners, before.clusters) == (after.listeners, after.clusters)
    assert before.routes != after.routes
    assert stage.router.stat("listener_manager.listener_create_success") == created
    assert stage.router.stat("listener_manager.listener_modified") == 0


@pytest.mark.parametrize("name", ["ready", "views", "admin", "router", "lds", "cds"])
def test_a_model_may_have_any_name_that_the_api_accepts(stage: Stage, name: str) -> None:
    stage.serve(route((STABLE, 100)), neighbour(name))
    assert stage.router.ask(PORT + 1, "/v2").text == NEIGHBOUR
    assert stage.router.ask(PORT, "/v2").text == STABLE


def test_a_model_that_is_gone_loses_its_port_and_its_neighbour_keeps_serving(stage: Stage) -> None:
    stage.serve(route((STABLE, 100)), neighbour())
    stage.serve(route((STABLE, 100)))
    assert stage.router.ask(PORT, "/v2").text == STABLE

    def closed() -> bool:
        try:
            stage.router.ask(PORT + 1, "/v2")
        except OSError:
            return True
        return False

    eventually("the port of the model that is gone is closed", closed)


def test_a_damaged_route_changes_nothing_and_is_never_reported_as_served(stage: Stage) -> None:
    stage.serve(route((STABLE, 100), (CANARY, 0)))
    wanted = table(route((STABLE, 0), (CANARY, 100)))
    rendered = files(wanted, NAMESPACE, "cluster.local")
    failures = stage.router.stat("http.digits.rds.digits.update_failure")
    stage.router.write_files(rendered | {"rds-digits.json": rendered["rds-digits.json"][:200]})
    eventually(
        "Envoy has refused the file",
        lambda: stage.router.stat("http.digits.rds.digits.update_failure") > failures,
    )
    assert stage.router.ask(PORT, "/v2").text == STABLE
    assert not serves(stage.report(wanted), wanted.routes["digits"])
    stage.serve(*wanted.routes.values())
    assert stage.router.ask(PORT, "/v2").text == CANARY


def test_an_unknown_field_is_refused_not_ignored(stage: Stage) -> None:
    stage.serve(route((STABLE, 100), (CANARY, 0)))
    wanted = table(route((STABLE, 0), (CANARY, 100)))
    rendered = files(wanted, NAMESPACE, "cluster.local")
    rejected = stage.router.stat("http.digits.rds.digits.update_rejected")
    misspelt = rendered["rds-digits.json"].replace('"timeout"', '"timeoot"')
    assert misspelt != rendered["rds-digits.json"]
    stage.router.write_files(rendered | {"rds-digits.json": misspelt})
    eventually(
        "Envoy has refused the file",
        lambda: stage.router.stat("http.digits.rds.digits.update_rejected") > rejected,
    )
    assert not serves(stage.report(wanted), wanted.routes["digits"])


def test_a_router_that_is_not_there_is_reported_as_unreachable(stage: Stage) -> None:
    wanted = table(route((STABLE, 100)))
    gone = PodView({"metadata": {"name": "gone"}, "status": {"podIP": "127.9.9.9"}})
    new = PodView({"metadata": {"name": "new"}, "status": {}})
    here, missing = stage.telemetry.reports([stage.router.pod, gone, new], wanted)
    assert (here.reachable, missing.reachable, missing.pod) == (True, False, "gone")


def test_a_new_model_is_served_though_the_kubelet_shows_its_file_after_the_others_changed(stage: Stage) -> None:
    stage.serve(route((STABLE, 100)))
    wanted = table(route((STABLE, 100)), neighbour("latecomer"))
    attempts = stage.router.stat("listener_manager.lds.update_attempt")

    def until_envoy_has_looked() -> None:
        eventually("Envoy reads", lambda: stage.router.stat("listener_manager.lds.update_attempt") > attempts)

    stage.router.write_files(files(wanted, NAMESPACE, "cluster.local"), until_envoy_has_looked)
    eventually("the new model is served", lambda: serves(stage.report(wanted), wanted.routes["latecomer"]))
    assert stage.router.ask(PORT + 1, "/v2").text == NEIGHBOUR


def test_only_places_are_replaced_for_these_tests(stage: Stage) -> None:
    for text in files(table(route((STABLE, 100))), NAMESPACE, "cluster.local").values():
        local = stage.router.localized(text).replace(
            stage.servers[STABLE].address, f"{STABLE}.vision.svc.cluster.local."
        )
        assert local.replace(stage.router.address, "0.0.0.0").replace(str(stage.router.folder), "/etc/tidegate") == text
