"""Sources for the video tests, a store that ffmpeg can read over HTTP, and readers of what was published.

The numbered lecture carries its frame numbers as black and white squares and flashes together with beeps, so that a
test can read back what every frame and sample of the output is.
"""

import array
import functools
import math
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import imageio_ffmpeg
import psutil
from support import words

from academy_api.lectures import playlists
from academy_core.kinds import Payload, TaskKind
from academy_core.ledger import ClaimedTask
from academy_core.store_fake import FakeStore
from academy_core.tasks import Handler, Outcome, TaskContext
from academy_core.video import (
    CHUNK,
    KINDS,
    PLAN,
    PUBLISH,
    ChunkInput,
    ChunkResult,
    NormaliseResult,
    PlanAnswer,
    PlanInput,
    PlanResult,
    PublishInput,
    PublishResult,
    Rendition,
    Rung,
)
from academy_video import boxes, ladder, plan, reader, tasks
from academy_video.tools import Tools

P = TypeVar("P", bound=Payload)

FFMPEG = shutil.which(os.environ.get("FFMPEG_BIN", "ffmpeg")) or "ffmpeg"
FFPROBE = shutil.which(os.environ.get("FFPROBE_BIN", "ffprobe")) or "ffprobe"
PREFIX = "media/hls/videos/lecture/publication/"
BITS = 16
WIDTH, HEIGHT = 320, 240
BAND = 80
RATE = 48_000


def ffmpeg(*words: str | Path, stdin: bytes = b"", level: str = "warning") -> bytes:
    """Run ffmpeg; its standard output. AssertionError with its messages when it fails or warns (from `level` up)."""
    command = (FFMPEG, "-hide_banner", "-nostdin", "-v", level, "-y", *words)
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout


def sample_lecture(path: Path, seconds: int, *, size: str = "1280x720", rate: int = 30) -> Path:
    """Slides that change, a clock that runs, a tone: what a recorded lecture looks like. H.264 and AAC."""
    sources = (
        f"color=c=0xf4f1e8:s={size}:r={rate}:d={seconds}",
        f"testsrc=s=160x120:r={rate}:d={seconds}",
        f"color=c=0x204060:s=200x60:r={rate}:d={seconds}",
        f"sine=frequency=440:sample_rate=48000:duration={seconds}",
    )
    graph = (
        "[0:v][1:v]overlay=W-w-20:20[clock];"
        "[clock][2:v]overlay=x=20:y='20+mod(floor(t/4)*70,H-80)'[slides];"
        "[slides]drawbox=x=20:y=ih-40:w=iw/2:h=20:color=0xc04020:t=fill[v]"
    )
    inputs = [word for source in sources for word in ("-f", "lavfi", "-i", source)]
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "150", "-c:a", "aac")
    ffmpeg(*inputs, "-filter_complex", graph, "-map", "[v]", "-map", "3:a", *coding, path, level="error")
    return path


@dataclass(frozen=True)
class Numbered:
    """A numbered lecture: `flashes` are frame numbers, each with a beep at its time."""

    path: Path
    fps: Fraction
    frames: int
    flashes: tuple[int, ...]


def numbered_lecture(
    path: Path, fps: Fraction, seconds: int, *, audio_rate: int = RATE, murmur: bool = True, words: Sequence[str] = ()
) -> Numbered:
    """Write a numbered lecture as H.264 and AAC; `words` are further output options.

    Without `murmur` there is silence between the beeps, which takes no time to make.
    """
    frames = math.floor(seconds * fps)
    flashes = tuple(int(part * frames) for part in (0.05, 0.52, 0.93))
    sound = path.with_suffix(".pcm")
    sound.write_bytes(_sound(frames / fps, [flash / fps for flash in flashes], murmur=murmur))
    picture = b"".join(_frame(number, flash=any(at <= number < at + 3 for at in flashes)) for number in range(frames))
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(fps), "-i", "pipe:0"),
        *("-f", "s16le", "-ar", str(RATE), "-ac", "1", "-i", str(sound), "-c:v", "libx264", "-preset", "ultrafast"),
        *("-bf", "2", "-g", "150", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "192k", "-ac", "2"),
        *("-ar", str(audio_rate), *words, str(path)),
        stdin=picture,
        level="error",
    )
    sound.unlink()
    return Numbered(path, fps, frames, flashes)


def _frame(number: int, *, flash: bool) -> bytes:
    """Squares for the number's bits above, a moving bar and the flash below."""
    side = WIDTH // BITS
    row = b"".join((b"\xeb" if number >> bit & 1 else b"\x10") * side for bit in range(BITS))
    shade = b"\xeb" if flash else b"\x30"
    bar = number * 2 % (WIDTH - 20)
    below = shade * bar + b"\x80" * 20 + shade * (WIDTH - 20 - bar)
    return row * BAND + below * (HEIGHT - BAND)


def _sound(seconds: Fraction, beeps: Sequence[Fraction], *, murmur: bool) -> bytes:
    """A murmur of changing tones with a little noise, and 60-ms beeps at the given times. 48 kHz, mono."""
    noise = random.Random(3)  # noqa: S311 - noise to hear, always the same
    count = int(seconds * RATE)
    samples = array.array("h", bytes(2 * count))
    for index in range(count if murmur else 0):
        time = index / RATE
        swell = 1 + math.sin(2 * math.pi * 3.1 * time)
        tones = math.sin(2 * math.pi * 180 * time) + 0.5 * math.sin(2 * math.pi * (700 + 200 * math.sin(time)) * time)
        samples[index] = int(900 * swell * tones + noise.uniform(-150, 150))
    for beep in beeps:
        start = int(beep * RATE)
        for index in range(start, min(start + int(0.06 * RATE), count)):
            samples[index] = int(24_000 * math.sin(2 * math.pi * 1000 * (index - start) / RATE))
    return samples.tobytes()


def odd_build(path: Path) -> str:
    """Another build of ffmpeg, made to write inits that are not the same as ours (with bit rates in them)."""
    real = imageio_ffmpeg.get_ffmpeg_exe()
    path.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "words = [after if before != '-write_btrt' else '1' for before, after in zip(sys.argv, sys.argv[1:])]\n"
        f"os.execv({real!r}, [{real!r}, *words])\n"
    )
    path.chmod(0o755)
    return str(path)


def changing(lecture: Path, path: Path, before: str, after: str, *coding: str) -> Path:
    """The lecture as a broadcast whose sound changes its channels at 5 s, as between a film and what comes next."""
    sound = b""
    # 239,616 samples are whole packets of every codec.
    for layout, part in ((before, "atrim=end_sample=239616"), (after, "atrim=start_sample=239616")):
        words = ("-vn", "-af", f"{part},aformat=channel_layouts={layout}", *coding, "pipe:1")
        sound += ffmpeg("-i", lecture, *words, level="error")
    ffmpeg("-i", lecture, "-i", "pipe:0", "-map", "0:v", "-map", "1:a", "-c", "copy", path, stdin=sound, level="error")
    return path


class WatchedStore(FakeStore):
    """A FakeStore that notes what is read of the sources, and can hold it back."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[str, int, int]] = []
        """(key, start, end) of every range that was read."""
        self.writes: list[str] = []
        """Key of every object that was written, again or for the first time."""
        self.multipart = 0
        """Uploads by parts that were begun."""
        self.open = threading.Event()
        """While it is not set, a range that is asked for does not come."""
        self.open.set()

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """See ObjectStore.get_range."""
        self.open.wait(60)
        data = super().get_range(key, start, end)
        self.reads.append((key, start, start + len(data)))
        return data

    def put(self, key: str, data: bytes, **words: Any) -> str:
        """See ObjectStore.put."""
        self.writes.append(key)
        return super().put(key, data, **words)

    def create_multipart(self, key: str, **words: Any) -> str:
        """See ObjectStore.create_multipart."""
        self.multipart += 1
        return super().create_multipart(key, **words)

    def bytes_read(self) -> int:
        """Sum of all ranges that were read so far."""
        return sum(end - start for _, start, end in self.reads)


def children() -> list[psutil.Process]:
    """Running children of the worker: those that read from loopback."""
    every = psutil.Process().children(recursive=True)
    return [child for child in every if any(word.startswith("http://127.0.0.1:") for word in words(child))]


def claimed(kind: TaskKind, task_input: Payload, results: Sequence[Payload] | None = None) -> ClaimedTask:
    """A claimed task, as the worker loop has it."""
    now = datetime.now(UTC)
    return ClaimedTask(
        task=1,
        attempt=1,
        generation=1,
        job=UUID(int=1),
        academy=UUID(int=2),
        request_id="request-1",
        kind=kind.name,
        version=kind.version,
        input=task_input.model_dump(mode="json"),
        results=None if results is None else tuple(result.model_dump(mode="json") for result in results),
        output_prefix=PREFIX,
        ready_at=now,
        claimed_at=now,
        max_seconds=kind.max_seconds,
    )


def context(kind: TaskKind, task_input: P, results: Sequence[Payload] | None = None) -> TaskContext[P]:
    """What a handler is called with."""
    return TaskContext(claimed(kind, task_input, results), task_input)


def upload_source(store: FakeStore, path: Path) -> PlanInput:
    """Put a source in the store; the job's input for it."""
    key = f"sources/{path.name}"
    etag = store.put(key, path.read_bytes(), content_type="video/mp4")
    return PlanInput(source_key=key, source_bytes=path.stat().st_size, source_etag=etag)


@dataclass(frozen=True)
class Worker:
    """The handlers of a video worker over a store, callable one task at a time."""

    store: FakeStore
    folder: Path
    rules: plan.Rules = field(default_factory=lambda: plan.Rules(segment_seconds=2, min_segments=3))
    ffmpeg: str = FFMPEG

    @property
    def tools(self) -> Tools:
        """What the handlers work with."""
        return Tools(self.store, self.blocks, self.looked, self.ffmpeg, FFPROBE, str(self.folder), uploads=4)

    @functools.cached_property
    def blocks(self) -> reader.Blocks:
        """The process's cache of what was read."""
        return reader.Blocks(self.store, self.looked)

    @functools.cached_property
    def looked(self) -> reader.Blocks:
        """The same of what plans read."""
        return reader.looked(self.store)

    def run(self, kind: TaskKind, task_input: Payload, results: Sequence[Payload] | None = None) -> Outcome:
        """Run one task as the worker loop would."""
        return self.handler(kind).run(context(kind, task_input, results))

    def handler(self, kind: TaskKind) -> Handler:
        """The handler of a kind."""
        every = tasks.handlers(self.tools, self.rules, poster_at_seconds=5)
        return next(handler for handler in every if handler.kind is kind)


@dataclass(frozen=True)
class Published:
    """A whole lecture, as the worker made it."""

    store: FakeStore
    plan: PlanResult
    chunks: tuple[ChunkResult, ...]
    result: PublishResult

    def parts(self, name: str) -> list[Rendition]:
        """This rendition's part in each chunk."""
        return [part for made in self.chunks for part in made.renditions if part.name == name]

    def joined(self, name: str) -> bytes:
        """Init and all segments of a rendition, one after the other."""
        parts = self.parts(name)
        names = [parts[0].init, *(segment.name for part in parts for segment in part.segments)]
        return b"".join(self.store.get(PREFIX + each) for each in names)

    def write_files(self, folder: Path) -> Path:
        """Everything with its playlists below a folder; the master's path."""
        for info in self.store.list(PREFIX):
            path = folder / info.key.removeprefix(PREFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.store.get(info.key))
        for name, text in playlists.media_playlists(self.plan, self.chunks, ended=True).items():
            (folder / name).write_text(text)
        master = folder / playlists.MASTER
        master.write_text(playlists.measured_master(self.plan, self.chunks, self.result))
        return master


def as_model(model: type[P], payload: Payload) -> P:
    """A result, over the wire and back, as the model it is."""
    return model.model_validate_json(payload.model_dump_json())


def planned(outcome: Outcome) -> PlanResult | None:
    """The plan, if the task was `video.plan` and made one."""
    return outcome.result.plan if isinstance(outcome.result, PlanAnswer) else None


def publish(worker: Worker, source: PlanInput, ways: list[str] | None = None) -> Published:
    """Plan, chunks and publish, in order; a source that needs it is normalised first.

    `ways` gets what each stretch of that did: `copy` or `encode`.
    """
    outcome = worker.run(PLAN, source)
    while (made := planned(outcome)) is None:
        (child,) = outcome.children
        kind = next(kind for kind in KINDS if kind.name == child.kind)
        outcome = worker.run(kind, kind.input.model_validate(child.input))
        if ways is not None and isinstance(outcome.result, NormaliseResult):
            index = worker.tools.index(PREFIX, outcome.result.index)
            ways.append("encode" if index.encoded else "copy")
    return finish(worker, outcome, made)


def finish(worker: Worker, outcome: Outcome, made: PlanResult) -> Published:
    """Chunks and publish, after the plan."""
    chunks = tuple(
        as_model(ChunkResult, worker.run(CHUNK, ChunkInput.model_validate(child.input)).result)
        for child in outcome.children
    )
    assert outcome.then is not None
    final = worker.run(PUBLISH, PublishInput.model_validate(outcome.then.input), chunks)
    return Published(worker.store, made, chunks, as_model(PublishResult, final.result))


@dataclass(frozen=True)
class Track:
    """What the boxes of a joined rendition say, in file order."""

    fragments: list[boxes.Fragment]

    @property
    def presentation_times(self) -> list[int]:
        """Presentation time of every sample, sorted, in ticks."""
        times: list[int] = []
        for fragment in self.fragments:
            at = fragment.decode_time
            for sample in fragment.samples:
                times.append(at + sample.cts)
                at += sample.duration
        return sorted(times)


class Reader:
    """Bytes as `read_boxes` wants them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """At most `count` further bytes."""
        part = self._data[self._at : self._at + count]
        self._at += len(part)
        return part


def track(data: bytes) -> Track:
    """Read a joined rendition's boxes."""
    return Track([boxes.parse_moof(box.data) for box in boxes.read_boxes(Reader(data)) if box.kind == b"moof"])


def read_frames(data: bytes, width: int, height: int) -> tuple[list[int], list[int]]:
    """(number of every frame, numbers of the frames that flash) by decoding a rendition's picture."""
    raw = ffmpeg("-i", "pipe:0", "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1", stdin=data)
    size = width * height
    band_row = height * BAND // HEIGHT // 2
    flash_row = height * (BAND + HEIGHT) // 2 // HEIGHT
    numbers: list[int] = []
    flashing: list[int] = []
    for start in range(0, len(raw), size):
        picks = [raw[start + band_row * width + (2 * bit + 1) * width // (2 * BITS)] for bit in range(BITS)]
        assert all(not 64 < pick < 192 for pick in picks), f"frame {len(numbers)} cannot be read: {picks}"
        numbers.append(sum(1 << bit for bit, pick in enumerate(picks) if pick > 128))
        line = raw[start + flash_row * width : start + (flash_row + 1) * width]
        if sum(line) / width > 160:
            flashing.append(numbers[-1])
    return numbers, flashing


def read_sound(source: bytes | Path) -> "array.array[int]":
    """The first channel's samples at 48 kHz, decoded."""
    name, stdin = ("pipe:0", source) if isinstance(source, bytes) else (str(source), b"")
    words = ("-map", "0:a", "-ac", "2", "-ar", str(RATE), "-f", "s16le", "pipe:1")
    samples = array.array("h")
    samples.frombytes(ffmpeg("-i", name, *words, stdin=stdin))
    return samples[::2]


def rung(step: ladder.Step) -> Rung:
    """A 16:9 rung of this step."""
    return Rung(
        name=f"{step.short_side}p",
        width=2 * round(step.short_side * 8 / 9),
        height=step.short_side,
        crf=step.crf,
        max_rate=step.max_rate,
        buffer_size=step.buffer_size,
    )
