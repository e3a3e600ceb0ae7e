"""Password hashing off the event loop.

Argon2id takes tens of milliseconds of CPU on purpose. Under gevent that would hold up every connection of the process,
so the hash runs in a small pool of native threads (argon2 releases the GIL) and the greenlet waits cooperatively. Its
database connection is given back meanwhile.
"""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import argon2  # noqa: F401 - imported here so that no native thread has to
import gevent
from django.contrib.auth.hashers import Argon2PasswordHasher
from gevent import monkey
from gevent.threadpool import ThreadPool

from academy_api.database.guard import leave_database

THREADS = 2
"""Native threads a process: hashes beyond that queue, so that logins cannot take the CPU from everything else."""
NICENESS = 10

T = TypeVar("T")


class OffLoopArgon2(Argon2PasswordHasher):
    """Argon2id with OWASP's least parameters (19 MiB, 2 passes, 1 lane): 50 at once fit a small pod's memory."""

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        """Hash a password."""
        return _off_loop(functools.partial(super().encode, password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        """Compare a password with a hash."""
        return _off_loop(functools.partial(super().verify, password, encoded))


@functools.cache
def _pool(_hub: object) -> ThreadPool:
    return ThreadPool(THREADS)


def _politely(work: Callable[[], T]) -> T:
    """Run `work` in this native thread at lower priority: with few cores the event loop goes first."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    return work()


def _off_loop(work: Callable[[], T]) -> T:
    """Run `work` in a native thread under gevent, in place where there is no event loop to protect."""
    if not monkey.is_module_patched("threading"):
        return work()
    leave_database()
    result: Any = _pool(gevent.get_hub()).apply(_politely, (work,))
    return result  # type: ignore[no-any-return]  # gevent's stub has lost the type
