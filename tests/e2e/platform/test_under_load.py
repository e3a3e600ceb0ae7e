"""Upgrade, rollback, kills, evictions and a closed node while two hundred tasks run: none lost, none done twice.

Answer sheets, because each is one task whose right result is known. A seed, which is printed, chooses the pods.
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import api_load
import exam_e2e
import platform_e2e
import pytest
from cluster.kubectl import Kubectl, Refused
from platform_e2e import Platform
from support import wait_until
from test_database import sends

from academy_local import client

SOAK = os.environ.get("ACADEMY_SOAK") == "1"
SHEETS = 1000 if SOAK else 200
DONE_SECONDS = 3600.0 if SOAK else 900.0
BACK_SECONDS = 180
HELM_SECONDS = 600
PODS = 3
CAUGHT_SECONDS = 120.0
LOOK_SECONDS = 1.0


@pytest.fixture
def exam(director: client.Client) -> Iterator[exam_e2e.Exam]:
    made = exam_e2e.make(director)
    yield made
    made.delete()


def values(**more: object) -> dict[str, object]:
    """As everywhere here, with more than one worker."""
    own = platform_e2e.platform_values()
    own["workers"]["aiCpu"] = {**own["workers"]["aiCpu"], "maxReplicas": PODS}
    return {**own, **more}


class Disturbances:
    """What happens, each once so many sheets are graded."""

    def __init__(self, platform: Platform, run: Kubectl, revision: int, chance: random.Random) -> None:
        self.platform, self.run, self.chance, self.revision = platform, run, chance, revision
        self.kills = 0
        self._helm = ThreadPoolExecutor(1)
        self.releases: list[Future[object]] = []
        self.node = run("get", "nodes", "-o", "name").split()[-1]

    def kill(self) -> None:
        """SIGKILL to the processes of a worker."""

        def killed() -> bool:
            running = self.platform.running("cpu")
            return bool(running) and self.platform.kill(self.chance.choice(running))

        wait_until(killed, CAUGHT_SECONDS, "a worker runs that can be killed")
        self.kills += 1

    def evict(self) -> None:
        """SIGTERM to a worker, by the API of evictions."""

        def evicted() -> bool:
            running = self.platform.running("cpu")
            if not running:
                return False
            try:
                self.platform.evict(self.chance.choice(running))
            except Refused:  # it has just gone
                return False
            return True

        wait_until(evicted, CAUGHT_SECONDS, "a worker runs that can be evicted")

    def close_node(self) -> None:
        """No new pod comes to the node."""
        self.run("cordon", self.node)

    def open_node(self) -> None:
        """As before."""
        self.run("uncordon", self.node)

    def upgrade(self) -> None:
        """A setting of every process changes: everything rolls."""
        changed = values(log={"level": "DEBUG"})
        self.releases.append(self._helm.submit(self.platform.install, changed))

    def roll_back(self) -> None:
        """To the release before the upgrade, once that is through."""
        command = ("rollback", "academy", str(self.revision), "--wait", "--timeout", f"{HELM_SECONDS}s")
        self.releases.append(self._helm.submit(self.platform.helm, *command, timeout=2 * HELM_SECONDS))

    def finish(self) -> None:
        """Wait for helm; its failure is the test's."""
        for release in self.releases:
            release.result(2 * HELM_SECONDS)
        self._helm.shutdown()


def test_two_hundred_tasks_survive(
    platform: Platform, run: Kubectl, exam: exam_e2e.Exam, request: pytest.FixtureRequest
) -> None:
    seed = int(os.environ.get("ACADEMY_SEED", str(time.time_ns() % 10**6)))
    platform.install(values())
    revision = platform.helm.revision("academy")
    what = Disturbances(platform, run, revision, random.Random(seed))  # noqa: S311 - a drill
    request.addfinalizer(what.open_node)
    plan: list[Callable[[], None]] = [
        what.upgrade, what.kill, what.evict, what.close_node, what.kill,
        what.roll_back, what.evict, what.open_node, what.kill, what.evict,
    ]  # fmt: skip
    uploaded = exam.upload(SHEETS)
    began = time.monotonic()
    with api_load.running(*platform.signed_in(exam.director), *sends(exam.id)) as load:
        exam.grade(*uploaded)

        def graded() -> int:
            return exam.states(*uploaded)["graded"]

        for number, disturb in enumerate(plan):
            due = SHEETS * number // (len(plan) + 1)
            wait_until(lambda due=due: _look(graded) >= due, DONE_SECONDS, f"{due} sheets are graded")  # type: ignore[misc]
            disturb()
        wait_until(lambda: _look(graded) == SHEETS, DONE_SECONDS, "every sheet is graded")
        what.finish()
    seconds = time.monotonic() - began
    tasks = platform.query(
        "SELECT t.state, j.state AS job, t.attempt, t.failures, t.crashes FROM ledger_task t"
        " JOIN ledger_job j ON j.id = t.job_id JOIN exams_sheet s ON s.job = j.id JOIN exams_batch b"
        " ON b.id = s.batch_id WHERE b.exam_id = :'exam'",
        exam=exam.id,
    )
    crashes = sum(int(task["crashes"]) for task in tasks)
    again = sum(int(task["attempt"]) - 1 for task in tasks)
    print(  # noqa: T201  (a drill tells)
        f"{SHEETS} tasks in {seconds:.0f} s (seed {seed}): {what.kills} workers killed, {crashes} tasks lost by it,"
        f" {again} attempts more than tasks; upgraded and rolled back meanwhile; API: {load}"
    )
    assert load.failed == []
    assert [(task["state"], task["job"]) for task in tasks] == [("succeeded", "succeeded")] * SHEETS
    assert crashes <= what.kills, "a kill costs one task"
    assert again <= what.kills, "nothing else has work done again"
    assert {task["failures"] for task in tasks} == {"0"}
    results = list(exam.results())
    assert len(results) == len({result["sheet"] for result in results}) == SHEETS, "each sheet has its one reading"
    for number, made in enumerate(exam.made):
        copies = [result["answers"] for result in results if exam.picture_of(result["file_name"]) == number]
        assert len(copies) == SHEETS // len(exam.made)
        assert all(copy == copies[0] for copy in copies), "a sheet begun anew is read as any other"
        assert copies[0]["Student"] == made.truth["Student"]
    assert platform.helm.revision("academy") == revision + 2
    assert platform.run("get", "configmap", "academy-api", "-o", "jsonpath={.data.LOG_LEVEL}") == "INFO"
    wait_until(lambda: platform.depth("lite") == 0, BACK_SECONDS, "no bell is left")
    wait_until(lambda: platform.workers("cpu") == [], BACK_SECONDS, "no worker is left")
    platform.install()


def _look(graded: Callable[[], int]) -> int:
    """Not too often: the answer counts rows."""
    time.sleep(LOOK_SECONDS)
    return graded()
