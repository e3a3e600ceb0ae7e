"""`video.chunk`: one ffmpeg makes everything of one stretch of the lecture while its segments are already uploaded.

    source --> reader --> ffmpeg --a pipe a rendition--> boxes -> cutter (checks, stamps, names) -> uploads -> R2

Nothing is written to disk. A chunk that is made again gives the same bytes under the same names.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field

from academy_core.child import Finished
from academy_core.errors import Retryable
from academy_core.tasks import TaskContext
from academy_core.video import ChunkInput, ChunkResult, Encoding, Rendition, Segment
from academy_video import boxes, cut, ffmpeg, ladder, process, reader
from academy_video.tools import CACHE_CONTROL, Tools

_PART_DONE = 99.0
"""Percent: the last one is the uploads'."""


def rendition_names(encoding: Encoding) -> list[str]:
    """The rungs, then the sound if there is any."""
    return [rung.name for rung in encoding.rungs] + ([encoding.audio.name] if encoding.audio is not None else [])


def margins(encoding: Encoding) -> tuple[float | None, ...]:
    """How far before the chunk to start reading, one try after the other; None is the source's start."""
    return (encoding.seek_margin_seconds, *ladder.WIDER_MARGINS_SECONDS, None)


def make(tools: Tools, context: TaskContext[ChunkInput]) -> ChunkResult:
    """Make and upload the chunk. Raises Cancelled, Retryable, or what the store raises."""
    chunk = context.input
    for margin in margins(chunk.encoding):
        try:
            renditions = _attempt(tools, context, margin)
        except cut.FrontMissing:
            continue
        frames = chunk.end_frame - chunk.first_frame
        context.progress(100, float(frames / ffmpeg.rate(chunk.encoding)))
        return ChunkResult(index=chunk.index, first_frame=chunk.first_frame, frames=frames, renditions=renditions)
    raise Retryable(f"chunk {chunk.index}: its first frames are not in the source")


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

    def close_write(self) -> None:
        """Close our writing ends, so that the child's end is the end of the stream."""
        while self.write:
            os.close(self.write.popitem()[1])

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


def _attempt(tools: Tools, context: TaskContext[ChunkInput], margin: float | None) -> tuple[Rendition, ...]:
    """One run of ffmpeg. Raises FrontMissing, Cancelled, Retryable, or what the store raises."""
    chunk = context.input
    names = rendition_names(chunk.encoding)
    readers = ThreadPoolExecutor(len(names) + 1, thread_name_prefix="pipe")
    uploaders = ThreadPoolExecutor(tools.uploads, thread_name_prefix="upload")
    with uploaders, readers, _pipes([*names, _PROGRESS]) as pipes, reader.serving(_view(tools, context)) as served:
        outputs = {name: pipes.write[name] for name in names}
        command = ffmpeg.chunk_command(
            tools.ffmpeg, chunk, served.url, outputs=outputs, progress=pipes.write[_PROGRESS], margin=margin
        )
        with (
            process.running(
                command,
                folder=tools.folder,
                wall_seconds=context.task.max_seconds,
                pass_fds=tuple(pipes.write.values()),
            ) as child,
            context.kill_on_cancel(child.kill),
        ):
            pipes.close_write()
            uploads = _Uploads(tools, context, uploaders)
            drains = [readers.submit(_drain, pipes.take(name), name, chunk, uploads) for name in names]
            readers.submit(_report, pipes.take(_PROGRESS), context)
            wait(drains, return_when=FIRST_EXCEPTION)
            if any(drain.done() and drain.exception() for drain in drains):
                child.kill()
            finished = child.wait()
            wait(drains)
    context.check()
    if served.failure is not None:
        raise served.failure
    return _renditions(chunk, drains, finished)


def _view(tools: Tools, context: TaskContext[ChunkInput]) -> reader.View:
    encoding = context.input.encoding
    return tools.view(encoding.source_key, encoding.source_bytes, context.output_prefix, encoding.intermediate)


def _renditions(chunk: ChunkInput, drains: "Sequence[Future[Rendition]]", finished: Finished) -> tuple[Rendition, ...]:
    """The renditions, or the error that tells most: the front missing, then an upload, then ffmpeg's own end."""
    errors = [error for drain in drains if (error := drain.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, (cut.CutError, boxes.BadBox))):
        if isinstance(error, cut.FrontMissing) or not isinstance(error, (cut.CutError, boxes.BadBox)):
            raise error
    if errors or finished.returncode != 0:
        how = "took too long" if finished.timed_out else f"ended with {finished.returncode}"
        what = f": {errors[0]}" if errors else ""
        raise Retryable(f"chunk {chunk.index}: ffmpeg {how}{what}\n{finished.errors}")
    return tuple(drain.result() for drain in drains)
