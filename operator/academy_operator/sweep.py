"""The one sweep: goes round all resources, hands what is due to the pool, no faster than its token bucket."""

import threading
from concurrent.futures import Executor

import structlog

from academy_operator import metrics
from academy_operator.backoff import TokenBucket
from academy_operator.model import Clock
from academy_operator.reconciler import Reconciler

log = structlog.get_logger()

ROUND_SECONDS = 1.0
"""Pause between two rounds."""
STUCK_SECONDS = 60.0
"""A round that has not come by for this long is stuck: the liveness probe fails."""


class Sweep:
    """Runs in a thread of its own until stopped."""

    def __init__(
        self, reconciler: Reconciler, pool: Executor, clock: Clock, per_second: float, stopping: threading.Event
    ) -> None:
        """`per_second`: visits started a second at most; `stopping` is shared with passes that wait."""
        self._reconciler = reconciler
        self._pool = pool
        self._clock = clock
        self._bucket = TokenBucket(per_second, per_second, clock.monotonic)
        self._busy: set[str] = set()
        self._guard = threading.Lock()
        self._stopping = stopping
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._last_round = clock.monotonic()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the round under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def lag(self) -> float:
        """Seconds since the last round."""
        return self._clock.monotonic() - self._last_round

    def round(self) -> int:
        """Start what is due, as far as the bucket allows; how many visits were started."""
        started = 0
        now = self._clock.monotonic()
        waiting = [(self._reconciler.due_at(track), track.resource.uid) for track in self._reconciler.tracks()]
        for due_at, uid in sorted(waiting):
            if due_at > now:
                break
            if uid in self._busy:
                continue
            if not self._bucket.take():
                break
            with self._guard:
                self._busy.add(uid)
            self._pool.submit(self._visit, uid)
            started += 1
        self._last_round = self._clock.monotonic()
        metrics.LAST_SWEEP.set(self._clock.now().timestamp())
        return started

    def _visit(self, uid: str) -> None:
        try:
            self._reconciler.visit(uid)
        except Exception:
            log.exception("a visit failed", uid=uid)
        finally:
            with self._guard:
                self._busy.discard(uid)

    def _run(self) -> None:
        while not self._stopping.wait(ROUND_SECONDS):
            try:
                self.round()
            except Exception:
                log.exception("a round failed")
