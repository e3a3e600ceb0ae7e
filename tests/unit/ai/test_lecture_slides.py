"""lecture.slides on made lectures: every change found, none invented."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import lecture_made
import numpy as np
import pytest

from academy_ai.kinds.lecture_slides.changes import HEIGHT, RATE, WIDTH, Frame, changes
from academy_ai.kinds.lecture_slides.run import frames, run, track
from academy_ai.kinds.lecture_slides.spec import Chapter, LectureSlidesInput
from academy_core.errors import Permanent

TOLERANCE = 1.5


def small(made: lecture_made.Lecture) -> Iterator[Frame]:
    for number, frame in enumerate(made.frames()):
        if number % (lecture_made.FPS // RATE) == 0:
            look = cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            yield np.asarray(look, np.uint8)


@pytest.mark.parametrize("seed", [2, 3])
def test_every_change_is_found_and_none_invented(seed: int) -> None:
    made = lecture_made.lecture(seed)
    found = list(changes(small(made)))
    assert len(made.starts) == 23
    assert len(found) == 23
    assert max(abs(one - true) for one, true in zip(found, made.starts, strict=True)) <= TOLERANCE


def test_pen_and_pointer_on_one_slide_are_no_change() -> None:
    assert list(changes(small(lecture_made.lecture(7, slides=1, shortest=120, longest=120)))) == []


def test_a_film_of_slides_becomes_chapters_and_thumbnails(tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    made = lecture_made.lecture(5, slides=4, shortest=6, longest=8)
    lecture_made.film(made, tmp_path / "a.mp4")
    out = tmp_path / "out"
    out.mkdir()
    result = run(LectureSlidesInput(video="a.mp4"), {"a.mp4": tmp_path / "a.mp4"}, out, lambda _: None)
    starts = [chapter.start for chapter in result.chapters]
    assert starts[0] == 0
    assert np.allclose(starts[1:], made.starts, atol=TOLERANCE)
    assert sorted(result.keys()) == sorted(path.name for path in out.iterdir())
    assert all((out / chapter.thumbnail).stat().st_size > 1000 for chapter in result.chapters)


@pytest.mark.parametrize("what", ["text", "nothing", "half", "script", "playlist", "playlist on the web"])
def test_what_is_no_video_is_refused_and_opens_no_other_file(what: str, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    other = tmp_path / "other.mp4"
    lecture_made.film(lecture_made.lecture(5, slides=2, shortest=3, longest=4), other)
    whole = other.read_bytes()
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}other.mp4\n#EXT-X-ENDLIST\n"
    (tmp_path / "a.mp4").write_bytes({
        "text": b"no video",
        "nothing": b"",
        "half": whole[: len(whole) // 2],
        "script": b"ffconcat version 1.0\nfile other.mp4\n",
        "playlist": playlist.format("").encode(),
        "playlist on the web": playlist.format("http://127.0.0.1:9/").encode(),
    }[what])  # fmt: skip
    assert list(frames(tmp_path / "a.mp4")) == []
    with pytest.raises(Permanent) as refused:
        run(LectureSlidesInput(video="a.mp4"), {"a.mp4": tmp_path / "a.mp4"}, tmp_path, lambda _: None)
    assert refused.value.reason.code == "video-unreadable"


def test_track_is_webvtt() -> None:
    text = track((Chapter(start=0, end=3661.5, thumbnail="a.jpg"), Chapter(start=3661.5, end=3700, thumbnail="b.jpg")))
    assert text == (
        "WEBVTT\n\n1\n00:00:00.000 --> 01:01:01.500\nSlide 1\n\n2\n01:01:01.500 --> 01:01:40.000\nSlide 2\n"
    )
