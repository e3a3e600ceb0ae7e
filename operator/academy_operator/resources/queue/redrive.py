"""Dead-letter queue → queue, once a token.

The token is written to status (Starting) before the provider is asked, so that a crash between the two is seen: SQS's
own list of move tasks then decides whether the run began. Where the provider has no move tasks, or a maximum is asked
for (they know none), the operator receives and sends itself, and writes what it may move before it moves it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from academy_operator.errors import Unsupported
from academy_operator.model import format_time
from academy_operator.providers.queues import MoveTask, QueueProvider
from academy_operator.resources.base import Commit
from academy_operator.resources.queue.desired import Redrive

GRANT_SECONDS = 30
"""How much of a run is announced in one status write: the status is written at most that often."""
DEFAULT_PER_SECOND = 50
BATCH = 10
"""SQS's largest receive."""


class Record(BaseModel):
    """status.redrive."""

    model_config = ConfigDict(frozen=True)

    token: str
    phase: Literal["Recorded", "Starting", "Running", "Completed", "Failed"]
    method: Literal["MoveTask", "ReceiveAndSend"] | None = None
    moved: int | None = None
    granted: int | None = None
    maxMessages: int | None = None  # noqa: N815
    maxMessagesPerSecond: int | None = None  # noqa: N815
    after: int | None = None
    startedAt: str | None = None  # noqa: N815
    finishedAt: str | None = None  # noqa: N815
    message: str | None = None

    @property
    def active(self) -> bool:
        """Whether the run has begun and not ended."""
        return self.phase in ("Starting", "Running")

    def fields(self) -> dict[str, Any]:
        """As it stands in status."""
        return self.model_dump(exclude_none=True)


Step = Literal["none", "record", "begin", "continue"]


def next_step(asked: Redrive | None, record: Record | None, *, fresh: bool) -> Step:
    """What is to be done. `fresh`: no pass has succeeded yet, so the token was there when the resource was made."""
    if record is not None and record.active:
        return "continue"
    if asked is None or (record is not None and record.token == asked.token):
        return "none"
    return "record" if fresh else "begin"


def own_task(tasks: Sequence[MoveTask], after: int) -> MoveTask | None:
    """The first move task that started after the baseline: the one this record announced."""
    later = [task for task in tasks if task.started_ms > after]
    return min(later, key=lambda task: task.started_ms) if later else None


def grant(record: Record) -> int:
    """How many more messages may be announced now."""
    rate = record.maxMessagesPerSecond or DEFAULT_PER_SECOND
    room = rate * GRANT_SECONDS
    return room if record.maxMessages is None else max(0, min(room, record.maxMessages - (record.granted or 0)))


@dataclass(frozen=True, slots=True)
class Ends:
    """The two queues."""

    queue_url: str
    queue_arn: str
    dead_letter_url: str
    dead_letter_arn: str


@dataclass(frozen=True, slots=True)
class Redriver:
    """Carries a run on by one step. `wait(seconds)` is true when the operator stops."""

    provider: QueueProvider
    commit: Commit
    now: Callable[[], datetime]
    wait: Callable[[float], bool]
    fresh: bool
    """Whether no pass over this resource has succeeded yet: its token is then not a new one."""

    def step(self, asked: Redrive | None, status: Mapping[str, Any], ends: Ends) -> Record | None:
        """The record after this step; raises ProviderFault with the record still active."""
        raw = status.get("redrive")
        record = Record.model_validate(raw) if raw else None
        after = self._after(asked, record, ends)
        if record is not None and after is not None and record.active and not after.active:
            self.commit({"redrive": after.fields()})
        return after

    def _after(self, asked: Redrive | None, record: Record | None, ends: Ends) -> Record | None:
        match next_step(asked, record, fresh=self.fresh):
            case "record" if asked is not None:
                return Record(token=asked.token, phase="Recorded")
            case "begin" if asked is not None:
                begun = self._begin(asked, ends)
                return self._continue(begun, ends) if begun else record
            case "continue" if record is not None:
                return self._continue(record, ends)
        return record

    def _begin(self, asked: Redrive, ends: Ends) -> Record | None:
        """Announce the run; None while a move task that is not ours still runs."""
        method: Literal["MoveTask", "ReceiveAndSend"] = "ReceiveAndSend"
        after = None
        if asked.maxMessages is None:
            try:
                tasks = self.provider.move_tasks(ends.dead_letter_arn)
                if any(task.running for task in tasks):
                    return None
                method = "MoveTask"
                after = max((task.started_ms for task in tasks), default=0)
            except Unsupported:
                method = "ReceiveAndSend"
        record = Record(
            token=asked.token,
            phase="Starting",
            method=method,
            moved=0,
            maxMessages=asked.maxMessages,
            maxMessagesPerSecond=asked.maxMessagesPerSecond,
            after=after,
            startedAt=format_time(self.now()),
        )
        self.commit({"redrive": record.fields()})
        return record

    def _continue(self, record: Record, ends: Ends) -> Record:
        if record.method == "ReceiveAndSend":
            return self._receive_and_send(record, ends)
        try:
            task = own_task(self.provider.move_tasks(ends.dead_letter_arn), record.after or 0)
            if task is None and record.phase == "Starting":
                self.provider.start_move(ends.dead_letter_arn, ends.queue_arn, record.maxMessagesPerSecond)
                return record.model_copy(update={"phase": "Running"})
        except Unsupported:
            return self._receive_and_send(record.model_copy(update={"method": "ReceiveAndSend", "after": None}), ends)
        if task is None:
            return self._finish(record, "Failed", "SQS no longer lists the move task: its end is unknown")
        record = record.model_copy(update={"phase": "Running", "moved": task.moved})
        if task.running:
            return record
        return self._finish(record, "Failed" if task.failure else "Completed", task.failure)

    def _receive_and_send(self, record: Record, ends: Ends) -> Record:
        room = grant(record)
        if room == 0:
            return self._finish(record, "Completed", None)
        record = record.model_copy(update={"phase": "Running", "granted": (record.granted or 0) + room})
        self.commit({"redrive": record.fields()})
        per_second = record.maxMessagesPerSecond or DEFAULT_PER_SECOND
        moved = record.moved or 0
        while room > 0:
            count = self.provider.move(ends.dead_letter_url, ends.queue_url, min(BATCH, room, per_second))
            moved, room = moved + count, room - count
            if count == 0:
                return self._finish(record.model_copy(update={"moved": moved}), "Completed", None)
            if self.wait(count / per_second):
                break
        return record.model_copy(update={"moved": moved})

    def _finish(self, record: Record, phase: str, message: str | None) -> Record:
        return record.model_copy(update={"phase": phase, "message": message, "finishedAt": format_time(self.now())})
