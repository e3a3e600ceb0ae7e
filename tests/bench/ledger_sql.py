"""The ledger's SQL: claim + complete a second with 1 and 16 workers, beside procrastinate's on the same Postgres.

A worker is a process with one connection that claims and completes until nothing is ready; both contenders keep the
finished rows. Rounds alternate, ratios are made within a round, and the median round is printed as one JSON object.

    python tests/bench/ledger_sql.py --tasks 2000 --rounds 3
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe

from academy_local import ports, processes
from academy_local.servers.postgres import Postgres

CONTENDERS = {"academy": "academy_ledger.py", "procrastinate": "procrastinate_ledger.py"}
DEADLINE_SECONDS = 300.0


def environment(server: Postgres, database: str) -> dict[str, str]:
    """A contender's environment: where its database is, in both forms."""
    return {
        **os.environ,
        "DSN": server.dsn(database),
        "DB_NAME": database,
        "DB_USER": "postgres",
        "DB_PASSWORD": server.password,
        "DB_HOST": ports.HOST,
        "DB_PORT": str(server.port),
        "DB_DIRECT_PORT": str(server.port),
        "DB_CONN_MAX_AGE": "60",
        # The rest of the settings are the tests' throw-away values; its own servers are not wanted here.
        "ACADEMY_TEST_RUN_PID": str(os.getpid()),
        "R2_ENDPOINT": f"http://{ports.HOST}:1",
        "AWS_ENDPOINT_URL_SQS": f"http://{ports.HOST}:1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "DJANGO_SETTINGS_MODULE": "django_settings",
    }


def rate(name: str, server: Postgres, *, workers: int, tasks: int) -> float:
    """Claims + completions a second of one contender in a fresh database."""
    script = str(Path(__file__).parent / "contenders" / CONTENDERS[name])
    database = f"{name}_{secrets.token_hex(4)}"
    server.create_database(database)
    env = environment(server, database)
    subprocess.run([sys.executable, script, "fill", str(tasks)], env=env, check=True, timeout=DEADLINE_SECONDS)
    running = [
        subprocess.Popen([sys.executable, script, "work"], env=env, stdin=-1, stdout=-1, text=True)
        for _ in range(workers)
    ]
    try:
        for worker in running:
            if worker.stdout is None or worker.stdout.readline() != "ready\n":
                raise SystemExit(f"{name}: a worker did not start")
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
        raise SystemExit(f"{name}: {done} of {tasks} tasks were completed")
    return tasks / seconds


def rounds(server: Postgres, *, workers: int, tasks: int, count: int) -> dict[str, Any]:
    """Median rates and the median of the ratios ours / theirs, each made within one round."""
    measured = [{name: rate(name, server, workers=workers, tasks=tasks) for name in CONTENDERS} for _ in range(count)]
    ratios = [entry["academy"] / entry["procrastinate"] for entry in measured]
    return {
        **{f"{name}_per_second": round(statistics.median(entry[name] for entry in measured)) for name in CONTENDERS},
        "ratio": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
    }


def main() -> None:
    """Measure with 1 and with 16 workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(Path(folder) / "postgres", ports.free(1)[0], secrets.token_urlsafe(16))
        server.prepare()
        child = processes.Child(server.command(), Path(folder) / "log")
        try:
            child.wait_ready(server.ready, 60)
            figures = {
                f"{workers} workers": rounds(server, workers=workers, tasks=arguments.tasks, count=arguments.rounds)
                for workers in arguments.workers
            }
        finally:
            child.stop()
    print(json.dumps({"machine": describe(), "tasks": arguments.tasks, "figures": figures}, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()
