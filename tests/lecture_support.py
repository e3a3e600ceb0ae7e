"""A lecture's plan, chunks and publication as the video worker would return them, and a worker that returns them."""

from fractions import Fraction

from claiming import ClaimingWorker

from academy_api.lectures import playlists
from academy_core.kinds import Payload, Queue, WorkerClass
from academy_core.ledger import ClaimedTask, NewTask
from academy_core.video import (
    CHUNK,
    KINDS,
    PUBLISH,
    Audio,
    Bandwidth,
    ChunkInput,
    ChunkResult,
    Encoding,
    PlanAnswer,
    PlanResult,
    PublishInput,
    PublishResult,
    Quality,
    Rendition,
    Rung,
    Segment,
)

RUNGS = (
    Rung(name="720p", width=1280, height=720, crf=23, max_rate=2_400_000, buffer_size=4_800_000),
    Rung(name="480p", width=854, height=480, crf=23, max_rate=1_000_000, buffer_size=2_000_000),
)


def plan_of(
    chunk_segments: list[int],
    *,
    fps: tuple[int, int, int, int] = (30, 1, 15_360, 512),
    audio: bool = True,
    short: int = 0,
) -> PlanResult:
    """A plan whose chunks hold so many whole segments each, `short` frames missing at the very end."""
    num, den, timescale, tick = fps
    gop = round(6 * Fraction(num, den))
    frames = [count * gop for count in chunk_segments]
    frames[-1] -= short
    encoding = Encoding(
        source_key="sources/a",
        source_bytes=1,
        source_etag="e",
        container="mov,mp4",
        video_stream_index=0,
        start_seconds="0",
        fps_num=num,
        fps_den=den,
        timescale=timescale,
        tick=tick,
        gop=gop,
        total_frames=sum(frames),
        pad_frames=0,
        rungs=RUNGS,
        audio=Audio(stream_index=1) if audio else None,
        threads=1,
        seek_margin_seconds=2,
    )
    seconds = float(sum(frames) * Fraction(den, num))
    return PlanResult(encoding=encoding, duration_seconds=seconds, target_duration=6, chunk_frames=tuple(frames))


def chunk_of(plan: PlanResult, index: int, *, init: str = "a") -> ChunkResult:
    """What the worker would return for this chunk, names included."""
    encoding = plan.encoding
    first = sum(plan.chunk_frames[:index])
    frames = plan.chunk_frames[index]
    sizes = [min(encoding.gop, frames - at) for at in range(0, frames, encoding.gop)]
    number = first // encoding.gop

    def rendition(name: str, codec: str, timescale: int, ticks: list[int]) -> Rendition:
        return Rendition(
            name=name,
            init=f"{name}/init-{init}.mp4",
            timescale=timescale,
            codec=codec,
            segments=tuple(
                Segment(
                    name=f"{name}/{number + at:05d}-{init}{at}.m4s", number=number + at, duration_ticks=each, bytes=9
                )
                for at, each in enumerate(ticks)
            ),
        )

    video = [
        rendition(rung.name, "avc1.64001f", encoding.timescale, [size * encoding.tick for size in sizes])
        for rung in encoding.rungs
    ]
    samples = [int(size * 48_000 * Fraction(encoding.fps_den, encoding.fps_num)) for size in sizes]
    audio = [rendition("audio", "mp4a.40.2", 48_000, samples)] if encoding.audio is not None else []
    return ChunkResult(index=index, first_frame=first, frames=frames, renditions=(*video, *audio))


def published_of(plan: PlanResult) -> PublishResult:
    names = playlists.rendition_names(plan)
    return PublishResult(
        duration_seconds=plan.duration_seconds,
        segments=1,
        bandwidths=tuple(
            Bandwidth(name=name, peak=1000 * at + 900, average=1000 * at + 500) for at, name in enumerate(names)
        ),
        poster="poster.a.jpg",
        bytes=1,
        thumbnails="thumbnails.a.vtt",
        qualities=(
            Quality(first_frame=0, frames=60, rung="720p", ssim=0.99, least=0.97),
            Quality(first_frame=180, frames=60, rung="720p", ssim=0.97, least=0.95),
        ),
        lost_seconds=2.5,
    )


class Worker(ClaimingWorker):
    """A video worker that answers with made-up results."""

    def __init__(self) -> None:
        super().__init__(WorkerClass.VIDEO, Queue.VIDEO, *KINDS)
        self.chunks: dict[int, ClaimedTask] = {}
        """The chunks claimed, by index."""

    def plan(self, plan: PlanResult) -> None:
        """Claim and complete video.plan: one child a chunk, then publish."""
        task = self.claim()
        assert task.kind == "video.plan"
        firsts = [sum(plan.chunk_frames[:index]) for index in range(len(plan.chunk_frames))]
        children = tuple(
            _new(CHUNK.name, ChunkInput(encoding=plan.encoding, index=at, first_frame=first, end_frame=first + frames))
            for at, (first, frames) in enumerate(zip(firsts, plan.chunk_frames, strict=True))
        )
        then = _new(PUBLISH.name, PublishInput(encoding=plan.encoding, duration_seconds=plan.duration_seconds))
        self.complete(task, PlanAnswer(plan=plan), children, then)

    def claim_chunks(self, count: int) -> dict[int, ClaimedTask]:
        """Claim so many chunks, by index."""
        tasks = [self.claim() for _ in range(count)]
        assert {task.kind for task in tasks} == {"video.chunk"}
        claimed = {task.input["index"]: task for task in tasks}
        self.chunks |= claimed
        return claimed

    def publish(self, plan: PlanResult) -> None:
        """Claim and complete video.publish: the job succeeds."""
        task = self.claim()
        assert task.kind == "video.publish"
        self.complete(task, published_of(plan))

    def refuse(self, task: ClaimedTask, code: str = "no-video") -> None:
        """Fail one claimed task for good: there is no video."""
        self.fail(task, code, "영상이 없습니다.", "There is no video in it.")

    def encode(self, plan: PlanResult) -> None:
        """Do the whole job."""
        self.plan(plan)
        for index, task in self.claim_chunks(len(plan.chunk_frames)).items():
            self.complete(task, chunk_of(plan, index))
        self.publish(plan)


def _new(kind: str, payload: Payload) -> NewTask:
    return NewTask(kind=kind, version=1, input=payload.sent())
