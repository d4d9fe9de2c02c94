"""A client of the digits model: ordinary tritonclient, over HTTP and gRPC, without any retry of its own."""

import threading
import time
from collections import Counter
from types import ModuleType

import numpy as np
import numpy.typing as npt
import tritonclient.grpc
import tritonclient.http
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

MODEL = "digits"
PROTOCOLS: dict[str, ModuleType] = {"HTTP": tritonclient.http, "gRPC": tritonclient.grpc}


def digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Images of 8 by 8 grey values as rows of 64, and their labels."""
    data = load_digits()
    return data.data.astype(np.float32), data.target


def predict(protocol: str, client: object, images: npt.NDArray[np.float32]) -> list[int]:
    """The labels that the model gives."""
    module = PROTOCOLS[protocol]
    tensor = module.InferInput("image", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    answer = client.infer(MODEL, [tensor])  # type: ignore[attr-defined]
    return [int(label) for label in answer.as_numpy("label").reshape(-1)]


class Sender:
    """Keeps sending one digit after another from a thread for each protocol, and counts what came back."""

    def __init__(self, addresses: dict[str, str], *, rate: float = 40.0) -> None:
        """``addresses`` are host:port by protocol; ``rate`` is requests a second for each protocol."""
        self._addresses = addresses
        self._pause = 1.0 / rate
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(p,), daemon=True) for p in addresses]
        self.answered: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.failures: list[str] = []

    def __enter__(self) -> "Sender":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)

    @property
    def sent(self) -> int:
        """Requests that ended, well or badly."""
        return sum(self.answered.values()) + len(self.failures)

    def _run(self, protocol: str) -> None:
        images, labels = digits()
        client = PROTOCOLS[protocol].InferenceServerClient(self._addresses[protocol])
        turn, due = 0, time.monotonic()
        while not self._stop.is_set():
            row = turn % len(images)
            try:
                found = predict(protocol, client, images[row : row + 1])
                self.answered[protocol] += 1
                self.right[protocol] += found[0] == labels[row]
            except Exception as error:  # whatever the client raises is a failed request, and is counted as one
                self.failures.append(f"{protocol}: {error!r}"[:300])
            turn, due = turn + 1, due + self._pause
            self._stop.wait(max(0.0, due - time.monotonic()))
