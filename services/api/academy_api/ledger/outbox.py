"""From the ledger to SQS: rows written in the transition's own transaction, sent after its commit.

Two senders, never both for one row: the fast path (a thread of an API process, started by its composition root) has
the first seconds of a row to itself, since the row's `send_after` lies that far ahead; the relay sends whatever is due.
A row is deleted once SQS has taken its message.
"""

import itertools
import logging
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from academy_api.ledger import metrics, sql
from academy_api.ledger.queues import BATCH, Queues
from academy_core.errors import Retryable
from academy_core.kinds import Queue
from academy_core.messages import Bell

log = logging.getLogger(__name__)

HOLD_SECONDS = 15.0
"""How long a row is the fast path's alone. Longer than a slow send: 2 s to connect and 3 s to answer, twice."""
FRESH_SECONDS = 5.0
"""The fast path leaves rows older than this to the relay, so that it has ended with one before the relay begins."""
FAST_ROWS = 50
"""A transition that wrote more rows than this leaves them to the relay's larger batches."""


@dataclass(frozen=True, slots=True)
class Message:
    """One outbox row."""

    id: int
    queue: Queue
    task: int
    job: UUID
    request_id: str
    created_at: datetime
    generation: int | None = None
    """Set on a death: it goes to the DLQ."""

    def body(self) -> str:
        """What goes over the wire."""
        return Bell(
            queue=self.queue,
            task=self.task,
            job=self.job,
            request_id=self.request_id,
            generation=self.generation,
            enqueued_at=self.created_at,
        ).model_dump_json(exclude_none=True)


class FastPath:
    """Sends bells right after their commit, on one thread of its own; whatever it cannot send is the relay's."""

    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._waiting: queue.SimpleQueue[tuple[float, list[Message]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()

    def offer(self, messages: list[Message]) -> None:
        """Take messages whose transaction has committed. Never blocks, never raises."""
        self._waiting.put((time.monotonic(), messages))
        with self._start:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="ledger-fast-path", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            offered_at, messages = self._waiting.get()
            if time.monotonic() - offered_at > FRESH_SECONDS:
                continue
            try:
                send(self._queues, messages)
            except Exception:  # the relay will send them; this thread must go on
                log.exception("fast path left %d bells to the relay", len(messages))
            finally:
                connection.close()


_fast_path: FastPath | None = None


def start_fast_path(queues: Queues | None) -> None:
    """Called once by the composition root of a process that serves requests (None stops it again)."""
    global _fast_path  # noqa: PLW0603 - one per process, set by its composition root
    _fast_path = FastPath(queues) if queues else None


def hold_seconds() -> float:
    """How far ahead a new row's `send_after` lies in this process."""
    return HOLD_SECONDS if _fast_path else 0.0


def ring(written: Iterable[tuple[Any, ...]]) -> None:
    """Hand rows that a statement of this transaction wrote to the fast path, once the transaction commits."""
    fast_path = _fast_path
    messages = [Message(i, Queue(name), task, job, request, at) for i, name, task, job, request, at in written]
    if fast_path is None or not messages:
        return
    if len(messages) > FAST_ROWS:
        sql.execute(sql.LET_GO, {"ids": [message.id for message in messages]})
        return
    transaction.on_commit(lambda: fast_path.offer(messages))


def due(limit: int) -> list[Message]:
    """The oldest rows that may be sent now."""
    return [
        Message(i, Queue(name), task, job, request, at, generation)
        for i, name, task, job, request, at, generation in sql.rows(sql.DUE, {"limit": limit})
    ]


def send(queues: Queues, messages: Sequence[Message]) -> int:
    """Send messages in batches and delete the rows of those taken. Returns how many were.

    Raises Retryable when the service cannot be reached; rows of batches sent before are deleted all the same.
    """
    sent = 0

    def target(message: Message) -> tuple[Queue, bool]:
        return message.queue, message.generation is not None

    unreachable: Retryable | None = None
    for (name, dead), group in itertools.groupby(sorted(messages, key=target), key=target):
        waiting = list(group)
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            try:
                taken = queues.send(name, [message.body() for message in batch], dead_letter=dead)
            except Retryable as error:
                unreachable = error
                break
            ids = [message.id for message, ok in zip(batch, taken, strict=True) if ok]
            sql.execute(sql.SENT, {"ids": ids})
            sent += len(ids)
            metrics.SENT.labels(name.value, "death" if dead else "bell").inc(len(ids))
    if unreachable:
        raise unreachable
    return sent
