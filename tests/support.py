"""What several test modules share: handles on the run's servers, and bounded waits."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

import psutil
from mypy_boto3_s3 import S3Client
from mypy_boto3_sqs import SQSClient

from academy_local.servers import s3 as s3_server


def ended(pid: int) -> bool:
    """Whether the process has ended, waited for or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def running(process: psutil.Process, name: str) -> bool:
    """Whether the process runs now under this name: one that ends while it is looked at does not."""
    try:
        return process.name() == name and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def words(process: psutil.Process) -> list[str]:
    """Its command line; none of one that ends while it is looked at."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def wait_until(
    condition: Callable[[], bool], timeout: float, message: str, going_on: Callable[[], bool] = lambda: True
) -> None:
    """Poll `condition` for at most `timeout` seconds; AssertionError with `message` when it stays false.

    Of a machine that stands still between two looks one second counts. `going_on` is asked before each look: what is
    waited for may come with the end of what goes on.
    """
    waited, last = 0.0, time.monotonic()
    while True:
        goes_on = going_on()
        if condition():
            return
        assert goes_on, message
        assert waited < timeout, f"{message} within {timeout:g} s"
        time.sleep(0.05)
        now = time.monotonic()
        waited, last = waited + min(now - last, 1.0), now


@dataclass(frozen=True)
class SqsHandle:
    """The run's SQS emulator."""

    endpoint: str
    client: SQSClient = field(repr=False)

    def new_queue(self, visibility_timeout: int = 300) -> str:
        """Create a queue under a fresh name; return its URL."""
        return self.client.create_queue(
            QueueName=f"test-{uuid4().hex}", Attributes={"VisibilityTimeout": str(visibility_timeout)}
        )["QueueUrl"]


@dataclass(frozen=True)
class S3Handle:
    """The run's S3 emulator."""

    server: s3_server.S3
    client: S3Client = field(repr=False)

    @property
    def endpoint(self) -> str:
        """Value of R2_ENDPOINT."""
        return self.server.endpoint

    def new_bucket(self) -> str:
        """Create a bucket under a fresh name; return its name."""
        name = f"test-{uuid4().hex}"
        self.client.create_bucket(Bucket=name)
        return name
