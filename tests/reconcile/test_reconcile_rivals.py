"""Somebody else writes to the same object: every write of the operator names what it replaces, and none is lost."""

from typing import Any

from cluster_requests import Request, Send
from cluster_stage import Stage
from domain_objects import uri

from tidegate.adapters.errors import Conflict


class Rival:
    """Annotates the ModelDeployment each time that the operator has read it, ``times`` times."""

    def __init__(self, stage: Stage, times: int) -> None:
        self._stage = stage
        self.left = times

    def __call__(self, request: Request, send: Send) -> Any:
        answer = send()
        if self.left > 0 and request.verb == "get" and request.resource == "modeldeployments":
            self.left -= 1
            self._stage.patch("ModelDeployment", request.name, {"metadata": {"annotations": {"n": str(self.left)}}})
        return answer


def test_a_rival_that_writes_after_every_read_costs_retries_and_nothing_else(stage: Stage) -> None:
    stage.create()
    stage.settle()
    rival = Rival(stage, times=12)
    stage.client.fault = rival
    stage.edit(model={"uri": uri(2)})
    stage.settle()
    assert rival.left == 0
    assert stage.ready()
    assert stage.weights() == {"2": 100}
    assert stage.errors
    assert all(isinstance(error, Conflict) for error in stage.errors)
    promotions = [e for e in stage.events() if e["reason"] == "Promoted"]
    assert len(promotions) == 2, "one for each version, however often it was tried"


def test_a_rival_that_never_stops_gets_a_bounded_number_of_requests(stage: Stage) -> None:
    stage.create()
    stage.client.fault = Rival(stage, times=10**6)
    for _ in range(8):
        stage.kubelet.sync()
        before = len(stage.client.requests)
        stage.look()
        assert len(stage.client.requests) - before <= 40
    stage.client.fault = lambda _, send: send()
    stage.settle()
    assert stage.ready()


def test_a_router_table_that_changed_meanwhile_is_not_overwritten(stage: Stage) -> None:
    stage.create("digits")
    stage.create("letters")
    other = Stage(stage.connection, stage.namespace)
    seen: list[str] = []

    def interleave(request: Request, send: Send) -> Any:
        """A second operator, which has not noticed yet that it leads no more, writes just before the first does."""
        if request.verb == "patch" and request.resource == "configmaps" and not seen:
            seen.append(request.name)
            other.settle(lambda now: set(now.table()) == {"digits", "letters"})
        return send()

    stage.settle(lambda now: "digits" in now.table())
    stage.client.fault = interleave
    stage.settle()
    assert seen
    assert stage.ready("digits")
    assert stage.ready("letters")
    assert len({r["port"] for r in stage.table().values()}) == 2
