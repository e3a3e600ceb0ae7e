"""The relay as a process: one active by its lock, a standby that takes over, a clean end on SIGTERM."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import ledger_support as support
import pytest
from django.db import connection
from support import SqsHandle, wait_until

from academy_api.ledger import sql

pytestmark = pytest.mark.django_db(transaction=True)

ACTIVE = """
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@pytest.fixture
def queue(sqs: SqsHandle) -> str:
    """A fresh queue with its DLQ."""
    name = f"relay-{uuid4().hex}"
    sqs.client.create_queue(QueueName=f"{name}-dlq")
    url: str = sqs.client.create_queue(QueueName=name)["QueueUrl"]
    return url


class Relays:
    """Relay processes over the test database."""

    def __init__(self, queue: str) -> None:
        self.environment = os.environ | {
            "DB_NAME": str(connection.settings_dict["NAME"]),
            "VIDEO_SQS_QUEUE_NAME": queue.rsplit("/", 1)[1],
            "DJANGO_SETTINGS_MODULE": "academy_api.settings",
        }
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "academy_api.relay"], env=self.environment)
        self.started.append(process)
        return process

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait(timeout=20)


@pytest.fixture
def relays(queue: str) -> Iterator[Relays]:
    support.reset_clock()
    found = Relays(queue)
    yield found
    found.end()


def depth(sqs: SqsHandle, queue: str) -> int:
    answer = sqs.client.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessages"])
    return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def active() -> list[int]:
    return [pid for (pid,) in sql.rows(ACTIVE, {})]


def test_a_standby_takes_over_what_a_killed_relay_left(sqs: SqsHandle, queue: str, relays: Relays) -> None:
    first = relays.start()
    wait_until(lambda: len(active()) == 1, 60, "the first relay did not become active")
    standby = relays.start()
    support.submit()
    wait_until(lambda: depth(sqs, queue) == 1, 30, "the active relay sent no bell")
    (locked_by,) = active()
    first.send_signal(signal.SIGKILL)
    first.wait(timeout=20)
    support.submit()
    # Killed between a bell and its row's end, the first one leaves a row that rings again: once more does no harm.
    wait_until(lambda: depth(sqs, queue) >= 2, 60, "the standby did not take over")
    wait_until(lambda: active() not in ([], [locked_by]), 20, "the lock is still the dead relay's")
    wait_until(lambda: support.outbox() == [], 20, "a sent row is still there")
    standby.send_signal(signal.SIGTERM)
    assert standby.wait(timeout=30) == 0
    wait_until(lambda: active() == [], 20, "the lock outlived its relay")


def test_a_relay_whose_connection_is_cut_begins_again(sqs: SqsHandle, queue: str, relays: Relays) -> None:
    relays.start()
    wait_until(lambda: len(active()) == 1, 60, "the relay did not become active")
    (cut,) = active()
    sql.rows("SELECT pg_terminate_backend(%(pid)s)", {"pid": cut})
    wait_until(lambda: active() not in ([], [cut]), 30, "the relay did not take its lock again")
    support.submit()
    wait_until(lambda: depth(sqs, queue) == 1, 30, "no bell after the cut")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A store that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server


def test_a_store_that_never_answers_does_not_hold_up_the_bells(
    sqs: SqsHandle, queue: str, relays: Relays, silent: socket.socket
) -> None:
    """The relay's one thread also looks into the store: it waits there for seconds, and not for minutes."""
    relays.environment["R2_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
    relays.start()
    wait_until(lambda: len(active()) == 1, 60, "the relay did not become active")
    silent.settimeout(60)
    with silent.accept()[0]:
        support.submit()
        wait_until(lambda: depth(sqs, queue) == 1, 20, "it waits for the store")
