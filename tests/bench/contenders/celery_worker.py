"""Celery over its SQS transport: one process, prefetch 1, late acknowledgement, as a careful user would set it."""

import os
import sys

from celery import Celery

app = Celery(broker="sqs://test:test@", set_as_current=True)  # type: ignore[no-untyped-call]
app.conf.update(
    broker_transport_options={
        "region": "ap-northeast-2",
        "wait_time_seconds": 20,
        "polling_interval": 0,  # kombu's own pause between polls, a second unless it is set
        "visibility_timeout": 300,
        "predefined_queues": {
            "bench": {"url": os.environ["QUEUE_URL"], "access_key_id": "test", "secret_access_key": "test"}
        },
    },
    task_default_queue="bench",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_concurrency=1,
    worker_pool="solo",
    task_ignore_result=True,
    worker_enable_remote_control=False,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="bench.job")  # type: ignore[untyped-decorator]
def job(number: int) -> None:
    """Say that it ran."""
    sys.stdout.write(f"done {number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "send":
        for n in range(int(sys.argv[2])):
            job.delay(n)
    else:
        app.worker_main(["worker", "--loglevel=ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat"])
