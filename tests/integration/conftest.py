"""Real servers for the integration tests: Postgres, PgBouncer, SQS and S3 emulators.

Each is started by the first test that asks for it, shared by all processes of the run (pytest-xdist) and held by a
process of its own (academy_local.hold), which stops it and removes its files when the run ends, however it ends.
Addresses and credentials are in the environment (tests/django_settings.py): code under test needs no patching.
"""

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import S3Handle, SqsHandle, wait_until

from academy_local import hold, ports
from academy_local.servers import pgbouncer as pgbouncer_server
from academy_local.servers import postgres as postgres_server
from academy_local.servers import s3 as s3_server
from academy_local.servers import sqs as sqs_server

START_SECONDS = hold.READY_SECONDS + 30


def _ensure(name: str) -> Path:
    """Start the server once a run; return its folder when it is ready."""
    folder = Path(os.environ["ACADEMY_TEST_FOLDER"]) / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            holder = subprocess.Popen(
                [sys.executable, "-m", "academy_local.hold", name, str(folder), os.environ["ACADEMY_TEST_RUN_PID"]],
                start_new_session=True,
            )
            wait_until((folder / "ready").exists, START_SECONDS, f"{name} did not start", lambda: holder.poll() is None)
    return folder


@pytest.fixture(scope="session")
def postgres() -> postgres_server.Postgres:
    """The run's Postgres; `dsn("postgres")` is its superuser's."""
    folder = _ensure("postgres")
    return postgres_server.Postgres(folder, int(os.environ["DB_DIRECT_PORT"]), os.environ["DB_PASSWORD"])


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    postgres: postgres_server.Postgres,
    django_db_modify_db_settings_parallel_suffix: None,
) -> None:
    """Every database test gets the run's Postgres."""


@pytest.fixture(scope="session")
def pgbouncer(postgres: postgres_server.Postgres) -> pgbouncer_server.PgBouncer:
    """PgBouncer in transaction mode before `postgres`, with the same databases."""
    if pgbouncer_server.binary() is None:
        pytest.skip("pgbouncer is not installed: `make setup`, or `apt-get install pgbouncer`")
    folder = _ensure("pgbouncer")
    return pgbouncer_server.PgBouncer(folder, int(os.environ["ACADEMY_TEST_PGBOUNCER_PORT"]), postgres)


@pytest.fixture(scope="session")
def sqs() -> SqsHandle:
    """The run's SQS emulator, in memory."""
    _ensure("sqs")
    server = sqs_server.Sqs(int(os.environ["ACADEMY_TEST_SQS_PORT"]))
    return SqsHandle(server.endpoint, server.client())


@pytest.fixture(scope="session")
def s3() -> S3Handle:
    """The run's S3 emulator, with the buckets of the default settings."""
    folder = _ensure("s3")
    server = s3_server.S3(
        folder,
        tuple(map(int, os.environ["ACADEMY_TEST_S3_PORTS"].split(","))),
        os.environ["R2_ACCESS_KEY"],
        os.environ["R2_SECRET_KEY"],
    )
    client = server.client()
    present = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in {"academy-video", "academy-ai"} - present:
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):  # another process of the run was faster
            client.create_bucket(Bucket=name)
    return S3Handle(server, client)


@pytest.fixture
def free_port() -> int:
    """A port nothing listens on."""
    return ports.free(1)[0]


@pytest.fixture
def bucket(s3: S3Handle) -> Iterator[str]:
    """A fresh, empty bucket; removed with all it holds."""
    name = s3.new_bucket()
    yield name
    for page in s3.client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for entry in page.get("Contents", []):
            s3.client.delete_object(Bucket=name, Key=entry["Key"])
    s3.client.delete_bucket(Bucket=name)


@pytest.fixture
def queue_url(sqs: SqsHandle) -> Iterator[str]:
    """A fresh, empty queue; deleted afterwards."""
    url = sqs.new_queue()
    yield url
    sqs.client.delete_queue(QueueUrl=url)
