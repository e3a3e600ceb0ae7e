"""A worker that claims through the real ledger and answers in the test's words, or with a kind's own code."""

import tempfile
from pathlib import Path
from secrets import token_urlsafe

from academy_ai.kind import AiKind, KindInput
from academy_api.ledger.leases import PostgresLedger
from academy_core.kinds import Payload, Queue, TaskKind, WorkerClass
from academy_core.ledger import (
    Accepts,
    ClaimedTask,
    ClaimRequest,
    CompleteRequest,
    FailRequest,
    HeartbeatRequest,
    NewTask,
    Progress,
)
from academy_core.store_fake import FakeStore
from academy_core.tasks import Outcome


class ClaimingWorker:
    """Claims tasks of these kinds, and remembers the secret of each."""

    def __init__(self, of: WorkerClass, queue: Queue, *kinds: TaskKind) -> None:
        self._ledger = PostgresLedger(of)
        self._queue, self._accepts = queue, Accepts(kinds={kind.name: (kind.version,) for kind in kinds})
        self._secrets: dict[int, str] = {}

    def claim(self) -> ClaimedTask:
        """The next ready task; AssertionError when there is none."""
        task = self.try_claim()
        assert task is not None, "nothing to claim"
        return task

    def try_claim(self) -> ClaimedTask | None:
        """The next ready task, None when there is none."""
        secret = token_urlsafe(32)
        request = ClaimRequest(queue=self._queue, accepts=self._accepts, worker="test", secret=secret)
        task = self._ledger.claim(request).task
        if task is not None:
            self._secrets[task.task] = secret
        return task

    def complete(
        self, task: ClaimedTask, result: Payload, children: tuple[NewTask, ...] = (), then: NewTask | None = None
    ) -> None:
        """Complete a claimed task."""
        request = CompleteRequest(
            attempt=task.attempt,
            secret=self._secrets[task.task],
            result=result.model_dump(mode="json"),
            children=children,
            then=then,
        )
        self._ledger.complete(task.task, request)

    def fail(self, task: ClaimedTask, code: str, ko: str, en: str) -> None:
        """Fail a claimed task for good."""
        request = FailRequest(
            attempt=task.attempt,
            secret=self._secrets[task.task],
            permanent=True,
            code=code,
            reason_ko=ko,
            reason_en=en,
        )
        self._ledger.fail(task.task, request)

    def heartbeat(self, task: ClaimedTask, percent: float) -> None:
        """Report progress; LeaseLost when the task was cancelled."""
        request = HeartbeatRequest(
            attempt=task.attempt, secret=self._secrets[task.task], progress=Progress(percent=percent)
        )
        self._ledger.heartbeat(task.task, request)

    def work(self, kind: AiKind, bucket: FakeStore) -> ClaimedTask:
        """Claim a task and do it with the kind's own code."""
        task = self.claim()
        self.do(kind, task, bucket)
        return task

    def do(self, kind: AiKind, task: ClaimedTask, bucket: FakeStore) -> None:
        """Do a claimed task with the kind's own code, as a worker does: files in, artefacts and outcome out."""
        assert task.kind == kind.task.name
        given = kind.task.input.model_validate(task.input)
        assert isinstance(given, KindInput)
        given = given.with_results(task.results or ())
        keys = {key: key for key in given.sources()} | {name: task.output_prefix + name for name in given.artefacts()}
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / "out"
            out.mkdir()
            files = {name: Path(scratch) / str(number) for number, name in enumerate(keys)}
            for name, path in files.items():
                path.write_bytes(bucket.get(keys[name]))
            outcome = kind.load({})(given, files, out, lambda _share: None)
            if not isinstance(outcome, Outcome):
                outcome = Outcome(outcome)
            for name in outcome.result.keys():  # noqa: SIM118 - a payload's keys, no mapping's
                bucket.put(task.output_prefix + name, (out / name).read_bytes(), content_type="x/y")
        self.complete(task, outcome.result, outcome.children, outcome.then)
