"""gevent ÷ sync workers at equal memory, when every request waits 100 ms for somebody else.

One gevent process serves as many connections as are offered. Then sync workers, each of which serves one request at a
time, are started until they use as much memory (proportional set size of all processes, under load). By Little's law
the requests under way are rate × latency of the upstream; the ratio of the two is the result. The application, the
upstream and the load are the same. Prints one JSON object.

    make bench NAME=gevent_concurrency
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import contender
import psutil
import served
from gunicorn_support import COMMAND, serve
from machine import report

UPSTREAM_SECONDS = 0.1
APPLICATION = "upstreamapp"
SYNC = (sys.executable, "-m", "gunicorn", "-c", "python:sync_conf")
PROBED_WORKERS = (4, 12)
"""Sync workers whose memory is measured first, to know how many will use as much as the gevent process."""


@contextmanager
def upstream() -> Iterator[int]:
    """A server that answers each request after 100 ms, however many there are; its port."""
    command = contender.command("slow_upstream.py", str(UPSTREAM_SECONDS))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline()) if process.stdout else 0
        finally:
            process.terminate()


def memory_mib(process: subprocess.Popen[bytes]) -> float:
    """Proportional set size of the arbiter and its workers."""
    whole = psutil.Process(process.pid)
    return sum(part.memory_full_info().pss for part in (whole, *whole.children(recursive=True))) / 2**20


def under_load(env: dict[str, str], command: tuple[str, ...], connections: int, seconds: float) -> dict[str, Any]:
    """Requests a second and the memory that they took."""
    with (
        tempfile.TemporaryDirectory(prefix="academy-bench-") as folder,
        serve(Path(folder), APPLICATION, command, **env) as api,
    ):
        load = subprocess.Popen(
            contender.command("load.py", api.base, "/upstream", str(connections), str(seconds)),
            stdout=subprocess.PIPE,
            text=True,
        )
        seen: list[float] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.5):
                seen.append(memory_mib(api.process))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            result = json.loads(load.communicate(timeout=served.DEADLINE_SECONDS)[0])
        finally:
            over.set()
            watcher.join()
            load.kill()
    if result["failed"]:
        raise SystemExit(f"{result['failed']} requests failed, first: {result['first_failure']}")
    rate = result["answered"] / seconds
    return {
        "requests_per_second": round(rate, 1),
        "under_way": round(rate * UPSTREAM_SECONDS, 1),
        "p50_ms": result["p50_ms"],
        "memory_mib": round(max(seen), 1),
    }


def measure(connections: int, seconds: float, most_workers: int) -> dict[str, Any]:
    """One round: gevent, then sync workers of equal memory."""
    with upstream() as port:
        env = {"UPSTREAM_PORT": str(port), "PYTHONPATH": str(contender.SCRIPTS)}

        def sync(workers: int) -> dict[str, Any]:
            return under_load(env | {"GUNICORN_WORKERS": str(workers)}, SYNC, workers * 3, seconds)

        of_gevent = under_load(env | {"GUNICORN_WORKERS": "1"}, COMMAND, connections, seconds)
        few, many = PROBED_WORKERS
        small, large = sync(few), sync(many)
        each = (large["memory_mib"] - small["memory_mib"]) / (many - few)
        equal = few + int((of_gevent["memory_mib"] - small["memory_mib"]) / each)
        of_sync = sync(min(max(equal, 1), most_workers))
    of_sync["workers"] = min(max(equal, 1), most_workers)
    return {"gevent": of_gevent, "sync": of_sync, "ratio": round(of_gevent["under_way"] / of_sync["under_way"], 1)}


def main() -> None:
    """Measure the rounds and print them with the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--most-workers", type=int, default=64)
    arguments = parser.parse_args()
    rounds = [
        measure(arguments.connections, arguments.seconds, arguments.most_workers) for _ in range(arguments.rounds)
    ]
    ratio = statistics.median(entry["ratio"] for entry in rounds)
    report(rounds=rounds, ratio=ratio)


if __name__ == "__main__":
    main()
