"""The ledger's stateful test: any interleaving of calls, with bells lost, late and doubled, keeps the invariants.

One machine for both worlds (`ledger_worlds`): tests/unit runs it over the pure machine, tests/integration over
Postgres with eight connections stopped at statement boundaries. At the end of each example the world calms down: a
relay that sends and tops up, and one worker that acts on bells alone, must bring every job to its end.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ledger_support import death_body
from ledger_worlds import SLOTS, Grip, PostgresWorld, PureWorld, Shape, Snapshot, World, secrets

from academy_core.errors import Conflict, LeaseLost

UNFINISHED = {"waiting", "ready", "claimed"}
TERMINAL = {"succeeded", "failed", "dead", "cancelled"}
CALM_ROUNDS = 400

slots = st.integers(0, SLOTS - 1)
picks = st.integers(0, 1 << 16)
Bell = tuple[int, int | None]


class Stateful(RuleBasedStateMachine):
    """Rules begin a call on an idle slot, or let a busy one take its next step."""

    new_world: Callable[[], World] = PureWorld

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).new_world()
        self.draw = secrets()
        self.tag = 0
        self.bells: list[Bell] = []
        self.deaths: list[Bell] = []
        self.lost = 0
        self.secrets: list[str] = []
        self.grips: list[Grip] = []
        self.shapes: dict[Grip, Shape] = {}
        self.holders: dict[tuple[int, int], str] = {}
        self.before: Snapshot | None = None
        self.sending = False

    def next_tag(self) -> int:
        self.tag += 1
        return self.tag

    def act(self, slot: int, call: Callable[[], Any], done: Callable[[Any], None] = lambda _: None) -> None:
        """Begin the call if the slot is idle; else step it, so that every rule makes progress."""
        if self.world.busy(slot):
            self.world.step(slot)
        else:
            self.world.begin(slot, call, done)

    # -- rules --------------------------------------------------------------------------------------------------------

    @initialize()
    def first_job(self) -> None:
        self.world.api.submit(self.next_tag())

    @rule(slot=slots)
    def step(self, slot: int) -> None:
        if self.world.busy(slot):
            self.world.step(slot)

    @rule()
    def step_all(self) -> None:
        for slot in range(SLOTS):
            if self.world.busy(slot):
                self.world.step(slot)

    @rule(slot=slots)
    def submit(self, slot: int) -> None:
        tag = self.next_tag()
        self.act(slot, lambda: self.world.api.submit(tag))

    @rule(slot=slots)
    def relay_sends(self, slot: int) -> None:
        if self.sending or self.world.busy(slot):
            self.step(slot)
            return
        self.sending = True
        self.world.begin(slot, self.world.api.send, self.sent)

    def sent(self, messages: list[Bell]) -> None:
        self.sending = False
        self.bells += [message for message in messages if message[1] is None]
        self.deaths += [message for message in messages if message[1] is not None]

    @rule(slot=slots, pick=picks)
    def claim_for_a_bell(self, slot: int, pick: int) -> None:
        if self.bells and not self.world.busy(slot):
            self.bells.pop(pick % len(self.bells))
            self.begin_claim(slot, next(self.draw), None)

    @rule(slot=slots)
    def claim_without_a_bell(self, slot: int) -> None:
        """A doubled or late bell."""
        self.begin_claim(slot, next(self.draw), None)

    @rule(slot=slots, pick=picks)
    def claim_again_with_a_known_secret(self, slot: int, pick: int) -> None:
        if self.secrets:
            self.begin_claim(slot, self.secrets[pick % len(self.secrets)], None)

    @rule(slot=slots, pick=picks)
    def claim_with_a_redriven_death(self, slot: int, pick: int) -> None:
        """Deaths stay in the list: redriven twice, or late, they must have no second effect."""
        if self.deaths:
            task, generation = self.deaths[pick % len(self.deaths)]
            self.begin_claim(slot, next(self.draw), death_body(task, generation or 0))

    def begin_claim(self, slot: int, secret: str, message: str | None) -> None:
        self.secrets.append(secret)
        self.act(slot, lambda: self.world.api.claim(secret, message), self.claimed)

    def claimed(self, grip: Any) -> None:
        if isinstance(grip, Grip):
            holder = self.holders.setdefault((grip.task, grip.attempt), grip.secret)
            assert holder == grip.secret, f"attempt {grip.attempt} of task {grip.task} was handed out twice"
            if grip not in self.grips:
                self.grips.append(grip)

    @rule(slot=slots, pick=picks)
    def heartbeat(self, slot: int, pick: int) -> None:
        if self.grips:
            grip = self.grips[pick % len(self.grips)]
            self.act(slot, lambda: self.world.api.heartbeat(grip))

    @rule(slot=slots, pick=picks, children=st.integers(0, 3), then=st.booleans(), following=st.booleans())
    def complete(self, slot: int, pick: int, children: int, then: bool, following: bool) -> None:  # noqa: FBT001
        """A repeat brings the same body, as a worker's would."""
        if not self.grips or self.world.busy(slot):
            return
        grip = self.grips[pick % len(self.grips)]
        if grip not in self.shapes:
            self.shapes[grip] = Shape(
                tuple(self.next_tag() for _ in range(children)),
                self.next_tag() if then else None,
                next(self.draw) if following else None,
            )
        self.act(slot, lambda: self.world.api.complete(grip, self.shapes[grip]), self.claimed)

    @rule(slot=slots, pick=picks)
    def complete_simply(self, slot: int, pick: int) -> None:
        self.complete(slot, pick, 0, then=False, following=True)

    @rule(slot=slots, pick=picks, permanent=st.booleans())
    def fail(self, slot: int, pick: int, permanent: bool) -> None:  # noqa: FBT001
        if self.grips:
            grip = self.grips[pick % len(self.grips)]
            self.act(slot, lambda: self.world.api.fail(grip, permanent=permanent))

    @rule(slot=slots, pick=picks)
    def release(self, slot: int, pick: int) -> None:
        if self.grips:
            grip = self.grips[pick % len(self.grips)]
            self.act(slot, lambda: self.world.api.release(grip))

    @rule(slot=slots, pick=picks)
    def expire(self, slot: int, pick: int) -> None:
        if self.grips and not self.world.busy(slot):
            task = self.grips[pick % len(self.grips)].task
            self.world.pass_time(31)
            self.act(slot, lambda: self.world.api.expire(task))

    @rule(slot=slots, pick=picks)
    def cancel(self, slot: int, pick: int) -> None:
        jobs = list(self.world.snapshot().jobs)
        if pick % 3 == 0:
            self.act(slot, lambda: self.world.api.cancel(jobs[pick % len(jobs)]))

    @rule(slot=slots, pick=picks)
    def retry(self, slot: int, pick: int) -> None:
        failed = [job for job, (state, _) in self.world.snapshot().jobs.items() if state == "failed"]
        if failed:
            self.act(slot, lambda: self.world.api.retry(failed[pick % len(failed)]))

    @rule(pick=picks)
    def lose_a_bell(self, pick: int) -> None:
        if self.bells:
            self.bells.pop(pick % len(self.bells))
            self.lost += 1

    @rule(pick=picks)
    def double_a_bell(self, pick: int) -> None:
        if self.bells:
            self.bells.append(self.bells[pick % len(self.bells)])

    @rule(seconds=st.sampled_from([1.0, 10.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    # -- what always holds of what is committed -----------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        now = self.world.snapshot()
        self.made_once(now)
        self.barriers_count_their_places(now)
        self.jobs_fit_their_tasks(now)
        if self.before is not None:
            self.terminal_is_final(self.before, now)
        self.before = now

    def made_once(self, now: Snapshot) -> None:
        """A complete that had its effect twice would make its children or its `then` twice."""
        doubled = [tag for tag, count in Counter(task.tag for task in now.tasks.values()).items() if count > 1]
        assert not doubled, f"made twice: {doubled}"

    def barriers_count_their_places(self, now: Snapshot) -> None:
        ended = Counter(task.barrier for task in now.tasks.values() if task.state == "succeeded" and task.stands)
        moved_out = {i for i, (left, _) in now.barriers.items() if left == 0}
        for id_, (left, total) in now.barriers.items():
            assert left >= 0, f"barrier {id_} was counted down too often"
            places = ended[id_] + (1 if id_ in moved_out and ended[id_] == total - 1 else 0)
            assert total - left == places, f"barrier {id_}: {left} of {total} left, {places} places ended"
        for id_, task in now.tasks.items():
            if task.gathers is not None and task.state in {"ready", "claimed", "succeeded"}:
                assert now.barriers[task.gathers][0] == 0, f"then {id_} started before its children had ended"

    def jobs_fit_their_tasks(self, now: Snapshot) -> None:
        for job, (state, generation) in now.jobs.items():
            states = {task.state for task in now.tasks.values() if task.job == job}
            if state == "open":
                assert states & UNFINISHED, f"open job {job} has nothing left to do"
                assert not states & {"failed", "dead", "cancelled"}
            else:
                assert not states & UNFINISHED, f"{state} job {job} has unfinished tasks"
            if state == "succeeded":
                assert states == {"succeeded"}
            ends = [what for what, of in now.hooks if of == job]
            assert ends.count("reopened") >= generation - 1, f"job {job} was reopened without its hook"
            assert ends.count("succeeded") <= 1, f"job {job} succeeded twice"

    def terminal_is_final(self, before: Snapshot, now: Snapshot) -> None:
        for id_, was in before.tasks.items():
            task = now.tasks[id_]
            assert task.attempt >= was.attempt
            assert task.generation >= was.generation
            if was.state == "succeeded":
                assert task.state == "succeeded"
            elif was.state in TERMINAL and task.state != was.state:
                assert task.generation > was.generation, f"task {id_} left {was.state} without a revive"
        for job, (was_state, was_generation) in before.jobs.items():
            state, generation = now.jobs[job]
            if was_state in {"succeeded", "cancelled"}:
                assert (state, generation) == (was_state, was_generation)
            elif was_state == "failed" and state != "failed":
                assert generation > was_generation

    # -- the end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            self.let_all_calls_end()
            self.nothing_waits_without_a_bell()
            self.calm_down()
        finally:
            self.world.close()

    def let_all_calls_end(self) -> None:
        for _ in range(CALM_ROUNDS):
            busy = [slot for slot in range(SLOTS) if self.world.busy(slot)]
            if not busy:
                return
            for slot in busy:
                if self.world.busy(slot):
                    self.world.step(slot)
        raise AssertionError("calls do not end")

    def nothing_waits_without_a_bell(self) -> None:
        """In the pure world, where nothing is ever locked, every ready task's own bell exists unless it was lost."""
        if type(self).new_world is PureWorld:
            now = self.world.snapshot()
            ready = sum(task.state == "ready" for task in now.tasks.values())
            bells = len(self.bells) + sum(generation is None for _, generation in now.outbox)
            assert ready <= bells + self.lost, "a ready task has no bell"

    def call(self, call: Callable[[], Any]) -> Any:
        """Run one call to its end, alone."""
        answers: list[Any] = []
        self.world.begin(0, call, answers.append)
        while self.world.busy(0):
            self.world.step(0)
        return answers[0]

    def calm_down(self) -> None:
        for _ in range(CALM_ROUNDS):
            self.world.pass_time(400)
            for id_, task in self.world.snapshot().tasks.items():
                if task.state == "claimed":
                    self.call(lambda id_=id_: self.world.api.expire(id_))  # type: ignore[misc]
            self.sent(self.call(self.world.api.send))
            if not self.bells:
                self.call(lambda: self.world.api.top_up(0))
                self.sent(self.call(self.world.api.send))
            while self.bells:
                self.bells.pop()
                grip = self.call(lambda: self.world.api.claim(next(self.draw), None))
                if grip is not None:
                    self.call(lambda grip=grip: self.world.api.complete(grip, Shape()))  # type: ignore[misc]
            self.holds()
            if all(state != "open" for state, _ in self.world.snapshot().jobs.values()):
                break
        else:
            raise AssertionError("a job never ends")
        self.deaths_are_told_once()

    def deaths_are_told_once(self) -> None:
        self.sent(self.call(self.world.api.send))
        told = Counter(self.deaths)
        assert all(count == 1 for count in told.values()), f"told twice: {told}"
        dead = {(i, t.generation) for i, t in self.world.snapshot().tasks.items() if t.state == "dead"}
        assert dead <= set(told), "a death was not told"


class PostgresStateful(Stateful):
    """The same over Postgres."""

    new_world = PostgresWorld


__all__ = ["Conflict", "LeaseLost", "PostgresStateful", "Stateful"]
