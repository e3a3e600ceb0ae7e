"""Redrive: once a token, whatever happens in between."""

import pytest
from operator_support import World

from academy_operator.errors import ProviderFault
from academy_operator.providers.queues import MoveTask


def with_dead(world: World, count: int = 5, **spec: object) -> str:
    uid = world.queue("video", **spec)
    world.reconciler.reconcile(uid)
    world.queues.send("video-dlq", *(f"bell {number}" for number in range(count)))
    return uid


def messages(world: World) -> tuple[int, int]:
    return len(world.queues.queues["video"].messages), len(world.queues.queues["video-dlq"].messages)


def test_a_token_present_at_creation_is_recorded_and_not_run() -> None:
    world = World()
    uid = with_dead(world, redrive={"token": "one"})
    assert world.status(uid)["redrive"] == {"token": "one", "phase": "Recorded"}
    world.sweep(700)
    assert messages(world) == (0, 5)


def test_a_token_at_creation_is_not_run_when_the_first_pass_fails() -> None:
    world = World()

    def fail(_moment: str) -> None:
        raise ProviderFault("500")

    world.queues.fault = fail
    uid = world.queue("video", redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    assert world.status(uid)["observedGeneration"] == 1
    world.queues.fault = lambda _moment: None
    world.sweep(60)
    assert world.status(uid)["redrive"]["phase"] == "Recorded"


def test_a_new_token_moves_everything_once() -> None:
    world = World()
    uid = with_dead(world)
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    world.sweep(60)
    assert messages(world) == (5, 0)
    record = world.status(uid)["redrive"]
    assert (record["phase"], record["method"], record["moved"]) == ("Completed", "MoveTask", 5)
    world.queues.send("video-dlq", "later")
    world.sweep(700)
    assert messages(world) == (5, 1), "the token was spent"
    world.edit(uid, redrive={"token": "two"})
    world.reconciler.reconcile(uid)
    assert messages(world) == (6, 0)


def test_the_token_is_in_status_before_the_provider_is_asked() -> None:
    world = World()
    uid = with_dead(world)
    phases: list[str] = []

    def look(moment: str) -> None:
        if moment == "before StartMessageMoveTask":
            phases.append(world.status(uid)["redrive"]["phase"])

    world.queues.fault = look
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    assert phases == ["Starting"]


class Crash(BaseException):
    """The process dies."""


@pytest.mark.parametrize("moment", ["before StartMessageMoveTask", "after StartMessageMoveTask"])
def test_a_crash_around_the_start_runs_it_once(moment: str) -> None:
    world = World()
    uid = with_dead(world)

    def crash(now: str) -> None:
        if now == moment:
            raise Crash

    world.queues.fault = crash
    world.edit(uid, redrive={"token": "one"})
    with pytest.raises(Crash):
        world.reconciler.reconcile(uid)
    world.queues.fault = lambda _moment: None
    world.restart()
    world.queues.send("video-dlq", "later")
    world.reconciler.reconcile(uid)
    world.sweep(60)
    assert world.queues.calls.count("StartMessageMoveTask") == 1
    assert len(world.queues.tasks["arn:aws:sqs:ap-northeast-2:000000000000:video-dlq"]) == 1
    assert world.status(uid)["redrive"]["phase"] == "Completed"


def test_an_earlier_task_is_not_taken_for_this_run() -> None:
    world = World()
    uid = with_dead(world)
    arn = world.status(uid)["dlqArn"]
    world.queues.tasks[arn] = [MoveTask(started_ms=0, running=False, failure=None, moved=99)]
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    assert messages(world) == (5, 0)


def test_a_new_token_waits_for_somebody_s_running_task() -> None:
    world = World()
    uid = with_dead(world)
    arn = world.status(uid)["dlqArn"]
    world.queues.tasks[arn] = [MoveTask(started_ms=0, running=True, failure=None, moved=0)]
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    assert messages(world) == (0, 5)
    world.queues.tasks[arn] = [MoveTask(started_ms=0, running=False, failure=None, moved=0)]
    world.sweep(35)
    assert messages(world) == (5, 0)


def test_a_failed_task_says_why() -> None:
    world = World()
    uid = with_dead(world)
    arn = world.status(uid)["dlqArn"]
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    world.queues.tasks[arn] = [MoveTask(started_ms=1, running=False, failure="KMS.AccessDenied", moved=2)]
    world.sweep(65)
    record = world.status(uid)["redrive"]
    assert (record["phase"], record["moved"], record["message"]) == ("Failed", 2, "KMS.AccessDenied")


def test_without_move_tasks_the_operator_moves_by_itself() -> None:
    world = World()
    world.queues.move_support = False
    uid = with_dead(world, 25)
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    assert messages(world) == (25, 0)
    record = world.status(uid)["redrive"]
    assert (record["phase"], record["method"], record["moved"]) == ("Completed", "ReceiveAndSend", 25)


def test_a_maximum_is_kept_over_a_crash() -> None:
    world = World()
    uid = with_dead(world, 100)

    def crash(now: str) -> None:
        if now == "after DeleteMessageBatch" and len(world.queues.queues["video"].messages) == 20:
            raise Crash

    world.queues.fault = crash
    world.edit(uid, redrive={"token": "one", "maxMessages": 40, "maxMessagesPerSecond": 1})
    with pytest.raises(Crash):
        world.reconciler.reconcile(uid)
    world.queues.fault = lambda _moment: None
    world.restart()
    world.reconciler.reconcile(uid)
    world.sweep(120)
    moved, left = messages(world)
    assert moved <= 40
    assert moved + left == 100
    assert world.status(uid)["redrive"]["phase"] == "Completed"


def test_the_rate_is_kept() -> None:
    world = World()
    uid = with_dead(world, 20)
    world.edit(uid, redrive={"token": "one", "maxMessages": 20, "maxMessagesPerSecond": 2})
    began = world.hands.seconds
    world.reconciler.reconcile(uid)
    assert world.hands.seconds - began == pytest.approx(10.0)
    assert messages(world) == (20, 0)


def test_a_fault_at_the_start_is_tried_again() -> None:
    world = World()
    uid = with_dead(world)

    def fail(now: str) -> None:
        if now == "before StartMessageMoveTask":
            raise ProviderFault("500")

    world.queues.fault = fail
    world.edit(uid, redrive={"token": "one"})
    world.reconciler.reconcile(uid)
    assert world.status(uid)["redrive"]["phase"] == "Starting"
    world.queues.fault = lambda _moment: None
    world.sweep(40)
    assert messages(world) == (5, 0)
