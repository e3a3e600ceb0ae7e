"""lecture.slides at work: ffmpeg gives small grey frames, `changes` finds slides, ffmpeg takes a picture of each."""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from academy_ai import recordings
from academy_ai.kind import KindInput, Report
from academy_ai.kinds.lecture_slides.changes import HEIGHT, RATE, WIDTH, Frame, changes
from academy_ai.kinds.lecture_slides.spec import Chapter, LectureSlidesInput, LectureSlidesResult
from academy_core.errors import Permanent, Reason

THUMBNAIL_WIDTH = 320
SETTLED = 2.0
"""Seconds into a slide at which its picture is taken: a fade is over by then."""
SECONDS_A_PICTURE = 60

UNREADABLE = Reason(
    "video-unreadable",
    "동영상을 읽을 수 없습니다. 파일이 재생되는지 확인하고 다시 올려 주세요.",
    "The video cannot be read. Check that it plays and upload it again.",
)


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> LectureSlidesResult:
    """Find the slides of one lecture. Raises Permanent when the video cannot be read."""
    assert isinstance(task, LectureSlidesInput)  # noqa: S101 - the caller picks run by the input's kind
    video = files[task.video]
    seen = _Counted(frames(video))
    starts = [0.0, *changes(seen)]
    if not seen.count:
        raise Permanent("no frames", reason=UNREADABLE)
    report(0.8)
    ends = [*starts[1:], seen.count / RATE]
    chapters = tuple(
        Chapter(start=start, end=end, thumbnail=f"slide-{number:03}.jpg")
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
    )
    for chapter in chapters:
        thumbnail(video, min(chapter.start + SETTLED, (chapter.start + chapter.end) / 2), out / chapter.thumbnail)
    (out / "chapters.vtt").write_text(track(chapters), "utf-8")
    report(1.0)
    return LectureSlidesResult(chapters=chapters)


class _Counted:
    """Frames, counted as they pass."""

    def __init__(self, source: Iterator[Frame]) -> None:
        self._source = source
        self.count = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            self.count += 1
            yield frame


def _ffmpeg() -> list[str]:
    """Ffmpeg on recordings; slides are told apart without the loop filter."""
    return [*recordings.ffmpeg(), "-format_whitelist", recordings.VIDEO, "-skip_loop_filter", "all"]


def frames(video: Path) -> Iterator[Frame]:
    """RATE small grey frames a second. Raises Permanent when ffmpeg finds no video."""
    look = f"fps={RATE},scale={WIDTH}:{HEIGHT}:flags=area,format=gray"
    command = [*_ffmpeg(), "-i", f"file:{video}", "-map", "0:v:0", "-vf", look, "-f", "rawvideo", "pipe:1"]
    size = WIDTH * HEIGHT
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={}) as child:  # noqa: S603 - a fixed program on a path we made
        assert child.stdout is not None  # noqa: S101 - asked for above
        try:
            while len(data := child.stdout.read(size)) == size:
                yield np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH)
        finally:
            child.kill()


def thumbnail(video: Path, second: float, target: Path) -> None:
    """One picture of the video. Raises Permanent when there is none at that time."""
    command = [*_ffmpeg(), "-ss", f"{second:.3f}", "-i", f"file:{video}", "-frames:v", "1"]
    command += ["-vf", f"scale={THUMBNAIL_WIDTH}:-2", "-q:v", "4", "-y", f"file:{target}"]
    done = subprocess.run(command, check=False, env={}, timeout=SECONDS_A_PICTURE)  # noqa: S603 - as above
    if done.returncode or not target.is_file():
        raise Permanent(f"no picture at {second:.1f} s", reason=UNREADABLE)


def track(chapters: tuple[Chapter, ...]) -> str:
    """The chapters as WebVTT."""
    cues = [
        f"{number}\n{_clock(chapter.start)} --> {_clock(chapter.end)}\nSlide {number}\n"
        for number, chapter in enumerate(chapters, start=1)
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"
