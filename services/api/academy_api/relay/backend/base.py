"""Postgres on one direct connection that nobody but the relay's lock opens or closes.

The relay may write only over the connection that holds its lock. Django would quietly open another one after a
failure, and close one at the end of a request; while `sealed`, this wrapper does neither.
"""

from django.db.backends.postgresql import base

from academy_core.errors import Retryable


class LockLost(Retryable):
    """The connection that held the relay's lock is gone: stop writing, begin again as a standby."""


class DatabaseWrapper(base.DatabaseWrapper):
    """Sealed between acquiring and giving up the lock."""

    sealed = False

    def connect(self) -> None:
        """Open the connection; LockLost while sealed, since a new connection would not hold the lock."""
        if self.sealed:
            raise LockLost("the relay's connection is gone")
        super().connect()

    def close(self) -> None:
        """Close the connection; while sealed nothing happens, unless it is broken anyway."""
        if self.sealed and self.connection is not None and not self.connection.closed:
            return
        super().close()
