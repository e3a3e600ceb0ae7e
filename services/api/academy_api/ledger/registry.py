"""What the apps tell the ledger at start: the task kinds that may run and the hooks that end each job kind.

Every app registers in its `AppConfig.ready()`; nothing registers later, so reads need no lock. The ledger knows
kinds only through this table: queue, urgency, limits and the two models that input and result must satisfy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from academy_core.errors import Permanent, Reason
from academy_core.kinds import TaskKind


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as its owner's hooks see it."""

    id: UUID
    academy: UUID
    owner_ref: UUID
    """The owner's own row: what `submit` was given."""
    kind: str
    request_id: str
    output_prefix: str
    generation: int
    """1 at first; each revive raises it."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """What the owner of a job kind does when a job ends or opens again.

    Hooks run inside the transaction that ends or reopens the job, hold the job's row lock and touch the database
    only. One that raises is rolled back alone: an ending job stays `finishing` and the relay tries the hook again;
    a revive (`on_reopened`) fails as a whole.
    """

    name: str
    on_succeeded: Callable[[JobRecord, Mapping[str, Any]], None]
    """Gets the job's last result: that of the task that ended the root's whole continuation."""
    on_failed: Callable[[JobRecord, Reason], None]
    on_cancelled: Callable[[JobRecord], None]
    on_reopened: Callable[[JobRecord], None]


_kinds: dict[tuple[str, int], TaskKind] = {}
_jobs: dict[str, JobKind] = {}


def register_kind(kind: TaskKind) -> None:
    """Let tasks of this kind and version be created. Registering the same kind again changes nothing.

    Raises ValueError when another kind has this name and version, or the name and version are used differently.
    """
    if _kinds.setdefault((kind.name, kind.version), kind) != kind:
        raise ValueError(f"task kind {kind.name} version {kind.version} is registered twice, differently")


def register_job(kind: JobKind) -> None:
    """Let jobs of this kind be submitted. Raises ValueError when another job kind has this name."""
    if _jobs.setdefault(kind.name, kind) != kind:
        raise ValueError(f"job kind {kind.name} is registered twice, differently")


def task_kind(name: str, version: int) -> TaskKind:
    """The registered kind. Raises Permanent (`unknown-kind`) when there is none."""
    try:
        return _kinds[name, version]
    except KeyError:
        raise Permanent(f"no task kind {name} version {version}", reason=UNKNOWN_KIND) from None


def job_kind(name: str) -> JobKind:
    """The registered job kind. Raises Permanent (`unknown-kind`) when there is none."""
    try:
        return _jobs[name]
    except KeyError:
        raise Permanent(f"no job kind {name}", reason=UNKNOWN_KIND) from None


UNKNOWN_KIND = Reason(
    "unknown-kind",
    "알 수 없는 작업 종류입니다. 관리자에게 문의해 주세요.",
    "The platform does not know this kind of work. Please contact the administrator.",
)
