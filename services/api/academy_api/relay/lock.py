"""One active relay: a session advisory lock on the relay's own direct connection.

A dead client is noticed by the server's keepalives, a dead server by the client's, both within 30 s; then the lock is
free and a standby takes over.
"""

import threading
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections

from academy_api.relay.backend.base import DatabaseWrapper
from academy_core.settings import DatabaseSettings

KEY = 7_205_759_403_792
"""Any number that nothing else in this database locks."""
RETRY_SECONDS = 1.0

# Ten idle seconds, then three unanswered probes five seconds apart; unacknowledged data ends it as soon.
_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
_SERVER_KEEPALIVE = """
SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = 25000
"""


def direct_database(settings: DatabaseSettings) -> dict[str, Any]:
    """Django's settings of the relay's `default` database: past the pooler, kept open, sealed while locked."""
    return {
        "ENGINE": "academy_api.relay.backend",
        "NAME": settings.DB_NAME,
        "USER": settings.DB_USER,
        "PASSWORD": settings.DB_PASSWORD.get_secret_value(),
        "HOST": settings.DB_DIRECT_HOST or settings.DB_HOST,
        "PORT": settings.DB_DIRECT_PORT or settings.DB_PORT,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "connect_timeout": 5,
            "application_name": "academy-relay",
            **_KEEPALIVE,
            **settings.tls(direct=True),
        },
    }


def acquire(stop: threading.Event) -> bool:
    """Wait for the lock as a standby. False when `stop` was set first. Raises what Django raises without a database."""
    with connection.cursor() as cursor:
        cursor.execute(_SERVER_KEEPALIVE)
        while not stop.is_set():
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEY])
            (locked,) = cursor.fetchone()
            if locked:
                _wrapper().sealed = True
                return True
            stop.wait(RETRY_SECONDS)
    return False


def give_up() -> None:
    """Close the connection, and with it the lock, if it still stands."""
    wrapper = _wrapper()
    wrapper.sealed = False
    wrapper.close()


def _wrapper() -> DatabaseWrapper:
    wrapper = connections[DEFAULT_DB_ALIAS]
    if not isinstance(wrapper, DatabaseWrapper):
        raise TypeError("the relay's default database must use academy_api.relay.backend")
    return wrapper
