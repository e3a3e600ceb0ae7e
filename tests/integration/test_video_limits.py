"""What holds a child of the video worker: its wall clock, its resource limits, and whom it believes over https.

The limits are read from, and hit by, real children; the certificates are checked by the real ffmpeg and ffprobe.
"""

import resource
import ssl
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import media
import psutil
import pytest
import trustme

from academy_core.errors import Retryable
from academy_core.video import PLAN, PlanInput
from academy_video import ffmpeg, plan, process

RULES = plan.Rules(segment_seconds=2, min_segments=3, chunk_seconds=(4, 6))


def run_python(folder: Path, code: str, wall_seconds: float) -> process.Output:
    source = PlanInput(source_key="sources/a.mp4", source_bytes=1, source_etag="e")
    command = (sys.executable, "-c", code)
    return process.run(media.context(PLAN, source), command, folder=str(folder), wall_seconds=wall_seconds)


# Wall clock and resource limits


def test_a_child_that_never_ends_is_killed_at_its_wall_limit_with_all_it_started(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    started = time.monotonic()
    output = run_python(tmp_path, code, wall_seconds=3)
    assert (output.finished.timed_out, output.finished.returncode) == (True, -9)
    assert 3 <= time.monotonic() - started < 60
    grandchild = int(output.stdout)
    assert not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE


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
    once_limited = "import resource\nwhile resource.getrlimit(resource.RLIMIT_CORE)[0] != 0: pass\n"
    finished = run_python(tmp_path, once_limited + code, wall_seconds=60).finished
    assert finished.returncode != 0
    assert not finished.timed_out
    assert said in finished.errors
    assert all(path.stat().st_size == 0 for path in tmp_path.iterdir())


# Certificates


def served(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """A server's context with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def lecture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.numbered_lecture(tmp_path_factory.mktemp("lecture") / "lecture.mp4", Fraction(30), 8).path


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """The only authority that ffmpeg believes."""
    authority = trustme.CA()
    bundle = tmp_path / "authorities.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setattr(ffmpeg, "AUTHORITIES", str(bundle))
    return authority


def test_a_source_over_https_is_planned_and_cut(trusted: trustme.CA, lecture: Path, tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()
    with media.http_store(served(trusted, "localhost")) as store:
        made = media.publish(media.Worker(store, folder, RULES), media.upload_source(store, lecture))
    assert made.result.duration_seconds == 8
    assert len(made.chunks) > 1


@pytest.mark.parametrize(
    "context",
    [
        pytest.param(lambda trusted: served(trusted, "elsewhere.example"), id="another-name"),
        pytest.param(lambda _: served(trustme.CA(), "localhost"), id="another-authority"),
    ],
)
def test_a_server_that_is_not_the_store_gets_no_request_and_the_lecture_is_not_blamed(
    trusted: trustme.CA, context: Callable[[trustme.CA], ssl.SSLContext], lecture: Path, tmp_path: Path
) -> None:
    with media.http_store(context(trusted)) as store:
        worker = media.Worker(store, tmp_path, RULES)
        with pytest.raises(Retryable):
            worker.run(PLAN, media.upload_source(store, lecture))
        assert store.requests == []
