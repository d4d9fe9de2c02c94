"""Sampled requests, asked again of the other revision; a few of the same one, which shows how much is mere noise.

Everything is bounded: exchanges a second for each model, bytes that wait, exchanges that wait, seconds of a replay.
What does not fit is dropped, the newest first, and counted.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_observer import compare
from model_observer.asking import Asker
from model_observer.budget import Budget
from model_observer.counters import Counters, Pair
from model_observer.decode import grpc as grpc_decode
from model_observer.decode import http as http_decode
from model_observer.decode.tensors import Tensors
from model_observer.exchange import Exchange, Protocol
from model_observer.plan import Model, Plan, Revision
from model_observer.reasons import Left, Reason

logger = logging.getLogger(__name__)
NOISE_SHARE = 0.1
"""Share of the replays that go to the revision that answered."""
FIRST_NOISE_SHARE = 0.5
FIRST_NOISE = 250
"""So many come sooner: until noise is known, nothing can be proven to be more than noise."""
MAX_WAITING = 256


class Rate:
    """At most so many a second, with up to one second's worth at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._at = clock()
        self._tokens: float | None = None

    def allows(self, per_second: float) -> bool:
        """True, and one is used up, when the rate allows one more."""
        now = self._clock()
        full = max(per_second, 1.0)
        tokens = full if self._tokens is None else min(full, self._tokens + (now - self._at) * per_second)
        self._at, allowed = now, tokens >= 1
        self._tokens = tokens - allowed
        return allowed


@dataclass(frozen=True)
class _Replay:
    exchange: Exchange
    model: Model
    target: Revision


class Replayer:
    """Takes exchanges, replays them, and counts what came of it."""

    def __init__(
        self,
        counters: Counters,
        budget: Budget,
        asker: Asker,
        largest: int,
        chance: random.Random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``largest`` bytes of a body are read once it is no longer compressed."""
        self._counters, self._budget, self._asker, self._largest = counters, budget, asker, largest
        self._chance, self._clock = chance, clock
        self._plan = Plan()
        self._rates: dict[str, Rate] = {}
        self._waiting: asyncio.Queue[_Replay] = asyncio.Queue(MAX_WAITING)

    def use(self, plan: Plan) -> None:
        """Follow another plan from now on."""
        self._plan = plan
        self._counters.plan = plan.version
        self._rates = {m.name: self._rates.get(m.name) or Rate(self._clock) for m in plan.models}

    def left(self, reason: Reason, revision: str | None) -> None:
        """Count an exchange that is not compared."""
        known = self._plan.of(revision) if revision else None
        self._counters.dropped[known[0].name if known else "", reason] += 1

    def offer(self, exchange: Exchange) -> None:
        """Let the exchange wait for its replay, and keep its bytes until then. Raises Left."""
        known = self._plan.of(exchange.revision)
        if known is None:
            raise Left(Reason.UNKNOWN)
        model, answered = known
        self._counters.offered[model.name] += 1
        if not exchange.answer.ok:
            raise Left(Reason.REFUSED)
        others = [r for r in model.revisions if r != answered]
        if not others:
            raise Left(Reason.ALONE)
        if not self._rates[model.name].allows(model.max_replays_per_second):
            raise Left(Reason.RATE)
        target = answered if self._noise_is_due(model, answered) else self._chance.choice(others)
        try:
            self._waiting.put_nowait(_Replay(exchange, model, target))
        except asyncio.QueueFull as error:
            raise Left(Reason.QUEUE) from error

    def _noise_is_due(self, model: Model, revision: Revision) -> bool:
        first = self._counters.noise_of(model.name, revision.name) < FIRST_NOISE
        return self._chance.random() < (FIRST_NOISE_SHARE if first else NOISE_SHARE)

    async def work(self) -> None:
        """Replay one exchange after the other, for ever. Several of these may run at once."""
        while True:
            replay = await self._waiting.get()
            try:
                await self._compare(replay)
            except Left as left:
                self.left(left.reason, replay.exchange.revision)
            except Exception:
                # Whatever it was, the next exchange is not to blame. The text of an exchange is never logged.
                logger.exception("an exchange of %s could not be compared", replay.model.name)
                self.left(Reason.DECODE, replay.exchange.revision)
            finally:
                self._budget.give_back(replay.exchange.size)

    async def _compare(self, replay: _Replay) -> None:
        exchange, model, target = replay.exchange, replay.model, replay.target
        pair = Pair(model.name, exchange.revision, target.name)
        question, ours = self._question(exchange), self._answered(exchange)
        theirs = await self._again(exchange, target, question)
        if theirs is None:
            # It has no answer to what the other one answers.
            self._counters.compared(pair, agreed=False)
            return
        agreed = compare.agree(model, ours, theirs, self._chance.random())
        self._counters.compared(pair, agreed=agreed)

    def _question(self, exchange: Exchange) -> bytes:
        """What is sent again."""
        if exchange.protocol is Protocol.HTTP:
            http_decode.check_request(exchange.headers, exchange.body, self._largest)
            return exchange.body
        message = self._message(exchange.headers, exchange.body)
        grpc_decode.check_request(message)
        return message

    def _answered(self, exchange: Exchange) -> Tensors:
        answer = exchange.answer
        if exchange.protocol is Protocol.HTTP:
            return http_decode.tensors(answer.headers, answer.body, "outputs", self._largest)
        return grpc_decode.outputs(self._message(answer.headers, answer.body))

    def _message(self, headers: Mapping[str, str], body: bytes) -> bytes:
        return grpc_decode.message(headers.get("grpc-encoding", ""), body, self._largest)

    async def _again(self, exchange: Exchange, target: Revision, question: bytes) -> Tensors | None:
        """The other answer; None where the server refuses the request."""
        by_http = exchange.protocol is Protocol.HTTP
        port = target.http_port if by_http else target.grpc_port
        address = self._chance.choice(await self._asker.addresses(target, port))
        if by_http:
            answer = await self._asker.ask_http(address, port, exchange.path, exchange.headers, question)
            return http_decode.tensors(answer.headers, answer.body, "outputs", self._largest) if answer.ok else None
        answer = await self._asker.ask_grpc(address, port, question)
        return grpc_decode.outputs(answer.body) if answer.ok else None
