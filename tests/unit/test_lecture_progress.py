"""Stages as a person sees them, from what the ledger says."""

from uuid import uuid4

import pytest

from academy_api.lectures import progress, states
from academy_api.lectures.models import Publication, State
from academy_api.ledger.jobs import JobProgress, Stage
from academy_core.video import CHUNK, NORMALISE, PLAN, PUBLISH


def _publication(state: State, *, job: bool = True) -> Publication:
    return Publication(state=state, job=uuid4() if job else None)


def _stage(kind: str, total: int, succeeded: int, running: int = 0) -> Stage:
    return Stage(kind, total, succeeded, running, 100 * succeeded / total, None)


def _seen(publication: Publication, *known: Stage) -> list[tuple[str, str]]:
    job = JobProgress(uuid4(), "open", None, known) if publication.job is not None else None
    return [(stage.name, stage.state.value) for stage in progress.stages(publication, job)]


PLANNED = _stage(PLAN.name, 1, 1)


@pytest.mark.parametrize(
    ("publication", "known", "expected"),
    [
        (_publication(State.UPLOADING, job=False), (), ["running", "waiting", "waiting", "waiting"]),
        (_publication(State.PROCESSING), (_stage(PLAN.name, 1, 0),), ["done", "waiting", "waiting", "waiting"]),
        (_publication(State.PROCESSING), (_stage(PLAN.name, 1, 0, 1),), ["done", "running", "waiting", "waiting"]),
        (_publication(State.PLAYABLE), (PLANNED, _stage(CHUNK.name, 9, 2)), ["done", "done", "running", "waiting"]),
        (
            _publication(State.PLAYABLE),
            (PLANNED, _stage(CHUNK.name, 9, 9), _stage(PUBLISH.name, 1, 1)),
            ["done", "done", "done", "running"],  # until the playlists are ended
        ),
        (_publication(State.FAILED), (PLANNED, _stage(CHUNK.name, 9, 3)), ["done", "done", "stopped", "stopped"]),
        (_publication(State.CANCELLED, job=False), (), ["stopped", "stopped", "stopped", "stopped"]),
        (_publication(State.READY), (), ["done", "done", "done", "done"]),  # its job was folded away
    ],
)
def test_stages(publication: Publication, known: tuple[Stage, ...], expected: list[str]) -> None:
    assert _seen(publication, *known) == list(zip(("upload", "plan", "chunks", "publish"), expected, strict=True))


def test_a_source_that_is_normalised_has_one_stage_more() -> None:
    seen = _seen(_publication(State.PROCESSING), _stage(PLAN.name, 1, 1), _stage(NORMALISE.name, 2, 1, 1))
    assert seen[1:3] == [("plan", "done"), ("normalise", "running")]
    assert [name for name, _ in seen] == ["upload", "plan", "normalise", "chunks", "publish"]


def test_what_is_not_known_is_not_zero() -> None:
    waiting = progress.stages(_publication(State.PROCESSING), JobProgress(uuid4(), "open", None, ()))[2]
    assert (waiting.total, waiting.percent) == (None, None)


@pytest.mark.parametrize(
    ("publications", "state", "playing"),
    [
        ([], State.CANCELLED, None),
        ([State.UPLOADING], State.UPLOADING, None),
        ([State.PLAYABLE], State.PLAYABLE, 0),
        ([State.FAILED], State.FAILED, None),
        ([State.PLAYABLE, State.READY], State.READY, 1),
        ([State.READY, State.FAILED], State.READY, 0),
    ],
)
def test_a_lecture_follows_its_publications(publications: list[State], state: State, playing: int | None) -> None:
    rows = [_publication(each) for each in publications]
    assert states.of_lecture(rows) is state
    assert states.playing(rows) is (rows[playing] if playing is not None else None)
