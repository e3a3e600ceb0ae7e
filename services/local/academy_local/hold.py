"""Holds one server for a test run: `python -m academy_local.hold NAME FOLDER WATCHED_PID`.

Stands between the integration tests' fixtures and a server that several test processes share. It starts the server
on the addresses of the test environment, writes FOLDER/ready (or FOLDER/failed) and waits; when the watched process
(the test runner) ends, however it ends, the server is stopped and FOLDER removed.
"""

import os
import select
import shutil
import sys
from pathlib import Path

from academy_local import processes
from academy_local.servers import pgbouncer, postgres, s3, sqs

READY_SECONDS = 120.0


def server_from(environment: dict[str, str], name: str, folder: Path) -> processes.Server:
    """The server `name` at the addresses the test environment names. KeyError when one is missing."""
    database = postgres.Postgres(
        folder, int(environment["DB_DIRECT_PORT"]), environment["DB_PASSWORD"], max_connections=300, durable=False
    )
    servers: dict[str, processes.Server] = {
        "postgres": database,
        "pgbouncer": pgbouncer.PgBouncer(folder, int(environment["ACADEMY_TEST_PGBOUNCER_PORT"]), database),
        "sqs": sqs.Sqs(int(environment["ACADEMY_TEST_SQS_PORT"])),
        "s3": s3.S3(
            folder,
            tuple(map(int, environment["ACADEMY_TEST_S3_PORTS"].split(","))),
            environment["R2_ACCESS_KEY"],
            environment["R2_SECRET_KEY"],
        ),
    }
    return servers[name]


def main(name: str, folder: Path, watched: int) -> None:
    """Run the server until `watched` ends."""
    watched_fd = os.pidfd_open(watched)
    server = server_from(dict(os.environ), name, folder)
    try:
        try:
            server.prepare()
            child = processes.Child(server.command(), folder / "log")
            child.wait_ready(server.ready, READY_SECONDS)
        except processes.NotReady as error:
            (folder / "failed").write_text(str(error))
            raise
        (folder / "ready").touch()
        try:
            select.select([watched_fd], [], [])
        finally:
            child.stop()
            server.tidy()
    finally:
        shutil.rmtree(folder)
        _remove_if_empty(folder.parent)


def _remove_if_empty(folder: Path) -> None:
    """The last server of the run removes the run's folder."""
    try:
        folder.rmdir()
    except OSError:
        return


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
