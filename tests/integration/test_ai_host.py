"""The processes that kinds run in: confined, kept warm, replaced; a kind that breaks takes nothing else along."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
from ai_made import spec
from support import wait_until, words

from academy_ai import sandbox
from academy_ai.host import DIED, Died, Host, Life
from academy_ai.kind import AiKind, KindInput
from academy_ai.wire import Done
from academy_core.errors import Permanent, Retryable

TESTS = Path(__file__).parents[1]
MIB = 2**20
LIFE = Life(max_tasks=100, memory_bytes=1024 * MIB, address_space=2048 * MIB)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Life], Host]]:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setenv("R2_SECRET_KEY", "a-secret-of-the-worker")
    hosts: list[Host] = []

    def started(life: Life) -> Host:
        hosts.append(Host(life, tmp_path))
        return hosts[-1]

    yield started
    for host in hosts:
        host.close()
    wait_until(lambda: children() == [], 10, "a child is left")


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "academy_ai.child" in words(child)]


def run(
    host: Host,
    task: KindInput,
    *,
    out: Path = Path(),
    killable: Callable[[Callable[[], None]], AbstractContextManager[None]] = lambda _: nullcontext(),
    progress: Callable[[float], None] = lambda _: None,
    **files: Path,
) -> dict[str, Any]:
    kind = next(kind for kind in (spec.KIND, *spec.STEPS) if kind.input is type(task))
    done: Done = host.run(AiKind(kind, "ai_made"), task, files, out, progress=progress, killable=killable)
    return done.result


def test_a_task_gets_its_files_and_says_how_far_it_is(start: Callable[[Life], Host], tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    source.write_text("안녕")
    out.mkdir()
    shares: list[float] = []
    result = run(start(LIFE), spec.Text(source="source"), out=out, progress=shares.append, source=source)
    assert result["text"] == "안녕"
    assert (out / "said.txt").read_text() == "안녕"
    assert shares == [0.5]


def test_a_child_is_kept_for_the_next_task_and_replaced_after_so_many(start: Callable[[Life], Host]) -> None:
    host = start(Life(max_tasks=3, memory_bytes=1024 * MIB, address_space=None))
    pids = [run(host, spec.Grow(mib=0))["pid"] for _ in range(7)]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_a_child_that_has_grown_is_replaced(start: Callable[[Life], Host]) -> None:
    host = start(Life(max_tasks=100, memory_bytes=256 * MIB, address_space=None))
    pids = [run(host, spec.Grow(mib=mib))["pid"] for mib in (10, 300, 10)]
    assert pids[0] == pids[1] != pids[2]


@pytest.mark.parametrize("how", ["abort", "segfault", "exit"])
def test_a_kind_that_ends_its_process_fails_alone(start: Callable[[Life], Host], tmp_path: Path, how: Any) -> None:
    host = start(LIFE)
    before = run(host, spec.Grow(mib=0))["pid"]
    beside: list[dict[str, Any]] = []
    going = threading.Event()
    source = tmp_path / "source"
    os.mkfifo(source)  # the task beside it goes on until the test writes what it reads
    other = threading.Thread(
        target=lambda: beside.append(
            run(host, spec.Text(source="source"), progress=lambda _: going.set(), source=source)
        )
    )
    other.start()
    assert going.wait(30)
    with pytest.raises(Died) as died:
        run(host, spec.Trouble(how=how))
    assert died.value.reason is DIED
    source.write_text("안녕")
    other.join(30)
    assert (beside[0]["pid"], beside[0]["text"]) == (before, "안녕")  # the task beside it went on undisturbed
    assert run(host, spec.Grow(mib=0))["pid"] == before


def test_what_a_crash_printed_is_told(start: Callable[[Life], Host]) -> None:
    with pytest.raises(Died, match=r"(?s)-6: .*Fatal Python error: Aborted"):
        run(start(LIFE), spec.Trouble(how="abort"))


def test_a_kind_that_hangs_is_killed(start: Callable[[Life], Host]) -> None:
    host = start(LIFE)

    @contextmanager
    def killable(kill: Callable[[], None]) -> Iterator[None]:
        timer = threading.Timer(0.5, kill)
        timer.start()
        yield

    with pytest.raises(Died, match="-9"):
        run(host, spec.Trouble(how="hang"), killable=killable)
    assert run(host, spec.Grow(mib=0))["text"] == "grown"


def test_a_kind_that_asks_for_too_much_memory_is_refused_it(start: Callable[[Life], Host]) -> None:
    host = start(LIFE)
    with pytest.raises(Retryable, match="MemoryError"):
        run(host, spec.Trouble(how="greedy"))


def test_errors_keep_their_type_and_reason(start: Callable[[Life], Host]) -> None:
    host = start(LIFE)
    with pytest.raises(Permanent, match="no page") as refused:
        run(host, spec.Trouble(how="refuse"))
    assert refused.value.reason.ko == "쪽이 없습니다."
    with pytest.raises(Retryable, match="RuntimeError: a fault of the kind"):
        run(host, spec.Trouble(how="raise"))


@contextmanager
def hidden() -> Iterator[None]:
    """The worker hides its memory (academy_ai.main); here the test's process stands for it."""
    sandbox.hide_memory()
    try:
        yield
    finally:
        sandbox._libc.prctl(sandbox._PR_SET_DUMPABLE, 1, 0, 0, 0)


def test_a_kind_sees_neither_secrets_nor_network_nor_unasked_libraries(start: Callable[[Life], Host]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server, hidden():
        seen = run(start(LIFE), spec.Peek(port=server.getsockname()[1]))
    assert set(seen["environment"]) <= {"HOME", "LANG", "LC_CTYPE", "PATH", "PYTHONPATH", "TMPDIR"}
    assert seen["parent"] == "PermissionError"
    assert seen["network"] == "PermissionError", "neither the child nor what it starts opens a socket"
    assert int(seen["capabilities"], 16) == 0
    assert not {"numpy", "cv2", "boto3", "torch"} & set(seen["modules"])


def test_where_no_namespace_is_to_be_had_sockets_are_refused() -> None:
    """As in a container: its seccomp profile keeps processes from making namespaces."""
    program = (
        "import os, socket, subprocess, sys; from academy_ai import sandbox;"
        "sandbox._leave_network = lambda: False;"
        "assert sandbox.enter(os.getppid(), None) == [];"
        "socket.socketpair();"
        "again = 'import socket; socket.socket(socket.AF_INET6)';"
        "ended = subprocess.run([sys.executable, '-c', again], capture_output=True, text=True);"
        "print(ended.stderr);"
        "socket.create_connection(('127.0.0.1', int(sys.argv[1])))"
    )
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = str(server.getsockname()[1])
        ended = subprocess.run([sys.executable, "-c", program, port], capture_output=True, text=True, check=False)
    assert "PermissionError" in ended.stdout, "what the child starts"
    assert "PermissionError" in ended.stderr, "the child itself"
    assert ended.returncode == 1


def test_a_killed_worker_leaves_no_child(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from ai_made import spec; from academy_ai.host import Host, Life;"
        "from academy_ai.kind import AiKind; from contextlib import nullcontext;"
        f"host = Host(Life(9, 1 << 30, None), Path({str(tmp_path)!r}));"
        "host.run(AiKind(spec.TROUBLE, 'ai_made'), spec.Trouble(how='hang'), {}, Path(), progress=print,"
        " killable=lambda kill: print('ready', flush=True) or nullcontext())"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n"
        (child,) = psutil.Process(worker.pid).children()
        worker.send_signal(signal.SIGKILL)
        assert psutil.wait_procs([child], timeout=20)[1] == []
