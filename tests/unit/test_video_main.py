"""The video worker's composition root."""

import subprocess
import sys
from pathlib import Path

import pytest

from academy_core.errors import SettingsFault
from academy_core.settings import VideoWorkerSettings, load
from academy_video import main

ENVIRONMENT = {
    "API_BASE_URL": "http://127.0.0.1:1",
    "INTERNAL_WORKER_TOKEN": "video-worker-token-of-32-characters",
    "R2_ENDPOINT": "http://127.0.0.1:1",
    "R2_ACCESS_KEY": "test",
    "R2_SECRET_KEY": "test-secret",
    "VIDEO_WORKER_ID": "video-0",
    "FFMPEG_BIN": sys.executable,
    "FFPROBE_BIN": sys.executable,
}


def build(monkeypatch: pytest.MonkeyPatch, **changes: str) -> list[str]:
    for name, value in (ENVIRONMENT | changes).items():
        monkeypatch.setenv(name, value)
    return [handler.kind.name for handler in main.build(load(VideoWorkerSettings))]


def test_it_runs_every_kind_of_the_pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "by-the-worker"
    names = build(monkeypatch, VIDEO_WORKER_TEMP_DIR=str(folder))
    assert names == ["video.plan", "video.normalise", "video.chunk", "video.publish"]
    assert folder.is_dir()


def test_a_missing_program_stops_it_at_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(SettingsFault, match="FFPROBE_BIN"):
        build(monkeypatch, VIDEO_WORKER_TEMP_DIR=str(tmp_path), FFPROBE_BIN="no-such-program")


def test_bad_settings_end_the_process_with_one_message() -> None:
    command = (sys.executable, "-m", "academy_video.main")
    done = subprocess.run(command, env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "INTERNAL_WORKER_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr
