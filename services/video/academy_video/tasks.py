"""The handlers of the video kinds: the effects around the pure parts. Called by the worker loop.

`video.plan` probes the source and makes the chunk tasks, `video.chunk` is in `chunk`, `video.publish` checks and
measures.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import chain

from academy_core import containers
from academy_core.errors import NotFound, Permanent, Reason, Retryable
from academy_core.ledger import NewTask
from academy_core.tasks import Handler, Outcome, TaskContext
from academy_core.video import (
    CHUNK,
    NORMALISE,
    PLAN,
    PUBLISH,
    ChunkInput,
    ChunkResult,
    NormaliseInput,
    PlanAnswer,
    PlanInput,
    PlanResult,
    PublishInput,
    PublishResult,
)
from academy_video import chunk, ffmpeg, keyframes, ladder, loudness, normalise, plan, probe, process, publish, reader
from academy_video.tools import CACHE_CONTROL, Tools

_PROBE_SECONDS = 60
_LOOKING = 5
"""Looks at the source at once: the wait is for the store, not for the processor."""
_POSTER_SECONDS = 60
_TAIL_SECONDS = 20
_TAIL_GROWTH = 4
_HEAD_BYTES = 4096
"""Of a stream, by which ffprobe knows what it is."""
_PLACES = 8
_TOO_LARGE = "exceeds specified max pixel count"
"""What ffprobe prints of a picture above `ladder.MAX_PIXELS`."""

GONE = Reason(
    "source-gone",
    "올린 원본 파일을 찾을 수 없습니다. 파일을 다시 올려 주세요.",
    "The uploaded file cannot be found any more. Please upload it again.",
)


def handlers(tools: Tools, rules: plan.Rules, poster_at_seconds: float) -> list[Handler]:
    """What a video worker runs."""

    def run_plan(context: TaskContext[PlanInput]) -> Outcome:
        return _plan(tools, rules, context)

    def run_chunk(context: TaskContext[ChunkInput]) -> Outcome:
        return Outcome(chunk.make(tools, context))

    def run_publish(context: TaskContext[PublishInput]) -> Outcome:
        return Outcome(_publish(tools, poster_at_seconds, context))

    def run_normalise(context: TaskContext[NormaliseInput]) -> Outcome:
        return normalise.run(tools, context)

    return [
        Handler(PLAN, run_plan),
        Handler(NORMALISE, run_normalise),
        Handler(CHUNK, run_chunk),
        Handler(PUBLISH, run_publish),
    ]


def _plan(tools: Tools, rules: plan.Rules, context: TaskContext[PlanInput]) -> Outcome:
    task = context.input
    _check_source(tools, task)
    view = tools.view(task.source_key, task.source_bytes, context.output_prefix, task.intermediate, looking=True)
    if containers.is_unsupported(view.fetch(0, containers.SNIFF_BYTES)):
        raise Permanent("not one of our containers", reason=containers.UNSUPPORTED)
    keyframes.fetch_index(view.fetch, view.size)
    with reader.serving(view) as served:
        source = _probe(tools, context, view, served)
        if not keyframes.says_how_long(source.container, view.fetch, view.size):
            source = dataclasses.replace(source, claimed_end=None)
        video, audio = plan.main_streams(source, task.language)
        keys = keyframes.of_source(source.container, view.fetch, view.size, video.index, video.id)
        index = None if task.intermediate is None else tools.index(context.output_prefix, task.intermediate)
        apart = (
            index is None
            and audio is not None
            and keyframes.sound_lies_apart(source.container, view.fetch, view.size, video.index, audio.index)
        )
        way = plan.way(source, video, keys, apart=apart)
        if index is not None:
            way = plan.way_on(way, encoded=index.encoded)
        if way != "direct":
            normalising = plan.normalise(task, source, way)
            if index is not None:
                # What a copy has lost of the display matrix an encode of it lacks too.
                lost = {"rotation": index.rotation, "mirrored": index.mirrored}
                normalising = normalising.model_copy(update=lost)
            return Outcome(PlanAnswer(), children=(NewTask.of(NORMALISE, normalising),))
        tails = _tails(tools, context, served, source, video.index)
        # Degrees clockwise that an intermediate is to be turned; a display matrix counts the other way round.
        turn = 0 if index is None else -index.rotation % 360
        mirrored = index is not None and index.mirrored
        made = plan.plan(task, source, tails, rules, keys=keys or (), turn=turn, mirrored=mirrored)
        places = [(video.start or Fraction(0)) + key for key in keys or ()]
        windows = _windows(audio, tails, places, video.index)
        # Where sound is listened to anyway: what is read for a look at the picture stays in the reader's cache for it.
        looks = [window[0] for window in windows if window is not None] or places
        with ThreadPoolExecutor(_LOOKING) as pool:
            shown = _shown(tools, context, served, made, looks, pool)
            heard: Iterable[float] = ()
            if rules.loudness is not None and audio is not None:
                # Of a normalised source the whole was measured on the way.
                heard = (
                    _heard(tools, context, served, audio, windows, pool)
                    if index is None
                    else loudness.unfolded(index.loudness)
                )
            kind = plan.title(list(shown), rules.steps)
            gain = 0.0 if rules.loudness is None else loudness.gain(list(heard), rules.loudness)
        made = plan.plan(
            task, source, tails, rules, keys=keys or (), turn=turn, mirrored=mirrored, gain_db=gain, kind=kind
        )
    return Outcome(
        PlanAnswer(plan=made),
        children=tuple(NewTask.of(CHUNK, piece) for piece in plan.chunks(made.encoding, made.chunk_frames)),
        then=NewTask.of(
            PUBLISH,
            PublishInput(
                encoding=made.encoding,
                duration_seconds=made.duration_seconds,
                lost_seconds=made.lost_seconds,
                lost_sound=made.lost_sound,
            ),
        ),
    )


def _windows(
    audio: probe.AudioStream | None, tails: Mapping[int, probe.Tail], places: Sequence[Fraction], video: int
) -> tuple[loudness.Window | None, ...]:
    """Where the sound is measured; nowhere when there is none. Its end is the picture's where it is not known."""
    tail = None if audio is None else tails.get(audio.index, tails.get(video))
    if audio is None or tail is None:
        return ()
    start = audio.start or Fraction(0)
    return loudness.windows(start, tail.end - start, places)


def _heard(  # noqa: PLR0913, PLR0917 - each is one fact of the listening
    tools: Tools,
    context: TaskContext[PlanInput],
    served: reader.Served,
    audio: probe.AudioStream,
    windows: Sequence[loudness.Window | None],
    pool: ThreadPoolExecutor,
) -> Iterator[float]:
    """Momentary loudness in windows of the sound; sound that cannot be decoded counts as silence."""
    # The last first: the end of the source has just been read.
    commands = [ffmpeg.loudness_command(tools.ffmpeg, served.url, audio.index, each) for each in reversed(windows)]
    outputs = pool.map(lambda command: _look(tools, context, served, command).stdout, commands)
    return chain.from_iterable(loudness.momentaries(output.decode(errors="replace")) for output in outputs)


def _look(tools: Tools, context: TaskContext[PlanInput], served: reader.Served, command: list[str]) -> process.Output:
    """What ffmpeg or ffprobe makes of the source: nothing is printed where that cannot be decoded."""
    output = process.run(context, command, folder=tools.folder, wall_seconds=_PROBE_SECONDS)
    if served.failure is not None:
        raise served.failure
    return output


def _shown(  # noqa: PLR0913, PLR0917 - each is one fact of the sampling
    tools: Tools,
    context: TaskContext[PlanInput],
    served: reader.Served,
    made: PlanResult,
    places: Sequence[Fraction],
    pool: ThreadPoolExecutor,
) -> Iterator[float]:
    """Bit/s of each sample of the picture; what cannot be decoded is left out."""
    wanted = plan.title_places(Fraction(made.encoding.start_seconds), Fraction(made.duration_seconds), places)
    commands = [ffmpeg.sample_command(tools.ffmpeg, made.encoding, served.url, place) for place in wanted]
    outputs = pool.map(lambda command: _look(tools, context, served, command).stdout, commands)
    return (8 * len(output) / ladder.TITLE_SAMPLE_SECONDS for output in outputs if output)


def _check_source(tools: Tools, task: PlanInput) -> None:
    """Permanent unless the source is the object that was uploaded, and holds anything."""
    try:
        found = tools.store.head(task.source_key)
    except NotFound as error:
        raise Permanent("source is not in the store", reason=GONE) from error
    if (found.size, found.etag) != (task.source_bytes, task.source_etag):
        raise Permanent("source is not the object that was uploaded", reason=GONE)
    if found.size == 0:
        raise Permanent("source is empty", reason=plan.UNREADABLE)


def _probe(tools: Tools, context: TaskContext[PlanInput], view: reader.View, served: reader.Served) -> probe.Source:
    source = _header(tools, context, served, far=False)
    if not source.shows_late:
        return source
    source = _header(tools, context, served, far=True)
    later = not source.audios and view.size > ffmpeg.FAR_BYTES and _sounds_later(tools, context, view)
    return dataclasses.replace(source, sounds_later=later)


def _sounds_later(tools: Tools, context: TaskContext[PlanInput], view: reader.View) -> bool:
    """Whether there is sound at any of a few places spread over a stream that declares none."""
    for at in range(view.size // _PLACES, view.size, view.size // _PLACES):
        with reader.serving(view.without(_HEAD_BYTES, at)) as served:
            if _header(tools, context, served, far=False).audios:
                return True
    return False


def _header(tools: Tools, context: TaskContext[PlanInput], served: reader.Served, *, far: bool) -> probe.Source:
    command = probe.streams_command(tools.ffprobe, served.url, far=far)
    return probe.parse(_ffprobe(tools, context, served, command), far=far)


def _tails(
    tools: Tools, context: TaskContext[PlanInput], served: reader.Served, source: probe.Source, video: int
) -> Mapping[int, probe.Tail]:
    """Where the streams really end: read back from the claimed end until the picture is met."""
    claimed = source.claimed_end or Fraction(0)
    back = Fraction(_TAIL_SECONDS)
    while True:
        start = max(Fraction(0), claimed - back)
        command = probe.tail_command(tools.ffprobe, served.url, start)
        tails = probe.parse_tails(_ffprobe(tools, context, served, command))
        if video in tails or start == 0:
            return tails
        back *= _TAIL_GROWTH


def _ffprobe(tools: Tools, context: TaskContext[PlanInput], served: reader.Served, command: list[str]) -> str:
    output = _look(tools, context, served, command)
    finished = output.finished
    if _TOO_LARGE in finished.errors:
        raise Permanent(f"ffprobe: {finished.errors}", reason=plan.TOO_LARGE)
    if finished.returncode != 0:
        raise Permanent(f"ffprobe: {finished.errors}", reason=plan.UNREADABLE)
    return output.stdout.decode(errors="replace")


def _publish(tools: Tools, poster_at_seconds: float, context: TaskContext[PublishInput]) -> PublishResult:
    task, prefix = context.input, context.output_prefix
    sizes = {found.key.removeprefix(prefix): found.size for found in tools.store.list(prefix)}
    context.progress(50)
    chunks = context.results_as(ChunkResult)
    publication = publish.join(task.encoding, chunks, sizes)
    images = [
        _put(tools, prefix, "poster", _poster(tools, context, chunks, poster_at_seconds), "jpg", "image/jpeg"),
        _put(tools, prefix, "thumbnails", publish.thumbnails(task.encoding, chunks).encode(), "vtt", "text/vtt"),
    ]
    context.progress(100)
    (poster, poster_bytes), (thumbnails, thumbnails_bytes) = images
    return PublishResult(
        duration_seconds=task.duration_seconds,
        segments=publication.segments,
        bandwidths=publication.bandwidths,
        poster=poster,
        bytes=publication.bytes + poster_bytes + thumbnails_bytes,
        thumbnails=thumbnails,
        qualities=tuple(quality for chunk in chunks for quality in chunk.qualities),
        lost_seconds=task.lost_seconds,
        lost_sound=task.lost_sound,
        patched_seconds=publish.patched_seconds(task.encoding, chunks),
    )


def _put(  # noqa: PLR0913, PLR0917 - a file and where it goes
    tools: Tools, prefix: str, stem: str, data: bytes, suffix: str, content_type: str
) -> tuple[str, int]:
    """Upload a file beside the master; its name and size."""
    name = f"{stem}.{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
    tools.store.put(prefix + name, data, content_type=content_type, cache_control=CACHE_CONTROL)
    return name, len(data)


def _poster(
    tools: Tools, context: TaskContext[PublishInput], chunks: Sequence[ChunkResult], at_seconds: float
) -> bytes:
    """The picture at `at_seconds`, or the brightest of the small ones' when that is dark."""
    encoding = context.input.encoding
    poster = _picture_at(tools, context, publish.poster_place(encoding, chunks, at_seconds))
    grey = process.run(
        context, ffmpeg.grey_command(tools.ffmpeg), folder=tools.folder, wall_seconds=_POSTER_SECONDS, stdin=poster
    )
    brighter = publish.brightest(encoding, chunks)
    if grey.stdout and chunk.light(grey.stdout) < ladder.DARK and brighter is not None:
        return _picture_at(tools, context, brighter)
    return poster


def _picture_at(tools: Tools, context: TaskContext[PublishInput], place: publish.PosterPlace) -> bytes:
    media = b"".join(tools.store.get(context.output_prefix + name) for name in (place.init, place.segment))
    command = ffmpeg.poster_command(tools.ffmpeg, place.frame, (place.rung.width, place.rung.height))
    output = process.run(context, command, folder=tools.folder, wall_seconds=_POSTER_SECONDS, stdin=media)
    if not output.stdout:
        raise Retryable(f"no poster came of {place.segment}: {output.finished.errors}")
    return output.stdout
