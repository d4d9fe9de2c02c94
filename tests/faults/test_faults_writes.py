"""A crash after any write, and a failure of any write, comes to the end that it would have come to without."""

import cluster_scenarios as scenarios
import pytest
from cluster_requests import Fault, at_write, die_after, every_write_once, lose_answer, lose_request, refuse
from kubernetes.client import ApiClient

AT_MOST = 6
"""Crashes tried in a scenario with more writes than this: evenly spread, the first and the last among them."""
FAILURES: dict[str, Fault] = {
    "conflict": refuse(409, "the object has been modified"),
    "internal error": refuse(500, "etcdserver: request timed out"),
    "too many requests": refuse(429, "too many requests, please try again later"),
    "the request is lost": lose_request,
    "the answer is lost": lose_answer,
}


def spread(count: int) -> list[int]:
    """At most AT_MOST numbers from 1 to ``count``, e.g. 1, 4, 7, ... for a long scenario."""
    if count <= AT_MOST:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / (AT_MOST - 1)) for i in range(AT_MOST)})


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_a_crash_after_any_write_comes_to_the_same_end(api: ApiClient, name: str) -> None:
    wanted = scenarios.undisturbed(api, name)
    assert wanted.silent
    assert wanted.errors == ()
    crashes = {f"after {wanted.writes[k - 1]} ({k})": at_write(k, die_after) for k in spread(len(wanted.writes))}
    assert "\n".join(scenarios.compare(api, name, crashes)) == ""


def test_every_write_of_a_first_rollout_may_fail_once(api: ApiClient) -> None:
    faults = {label: every_write_once(fault) for label, fault in FAILURES.items()}
    assert "\n".join(scenarios.compare(api, "first rollout", faults)) == ""


def test_every_write_of_a_second_rollout_may_fail_once(api: ApiClient) -> None:
    faults = {label: every_write_once(FAILURES[label]) for label in ("conflict", "the answer is lost")}
    assert "\n".join(scenarios.compare(api, "rollout of a second version", faults)) == ""
