"""Closed-loop load for system tests: a few kept-alive connections in threads, every outcome kept. Loopback only."""

import http.client
import threading
from collections import Counter
from types import TracebackType


class Load:
    """Requests `path` over and over on `connections` connections while the block runs.

    `outcomes`: Counter of statuses; "closed" for a connection that ended between requests, "failed: ..." for a lost request.
    """

    def __init__(self, port: int, path: str, connections: int = 4, pause_s: float = 0.002) -> None:
        self._port = port
        self._path = path
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.outcomes: Counter[int | str] = Counter()
        self._threads = [threading.Thread(target=self._loop, daemon=True) for _ in range(connections)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def failures(self) -> dict[int | str, int]:
        """Everything that was not a 200."""
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != 200}

    def _loop(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.wait(self._pause_s):
            outcome: int | str
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                response.read()
                outcome = response.status
                if response.will_close:
                    connection.close()
            except (OSError, http.client.HTTPException) as problem:
                outcome = f"failed: {type(problem).__name__}: {problem}"
                connection.close()
            with self._lock:
                self.outcomes[outcome] += 1
        connection.close()
