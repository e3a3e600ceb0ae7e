"""One attempt at one task: the handler works in a thread of its own, this supervises it.

Part of the worker loop (academy_core.consumer), which claims the task before and reports the end afterwards. The
supervisor sends heartbeats with progress, keeps the message in flight, and stops the work when the lease is lost, the
time is up or the worker has to go.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from academy_core import log
from academy_core.errors import AcademyError, LeaseLost, QueueUnavailable, ReceiptLost
from academy_core.ledger import HeartbeatRequest, Ledger
from academy_core.sqs import Message, Sqs
from academy_core.tasks import Handler, Outcome, TaskContext

STOP_SECONDS = 10.0
"""How long a cancelled handler has to come back before the worker gives itself up."""
_EXTEND_RETRY_SECONDS = 5.0

_log = log.get(__name__)


class Cause(StrEnum):
    """Why work was stopped from outside."""

    LEASE_LOST = "lease-lost"
    TIME_UP = "time-up"
    STOPPING = "stopping"


class HeldMessage:
    """A received message, kept invisible by extending its visibility at half its life (S-6)."""

    def __init__(self, sqs: Sqs, queue: str, message: Message, visibility_seconds: int) -> None:
        """`queue`: SQS name. Its life begins now."""
        self._sqs = sqs
        self._queue = queue
        self.message = message
        self._visibility = visibility_seconds
        self.due = time.monotonic() + visibility_seconds / 2
        """When it has to be extended next; infinite once the receipt is lost."""

    def keep(self) -> None:
        """Extend if due. A lost receipt is nothing to act on: the ledger's lease, not the message, holds the task."""
        now = time.monotonic()
        if now < self.due:
            return
        try:
            self._sqs.change_visibility(self._queue, self.message.receipt, self._visibility)
        except ReceiptLost:
            self.due = float("inf")
            _log.warning("SQS_RECEIPT_LOST", message_id=self.message.id)
        except QueueUnavailable as error:
            self.due = now + min(_EXTEND_RETRY_SECONDS, self._visibility / 10)
            _log.warning("SQS_EXTEND_FAILED", message_id=self.message.id, detail=error.detail)
        else:
            self.due = now + self._visibility / 2

    def delete(self) -> None:
        """The bell has done its duty. One that cannot be deleted rings again, which does no harm."""
        self._end(lambda: self._sqs.delete(self._queue, self.message.receipt), "SQS_DELETE_FAILED")

    def give_back(self) -> None:
        """Let another worker have it at once."""
        self._end(lambda: self._sqs.change_visibility(self._queue, self.message.receipt, 0), "SQS_RETURN_FAILED")

    def _end(self, call: Callable[[], None], event: str) -> None:
        try:
            call()
        except (QueueUnavailable, ReceiptLost) as error:
            _log.warning(event, message_id=self.message.id, detail=error.detail)


class Attempt:
    """Runs one handler. `outcome` or `error` says how it ended, `cause` why it was stopped, `stuck` that it did not."""

    def __init__(self, handler: Handler, context: TaskContext[object], secret: str) -> None:  # type: ignore[type-var] # any input
        """`secret`: the lease's."""
        self.context = context
        self.secret = secret
        self.outcome: Outcome | None = None
        self.error: BaseException | None = None
        self.cause: Cause | None = None
        self.stuck = False
        self.stop_at: float | None = None
        """Set by the worker loop when it has to go: until then the work may go on (monotonic seconds)."""
        self._handler = handler
        self._wake = threading.Event()
        self._ended = threading.Event()

    def wake(self) -> None:
        """Look again at once: something changed."""
        self._wake.set()

    def _work(self) -> None:
        try:
            self.outcome = self._handler.run(self.context)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is reported as this attempt's failure
            self.error = error
        finally:
            self._ended.set()
            self._wake.set()

    def supervise(self, ledger: Ledger, held: HeldMessage, heartbeat_seconds: float, beat: Callable[[], None]) -> None:
        """Start the handler and return when it has ended, or when it did not end STOP_SECONDS after its cancel."""
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._work,), name=f"task-{self.context.task.task}", daemon=True
        ).start()
        time_up = time.monotonic() + self.context.task.max_seconds
        heartbeat_due = time.monotonic() + heartbeat_seconds
        give_up = float("inf")
        while not self._ended.is_set():
            beat()
            held.keep()
            now = time.monotonic()
            if self.cause is None:
                if now >= heartbeat_due:
                    heartbeat_due = now + heartbeat_seconds
                    self._heartbeat(ledger)
                elif now >= time_up:
                    self.cause = Cause.TIME_UP
                elif self.stop_at is not None and now >= self.stop_at:
                    self.cause = Cause.STOPPING
                if self.cause is not None:
                    self._cancel()
                    give_up = time.monotonic() + STOP_SECONDS
            elif now >= give_up:
                self.stuck = True
                return
            stop_at = float("inf") if self.stop_at is None else self.stop_at
            next_due = min(held.due, give_up) if self.cause else min(held.due, heartbeat_due, time_up, stop_at)
            self._wake.wait(max(0.0, next_due - time.monotonic()))
            self._wake.clear()

    def _heartbeat(self, ledger: Ledger) -> None:
        request = HeartbeatRequest(
            attempt=self.context.task.attempt, secret=self.secret, progress=self.context.latest_progress()
        )
        try:
            ledger.heartbeat(self.context.task.task, request)
        except LeaseLost:
            self.cause = Cause.LEASE_LOST
        except AcademyError as error:  # the lease stands still while heartbeats cannot arrive: work on
            _log.warning("HEARTBEAT_FAILED", detail=error.detail)

    def _cancel(self) -> None:
        _log.info("TASK_STOPPED", cause=self.cause)
        try:
            self.context.cancel()
        except Exception:  # noqa: BLE001 - the attempt is given up either way
            _log.exception("TASK_KILL_FAILED")
