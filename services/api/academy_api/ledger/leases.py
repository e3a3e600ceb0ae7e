"""The ledger as workers see it, over Postgres: claim, heartbeat, complete, fail, release; and what the relay expires.

`views.py` puts HTTP around `PostgresLedger`; the relay calls `expire`. Each call is one short transaction: lock the job
and the task, ask `machine.py`, write the answer.
"""

import hashlib
import json
import logging
import random
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from django.db import IntegrityError, connection, transaction
from pydantic import ValidationError

from academy_api.accounts import audit
from academy_api.ledger import endings, machine, metrics, outbox, registry, sql, tasks
from academy_api.ledger.machine import Call, Cause, JobState, TaskState, Verdict
from academy_core.errors import Conflict, LeaseLost, NotAllowed, Permanent, Reason
from academy_core.kinds import QUEUES_OF, Queue, WorkerClass
from academy_core.ledger import (
    LEASE_SECONDS,
    MAX_RESULT_BYTES,
    Accepts,
    ClaimAnswer,
    ClaimedTask,
    ClaimRequest,
    CompleteAnswer,
    CompleteRequest,
    FailRequest,
    HeartbeatAnswer,
    HeartbeatRequest,
    NextClaim,
    ReleaseRequest,
)
from academy_core.messages import Bell

log = logging.getLogger(__name__)

CRASHED = Reason(
    "worker-crashed",
    "처리가 여러 번 중단되었습니다. 다시 시도해 주세요. 계속되면 관리자에게 문의해 주세요.",
    "Processing was cut off several times. Please try again; if it keeps happening, contact the administrator.",
)
BAD_RESULT = Reason(
    "bad-task-result",
    "작업 결과가 올바르지 않습니다. 관리자에게 문의해 주세요.",
    "The task's result does not fit its kind. Please contact the administrator.",
)
SECRET_REUSED = Reason(
    "secret-reused",
    "이미 사용 중인 작업 비밀값입니다.",
    "This lease secret is in use already.",
)

_jitter = random.Random()  # noqa: S311 - spreads retries, guards nothing


def digest_of(secret: str) -> bytes:
    """What the ledger keeps of a lease secret: its SHA-256, 32 bytes."""
    return hashlib.sha256(secret.encode()).digest()


class PostgresLedger:
    """`academy_core.ledger.Ledger` for one worker class: it sees only that class's queues."""

    def __init__(self, worker_class: WorkerClass) -> None:
        self._queues = QUEUES_OF[worker_class]

    def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """See Ledger.claim. Raises NotAllowed for another class's queue."""
        self._allow(request.queue)
        if request.message is not None:
            revive_from(request.message)
        digest = digest_of(request.secret)
        row = _claim(request, digest)
        return ClaimAnswer(task=_as_claimed(row) if row else None)

    def heartbeat(self, task: int, request: HeartbeatRequest) -> HeartbeatAnswer:
        """See Ledger.heartbeat. One statement while the lease stands."""
        progress = request.progress
        parameters = {
            "task": task,
            "attempt": request.attempt,
            "digest": digest_of(request.secret),
            "queues": [queue.value for queue in self._queues],
            "percent": progress and progress.percent,
            "media_seconds": progress and progress.media_seconds,
        }
        if not sql.execute(sql.HEARTBEAT, parameters):
            with transaction.atomic():
                _, _, held = self._hold(task, Call.HEARTBEAT, request.attempt, request.secret)
                sql.execute(sql.TAKE_BACK, parameters | {"crashes": held.crashes})
        return HeartbeatAnswer()

    def complete(self, task: int, request: CompleteRequest) -> CompleteAnswer:
        """See Ledger.complete. Raises Permanent when result, keys, children or then do not fit their kinds."""
        if request.next is not None:
            self._allow(request.next.queue)
        if self._completed_at_once(task, request):
            return CompleteAnswer()
        with transaction.atomic():
            row, verdict, held = self._hold(task, Call.COMPLETE, request.attempt, request.secret)
            if verdict is Verdict.REPEAT:
                return CompleteAnswer(next=_first_next(row))
            result = _checked_result(row, request.result)
            then = _succeed(row, held, request, result)
            if then is None:
                return CompleteAnswer()
            return CompleteAnswer(next=_start_then(row, then, request.next))

    def _completed_at_once(self, task: int, request: CompleteRequest) -> bool:
        """Most completions: one more of a barrier's children is done, others are not. False: nothing was done yet."""
        if request.children or request.then is not None:
            return False
        digest = digest_of(request.secret)
        row = sql.task_row(sql.TASK, {"task": task, "lease": LEASE_SECONDS})
        holds = row is not None and row.state == TaskState.CLAIMED and row.attempt == request.attempt
        if row is None or not holds or row.barrier_id is None or bytes(row.digest) != digest:
            return False
        self._allow(Queue(row.queue))
        result = _checked_result(row, request.result)
        parameters = {"task": task, "attempt": request.attempt, "digest": digest, "result": result}
        return sql.row(sql.COMPLETE, parameters) == (True,)

    def fail(self, task: int, request: FailRequest) -> None:
        """See Ledger.fail."""
        with transaction.atomic():
            row, verdict, held = self._hold(task, Call.FAIL, request.attempt, request.secret)
            if verdict is Verdict.REPEAT:
                return
            ended = machine.failed(held, permanent=request.permanent)
            reason = Reason(request.code, request.reason_ko, request.reason_en)
            if ended.state is TaskState.READY:
                delay = machine.backoff_seconds(ended.failures, _jitter.random())
                _ready_again(row, ended, delay=delay, code=request.code, detail=request.detail)
            else:
                _end(row, ended, reason, request.detail)

    def release(self, task: int, request: ReleaseRequest) -> None:
        """See Ledger.release."""
        with transaction.atomic():
            row, verdict, held = self._hold(task, Call.RELEASE, request.attempt, request.secret)
            if verdict is Verdict.HOLDS:
                _ready_again(row, machine.released(held))

    def probe(self) -> None:
        """See Ledger.probe."""
        sql.row(sql.PROBE, {})

    def _allow(self, queue: Queue) -> None:
        if queue not in self._queues:
            raise NotAllowed(f"this worker class has no queue {queue}")

    def _hold(self, task: int, call: Call, attempt: int, secret: str) -> tuple[sql.Row, Verdict, machine.Task]:
        """Lock job and task, and ask the machine whether this report counts."""
        row = sql.task_row(sql.LOCK, {"task": task, "lease": LEASE_SECONDS})
        if row is None:
            raise LeaseLost(f"{call}: there is no task {task}")
        self._allow(Queue(row.queue))
        verdict, held = machine.hold(as_machine(row), call, attempt, digest_of(secret))
        return row, verdict, held


def as_machine(row: sql.Row) -> machine.Task:
    """The part of the row that decides."""
    return machine.Task(
        state=TaskState(row.state),
        cause=Cause(row.cause),
        attempt=row.attempt,
        generation=row.generation,
        failures=row.failures,
        crashes=row.crashes,
        max_failures=row.max_failures,
        max_crashes=row.max_crashes,
        digest=None if row.digest is None else bytes(row.digest),
    )


def expirable(limit: int) -> list[int]:
    """Tasks whose last heartbeat lies a full lease period back."""
    return [task for (task,) in sql.rows(sql.EXPIRED, {"lease": LEASE_SECONDS, "limit": limit})]


def expire(task: int) -> bool:
    """End the lease of a task that is still overdue: a crash. False when it is not overdue any more."""
    with transaction.atomic():
        row = sql.task_row(sql.LOCK, {"task": task, "lease": LEASE_SECONDS})
        if row is None or row.state != TaskState.CLAIMED or not row.overdue:
            return False
        metrics.EXPIRED.labels(row.queue).inc()
        ended = machine.expired(as_machine(row))
        if ended.state is TaskState.READY:
            _ready_again(row, ended, code=CRASHED.code)
        else:
            _end(row, ended, CRASHED, "")
        return True


def revive_from(message: str) -> bool:
    """Revive the job of a redriven death. False, and no effect, for any other message or an outdated one."""
    try:
        bell = Bell.model_validate_json(message)
    except ValidationError:
        return False
    if bell.task is None or bell.generation is None:
        return False
    with transaction.atomic():
        row = sql.task_row(sql.LOCK, {"task": bell.task, "lease": LEASE_SECONDS})
        if row is None or not machine.may_revive(
            JobState(row.job_state), row.job_generation, as_machine(row), bell.generation
        ):
            return False
        endings.reopen(endings.record_of(row))
        audit.record_redrive(row.job, row.academy, row.request_id)
        return True


def _claimed_by(digest: bytes, queue: Queue) -> sql.Row | None:
    return sql.task_row(sql.CLAIMED_BY, {"digest": digest, "queue": queue.value, "lease": LEASE_SECONDS})


def _claim(request: ClaimRequest, digest: bytes) -> sql.Row | None:
    kinds, versions = _flat(request.accepts)
    parameters = {
        "queue": request.queue.value,
        "counter": f"ledger_claims_{request.queue.value.replace('-', '_')}",
        "kinds": kinds,
        "versions": versions,
        "digest": digest,
        "worker": request.worker,
        "lease": LEASE_SECONDS,
    }
    try:
        with transaction.atomic() if connection.in_atomic_block else nullcontext():
            return sql.task_row(sql.CLAIM, parameters)
    except IntegrityError:
        # A repeat overtook its own first request: that one has the task now, and this is its answer.
        return _claimed_by(digest, request.queue)


def _flat(accepts: Accepts) -> tuple[list[str], list[int]]:
    pairs = [(kind, version) for kind, versions in accepts.kinds.items() for version in versions]
    return [kind for kind, _ in pairs], [version for _, version in pairs]


def _as_claimed(row: sql.Row, first: Mapping[str, Any] | None = None) -> ClaimedTask:
    """The row as the worker gets it; `first` restores the attempt that a first answer named."""
    first = first or {}
    return ClaimedTask(
        task=row.id,
        attempt=first.get("attempt", row.attempt),
        generation=first.get("generation", row.generation),
        job=row.job,
        academy=row.academy,
        request_id=row.request_id,
        kind=row.kind,
        version=row.version,
        input=json.loads(row.input),
        results=None if row.gathers is None else _gathered(row.job, row.gathers),
        output_prefix=row.output_prefix,
        ready_at=first.get("at", row.ready_at),
        claimed_at=first.get("at", row.claimed_at),
        max_seconds=row.max_seconds,
    )


def _gathered(job: Any, barrier: int) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(result) for (result,) in sql.rows(sql.RESULTS, {"job": job, "barrier": barrier}))


def _first_next(row: sql.Row) -> ClaimedTask | None:
    """What the first answer of this complete returned as `next`."""
    if row.next_claim is None:
        return None
    first = json.loads(row.next_claim)
    then = sql.task_row(sql.TASK, {"task": first["task"], "lease": LEASE_SECONDS})
    return _as_claimed(then, first) if then else None


def _checked_result(row: sql.Row, result: Mapping[str, Any]) -> str:
    """The result as JSON. Raises Permanent when it is too large, malformed, or names keys outside the prefix."""
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_RESULT_BYTES:
        raise Permanent(f"result of {row.kind} is larger than {MAX_RESULT_BYTES} bytes", reason=BAD_RESULT)
    try:
        keys = list(registry.task_kind(row.kind, row.version).result.model_validate_json(text).keys())
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise Permanent(f"result of {row.kind}: {fault['loc']}: {fault['msg']}", reason=BAD_RESULT) from None
    for key in keys:
        if not _lies_under_prefix(key):
            raise Permanent(f"result of {row.kind} names a key outside its prefix: {key[:200]!r}", reason=BAD_RESULT)
    return text


def _lies_under_prefix(key: str) -> bool:
    """Keys are relative to the prefix: no way up, no absolute one, nothing a client would resolve elsewhere."""
    return "\\" not in key and all(part not in {"", ".", ".."} for part in key.split("/"))


def _succeed(row: sql.Row, held: machine.Task, request: CompleteRequest, result: str) -> int | None:
    """Write success and continuation. Returns the `then` that may start now: woken here or by the barrier above."""
    continues = bool(request.children) or request.then is not None
    ended = machine.succeeded(held)
    found = sql.row(sql.SUCCEED, {"task": row.id, "crashes": ended.crashes, "result": result, "stands": not continues})
    if continues:
        return _continue(row, request)
    count = endings.Count(*found) if found else None
    return endings.end_place(endings.record_of(row), count, json.loads(result))


def _continue(row: sql.Row, request: CompleteRequest) -> int | None:
    place = (row.barrier_id, row.position)
    if request.then is None and len(request.children) == 1:  # the only child simply takes its parent's place
        tasks.create(row.job, request.children, barrier=place[0], position=place[1])
        return None
    total = len(request.children)
    barrier, then = tasks.new_barrier(row.job, total, has_then=request.then is not None, place=place)
    if request.then is not None:
        tasks.create(
            row.job,
            [request.then],
            barrier=place[0],
            position=place[1],
            state=TaskState.WAITING,
            task_id=then,
            gathers=barrier,
        )
    if request.children:
        tasks.create(row.job, request.children, barrier=barrier)
        return None
    return then


def _start_then(row: sql.Row, then: int, following: NextClaim | None) -> ClaimedTask | None:
    """Make the `then` ready with a bell, or claim it for the completing worker where it asked for it and it fits."""
    woken = sql.row(sql.WAKE, {"task": then})
    if woken is None:
        raise Conflict(f"then {then} of task {row.id} does not wait")
    queue, kind, version = woken
    if following is None or following.queue != queue or version not in following.accepts.kinds.get(kind, ()):
        outbox.ring(sql.rows(sql.RING_ONE, {"task": then, "hold": outbox.hold_seconds()}))
        return None
    try:
        claimed = sql.task_row(
            sql.CLAIM_THEN,
            {
                "task": then,
                "queue": queue,
                "digest": digest_of(following.secret),
                "worker": following.worker,
                "lease": LEASE_SECONDS,
            },
        )
    except IntegrityError:
        raise Conflict("next.secret holds another task", reason=SECRET_REUSED) from None
    if claimed is None:
        raise Conflict(f"then {then} of task {row.id} is not ready")
    first = {
        "task": then,
        "attempt": claimed.attempt,
        "generation": claimed.generation,
        "at": claimed.claimed_at.isoformat(),
    }
    sql.execute(sql.SET_NEXT, {"task": row.id, "next": json.dumps(first)})
    return _as_claimed(claimed, first)


def _ready_again(row: sql.Row, ended: machine.Task, *, delay: float = 0.0, code: str = "", detail: str = "") -> None:
    """Ready with one new bell: at once, or after a backoff (which only the relay sends)."""
    written = sql.rows(
        sql.READY_AGAIN,
        {
            "task": row.id,
            "cause": ended.cause.value,
            "failures": ended.failures,
            "crashes": ended.crashes,
            "code": code,
            "detail": detail,
            "delay": delay,
            "hold": 0.0 if delay else outbox.hold_seconds(),
        },
    )
    if not delay:
        outbox.ring(written)


def _end(row: sql.Row, ended: machine.Task, reason: Reason, detail: str) -> None:
    """Failed or dead: the death goes to the DLQ, the job fails with the reason, its siblings are cancelled."""
    sql.execute(
        sql.END_TASK,
        {
            "task": row.id,
            "state": ended.state.value,
            "cause": ended.cause.value,
            "failures": ended.failures,
            "crashes": ended.crashes,
            "code": reason.code,
            "detail": detail,
        },
    )
    if ended.state is TaskState.DEAD:
        metrics.DEATHS.labels(row.queue, row.kind).inc()
        log.warning("task %s (%s) of job %s is dead: %s %s", row.id, row.kind, row.job, reason.code, detail)
    endings.end_job(endings.record_of(row), JobState.FAILED, reason=reason)
