"""Whether a process's loops still turn: each beats here, and a probe asks whether one has gone quiet."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Liveness:
    """The loops that are to beat, each with the longest silence it is allowed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._lock = threading.Lock()
        self._due: dict[str, float] = {}

    @contextmanager
    def watched(self, loop: str, within: float) -> Iterator[Callable[[], None]]:
        """While the block runs, `loop` has to call what this yields at least every `within` seconds."""

        def beat() -> None:
            with self._lock:
                self._due[loop] = self._clock() + within

        beat()
        try:
            yield beat
        finally:
            with self._lock:
                del self._due[loop]

    def silent(self) -> tuple[str, ...]:
        """The loops that are overdue; empty means alive."""
        now = self._clock()
        with self._lock:
            return tuple(loop for loop, due in self._due.items() if due < now)
