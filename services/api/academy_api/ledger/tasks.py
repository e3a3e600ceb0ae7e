"""Making tasks: checked against their kinds, written with their bells, in order."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from academy_api.ledger import outbox, registry, sql
from academy_api.ledger.machine import TaskState
from academy_core.errors import Permanent, Reason
from academy_core.kinds import TaskKind, Urgency
from academy_core.ledger import NewTask

URGENCY = {Urgency.SHORT: 0, Urgency.BULK: 1}
BATCH = 200
"""Tasks a statement. 2,000 at once would hold the event loop; between statements it has its turn."""

BAD_INPUT = Reason(
    "bad-task-input",
    "작업의 입력값이 올바르지 않습니다. 관리자에게 문의해 주세요.",
    "The task's input does not fit its kind. Please contact the administrator.",
)


def checked(new: NewTask) -> TaskKind:
    """The task's kind. Raises Permanent when there is none or the input does not fit its model."""
    kind = registry.task_kind(new.kind, new.version)
    try:
        kind.input.model_validate(new.input)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise Permanent(f"input of {new.kind}: {fault['loc']}: {fault['msg']}", reason=BAD_INPUT) from None
    return kind


def create(  # noqa: PLR0913 - where the tasks stand
    job: UUID,
    tasks: Sequence[NewTask],
    *,
    barrier: int | None = None,
    position: int = 0,
    state: TaskState = TaskState.READY,
    task_id: int | None = None,
    gathers: int | None = None,
    bell: bool = True,
) -> None:
    """Write tasks at consecutive positions of a barrier (None: the root's place), with bells for those ready.

    `task_id` and `gathers` are a single `then`'s: its reserved id and the barrier whose results it gets. `bell` False
    is for a `then` that the same transaction claims. Raises Permanent as `checked` does.
    """
    outbox.ring(
        [
            row
            for first in range(0, len(tasks), BATCH)
            for row in sql.rows(
                sql.NEW_TASKS,
                {
                    **_columns(tasks[first : first + BATCH]),
                    "job": job,
                    "id": task_id,
                    "state": state.value,
                    "barrier": barrier,
                    "position": position + first,
                    "ordinal": first,
                    "gathers": gathers,
                    "bell": bell,
                    "hold": outbox.hold_seconds(),
                },
            )
        ]
    )


def _columns(tasks: Sequence[NewTask]) -> dict[str, list[Any]]:
    """One array a column, for the statement that writes them all."""
    kinds = [checked(task) for task in tasks]
    return {
        "kinds": [kind.name for kind in kinds],
        "versions": [kind.version for kind in kinds],
        "queues": [kind.queue.value for kind in kinds],
        "urgencies": [URGENCY[kind.urgency] for kind in kinds],
        "inputs": [json.dumps(task.input, ensure_ascii=False) for task in tasks],
        "max_failures": [kind.max_failures for kind in kinds],
        "max_crashes": [kind.max_crashes for kind in kinds],
        "max_seconds": [kind.max_seconds for kind in kinds],
    }


def new_barrier(job: UUID, total: int, *, has_then: bool, place: tuple[int | None, int]) -> tuple[int, int | None]:
    """A counter for `total` children that stand for `place`. Returns its id and the id reserved for its `then`."""
    found = sql.row(
        sql.NEW_BARRIER,
        {"job": job, "total": total, "has_then": has_then, "outer_barrier": place[0], "outer_position": place[1]},
    )
    if found is None:
        raise Permanent(f"job {job} does not exist")
    barrier, then_task = found
    return barrier, then_task
