"""What holds a child of the video worker: its wall clock and its resource limits, read from and hit by children."""

import resource
import sys
import time
from pathlib import Path

import media
import pytest
from support import ended, wait_until

from academy_core.errors import Retryable
from academy_core.video import PLAN, PlanInput
from academy_video import process


def run_python(folder: Path, code: str, wall_seconds: float) -> process.Output:
    source = PlanInput(source_key="sources/a.mp4", source_bytes=1, source_etag="e")
    command = (sys.executable, "-c", code)
    return process.run(media.context(PLAN, source), command, folder=str(folder), wall_seconds=wall_seconds)


def test_a_child_that_never_ends_is_killed_at_its_wall_limit_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, file=sys.stderr, flush=True); time.sleep(600)"
    )
    started = time.monotonic()
    with pytest.raises(Retryable, match="took too long") as found:
        run_python(tmp_path, code, wall_seconds=10)
    assert 10 <= time.monotonic() - started < 120
    grandchild = int(str(found.value).splitlines()[-1])
    # It is killed in the same moment, but nobody here waits for its end.
    wait_until(lambda: ended(grandchild), 10, "what the child started is killed with it")


def test_a_child_within_its_wall_limit_is_left_alone(tmp_path: Path) -> None:
    finished = run_python(tmp_path, "print('done')", wall_seconds=60).finished
    assert (finished.timed_out, finished.returncode) == (False, 0)


def test_the_kernel_holds_a_child_to_its_limits(tmp_path: Path) -> None:
    """Read by the child itself, once they are set (they are set right after its start)."""
    code = (
        "import resource, sys\n"
        "def soft(kind): return resource.getrlimit(kind)[0]\n"
        "while soft(resource.RLIMIT_CORE) != 0 or soft(resource.RLIMIT_AS) < 0: pass\n"
        "print(*(soft(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)))"
    )
    memory, cpu, file_size = map(int, run_python(tmp_path, code, wall_seconds=30).stdout.split())
    assert (memory, cpu, file_size) == (4 * 1024**3, 30 * 8 + 1, 0)
    assert memory != resource.getrlimit(resource.RLIMIT_AS)[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param("bytearray(5 * 1024**3)", "MemoryError", id="memory"),
        pytest.param("open('left-over', 'wb', buffering=0).write(b'x')", "File too large", id="file"),
    ],
)
def test_what_goes_over_a_limit_fails(tmp_path: Path, code: str, said: str) -> None:
    # Core dumps may have been off before; writing files was not.
    once_limited = "import resource\nwhile resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0: pass\n"
    finished = run_python(tmp_path, once_limited + code, wall_seconds=60).finished
    assert finished.returncode != 0
    assert not finished.timed_out
    assert said in finished.errors
    assert all(path.stat().st_size == 0 for path in tmp_path.iterdir())
