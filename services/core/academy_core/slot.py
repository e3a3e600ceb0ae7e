"""What happens with one bell: the claim, the attempts that follow from it, their reports, the message's end.

Part of the worker loop (academy_core.consumer), which runs `Slot.see_through` in a thread of its own for each bell.
"""

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from academy_core import log
from academy_core.attempt import Attempt, Cause, HeldMessage
from academy_core.backoff import jittered
from academy_core.errors import AcademyError, ApiUnavailable, LeaseLost, Permanent, Reason, Retryable
from academy_core.gate import Gate
from academy_core.kinds import Queue
from academy_core.ledger import (
    HEARTBEAT_SECONDS,
    Accepts,
    ClaimedTask,
    ClaimRequest,
    CompleteAnswer,
    CompleteRequest,
    FailRequest,
    Ledger,
    NextClaim,
    ReleaseRequest,
)
from academy_core.metrics import WorkerMetrics
from academy_core.tasks import Handler, Outcome, TaskContext, accepted

T = TypeVar("T")

_log = log.get(__name__)

TOOK_TOO_LONG = Reason(
    "took-too-long",
    "처리 시간이 너무 오래 걸려 중단했습니다. 잠시 뒤 다시 시도해 주세요.",
    "The work took too long and was stopped. Please try again in a moment.",
)
RESULT_REFUSED = Reason(
    "result-refused",
    "처리 결과를 저장할 수 없습니다. 관리자에게 알려 주세요.",
    "The result could not be stored. Please tell the operator.",
)
INPUT_UNREADABLE = Reason(
    "input-unreadable",
    "작업 내용을 읽을 수 없습니다. 관리자에게 알려 주세요.",
    "The task's input could not be read. Please tell the operator.",
)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What the worker loop has to know. Times in seconds."""

    worker: str
    """The worker's id (S-13)."""
    queues: Mapping[Queue, str]
    """Logical queue -> SQS name."""
    weights: Mapping[Queue, int]
    slots: int = 1
    wait_seconds: int = 20
    visibility_seconds: int = 300
    grace_seconds: float = 60.0
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    backoff_base: float = 0.5
    backoff_cap: float = 10.0


@dataclass(frozen=True, slots=True)
class Bell:
    """One received message: where it came from, what keeps it in flight, and the thread's sign of life."""

    queue: Queue
    held: HeldMessage
    beat: Callable[[], None]


class _GaveUp(Exception):
    """The worker has to go and the API is still away."""


class Slot:
    """Sees bells through, one at a time a thread."""

    def __init__(
        self, ledger: Ledger, handlers: Sequence[Handler], options: WorkerOptions, gate: Gate, metrics: WorkerMetrics
    ) -> None:
        """`handlers`: one a kind and version."""
        self._ledger = ledger
        self._handlers = {(handler.kind.name, handler.kind.version): handler for handler in handlers}
        self._accepts = Accepts(kinds=accepted(handlers))
        self._options = options
        self._gate = gate
        self._metrics = metrics
        self.stuck = False
        """A handler did not stop when told to: the process has to go."""

    def see_through(self, bell: Bell) -> None:
        """Claim, and work until nothing more comes with this message; then the message goes."""
        try:
            secret = secrets.token_urlsafe(32)
            task = self._claim(bell, secret)
            while task is not None:
                with log.bound(request_id=task.request_id, job=task.job, task=task.task, academy=task.academy):
                    task, secret = self._attempt(bell, task, secret)
        except _GaveUp:
            bell.held.give_back()
        except Permanent as error:
            # The ledger does not understand this worker's claim. Another version may do better with the bell.
            _log.error("CLAIM_REFUSED", detail=error.detail)
            self._gate.pause(self._options.backoff_cap)
        else:
            bell.held.delete()

    def _claim(self, bell: Bell, secret: str) -> ClaimedTask | None:
        request = ClaimRequest(
            queue=bell.queue,
            accepts=self._accepts,
            worker=self._options.worker,
            secret=secret,
            message=bell.held.message.body,
        )
        return self._patiently(lambda: self._ledger.claim(request), bell, give_up_on_stop=True).task

    def _patiently(self, call: Callable[[], T], bell: Bell, *, give_up_on_stop: bool = False) -> T:
        """Call until the API answers, receiving nothing new meanwhile; _GaveUp when the worker has to go first."""
        tries = 0
        with ExitStack() as waiting:
            while True:
                bell.beat()
                bell.held.keep()
                try:
                    return call()
                except ApiUnavailable as error:
                    _log.warning("API_UNAVAILABLE", detail=error.detail)
                self._metrics.api_waits.inc()
                tries += 1
                if tries == 1:
                    waiting.enter_context(self._gate.api_away())
                if self._gate.stopping.is_set() and (give_up_on_stop or self._gate.time_left() <= 0):
                    raise _GaveUp
                delay = jittered(tries, self._options.backoff_base, self._options.backoff_cap)
                self._gate.pause(max(0.0, min(delay, bell.held.due - time.monotonic())))

    def _attempt(self, bell: Bell, task: ClaimedTask, secret: str) -> tuple[ClaimedTask | None, str]:
        """Work on a claimed task and report its end; the task claimed with it, if any, and that one's secret."""
        waited = round(task.queue_wait_sec, 3)
        _log.info(log.MESSAGE_RECEIVED, queue_wait_sec=waited, message_id=bell.held.message.id, kind=task.kind)
        self._metrics.queue_wait.labels(task.kind).observe(max(0.0, waited))
        handler = self._handlers[task.kind, task.version]
        try:
            context: TaskContext[Any] = TaskContext(task, handler.kind.input.model_validate(task.input))
        except ValidationError as error:
            bad = Retryable(f"{error.error_count()} faults in the input of {task.kind}", reason=INPUT_UNREADABLE)
            self._end(task, "failed", lambda: self._fail(task, secret, bad), bell)
            return None, secret
        attempt = Attempt(handler, context, secret)
        began = time.monotonic()
        with self._gate.running(attempt):
            attempt.supervise(self._ledger, bell.held, self._options.heartbeat_seconds, bell.beat)
        self.stuck = self.stuck or attempt.stuck
        following = secrets.token_urlsafe(32)
        answer = self._report(attempt, bell, following)
        took = time.monotonic() - began
        self._metrics.duration.labels(task.kind).observe(took)
        if answer is None:
            return None, secret
        processing = round(took, 3)
        _log.info(
            log.JOB_COMPLETED,
            processing_duration=processing,
            total_duration=round(waited + processing, 3),
            kind=task.kind,
        )
        return answer.next, following

    def _report(self, attempt: Attempt, bell: Bell, following: str) -> CompleteAnswer | None:
        """Tell the ledger how the attempt ended; its answer when it was completed, else None."""
        task, secret = attempt.context.task, attempt.secret
        if attempt.cause is Cause.LEASE_LOST:
            self._ended(task, "lost")
            return None
        if attempt.outcome is not None:
            return self._complete(attempt, attempt.outcome, bell, following)
        if attempt.cause is Cause.STOPPING:
            request = ReleaseRequest(attempt=task.attempt, secret=secret)
            self._end(task, "released", lambda: self._ledger.release(task.task, request), bell)
            return None
        error = attempt.error
        if attempt.cause is Cause.TIME_UP:
            error = Retryable(f"over {task.max_seconds} s", reason=TOOK_TOO_LONG)
        end = "refused" if isinstance(error, Permanent) else "failed"
        self._end(task, end, lambda: self._fail(task, secret, error), bell)
        return None

    def _complete(self, attempt: Attempt, outcome: Outcome, bell: Bell, following: str) -> CompleteAnswer | None:
        task = attempt.context.task
        next_claim = NextClaim(secret=following, accepts=self._accepts, queue=bell.queue, worker=self._options.worker)
        request = CompleteRequest(
            attempt=task.attempt,
            secret=attempt.secret,
            result=outcome.result.sent(),
            children=outcome.children,
            then=outcome.then,
            next=None if self._gate.stopping.is_set() else next_claim,
        )
        try:
            answer = self._patiently(lambda: self._ledger.complete(task.task, request), bell)
        except LeaseLost:
            self._ended(task, "lost")
            return None
        except Permanent as refused:
            error = Retryable(refused.detail, reason=RESULT_REFUSED)
            self._end(task, "failed", lambda: self._fail(task, attempt.secret, error), bell)
            return None
        self._metrics.tasks.labels(task.kind, "completed").inc()
        return answer

    def _fail(self, task: ClaimedTask, secret: str, error: BaseException | None) -> None:
        """Report a failure: the error's type alone decides whether the task is tried again."""
        known = error if isinstance(error, AcademyError) else AcademyError(f"{type(error).__name__}: {error}")
        request = FailRequest(
            attempt=task.attempt,
            secret=secret,
            permanent=isinstance(error, Permanent),
            code=known.reason.code,
            reason_ko=known.reason.ko,
            reason_en=known.reason.en,
            detail=known.detail[:4000],
        )
        _log.warning("TASK_FAILED", kind=task.kind, code=request.code, permanent=request.permanent, exc_info=error)
        self._ledger.fail(task.task, request)

    def _end(self, task: ClaimedTask, end: str, report: Callable[[], None], bell: Bell) -> None:
        """Send a report that ends the attempt; a lease that is gone by then needs none."""
        try:
            self._patiently(report, bell)
        except LeaseLost:
            end = "lost"
        except Permanent as error:  # the lease will expire; nothing is lost by waiting for that
            _log.error("REPORT_REFUSED", end=end, detail=error.detail)
        self._ended(task, end)

    def _ended(self, task: ClaimedTask, end: str) -> None:
        """Log and count an attempt that ended without its completion being taken."""
        _log.info("TASK_ENDED", end=end, kind=task.kind)
        self._metrics.tasks.labels(task.kind, end).inc()
