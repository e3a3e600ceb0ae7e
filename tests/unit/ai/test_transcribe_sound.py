"""What may be decoded as sound: recordings, never a file that names another."""

from pathlib import Path

import pytest
import speech_made

from academy_ai.kinds.lecture_transcribe import sound
from academy_core.errors import Permanent


def test_a_recording_is_decoded(tmp_path: Path) -> None:
    source = speech_made.write(tmp_path / "a.wav", speech_made.noise(1))
    assert len(sound.decode(source, tmp_path / "samples")) == speech_made.RATE


@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile other.wav\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.wav\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/other.wav\n#EXT-X-ENDLIST\n",
        "no sound",
        "",
    ],
    ids=["script", "playlist", "playlist on the web", "text", "nothing"],
)
def test_what_is_no_recording_is_refused_and_opens_no_other_file(content: str, tmp_path: Path) -> None:
    speech_made.write(tmp_path / "other.wav", speech_made.noise(1))
    (tmp_path / "a.wav").write_text(content)
    with pytest.raises(Permanent) as refused:
        sound.decode(tmp_path / "a.wav", tmp_path / "samples")
    assert refused.value.reason is sound.NO_SOUND
