"""The beginning of every command by which a kind reads a recording."""

import pytest

from academy_ai import recordings
from academy_core.errors import SettingsFault


def test_a_worker_without_ffmpeg_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(SettingsFault, match="ffmpeg"):
        recordings.ffmpeg()
