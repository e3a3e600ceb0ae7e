"""Drills on the whole platform: workers are killed at drawn moments, and every lecture comes out the same.

Short form in CI; `make soak` runs all of it. Each run prints its seed and size; ACADEMY_SEED repeats one.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from platform_support import LONG, SHORT, Platform, draw, running
from support import wait_until

from academy_local import roles

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SOAK = os.environ.get("ACADEMY_SOAK") == "1"
MOMENTS = 20 if SOAK else 1
LECTURES, KILLS = (10, 10) if SOAK else (3, 1)
WORKERS = 4


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    source = LONG if SOAK else SHORT
    with running(
        folder / "data", draw(source, folder / "source.mp4"), source, roles.Workers(video=WORKERS, ai=0)
    ) as platform:
        yield platform


@pytest.fixture
def drawn() -> random.Random:
    """What decides moments and victims."""
    seed = int(os.environ.get("ACADEMY_SEED") or random.SystemRandom().randrange(2**32))
    sys.stdout.write(f"ACADEMY_SEED={seed}: {MOMENTS} moments; {LECTURES} lectures, {KILLS} kills, {WORKERS} workers\n")
    return random.Random(seed)  # noqa: S311 - a drill that can be repeated


def all_up(platform: Platform) -> bool:
    state = platform.place.state()
    return state is not None and all(seen.state == "up" for seen in state.processes.values())


def chunks_of(platform: Platform, worker: str | None = None) -> list[str]:
    """Names of the workers that the ledger has at a chunk, all or this one; a dead one's too, until its lease ends."""
    query = "SELECT worker FROM ledger_task WHERE state = 'claimed' AND kind = 'video.chunk'"
    return sorted(name for (name,) in platform.rows(query) if worker in {None, name})


def holders(platform: Platform) -> list[str]:
    """The workers that are making a chunk: one that was started again does not make what its name still claims."""

    def encodes(worker: str) -> bool:
        try:
            return bool(platform.encoders(worker))
        except (LookupError, psutil.NoSuchProcess):  # killed, and not back yet
            return False

    return [worker for worker in chunks_of(platform) if encodes(worker)]


def stopped(platform: Platform, worker: str) -> bool:
    """Stop a worker: whether it makes a chunk, so that no report of its end is on its way; a dead one does not."""
    send(platform, worker, signal.SIGSTOP)
    return worker in holders(platform)


def send(platform: Platform, worker: str, number: signal.Signals) -> None:
    """Signal a worker, unless it was killed just now and is not back yet."""
    with suppress(LookupError, ProcessLookupError):
        os.kill(platform.parts.pid(worker), number)


def caught_mid_chunk(platform: Platform, drawn: random.Random, lectures: list[str]) -> str | None:
    """Stop a worker while it makes a chunk; its name. None when no chunk of these lectures is left to make."""
    caught: list[str] = []

    def over() -> bool:
        making = holders(platform)
        drawn.shuffle(making)
        for worker in making:
            if stopped(platform, worker):
                caught.append(worker)
                return True
            send(platform, worker, signal.SIGCONT)
        return all(is_made(platform, lecture) for lecture in lectures)

    wait_until(over, 120, "no worker makes a chunk")
    return caught[0] if caught else None


def is_made(platform: Platform, lecture: str) -> bool:
    """Whether its chunks are all done."""
    chunks = [task.state for task in platform.tasks(lecture) if task.kind == "video.chunk"]
    return bool(chunks) and set(chunks) == {"succeeded"}


def killed_anyone(platform: Platform, drawn: random.Random) -> bool:
    """SIGKILL whichever worker is drawn: whether it made a chunk."""
    victim = f"video-{drawn.randint(1, WORKERS)}"
    made = stopped(platform, victim)
    send(platform, victim, signal.SIGKILL)
    return made


def passes(seconds: float) -> None:
    """Wait for the moment that was drawn."""
    moment = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= moment, seconds + 20, "time stands still")


def files(platform: Platform, lecture: str) -> dict[str, str]:
    """What is published, by name within the publication: text of playlists, ETags of the rest."""
    publication = str(platform.api.playback(lecture)["publication"])
    return {key.partition(f"/{publication}/")[2]: found for key, found in platform.published(lecture).items()}


def redone(platform: Platform, lecture: str) -> int:
    """Attempts beyond the first, over all the lecture's tasks."""
    return sum(task.attempt - 1 for task in platform.tasks(lecture))


def test_a_worker_killed_at_any_moment_costs_a_chunk_and_changes_nothing(
    platform: Platform, drawn: random.Random
) -> None:
    began = time.monotonic()
    lecture = platform.submit("undisturbed")
    platform.finish(lecture)
    span = time.monotonic() - began
    platform.assert_sound(lecture)
    undisturbed = files(platform, lecture)
    held = 0
    for number in range(MOMENTS):
        wait_until(lambda: all_up(platform), 120, "not everything is up")
        # Every other kill is aimed at a worker that makes a chunk, the rest at whoever is there at any moment.
        if number % 2 == 0:
            lecture, cost = killed_mid_chunk(platform, drawn, span / 3), True
        else:
            lecture = platform.submit(f"moment {number}")
            passes(drawn.uniform(0, span))
            cost = killed_anyone(platform, drawn)
        held += cost
        platform.finish(lecture)
        platform.assert_sound(lecture)
        assert files(platform, lecture) == undisturbed
        assert redone(platform, lecture) <= 1
        assert redone(platform, lecture) == 1 or not cost
    sys.stdout.write(f"{held} of {MOMENTS} kills hit a worker that held a chunk\n")


def killed_mid_chunk(platform: Platform, drawn: random.Random, longest: float) -> str:
    """Submit a lecture and kill a worker while it makes a chunk of it, the sooner the oftener that came too late."""
    while True:
        lecture = platform.submit("aimed at")
        passes(drawn.uniform(0, longest))
        worker = caught_mid_chunk(platform, drawn, [lecture])
        if worker is not None:
            send(platform, worker, signal.SIGKILL)
            return lecture
        platform.finish(lecture)
        longest /= 2


def test_lectures_at_once_while_workers_are_killed_and_started(platform: Platform, drawn: random.Random) -> None:
    wait_until(lambda: all_up(platform), 120, "not everything is up")
    lectures = [platform.submit(f"at once {number}") for number in range(LECTURES)]
    kills = 0
    while kills < KILLS:
        passes(drawn.uniform(1, 8))
        worker = caught_mid_chunk(platform, drawn, lectures)
        if worker is None:  # they are made already
            lectures.append(platform.submit("one more"))
        else:
            send(platform, worker, signal.SIGKILL)
            kills += 1
    for lecture in lectures:
        platform.finish(lecture)
    for lecture in lectures:
        platform.assert_sound(lecture)
    assert sum(redone(platform, lecture) for lecture in lectures) == KILLS
    ready = platform.rows(
        "SELECT lecture_id::text, count(*) FROM lectures_publication WHERE state = 'ready' GROUP BY 1"
    )
    assert {name: count for name, count in ready if name in lectures} == dict.fromkeys(lectures, 1)
    same = files(platform, lectures[0])
    assert all(files(platform, lecture) == same for lecture in lectures[1:])
