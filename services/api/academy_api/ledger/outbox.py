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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from academy_api.ledger import metrics, sql
from academy_core.errors import QueueUnavailable
from academy_core.kinds import Queue
from academy_core.messages import Bell
from academy_core.settings import QueueSettings
from academy_core.sqs import Sqs, SqsClient

log = logging.getLogger(__name__)

HOLD_SECONDS = 30.0
"""How long a row is the fast path's alone: longer than FRESH_SECONDS and the slowest send together."""
FRESH_SECONDS = 5.0
"""The fast path leaves rows older than this to the relay, so that it has ended with one before the relay begins."""
FAST_ROWS = 20
"""A transition that wrote more rows than this leaves them to the relay: two batches, at most 10 s each."""
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 3.0


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


@dataclass(frozen=True, slots=True)
class Post:
    """SQS, with the SQS names of the logical queues."""

    sqs: Sqs
    names: Mapping[Queue, str]


def post(settings: QueueSettings) -> Post:
    """SQS as the senders need it: it gives up within seconds and never tries again by itself, the outbox does."""
    sqs = SqsClient(settings, connect_seconds=CONNECT_SECONDS, answer_seconds=ANSWER_SECONDS, attempts=1)
    return Post(sqs, settings.queue_names())


def dead_letters(name: str) -> str:
    """SQS name of a queue's DLQ."""
    return f"{name}-dlq"


class FastPath:
    """Sends bells right after their commit, on one thread of its own; whatever it cannot send is the relay's.

    Its `sqs` must give up on a call within seconds, as that of `post` does.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
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
                send(self._post, messages)
            except Exception:  # the relay will send them; this thread must go on
                log.exception("fast path left %d bells to the relay", len(messages))
            finally:
                connection.close()


_fast_path: FastPath | None = None


def start_fast_path(post: Post | None) -> None:
    """Called once by the composition root of a process that serves requests (None stops it again)."""
    global _fast_path  # noqa: PLW0603 - one per process, set by its composition root
    _fast_path = FastPath(post) if post else None


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


def send(post: Post, messages: Sequence[Message]) -> int:
    """Send messages in batches and delete the rows of those taken. Returns how many were.

    Raises QueueUnavailable when a queue cannot be reached; what other queues took is deleted all the same.
    """

    def target(message: Message) -> tuple[Queue, bool]:
        return message.queue, message.generation is not None

    sent = 0
    unavailable: QueueUnavailable | None = None
    for (name, dead), group in itertools.groupby(sorted(messages, key=target), key=target):
        batch = list(group)
        sqs_name = post.names[name]
        try:
            taken = post.sqs.send(dead_letters(sqs_name) if dead else sqs_name, [message.body() for message in batch])
        except QueueUnavailable as error:
            unavailable = error
            continue
        ids = [message.id for message, ok in zip(batch, taken, strict=True) if ok]
        sql.execute(sql.SENT, {"ids": ids})
        sent += len(ids)
        metrics.SENT.labels(name.value, "death" if dead else "bell").inc(len(ids))
    if unavailable:
        raise unavailable
    return sent
