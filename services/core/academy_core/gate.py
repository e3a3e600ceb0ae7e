"""Who may poll and who has to stop: the state that a worker's receivers and slots share.

Part of the worker loop (academy_core.consumer). One lock guards it all; nothing is called while it is held.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from academy_core.attempt import Attempt
from academy_core.kinds import Queue
from academy_core.rota import Rota

HEDGE_SECONDS = 0.25
"""How long a poll has one free slot to itself before the next queue is polled for it as well."""
_LOOK_AGAIN_SECONDS = 30.0


class Gate:
    """Free slots, running polls, the API's absence and the worker's end."""

    def __init__(self, weights: Mapping[Queue, int], slots: int) -> None:
        """`weights`: see Rota. `slots`: tasks at a time."""
        self.stopping = threading.Event()
        self._queues = frozenset(weights)
        self._slots = slots
        self._cond = threading.Condition()
        self._rota = Rota(weights)
        self._free = slots
        self._polls: dict[Queue, float] = {}  # queue -> when its poll began
        self._away = 0
        self._stop_at: float | None = None
        self._attempts: set[Attempt] = set()

    @property
    def busy(self) -> int:
        """Slots at work."""
        with self._cond:
            return self._slots - self._free

    def wait_for_turn(self, queue: Queue, beat: Callable[[], None]) -> bool:
        """Block until `queue` may be polled, and note the poll; False when the worker is stopping."""
        with self._cond:
            while not self.stopping.is_set():
                beat()
                turn, look_again = self._turn(queue)
                if turn:
                    self._polls[queue] = time.monotonic()
                    self._cond.notify_all()
                    return True
                self._cond.wait(look_again)
            return False

    def _turn(self, queue: Queue) -> tuple[bool, float]:
        """Whether `queue` is to be polled now; if not, after how many seconds to look again without being told."""
        if self._free == 0 or self._away or queue in self._polls:
            return False, _LOOK_AGAIN_SECONDS
        now = time.monotonic()
        young = [began for began in self._polls.values() if now - began < HEDGE_SECONDS]
        if len(young) >= self._free:
            return False, min(young) + HEDGE_SECONDS - now
        return self._rota.choose(self._queues - self._polls.keys()) == queue, _LOOK_AGAIN_SECONDS

    def polled(self, queue: Queue, *, bell: bool) -> bool:
        """The poll ended, with a bell or without. True when the bell has a slot, which is then taken."""
        with self._cond:
            del self._polls[queue]
            taken = bell and self._free > 0 and not self._away and not self.stopping.is_set()
            if taken:
                self._free -= 1
                self._rota.served(queue)
            elif not bell:
                self._rota.empty(queue)
            self._cond.notify_all()
            return taken

    def slot_freed(self) -> None:
        """A bell has been seen through."""
        with self._cond:
            self._free += 1
            self._cond.notify_all()

    @contextmanager
    def api_away(self) -> Iterator[None]:
        """While the block runs, no poll begins: who cannot claim does not receive."""
        with self._cond:
            self._away += 1
        try:
            yield
        finally:
            with self._cond:
                self._away -= 1
                self._cond.notify_all()

    @contextmanager
    def running(self, attempt: Attempt) -> Iterator[None]:
        """While the block runs, `stop` and `abort` reach the attempt."""
        with self._cond:
            attempt.stop_at = self._stop_at
            self._attempts.add(attempt)
        try:
            yield
        finally:
            with self._cond:
                self._attempts.discard(attempt)

    def stop(self, grace_seconds: float) -> None:
        """No more polls; work that is not done after `grace_seconds` is to be handed back."""
        with self._cond:
            if self.stopping.is_set():
                return
            self._stop_at = time.monotonic() + grace_seconds
            self.stopping.set()
            for attempt in self._attempts:
                attempt.stop_at = self._stop_at
                attempt.wake()
            self._cond.notify_all()

    def abort(self) -> None:
        """Kill the work's child processes: the process is about to exit without another word."""
        with self._cond:
            attempts = tuple(self._attempts)
        for attempt in attempts:
            attempt.context.cancel()

    def pause(self, seconds: float) -> None:
        """Sleep; a stop that comes meanwhile ends it, and after a stop it lasts no longer than the grace period."""
        if self.stopping.is_set():
            time.sleep(max(0.0, min(seconds, self.time_left())))
        else:
            self.stopping.wait(seconds)

    def time_left(self) -> float:
        """Seconds until work has to be handed back; infinite while the worker is not stopping."""
        with self._cond:
            return float("inf") if self._stop_at is None else self._stop_at - time.monotonic()
