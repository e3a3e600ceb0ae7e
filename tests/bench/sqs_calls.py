"""SQS calls a job: our worker loop beside Celery's SQS transport and dramatiq_sqs, each at prefetch 1.

Every contender sends `--jobs` no-op jobs and runs them with one worker against the same emulator, through a
proxy that counts API calls. Sending counts too: SQS bills it the same. Prints one JSON object.

    make bench NAME=sqs_calls
"""

import argparse
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import contender
from machine import report
from moto.server import ThreadedMotoServer
from sqs_proxy import CountingProxy

CONTENDERS = {"academy": "academy_worker.py", "celery": "celery_worker.py", "dramatiq_sqs": "dramatiq_worker.py"}
QUEUE = {"academy": "academy-video-jobs", "celery": "bench", "dramatiq_sqs": "bench_jobs"}
DEADLINE_SECONDS = 180.0


@contextmanager
def moto_sqs() -> Iterator[int]:
    """A fresh in-process moto server; yields its port."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


def environment(proxy_port: int, queue_url: str) -> dict[str, str]:
    """What a contender's processes get: the proxy's address and throw-away credentials, no more."""
    return {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{proxy_port}",
        "AWS_REGION": "ap-northeast-2",
        "AWS_DEFAULT_REGION": "ap-northeast-2",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "QUEUE_URL": queue_url,
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def worker_done(command: list[str], env: dict[str, str], jobs: int) -> Iterator[None]:
    """Start a worker and hand over once it has printed `done` for every job; it lives until the block ends."""
    worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(DEADLINE_SECONDS, worker.kill)
    watchdog.start()
    seen: set[str] = set()
    try:
        for line in worker.stdout or ():
            if line.startswith("done "):
                seen.add(line.split()[1])
            if len(seen) == jobs:
                break
        if len(seen) < jobs:
            raise SystemExit(f"{command[1]} ended after {len(seen)} of {jobs} jobs")
        yield
    finally:
        watchdog.cancel()
        worker.terminate()
        worker.wait(timeout=60)


def settled(read: Callable[[], dict[str, int]], quiet_seconds: float = 1.0) -> dict[str, int]:
    """The counts once they have stood still for `quiet_seconds`: the last delete may follow the last `done`."""
    last, since = read(), time.monotonic()
    while time.monotonic() - since < quiet_seconds:
        time.sleep(0.1)
        if (now := read()) != last:
            last, since = now, time.monotonic()
    return last


def measure(name: str, jobs: int) -> dict[str, Any]:
    """Calls a job of one contender, by action."""
    script = CONTENDERS[name]
    with moto_sqs() as port:
        client = boto3.client(
            "sqs",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="ap-northeast-2",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        url = client.create_queue(QueueName=QUEUE[name], Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
        proxy = CountingProxy(port)
        env = environment(proxy.port, url.replace(str(port), str(proxy.port)))
        subprocess.run(contender.command(script, "send", str(jobs)), env=env, check=True, timeout=DEADLINE_SECONDS)
        sent = dict(proxy.calls)
        with worker_done(contender.command(script, "work", str(jobs)), env, jobs):
            calls = settled(lambda: dict(proxy.calls))
        proxy.close()
    return {
        "calls_per_job": round(sum(calls.values()) / jobs, 3),
        "send_calls": sum(sent.values()),
        "by_action": dict(sorted(calls.items())),
    }


def main() -> None:
    """Measure every contender and print the ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--only", choices=sorted(CONTENDERS), action="append")
    arguments = parser.parse_args()
    figures = {name: measure(name, arguments.jobs) for name in arguments.only or CONTENDERS}
    ours = figures.get("academy")
    ratios = {
        f"academy/{name}": round(ours["calls_per_job"] / other["calls_per_job"], 3)
        for name, other in figures.items()
        if ours and name != "academy"
    }
    report(jobs=arguments.jobs, figures=figures, ratios=ratios)


if __name__ == "__main__":
    main()
