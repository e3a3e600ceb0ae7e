"""SQS in memory, for tests: visibility timeouts on a clock the test may move, dead-letter queues, long polls.

Same interface and errors as SqsClient (one contract suite runs over both).
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from academy_core.errors import QueueUnavailable, ReceiptLost
from academy_core.sqs import Depth, Message


@dataclass(slots=True)
class _Stored:
    id: str
    body: str
    visible_at: float
    receives: int = 0
    receipt: str | None = None


@dataclass(slots=True)
class _Queue:
    messages: list[_Stored] = field(default_factory=list)
    dead_letters: str | None = None
    max_receives: int = 20


class FakeSqs:
    """Queues in memory. Thread-safe; `receives` counts the receive calls a queue."""

    def __init__(self, *queues: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Makes `queues`, each with a "-dlq". `clock` drives visibility; the waiting of a long poll is real time."""
        self._clock = clock
        self._changed = threading.Condition()
        self._queues: dict[str, _Queue] = {}
        self._count = 0
        self.receives: dict[str, int] = {}
        self.unavailable = False
        """Set by a test: every call raises QueueUnavailable."""
        for name in queues:
            self._queues[name] = _Queue(dead_letters=f"{name}-dlq")
            self._queues[f"{name}-dlq"] = _Queue()

    def _queue(self, name: str) -> _Queue:
        if self.unavailable or name not in self._queues:
            raise QueueUnavailable(name)
        return self._queues[name]

    def _take(self, name: str, visibility_seconds: int, most: int) -> tuple[Message, ...]:
        queue = self._queue(name)
        now = self._clock()
        taken: list[Message] = []
        for stored in tuple(queue.messages):
            if len(taken) == most:
                break
            if stored.visible_at > now:
                continue
            if queue.dead_letters is not None and stored.receives >= queue.max_receives:
                queue.messages.remove(stored)
                self._queues[queue.dead_letters].messages.append(_Stored(stored.id, stored.body, now))
                continue
            self._count += 1
            stored.receives += 1
            stored.receipt = f"receipt-{self._count}"
            stored.visible_at = now + visibility_seconds
            taken.append(Message(stored.id, stored.body, stored.receipt, stored.receives))
        return tuple(taken)

    def receive(self, queue: str, *, wait_seconds: int, visibility_seconds: int, most: int = 1) -> tuple[Message, ...]:
        """See Sqs.receive."""
        until = time.monotonic() + wait_seconds
        with self._changed:
            self.receives[queue] = self.receives.get(queue, 0) + 1
            while True:
                taken = self._take(queue, visibility_seconds, most)
                left = until - time.monotonic()
                if taken or left <= 0:
                    return taken
                self._changed.wait(min(left, 0.05))  # a message may also become visible by the clock

    def send(self, queue: str, bodies: Sequence[str]) -> tuple[bool, ...]:
        """See Sqs.send."""
        with self._changed:
            found = self._queue(queue)
            for body in bodies:
                self._count += 1
                found.messages.append(_Stored(f"msg-{self._count}", body, self._clock()))
            self._changed.notify_all()
            return (True,) * len(bodies)

    def change_visibility(self, queue: str, receipt: str, seconds: int) -> None:
        """See Sqs.change_visibility."""
        with self._changed:
            now = self._clock()
            for stored in self._queue(queue).messages:
                if stored.receipt == receipt and stored.visible_at > now:
                    stored.visible_at = now + seconds
                    self._changed.notify_all()
                    return
            raise ReceiptLost(queue)

    def delete(self, queue: str, receipt: str) -> None:
        """See Sqs.delete."""
        with self._changed:
            found = self._queue(queue)
            found.messages = [stored for stored in found.messages if stored.receipt != receipt]

    def depth(self, queue: str) -> Depth:
        """See Sqs.depth."""
        with self._changed:
            messages = self._queue(queue).messages
            visible = sum(stored.visible_at <= self._clock() for stored in messages)
            return Depth(visible, len(messages) - visible, 0)
