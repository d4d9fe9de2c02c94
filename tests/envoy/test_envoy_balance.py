"""Promises about which of a revision's pods gets a request."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from envoy_router import DOMAIN, NAMESPACE, eventually
from envoy_stage import PORT, STABLE, Stage, route, standing, table

from tidegate.resources import envoy

INFER = "/v2/models/digits/infer"
PODS = ("pod-a", "pod-b", "pod-c", "pod-d")
ONLY_STABLE = table(route((STABLE, 100)))


def with_pods(files: dict[str, str]) -> dict[str, str]:
    """A router's files with four addresses where a revision's name stands: what a cluster's DNS would answer."""
    found = json.loads(files["cds.json"])
    for cluster in found["resources"]:
        if cluster["name"].startswith(STABLE):
            (group,) = cluster["load_assignment"]["endpoints"]
            (one,) = group["lb_endpoints"]
            group["lb_endpoints"] = [
                json.loads(json.dumps(one).replace(f"{STABLE}.{NAMESPACE}", f"{pod}.{NAMESPACE}")) for pod in PODS
            ]
    return files | {"cds.json": json.dumps(found)}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with standing(tmp_path_factory.mktemp("router"), ONLY_STABLE, PODS, PODS[0]) as found:
        yield found


@pytest.fixture
def pods(running: Stage) -> Stage:
    """Four pods that answer well, none of them left out."""
    files = envoy.files(ONLY_STABLE, NAMESPACE, DOMAIN)
    for server in running.servers.values():
        server.reset()
    running.router.write_files(with_pods(files))
    eventually("every pod answers", lambda: set(running.router.ask_often(PORT, INFER, 40)) == set(PODS))
    for server in running.servers.values():
        server.reset()
    return running


def ask(stage: Stage, times: int, at_once: int) -> Counter[int]:
    """Statuses of many answers, so many requests in flight at a time."""
    with ThreadPoolExecutor(at_once) as clients:
        answers = clients.map(lambda _: stage.router.ask(PORT, INFER), range(times))
        return Counter(answer.status for answer in answers)


def test_a_request_goes_to_a_free_pod_while_there_is_one(pods: Stage) -> None:
    for server in pods.servers.values():
        server.delay = 0.05
    assert ask(pods, 200, at_once=len(PODS)) == {200: 200}
    shared = sum(server.shared for server in pods.servers.values())
    # Of two chosen at random both are busy half of the time that three of four are.
    assert shared < 0.1 * 200, f"{shared} of 200 requests came to a pod that had another"


def test_a_pod_that_fails_at_once_does_not_draw_all_requests_to_it(pods: Stage) -> None:
    failing, *others = (pods.servers[pod] for pod in PODS)
    failing.status = 500
    for server in others:
        server.delay = 0.05
    statuses = ask(pods, 300, at_once=12)
    assert statuses[500] <= envoy.FAILS_IN_A_ROW + 12, statuses
    assert statuses[200] == 300 - statuses[500], statuses


def test_a_model_that_fails_on_every_pod_still_answers_with_its_own_error(pods: Stage) -> None:
    for server in pods.servers.values():
        server.status = 500
    statuses = ask(pods, 6 * envoy.FAILS_IN_A_ROW, at_once=12)
    assert statuses == {500: 6 * envoy.FAILS_IN_A_ROW}
