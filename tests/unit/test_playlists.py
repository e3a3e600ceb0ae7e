"""Playlists as pure functions: what an independent reader (PyPI m3u8) sees, and what may never change."""

from itertools import accumulate, pairwise

import m3u8
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lecture_support import chunk_of, plan_of, published_of

from academy_api.lectures import playlists
from academy_core.video import ChunkResult

FPS = st.sampled_from([(30, 1, 15_360, 512), (25, 1, 12_800, 512), (24_000, 1001, 24_000, 1001), (60, 1, 15_360, 256)])


@given(
    counts=st.lists(st.integers(1, 5), min_size=1, max_size=8), fps=FPS, audio=st.booleans(), short=st.integers(0, 100)
)
def test_a_reader_sees_every_segment_once_in_order(
    counts: list[int], fps: tuple[int, int, int, int], *, audio: bool, short: int
) -> None:
    plan = plan_of(counts, fps=fps, audio=audio, short=short)
    chunks = [chunk_of(plan, index) for index in range(len(counts))]
    texts = playlists.media_playlists(plan, chunks, ended=True)
    assert set(texts) == {"720p.m3u8", "480p.m3u8"} | ({"audio.m3u8"} if audio else set())
    for name, text in texts.items():
        read = m3u8.loads(text)
        assert read.version == 7
        assert read.is_independent_segments
        assert read.playlist_type == "event"
        assert read.is_endlist
        assert read.target_duration == 6
        assert read.start.time_offset == 0
        assert [segment.uri for segment in read.segments] == [
            segment.name
            for chunk in chunks
            for rendition in chunk.renditions
            if f"{rendition.name}.m3u8" == name
            for segment in rendition.segments
        ]
        assert len(read.segment_map) == 1
        assert all(round(segment.duration) <= 6 for segment in read.segments)
        assert sum(segment.duration for segment in read.segments) == pytest.approx(plan.duration_seconds, abs=1e-3)


@given(
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=8),
    inits=st.lists(st.sampled_from("ab"), min_size=8, max_size=8),
)
def test_a_longer_prefix_only_adds(counts: list[int], inits: list[str]) -> None:
    plan = plan_of(counts)
    chunks = [chunk_of(plan, index, init=inits[index]) for index in range(len(counts))]
    steps = [playlists.media_playlists(plan, chunks[:n], ended=False) for n in range(1, len(chunks) + 1)]
    steps.append(playlists.media_playlists(plan, chunks, ended=True))
    for name in steps[0]:
        for shorter, longer in pairwise(steps):
            assert longer[name].startswith(shorter[name])
            assert len(longer[name]) > len(shorter[name])
        assert all(playlists.ENDLIST not in step[name] for step in steps[:-1])
        assert steps[-1][name].endswith(playlists.ENDLIST)


@given(arrivals=st.permutations(range(6)))
def test_only_the_contiguous_prefix_is_listed(arrivals: list[int]) -> None:
    plan = plan_of([2] * 6)
    arrived: dict[int, ChunkResult] = {}
    listed = 0
    for index in arrivals:
        arrived[index] = chunk_of(plan, index)
        prefix = playlists.contiguous(arrived)
        assert [chunk.index for chunk in prefix] == list(range(len(prefix)))
        assert len(prefix) >= listed
        assert len(prefix) not in arrived
        listed = len(prefix)
        assert playlists.playable_seconds(plan, prefix) == pytest.approx(12 * listed)
    assert listed == 6


def test_another_init_breaks_every_rendition_alike() -> None:
    plan = plan_of([1, 1, 1])
    odd = chunk_of(plan, 1)
    odd = odd.model_copy(
        update={"renditions": (odd.renditions[0].model_copy(update={"init": "720p/init-b.mp4"}), *odd.renditions[1:])}
    )
    texts = playlists.media_playlists(plan, [chunk_of(plan, 0), odd, chunk_of(plan, 2)], ended=False)
    for name, text in texts.items():
        read = m3u8.loads(text)
        assert [bool(segment.discontinuity) for segment in read.segments] == [False, True, True]
        assert len(read.segment_map) == 3
        if name == "720p.m3u8":
            maps = [segment.init_section.uri for segment in read.segments]
            assert maps == ["720p/init-a.mp4", "720p/init-b.mp4", "720p/init-a.mp4"]


def test_the_early_master_states_the_caps() -> None:
    plan = plan_of([2, 10])
    read = m3u8.loads(playlists.early_master(plan, [chunk_of(plan, 0)]))
    assert read.is_variant
    assert [playlist.uri for playlist in read.playlists] == ["720p.m3u8", "480p.m3u8"]
    info = read.playlists[0].stream_info
    assert (info.bandwidth, info.average_bandwidth) == (2_528_000, None)
    assert info.resolution == (1280, 720)
    assert info.codecs == "avc1.64001f,mp4a.40.2"
    assert info.audio == read.media[0].group_id == "audio"
    assert read.media[0].uri == "audio.m3u8"


def test_the_measured_master_adds_the_audio_to_every_rung() -> None:
    plan = plan_of([2], fps=(24_000, 1001, 24_000, 1001))
    text = playlists.measured_master(plan, [chunk_of(plan, 0)], published_of(plan))
    info = m3u8.loads(text).playlists[1].stream_info
    assert (info.bandwidth, info.average_bandwidth) == (1900 + 2900, 1500 + 2500)
    assert "FRAME-RATE=23.976," in text


def test_without_audio_there_is_no_group() -> None:
    plan = plan_of([1], audio=False)
    text = playlists.measured_master(plan, [chunk_of(plan, 0)], published_of(plan))
    assert "AUDIO" not in text
    assert m3u8.loads(text).playlists[0].stream_info.bandwidth == 900


def test_a_missing_rendition_is_an_error_not_a_hole() -> None:
    plan = plan_of([1, 1])
    bare = chunk_of(plan, 1)
    bare = bare.model_copy(update={"renditions": bare.renditions[:1]})
    with pytest.raises(ValueError, match="chunk 1 lacks 480p, audio"):
        playlists.media_playlists(plan, [chunk_of(plan, 0), bare], ended=False)
    with pytest.raises(ValueError, match="did not measure audio"):
        playlists.measured_master(
            plan,
            [chunk_of(plan, 0)],
            published_of(plan).model_copy(update={"bandwidths": published_of(plan).bandwidths[:2]}),
        )


def test_segment_numbers_of_the_fixture_are_absolute() -> None:
    plan = plan_of([2, 3, 1])
    firsts = [chunk_of(plan, index).renditions[0].segments[0].number for index in range(3)]
    assert firsts == [0, *accumulate([2, 3])]
