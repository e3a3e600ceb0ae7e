"""The bell: the only message on our queues. It says that one task is ready; the ledger has the truth.

Written by the relay and the API's on-commit fast path, read by the worker loop. Lost, late or doubled
bells do not matter (design: jobs, tasks, bells).
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from academy_core.kinds import Queue


class Bell(BaseModel):
    """One task is ready on `queue`. The ids are hints for logs and redrive; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    v: Literal[1] = 1
    queue: Queue
    task: int | None = None
    job: UUID | None = None
    request_id: str | None = None
    generation: int | None = None
    """Set on a death's message in the DLQ: the generation in which the task died. A redrive revives only that."""
    enqueued_at: datetime
