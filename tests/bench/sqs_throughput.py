"""Jobs a second on ElasticMQ: our worker loop beside Celery and dramatiq_sqs, and the emulator's bare ceiling.

All messages are there before the worker starts, so that the long polls never wait. Every contender is one worker that
does one job at a time. `bare` only receives a message and deletes it, one after the other; `ceiling` does the same in
several threads at once, which is as fast as the emulator goes here. Time runs from the first job done to the last,
after a run that only warms the emulator up. Prints one JSON object.

    make bench NAME=sqs_throughput
"""

import argparse
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import boto3
import contender
import sqs_calls
from cluster import elasticmq_server
from machine import report

CONTENDERS = {"bare": "bare_worker.py", "ceiling": "bare_worker.py", **sqs_calls.CONTENDERS}
QUEUE = {"bare": "bare", "ceiling": "ceiling", **sqs_calls.QUEUE}
THREADS = {"ceiling": 8}


def seconds_to_drain(command: list[str], env: dict[str, str], jobs: int) -> float:
    """From the first `done` to the last."""
    worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    watchdog = threading.Timer(sqs_calls.DEADLINE_SECONDS, worker.kill)
    watchdog.start()
    times: list[float] = []
    try:
        for line in worker.stdout or ():
            if line.startswith("done "):
                times.append(time.monotonic())
            if len(times) == jobs:
                return times[-1] - times[0]
        raise SystemExit(f"{command[1]} ended after {len(times)} of {jobs} jobs")
    finally:
        watchdog.cancel()
        worker.terminate()
        worker.wait(timeout=60)


def rate(name: str, endpoint: str, jobs: int) -> float:
    """Jobs a second of one contender on a fresh queue."""
    client = boto3.client(
        "sqs",
        endpoint_url=endpoint,
        region_name="ap-northeast-2",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    url = client.create_queue(QueueName=QUEUE[name], Attributes={"VisibilityTimeout": "300"})["QueueUrl"]
    env = sqs_calls.environment(int(endpoint.rpartition(":")[2]), url)
    script = CONTENDERS[name]
    subprocess.run(
        contender.command(script, "send", str(jobs)), env=env, check=True, timeout=sqs_calls.DEADLINE_SECONDS
    )
    env["THREADS"] = str(THREADS.get(name, 1))
    seconds = seconds_to_drain(contender.command(script, "work", str(jobs)), env, jobs)
    client.delete_queue(QueueUrl=url)
    return (jobs - 1) / seconds


def main() -> None:
    """Rounds alternate; ratios are made within a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=sorted(CONTENDERS), action="append")
    arguments = parser.parse_args()
    names = arguments.only or list(CONTENDERS)
    with (
        tempfile.TemporaryDirectory(prefix="academy-bench-") as folder,
        elasticmq_server.running(Path(folder)) as endpoint,
    ):
        rate("ceiling", endpoint, arguments.jobs)
        rounds = [{name: rate(name, endpoint, arguments.jobs) for name in names} for _ in range(arguments.rounds)]
    figures: dict[str, Any] = {name: round(statistics.median(entry[name] for entry in rounds), 1) for name in names}
    ratios = {
        f"academy/{name}": round(statistics.median(entry["academy"] / entry[name] for entry in rounds), 2)
        for name in names
        if name != "academy" and "academy" in names
    }
    report(jobs=arguments.jobs, jobs_per_second=figures, ratios=ratios)


if __name__ == "__main__":
    main()
