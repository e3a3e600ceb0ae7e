"""The relay's one thread: takes the lock, runs each duty at its rhythm, begins again when its connection is gone."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from django.db import Error, connection

from academy_api.ledger import metrics
from academy_api.relay import Duty, lock
from academy_api.relay.backend.base import LockLost
from academy_core.errors import Retryable

log = logging.getLogger(__name__)

AGAIN_SECONDS = 2.0
"""Pause before a relay without a database tries again."""


def run(duties: Callable[[], Sequence[Duty]], stop: threading.Event) -> None:
    """Be a standby, then the active relay, until `stop` is set. `duties` makes the duties of one reign."""
    while not stop.is_set():
        try:
            if lock.acquire(stop):
                log.info("relay active")
                metrics.ACTIVE.set(1)
                reign(duties(), stop)
        except (Error, LockLost) as error:
            log.warning("relay without its lock: %s", error)
        finally:
            metrics.ACTIVE.set(0)
            lock.give_up()
        stop.wait(AGAIN_SECONDS if not stop.is_set() else 0)


def reign(duties: Sequence[Duty], stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
    """Run each duty when it is due until `stop` is set. Raises LockLost when the lock's connection is gone."""
    due = dict.fromkeys(range(len(duties)), clock())
    while not stop.is_set() and due:
        index = min(due, key=lambda candidate: due[candidate])
        if stop.wait(max(0.0, due[index] - clock())):
            return
        due[index] = max(due[index] + duties[index].every_seconds, clock())
        _run(duties[index])


def _run(duty: Duty) -> None:
    try:
        duty.run()
    except LockLost:
        raise
    except Exception as error:  # one duty's trouble must not stop the others
        metrics.DUTY_FAILURES.labels(duty.name).inc()
        if isinstance(error, Retryable):
            log.warning("duty %s: %s", duty.name, error)
        else:
            log.exception("duty %s raised", duty.name)
    if not connection.is_usable():
        raise LockLost(f"found after duty {duty.name}")
