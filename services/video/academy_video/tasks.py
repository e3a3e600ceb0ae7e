"""The handlers of the video kinds: the effects around the pure parts. Called by the worker loop.

`video.plan` probes the source and makes the chunk tasks, `video.chunk` is in `chunk`, `video.publish` checks and
measures.
"""

import hashlib
import re
from collections.abc import Mapping
from fractions import Fraction

from academy_core.errors import NotFound, Permanent, Reason, Retryable
from academy_core.ledger import NewTask
from academy_core.tasks import Handler, Outcome, TaskContext
from academy_core.video import (
    CHUNK,
    PLAN,
    PUBLISH,
    ChunkInput,
    ChunkResult,
    PlanAnswer,
    PlanInput,
    PublishInput,
    PublishResult,
)
from academy_video import chunk, ffmpeg, plan, probe, process, publish

_URL_SECONDS = 3600
_PROBE_SECONDS = 60
_POSTER_SECONDS = 60
_TAIL_SECONDS = 20
_TAIL_GROWTH = 4
_TRANSIENT = re.compile(
    r"server returned (4|5)|http error|connection (refused|reset|timed out)|timed out|input/output error|network is "
    r"unreachable|failed to resolve|end of file|certificate|tls",
    re.IGNORECASE,
)
"""What ffmpeg prints when the way to the source is at fault and not the source."""

GONE = Reason(
    "source-gone",
    "올린 원본 파일을 찾을 수 없습니다. 파일을 다시 올려 주세요.",
    "The uploaded file cannot be found any more. Please upload it again.",
)


def handlers(tools: chunk.Tools, rules: plan.Rules, poster_at_seconds: float) -> list[Handler]:
    """What a video worker runs."""

    def run_plan(context: TaskContext[PlanInput]) -> Outcome:
        return _plan(tools, rules, context)

    def run_chunk(context: TaskContext[ChunkInput]) -> Outcome:
        return Outcome(chunk.make(tools, context))

    def run_publish(context: TaskContext[PublishInput]) -> Outcome:
        return Outcome(_publish(tools, poster_at_seconds, context))

    return [Handler(PLAN, run_plan), Handler(CHUNK, run_chunk), Handler(PUBLISH, run_publish)]


def _plan(tools: chunk.Tools, rules: plan.Rules, context: TaskContext[PlanInput]) -> Outcome:
    _check_source(tools, context.input)
    url = tools.store.presign_get(context.input.source_key, _URL_SECONDS)
    source = _probe(tools, context, url)
    video, _ = plan.main_streams(source)
    made = plan.plan(context.input, source, _tails(tools, context, url, source, video.index), rules)
    return Outcome(
        PlanAnswer(plan=made),
        children=tuple(NewTask.of(CHUNK, piece) for piece in plan.chunks(made.encoding, made.chunk_frames)),
        then=NewTask.of(PUBLISH, PublishInput(encoding=made.encoding, duration_seconds=made.duration_seconds)),
    )


def _check_source(tools: chunk.Tools, task: PlanInput) -> None:
    """Permanent unless the source is the object that was uploaded, and holds anything."""
    try:
        found = tools.store.head(task.source_key)
    except NotFound as error:
        raise Permanent("source is not in the store", reason=GONE) from error
    if (found.size, found.etag) != (task.source_bytes, task.source_etag):
        raise Permanent("source is not the object that was uploaded", reason=GONE)
    if found.size == 0:
        raise Permanent("source is empty", reason=plan.UNREADABLE)


def _probe(tools: chunk.Tools, context: TaskContext[PlanInput], url: str) -> probe.Source:
    output = _ffprobe(tools, context, probe.streams_command(tools.ffprobe, url))
    return probe.parse(output)


def _tails(
    tools: chunk.Tools, context: TaskContext[PlanInput], url: str, source: probe.Source, video: int
) -> Mapping[int, probe.Tail]:
    """Where the streams really end: read back from the claimed end until the picture is met."""
    if source.claimed_end is None:
        raise Permanent("no duration claimed", reason=plan.NO_DURATION)
    back = Fraction(_TAIL_SECONDS)
    while True:
        start = max(Fraction(0), source.claimed_end - back)
        tails = probe.parse_tails(_ffprobe(tools, context, probe.tail_command(tools.ffprobe, url, start)))
        if video in tails or start == 0:
            return tails
        back *= _TAIL_GROWTH


def _ffprobe(tools: chunk.Tools, context: TaskContext[PlanInput], command: list[str]) -> str:
    output = process.run(context, command, folder=tools.folder, wall_seconds=_PROBE_SECONDS)
    finished = output.finished
    if finished.timed_out or (finished.returncode != 0 and _TRANSIENT.search(finished.errors)):
        raise Retryable(f"ffprobe could not read the source: {finished.errors}")
    if finished.returncode != 0:
        raise Permanent(f"ffprobe: {finished.errors}", reason=plan.UNREADABLE)
    return output.stdout.decode(errors="replace")


def _publish(tools: chunk.Tools, poster_at_seconds: float, context: TaskContext[PublishInput]) -> PublishResult:
    task, prefix = context.input, context.output_prefix
    sizes = {found.key.removeprefix(prefix): found.size for found in tools.store.list(prefix)}
    context.progress(50)
    publication = publish.join(task.encoding, context.results_as(ChunkResult), sizes)
    place = publish.poster_place(task.encoding, publication, poster_at_seconds)
    poster = _poster(tools, context, place)
    name = f"poster.{hashlib.sha256(poster).hexdigest()[:16]}.jpg"
    tools.store.put(prefix + name, poster, content_type="image/jpeg", cache_control=chunk.CACHE_CONTROL)
    context.progress(100)
    return PublishResult(
        duration_seconds=task.duration_seconds,
        segments=publication.segments,
        bandwidths=publication.bandwidths,
        poster=name,
        bytes=publication.bytes + len(poster),
    )


def _poster(tools: chunk.Tools, context: TaskContext[PublishInput], place: publish.PosterPlace) -> bytes:
    media = b"".join(tools.store.get(context.output_prefix + name) for name in (place.init, place.segment))
    command = ffmpeg.poster_command(tools.ffmpeg, place.frame, (place.rung.width, place.rung.height))
    output = process.run(context, command, folder=tools.folder, wall_seconds=_POSTER_SECONDS, stdin=media)
    if not output.stdout:
        raise Retryable(f"no poster came of {place.segment}: {output.finished.errors}")
    return output.stdout
