"""psycopg2 under gevent: libpq's waits go through the event loop.

psycopg2's wait callback is process-wide; gunicorn's configuration installs it right after the monkey patch. Two things
libpq does not do in that mode are done here: it would look up names in C, holding the loop, and it would ignore
connect_timeout.
"""

import socket
from typing import Any

from gevent import monkey
from gevent.socket import wait_read, wait_write
from psycopg2 import OperationalError
from psycopg2.extensions import (
    POLL_OK,
    POLL_READ,
    POLL_WRITE,
    STATUS_SETUP,
    connection,
    set_wait_callback,
)

CONNECT_SECONDS = 5.0


def install() -> None:
    """Make every psycopg2 connection of this process cooperative."""
    set_wait_callback(_wait)


def _wait(raw: connection) -> None:
    """Wait until libpq has finished. An exception here (a killed greenlet too) makes psycopg2 close the connection."""
    seconds = CONNECT_SECONDS if raw.status == STATUS_SETUP else None
    too_late = OperationalError(f"could not connect to the database within {CONNECT_SECONDS} s")
    while (state := raw.poll()) != POLL_OK:
        if state == POLL_READ:
            wait_read(raw.fileno(), seconds, too_late)
        elif state == POLL_WRITE:
            wait_write(raw.fileno(), seconds, too_late)
        else:
            raise OperationalError(f"unexpected answer of libpq's poll: {state}")


def resolved(conn_params: dict[str, Any]) -> dict[str, Any]:
    """Connection parameters with `hostaddr` looked up by gevent's resolver; `host` stays for TLS."""
    host = conn_params.get("host")
    if not host or host.startswith("/") or not monkey.is_module_patched("socket"):
        return {**conn_params, "connect_timeout": int(CONNECT_SECONDS)}
    try:
        found = socket.getaddrinfo(host, conn_params.get("port"), type=socket.SOCK_STREAM)
    except OSError as error:
        raise OperationalError(f"cannot look up {host}: {error}") from error
    return {**conn_params, "hostaddr": found[0][4][0]}
