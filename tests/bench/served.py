"""What the benchmarks of the served API share: a database of their own, and gunicorn before it."""

import os
import secrets
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import contender
import django_settings  # noqa: F401 - fills this process's environment with the tests' throw-away settings
from gunicorn_support import Served, serve

from academy_local import ports, processes
from academy_local.servers.postgres import Postgres

DEADLINE_SECONDS = 300.0
PASSWORD = "correct horse battery staple"
WORKER_TOKEN = os.environ["INTERNAL_WORKER_TOKENS_VIDEO"]
"""What the served API takes from video workers."""


@contextmanager
def started(server: processes.Server, folder: Path) -> Iterator[None]:
    """Run a server while the block runs."""
    server.prepare()
    child = processes.Child(server.command(), folder / f"{server.name}.log")
    try:
        child.wait_ready(server.ready, 60)
        yield
    finally:
        child.stop()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A Postgres of this run, as durable as production's, and stopped with it."""
    with tempfile.TemporaryDirectory(prefix="academy-bench-") as folder:
        server = Postgres(Path(folder) / "postgres", ports.free(1)[0], secrets.token_urlsafe(16))
        with started(server, Path(folder)):
            yield server


def new_database(server: Postgres, name: str) -> dict[str, str]:
    """Make an empty database; the environment in which our code, served or not, finds it."""
    database = f"{name}_{secrets.token_hex(4)}"
    server.create_database(database)
    return {
        "DSN": server.dsn(database),
        "DB_NAME": database,
        "DB_USER": "postgres",
        "DB_PASSWORD": server.password,
        "DB_HOST": ports.HOST,
        "DB_PORT": str(server.port),
        "DB_DIRECT_PORT": str(server.port),
        "DB_CONN_MAX_AGE": "60",
        # Nothing listens there: the benchmarks need neither store nor queue.
        "R2_ENDPOINT": f"http://{ports.HOST}:1",
        "AWS_ENDPOINT_URL_SQS": f"http://{ports.HOST}:1",
        "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[1]), str(contender.SCRIPTS))),
    }


def run(script: str, *arguments: str, env: dict[str, str]) -> str:
    """Run a contender's script over the tests' settings; what it printed."""
    return subprocess.run(
        contender.command(script, *arguments),
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "django_settings", **env},
        check=True,
        timeout=DEADLINE_SECONDS,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def drained_per_second(script: str, env: dict[str, str], *, workers: int, tasks: int) -> float:
    """Tasks a second of so many processes of a contender that work until nothing is ready, once all have connected."""
    command = contender.command(script, "work")
    full = {**os.environ, "DJANGO_SETTINGS_MODULE": "django_settings", **env}
    running = [subprocess.Popen(command, env=full, stdin=-1, stdout=-1, text=True) for _ in range(workers)]
    try:
        for worker in running:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise SystemExit(f"{script}: a worker did not start")
        started = time.monotonic()
        for worker in running:
            if worker.stdin is not None:
                worker.stdin.write("go\n")
                worker.stdin.flush()
        done = sum(int(worker.communicate(timeout=DEADLINE_SECONDS)[0]) for worker in running)
        seconds = time.monotonic() - started
    finally:
        for worker in running:
            worker.kill()
            worker.wait()
    if done != tasks:
        raise SystemExit(f"{script}: {done} of {tasks} tasks were completed")
    return tasks / seconds


def compare(rounds: Sequence[Mapping[str, float]], ours: str, theirs: str) -> dict[str, Any]:
    """Median rates, and the median and range of the ratios ours / theirs, each made within one round."""
    ratios = [entry[ours] / entry[theirs] for entry in rounds]
    return {
        **{f"{name}_per_second": round(statistics.median(entry[name] for entry in rounds)) for name in rounds[0]},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }


@contextmanager
def api(application: str, env: dict[str, str], workers: int) -> Iterator[Served]:
    """The API under gunicorn with gevent workers, with what `application` adds to it."""
    with (
        tempfile.TemporaryDirectory(prefix="academy-bench-") as folder,
        serve(Path(folder), application, **env, GUNICORN_WORKERS=str(workers)) as served,
    ):
        yield served
