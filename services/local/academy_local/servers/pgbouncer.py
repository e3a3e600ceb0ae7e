"""PgBouncer in transaction mode in front of the embedded Postgres, where the system has the binary."""

import os
import shutil
import signal
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from academy_local import ports, processes
from academy_local.servers import postgres


def binary() -> str | None:
    """Path of the system's pgbouncer; None where it is not installed. Debian keeps it in /usr/sbin."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@dataclass(frozen=True)
class PgBouncer:
    """A pooler before `server`: same databases, same user and password, another port."""

    folder: Path
    port: int
    server: postgres.Postgres = field(repr=False)
    pool_size: int = 20
    max_clients: int = 2500
    name: str = "pgbouncer"

    def prepare(self) -> None:
        """Write its configuration and user list (which holds the password: PgBouncer signs in to Postgres with it)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        users = self.folder / "users.txt"
        users.touch(mode=0o600)
        users.write_text(f'"{postgres.USER}" "{self.server.password}"\n')
        configuration = f"""\
[databases]
* = host={ports.HOST} port={self.server.port}

[pgbouncer]
listen_addr = {ports.HOST}
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
admin_users = {postgres.USER}
pool_mode = transaction
default_pool_size = {self.pool_size}
max_client_conn = {self.max_clients}
server_login_retry = 1
log_connections = 0
log_disconnections = 0
"""
        (self.folder / "pgbouncer.ini").write_text(configuration)
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                shutil.chown(path, "nobody")

    def command(self) -> processes.Command:
        """See Server.command."""
        found = binary()
        if found is None:
            raise processes.NotReady("pgbouncer is not installed: run `make setup`, or `apt-get install pgbouncer`")
        # SIGINT ends when the queries under way have ended, in all versions; SIGTERM's meaning changed in 1.23.
        return processes.Command(
            (found, str(self.folder / "pgbouncer.ini")), stop_signal=signal.SIGINT, grace_seconds=2.0, as_nobody=True
        )

    def ready(self) -> bool:
        """Whether its console answers; that needs no connection to Postgres."""
        try:
            psycopg2.connect(self.dsn("pgbouncer"), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def tidy(self) -> None:
        """Nothing lies outside its folder."""

    def dsn(self, database: str) -> str:
        """Connection string (libpq) through the pooler."""
        return (
            f"host={ports.HOST} port={self.port} user={postgres.USER} password={self.server.password} dbname={database}"
        )
