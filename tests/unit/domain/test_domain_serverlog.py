"""A model that does not load is told in Triton's own words, not in a page of tables."""

import pytest
from domain_objects import container, pod

from tidegate.domain.diagnose import diagnose
from tidegate.domain.observed import PodView
from tidegate.domain.serverlog import reason

TABLE = "+--------+---------+--------+\n| Model  | Version | Status |\n+--------+---------+--------+\n"
LOAD = (
    'I1121 08:00:00.1 1 model_lifecycle.cc:472] "loading: digits:1"\n'
    "E1121 08:00:01.2 1 model_lifecycle.cc:654] \"failed to load 'digits' version 1: Internal: opset 99 is not\n"
    'supported"\n'
    "I1121 08:00:01.3 1 server.cc:620] \n" + TABLE
)
LOGS = {
    "a model": (LOAD, "failed to load 'digits' version 1: Internal: opset 99 is not supported"),
    "a configuration": (
        "E1121 08:00:01.2 1 manager.cc:1460] \"Poll failed for model directory 'digits': no backend\"\n",
        "Poll failed for model directory 'digits': no backend",
    ),
    "a flag": ("tritonserver: unrecognized option '--nope'\nUsage: ...", "tritonserver: unrecognized option '--nope'"),
    "nothing known": ("I1121 08:00:00.1 1 main.cc] started\n" + TABLE, None),
    "nothing": ("", None),
}


@pytest.mark.parametrize("row", LOGS)
def test_the_reason_is_found_in_the_log(row: str) -> None:
    log, found = LOGS[row]
    told = reason(log)
    if found is None:
        assert told is None
    else:
        assert told is not None
        assert told.startswith(found)
        assert "+--" not in told


def test_the_log_goes_before_the_end_that_kubernetes_kept() -> None:
    ended = {"exitCode": 1, "message": TABLE}
    view = PodView(pod("p", "digits-0a1b2c3d", containers=[container("triton", terminated=ended)]), LOAD)
    cause = diagnose([view])
    assert cause is not None
    assert cause.reason == "ModelLoadFailed"
    assert "opset 99" in cause.message
    assert "+--" not in cause.message
