"""CPU work off the event loop: password hashes, exports, large results.

Under gevent whatever holds the CPU holds every connection of the process. `run` gives such work to a small pool of
native threads and lets the greenlet wait cooperatively; its database connection is given back meanwhile, so the work
itself must not touch the database. Work that holds the GIL still shares it with the loop, in slices of Python's switch
interval (5 ms), at a lower priority.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent import monkey
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from academy_api.database.guard import leave_database

THREADS = 2
"""Native threads a process: work beyond that queues, so that it cannot take the CPU from everything else."""
TURNS = 2 * THREADS
"""Requests of `in_turn` views under way: enough that no thread waits for a request's database work."""
NICENESS = 10

T = TypeVar("T")
P = ParamSpec("P")


def in_turn(view: Callable[P, T]) -> Callable[P, T]:
    """A view that goes through `run`, held back before its first step while `TURNS` others are under way.

    A hundred that come at once would otherwise all do their part on the loop first, one after the other, and hold up
    everybody else for as long as that takes.
    """

    @functools.wraps(view)
    def waits(*args: P.args, **kwargs: P.kwargs) -> T:
        if not monkey.is_module_patched("threading"):
            return view(*args, **kwargs)
        with _turns(gevent.get_hub()):
            return view(*args, **kwargs)

    return waits


def run(work: Callable[[], T]) -> T:
    """Run `work` in a native thread under gevent, in place where there is no event loop to protect."""
    if not monkey.is_module_patched("threading"):
        return work()
    leave_database()
    result: Any = _pool(gevent.get_hub()).apply(_politely, (work,))
    return result  # type: ignore[no-any-return]  # gevent's stub has lost the type


@functools.cache
def _turns(_hub: object) -> BoundedSemaphore:
    return BoundedSemaphore(TURNS)


@functools.cache
def _pool(_hub: object) -> ThreadPool:
    return ThreadPool(THREADS)


def _politely(work: Callable[[], T]) -> T:
    """Run `work` in this native thread at lower priority: with few cores the event loop goes first."""
    thread = threading.get_native_id()
    # Never upwards, which only root may: the whole process may run at a lower priority than that.
    os.setpriority(os.PRIO_PROCESS, thread, max(NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
    return work()
