"""What a task kind states about itself: the one description that ledger, relay and workers share.

A kind is declared once (academy_core.video for lectures, academy_ai.kinds.<kind>.spec for AI) and handed
to the ledger's registry by the API's composition root. The ledger reads queue, urgency and limits from it and
never looks into input or result beyond validating them against the kind's models.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict


class Queue(StrEnum):
    """Logical queue names; settings map them to SQS queue names (S-4)."""

    VIDEO = "video"
    AI_LITE = "ai-lite"
    AI_BASIC = "ai-basic"
    AI_PREMIUM = "ai-premium"


class WorkerClass(StrEnum):
    """Who may claim what: one internal token a class; a class claims only its own queues."""

    VIDEO = "video"
    AI_CPU = "ai-cpu"
    AI_GPU = "ai-gpu"
    RELAY = "relay"


QUEUES_OF: dict[WorkerClass, frozenset[Queue]] = {
    WorkerClass.VIDEO: frozenset({Queue.VIDEO}),
    WorkerClass.AI_CPU: frozenset({Queue.AI_BASIC, Queue.AI_LITE}),
    WorkerClass.AI_GPU: frozenset({Queue.AI_PREMIUM}),
    WorkerClass.RELAY: frozenset(),  # it only probes
}


class Urgency(StrEnum):
    """SHORT tasks (a person waits) go before BULK, but every fourth claim prefers BULK."""

    SHORT = "short"
    BULK = "bulk"


class Payload(BaseModel):
    """Base of every task input and result: closed and frozen. Results may list the R2 keys they own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def sent(self) -> dict[str, Any]:
        """As JSON, without what is at its default.

        While a release rolls out and after a rollback, tasks and results meet code that does not know the newest
        fields, and closed models refuse those: a field is only sent where it says something.
        """
        return self.model_dump(mode="json", exclude_defaults=True)

    def keys(self) -> Iterable[str]:
        """R2 keys this result refers to, relative to the task's output prefix. The ledger checks each."""
        return ()


@dataclass(frozen=True, slots=True)
class TaskKind:
    """One kind of task. `version` changes when input or result change incompatibly."""

    name: str
    """Dotted, e.g. `video.chunk`."""
    version: int
    queue: Queue
    urgency: Urgency
    input: type[Payload]
    result: type[Payload]
    max_failures: int = 5
    """Reported failures (Retryable) after which the task is dead."""
    max_crashes: int = 3
    """Expired leases after which the task is dead."""
    max_seconds: int = 600
    """Longest run of one attempt; the worker kills it and reports a failure."""
