"""50 sign-ins at once: how long a worker's heartbeats take meanwhile, with one gunicorn process.

A sign-in hashes a password, tens of milliseconds of CPU on purpose. The heart is a process of its own with one
connection, so that what it measures is the server's. Prints one JSON object; `idle` is the same heart with no sign-ins.

    make bench NAME=sign_ins
"""

import argparse
import json
import statistics
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import contender
import served
from gunicorn_support import Served
from machine import report

IDLE_SECONDS = 3.0


def sign_in(api: Served, email: str) -> int:
    """The status of one sign-in."""
    body = json.dumps({"email": email, "password": served.PASSWORD}).encode()
    request = urllib.request.Request(f"{api.base}/api/v1/session", body, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return int(answer.status)


def beating(api: Served, seconds_or_people: float | list[str]) -> dict[str, Any]:
    """Heartbeats while so many seconds pass, or while these people sign in."""
    command = contender.command("heart.py", api.base, served.WORKER_TOKEN)
    heart = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if heart.stdout is None or heart.stdout.readline() != "beating\n":
        raise SystemExit("the heart does not beat")
    started = time.monotonic()
    if isinstance(seconds_or_people, list):
        with ThreadPoolExecutor(len(seconds_or_people)) as pool:
            statuses = set(pool.map(lambda email: sign_in(api, email), seconds_or_people))
        if statuses != {200}:
            raise SystemExit(f"sign-ins answered {statuses}")
    else:
        time.sleep(seconds_or_people)
    seconds = time.monotonic() - started
    beats = sorted(json.loads(heart.communicate("stop\n", timeout=60)[0]))
    return {
        "seconds": round(seconds, 2),
        "beats": len(beats),
        "p50_ms": round(1000 * statistics.median(beats), 1),
        "p99_ms": round(1000 * beats[int(len(beats) * 0.99)], 1),
        "max_ms": round(1000 * beats[-1], 1),
    }


def main() -> None:
    """Measure idle, then with all of them at once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=50)
    arguments = parser.parse_args()
    with served.postgres() as server:
        env = served.new_database(server, "sign_ins")
        served.run("academy_ledger.py", "fill", "20", env=env)
        people = served.run("academy_people.py", str(arguments.people), served.PASSWORD, env=env).split()
        with served.api("academy_api.wsgi", env, workers=1) as api:
            sign_in(api, people[0])  # the first of a process also imports
            figures = {"idle": beating(api, IDLE_SECONDS), "sign_ins": beating(api, people)}
    report(people=arguments.people, figures=figures)


if __name__ == "__main__":
    main()
