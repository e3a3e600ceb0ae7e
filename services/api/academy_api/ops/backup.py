"""A copy of the database before a release changes it: a dump to the private bucket, or an RDS snapshot.

The dump streams from pg_dump to R2: nothing of it lies on a disk. A dump that pg_dump did not end well is not kept.
"""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from django.db import connection

from academy_core.errors import Permanent
from academy_core.settings import MigrateSettings
from academy_core.store import ObjectStore

DUMP_SECONDS = 3600
SNAPSHOT_LOOK_SECONDS = 30
CHUNK_BYTES = 1024 * 1024
_ERROR_BYTES = 2000


class BackupFailed(Permanent):
    """There is no backup: the release must not go on."""


def name(targets: str, now: datetime) -> str:
    """Of the dump or the snapshot; sorts by time."""
    return f"{now.astimezone(UTC):%Y%m%dt%H%M%Sz}-{targets}"


def pg_dump() -> str:
    """The pg_dump of the server's major version: Debian keeps each by its number, elsewhere it is on the PATH."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        major = int(cursor.fetchone()[0]) // 10_000
    debian = Path(f"/usr/lib/postgresql/{major}/bin/pg_dump")
    program = str(debian) if debian.exists() else shutil.which("pg_dump")
    if program is None:
        raise BackupFailed(f"there is no pg_dump {major}")
    stated = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    if f" {major}." not in stated and not stated.strip().endswith(f" {major}"):
        raise BackupFailed(f"the server is PostgreSQL {major}, but {program} is {stated.strip()}")
    return program


def dump(store: ObjectStore, settings: MigrateSettings, key: str, program: str) -> None:
    """Stream a dump in pg_dump's custom format to `key`. BackupFailed, and no object, when pg_dump fails."""
    command = [
        program,
        "--format=custom",
        "--no-password",
        f"--host={settings.DB_DIRECT_HOST or settings.DB_HOST}",
        f"--port={settings.DB_DIRECT_PORT or settings.DB_PORT}",
        f"--username={settings.DB_USER}",
        settings.DB_NAME,
    ]
    tls = {f"PG{key.upper()}": value for key, value in settings.tls(direct=True).items()}
    environment = {"PGPASSWORD": settings.DB_PASSWORD.get_secret_value(), "LC_ALL": "C.UTF-8", **tls}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # noqa: S603
        try:
            store.put_stream(key, _chunks(process), content_type="application/octet-stream")
        finally:
            process.kill()


def _chunks(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What pg_dump writes; raises at the end, before the upload is completed, unless it ended well."""
    output, errors = _pipes(process)
    while chunk := output.read(CHUNK_BYTES):
        yield chunk
    complaint = errors.read(_ERROR_BYTES).decode(errors="replace").strip()
    if process.wait(timeout=DUMP_SECONDS) != 0:
        raise BackupFailed(f"pg_dump: {complaint}")


def _pipes(process: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    if process.stdout is None or process.stderr is None:
        raise BackupFailed("pg_dump has no pipes")
    return process.stdout, process.stderr


def snapshot(region: str, instance: str, identifier: str) -> None:
    """Take an RDS snapshot and wait until it is there. BackupFailed when it does not come."""
    client = boto3.client("rds", region_name=region)
    try:
        client.create_db_snapshot(DBInstanceIdentifier=instance, DBSnapshotIdentifier=identifier)
        waiter = client.get_waiter("db_snapshot_available")
        waiter.wait(
            DBSnapshotIdentifier=identifier,
            WaiterConfig={"Delay": SNAPSHOT_LOOK_SECONDS, "MaxAttempts": DUMP_SECONDS // SNAPSHOT_LOOK_SECONDS},
        )
    except (BotoCoreError, ClientError) as error:
        raise BackupFailed(f"snapshot of {instance}: {error}") from error
