"""What `video.publish` says of a lecture, and what it refuses to publish: pure functions of the chunks' results."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lecture_support import plan_of

from academy_core.video import ChunkResult, Encoding, PlanResult, Rendition, Segment
from academy_video import ffmpeg, plan, publish


def rendition(encoding: Encoding, name: str, frames: range, sizes: Mapping[int, int]) -> Rendition:
    """One chunk's part; a segment takes as many bytes as `sizes` says for its number, else 9."""
    sound = encoding.audio is not None and name == encoding.audio.name
    segments = []
    for first in frames[:: encoding.gop]:
        end, number = min(first + encoding.gop, frames.stop), first // encoding.gop
        packets = ffmpeg.packet_at(encoding, end) - ffmpeg.packet_at(encoding, first)
        segments.append(
            Segment(
                name=f"{name}/{number:06d}.a.m4s",
                number=number,
                duration_ticks=packets * ffmpeg.AAC_FRAME if sound else (end - first) * encoding.tick,
                bytes=sizes.get(number, 9),
            )
        )
    timescale = 48_000 if sound else encoding.timescale
    return Rendition(
        name=name, init=f"{name}/init.a.mp4", timescale=timescale, codec="avc1.64001f", segments=tuple(segments)
    )


def chunks_of(made: PlanResult, sizes: Mapping[int, int] | None = None) -> list[ChunkResult]:
    """All chunks, as workers return them."""
    encoding = made.encoding
    names = [rung.name for rung in encoding.rungs] + ["audio"]
    ends = list(accumulate(made.chunk_frames))
    return [
        ChunkResult(
            index=index,
            first_frame=end - count,
            frames=count,
            renditions=tuple(rendition(encoding, name, range(end - count, end), sizes or {}) for name in names),
        )
        for index, (count, end) in enumerate(zip(made.chunk_frames, ends, strict=True))
    ]


def listed(chunks: list[ChunkResult]) -> dict[str, int]:
    """The store's listing: every file with its size."""
    parts = [part for chunk in chunks for part in chunk.renditions]
    return {part.init: 7 for part in parts} | {
        segment.name: segment.bytes for part in parts for segment in part.segments
    }


def peak_of(made: PlanResult, sizes: Mapping[int, int]) -> int:
    chunks = chunks_of(made, sizes)
    (found,) = (
        each.peak for each in publish.join(made.encoding, chunks, listed(chunks)).bandwidths if each.name == "720p"
    )
    return found


# Bandwidth


def test_a_last_segment_of_one_frame_is_no_peak() -> None:
    """A key frame for a thirtieth of a second: nobody fetches it without the six seconds before it."""
    made = plan_of([1, 3], short=179)
    assert made.encoding.total_frames == 3 * 180 + 1
    assert peak_of(made, {0: 75_000, 1: 75_000, 2: 75_000, 3: 30_000}) == round(8 * 105_000 / (6 + 1 / 30))


def test_a_last_segment_of_half_its_time_counts_by_itself() -> None:
    made = plan_of([1, 3], short=90)
    assert peak_of(made, dict.fromkeys(range(4), 75000)) == 8 * 75_000 // 3


def test_the_peak_of_a_single_short_segment_is_its_own_rate() -> None:
    made = plan_of([1], short=179)
    assert peak_of(made, {0: 3_000}) == 8 * 3_000 * 30


def reference(bits: list[int], seconds: list[Fraction], target: int) -> Fraction:
    """RFC 8216, 4.1: the largest rate of contiguous segments of 0.5 to 1.5 times the target duration in all."""
    runs = [(first, end) for first in range(len(bits)) for end in range(first + 1, len(bits) + 1)]
    fitting = [run for run in runs if target <= 2 * sum(seconds[slice(*run)]) <= 3 * target]
    return max(sum(bits[slice(*run)]) / sum(seconds[slice(*run)]) for run in fitting or [(0, len(bits))])


@given(
    total=st.integers(1, 1500),
    fps=st.sampled_from([(30, 1, 15_360, 512), (24_000, 1001, 24_000, 1001), (60, 1, 15_360, 256)]),
    weights=st.lists(st.integers(1, 100_000), min_size=20, max_size=20),
)
def test_peaks_are_those_of_the_standard(total: int, fps: tuple[int, int, int, int], weights: list[int]) -> None:
    """Lectures of any length: short ones have segments shorter than half the target duration."""
    rate = Fraction(fps[0], fps[1])
    gop = plan.segment_length(total, rate, plan.Rules(segment_seconds=6, min_segments=3))
    target = plan.target_duration(gop, rate)
    whole = plan_of([1], fps=fps)
    made = whole.model_copy(
        update={
            "encoding": whole.encoding.model_copy(update={"gop": gop, "total_frames": total}),
            "chunk_frames": (total,),
        }
    )
    sizes = dict(enumerate(weights))
    (part,) = (part for part in chunks_of(made, sizes)[0].renditions if part.name == "720p")
    seconds = [Fraction(segment.duration_ticks, part.timescale) for segment in part.segments]
    expected = reference([8 * segment.bytes for segment in part.segments], seconds, target)
    assert peak_of(made, sizes) == round(expected)


# What is not published

PLAN = plan_of([1, 2, 3], short=20)


def test_a_whole_lecture_is_published() -> None:
    chunks = chunks_of(PLAN)
    published = publish.join(PLAN.encoding, chunks, listed(chunks))
    assert published.segments == 6
    assert published.bytes == sum(listed(chunks).values())
    assert [[segment.number for segment in part.segments] for part in published.renditions] == [list(range(6))] * 3


def _changed(chunk: ChunkResult, change: Callable[[Rendition], Rendition]) -> ChunkResult:
    """The chunk with its first rendition changed."""
    first, *others = chunk.renditions
    return chunk.model_copy(update={"renditions": (change(first), *others)})


def _segments(change: Callable[[list[Segment]], list[Segment]]) -> Callable[[list[ChunkResult]], list[ChunkResult]]:
    """Change the segments of the second chunk's first rendition."""

    def apply(chunks: list[ChunkResult]) -> list[ChunkResult]:
        first, second, *others = chunks
        changed = _changed(
            second, lambda part: part.model_copy(update={"segments": tuple(change(list(part.segments)))})
        )
        return [first, changed, *others]

    return apply


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda chunks: chunks[:-1], "540 of 1060 frames"),
        (lambda chunks: chunks[1:], "chunk 0 does not start at frame 0"),
        (lambda chunks: [chunks[0], chunks[0], *chunks[2:]], "chunk 1 does not start"),
        (lambda chunks: [chunks[1], chunks[0], chunks[2]], "chunk 0 does not start"),
        (
            lambda chunks: [*chunks[:2], chunks[2].model_copy(update={"renditions": chunks[2].renditions[1:]})],
            "720p: not one part a chunk",
        ),
        (
            lambda chunks: [
                *chunks[:2],
                _changed(chunks[2], lambda part: part.model_copy(update={"timescale": part.timescale * 2})),
            ],
            "720p: not one part a chunk on one and the same clock",
        ),
        (_segments(lambda found: found[:-1]), "720p: segments missing or doubled"),
        (_segments(lambda found: [*found, found[-1]]), "720p: segments missing or doubled"),
        (_segments(lambda found: found[::-1]), "720p: segments missing or doubled"),
        (
            _segments(lambda found: [found[0].model_copy(update={"duration_ticks": 1}), *found[1:]]),
            "720p: its segments do not add up to its length",
        ),
    ],
)
def test_what_is_not_the_whole_lecture_is_not_published(
    change: Callable[[list[ChunkResult]], list[ChunkResult]], said: str
) -> None:
    chunks = change(chunks_of(PLAN))
    with pytest.raises(publish.Incomplete, match=said):
        publish.join(PLAN.encoding, chunks, listed(chunks_of(PLAN)))


@pytest.mark.parametrize("name", sorted(listed(chunks_of(PLAN))))
def test_every_file_has_to_be_there_whole(name: str) -> None:
    chunks = chunks_of(PLAN)
    sizes = listed(chunks)
    with pytest.raises(publish.Incomplete, match=f"{name} is not in the store"):
        publish.join(PLAN.encoding, chunks, {key: size for key, size in sizes.items() if key != name})
    if "init" not in name:
        with pytest.raises(publish.Incomplete, match=f"{name} has 8 bytes instead of 9"):
            publish.join(PLAN.encoding, chunks, sizes | {name: 8})
