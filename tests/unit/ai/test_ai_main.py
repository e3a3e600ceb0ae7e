"""The AI workers' composition root."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from academy_ai import main
from academy_ai.kind import discover
from academy_core.errors import SettingsFault
from academy_core.kinds import Queue

ENVIRONMENT = {
    "API_BASE_URL": "http://127.0.0.1:1",
    "INTERNAL_WORKER_TOKEN": "ai-worker-token-of-at-least-32-characters",
    "R2_ENDPOINT": "http://127.0.0.1:1",
    "R2_ACCESS_KEY": "test",
    "R2_SECRET_KEY": "test-secret",
    "AI_WORKER_ID_CPU": "ai-cpu-0",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_cpu_worker_serves_basic_and_lite_by_their_weights(environment: pytest.MonkeyPatch) -> None:
    assert main.cpu().weights == {Queue.AI_BASIC: 3, Queue.AI_LITE: 1}
    environment.setenv("AI_WORKER_LITE_POLL_WEIGHT", "2")
    profile = main.cpu()
    assert (profile.worker_id, profile.weights[Queue.AI_LITE]) == ("ai-cpu-0", 2)
    assert profile.life.address_space == 2 * profile.life.memory_bytes


def test_every_kind_has_exactly_one_worker() -> None:
    queues = {kind.task.queue for kind in discover().values()}
    assert queues <= {Queue.AI_BASIC, Queue.AI_LITE, Queue.AI_PREMIUM}


def test_a_folder_that_cannot_be_made_stops_it_at_start(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    environment.setenv("AI_WORKER_TEMP_DIR", str(tmp_path / "file" / "folder"))
    with pytest.raises(SettingsFault, match="AI_WORKER_TEMP_DIR"):
        main.run(main.cpu(), [])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["cpu"], "INTERNAL_WORKER_TOKEN"), (["premium"], "INTERNAL_WORKER_TOKEN"), ([], "usage"), (["gpu"], "usage")],
)
def test_what_is_wrong_is_said_in_one_line(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "academy_ai.main", *arguments]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
