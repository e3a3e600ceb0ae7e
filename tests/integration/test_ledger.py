"""The ledger's rules, one by one, on real Postgres through the SQL (design §2)."""

from collections.abc import Iterator
from uuid import uuid4

import ledger_support as support
import pytest
from ledger_support import BULK, HOOKS, SHORT, claim, job_state, must_claim, new, pass_time, submit

from academy_api.accounts.models import AuditEntry
from academy_api.ledger import duties, jobs, leases, sql
from academy_core.errors import Conflict, LeaseLost, NotAllowed, NotFound, Permanent
from academy_core.kinds import Queue, WorkerClass
from academy_core.ledger import Accepts, ClaimRequest, HeartbeatRequest, NewTask, NextClaim

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    HOOKS.seen.clear()
    HOOKS.broken = False
    support.reset_clock()
    yield
    HOOKS.broken = False


def next_claim(secret: str | None = None, accepts: Accepts = support.ACCEPTS) -> NextClaim:
    return NextClaim(secret=secret or support.secret(), accepts=accepts, queue=Queue.VIDEO, worker="test")


def expire_all() -> int:
    return sum(leases.expire(task) for task in leases.expirable(100))


# -- one task ---------------------------------------------------------------------------------------------------------


def test_a_new_job_has_one_ready_task_with_one_bell_and_is_handed_out_once() -> None:
    job = submit()
    ((task, generation),) = support.outbox()
    assert generation is None
    assert must_claim().task.task == task
    assert claim() is None
    assert job_state(job) == "open"


def test_claimed_task_carries_everything_the_worker_needs() -> None:
    academy = uuid4()
    job = submit(new(n=7), academy)
    task = must_claim().task
    assert (task.job, task.academy, task.request_id, task.output_prefix) == (job, academy, "req-1", "out/one/")
    assert (task.kind, task.version, task.input, task.results) == ("test.bulk", 1, {"n": 7}, None)
    assert (task.attempt, task.generation, task.max_seconds) == (1, 1, 600)
    assert task.queue_wait_sec >= 0


def test_complete_ends_the_job_through_its_hook_once() -> None:
    job = submit()
    lease = must_claim()
    lease.complete({"n": 3})
    lease.complete({"n": 3})
    assert job_state(job) == "succeeded"
    assert HOOKS.seen == [("succeeded", job, {"n": 3})]


def test_claim_with_a_known_secret_gets_the_same_attempt() -> None:
    submit()
    submit()
    secret = support.secret()
    first = claim(the_secret=secret)
    again = claim(the_secret=secret)
    assert first is not None
    assert again is not None
    assert first.task == again.task


def test_secrets_are_stored_as_digests_only() -> None:
    submit()
    lease = must_claim()
    (stored,) = sql.rows("SELECT t::text FROM ledger_task t", {})
    assert lease.secret not in stored[0]
    assert bytes(support.column(lease.task.task, "secret_digest")) == leases.digest_of(lease.secret)


@pytest.mark.parametrize("call", ["heartbeat", "complete", "fail", "release"])
def test_every_report_needs_the_leases_secret(call: str) -> None:
    submit()
    lease = must_claim()
    stranger = support.Lease(lease.ledger, lease.task, support.secret())
    with pytest.raises(LeaseLost):
        getattr(stranger, call)()
    assert support.column(lease.task.task, "state") == "claimed"


def test_unaccepted_versions_and_kinds_are_left_for_others() -> None:
    submit(new(support.BULK_V2))
    assert claim() is None
    assert claim(accepts=Accepts(kinds={"test.bulk": (1, 2)})) is not None


def test_progress_shows_stages_with_percent_and_media_seconds() -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(), new()], then=new(SHORT))
    must_claim().complete()
    must_claim().heartbeat(50)
    progress = jobs.progress(job)
    assert [(s.kind, s.total, s.succeeded, s.running, s.percent) for s in progress.stages] == [
        ("test.short", 2, 1, 0, 50.0),
        ("test.bulk", 2, 1, 1, 75.0),
    ]
    assert progress.stages[1].media_seconds == 50


def test_results_are_indexed_and_polled_for_what_is_new() -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(n=0), new(n=1)])
    first = must_claim()
    first.complete({"n": 10})
    (one,) = jobs.results(job, "test.bulk")
    assert (one.task, one.index, one.result["n"]) == (first.task.task, 0, 10)
    assert jobs.results(job, "test.bulk", beyond=[one.task]) == []
    must_claim().complete({"n": 11})
    assert [(r.index, r.result["n"]) for r in jobs.results(job, "test.bulk", beyond=[one.task])] == [(1, 11)]


# -- children, then, continuations ------------------------------------------------------------------------------------


def test_then_starts_once_with_results_in_the_childrens_order() -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(n=i) for i in range(3)], then=new(SHORT, 9))
    held = [must_claim() for _ in range(3)]
    for lease in reversed(held):
        assert claim() is None
        lease.complete({"n": lease.task.input["n"] * 10})
    then = must_claim()
    assert then.task.results is not None
    assert [result["n"] for result in then.task.results] == [0, 10, 20]
    then.complete({"n": 99})
    assert claim() is None
    assert job_state(job) == "succeeded"
    assert [(what, detail["n"]) for what, _, detail in HOOKS.seen] == [("succeeded", 99)]


def test_empty_children_start_then_at_once() -> None:
    submit(new(SHORT))
    must_claim().complete(then=new(SHORT))
    assert must_claim().task.results == ()


def test_children_without_then_end_the_job_with_the_last_childs_result() -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(n=0), new(n=1)])
    first, last = must_claim(), must_claim()
    last.complete({"n": 21})
    assert job_state(job) == "open"
    first.complete({"n": 20})
    assert HOOKS.seen[0][2]["n"] == 21


def test_an_only_child_takes_its_parents_place() -> None:
    submit(new(SHORT))
    must_claim().complete(children=[new(n=0), new(n=1)], then=new(SHORT))
    first, second = must_claim(), must_claim()
    second.complete({"n": 5})
    first.complete({"n": 1}, children=[new(n=2)])
    must_claim().complete({"n": 2}, children=[new(n=3)])
    must_claim().complete({"n": 3})
    assert [result["n"] for result in must_claim().task.results or ()] == [3, 5]
    assert sql.rows("SELECT count(*) FROM ledger_barrier", {}) == [(1,)]


def test_nested_continuations_count_at_their_own_barrier_only_when_they_end() -> None:
    submit(new(SHORT))
    must_claim().complete(children=[new(n=0), new(n=1), new(n=2)], then=new(SHORT, 9))
    a, b, c = (must_claim() for _ in range(3))
    a.complete({"n": 100}, children=[new(n=3), new(n=4)], then=new(BULK, 5))
    b.complete({"n": 200}, children=[new(n=6), new(n=7)])
    c.complete({"n": 300})
    inner = {lease.task.input["n"]: lease for lease in (must_claim() for _ in range(4))}
    assert sorted(inner) == [3, 4, 6, 7]
    for n in (7, 6, 4, 3):
        inner[n].complete({"n": n})
    then_of_a = must_claim()
    assert [result["n"] for result in then_of_a.task.results or ()] == [3, 4]
    assert claim() is None
    then_of_a.complete({"n": 105})
    outer = must_claim()
    assert [result["n"] for result in outer.task.results or ()] == [105, 7, 300]


def test_then_is_handed_to_the_completing_worker_without_a_bell() -> None:
    submit(new(SHORT))
    must_claim().complete(children=[new()], then=new(SHORT))
    child = must_claim()
    support.clear_outbox()
    secret = support.secret()
    answer = child.complete(following=next_claim(secret))
    assert answer.next is not None
    assert answer.next.results is not None
    assert support.outbox() == []
    lease = support.Lease(child.ledger, answer.next, secret)
    lease.heartbeat()
    assert child.complete(following=next_claim(secret)) == answer
    lease.complete()
    assert child.complete(following=next_claim(secret)) == answer


@pytest.mark.parametrize("accepts", [Accepts(kinds={"test.short": (2,)}), Accepts(kinds={"test.bulk": (1,)})])
def test_then_that_does_not_fit_gets_a_bell_instead(accepts: Accepts) -> None:
    submit(new(SHORT))
    lease = must_claim()
    support.clear_outbox()
    assert lease.complete(then=new(SHORT), following=next_claim(accepts=accepts)).next is None
    assert len(support.outbox()) == 1


def test_two_thousand_children_in_one_complete() -> None:
    submit(new(SHORT))
    must_claim().complete(children=[new(n=i) for i in range(2000)], then=new(SHORT))
    assert sql.rows("SELECT count(*), min(position), max(position) FROM ledger_task WHERE state = 'ready'", {}) == [
        (2000, 0, 1999)
    ]
    assert len(support.outbox()) == 2001


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["/etc/passwd", "../other/file", "a/../../b", "a//b", "", ".", "a\\b", "..", "a/", "./a"]
)
def test_result_keys_must_lie_under_the_prefix(key: str) -> None:
    submit()
    lease = must_claim()
    with pytest.raises(Permanent):
        lease.complete({"n": 1, "names": ["fine/name.m4s", key]})
    assert support.column(lease.task.task, "state") == "claimed"


def test_results_over_64_kb_and_of_another_shape_are_refused() -> None:
    submit()
    lease = must_claim()
    with pytest.raises(Permanent, match="larger"):
        lease.complete({"names": ["a" * 1000] * 70})
    with pytest.raises(Permanent):
        lease.complete({"unknown": 1})
    lease.complete({"names": ["a" * 1000] * 60})


def test_tasks_of_unknown_kind_or_bad_input_are_refused_and_nothing_is_written() -> None:
    with pytest.raises(Permanent):
        submit(NewTask(kind="test.none", version=1, input={}))
    with pytest.raises(Permanent):
        submit(NewTask(kind="test.bulk", version=1, input={"n": "x"}))
    assert sql.rows("SELECT count(*) FROM ledger_job", {}) == [(0,)]
    submit(new(SHORT))
    lease = must_claim()
    with pytest.raises(Permanent):
        lease.complete(children=[new(), NewTask(kind="test.bulk", version=7, input={})])
    assert support.column(lease.task.task, "state") == "claimed"


@pytest.mark.parametrize("worker_class", [WorkerClass.AI_CPU, WorkerClass.AI_GPU])
def test_a_class_sees_only_its_own_queues(worker_class: WorkerClass) -> None:
    submit()
    other = leases.PostgresLedger(worker_class)
    with pytest.raises(NotAllowed):
        other.claim(ClaimRequest(queue=Queue.VIDEO, accepts=support.ACCEPTS, worker="w", secret=support.secret()))
    lease = must_claim()
    stolen = support.Lease(other, lease.task, lease.secret)
    for report in (stolen.heartbeat, stolen.complete, stolen.fail, stolen.release):
        with pytest.raises(NotAllowed):
            report()
    with pytest.raises(LeaseLost):
        other.heartbeat(10**12, HeartbeatRequest(attempt=1, secret=lease.secret))


# -- failure, death, revive -------------------------------------------------------------------------------------------


def test_a_permanent_failure_fails_the_job_and_cancels_its_siblings() -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new() for _ in range(3)], then=new(SHORT))
    bad, running = must_claim(), must_claim()
    support.clear_outbox()
    bad.fail(permanent=True)
    bad.fail(permanent=True)
    assert job_state(job) == "failed"
    reason = jobs.progress(job).reason
    assert reason is not None
    assert (reason.code, reason.ko, reason.en) == ("broken", "고장", "Broken.")
    assert support.outbox() == []
    states = [state for (state,) in sql.rows("SELECT state FROM ledger_task ORDER BY id", {})]
    assert sorted(states) == ["cancelled", "cancelled", "cancelled", "failed", "succeeded"]
    with pytest.raises(LeaseLost):
        running.heartbeat()


def test_a_retryable_failure_comes_back_after_a_backoff_with_one_bell_due_then() -> None:
    submit()
    lease = must_claim()
    support.clear_outbox()
    lease.fail()
    lease.fail()
    assert claim() is None
    ((send_after, ready_at),) = sql.rows(
        "SELECT o.send_after, t.ready_at FROM ledger_outbox o JOIN ledger_task t ON t.id = o.task", {}
    )
    assert send_after == ready_at
    assert sql.rows(sql.DUE, {"limit": 10}) == []
    pass_time(6)
    assert len(sql.rows(sql.DUE, {"limit": 10})) == 1
    again = must_claim()
    assert again.task.attempt == 2
    with pytest.raises(LeaseLost):
        lease.fail()


def test_failures_and_crashes_are_counted_apart_and_releases_as_neither() -> None:
    job = submit()
    must_claim().fail()
    pass_time(400)
    must_claim().release()
    assert claim() is not None
    pass_time(31)
    assert expire_all() == 1
    again = must_claim()
    task = again.task.task
    assert (support.column(task, "failures"), support.column(task, "crashes")) == (1, 1)
    assert job_state(job) == "open"
    pass_time(31)
    assert expire_all() == 1
    assert support.column(task, "state") == "dead"
    assert job_state(job) == "failed"
    with pytest.raises(LeaseLost):
        again.complete()


def die() -> tuple[int, int]:
    """Let the next ready task die of failures; its id and generation."""
    must_claim().fail()
    pass_time(400)
    lease = must_claim()
    lease.fail()
    assert support.column(lease.task.task, "state") == "dead"
    return lease.task.task, lease.task.generation


def test_a_death_is_told_to_the_dlq_and_a_redrive_revives_it_once() -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(n=1), new(n=2)], then=new(SHORT))
    other = must_claim()
    support.clear_outbox()
    task, generation = die()
    deaths = [(t, g) for t, g in support.outbox() if g is not None]
    assert deaths == [(task, 1)]
    assert claim(support.death_body(task, 2)) is None
    assert job_state(job) == "failed"
    support.clear_outbox()
    revived = must_claim(support.death_body(task, generation))
    assert job_state(job) == "open"
    assert revived.task.generation == 2
    assert {t for t, _ in support.outbox()} == {task, other.task.task}
    with pytest.raises(LeaseLost):
        other.complete()
    sibling = must_claim(support.death_body(task, generation))  # a late duplicate: just a bell
    assert sibling.task.generation == 2
    assert (support.column(task, "failures"), support.column(task, "crashes")) == (0, 0)
    revived.complete()
    sibling.complete()
    must_claim().complete()
    assert job_state(job) == "succeeded"
    assert claim(support.death_body(task, generation)) is None
    assert [what for what, _, _ in HOOKS.seen] == ["failed", "reopened", "succeeded"]
    assert [entry.target for entry in AuditEntry.objects.filter(action="job.redrive")] == [str(job)]


def test_a_users_retry_revives_dead_and_failed_jobs_and_only_those() -> None:
    job = submit()
    with pytest.raises(Conflict):
        jobs.retry(job)
    die()
    jobs.retry(job)
    must_claim().fail(permanent=True)
    jobs.retry(job)
    lease = must_claim()
    assert lease.task.generation == 3
    lease.complete()
    with pytest.raises(Conflict):
        jobs.retry(job)
    with pytest.raises(NotFound):
        jobs.retry(uuid4())


def test_a_cancelled_job_is_not_revived() -> None:
    job = submit()
    task, generation = die()
    jobs.retry(job)
    assert jobs.cancel(job)
    assert not jobs.cancel(job)
    assert claim(support.death_body(task, generation)) is None
    assert claim(support.death_body(task, generation + 1)) is None
    assert job_state(job) == "cancelled"


@pytest.mark.parametrize("message", ["", "{}", "[]", "not json", '{"v":2}', '{"v":1,"queue":"video"}'])
def test_strange_messages_revive_nothing(message: str) -> None:
    assert leases.revive_from(message) is False


# -- cancel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["heartbeat", "complete", "fail", "release"])
def test_cancel_is_at_once_and_a_worker_learns_it_by_its_next_report(call: str) -> None:
    job = submit(new(SHORT))
    must_claim().complete(children=[new(), new()], then=new(SHORT))
    lease = must_claim()
    assert jobs.cancel(job)
    with pytest.raises(LeaseLost):
        getattr(lease, call)()
    assert claim() is None
    assert job_state(job) == "cancelled"
    assert [what for what, _, _ in HOOKS.seen] == ["cancelled"]


def test_cancel_of_an_unknown_job_is_false() -> None:
    assert jobs.cancel(uuid4()) is False


# -- leases -----------------------------------------------------------------------------------------------------------


def test_heartbeats_keep_a_lease() -> None:
    submit()
    lease = must_claim()
    for _ in range(5):
        pass_time(20)
        lease.heartbeat()
        assert expire_all() == 0


@pytest.mark.parametrize("call", ["heartbeat", "complete", "fail", "release"])
def test_a_late_report_takes_its_lease_back_and_the_crash_with_it(call: str) -> None:
    submit()
    lease = must_claim()
    pass_time(31)
    assert expire_all() == 1
    task = lease.task.task
    assert (support.column(task, "state"), support.column(task, "crashes")) == ("ready", 1)
    getattr(lease, call)()
    assert support.column(task, "crashes") == 0
    expected = {"heartbeat": "claimed", "complete": "succeeded", "fail": "ready", "release": "ready"}
    assert support.column(task, "state") == expected[call]


@pytest.mark.parametrize("call", ["heartbeat", "complete", "fail", "release"])
def test_a_late_report_after_a_new_claim_is_lost(call: str) -> None:
    submit()
    lease = must_claim()
    pass_time(31)
    expire_all()
    must_claim()
    with pytest.raises(LeaseLost):
        getattr(lease, call)()
    assert support.column(lease.task.task, "crashes") == 1


def test_a_release_is_claimable_at_once_with_a_new_bell_and_may_be_repeated() -> None:
    submit()
    lease = must_claim()
    support.clear_outbox()
    lease.release()
    lease.release()
    assert len(sql.rows(sql.DUE, {"limit": 10})) == 1
    assert must_claim().task.attempt == 2


# -- hooks ------------------------------------------------------------------------------------------------------------


def test_a_hook_that_raises_leaves_the_job_finishing_until_the_relay_succeeds() -> None:
    job = submit()
    HOOKS.broken = True
    lease = must_claim()
    lease.complete({"n": 4})
    assert job_state(job) == "finishing"
    duties.finish_jobs()
    pass_time(10)
    duties.finish_jobs()
    assert job_state(job) == "finishing"
    HOOKS.broken = False
    pass_time(400)
    duties.finish_jobs()
    assert job_state(job) == "succeeded"
    assert HOOKS.seen[0][2]["n"] == 4
    duties.finish_jobs()
    assert len(HOOKS.seen) == 1


def test_a_finishing_failure_keeps_its_reason() -> None:
    job = submit()
    HOOKS.broken = True
    must_claim().fail(permanent=True)
    HOOKS.broken = False
    pass_time(10)
    duties.finish_jobs()
    assert job_state(job) == "failed"
    assert HOOKS.seen[0][2].code == "broken"


def test_a_reopening_hook_that_raises_undoes_the_revive() -> None:
    job = submit()
    must_claim().fail(permanent=True)
    HOOKS.broken = True
    with pytest.raises(RuntimeError):
        jobs.retry(job)
    assert job_state(job) == "failed"
    assert claim() is None
