"""dramatiq_sqs at prefetch 1: one worker thread."""

import os
import sys
import threading

import dramatiq
from dramatiq.worker import Worker
from dramatiq_sqs import SQSBroker

broker = SQSBroker(
    namespace="bench",
    middleware=[],
    region_name="ap-northeast-2",
    endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
    aws_access_key_id="test",
    aws_secret_access_key="test",
)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="jobs")
def job(number: int) -> None:
    """Say that it ran."""
    sys.stdout.write(f"done {number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "send":
        for n in range(int(sys.argv[2])):
            job.send(n)
    else:
        worker = Worker(broker, worker_threads=1)
        worker.queue_prefetch = 1
        worker.start()
        threading.Event().wait()
