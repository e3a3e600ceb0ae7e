"""Faults on the whole platform: real processes are killed, frozen and taken away while a lecture is encoded.

`make test` runs every drill on a small lecture, `make soak` on a larger one; the waits for leases are real in both.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from platform_support import HEAVY, LONG, SHORT, Platform, TaskRow, draw, running, undecodable
from support import wait_until

from academy_core.ledger import LEASE_SECONDS
from academy_local import client, environment, ports, roles, strays

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    source = LONG if os.environ.get("ACADEMY_SOAK") == "1" else SHORT
    print(f"lecture={source}")  # noqa: T201 - which form of the drills this was
    with running(folder / "data", draw(source, folder / "source.mp4"), source, roles.Workers(ai=0)) as platform:
        yield platform


@pytest.fixture(autouse=True)
def all_up(platform: Platform) -> None:
    """A fault of the test before must not be felt in the next, whatever order they run in."""

    def up() -> bool:
        state = platform.place.state()
        return state is not None and all(seen.state == "up" for seen in state.processes.values())

    wait_until(up, 120, "not everything is up")
    if platform.bells() > 0:  # killed workers hold theirs until the visibility timeout is over
        platform.forget_bells()


def postgres_pid(platform: Platform) -> int | None:
    state = platform.place.state()
    assert state is not None
    return state.processes["postgres"].pid


def attempts(platform: Platform, lecture: str) -> list[int]:
    return [task.attempt for task in platform.tasks(lecture)]


def listens_on(process: psutil.Process) -> set[str]:
    """The addresses it takes connections on; none of one that has just ended, as a server of Postgres's does."""
    try:
        links = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return set()
    return {link.laddr.ip for link in links if link.status == psutil.CONN_LISTEN}


def test_happy_path_on_loopback_alone(platform: Platform) -> None:
    lecture = platform.submit("happy path")
    platform.finish(lecture)
    platform.assert_sound(lecture)
    assert set(attempts(platform, lecture)) == {1}
    ours = strays.find(platform.place)
    assert len(ours) >= 8
    assert set().union(*map(listens_on, ours)) == {ports.HOST}


REFUSED = {
    "/intermediate/": ("source-unreadable", ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")),
    ".m4s": ("source-damaged", ()),
}
"""What is uploaded of a file without one whole picture before it is refused: it is normalised, or its sound is made."""


def test_of_a_file_that_is_refused_late_nothing_is_left(platform: Platform, tmp_path: Path) -> None:
    lectures = {
        made: platform.submit(made, undecodable(platform.file, tmp_path / f"{number}.mp4", *words))
        for number, (made, (_, words)) in enumerate(REFUSED.items())
    }
    for made, lecture in lectures.items():
        with pytest.raises(client.Refused) as refused:
            platform.finish(lecture)
        assert refused.value.code == REFUSED[made][0]
    # A chunk beside the one that was refused is cancelled at once, but made until its worker hears of it.
    wait_until(lambda: platform.bells() == 0, 60, "a worker is still at it")
    for made, lecture in lectures.items():
        assert any(made in key for key in platform.objects(lecture)), "nothing was uploaded: it shows nothing"
        platform.bury_now(lecture)
    for lecture in lectures.values():
        wait_until(lambda lecture=lecture: platform.objects(lecture) == [], 60, "an object is left")  # type: ignore[misc]


STOP_SECONDS = 10


def cancel(platform: Platform, lecture: str) -> None:
    platform.api.act(lecture, "cancel")


def delete(platform: Platform, lecture: str) -> None:
    platform.api.delete(lecture)


def replace(platform: Platform, lecture: str) -> None:
    announced = {"file_name": "another.mp4", "size": 10**6, "content_type": "video/mp4"}
    platform.api._call("POST", f"/api/v1/lectures/{lecture}/replace", json=announced)


@pytest.fixture(scope="session")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(HEAVY, tmp_path_factory.mktemp("heavy") / "heavy.mp4")


def held_mid_chunk(platform: Platform, lecture: str) -> TaskRow:
    """Stop a worker and its encoders while it makes a chunk: neither ends by itself, however late the test is."""
    while True:
        task = platform.caught_mid_chunk(lecture, signal.SIGSTOP)
        for encoder in platform.encoders(task.worker):
            with suppress(psutil.NoSuchProcess):
                encoder.suspend()
        if platform.encoders(task.worker):
            return task
        os.kill(platform.parts.pid(task.worker), signal.SIGCONT)


@pytest.mark.slow
@pytest.mark.parametrize("act", [cancel, delete, replace])
def test_running_work_stops_soon(platform: Platform, heavy: Path, act: Callable[[Platform, str], None]) -> None:
    lecture = platform.submit(act.__name__, heavy)
    running = held_mid_chunk(platform, lecture)
    try:
        act(platform, lecture)
        assert platform.state(running.id) == "cancelled"
        assert platform.encoders(running.worker) != []
    finally:
        os.kill(platform.parts.pid(running.worker), signal.SIGCONT)
    told = time.monotonic()
    wait_until(lambda: platform.encoders(running.worker) == [], STOP_SECONDS, "it encodes on")
    print(f"{act.__name__}: stopped after {time.monotonic() - told:.1f} s")  # noqa: T201 - the figure for the reader
    wait_until(lambda: platform.bells() == 0, 60, "a bell is left")
    assert platform.temporary_files() == []


@pytest.mark.slow
def test_a_killed_worker_costs_its_chunk_alone(platform: Platform) -> None:
    lecture = platform.submit("SIGKILL")
    killed = platform.caught_mid_chunk(lecture, signal.SIGKILL)
    platform.finish(lecture)
    platform.assert_sound(lecture)
    for task in platform.tasks(lecture):
        assert (task.attempt, task.crashes) == ((2, 1) if task.id == killed.id else (1, 0)), task


@pytest.mark.slow
def test_a_terminated_worker_finishes_or_hands_back(platform: Platform) -> None:
    lecture = platform.submit("SIGTERM")
    told = platform.caught_mid_chunk(lecture, signal.SIGTERM)
    platform.finish(lecture)
    platform.assert_sound(lecture)
    assert {(task.failures, task.crashes) for task in platform.tasks(lecture)} == {(0, 0)}
    assert "Graceful shutdown" in platform.log(told.worker)


@pytest.mark.slow
def test_an_api_away_for_three_leases_costs_no_attempt(platform: Platform) -> None:
    lecture = platform.submit("API down")
    platform.claimed_chunk(lecture)
    platform.parts.take_down("api")
    down_at = time.monotonic()
    # The one wait here that is a duration: it is what the test is about.
    wait_until(lambda: time.monotonic() - down_at > 3 * LEASE_SECONDS, 4 * LEASE_SECONDS, "time stands still")
    platform.parts.bring_back("api")
    platform.finish(lecture)
    platform.assert_sound(lecture)
    assert {(task.attempt, task.failures, task.crashes) for task in platform.tasks(lecture)} == {(1, 0, 0)}


@pytest.mark.slow
def test_a_restarted_postgres_costs_no_attempt(platform: Platform) -> None:
    lecture = platform.submit("Postgres restarted")
    platform.claimed_chunk(lecture)
    before = platform.parts.pid("postgres")
    os.kill(before, signal.SIGINT)
    wait_until(lambda: postgres_pid(platform) not in {None, before}, 60, "Postgres stays away")
    platform.finish(lecture)
    platform.assert_sound(lecture)
    assert {(task.failures, task.crashes) for task in platform.tasks(lecture)} == {(0, 0)}


@pytest.mark.slow
def test_doubled_bells_do_nothing_twice(platform: Platform) -> None:
    lecture = platform.submit("doubled bells")
    rung: set[int] = set()
    for _ in platform.api.watch(lecture, 240):
        for task in platform.tasks(lecture):
            if task.id not in rung:
                platform.ring_twice(task.id)
                rung.add(task.id)
    for task in platform.tasks(lecture):  # late ones, too: everything is done by now
        platform.ring_twice(task.id)
    platform.assert_sound(lecture)
    assert rung
    assert set(attempts(platform, lecture)) == {1}


@pytest.mark.slow
def test_lost_bells_are_rung_again(platform: Platform) -> None:
    workers = ("video-1", "video-2")
    for worker in workers:
        platform.parts.take_down(worker)
    try:
        lecture = platform.submit("lost bells")
        wait_until(lambda: platform.bells() > 0, 60, "no bell was sent")
        platform.lose_bells()
        assert platform.bells() == 0
        # The relay tops up what has been ready for a minute, a minute later; the first of them need not be waited for.
        platform.age_ready(60)
    finally:
        for worker in workers:
            platform.parts.bring_back(worker)
    platform.finish(lecture)
    platform.assert_sound(lecture)


@pytest.mark.slow
def test_a_relay_killed_between_commit_and_send_loses_no_bell(platform: Platform) -> None:
    queue = platform.parts.pid("sqs")
    platform.parts.take_down("relay")
    os.kill(queue, signal.SIGSTOP)  # what is committed now cannot be sent
    try:
        lecture = platform.submit("relay killed")
        assert platform.rows("SELECT count(*) FROM ledger_outbox") != [(0,)]
        platform.parts.bring_back("relay")
        relay = psutil.Process(platform.parts.pid("relay"))
        port = platform.place.identity().addresses.sqs
        wait_until(
            lambda: any(link.raddr and link.raddr.port == port for link in relay.net_connections("inet")),
            60,
            "the relay never tried to send",
        )
        relay.kill()
    finally:
        os.kill(queue, signal.SIGCONT)
    platform.finish(lecture)
    platform.assert_sound(lecture)
    assert set(attempts(platform, lecture)) == {1}


@pytest.mark.slow
def test_a_frozen_worker_that_wakes_after_publish_changes_no_byte(platform: Platform) -> None:
    lecture = platform.submit("SIGSTOP")
    frozen = platform.caught_mid_chunk(lecture, signal.SIGSTOP)
    pid = platform.parts.pid(frozen.worker)
    try:
        platform.finish(lecture)
        before = platform.published(lecture)
    finally:
        os.kill(pid, signal.SIGCONT)
    # It learns it by its next heartbeat, or, when its encoder had finished without it, by the answer to its result.
    lost = ("TASK_ENDED", f"task={frozen.id} ", "end=lost")
    wait_until(
        lambda: any(all(word in line for word in lost) for line in platform.log(frozen.worker).splitlines()),
        120,
        "the woken worker did not learn that its lease is gone",
    )
    wait_until(lambda: psutil.Process(pid).children() == [], 60, "its ffmpeg works on")
    assert platform.published(lecture) == before
    platform.assert_sound(lecture)
    redone = next(task for task in platform.tasks(lecture) if task.id == frozen.id)
    assert (redone.attempt, redone.crashes) == (2, 1)
    assert redone.worker != frozen.worker


def test_what_helm_test_runs_publishes_plays_and_deletes_and_leaves_no_key(platform: Platform) -> None:
    identity = platform.place.identity()
    address = environment.url(identity.addresses.api)
    command = [sys.executable, "-m", "academy_api.manage", "smoke", f"--api={address}", f"--video={platform.file}"]
    surroundings = {**os.environ, **environment.api(identity)}
    for _ in range(2):  # again in the same academy, with another key
        done = subprocess.run(command, env=surroundings, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SMOKE_PASSED" in done.stdout + done.stderr
    assert platform.rows("SELECT count(*) FROM accounts_academy WHERE name = 'academy self-test'") == [(1,)]
    assert platform.rows(
        "SELECT count(*) FILTER (WHERE revoked_at IS NULL), count(*) FROM accounts_apikey WHERE name = 'helm test'"
    ) == [(0, 2)]
    # Not a video: it says where it stopped, and does not wait for the end of its patience.
    broken = [*command[:-1], f"--video={__file__}"]
    done = subprocess.run(broken, env=surroundings, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert re.search(r"the self-test failed: POST \S+/upload/complete: 422 ", done.stderr)
