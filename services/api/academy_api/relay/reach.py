"""Can heartbeats arrive? A lease may expire only after a full lease period in which they demonstrably could.

`Reach` is pure bookkeeping over a steady clock; `Prober` asks the worker endpoint every five seconds on a thread of
its own, which touches no database.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from academy_core.ledger import HEARTBEAT_SECONDS

log = logging.getLogger(__name__)

GAP_SECONDS = 3.0 * HEARTBEAT_SECONDS
"""A longer silence between two proofs proves nothing about the time between them (a paused process, a stuck probe)."""


@dataclass(slots=True)
class Reach:
    """Since when probes have succeeded without a failure or a gap. Begins with nothing proven. Thread-safe."""

    clock: Callable[[], float] = time.monotonic
    _since: float | None = None
    _last: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def proved(self) -> None:
        """A probe has just passed API, pooler and database."""
        with self._lock:
            now = self.clock()
            if self._since is None or now - self._last > GAP_SECONDS:
                self._since = now
            self._last = now

    def failed(self) -> None:
        """A probe has failed, or a new lock's reign begins."""
        with self._lock:
            self._since = None

    def proven_seconds(self) -> float:
        """How long heartbeats have been able to arrive, up to now; 0 when that is not known."""
        with self._lock:
            now = self.clock()
            if self._since is None or now - self._last > GAP_SECONDS:
                return 0.0
            return now - self._since


class Prober:
    """Sends a probe every `HEARTBEAT_SECONDS` until stopped."""

    def __init__(self, reach: Reach, base_url: str, token: str) -> None:
        self._reach = reach
        self._url = f"{base_url.rstrip('/')}/internal/v1/probe"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay-prober", daemon=True)

    def start(self) -> None:
        """Begin probing."""
        self._thread.start()

    def stop(self) -> None:
        """End probing; waits for a probe under way (4 s at most)."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=4.0) as client:
            while True:
                self.probe(client)
                if self._stop.wait(HEARTBEAT_SECONDS):
                    return

    def probe(self, client: httpx.Client) -> None:
        """One probe, noted in the reach."""
        try:
            client.post(self._url, headers=self._headers).raise_for_status()
        except httpx.HTTPError as error:
            self._reach.failed()
            log.warning("probe failed, leases stand still: %s", error)
        else:
            self._reach.proved()
