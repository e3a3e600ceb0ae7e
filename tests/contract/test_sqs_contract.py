"""What every Sqs does: the fake, and SqsClient on moto and ElasticMQ."""

import time

import pytest
from support import wait_until

from academy_core.errors import QueueUnavailable, ReceiptLost
from academy_core.sqs import Depth, Message, Sqs

Under = tuple[Sqs, str]

FIRST_SECONDS = 5
"""Of invisibility, in which it is to be extended however busy the machine is."""


def take(sqs: Sqs, queue: str, *, visibility: int = 60, wait: int = 2) -> Message:
    (message,) = sqs.receive(queue, wait_seconds=wait, visibility_seconds=visibility)
    return message


def test_a_sent_message_is_received_once_and_deleted(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    assert sqs.send(queue, ["안녕 {}"]) == (True,)
    message = take(sqs, queue)
    assert (message.body, message.receives) == ("안녕 {}", 1)
    assert sqs.receive(queue, wait_seconds=0, visibility_seconds=60) == ()
    sqs.delete(queue, message.receipt)
    assert sqs.depth(queue) == Depth(0, 0, 0)


def test_more_than_a_batch_is_sent_whole(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    bodies = [f"b{n}" for n in range(23)]
    assert sqs.send(queue, bodies) == (True,) * 23
    assert sqs.depth(queue).visible == 23
    seen: set[str] = set()
    for _ in range(30):
        seen |= {message.body for message in sqs.receive(queue, wait_seconds=0, visibility_seconds=60, most=10)}
        if len(seen) == 23:
            break
    assert seen == set(bodies)


def test_visibility_zero_hands_back_at_once_and_counts_the_receives(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    sqs.send(queue, ["x"])
    sqs.change_visibility(queue, take(sqs, queue).receipt, 0)
    assert take(sqs, queue).receives == 2


def test_visibility_runs_out_unless_extended(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    sqs.send(queue, ["x"])
    first = take(sqs, queue, visibility=FIRST_SECONDS)
    sqs.change_visibility(queue, first.receipt, 600)
    time.sleep(FIRST_SECONDS + 0.2)
    assert sqs.receive(queue, wait_seconds=0, visibility_seconds=60) == ()
    sqs.change_visibility(queue, first.receipt, 1)
    assert take(sqs, queue, wait=20).id == first.id


def test_a_long_poll_ends_with_the_message(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    began = time.monotonic()
    assert sqs.receive(queue, wait_seconds=1, visibility_seconds=60) == ()
    assert time.monotonic() - began >= 0.9


def test_counts_tell_visible_and_in_flight(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    sqs.send(queue, ["x", "y"])
    take(sqs, queue)
    wait_until(lambda: sqs.depth(queue) == Depth(1, 1, 0), 20, "counts")


def test_an_ended_message_cannot_be_extended(sqs_under_test: Under) -> None:
    sqs, queue = sqs_under_test
    sqs.send(queue, ["x"])
    message = take(sqs, queue)
    sqs.delete(queue, message.receipt)
    sqs.delete(queue, message.receipt)
    with pytest.raises(ReceiptLost):
        sqs.change_visibility(queue, message.receipt, 30)


def test_an_unknown_queue_is_an_error_never_zero(sqs_under_test: Under) -> None:
    sqs, _ = sqs_under_test
    with pytest.raises(QueueUnavailable):
        sqs.depth("no-such-queue")
    with pytest.raises(QueueUnavailable):
        sqs.send("no-such-queue", ["x"])
