"""A video worker whose object store, ffmpeg or disk fails: the lecture comes out the same, or its task is tried again.

The store is the real client on the S3 emulator behind a proxy that makes R2's faults.
"""

import dataclasses
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import media
import psutil
import pytest
from fault_proxy import faulty
from support import S3Handle, running, wait_until, words

from academy_core.errors import Retryable, StoreUnavailable
from academy_core.kinds import Payload, TaskKind
from academy_core.settings import StoreSettings
from academy_core.store import ObjectInfo, R2Store
from academy_core.tasks import Outcome
from academy_core.video import CHUNK, PLAN, PUBLISH, ChunkInput, PlanInput, PublishInput
from academy_video import ladder, plan

RULES = plan.Rules(
    segment_seconds=2, min_segments=3, steps=(ladder.Step(120, 23, 200_000, 400_000),), chunk_seconds=(4, 6)
)
SOAK = os.environ.get("ACADEMY_SOAK") == "1"
SEEDS = 20 if SOAK else 3
SHARE = 0.3
"""Of the requests meet a fault: far more than R2 has."""


@pytest.fixture(scope="module")
def lecture(tmp_path_factory: pytest.TempPathFactory) -> media.Numbered:
    return media.numbered_lecture(tmp_path_factory.mktemp("lecture") / "lecture.mp4", Fraction(30), 10)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The worker's temporary folder; nothing may be left there."""
    made = tmp_path / "worker"
    made.mkdir()
    yield made
    assert list(made.iterdir()) == []


def store_at(endpoint: str, bucket: str) -> R2Store:
    """The real client, with short pauses between its attempts."""
    settings = StoreSettings.model_validate(
        {
            "R2_ENDPOINT": endpoint,
            "R2_ACCESS_KEY": os.environ["R2_ACCESS_KEY"],
            "R2_SECRET_KEY": os.environ["R2_SECRET_KEY"],
            "BACKOFF_BASE_SECONDS": 0.01,
            "BACKOFF_CAP_SECONDS": 0.05,
        }
    )
    return R2Store(settings, bucket)


@dataclass(frozen=True)
class PatientWorker(media.Worker):
    """A worker whose tasks are tried again when they fail retryably; `repeats` counts them by kind."""

    repeats: Counter[str] = field(default_factory=Counter)

    def run(self, kind: TaskKind, task_input: Payload, results: Sequence[Payload] | None = None) -> Outcome:
        """Up to the kind's limit, as the ledger does it."""
        for _ in range(kind.max_failures - 1):
            try:
                return super().run(kind, task_input, results)
            except Retryable:
                self.repeats[kind.name] += 1
        return super().run(kind, task_input, results)


def stored(store: R2Store) -> dict[str, bytes]:
    """Everything below the publication."""
    return {info.key.removeprefix(media.PREFIX): store.get(info.key) for info in store.list(media.PREFIX)}


@pytest.fixture(scope="module")
def undisturbed(lecture: media.Numbered, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the worker makes of the lecture when nothing fails."""
    store = media.WatchedStore()
    media.publish(
        media.Worker(store, tmp_path_factory.mktemp("worker"), RULES), media.upload_source(store, lecture.path)
    )
    return {
        key.removeprefix(media.PREFIX): found.data
        for key, found in store.objects.items()
        if key.startswith(media.PREFIX)
    }


@pytest.mark.slow
@pytest.mark.parametrize("number", range(SEEDS))
def test_a_store_with_faults_gives_the_same_lecture(  # noqa: PLR0917 - fixtures
    s3: S3Handle, bucket: str, lecture: media.Numbered, folder: Path, undisturbed: dict[str, bytes], number: int
) -> None:
    """Short form: 3 seeds; `make soak`: 20."""
    seed = random.SystemRandom().randrange(2**32) if SOAK else number
    direct = store_at(s3.endpoint, bucket)
    source = media.upload_source(cast("Any", direct), lecture.path)
    with faulty(s3.endpoint, seed, SHARE) as proxy:
        worker = PatientWorker(cast("Any", store_at(proxy.endpoint, bucket)), folder, RULES)
        media.publish(worker, source)
        sys.stdout.write(f"seed {seed}: {proxy.calls} requests, {dict(proxy.met)}, again: {dict(worker.repeats)}\n")
    assert sum(proxy.met.values()) > 0
    assert stored(direct) == undisturbed


def test_a_store_that_stays_away_fails_the_task_retryably_and_soon(
    s3: S3Handle, bucket: str, lecture: media.Numbered, folder: Path
) -> None:
    direct = store_at(s3.endpoint, bucket)
    source = media.upload_source(cast("Any", direct), lecture.path)
    planned = media.Worker(cast("Any", direct), folder, RULES).run(PLAN, source)
    chunk = ChunkInput.model_validate(planned.children[0].input)
    with faulty(s3.endpoint, 1, 1.0, ("503",)) as proxy:
        worker = media.Worker(cast("Any", store_at(proxy.endpoint, bucket)), folder, RULES)
        with pytest.raises(Retryable):
            worker.run(PLAN, source)
        with pytest.raises(Retryable):
            worker.run(CHUNK, chunk)
    assert list(direct.list(media.PREFIX)) == []


@dataclass(frozen=True)
class Step:
    """One task of a lecture, and what it gives when nothing fails."""

    kind: TaskKind
    input: Payload
    results: Sequence[Payload] | None
    result: Payload

    def run(self, worker: media.Worker) -> Payload:
        """Its result from this worker."""
        return worker.run(self.kind, self.input, self.results).result


HEARD = dataclasses.replace(RULES, loudness=ladder.LOUDNESS_LUFS)


def steps_of(worker: media.Worker, source: PlanInput) -> list[Step]:
    """Every task of the lecture, done once."""
    planned = worker.run(PLAN, source)
    steps = [Step(PLAN, source, None, planned.result)]
    for child in planned.children:
        piece = ChunkInput.model_validate(child.input)
        steps.append(Step(CHUNK, piece, None, worker.run(CHUNK, piece).result))
    assert planned.then is not None
    last, chunks = PublishInput.model_validate(planned.then.input), [step.result for step in steps[1:]]
    return [*steps, Step(PUBLISH, last, chunks, worker.run(PUBLISH, last, chunks).result)]


class FailingStore(media.WatchedStore):
    """A store whose `fails_at`-th call is not answered. `calls` counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_at, self.calls = 0, 0
        self._counting = threading.Lock()

    def arm(self, number: int) -> None:
        """Count anew; the call of this number fails."""
        self.fails_at, self.calls = number, 0

    def _call(self) -> None:
        with self._counting:
            self.calls += 1
            fails = self.calls == self.fails_at
        if fails:
            raise StoreUnavailable("drill")

    def put(self, key: str, data: bytes, **words: Any) -> str:
        """See ObjectStore.put."""
        self._call()
        return super().put(key, data, **words)

    def get(self, key: str) -> bytes:
        """See ObjectStore.get."""
        self._call()
        return super().get(key)

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """See ObjectStore.get_range."""
        self._call()
        return super().get_range(key, start, end)

    def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        self._call()
        return super().head(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See ObjectStore.list; each object of the listing counts too."""
        self._call()
        for info in super().list(prefix):
            self._call()
            yield info


@pytest.mark.slow
def test_a_store_that_fails_at_any_single_call_costs_one_try_and_nothing_else(
    lecture: media.Numbered, folder: Path
) -> None:
    """Every call of every task in turn, each time in a process that has nothing in its cache."""
    store = FailingStore()
    source = media.upload_source(store, lecture.path)
    steps = steps_of(media.Worker(store, folder, HEARD), source)
    whole = {key: found.data for key, found in store.objects.items()}
    for step in steps:
        for number in itertools.count(1):
            store.arm(number)
            try:
                made = step.run(media.Worker(store, folder, HEARD))
            except StoreUnavailable:
                assert children_of(psutil.Process(), "ffmpeg") == []
                continue
            finally:
                assert {key: found.data for key, found in store.objects.items()} == whole
            assert made == step.result
            break
        assert store.calls < store.fails_at, f"{step.kind.name} went on as if call {number} had been answered"
        assert number > 5


KILLED = """#!{python} -S
import os, sys
number = 0
while True:
    number += 1
    try:
        os.mkdir({counts!r} + "/" + str(number))
        break
    except FileExistsError:
        pass
if number == int(open({victim!r}).read()):
    os.kill(os.getpid(), 9)
os.execv({real!r}, [{real!r}, *sys.argv[1:]])
"""
"""Stands for a program: counts its starts (a child may make no file), and is killed at the one that is asked for."""


@dataclass(frozen=True)
class Killer:
    """ffmpeg and ffprobe of which the child that starts as the `arm`ed number is killed."""

    folder: Path

    def stands_for(self, real: str) -> str:
        """A program that is killed in its turn, or else is this one."""
        path = self.folder / Path(real).name
        words = {"counts": str(self.folder / "starts"), "victim": str(self.folder / "victim"), "real": real}
        path.write_text(KILLED.format(python=sys.executable, **words))
        path.chmod(0o755)
        return str(path)

    def arm(self, number: int) -> None:
        """Count anew; the child of this number is killed."""
        shutil.rmtree(self.folder / "starts", ignore_errors=True)
        (self.folder / "starts").mkdir()
        (self.folder / "victim").write_text(str(number))

    @property
    def starts(self) -> int:
        """Children since then."""
        return len(list((self.folder / "starts").iterdir()))


@pytest.mark.slow
def test_whichever_child_is_killed_the_result_is_the_same(
    lecture: media.Numbered, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every child of every task in turn: of the probe, the sound, the pictures, the comparison, the poster."""
    store, killer = media.WatchedStore(), Killer(tmp_path)
    source = media.upload_source(store, lecture.path)
    steps = steps_of(media.Worker(store, folder, HEARD), source)
    whole = {key: found.data for key, found in store.objects.items()}
    monkeypatch.setattr(media, "FFPROBE", killer.stands_for(media.FFPROBE))
    ffmpeg = killer.stands_for(media.FFMPEG)
    for step in steps:
        for number in itertools.count(1):
            killer.arm(number)
            try:
                made = step.run(media.Worker(store, folder, HEARD, ffmpeg))
            except Retryable:
                continue
            finally:
                assert {key: found.data for key, found in store.objects.items()} == whole
            assert made == step.result
            if killer.starts < number:
                break
        assert number > 2


def children_of(process: psutil.Process, name: str) -> list[psutil.Process]:
    """Its running children of this name."""
    return [child for child in process.children(recursive=True) if running(child, name)]


def stopped_in_mid_chunk(
    store: media.WatchedStore, worker: media.Worker, chunk: ChunkInput, fault: Callable[[list[psutil.Process]], None]
) -> BaseException | None:
    """Make a chunk, do something to its two ffmpegs (the first reads) once they run; the error that came of it.

    A worker that has read nothing before: of what it remembers the ffmpegs would make the chunk, held back or not.
    """
    context = media.context(CHUNK, chunk)
    store.open.clear()
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(dataclasses.replace(worker).handler(CHUNK).run, context)
        try:
            me = psutil.Process()
            wait_until(lambda: len(children_of(me, "ffmpeg")) == 2, 30, "no ffmpeg", lambda: not making.done())
            fault(sorted(children_of(me, "ffmpeg"), key=lambda child: "nut" in words(child)[:12]))
        finally:
            store.open.set()
        return making.exception(120)


@pytest.mark.parametrize("which", [0, 1], ids=["that reads", "of the sound"])
def test_an_ffmpeg_that_is_killed_is_tried_again_with_the_same_result(
    lecture: media.Numbered, folder: Path, undisturbed: dict[str, bytes], which: int
) -> None:
    store = media.WatchedStore()
    worker = media.Worker(store, folder, RULES)
    source = media.upload_source(store, lecture.path)
    chunk = ChunkInput.model_validate(worker.run(PLAN, source).children[0].input)
    before = threading.active_count()
    error = stopped_in_mid_chunk(store, worker, chunk, lambda found: found[which].send_signal(signal.SIGKILL))
    assert isinstance(error, Retryable)
    assert "signal 9" in error.detail
    assert children_of(psutil.Process(), "ffmpeg") == []
    wait_until(lambda: threading.active_count() <= before, 10, "threads stayed")
    worker.run(CHUNK, chunk)
    made = {key.removeprefix(media.PREFIX): found.data for key, found in store.objects.items()}
    assert {name: data for name, data in made.items() if not name.startswith("sources/")}.items() <= undisturbed.items()


def test_an_ffmpeg_that_hangs_is_ended_by_the_wall_clock(lecture: media.Numbered, folder: Path) -> None:
    store = media.WatchedStore()
    worker = media.Worker(store, folder, RULES)
    source = media.upload_source(store, lecture.path)
    chunk = ChunkInput.model_validate(worker.run(PLAN, source).children[0].input)
    context = media.context(CHUNK, chunk)
    object.__setattr__(context, "task", context.task.model_copy(update={"max_seconds": 8}))
    store.open.clear()
    with ThreadPoolExecutor(1) as pool:
        # One that has read nothing before: see stopped_in_mid_chunk.
        making = pool.submit(dataclasses.replace(worker).handler(CHUNK).run, context)
        me = psutil.Process()
        wait_until(lambda: len(children_of(me, "ffmpeg")) == 2, 30, "no ffmpeg", lambda: not making.done())
        for child in children_of(me, "ffmpeg"):
            child.suspend()
        store.open.set()
        error = making.exception(60)
    assert isinstance(error, Retryable)
    assert "took too long" in error.detail
    assert children_of(psutil.Process(), "ffmpeg") == []


def test_an_ffmpeg_that_leaks_is_held_to_its_memory_and_the_worker_lives(
    lecture: media.Numbered, folder: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    leaking = tmp_path / "ffmpeg"
    leaking.write_text(
        f"#!{sys.executable}\nimport mmap\nkept = []\nwhile True:\n"
        "    kept.append(mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))\n"
    )
    leaking.chmod(0o755)
    store = media.WatchedStore()
    source = media.upload_source(store, lecture.path)
    sound = media.Worker(store, folder, RULES)
    chunk = ChunkInput.model_validate(sound.run(PLAN, source).children[0].input)
    peak = psutil.Process().memory_info().rss
    with pytest.raises(Retryable, match="Cannot allocate memory"):
        media.Worker(store, folder, RULES, ffmpeg=str(leaking)).run(CHUNK, chunk)
    assert psutil.Process().memory_info().rss < peak + (256 << 20)
    sound.run(CHUNK, chunk)
    made = {key.removeprefix(media.PREFIX) for key in store.objects}
    assert {name for name in made if not name.startswith("sources/")} <= undisturbed.keys()


WHOLE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import os
{settings}
import media
from test_video_faults import RULES
folder = Path({folder!r})
try:
    (folder / "more").write_bytes(b"x" * 65536)
except OSError as error:
    print("full:", error.strerror)
(folder / "more").unlink(missing_ok=True)
store = media.WatchedStore()
media.publish(media.Worker(store, folder, RULES), media.upload_source(store, Path({source!r})))
for key, found in sorted(store.objects.items()):
    if key.startswith(media.PREFIX):
        print(key.removeprefix(media.PREFIX), len(found.data))
"""


def test_a_full_temporary_folder_stops_nothing(
    lecture: media.Numbered, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """The folder is a file system of its own without a free byte: the worker keeps nothing on disk."""
    folder = tmp_path / "full"
    folder.mkdir()
    tests = str(Path(__file__).parents[1])
    settings = f"sys.path.insert(0, {str(Path(__file__).parent)!r})"
    code = WHOLE.format(tests=tests, settings=settings, folder=str(folder), source=str(lecture.path))
    mount = f'mount -t tmpfs -o size=64k tmpfs {folder} && head -c 65536 /dev/zero > {folder}/filled; exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine allows no mount namespaces (unshare --user --mount)")
    done = subprocess.run(
        [*unshare, "sh", "-c", mount, "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, *lines = done.stdout.splitlines()
    assert first == "full: No space left on device"
    assert lines == [f"{name} {len(data)}" for name, data in sorted(undisturbed.items())]
