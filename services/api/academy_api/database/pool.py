"""A bounded pool of psycopg2 connections, one a process.

Plain `threading`: under gevent's monkey patch the same code is cooperative. The bound holds for connections that are
lent and idle together; who finds it reached waits. With PgBouncer in front (`max_age` 0) nothing is kept idle and the
pool is only the bound.
"""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable

from prometheus_client import Counter, Gauge
from psycopg2 import OperationalError
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

WAIT_SECONDS = 10.0

_lent = Gauge("api_db_connections_lent", "Database connections in use.", multiprocess_mode="livesum")
_opened = Counter("api_db_connections_opened_total", "Database connections opened.")
_timeouts = Counter("api_db_pool_timeouts_total", "Requests that found no free database connection in time.")


class Pool:
    """`connect` opens a connection; `size` bounds them; `max_age` is in seconds from opening."""

    def __init__(self, size: int, max_age: float, *, wait: float = WAIT_SECONDS) -> None:
        self._max_age = max_age
        self._wait = wait
        self._slots = threading.BoundedSemaphore(size)
        self._idle: list[tuple[connection, float]] = []
        self._born: dict[int, float] = {}
        # A forked child must not speak on its parent's sockets. psycopg2 leaves a parent's connection alone when it is
        # collected in the child.
        os.register_at_fork(after_in_child=self._forget)

    def take(self, connect: Callable[[], connection]) -> connection:
        """Lend a connection; psycopg2.OperationalError when none is free in time or the database cannot be reached."""
        if not self._slots.acquire(timeout=self._wait):
            _timeouts.inc()
            raise OperationalError(f"no free database connection within {self._wait} s")
        try:
            raw = self._idle_one()
            if raw is None:
                raw = connect()
                _opened.inc()
                self._born[id(raw)] = time.monotonic()
        except BaseException:
            self._slots.release()
            raise
        _lent.inc()
        return raw

    def give_back(self, raw: connection) -> None:
        """Take a lent connection back; keep it when it is clean and young enough, else close it."""
        born = self._born.pop(id(raw))
        try:
            if self._reusable(raw, born):
                self._idle.append((raw, born))
            else:
                raw.close()
        finally:
            _lent.dec()
            self._slots.release()

    def close_idle(self) -> None:
        """Close what is not lent."""
        while self._idle:
            self._idle.pop()[0].close()

    def _idle_one(self) -> connection | None:
        """The youngest idle connection that is still good. Last in, first out: the rest can grow old and go."""
        found: connection | None = None
        while self._idle and found is None:
            raw, born = self._idle.pop()
            if self._reusable(raw, born) and not _has_input(raw):
                self._born[id(raw)] = born
                found = raw
            else:
                raw.close()
        self._drop_aged()
        return found

    def _drop_aged(self) -> None:
        oldest = time.monotonic() - self._max_age
        aged = [raw for raw, born in self._idle if born < oldest]
        self._idle = [(raw, born) for raw, born in self._idle if born >= oldest]
        for raw in aged:
            raw.close()

    def _reusable(self, raw: connection, born: float) -> bool:
        if raw.closed or time.monotonic() - born >= self._max_age:
            return False
        return raw.info.transaction_status == TRANSACTION_STATUS_IDLE

    def _forget(self) -> None:
        self._idle = []
        self._born = {}


def _has_input(raw: connection) -> bool:
    """An idle connection has nothing to say: input means that the server has closed it."""
    poll = select.poll()
    with contextlib.suppress(OSError):
        poll.register(raw.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    return True
