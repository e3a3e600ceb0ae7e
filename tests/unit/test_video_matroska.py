"""Matroska in pieces: written, read back, indexed; key frames of both kinds of index; whatever is odd is no index."""

import itertools
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction

import media
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_video import ebml, keyframes
from academy_video.intermediate import Clusters, Index, Memory, Place, Shifts, front_of

TRACKS = ebml.Tracks(
    ebml.element(
        ebml.TRACKS,
        b"".join(
            ebml.element(
                ebml.TRACK_ENTRY,
                ebml.element(ebml.TRACK_NUMBER, bytes([number])) + ebml.element(ebml.TRACK_TYPE, bytes([kind])),
            )
            for number, kind in ((1, 1), (2, 2))
        ),
    )
)


def block(track: int, time: int, payload: bytes, *, key: bool = False) -> ebml.Block:
    body = bytes([0x80 | track]) + struct.pack(">h", 0) + bytes([0x80 if key else 0]) + payload
    return ebml.Block(track, time, key, ebml.element(ebml.SIMPLE_BLOCK, body), len(ebml.element(b"\xa3", b"")) + 1)


@st.composite
def packets(draw: st.DrawFn) -> list[ebml.Block]:
    count = draw(st.integers(1, 60))
    found, at = [], 0
    for number in range(count):
        at += draw(st.integers(0, 900))
        track = draw(st.sampled_from([1, 2]))
        payload = number.to_bytes(2) + draw(st.binary(max_size=20))
        found.append(block(track, at, payload, key=track == 2 or number == 0 or draw(st.booleans())))
    return found


def written(blocks: list[ebml.Block]) -> tuple[bytes, Index]:
    """A whole file and its index."""
    clusters = Clusters(1)
    data = b"".join([*itertools.chain.from_iterable(map(clusters.add, blocks)), *clusters.flush()])
    index = Index(tracks="", cues=tuple(clusters.cues), last_picture=blocks[-1].time)
    return data, index


def read_back(data: bytes) -> Iterator[ebml.Tracks | ebml.Block]:
    return ebml.read(media.Reader(data))


@given(packets())
def test_what_is_written_is_read_back(blocks: list[ebml.Block]) -> None:
    data, index = written(blocks)
    whole = ebml.front(TRACKS, index.cues, 1, index.last_picture, len(data)) + data
    assert list(read_back(whole)) == list(read_back(ebml.opening(TRACKS) + data))
    tracks, *found = read_back(whole)
    assert tracks == TRACKS
    assert [(each.track, each.time, each.key, each.payload) for each in found if isinstance(each, ebml.Block)] == [
        (each.track, each.time, each.key, each.payload) for each in blocks
    ]


def test_packed_sound_is_named_and_all_else_stays() -> None:
    rate = ebml.element(ebml.SAMPLING_FREQUENCY, struct.pack(">d", 48_000))
    number = ebml.element(ebml.TRACK_NUMBER, b"\x02") + ebml.element(ebml.TRACK_TYPE, b"\x02")
    depth, six = ebml.element(b"\x62\x64", b"\x08"), ebml.element(ebml.CHANNELS, b"\x06")
    claimed = ebml.element(ebml.CODEC_ID, b"A_PCM/INT/LIT") + ebml.element(ebml.AUDIO, six + rate + depth)
    picture = ebml.element(ebml.TRACK_ENTRY, ebml.element(ebml.TRACK_TYPE, b"\x01") + b"\x86\x81V")
    made = ebml.Tracks(ebml.element(ebml.TRACKS, picture + ebml.element(ebml.TRACK_ENTRY, number + claimed)))
    stereo = ebml.element(ebml.AUDIO, rate + ebml.element(ebml.CHANNELS, bytes(7) + b"\x02"))
    named = number + ebml.element(ebml.CODEC_ID, b"A_AAC/MPEG4/LC") + stereo
    wanted = ebml.element(ebml.TRACKS, picture + ebml.element(ebml.TRACK_ENTRY, named))
    assert made.with_packed_sound().data == wanted


@given(packets(), st.integers(0, 400))
def test_a_file_that_is_cut_gives_what_is_whole(blocks: list[ebml.Block], lost: int) -> None:
    data, index = written(blocks)
    whole = ebml.front(TRACKS, index.cues, 1, 0, len(data)) + data
    found = [each for each in read_back(whole[: len(whole) - lost]) if isinstance(each, ebml.Block)]
    assert [each.payload for each in found] == [each.payload for each in blocks[: len(found)]]


@given(packets())
def test_the_index_leads_to_every_key_frame(blocks: list[ebml.Block]) -> None:
    data, index = written(blocks)
    whole = ebml.front(TRACKS, index.cues, 1, 0, len(data)) + data
    times = sorted({each.time for each in blocks if each.track == 1 and each.key})
    keys = keyframes.of_source("matroska,webm", lambda at, n: whole[at : at + n], len(whole), 0, "0x1")
    every = [Fraction(time - times[0], 1000) for time in times]
    if keys is None:
        assert not every
    else:  # of those that lie close together some are left out: see test_video_keyframes
        assert set(keys) <= set(every)
        assert (keys[0], keys[-1]) == (every[0], every[-1])
    for time, offset in index.cues:
        (first, *_) = (each for each in read_back(data[offset:]) if isinstance(each, ebml.Block))
        assert (first.track, first.time, first.key) == (1, time, True)


@given(st.sampled_from(["mov,mp4", "matroska,webm"]), st.binary(max_size=300))
def test_noise_is_no_index(container: str, noise: bytes) -> None:
    for data in (noise, b"\x1a\x45\xdf\xa3" + noise, b"\x00\x00\x00\x08free" + noise):
        keyframes.of_source(container, lambda at, n, data=data: data[at : at + n], len(data), 0, "0x1")  # type: ignore[misc]
        assert not keyframes.sound_lies_apart(
            container,
            lambda at, n, data=data: data[at : at + n],  # type: ignore[misc]
            len(data),
            0,
            1,
        )


@given(packets(), st.data())
def test_a_damaged_index_is_none_or_another_but_no_crash(blocks: list[ebml.Block], draw: st.DataObject) -> None:
    data, index = written(blocks)
    whole = bytearray(ebml.front(TRACKS, index.cues, 1, 0, len(data)) + data)
    for _ in range(4):
        whole[draw.draw(st.integers(0, len(whole) - 1))] = draw.draw(st.integers(0, 255))
    keyframes.of_source("matroska", lambda at, n: bytes(whole[at : at + n]), len(whole), 0, "0x1")
    keyframes.sound_lies_apart("matroska", lambda at, n: bytes(whole[at : at + n]), len(whole), 0, 1)


@pytest.mark.parametrize(("ahead", "apart"), [(0, False), (900, False), (1100, True), (6000, True)])
def test_sound_that_lies_before_its_key_frame_is_noticed(ahead: int, *, apart: bool) -> None:
    """A picture every 10 s, sound every 100 ms, which lies so many ms before the picture of its time."""
    pictures = [block(1, at, b"p", key=True) for at in range(0, 60_000, 10_000)]
    sounds = [block(2, at, b"s", key=True) for at in range(0, 60_000, 100)]
    blocks = sorted([*pictures, *sounds], key=lambda each: (each.time - (ahead if each.track == 2 else 0), each.track))
    data, index = written(blocks)
    whole = ebml.front(TRACKS, index.cues, 1, 0, len(data)) + data
    assert keyframes.sound_lies_apart("matroska", lambda at, n: whole[at : at + n], len(whole), 0, 1) == apart


def test_sound_that_lies_apart_is_noticed_among_longer_stretches_where_it_does_not() -> None:
    """Twenty of 12 s with pictures all along, and in their midst one of 10 s whose picture stands."""
    stands = 10 * 12_000
    keys = [*range(0, stands + 1, 12_000), *range(stands + 10_000, 21 * 12_000, 12_000)]
    moving = [at for at in range(0, 21 * 12_000, 1000) if at not in keys and not stands < at < stands + 10_000]
    pictures = [block(1, at, 100 * b"p", key=at in keys) for at in sorted([*keys, *moving])]
    sounds = [block(2, at, b"s", key=True) for at in range(0, 21 * 12_000, 100)]
    heard_at = {each: stands if stands < each.time < stands + 10_000 else each.time for each in sounds}
    blocks = sorted([*sounds, *pictures], key=lambda each: heard_at.get(each, each.time))
    data, index = written(blocks)
    whole = ebml.front(TRACKS, index.cues, 1, 0, len(data)) + data
    assert keyframes.sound_lies_apart("matroska", lambda at, n: whole[at : at + n], len(whole), 0, 1)


@pytest.mark.parametrize(
    ("keys", "end", "expected"), [([0, 5, 9], 10, 5), ([0], 30, 30), ([], 30, 30), ([0, 20], 25, 20)]
)
def test_the_longest_gap_counts_the_end(keys: list[int], end: int, expected: int) -> None:
    assert keyframes.longest_gap(list(map(Fraction, keys)), Fraction(end)) == expected


def lecture(
    sounds: Callable[[int], bytes], pictures: Callable[[int], bytes] = lambda number: b"p%d" % number
) -> list[ebml.Block]:
    """200 pictures of 40 ms, each tenth a key frame, and a sound after each."""
    return [
        each
        for number in range(200)
        for each in (
            block(1, 40 * number, pictures(number), key=number % 10 == 0),
            block(2, 40 * number + 7, sounds(number), key=True),
        )
    ]


def place_of(blocks: list[ebml.Block], picture: int, shifts: Shifts) -> Place:
    memory = Memory(1, whole=True)
    for each in blocks[: 2 * picture + 1]:
        memory.feed(each)
    return memory.place(1234, blocks[2 * picture], shifts, picture)


def met(blocks: list[ebml.Block], start: int, wanted: Place, own: Shifts) -> list[tuple[int, Shifts]]:
    """(time of the picture, shifts found) where `wanted` is met, read from `start` with clocks moved by `own`."""
    again, found = Memory(1, whole=start == 0), []
    for each in blocks[start:]:
        again.feed(each.moved(own.picture if each.track == 1 else own.sound))
        if each.key and each.track == 1 and (shifts := again.met(wanted)) is not None:
            found.append((each.time, shifts))
    return found


def test_a_place_is_known_again_wherever_reading_began() -> None:
    blocks = lecture(lambda number: b"s%d" % number)
    place = place_of(blocks, 150, Shifts(93_000, 93_500))
    assert (place.byte, place.time) == (1234, 99_000)
    own = Shifts(-2000, -2600)  # this run's clocks are others, and not one
    found = [(40 * 150, Shifts(95_000, 96_100))]
    assert met(blocks, 0, place, own) == found
    assert met(blocks, 2 * 100, place, own) == found
    assert met(blocks, 2 * 148, place, own) == []  # too little lies before it to be sure


@pytest.mark.parametrize("changes", [range(60, 62), range(110, 112)])
def test_silence_does_not_hide_where_the_sound_lies(changes: range) -> None:
    """Its packets are all alike: the last that are not say how the tracks lie."""
    blocks = lecture(lambda number: b"loud%d" % number if number in changes else b"silent")
    place = place_of(blocks, 150, Shifts(0, 0))
    assert met(blocks, 80, place, Shifts(-2000, -2600)) == [(40 * 150, Shifts(2000, 2600))]


def test_where_all_sound_is_alike_the_tracks_stay_as_they_are_read() -> None:
    blocks = lecture(lambda _: b"silent")
    place = place_of(blocks, 150, Shifts(0, 0))
    ((_, shifts),) = met(blocks, 0, place, Shifts(-2000, -2013))
    assert shifts.picture == 2000
    assert abs(shifts.sound - 2000) <= 20


def test_a_picture_that_stands_is_known_by_its_number_alone() -> None:
    blocks = lecture(lambda _: b"silent", lambda _: b"slide")
    place = place_of(blocks, 150, Shifts(0, 0))
    assert place.alike
    assert met(blocks, 0, place, Shifts(0, 0)) == [(40 * 150, Shifts(0, 0))]


def test_a_picture_that_has_just_changed_is_like_no_other() -> None:
    blocks = lecture(lambda _: b"silent", lambda number: b"slide%d" % (number // 145))
    assert not place_of(blocks, 150, Shifts(0, 0)).alike
    assert place_of(blocks, 170, Shifts(0, 0)).alike


def test_an_unfinished_intermediate_has_no_files() -> None:
    with pytest.raises(ValueError, match="not ended"):
        Index(tracks="").files()


def test_the_front_names_its_length() -> None:
    import base64  # noqa: PLC0415

    index = Index(tracks=base64.b64encode(TRACKS.data).decode(), cues=((0, 0), (4000, 1000)), last_picture=8000)
    front = front_of(index)
    segment = ebml.header(front, ebml.header(front, 0).end or 0)
    assert segment.end == len(front)  # there are no pieces yet
