"""The handlers of the video kinds: the effects around the pure parts. Called by the worker loop.

`video.plan` probes the source and makes the chunk tasks, `video.chunk` is in `chunk`, `video.publish` checks and
measures.
"""

import hashlib
from collections.abc import Mapping
from fractions import Fraction

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
    PublishInput,
    PublishResult,
)
from academy_video import chunk, ffmpeg, keyframes, normalise, plan, probe, process, publish, reader
from academy_video.intermediate import FOLDER
from academy_video.tools import CACHE_CONTROL, Tools

_PROBE_SECONDS = 60
_POSTER_SECONDS = 60
_TAIL_SECONDS = 20
_TAIL_GROWTH = 4
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
    view = tools.view(task.source_key, task.source_bytes, context.output_prefix, task.intermediate)
    with reader.serving(view) as served:
        source = _probe(tools, context, served)
        video, _ = plan.main_streams(source, task.language)
        keys = keyframes.of_source(source.container, view.fetch, view.size, video.index, video.id)
        way = plan.way(source, video, keys)
        if way != "direct":
            normalising = plan.normalise(task, source, way)
            return Outcome(PlanAnswer(), children=(NewTask.of(NORMALISE, normalising),))
        tails = _tails(tools, context, served, source, video.index)
        made = plan.plan(task, source, tails, rules, keys=keys or (), turn=_turn(tools, context))
    return Outcome(
        PlanAnswer(plan=made),
        children=tuple(NewTask.of(CHUNK, piece) for piece in plan.chunks(made.encoding, made.chunk_frames)),
        then=NewTask.of(PUBLISH, PublishInput(encoding=made.encoding, duration_seconds=made.duration_seconds)),
    )


def _turn(tools: Tools, context: TaskContext[PlanInput]) -> int:
    """Degrees clockwise that an intermediate is to be turned; a display matrix counts the other way round."""
    name = context.input.intermediate
    return 0 if name is None else -tools.index(context.output_prefix, name).rotation % 360


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


def _probe(tools: Tools, context: TaskContext[PlanInput], served: reader.Served) -> probe.Source:
    output = _ffprobe(tools, context, served, probe.streams_command(tools.ffprobe, served.url))
    return probe.parse(output)


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
    output = process.run(context, command, folder=tools.folder, wall_seconds=_PROBE_SECONDS)
    finished = output.finished
    if served.failure is not None:
        raise served.failure
    if finished.timed_out:
        raise Retryable(f"ffprobe took too long: {finished.errors}")
    if _TOO_LARGE in finished.errors:
        raise Permanent(f"ffprobe: {finished.errors}", reason=plan.TOO_LARGE)
    if finished.returncode != 0:
        raise Permanent(f"ffprobe: {finished.errors}", reason=plan.UNREADABLE)
    return output.stdout.decode(errors="replace")


def _publish(tools: Tools, poster_at_seconds: float, context: TaskContext[PublishInput]) -> PublishResult:
    task, prefix = context.input, context.output_prefix
    sizes = {found.key.removeprefix(prefix): found.size for found in tools.store.list(prefix)}
    context.progress(50)
    publication = publish.join(task.encoding, context.results_as(ChunkResult), sizes)
    place = publish.poster_place(task.encoding, publication, poster_at_seconds)
    poster = _poster(tools, context, place)
    name = f"poster.{hashlib.sha256(poster).hexdigest()[:16]}.jpg"
    tools.store.put(prefix + name, poster, content_type="image/jpeg", cache_control=CACHE_CONTROL)
    if task.encoding.intermediate is not None:
        tools.store.delete_prefix(prefix + FOLDER)
    context.progress(100)
    return PublishResult(
        duration_seconds=task.duration_seconds,
        segments=publication.segments,
        bandwidths=publication.bandwidths,
        poster=name,
        bytes=publication.bytes + len(poster),
    )


def _poster(tools: Tools, context: TaskContext[PublishInput], place: publish.PosterPlace) -> bytes:
    media = b"".join(tools.store.get(context.output_prefix + name) for name in (place.init, place.segment))
    command = ffmpeg.poster_command(tools.ffmpeg, place.frame, (place.rung.width, place.rung.height))
    output = process.run(context, command, folder=tools.folder, wall_seconds=_POSTER_SECONDS, stdin=media)
    if not output.stdout:
        raise Retryable(f"no poster came of {place.segment}: {output.finished.errors}")
    return output.stdout
