"""The sweep of the dead-letter queues: their depth is the number of dead tasks, no more and no less.

A DLQ message that matches no dead task (retried, deleted, doubled, or a bell that SQS itself moved after 20 receives)
is deleted; the others are made visible again.
"""

import logging
from collections.abc import Sequence

from pydantic import ValidationError

from academy_api.ledger import metrics, sql
from academy_api.ledger.outbox import Post, dead_letters
from academy_core.errors import ReceiptLost
from academy_core.kinds import Queue
from academy_core.messages import Bell
from academy_core.sqs import Message

log = logging.getLogger(__name__)

WAIT_SECONDS = 1
"""A long poll asks all of SQS's servers; a short one may miss messages."""
HIDDEN_SECONDS = 120
"""How long a message stays hidden while a sweep looks at the others."""
MOST = 1000
"""Messages that one sweep reads of one queue at most; the next one begins with those it did not reach."""


def sweep(post: Post, queue: Queue) -> int:
    """Read the queue's DLQ once, delete what matches no dead task. Returns how many it deleted.

    Raises QueueUnavailable.
    """
    name = dead_letters(post.names[queue])
    kept: list[str] = []
    seen: set[tuple[int, int]] = set()
    deleted = 0
    try:
        while len(kept) + deleted < MOST:
            letters = post.sqs.receive(name, wait_seconds=WAIT_SECONDS, visibility_seconds=HIDDEN_SECONDS, most=10)
            if not letters:
                break
            dead = _dead_among(letters)
            for letter in letters:
                death = _death(letter)
                if death in dead and death not in seen:
                    seen.add(death)
                    kept.append(letter.receipt)
                else:
                    log.info("deleting a message of %s that matches no dead task: %s", name, letter.body[:500])
                    post.sqs.delete(name, letter.receipt)
                    deleted += 1
    finally:
        for receipt in kept:
            _show(post, name, receipt)
    metrics.DLQ_DELETED.labels(queue.value).inc(deleted)
    return deleted


def _show(post: Post, name: str, receipt: str) -> None:
    try:
        post.sqs.change_visibility(name, receipt, 0)
    except ReceiptLost:
        log.info("a message of %s became visible by itself", name)


def _death(letter: Message) -> tuple[int, int]:
    """Task and generation; (0, 0), which no task has, for anything that is no death."""
    try:
        bell = Bell.model_validate_json(letter.body)
    except ValidationError:
        return 0, 0
    return bell.task or 0, bell.generation or 0


def _dead_among(letters: Sequence[Message]) -> set[tuple[int, int]]:
    deaths = [_death(letter) for letter in letters]
    found = sql.rows(
        sql.DEAD_AMONG,
        {"tasks": [task for task, _ in deaths], "generations": [generation for _, generation in deaths]},
    )
    return {(task, generation) for task, generation in found}
