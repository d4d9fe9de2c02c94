"""Open-loop load against one model, run as a process of its own: HTTP on open and on fresh connections, and gRPC.

A request leaves when it is due, whatever became of those before it, and nothing is ever sent twice. Each line of the
output file is one request: when it left (seconds since the epoch), kind, milliseconds, revision, and what was wrong.
"""

import http.client
import itertools
import json
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc  # type: ignore[import-untyped]

TIMEOUT = 20.0
WIDTH = 4
MOST_IN_FLIGHT = 256


@dataclass(frozen=True)
class Plan:
    """What to ask and what to expect: the model adds ``offsets[digest]`` to each number it is given."""

    http: str
    grpc: str
    model: str
    offsets: dict[str, float]
    rates: dict[str, tuple[float, int]]
    """Requests a second and connections to begin with, by kind."""
    http_host: str = ""
    """Hostname that HTTP requests name; empty for the address itself."""
    grpc_host: str = ""
    """The same for gRPC."""
    direct: bool = False
    """True where no router stands between: nothing but the numbers tells which bundle answered."""


class WrongAnswer(Exception):
    """An answer came, and it is not what the revision that gave it should say."""


def check(plan: Plan, sent: list[float], got: list[float], digest: str) -> None:
    """Compare an answer with what the bundle of this digest must answer."""
    if digest not in plan.offsets:
        raise WrongAnswer(f"answered by the bundle {digest!r}, which nobody asked for")
    wanted = [x + plan.offsets[digest] for x in sent]
    if got != wanted:
        raise WrongAnswer(f"{sent} gave {got} instead of {wanted}")


def bundle(plan: Plan, sent: list[float], got: list[float]) -> str:
    """Digest of the bundle that gave an answer."""
    found = [d for d, offset in plan.offsets.items() if got == [x + offset for x in sent]]
    return found[0] if found else "none"


def dropped(connection: http.client.HTTPConnection) -> bool:
    """True when the server has closed a connection that nothing is asked on, as HTTP clients look before they ask."""
    if connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


class Http:
    """One client connection; ``fresh`` opens a new one for every request."""

    def __init__(self, plan: Plan, *, fresh: bool) -> None:
        self._plan = plan
        self._fresh = fresh
        self._connection = http.client.HTTPConnection(plan.http, timeout=TIMEOUT)
        self._used = 0.0

    def ask(self, values: list[float]) -> str:
        """Send one request and check its answer; returns the revision."""
        tensor = {"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": values}
        path, body = f"/v2/models/{self._plan.model}/infer", json.dumps({"inputs": [tensor]}).encode()
        host = {"Host": self._plan.http_host} if self._plan.http_host else {}
        if self._plan.direct and dropped(self._connection):
            self._connection.close()
        kept = self._connection.sock is not None
        try:
            self._connection.request("POST", path, body, host)
            answer = self._connection.getresponse()
            said = answer.read()
        except BaseException as error:
            if kept:
                error.add_note(f"on a connection that was last used {time.monotonic() - self._used:.1f} s ago")
            self._connection.close()
            raise
        self._used = time.monotonic()
        if self._fresh:
            self._connection.close()
        if answer.status != 200:
            raise WrongAnswer(f"HTTP {answer.status} from {answer.headers.get('x-tidegate-router')}: {said[:200]!r}")
        got = [float(x) for x in json.loads(said)["outputs"][0]["data"]]
        if self._plan.direct:
            digest = bundle(self._plan, values, got)
            check(self._plan, values, got, digest)
            return digest
        check(self._plan, values, got, answer.headers.get("x-model-digest", ""))
        return str(answer.headers.get("x-tidegate-revision", ""))


class Grpc:
    """One gRPC channel with tritonclient's own options."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Channels to one address would share one connection.
        options: list[tuple[str, str | int]] = [("grpc.use_local_subchannel_pool", 1)]
        if plan.grpc_host:
            options.append(("grpc.default_authority", plan.grpc_host))
        self._channel = grpc.insecure_channel(plan.grpc, options=options)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def ask(self, values: list[float]) -> str:
        """Send one request and check its answer; returns the revision."""
        request = service_pb2.ModelInferRequest(model_name=self._plan.model)
        request.inputs.add(name="x", datatype="FP32", shape=[1, WIDTH])
        request.raw_input_contents.append(np.array(values, dtype=np.float32).tobytes())
        answer, call = self._stub.ModelInfer.with_call(request, timeout=TIMEOUT)
        said = dict(call.initial_metadata())
        got = [float(x) for x in np.frombuffer(answer.raw_output_contents[0], dtype=np.float32)]
        if self._plan.direct:
            digest = bundle(self._plan, values, got)
            check(self._plan, values, got, digest)
            return digest
        check(self._plan, values, got, said.get("x-model-digest", ""))
        return str(said.get("x-tidegate-revision", ""))


def lane(kind: str, plan: Plan) -> Http | Grpc:
    """A client of one kind."""
    return Grpc(plan) if kind == "grpc" else Http(plan, fresh=kind == "fresh")


class Sender:
    """Sends one kind at its rate. A request that finds every connection busy when it leaves gets one of its own."""

    def __init__(self, kind: str, plan: Plan, pool: ThreadPoolExecutor, tell: Callable[[str], object]) -> None:
        self._kind = kind
        self._plan = plan
        self._pool = pool
        self._tell = tell
        rate, lanes = plan.rates[kind]
        self._period = 1.0 / rate
        self._idle = deque(lane(kind, plan) for _ in range(lanes))

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop."""
        due = time.monotonic()
        for turn in itertools.count():
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            self._pool.submit(self._one, turn)
            due += self._period

    def _one(self, turn: int) -> None:
        try:
            chosen = self._idle.popleft()
        except IndexError:
            chosen = lane(self._kind, self._plan)
        begun, at = time.time(), time.monotonic()
        revision, error = "", ""
        try:
            revision = chosen.ask([float((turn + i) % 97) for i in range(WIDTH)])
        except Exception as problem:  # whatever a client raises is a failed request
            notes = "; ".join(getattr(problem, "__notes__", ()))
            error = " ".join(f"{type(problem).__name__}: {problem} {notes}".split())[:400]
        self._tell(f"{begun:.6f}\t{self._kind}\t{1000 * (time.monotonic() - at):.2f}\t{revision}\t{error}\n")
        self._idle.append(chosen)


def end_with(parent: int, stop: threading.Event) -> None:
    """Stop when the process that wanted the load has ended, however it ended."""
    while not stop.wait(1.0):
        if os.getppid() != parent:
            stop.set()


def main() -> None:
    """Run the plan on standard input into the file named by the one argument, until SIGTERM or the parent's end."""
    fields = json.load(sys.stdin)
    plan = Plan(**fields | {"rates": {k: (float(r), int(n)) for k, (r, n) in fields["rates"].items()}})
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=end_with, args=(os.getppid(), stop), daemon=True).start()
    with Path(sys.argv[1]).open("w", buffering=1) as out, ThreadPoolExecutor(MOST_IN_FLIGHT) as pool:
        senders = [Sender(kind, plan, pool, out.write) for kind in plan.rates]
        threads = [threading.Thread(target=sender.run, args=(stop,)) for sender in senders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # Every request has ended and is written. gRPC may wait for ever when a channel is closed, and nothing closes one as
    # long as the senders are known.
    os._exit(0)


if __name__ == "__main__":
    main()
