"""Promises of the replays: bounded in every way, and every exchange that is lost has a reason."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given, settings
from hypothesis import strategies as st

from model_observer.budget import Budget
from model_observer.counters import Counters, Pair
from model_observer.exchange import GRPC_INFER, OVERHEAD, Answer, Exchange, Protocol
from model_observer.plan import Model, Output, Plan, Revision
from model_observer.reasons import Left, Reason
from model_observer.replay import FIRST_NOISE, MAX_WAITING, Rate, Replayer
from model_observer.tap import ATTRIBUTES, CLUSTER, Tap
from model_observer.wire import ProcessingRequest

A, B = Revision(name="m-aaaa", host="a"), Revision(name="m-bbbb", host="b")
MODEL = Model(
    name="m",
    outputs=(Output(name="y", datatype="INT64", shape=(1,)),),
    revisions=(A, B),
    max_replays_per_second=1000,
)
REQUEST = json.dumps({"inputs": []}).encode()


def said(label: int) -> Answer:
    tensor = {"name": "y", "datatype": "INT64", "shape": [1], "data": [label]}
    return Answer(ok=True, headers={}, body=json.dumps({"outputs": [tensor]}).encode())


def exchange(revision: str = A.name, answer: Answer | None = None, body: bytes = REQUEST) -> Exchange:
    return Exchange(Protocol.HTTP, "/v2/models/m/infer", {}, body, revision, answer or said(1))


class Pods:
    """Stands for all pods: each revision's answer, or why there is none."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Exception] = {A.name: said(1), B.name: said(1)}
        self.asked: Counter[str] = Counter()

    async def addresses(self, revision: Revision, port: int) -> list[str]:
        return [revision.name]

    async def ask_http(self, address: str, port: int, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.asked[address] += 1
        answer = self.answers[address]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stage:
    def __init__(self, model: Model = MODEL, memory: int = 1 << 20) -> None:
        self.now = 0.0
        self.pods, self.counters, self.budget = Pods(), Counters(run="r"), Budget(memory)
        self.replayer = Replayer(
            self.counters,
            self.budget,
            self.pods,
            1 << 20,
            random.Random(5),
            lambda: self.now,  # type: ignore[arg-type]
        )
        self.replayer.use(Plan(version="v", models=(model,)))

    def offer(self, what: Exchange) -> Reason | None:
        """As the tap does it; the reason where it was not taken."""
        assert self.budget.take(what.size)
        try:
            self.replayer.offer(what)
        except Left as left:
            self.budget.give_back(what.size)
            self.replayer.left(left.reason, what.revision)
            return left.reason
        return None

    def work(self) -> None:
        """Replay everything that waits."""

        async def until_done() -> None:
            task = asyncio.create_task(self.replayer.work())
            while not self.replayer._waiting.empty() or self.budget.taken:
                await asyncio.sleep(0)
            task.cancel()

        asyncio.run(asyncio.wait_for(until_done(), 10))


def test_an_exchange_is_compared_with_the_other_revision_and_its_bytes_are_given_back() -> None:
    stage = Stage()
    stage.pods.answers[B.name] = said(2)
    for _ in range(200):
        assert stage.offer(exchange()) is None
        stage.now += 1
        stage.work()
    crossed, noise = stage.counters.pairs[Pair("m", A.name, B.name)], stage.counters.pairs[Pair("m", A.name, A.name)]
    assert (crossed.agreed, noise.agreed) == (0, noise.compared)
    assert crossed.compared + noise.compared == 200
    assert stage.budget.taken == 0


def test_noise_is_known_soon_and_costs_one_replay_in_ten_later() -> None:
    stage = Stage()

    def noise_of(count: int) -> int:
        before = stage.pods.asked[A.name]
        for _ in range(count):
            stage.offer(exchange())
            stage.work()
            stage.now += 1
        return stage.pods.asked[A.name] - before

    assert 200 < noise_of(2 * FIRST_NOISE) < 300
    noise_of(100)
    assert 60 < noise_of(1000) < 140


EMPTY = Answer(ok=True, headers={}, body=b'{"outputs": []}')
REASONS = [
    (Reason.UNKNOWN, exchange("stranger"), None),
    (Reason.REFUSED, exchange(answer=Answer(ok=False, headers={}, body=b"")), None),
    (Reason.DECODE, exchange(answer=Answer(ok=True, headers={}, body=b"{")), None),
    (Reason.DECODE, exchange(body=b"\xff"), None),
    (Reason.UNSUPPORTED, exchange(body=b'{"inputs": [], "parameters": {"sequence_id": 1}}'), None),
    (Reason.UNREACHABLE, exchange(), Left(Reason.UNREACHABLE)),
    (Reason.DECODE, exchange(), Answer(ok=True, headers={}, body=b"[]")),
    (Reason.DECODE, exchange(), RuntimeError("a bug")),
    (Reason.UNJUDGED, exchange(answer=EMPTY), EMPTY),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "what", "answer"), REASONS, ids=[f"{i}-{r[0]}" for i, r in enumerate(REASONS)])
def test_every_exchange_that_is_lost_has_a_reason_and_the_next_one_is_compared(
    reason: Reason, what: Exchange, answer: Any
) -> None:
    stage = Stage()
    stage.pods.answers |= dict.fromkeys((A.name, B.name), answer) if answer else {}
    stage.offer(what)
    stage.work()
    assert stage.counters.dropped == {("" if reason is Reason.UNKNOWN else "m", reason): 1}
    assert stage.budget.taken == 0
    stage.pods.answers |= dict.fromkeys((A.name, B.name), said(1))
    stage.offer(exchange())
    stage.work()
    assert sum(score.agreed for score in stage.counters.pairs.values()) == 1


def test_a_model_with_one_revision_is_not_replayed() -> None:
    stage = Stage(MODEL.model_copy(update={"revisions": (A,)}))
    assert stage.offer(exchange()) is Reason.ALONE
    assert stage.pods.asked.total() == 0


def test_too_many_that_wait_drop_the_newest() -> None:
    stage = Stage()
    taken = [stage.offer(exchange()) for _ in range(MAX_WAITING + 5)]
    assert taken == [None] * MAX_WAITING + [Reason.QUEUE] * 5
    assert stage.budget.taken == MAX_WAITING * exchange().size


def test_a_plan_keeps_the_rate_of_a_model_that_stays() -> None:
    stage = Stage(MODEL.model_copy(update={"max_replays_per_second": 1.0}))
    assert stage.offer(exchange()) is None
    stage.replayer.use(Plan(models=(MODEL.model_copy(update={"max_replays_per_second": 1.0}),)))
    assert stage.offer(exchange()) is Reason.RATE


@given(
    rate=st.floats(0.1, 50),
    waits=st.lists(st.floats(0, 0.5), max_size=200),
)
@settings(deadline=None)
def test_never_more_than_the_rate_and_one_second_of_it(rate: float, waits: list[float]) -> None:
    now = 0.0
    limit = Rate(lambda: now)
    allowed = 0
    for wait in waits:
        now += wait
        allowed += limit.allows(rate)
        assert allowed <= max(rate, 1) + rate * now + 1e-6


def message(**parts: Any) -> Any:
    return ProcessingRequest(**parts)


def headers(end: bool = False, **values: str) -> dict[str, Any]:
    """Headers as Envoy sends them; ``_path`` stands for ``:path``, other underscores for dashes."""
    names = {name: (":" + name[1:] if name.startswith("_") else name).replace("_", "-") for name in values}
    pairs = [{"key": names[name], "raw_value": value.encode()} for name, value in values.items()]
    return {"headers": {"headers": pairs}, "end_of_stream": end}


def _struct(cluster: str) -> bytes:
    struct = Struct()
    struct.update({CLUSTER: cluster})
    return struct.SerializeToString()


class Taken:
    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.lost: list[tuple[Reason, str | None]] = []

    def offer(self, what: Exchange) -> None:
        self.exchanges.append(what)

    def left(self, reason: Reason, revision: str | None) -> None:
        self.lost.append((reason, revision))


def tapped(messages: list[bytes], memory: int = 1 << 20, largest: int = 1000) -> tuple[Taken, Budget]:
    taken, budget = Taken(), Budget(memory)
    tap = Tap(taken, budget, largest)

    async def stream() -> Any:
        for data in messages:
            yield ProcessingRequest.FromString(data)

    asyncio.run(tap.process(stream(), None))
    return taken, budget


def conversation(path: str, body: bytes, answer: bytes, cluster: str) -> list[bytes]:
    begin = message(response_headers=headers(_status="200"))
    begin.attributes[ATTRIBUTES].MergeFromString(_struct(cluster))
    parts = [
        message(request_headers=headers(_path=path, cookie="secret", content_type="application/json")),
        message(request_body={"body": body[:3]}),
        message(request_body={"body": body[3:], "end_of_stream": True}),
        begin,
        message(response_body={"body": answer[:2]}),
        message(response_body={"body": answer[2:], "end_of_stream": True}),
    ]
    return [part.SerializeToString() for part in parts]


def test_the_parts_of_an_exchange_are_joined_and_only_headers_that_shape_a_body_are_kept() -> None:
    taken, budget = tapped(conversation("/v2/models/m/infer?a=b", b"request", b"answer", "m-aaaa-http"))
    (found,) = taken.exchanges
    assert (found.body, found.answer.body, found.revision) == (b"request", b"answer", "m-aaaa")
    assert (found.path, found.answer.ok, found.protocol) == ("/v2/models/m/infer", True, Protocol.HTTP)
    assert found.headers == {"content-type": "application/json"}
    assert budget.taken == found.size


def test_a_call_by_grpc_is_over_with_its_trailers_and_their_status_counts() -> None:
    parts = [ProcessingRequest.FromString(p) for p in conversation(GRPC_INFER, b"request", b"answer", "m-aaaa-grpc")]
    parts[-1] = message(response_body={"body": b"swer"})
    for status, ok in (("0", True), ("13", False)):
        end = message(response_trailers={"trailers": headers(grpc_status=status)["headers"]})
        taken, _ = tapped([part.SerializeToString() for part in [*parts, end]])
        (found,) = taken.exchanges
        assert (found.protocol, found.answer.ok, found.revision) == (Protocol.GRPC, ok, "m-aaaa")


LOST = [
    (Reason.INCOMPLETE, None, conversation("/v2/models/m/infer", b"request", b"answer", "m-aaaa-http")[:3]),
    (Reason.INCOMPLETE, "m-aaaa", conversation("/v2/models/m/infer", b"request", b"answer", "m-aaaa-http")[:5]),
    (Reason.INCOMPLETE, None, conversation("/v2/models/m/infer", b"request", b"answer", "nothing")),
    (Reason.INCOMPLETE, "m-aaaa", conversation("/v2/models/m/infer", b"request", b"answer", "m-aaaa-http")[1:]),
    (Reason.INCOMPLETE, None, []),
    (Reason.UNSUPPORTED, None, conversation("/v2/models/m/config", b"request", b"answer", "m-aaaa-http")),
    (Reason.UNSUPPORTED, None, conversation("/v2/models/m\r\nx: y/infer", b"request", b"answer", "m-aaaa-http")),
    (Reason.SIZE, None, conversation("/v2/models/m/infer", b"r" * 1001, b"answer", "m-aaaa-http")),
    (Reason.SIZE, "m-aaaa", conversation("/v2/models/m/infer", b"request", b"a" * 1001, "m-aaaa-http")),
]


@pytest.mark.parametrize(("reason", "revision", "messages"), LOST, ids=[f"{i}-{r[0]}" for i, r in enumerate(LOST)])
def test_an_exchange_that_cannot_be_used_ends_its_stream_and_leaves_nothing_behind(
    reason: Reason, revision: str | None, messages: list[bytes]
) -> None:
    taken, budget = tapped(messages)
    assert taken.lost == [(reason, revision)]
    assert taken.exchanges == []
    assert budget.taken == 0


@pytest.mark.parametrize("memory", [OVERHEAD - 1, OVERHEAD, OVERHEAD + 9])
def test_an_exchange_for_which_there_is_no_memory_is_dropped(memory: int) -> None:
    taken, budget = tapped(conversation("/v2/models/m/infer", b"request", b"answer", "m-aaaa-http"), memory)
    assert [reason for reason, _ in taken.lost] == [Reason.MEMORY]
    assert budget.taken == 0


parts = st.one_of(
    *(
        st.builds(lambda kind, body, end: message(**{kind: {"body": body, "end_of_stream": end}}),
                  st.just(kind), st.binary(max_size=700), st.booleans())
        for kind in ("request_body", "response_body")
    ),
    *(
        st.builds(lambda kind, path, status, end: message(**{kind: headers(end, _path=path, _status=status)}),
                  st.just(kind), st.sampled_from(["/v2/models/m/infer", GRPC_INFER, "/"]),
                  st.sampled_from(["200", "x"]), st.booleans())
        for kind in ("request_headers", "response_headers")
    ),
    st.just(message(response_trailers={})),
    st.just(message()),
)  # fmt: skip


@given(messages=st.lists(parts, max_size=12), memory=st.integers(0, 6000))
@settings(deadline=None)
def test_no_order_of_messages_does_any_harm_or_keeps_memory(messages: list[Any], memory: int) -> None:
    taken, budget = tapped([m.SerializeToString() for m in messages], memory)
    assert len(taken.exchanges) + len(taken.lost) == 1
    assert budget.taken == sum(found.size for found in taken.exchanges)
