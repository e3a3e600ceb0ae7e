"""`video.normalise`: a source that cannot be read in pieces becomes one that can, in one streamed pass.

    source -> ffmpeg (copies; encodes where key frames are too sparse) --Matroska--> blocks -> clusters -> pieces -> R2
    stream -> ffmpeg (copies) --Matroska--> blocks -> ffmpeg (encodes) --Matroska--> the same

A run works for `ladder.NORMALISE_SECONDS`, longer where it took long to come to its first picture, stops at a key frame
and saves what it made with the place where the next goes on. A copy is read as a stream and goes on from a byte of the
source; an encode seeks by time. Where the first run of a copy comes to a stretch without a key frame that is too long,
it begins anew and encodes what the copy gives: of that, the place is the source's key frame before the stop.
"""

import base64
import contextlib
import math
import os
import re
import subprocess
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from itertools import chain
from typing import IO, Self

from academy_core.child import Child
from academy_core.errors import Permanent, Retryable
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome, TaskContext
from academy_core.video import NORMALISE, PLAN, NormaliseInput, NormaliseResult
from academy_video import cut, ebml, ffmpeg, ladder, loudness, plan, process, reader
from academy_video.intermediate import FOLDER, Clusters, File, Index, Memory, Place, Shifts, front_of, tracks_of
from academy_video.tools import CACHE_CONTROL, Tools

_PIECE_BYTES = 32 * 1024 * 1024
_HEAD_BYTES = 1024 * 1024
"""Read again when a copy goes on: the headers, with which any place of the rest can be read."""
_SLACKS = (64 * 1024 * 1024, None)
"""How far before a place a copy reads again, one try after the other; None is from the start, which always meets it.

A place is known to be the only one of its kind in what its own run read, which began at least as far before it.
"""
_PAST = 64 * 1024 * 1024
"""How far behind a place it is given up."""
_GRACE_SECONDS = 30.0
"""How much longer a copy looks for a place that is not like another; a still picture may have none for hours."""
_WORTH = 1
"""How many times as long as it took to come to its first picture a stretch works at least."""
_SPARE_SECONDS = 120
"""Of a task's limit, for what comes after the deadline: the next key frame, uploads, another try."""
_ROUNDING_MS = 1
"""Two runs that count from different packets round the same one's time to neighbouring milliseconds."""
_MOOF = re.compile(rb"....moof\x00\x00\x00\x10mfhd", re.DOTALL)
_MOOF_BYTES = 16
_MOVI = b"movi"
"""Before an AVI's first packet."""
_TYPE = "video/x-matroska"
_LARGEST = 3
"""An intermediate this many times its source (and 64 MiB) is no copy but an attack."""
_LARGEST_EXTRA = 64 * 1024 * 1024
_DECODED_BYTES = 2 * 4 * 48_000
"""Of a second of sound that is decoded, which may be many times what it was: allowed beside that."""
_WAITING_BYTES = 256 * 1024 * 1024
"""Of sound that waits for a picture: four hours of AAC."""


class _Lost(Exception):
    """The place was not met where it should be."""


class _Sparse(Exception):
    """A copy would not do: its key frames are too far apart."""

    def __init__(self, rate: int) -> None:
        """`rate`: of the picture so far, bit/s."""
        super().__init__(rate)
        self.rate = rate


def run(tools: Tools, context: TaskContext[NormaliseInput]) -> Outcome:
    """One stretch. Raises Cancelled, Retryable, Permanent, or what the store raises."""
    task = context.input
    before = None if task.index is None else tools.index(context.output_prefix, task.index)
    try:
        index, ended = _gone_on(tools, context, task, before)
    except _Sparse as found:
        # What a container claims of its length, and so of its rate, is wrong where times jump.
        task = task.model_copy(update={"mode": "encode-stream", "max_rate": max(task.max_rate, found.rate)})
        index, ended = _gone_on(tools, context, task, before)
    if ended:
        index = _with_front(tools, context, index)
    name = _save(tools, context, index)
    source = task.source.model_copy(update={"intermediate": name})
    after = NewTask.of(PLAN, source) if ended else NewTask.of(NORMALISE, task.model_copy(update={"index": name}))
    context.progress(100)
    seconds = max(index.last_picture, index.last_sound) / 1000
    return Outcome(NormaliseResult(index=name, seconds=seconds, ended=ended), children=(after,))


def _gone_on(
    tools: Tools, context: TaskContext[NormaliseInput], task: NormaliseInput, before: Index | None
) -> tuple[Index, bool]:
    """See `_stretch`; read from further back where the place is not met. Raises _Sparse."""
    place = None if before is None else before.place
    for slack in _SLACKS if place is None or not place.alike else _SLACKS[-1:]:
        try:
            return _stretch(tools, context, task, before, slack)
        except _Lost:
            continue
    raise Permanent("a copy did not meet the place where it had stopped", reason=process.BROKE_OFF)


def _put(tools: Tools, context: TaskContext[NormaliseInput], stem: str, data: bytes) -> File:
    file = File(name=cut.name_of(FOLDER, stem, data, "mkv"), bytes=len(data))
    tools.store.put(context.output_prefix + file.name, data, content_type=_TYPE, cache_control=CACHE_CONTROL)
    return file


def _save(tools: Tools, context: TaskContext[NormaliseInput], index: Index) -> str:
    data = index.model_dump_json().encode()
    name = cut.name_of(FOLDER, "index", data, "json")
    tools.store.put(context.output_prefix + name, data, content_type="application/json")
    return name


def _with_front(tools: Tools, context: TaskContext[NormaliseInput], index: Index) -> Index:
    return index.model_copy(update={"front": _put(tools, context, "front", front_of(index))})


class _Saving:
    """Saves blocks of one stretch as pieces: behind a key frame all that is heard from its time on.

    Sound waits for the pictures before it, which an encoder, or whoever wrote the source, gave out later. ffmpeg could
    do so too, but would let pictures wait for sound as well, and hold hours of them where that has ended.
    """

    def __init__(self, tools: Tools, context: TaskContext[NormaliseInput], index: Index, picture: int) -> None:
        self._tools, self._context = tools, context
        self._picture = picture
        self._clusters = Clusters(picture)
        self._before = index
        self._buffer = bytearray()
        self._waiting = deque[ebml.Block]()
        self._waiting_bytes = 0
        self._pieces = list(index.pieces)
        self.last_picture, self._last_sound = index.last_picture, index.last_sound
        self.pictures = index.pictures
        """How many are saved, from the lecture's start; None where a worker began that did not count."""
        self._saved_sound = index.last_sound + _ROUNDING_MS if index.pieces else index.last_sound

    @property
    def began(self) -> bool:
        """Whether this stretch has a picture."""
        return self.last_picture > self._before.last_picture

    def add(self, block: ebml.Block) -> None:
        """Save a block whose time is the lecture's, unless it is saved already. Permanent past any lecture's length."""
        if block.time > ladder.MAX_SECONDS * 1000:
            raise Permanent("longer than any lecture", reason=plan.TOO_LONG)
        if block.track == self._picture:
            self.add_sound_before(block.time)
            self.last_picture = max(self.last_picture, block.time)
            self.pictures = None if self.pictures is None else self.pictures + 1
            self._add(block)
        elif block.time > self._saved_sound:
            self._waiting.append(block)
            self._waiting_bytes += len(block.data)
            if self._waiting_bytes > _WAITING_BYTES:
                self._add_sound()

    def add_sound_before(self, time: float) -> None:
        """Save the sound that waited for a picture, up to one of this time."""
        while self._waiting and self._waiting[0].time < time:
            self._add_sound()

    def _add_sound(self) -> None:
        block = self._waiting.popleft()
        self._waiting_bytes -= len(block.data)
        self._last_sound = max(self._last_sound, block.time)
        self._add(block)

    def _add(self, block: ebml.Block) -> None:
        for data in self._clusters.add(block):
            self._buffer += data
        if len(self._buffer) >= _PIECE_BYTES:
            self._put()

    def finish(self, place: Place | None) -> Index:
        """Save what is left, but for sound that still waits: the index of all; `place` is where the next goes on."""
        for data in self._clusters.flush():
            self._buffer += data
        self._put()
        offset = self._before.media_bytes
        return self._before.model_copy(
            update={
                "pieces": tuple(self._pieces),
                "cues": (*self._before.cues, *((at, offset + start) for at, start in self._clusters.cues)),
                "last_picture": self.last_picture,
                "last_sound": self._last_sound,
                "pictures": self.pictures,
                "place": place,
            }
        )

    def _put(self) -> None:
        self._context.check()
        if self._buffer:
            stem = f"{len(self._pieces):06d}"
            self._pieces.append(_put(self._tools, self._context, stem, bytes(self._buffer)))
            self._buffer.clear()
        task = self._context.input
        decoded = 0 if task.sound_codec == "copy" else _DECODED_BYTES * self._last_sound // 1000
        if sum(piece.bytes for piece in self._pieces) > _LARGEST * task.source.source_bytes + _LARGEST_EXTRA + decoded:
            raise Permanent("the copy is larger than any real one", reason=plan.UNREADABLE)


def _stretch(
    tools: Tools, context: TaskContext[NormaliseInput], task: NormaliseInput, before: Index | None, slack: int | None
) -> tuple[Index, bool]:
    """One run of ffmpeg: the index of all that is saved, and whether that is the whole. Raises _Lost, _Sparse."""
    began = time.monotonic()
    with ExitStack() as stack:
        view, skipped = _view(tools, context, task, before, slack)
        served = stack.enter_context(reader.serving(view))
        heard = stack.enter_context(_Heard())
        feeder = None
        if task.mode == "encode-stream":
            feeder = stack.enter_context(_Feeder(task, before, lambda: skipped + served.sent, whole=skipped == 0))
            after = None if before is None else (before.last_picture + _ROUNDING_MS, before.last_sound)
            copying, copied = _started(tools, context, _copying(tools, task, served.url, None), stack, ())
            command = ffmpeg.encode_stream_command(tools.ffmpeg, task, after, heard.pipe)
            encoding, stream = _started(tools, context, [command], stack, (heard.pipe,), subprocess.PIPE)
            children = [*copying, *encoding]
            stack.callback(_kill, children)  # before their pipes are closed, on which the feeder may wait
            feeder.feed(copied, encoding[0].input)
        else:
            commands = _commands(tools, task, served.url, before, heard.pipe)
            children, stream = _started(tools, context, commands, stack, (heard.pipe,))
        heard.listen()
        blocks = ebml.read(stream.read)
        tracks = next(blocks, None)
        if isinstance(tracks, ebml.Tracks):
            if task.packed_sound:
                tracks = tracks.with_packed_sound()
            follower = _Follower(tools, context, task, before, tracks, began=began, whole=skipped == 0)
            if follower.follow(blocks, lambda: skipped + served.sent, feeder):
                _kill(children)
                return heard.added_to(follower), False
        finished = [child.wait() for child in children]
        context.check()
        if served.failure is not None:
            raise served.failure
        for each in finished:
            process.check(each)
        if feeder is not None:
            feeder.check()
        if not isinstance(tracks, ebml.Tracks):
            if skipped > 0:
                raise _Lost  # what its sound is shows only in what was left out
            raise Permanent(
                f"nothing could be copied: {' '.join(each.errors for each in finished)}", reason=plan.UNREADABLE
            )
        follower.finish()
        return heard.added_to(follower), True


def _kill(children: Sequence[Child]) -> None:
    for child in children:
        child.kill()


class _Feeder:
    """Gives an encoder the packets of a copy in the lecture's times, from the place where the stretch before stopped.

    Remembers the copy's key frames: an encode stops anywhere, and the next goes on from the one before.
    """

    def __init__(self, task: NormaliseInput, before: Index | None, position: Callable[[], int], *, whole: bool) -> None:
        """`position`: how far the source is read. `whole`: it is read from its start."""
        self._packed_sound = task.packed_sound
        self._place = None if before is None else before.place
        self._position, self._whole = position, whole
        self._places = [] if self._place is None else [self._place]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="feeder")
        self._fed: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def feed(self, copied: IO[bytes], pipe: IO[bytes]) -> None:
        """Begin to pass on what the copy writes; goes on until one of the two ends, and closes both."""
        self._fed = self._thread.submit(self._feed, copied, pipe)

    def check(self) -> None:
        """Wait for its end. Raises _Lost when the place never came."""
        if self._fed is not None:
            self._fed.result()

    def place_before(self, time: int) -> Place | None:
        """Of the last key frame that is not behind this time of the lecture."""
        return next((place for place in reversed(self._places) if place.time <= time), None)

    def _feed(self, copied: IO[bytes], pipe: IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError), copied, pipe:
            blocks = ebml.read(copied.read)
            tracks = next(blocks, None)
            if isinstance(tracks, ebml.Tracks):
                pipe.write(ebml.opening(tracks.with_packed_sound() if self._packed_sound else tracks))
                clusters = Clusters(tracks.picture)
                lecture = (block for block in self._packets(tracks.picture, blocks) if block.time >= 0)
                for data in chain.from_iterable(map(clusters.add, lecture)):
                    pipe.write(data)
                for data in clusters.flush():
                    pipe.write(data)

    def _packets(self, picture: int, blocks: Iterator[ebml.Tracks | ebml.Block]) -> Iterator[ebml.Block]:
        memory = Memory(picture, whole=self._whole)
        shifts = Shifts(0, 0) if self._place is None else None
        number = 0 if self._place is None else self._place.number
        for block in blocks:
            if isinstance(block, ebml.Tracks):
                continue
            memory.feed(block)
            shown = block.track == picture
            if shifts is not None:
                if shown and block.key and self._is_far(block.time + shifts.picture):
                    self._places.append(memory.place(self._position(), block, shifts, number))
                yield block.moved(shifts.picture if shown else shifts.sound)
            elif shown and block.key:
                shifts = _met(memory, self._place, self._position())
                if shifts is not None:
                    yield from (each.moved(shifts.sound) for each in memory.sounds())
                    yield block.moved(shifts.picture)
            if shown and shifts is not None and number is not None:
                number += 1
        if shifts is None:
            raise _Lost

    def _is_far(self, time: int) -> bool:
        """Whether another place is worth its digests: key frames may be as many as pictures."""
        return not self._places or time - self._places[-1].time >= 1000 * ladder.INTERMEDIATE_KEY_SECONDS


class _Heard:
    """Collects how loud the sound is while it passes: what ffmpeg prints to a pipe."""

    def __init__(self) -> None:
        self._read, self.pipe = os.pipe()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="loudness")
        self._printed: Future[array[float]] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._printed is None:
            os.close(self._read)
            os.close(self.pipe)
        self._reader.shutdown()

    def listen(self) -> None:
        """The child has its end of the pipe: read until it ends."""
        os.close(self.pipe)
        self._printed = self._reader.submit(self._all)

    def _all(self) -> "array[float]":
        """Seconds and LUFS of each block, one after the other: compact, however long the lecture is."""
        with os.fdopen(self._read, encoding="ascii", errors="replace") as lines:
            return array("d", chain.from_iterable(loudness.timed(lines)))

    def added_to(self, follower: "_Follower") -> Index:
        """The index with what was heard of the sound that this stretch saved; its children must have ended."""
        index = follower.index
        printed = array("d") if self._printed is None else self._printed.result()
        blocks = (block for time, block in zip(printed[::2], printed[1::2], strict=True) if follower.is_new(time))
        return index.model_copy(update={"loudness": loudness.folded(blocks, index.loudness)})


class _Follower:
    """Follows one run's packets: finds where it goes on, saves what is new, says when the time is over."""

    def __init__(  # noqa: PLR0913 - each is one fact of the run
        self,
        tools: Tools,
        context: TaskContext[NormaliseInput],
        task: NormaliseInput,
        before: Index | None,
        tracks: ebml.Tracks,
        *,
        began: float,
        whole: bool,
    ) -> None:
        """`began`: when the run was started, of time.monotonic. `whole`: it reads the source from its start."""
        self._context = context
        self.index = before or Index(
            tracks=base64.b64encode(tracks.data).decode(),
            encoded=task.mode != "copy",
            rotation=task.rotation,
            mirrored=task.mirrored,
            pictures=0,
        )
        if tracks_of(self.index).types() != tracks.types():
            raise Retryable("the tracks are not those of the stretch before")
        self._picture = tracks.picture
        self._saved_sound = self.index.last_sound
        self._saving = _Saving(tools, context, self.index, self._picture)
        self._memory = Memory(self._picture, whole=whole)
        self._shifts = _shifts(task, self.index)
        self._gaps = _Gaps() if task.mode == "copy" and before is None else None
        self._began = began
        self._deadline = self._until()

    def _until(self) -> float:
        """When the time is over that starts now, with the first picture to save."""
        now = time.monotonic()
        wanted = now + max(ladder.NORMALISE_SECONDS, _WORTH * (now - self._began))
        return min(wanted, self._began + self._context.task.max_seconds - _SPARE_SECONDS)

    def follow(
        self, blocks: Iterator[ebml.Tracks | ebml.Block], position: Callable[[], int], feeder: _Feeder | None
    ) -> bool:
        """Save what comes. True when the time is over before the stream is: `index` then has the place to go on.

        Raises _Lost far behind a place that did not come, _Sparse where a copy would not do.
        """
        for block in blocks:
            if isinstance(block, ebml.Tracks):
                continue
            self._memory.feed(block)
            key = block.key and block.track == self._picture
            if self._gaps is not None and block.track == self._picture:
                self._gaps.check(block)
            if self._shifts is None:
                if key:
                    self._look(block, position())
                continue
            if key and self._over():
                self._saving.add_sound_before(block.time + self._shifts.picture)
                if feeder is None:
                    place = self._memory.place(position(), block, self._shifts, self._saving.pictures)
                    self.index = self._saving.finish(place)
                else:
                    self.index = self._saving.finish(feeder.place_before(self._saving.last_picture))
                return True
            if key:
                done = 100 * position() / self._context.input.source.source_bytes
                self._context.progress(min(done, 99), max(0, block.time + self._shifts.picture) / 1000)
            self._save(block, self._shifts)
        return False

    def finish(self) -> None:
        """The stream has ended: save the rest. Raises _Lost when the place to go on from never came."""
        if self._shifts is None:
            raise _Lost
        self._saving.add_sound_before(math.inf)
        self.index = self._saving.finish(None)

    def is_new(self, seconds: float) -> bool:
        """Whether the sound at this time of what was measured is part of what this stretch saved."""
        if self._shifts is None:
            return False
        base = ffmpeg.ENCODE_BASE_SECONDS if self.index.encoded else 0
        return self._saved_sound < 1000 * (seconds + base) + self._shifts.sound <= self.index.last_sound

    def _look(self, block: ebml.Block, position: int) -> None:
        """Go on with this key frame when it is the one; the sound around it may have come before it."""
        self._shifts = _met(self._memory, self.index.place, position)
        if self._shifts is not None:
            self._deadline = self._until()
            for each in (*self._memory.sounds(), block):
                self._save(each, self._shifts)

    def _save(self, block: ebml.Block, shifts: Shifts) -> None:
        self._saving.add(block.moved(shifts.picture if block.track == self._picture else shifts.sound))

    def _over(self) -> bool:
        late = time.monotonic() - self._deadline
        if late < 0 or not self._saving.began:
            return False
        return self.index.encoded or not self._memory.alike or late >= _GRACE_SECONDS


class _Gaps:
    """Looks out for a stretch without a key frame that is longer than a chunk's source may have."""

    def __init__(self) -> None:
        self._first: int | None = None
        self._key: int | None = None
        self._bytes = 0

    def check(self, picture: ebml.Block) -> None:
        """Raise _Sparse when the stretch that this picture ends is too long."""
        self._bytes += len(picture.data)
        if self._first is None or self._key is None:
            self._first = self._key = picture.time
        if picture.time - self._key > 1000 * ladder.MAX_KEY_GAP_SECONDS:
            raise _Sparse(8000 * self._bytes // (picture.time - self._first))
        if picture.key:
            self._key = picture.time


def _met(memory: Memory, place: Place | None, position: int) -> Shifts | None:
    """This run's shifts when the key frame that was fed last is the place's. Raises _Lost far behind it."""
    shifts = None if place is None else memory.met(place)
    if shifts is None and place is not None and position > place.byte + _PAST:
        raise _Lost
    return shifts


def _shifts(task: NormaliseInput, index: Index) -> Shifts | None:
    """This run's shifts; None until a copy has met the place where it goes on."""
    if task.mode == "copy":
        return Shifts(0, 0) if index.place is None else None
    start = Fraction(task.start_seconds) if task.mode == "encode" else Fraction(0)
    shift = -math.floor((start + ffmpeg.ENCODE_BASE_SECONDS) * 1000)
    return Shifts(shift, shift)


def _view(
    tools: Tools, context: TaskContext[NormaliseInput], task: NormaliseInput, before: Index | None, slack: int | None
) -> tuple[reader.View, int]:
    """What this run reads, and how many bytes of the source it leaves out after the head."""
    whole = tools.view(
        task.source.source_key, task.source.source_bytes, context.output_prefix, task.source.intermediate
    )
    if task.mode == "encode" or before is None or before.place is None or slack is None:
        return whole, 0
    head, start = _HEAD_BYTES, before.place.byte - slack
    if "mov" in task.container:
        head, start = fragments(whole, start)
    elif task.container == "avi":
        # Its pictures have no times: those of the head would be taken for the ones before the rest.
        found = whole.fetch(0, head).find(_MOVI)
        head = head if found < 0 else found + len(_MOVI)
    return (whole.without(head, start), start - head) if start > head else (whole, 0)


def fragments(view: reader.View, start: int) -> tuple[int, int]:
    """(end of the headers, first fragment at or behind `start`) of a fragmented MP4, which can be read from there."""
    return _fragment_from(view, 0), _fragment_from(view, max(0, start))


def _fragment_from(view: reader.View, start: int) -> int:
    at = start
    while at < view.size:
        found = _MOOF.search(view.fetch(at, _HEAD_BYTES + _MOOF_BYTES))
        if found is not None:
            return at + found.start()
        at += _HEAD_BYTES
    return 0


def _commands(tools: Tools, task: NormaliseInput, url: str, before: Index | None, pipe: int) -> list[list[str]]:
    if task.mode == "encode":
        after = None if before is None else (before.last_picture, before.last_sound)
        return [ffmpeg.encode_command(tools.ffmpeg, task, url, after, pipe)]
    return _copying(tools, task, url, pipe)


def _copying(tools: Tools, task: NormaliseInput, url: str, pipe: int | None) -> list[list[str]]:
    if task.packed_sound:
        return ffmpeg.packed_commands(tools.ffmpeg, task, url, pipe)
    return [ffmpeg.copy_command(tools.ffmpeg, task, url, pipe)]


def _started(  # noqa: PLR0913, PLR0917 - as process.running
    tools: Tools,
    context: TaskContext[NormaliseInput],
    commands: Sequence[Sequence[str]],
    stack: ExitStack,
    pass_fds: tuple[int, ...],
    stdin: int | IO[bytes] = subprocess.DEVNULL,
) -> tuple[list[Child], IO[bytes]]:
    """Start the commands as a pipeline, `pass_fds` and `stdin` for the first; the last one's output."""
    children: list[Child] = []
    for command in commands:
        started = process.running(
            context,
            command,
            folder=tools.folder,
            wall_seconds=context.task.max_seconds,
            stdin=stdin,
            stdout=subprocess.PIPE,
            pass_fds=() if children else pass_fds,
        )
        child = stack.enter_context(started)
        children.append(child)
        if not isinstance(stdin, int):
            stdin.close()  # the child has it
        stdin = stack.enter_context(child.output)
    return children, children[-1].output
