"""Postgres connections while 2,000 clients are connected through PgBouncer and all work at once.

Each client is a connection that stays open and runs short transactions. The ratio is clients a Postgres connection;
without a pooler it is 1, and the smallest RDS instance has 87.

    make bench NAME=pooled_connections
"""

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402 - gevent's patch comes first
import resource  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from contextlib import closing  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import psycopg2  # noqa: E402
import served  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.lock import Semaphore  # noqa: E402
from machine import report  # noqa: E402

from academy_api.database import green  # noqa: E402
from academy_local import ports  # noqa: E402
from academy_local.servers.pgbouncer import PgBouncer  # noqa: E402

CONNECTING = 50
"""Clients that sign in at the same time: SCRAM costs both sides CPU."""
HOLD_SECONDS = 0.005
"""How long a transaction takes."""


class Clients:
    """So many connections to the pooler, each running transactions once all are there."""

    def __init__(self, dsn: str, count: int, transactions: int) -> None:
        self._dsn, self._transactions = dsn, transactions
        self._connecting = Semaphore(CONNECTING)
        self._go = Event()
        self.connected = 0
        self.greenlets = [gevent.spawn(self._run) for _ in range(count)]

    def _run(self) -> None:
        with self._connecting:
            link = psycopg2.connect(self._dsn)
        with closing(link), link.cursor() as cursor:
            self.connected += 1
            self._go.wait()
            for _ in range(self._transactions):
                cursor.execute("SELECT pg_sleep(%s)", [HOLD_SECONDS])
                link.commit()

    def go(self) -> None:
        """Let all of them work."""
        self._go.set()

    def done(self) -> bool:
        """Whether every one has ended; raises what one of them raised."""
        for greenlet in self.greenlets:
            if greenlet.ready():
                greenlet.get()
        return all(greenlet.ready() for greenlet in self.greenlets)


def backends(link: Any) -> int:
    """Postgres's client connections, but the one that asks."""
    with link.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])


def measure(clients: int, transactions: int) -> dict[str, Any]:
    """Connect all, let them work, and count Postgres's connections all the while."""
    with served.postgres() as server, tempfile.TemporaryDirectory(prefix="academy-bench-") as folder:
        pooler = PgBouncer(Path(folder) / "pgbouncer", ports.free(1)[0], server, max_clients=clients + 10)
        with served.started(pooler, Path(folder)), closing(psycopg2.connect(server.dsn("postgres"))) as observer:
            observer.autocommit = True
            crowd = Clients(pooler.dsn("postgres"), clients, transactions)
            most = 0
            while crowd.connected < clients and not crowd.done():
                gevent.sleep(0.05)
            started = time.monotonic()
            crowd.go()
            while not crowd.done():
                most = max(most, backends(observer))
                gevent.sleep(0.02)
            seconds = time.monotonic() - started
    return {
        "clients": crowd.connected,
        "postgres_connections": most,
        "clients_per_connection": round(crowd.connected / most, 1),
        "transactions_per_second": round(clients * transactions / seconds),
    }


def main() -> None:
    """Measure once: the bound is the pooler's, not a matter of luck."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--transactions", type=int, default=20)
    arguments = parser.parse_args()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    green.install()
    report(**measure(arguments.clients, arguments.transactions))


if __name__ == "__main__":
    main()
