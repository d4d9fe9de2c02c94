"""A client that asks a model now and then, from a thread, and remembers every answer."""

import threading
from types import TracebackType

from e2e_world import Space, ask


class Asker:
    """Asks ``model`` over fresh HTTP connections while the context lasts."""

    def __init__(self, space: Space, service: str, model: str, *, rate: float = 4.0) -> None:
        self._address = space.address(service)
        self._model = model
        self._pause = 1.0 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.answers: list[float] = []
        self.failures: list[str] = []

    def __enter__(self) -> "Asker":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self.answers.append(ask(self._address, self._model, 0.0)[0])
            except Exception as error:  # whatever the client raises is a failed request
                self.failures.append(f"{type(error).__name__}: {error}"[:300])
