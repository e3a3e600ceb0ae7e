"""How far a publication is, stage by stage, for a person: pure, from its row and the ledger's progress."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from academy_api.lectures.models import Publication, State
from academy_api.ledger.jobs import JobProgress, Stage
from academy_core.video import CHUNK, NORMALISE, PLAN, PUBLISH


class StageState(StrEnum):
    """Where one stage stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """It will not end: the publication failed or was cancelled."""


@dataclass(frozen=True, slots=True)
class StageProgress:
    """One stage: `upload`, `plan`, `normalise` (only of a source that needs it), `chunks` or `publish`."""

    name: str
    state: StageState
    done: int
    """Tasks that succeeded."""
    total: int | None
    """Tasks there are; None while that is unknown."""
    percent: float | None
    """None while nothing is known."""


def stages(publication: Publication, job: JobProgress | None) -> list[StageProgress]:
    """All stages in order. `job` is None before the upload is complete."""
    found = {stage.kind: stage for stage in job.stages} if job is not None else {}
    kinds = [(name, kind) for name, kind in _TASKS if kind is not NORMALISE or kind.name in found]
    steps = [_upload(publication), *(_tasks(name, found.get(kind.name)) for name, kind in kinds)]
    return list(_settled(publication, steps))


_TASKS = (("plan", PLAN), ("normalise", NORMALISE), ("chunks", CHUNK), ("publish", PUBLISH))


def _upload(publication: Publication) -> StageProgress:
    if publication.job is not None:
        return StageProgress("upload", StageState.DONE, 1, 1, 100.0)
    return StageProgress("upload", StageState.RUNNING, 0, 1, None)


def _tasks(name: str, stage: Stage | None) -> StageProgress:
    if stage is None:
        return StageProgress(name, StageState.WAITING, 0, None, None)
    ended = stage.total > 0 and stage.succeeded == stage.total
    began = stage.running > 0 or stage.succeeded > 0
    state = StageState.DONE if ended else StageState.RUNNING if began else StageState.WAITING
    return StageProgress(name, state, stage.succeeded, stage.total, stage.percent)


def _settled(publication: Publication, steps: list[StageProgress]) -> Iterator[StageProgress]:
    """A ready publication's stages are done even when the ledger has folded its job away; a stopped one's are not."""
    for step in steps:
        if publication.state == State.READY:
            yield StageProgress(step.name, StageState.DONE, step.done, step.total, 100.0)
        elif publication.state in {State.FAILED, State.CANCELLED} and step.state is not StageState.DONE:
            yield StageProgress(step.name, StageState.STOPPED, step.done, step.total, step.percent)
        elif step.name == "publish" and step.state is StageState.DONE:
            yield StageProgress(step.name, StageState.RUNNING, step.done, step.total, step.percent)
        else:
            yield step
