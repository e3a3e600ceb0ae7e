"""The one sweep: goes round all resources, hands what is due to the pool, no faster than its token bucket."""

import functools
import threading
from collections.abc import Callable
from concurrent.futures import Executor

import structlog

from academy_operator import metrics
from academy_operator.backoff import TokenBucket
from academy_operator.errors import ClusterFault
from academy_operator.model import Clock
from academy_operator.reconciler import AT_ONCE, Reconciler

log = structlog.get_logger()

ROUND_SECONDS = 1.0
"""Longest pause between two rounds."""
REFRESH_SECONDS = 300.0
"""Between two listings of everything."""
STUCK_SECONDS = 60.0
"""A round that has not come by for this long is stuck: the liveness probe fails."""


class Sweep:
    """Runs in a thread of its own until stopped. Visits nothing before everything is listed: rivals must be known."""

    def __init__(
        self, reconciler: Reconciler, pool: Executor, clock: Clock, per_second: float, stopping: threading.Event
    ) -> None:
        """`per_second`: routine visits started a second at most; `stopping` is shared with passes that wait."""
        self._reconciler = reconciler
        self._pool = pool
        self._clock = clock
        self._bucket = TokenBucket(per_second, per_second, clock.monotonic)
        self._busy: set[str] = set()
        self._guard = threading.Lock()
        self._stopping = stopping
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._last_round = clock.monotonic()
        self._next_refresh = self._last_round
        self.listed = threading.Event()
        """Set once everything is known."""

    def start(self) -> None:
        """Begin to go round, with a listing."""
        self._thread.start()
        self.wake()

    def wake(self) -> None:
        """Go round now: something is due at once."""
        self._woken.set()

    def stop(self) -> None:
        """End after the round under way."""
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join()

    def lag(self) -> float:
        """Seconds since the last round."""
        return self._clock.monotonic() - self._last_round

    def round(self) -> int:
        """Start what is due; how many visits were started. What somebody waits for is not held up by the bucket."""
        if self._clock.monotonic() >= self._next_refresh and "refresh" not in self._busy:
            self._start("refresh", self._refresh)
        started = self._visits() if self.listed.is_set() else 0
        self._last_round = self._clock.monotonic()
        metrics.LAST_SWEEP.set(self._clock.now().timestamp())
        return started

    def _visits(self) -> int:
        started = 0
        now = self._clock.monotonic()
        waiting = [(self._reconciler.due_at(track), track.resource.uid) for track in self._reconciler.tracks()]
        for due_at, uid in sorted(one for one in waiting if one[0] <= now):
            if uid in self._busy:
                continue
            if due_at > AT_ONCE and not self._bucket.take():
                break
            self._start(uid, functools.partial(self._reconciler.visit, uid))
            started += 1
        return started

    def _refresh(self) -> None:
        try:
            self._reconciler.refresh()
        except ClusterFault as fault:
            log.warning("will list again", why=str(fault))
            return
        self._next_refresh = self._clock.monotonic() + REFRESH_SECONDS
        self.listed.set()
        self.wake()

    def _start(self, name: str, call: Callable[[], None]) -> None:
        with self._guard:
            self._busy.add(name)
        self._pool.submit(self._run_one, name, call)

    def _run_one(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception("failed", what=name)
        finally:
            with self._guard:
                self._busy.discard(name)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(ROUND_SECONDS)
            self._woken.clear()
            try:
                self.round()
            except Exception:
                log.exception("a round failed")
