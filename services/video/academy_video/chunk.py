r"""`video.chunk`: one ffmpeg makes everything of one stretch of the lecture while its segments are already uploaded.

    source --> reader --> ffmpeg --a pipe a rendition--> boxes -> cutter (checks, stamps, names) -> uploads -> R2
                             \--decoded sound--> ffmpeg --pipe--> the same

Nothing is written to disk. A chunk that is made again gives the same bytes under the same names. The sound has an
ffmpeg of its own behind the first: where the channels change, the first builds its filters for the sound anew.
"""

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field

from academy_core.child import Child
from academy_core.errors import Permanent, Retryable
from academy_core.tasks import TaskContext
from academy_core.video import ChunkInput, ChunkResult, Encoding, Quality, Rendition, Segment, Tiles
from academy_video import boxes, cut, ffmpeg, ladder, plan, process, reader
from academy_video.tools import CACHE_CONTROL, Tools

_SSIM = re.compile(r"^n:\d+ Y:([0-9.]+) ", re.MULTILINE)
_SAMPLE_SECONDS = 120
"""Wall clock limit of one comparison."""
_SAMPLE_TRIES = 2
"""Of it: a child that is killed leaves no gap in the report."""
_END_SECONDS = 1
"""How long an ffmpeg whose output broke off may take to end: one that is killed from outside is tried again."""
_PART_DONE = 99.0
"""Percent: the last one is the uploads'."""


def rendition_names(encoding: Encoding) -> list[str]:
    """The rungs, then the sound if there is any."""
    return [rung.name for rung in encoding.rungs] + ([encoding.audio.name] if encoding.audio is not None else [])


def readings(chunk: ChunkInput) -> Iterator[ffmpeg.Reading]:
    """How to read the source, one try after the other: further back, then with a picture for what it does not hold.

    The first chunk is never black: a source of which no picture can be decoded is damaged.
    """
    margin = chunk.encoding.seek_margin_seconds
    for each in (margin, *ladder.WIDER_MARGINS_SECONDS):
        yield ffmpeg.Reading(each)
    yield ffmpeg.Reading(ladder.STAND_MARGIN_SECONDS, "stand")
    if chunk.first_frame > 0:
        yield ffmpeg.Reading(margin, "black")


def make(tools: Tools, context: TaskContext[ChunkInput]) -> ChunkResult:
    """Make and upload the chunk. Raises Cancelled, Retryable, Permanent, or what the store raises."""
    chunk = context.input
    gone = False
    for reading in readings(chunk):
        if gone and not reading.missing:
            continue  # what is missing does not lie further back
        try:
            renditions, tiles = _attempt(tools, context, reading)
        except (cut.CutError, boxes.BadBox) as error:
            failure, gone = error, not isinstance(error, cut.FrontMissing)
            continue
        frames = chunk.end_frame - chunk.first_frame
        context.progress(100, float(frames / ffmpeg.rate(chunk.encoding)))
        return ChunkResult(
            index=chunk.index,
            first_frame=chunk.first_frame,
            frames=frames,
            renditions=renditions,
            tiles=tiles,
            qualities=tuple(_qualities(tools, context, renditions[0])),
            patched=bool(reading.missing),
        )
    raise Permanent(f"chunk {chunk.index}: {failure}", reason=plan.DAMAGED)


class _Uploads:
    """A bounded number of uploads at once, and a bounded number waiting; a full queue holds the encoder back."""

    def __init__(self, tools: Tools, context: TaskContext[ChunkInput], pool: ThreadPoolExecutor) -> None:
        self._store = tools.store
        self._context = context
        self._pool = pool
        self._room = threading.BoundedSemaphore(2 * tools.uploads)
        self._failure: BaseException | None = None

    def submit(self, file: cut.File) -> "Future[None]":
        """Upload a file, waiting for room. Raises Cancelled, or the first upload's failure."""
        self._context.check()
        if self._failure is not None:
            raise self._failure
        self._room.acquire()
        return self._pool.submit(self._put, file)

    def _put(self, file: cut.File) -> None:
        try:
            self._context.check()
            key = self._context.output_prefix + file.name
            self._store.put(key, file.data, content_type=file.content_type, cache_control=CACHE_CONTROL)
        except BaseException as error:
            self._failure = self._failure or error
            raise
        finally:
            self._room.release()


@dataclass(slots=True)
class _Made:
    """What has come of one rendition so far."""

    init: str = ""
    segments: list[Segment] = field(default_factory=list)
    uploads: "list[Future[None]]" = field(default_factory=list)


def _drain(pipe: int, name: str, chunk: ChunkInput, uploads: _Uploads) -> Rendition:
    """Read one rendition to its end and see all of it uploaded."""
    cutter, made = cut.cutter(name, chunk), _Made()

    def keep(files: Iterator[cut.File]) -> None:
        for file in files:
            made.uploads.append(uploads.submit(file))
            if file.segment is None:
                made.init = file.name
            else:
                made.segments.append(file.segment)

    with os.fdopen(pipe, "rb") as stream:
        for box in boxes.read_boxes(stream.read):
            keep(cutter.feed(box))
    cutter.finish()
    for upload in made.uploads:
        upload.result()
    return Rendition(
        name=name,
        init=made.init,
        timescale=cutter.timescale,
        codec=cutter.codec,
        segments=tuple(made.segments),
    )


def _report(pipe: int, context: TaskContext[ChunkInput]) -> None:
    """Pass on how far ffmpeg is; it says so every second."""
    chunk = context.input
    frames = chunk.end_frame - chunk.first_frame
    with os.fdopen(pipe, "r", encoding="ascii", errors="replace") as stream:
        for line in stream:
            name, _, value = line.strip().partition("=")
            if name == "frame" and value.isdecimal():
                percent = _PART_DONE * min(int(value), frames) / frames
                context.progress(percent, cut.seconds_done(chunk, int(value)))


class _Pipes:
    """A pipe a rendition, and one for the progress. What is not handed over is closed."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._read: dict[str, int] = {}
        self.write: dict[str, int] = {}
        for name in names:
            self._read[name], self.write[name] = os.pipe()

    def take(self, name: str) -> int:
        """The reading end, which the caller closes from here on."""
        return self._read.pop(name)

    def close_write(self, *, but: str = "") -> None:
        """Close our writing ends (`but` one), so that the child's end is the end of the stream."""
        for name in [name for name in self.write if name != but]:
            os.close(self.write.pop(name))

    def close(self) -> None:
        """Close all that is still ours."""
        self.close_write()
        while self._read:
            os.close(self._read.popitem()[1])


_PROGRESS = "#progress"


@contextmanager
def _pipes(names: Sequence[str]) -> Iterator[_Pipes]:
    pipes = _Pipes(names)
    try:
        yield pipes
    finally:
        pipes.close()


def _attempt(
    tools: Tools, context: TaskContext[ChunkInput], reading: ffmpeg.Reading
) -> tuple[tuple[Rendition, ...], Tiles | None]:
    """One run of ffmpeg. Raises CutError, BadBox, Cancelled, Retryable, or what the store raises."""
    chunk = context.input
    names = rendition_names(chunk.encoding)
    extra = [ffmpeg.TILES, ffmpeg.LIGHTS] if ffmpeg.tile_frames(chunk) else []
    readers = ThreadPoolExecutor(len(names) + len(extra) + 1, thread_name_prefix="pipe")
    uploaders = ThreadPoolExecutor(tools.uploads, thread_name_prefix="upload")
    every = [*names, *extra, ffmpeg.SOUND, _PROGRESS]
    with uploaders, readers, _pipes(every) as pipes, reader.serving(_view(tools, context)) as served:
        command = ffmpeg.chunk_command(
            tools.ffmpeg, chunk, served.url, outputs=pipes.write, progress=pipes.write[_PROGRESS], reading=reading
        )
        with ExitStack() as children:
            passed = [pipe for name, pipe in pipes.write.items() if not _is_sound(chunk, name)]
            child = children.enter_context(_running(tools, context, command, passed))
            sound = _sound(tools, context, pipes, children)
            pipes.close_write(but=ffmpeg.SOUND)
            uploads = _Uploads(tools, context, uploaders)
            drains = [readers.submit(_drain, pipes.take(name), name, chunk, uploads) for name in names]
            images = [readers.submit(_collect, pipes.take(name)) for name in extra]
            readers.submit(_report, pipes.take(_PROGRESS), context)
            pictures = drains[: len(chunk.encoding.rungs)]
            wait(pictures, return_when=FIRST_EXCEPTION)
            failed = any(drain.done() and drain.exception() for drain in pictures)
            stopped = failed and not child.ends_within(_END_SECONDS) and child.kill()
            ends = [(child.wait(), stopped)]
            if sound is not None:
                # Whether its input ends or breaks off it cannot tell: it would fill with silence what did not come.
                stopped = (failed or ends[0][0].returncode < 0) and sound.kill()
                pipes.close_write()
                ends.append((sound.wait(), stopped))
            wait(drains)
    context.check()
    if served.failure is not None:
        raise served.failure
    for finished, stopped in ends:
        if not stopped:
            process.check(finished)
    renditions = _renditions(drains)
    return renditions, _tiles(tools, context, *(image.result() for image in images)) if images else None


def _running(
    tools: Tools,
    context: TaskContext[ChunkInput],
    command: Sequence[str],
    pipes: Sequence[int],
    stdin: int = subprocess.DEVNULL,
) -> AbstractContextManager[Child]:
    """A child that ends with the task's time, or when it is cancelled."""
    limit = context.task.max_seconds
    return process.running(context, command, folder=tools.folder, wall_seconds=limit, pass_fds=pipes, stdin=stdin)


def _is_sound(chunk: ChunkInput, name: str) -> bool:
    """Whether this rendition is the second child's."""
    return chunk.encoding.audio is not None and name == chunk.encoding.audio.name


def _sound(tools: Tools, context: TaskContext[ChunkInput], pipes: _Pipes, children: ExitStack) -> Child | None:
    """The child that makes the sound's rendition of what the first one decodes, if there is any sound."""
    audio = context.input.encoding.audio
    if audio is None:
        return None
    pipe = pipes.write[audio.name]
    command = ffmpeg.sound_command(tools.ffmpeg, context.input, audio, pipe)
    with os.fdopen(pipes.take(ffmpeg.SOUND), "rb") as decoded:
        return children.enter_context(_running(tools, context, command, [pipe], decoded.fileno()))


def _collect(pipe: int) -> bytes:
    """All of a short output."""
    with os.fdopen(pipe, "rb") as stream:
        return stream.read()


def _tiles(tools: Tools, context: TaskContext[ChunkInput], image: bytes, grey: bytes) -> Tiles | None:
    """Upload the image of small pictures; None when the source gave none."""
    chunk, size = context.input, ffmpeg.LIGHT_SIZE[0] * ffmpeg.LIGHT_SIZE[1]
    lights = tuple(light(grey[at : at + size]) for at in range(0, len(grey), size))
    if not image or not lights:
        return None
    width, height = ffmpeg.tile_size(chunk.encoding)
    name = cut.name_of("tiles", f"{chunk.first_frame // chunk.encoding.gop:06d}", image, "jpg")
    tools.store.put(context.output_prefix + name, image, content_type="image/jpeg", cache_control=CACHE_CONTROL)
    frames = ffmpeg.tile_frames(chunk)[: len(lights)]
    return Tiles(name=name, frames=frames, lights=lights, width=width, height=height)


def light(grey: bytes) -> int:
    """How bright the brightest twentieth of a grey picture is, 0 to 255."""
    return sorted(grey)[len(grey) * 19 // 20]


def _qualities(tools: Tools, context: TaskContext[ChunkInput], best: Rendition) -> Iterator[Quality]:
    """How close the chunk's samples came to the source. A sample that cannot be compared is left out."""
    chunk, encoding = context.input, context.input.encoding
    for first in encoding.samples:
        if not chunk.first_frame <= first < chunk.end_frame:
            continue
        number = first // encoding.gop
        length = round(ladder.QUALITY_SAMPLE_SECONDS * ffmpeg.rate(encoding))
        end = min(first + length, (number + 1) * encoding.gop, chunk.end_frame)
        sample = chunk.model_copy(update={"first_frame": first, "end_frame": end})
        segment = best.segments[number - chunk.first_frame // encoding.gop]
        media = b"".join(tools.store.get(context.output_prefix + name) for name in (best.init, segment.name))
        printed = _compared(tools, context, sample, first - number * encoding.gop, media)
        found = [float(value) for value in _SSIM.findall(printed)]
        if found:
            mean = round(sum(found) / len(found), 5)
            yield Quality(first_frame=first, frames=len(found), rung=best.name, ssim=mean, least=min(found))


def _compared(tools: Tools, context: TaskContext[ChunkInput], sample: ChunkInput, offset: int, media: bytes) -> str:
    """What a comparison prints: nothing where it breaks off each time, since a report is not worth another chunk."""
    for _ in range(_SAMPLE_TRIES):
        with reader.serving(_view(tools, context)) as served:
            command = ffmpeg.quality_command(tools.ffmpeg, sample, served.url, offset)
            try:
                output = process.run(context, command, folder=tools.folder, wall_seconds=_SAMPLE_SECONDS, stdin=media)
            except Retryable:
                continue
        if served.failure is None:
            return output.stdout.decode(errors="replace")
    return ""


def _view(tools: Tools, context: TaskContext[ChunkInput]) -> reader.View:
    encoding = context.input.encoding
    return tools.view(encoding.source_key, encoding.source_bytes, context.output_prefix, encoding.intermediate)


def _renditions(drains: "Sequence[Future[Rendition]]") -> tuple[Rendition, ...]:
    """The renditions, or the error that tells most: an upload's, then what is wrong with the media.

    ffmpeg's exit code says nothing more: above 0 the source is damaged, and whether enough came of it the cutters know.
    """
    errors = [error for drain in drains if (error := drain.exception())]
    for error in sorted(errors, key=_tells_less):
        raise error
    return tuple(drain.result() for drain in drains)


def _tells_less(error: BaseException) -> tuple[bool, bool]:
    """For sorting: what is missing at the front of one rung is missing of all, also of those that were ended for it."""
    return isinstance(error, (cut.CutError, boxes.BadBox)), not isinstance(error, cut.FrontMissing)
