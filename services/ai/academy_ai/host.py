"""The worker's side of the processes that kinds run in: started, asked, watched, replaced.

A child has no environment, no credential, no network where the kernel allows that, and limits (academy_ai.sandbox). It
is kept warm for the next task, and replaced after so many tasks, when it has grown, or when it did not end well. One
task a child at a time: a kind that crashes, leaks or hangs takes no other work along.
"""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from academy_ai.kind import AiKind, KindInput
from academy_ai.text import Lines
from academy_ai.wire import MAX_LINE, Answer, Begin, Done, Reply, Request, raised, refusal
from academy_core import child, log
from academy_core.errors import AcademyError, Permanent, Reason, Retryable, SettingsFault

_log = log.get(__name__)

PICTURES = 500
"""That a child may have read by the worker for one task: what it is may no longer be our code."""

DIED = Reason(
    "analysis-crashed",
    "파일을 분석하던 프로그램이 비정상 종료되었습니다. 파일이 손상되지 않았는지 확인해 주세요.",
    "The program that analysed the file crashed. Check that the file is not damaged.",
)
_PROGRAMS = "/usr/local/bin:/usr/bin:/bin"


class RemoteReader(Protocol):
    """A reader of print over the network. Thread-safe."""

    name: str

    def read(self, picture: bytes, wanted: Callable[[], bool]) -> Lines:
        """The lines of a PNG; `wanted` is asked before it tries again. Raises Retryable, or Permanent."""
        ...


@dataclass(frozen=True, slots=True)
class Life:
    """How long a child may live and how large it may be."""

    max_tasks: int
    memory_bytes: int
    """Resident memory above which it is replaced after its task."""
    address_space: int | None
    """Hard limit; None where a driver reserves far more than it uses (CUDA)."""
    options: Mapping[str, str] = field(default_factory=dict)
    reader: RemoteReader | None = None
    """Asked on the children's behalf, which have no network; None: they read print by themselves."""


class Died(Retryable):
    """The child ended without an answer, or said what no child of ours says."""


class _Child:
    """One child process and its two pipes."""

    def __init__(self, life: Life, folder: Path) -> None:
        """Start it. From a thread that lives as long as the worker: the kernel's parent-death signal follows it."""
        request_read, request_write = os.pipe()
        answer_read, answer_write = os.pipe()
        command = [sys.executable, "-P", "-m", "academy_ai.child", str(request_read), str(answer_write)]
        environment = {"PATH": _PROGRAMS, "LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)}
        if "PYTHONPATH" in os.environ:
            environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(request_read, answer_write),
                start_new_session=True,
            )
        finally:
            os.close(request_read)
            os.close(answer_write)
        self._requests = os.fdopen(request_write, "wb")
        self._answers = os.fdopen(answer_read, "rb")
        self.tasks = 0
        self.child = child.Child(process)
        self._life = life

    def begin(self) -> None:
        """Tell it how to live, hear what of that was not permitted."""
        life = self._life
        answer = self._ask(
            Begin(
                parent=os.getpid(),
                address_space=life.address_space,
                options=dict(life.options),
                reader=None if life.reader is None else life.reader.name,
            ).model_dump_json()
        )
        if answer.refused:
            _log.warning("CHILD_NOT_FULLY_CONFINED", missing=",".join(answer.refused))

    def load(self, package: str) -> None:
        """Load a package's code now. SettingsFault when its options are at fault."""
        answer = self._ask(Request(package=package).model_dump_json())
        if answer.failed is not None:
            raise raised(answer.failed)

    def run(self, request: Request, progress: Callable[[float], None]) -> Done:
        """One task. Raises what the kind raised, or Died."""
        self.tasks += 1
        answer = self._ask(request.model_dump_json())
        asked = 0
        while answer.progress is not None or answer.picture is not None:
            if answer.progress is not None:
                progress(answer.progress)
                answer = self._read()
            elif (asked := asked + 1) > PICTURES:
                raise Died("the child asks for more pictures than a task has")
            else:
                answer = self._ask(self._read_print(answer.picture or b"").model_dump_json())
        if answer.failed is not None:
            raise raised(answer.failed)
        if answer.done is None:
            raise Died("the child's answer is none")
        return answer.done

    def _read_print(self, picture: bytes) -> Reply:
        """What the worker's reader makes of a picture; its error is the child's to raise."""
        if self._life.reader is None:
            raise Died("the child asks for a reader that there is none of")
        try:
            lines = self._life.reader.read(picture, lambda: not self.child.ends_within(0))
        except AcademyError as error:
            return Reply(failed=refusal(error))
        return Reply(lines=tuple(map(tuple, lines)))

    def _ask(self, line: str) -> Answer:
        try:
            self._requests.write(line.encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            raise self._died() from None
        return self._read()

    def _read(self) -> Answer:
        line = self._answers.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise self._died()
        try:
            return Answer.model_validate_json(line)
        except ValidationError:
            raise Died("the child's answer cannot be read") from None

    def _died(self) -> Died:
        self.child.kill()
        finished = self.child.wait()
        return Died(f"child ended with {finished.returncode}: {finished.errors[-1500:]}", reason=DIED)

    def usable(self) -> bool:
        """Whether it may have another task."""
        return (
            self.child.process.returncode is None
            and self.tasks < self._life.max_tasks
            and resident_bytes(self.child.process.pid) <= self._life.memory_bytes
        )

    def end(self) -> None:
        """Kill it and all it started, and reap it."""
        self.child.kill()
        self.child.wait()
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()


def resident_bytes(pid: int) -> int:
    """Resident memory of a process of ours; 0 for one that has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class Host:
    """The children of one worker; as many as run tasks at a time. Thread-safe."""

    def __init__(self, life: Life, folder: Path) -> None:
        """`folder`: the children's working directory."""
        self._life = life
        self._folder = folder
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="child-starter")

    def warm(self, packages: Sequence[str]) -> None:
        """Start a child and load these packages in it. SettingsFault when one cannot work with its options."""
        with self._borrowed() as one:
            for package in packages:
                one.load(package)

    def run(  # noqa: PLR0913 - as Run, with what the worker adds
        self,
        kind: AiKind,
        task: KindInput,
        files: Mapping[str, Path],
        out: Path,
        *,
        progress: Callable[[float], None],
        killable: Callable[[Callable[[], object]], contextlib.AbstractContextManager[None]],
    ) -> Done:
        """Run one task in a child. `killable(kill)` is entered meanwhile: see TaskContext.kill_on_cancel."""
        request = Request(
            package=kind.package,
            kind=kind.task.name,
            input=task.model_dump(mode="json"),
            files={key: str(path) for key, path in files.items()},
            out=str(out),
        )
        with self._borrowed() as one, killable(one.child.kill):
            return one.run(request, progress)

    @contextmanager
    def _borrowed(self) -> Iterator[_Child]:
        """A child for one block; kept for the next one unless the block or the child ended badly."""
        with self._lock:
            one = self._idle.pop() if self._idle else None
        if one is None:
            one = self._starter.submit(_Child, self._life, self._folder).result()
            one.begin()
        keep = False
        try:
            yield one
            keep = True
        except (Permanent, SettingsFault):
            keep = True
            raise
        finally:
            if keep and one.usable():
                with self._lock:
                    self._idle.append(one)
            else:
                _log.info("CHILD_REPLACED", tasks=one.tasks, resident=resident_bytes(one.child.process.pid))
                one.end()

    def close(self) -> None:
        """End every child."""
        with self._lock:
            idle, self._idle = self._idle, []
        for one in idle:
            one.end()
        self._starter.shutdown()
