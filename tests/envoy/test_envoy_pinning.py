"""Promises to clients that name a revision: they get that one and no other, whatever the weights are."""

from collections.abc import Callable

import grpc
import pytest
from envoy_stage import CANARY, DIGESTS, PORT, STABLE, Stage, known, neighbour, route

from tidegate.domain.routing import Route, names_like, serves

INFER = "/v2/models/digits/infer"
RPC = "/inference.GRPCInferenceService/ModelInfer"
HEADER = "x-tidegate-revision"
ROLES = {STABLE: "stable", CANARY: "canary"}


def named(*weights: tuple[str, int], roles: dict[str, str] | None = None, **fields: int) -> Route:
    """A route whose revisions have roles."""
    plain = route(*weights, **fields)
    found = ROLES if roles is None else roles
    told = tuple(b.model_copy(update={"role": found.get(b.revision, "")}) for b in plain.backends)
    return plain.model_copy(update={"backends": told})


def http(stage: Stage, name: str) -> tuple[str, str]:
    """Who answered, and the digest in the answer."""
    answer = stage.router.ask(PORT, INFER, "POST", {HEADER: name})
    assert answer.status == 200, answer
    assert answer.headers[HEADER] == answer.text
    return answer.text, answer.headers["x-model-digest"]


def rpc(stage: Stage, name: str) -> tuple[str, str]:
    with grpc.insecure_channel(f"{stage.router.address}:{PORT}") as channel:
        answer, call = channel.unary_unary(RPC).with_call(b"", timeout=10, metadata=[(HEADER, name)])
        headers = {key: str(value) for key, value in call.initial_metadata()}
        assert headers[HEADER] == answer.decode()
        return answer.decode(), headers["x-model-digest"]


ASKERS = pytest.mark.parametrize("ask", [http, rpc])


@pytest.fixture
def before_its_first_step(stage: Stage) -> Stage:
    """A canary that has pods and no weight."""
    stage.serve(named((STABLE, 100), (CANARY, 0)))
    known(stage, STABLE, CANARY)
    return stage


@ASKERS
@pytest.mark.parametrize(("name", "who"), [(CANARY, CANARY), ("canary", CANARY), (STABLE, STABLE), ("stable", STABLE)])
def test_a_request_that_names_a_revision_gets_it_though_the_canary_has_no_weight(
    before_its_first_step: Stage, ask: Callable[[Stage, str], tuple[str, str]], name: str, who: str
) -> None:
    assert ask(before_its_first_step, name) == (who, DIGESTS[who])
    assert before_its_first_step.router.ask(PORT, INFER, "POST").text == STABLE


@ASKERS
def test_a_request_that_names_stable_gets_it_though_the_canary_has_all_weight(
    stage: Stage, ask: Callable[[Stage, str], tuple[str, str]]
) -> None:
    stage.serve(named((STABLE, 0), (CANARY, 100)))
    known(stage, STABLE)
    assert ask(stage, "stable") == (STABLE, DIGESTS[STABLE])


@pytest.mark.parametrize("name", ["digits-cccc3333", "", "Stable", f"{STABLE},{CANARY}", "digits-aaaa111", "|"])
def test_a_request_that_names_no_revision_is_refused_with_one_sentence(before_its_first_step: Stage, name: str) -> None:
    answer = before_its_first_step.router.ask(PORT, INFER, "POST", {HEADER: name})
    sentence = f"digits has no revision of the name in {HEADER}: leave it out, or name stable, canary or a revision.\n"
    assert (answer.status, answer.text) == (404, sentence)
    assert before_its_first_step.servers[STABLE].asked == before_its_first_step.servers[CANARY].asked == []


def test_a_grpc_call_that_names_no_revision_is_refused(before_its_first_step: Stage) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        rpc(before_its_first_step, "digits-cccc3333")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "has no revision of the name in" in refused.value.details()


def test_canary_is_no_name_while_there_is_none(stage: Stage) -> None:
    stage.serve(named((STABLE, 100)))
    assert stage.router.ask(PORT, INFER, "POST", {HEADER: "canary"}).status == 404


def test_naming_a_revision_opens_no_other_path(before_its_first_step: Stage) -> None:
    answer = before_its_first_step.router.ask(PORT, "/v2/repository/index", "POST", {HEADER: "canary"})
    assert (answer.status, "under /v2 only" in answer.text) == (404, True)
    with grpc.insecure_channel(f"{before_its_first_step.router.address}:{PORT}") as channel:
        index = channel.unary_unary("/inference.GRPCInferenceService/RepositoryIndex")
        with pytest.raises(grpc.RpcError) as refused:
            index(b"", timeout=10, metadata=[(HEADER, "canary")])
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert before_its_first_step.servers[CANARY].called == []


def test_a_revision_of_another_model_is_no_revision_of_this_one(stage: Stage) -> None:
    other = neighbour()
    stage.serve(named((STABLE, 100)), other)
    asked = {HEADER: other.backends[0].revision}
    assert stage.router.ask(PORT, INFER, "POST", asked).status == 404
    assert stage.router.ask(PORT + 1, INFER, "POST", asked).status == 200


def test_a_named_revision_has_the_models_time_out_and_its_retries(stage: Stage) -> None:
    stage.serve(named((STABLE, 100), (CANARY, 0), timeout=1))
    known(stage, CANARY)
    stage.servers[CANARY].hang_ups = 2
    assert http(stage, "canary")[0] == CANARY
    stage.servers[CANARY].delay = 3
    assert stage.router.ask(PORT, INFER, "POST", {HEADER: "canary"}).status == 504


def test_a_canary_that_comes_without_weight_changes_no_split_that_is_waited_for(stage: Stage) -> None:
    alone, joined = named((STABLE, 100)), named((STABLE, 100), (CANARY, 0))
    report = stage.serve(alone)
    assert serves(report, joined)
    assert not names_like(report, joined)
    report = stage.serve(joined)
    assert serves(report, alone)
    promoted = named((STABLE, 100), (CANARY, 0), roles={CANARY: "stable"})
    assert serves(report, promoted)
    assert not names_like(report, promoted)
