"""Password hashing off the event loop.

Argon2id takes tens of milliseconds of CPU on purpose. Under gevent that would hold up every connection of the process,
so the hash runs in a native thread (argon2 releases the GIL).
"""

import functools

import argon2  # noqa: F401 - imported here so that no native thread has to
from django.contrib.auth.hashers import Argon2PasswordHasher

from academy_api import off_loop


class OffLoopArgon2(Argon2PasswordHasher):
    """Argon2id with OWASP's least parameters (19 MiB, 2 passes, 1 lane): 50 at once fit a small pod's memory."""

    time_cost = 2
    memory_cost = 19 * 1024  # KiB
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        """Hash a password."""
        return off_loop.run(functools.partial(super().encode, password, salt))

    def verify(self, password: str, encoded: str) -> bool:
        """Compare a password with a hash."""
        return off_loop.run(functools.partial(super().verify, password, encoded))
