"""The ledger's state machine: its decisions one by one, and the stateful test over the pure world."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from ledger_stateful import Stateful

from academy_api.ledger import machine
from academy_api.ledger.machine import Call, Cause, JobState, Task, TaskState, Verdict
from academy_core.errors import LeaseLost

DIGEST = b"d" * 32
HELD = Task(TaskState.CLAIMED, attempt=3, digest=DIGEST)


def test_any_order_of_calls_keeps_the_invariants() -> None:
    run_state_machine_as_test(
        Stateful,
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            print_blob=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("call", list(Call))
@pytest.mark.parametrize(("attempt", "digest"), [(2, DIGEST), (4, DIGEST), (3, b"x" * 32)])
def test_another_attempt_or_secret_holds_nothing(call: Call, attempt: int, digest: bytes) -> None:
    with pytest.raises(LeaseLost):
        machine.hold(HELD, call, attempt, digest)


@pytest.mark.parametrize("call", list(Call))
def test_the_holder_may_report(call: Call) -> None:
    assert machine.hold(HELD, call, 3, DIGEST) == (Verdict.HOLDS, HELD)


@pytest.mark.parametrize("call", list(Call))
def test_a_late_report_takes_lease_and_crash_back(call: Call) -> None:
    verdict, held = machine.hold(machine.expired(HELD), call, 3, DIGEST)
    assert verdict is Verdict.HOLDS
    assert replace(held, cause=HELD.cause) == HELD


@pytest.mark.parametrize(
    ("ended", "repeatable"),
    [
        (machine.succeeded(HELD), Call.COMPLETE),
        (machine.failed(HELD, permanent=True), Call.FAIL),
        (machine.failed(HELD, permanent=False), Call.FAIL),
        (machine.released(HELD), Call.RELEASE),
        (machine.cancelled(HELD), None),
        (Task(TaskState.DEAD, Cause.EXPIRED, attempt=3, digest=DIGEST), None),
        (Task(TaskState.DEAD, Cause.FAILED, attempt=3, digest=DIGEST), Call.FAIL),
    ],
)
@pytest.mark.parametrize("call", list(Call))
def test_after_its_end_only_the_ending_report_may_be_repeated(ended: Task, repeatable: Call | None, call: Call) -> None:
    if call is repeatable:
        assert machine.hold(ended, call, 3, DIGEST) == (Verdict.REPEAT, ended)
    else:
        with pytest.raises(LeaseLost):
            machine.hold(ended, call, 3, DIGEST)


def test_limits_are_counted_apart() -> None:
    task = Task(TaskState.CLAIMED, max_failures=2, max_crashes=2)
    once_each = machine.expired(machine.failed(task, permanent=False))
    assert once_each.state is TaskState.READY
    assert machine.failed(once_each, permanent=False).state is TaskState.DEAD
    assert machine.expired(once_each).state is TaskState.DEAD
    assert machine.released(once_each) == Task(
        TaskState.READY, Cause.RELEASED, failures=1, crashes=1, max_failures=2, max_crashes=2
    )


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("generation", [1, 2, 3])
def test_only_the_current_death_of_a_failed_job_is_revived(state: JobState, generation: int) -> None:
    dead = Task(TaskState.DEAD, generation=2)
    assert machine.may_revive(state, 2, dead, generation) is (state is JobState.FAILED and generation == 2)
    assert not machine.may_revive(state, 2, Task(TaskState.FAILED, generation=2), generation)


@pytest.mark.parametrize("state", list(TaskState))
def test_revive_makes_what_had_not_succeeded_ready_or_waiting_and_clears_the_counts(state: TaskState) -> None:
    task = Task(state, Cause.FAILED, 3, 1, 2, 1, digest=DIGEST)
    revived = machine.revived(task, 2, children_left=False)
    if state in machine.REVIVABLE:
        assert revived == Task(TaskState.READY, Cause.REVIVED, 3, 2)
        assert machine.revived(task, 2, children_left=True).state is TaskState.WAITING
    else:
        assert revived == task


def test_backoff_grows_is_capped_and_jittered() -> None:
    assert [machine.backoff_seconds(n, 0.0) for n in (1, 2, 3, 20)] == [2.5, 5.0, 10.0, 150.0]
    assert machine.backoff_seconds(1, 0.999) == pytest.approx(5.0, abs=0.01)
    assert machine.backoff_seconds(20, 0.999) < machine.BACKOFF_CAP_SECONDS
