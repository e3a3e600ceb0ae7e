"""The streaming box parser: whatever ffmpeg (or a dying ffmpeg) writes, only whole and well-formed boxes come out."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_video import boxes

KINDS = st.sampled_from([b"ftyp", b"moov", b"moof", b"mdat", b"free"])
PLAIN = st.tuples(KINDS, st.binary(max_size=60), st.booleans())
PACKETS = st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20)
TIMES = st.integers(0, 2**63)


def encode(kind: bytes, body: bytes, *, wide: bool) -> bytes:
    """A box with a 32-bit or a 64-bit size."""
    if wide:
        return struct.pack(">I4sQ", 1, kind, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), kind) + body


class Trickle:
    """A reader that gives as little as it may: pipes do."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data, self.step = data, step

    def __call__(self, count: int) -> bytes:
        part, self.data = self.data[: min(count, self.step)], self.data[min(count, self.step) :]
        return part


@given(st.lists(PLAIN, max_size=8), st.integers(1, 50))
def test_every_box_comes_back_whole(plain: list[tuple[bytes, bytes, bool]], step: int) -> None:
    written = [encode(kind, body, wide=wide) for kind, body, wide in plain]
    read = list(boxes.read_boxes(Trickle(b"".join(written), step)))
    assert [box.data for box in read] == written
    assert [(box.kind, box.data[box.header :]) for box in read] == [(kind, body) for kind, body, _ in plain]


@given(st.lists(PLAIN, min_size=1, max_size=6), st.data())
def test_a_stream_cut_anywhere_gives_the_boxes_before_the_cut(
    plain: list[tuple[bytes, bytes, bool]], data: st.DataObject
) -> None:
    written = [encode(kind, body, wide=wide) for kind, body, wide in plain]
    stream = b"".join(written)
    cut = data.draw(st.integers(0, len(stream)))
    whole = [box for at, box in zip(ends(written), written, strict=True) if at <= cut]
    assert [box.data for box in boxes.read_boxes(Trickle(stream[:cut], 7))] == whole


def ends(written: list[bytes]) -> list[int]:
    """Where each box ends in the stream."""
    at, found = 0, []
    for box in written:
        at += len(box)
        found.append(at)
    return found


@pytest.mark.parametrize("size", [2, 7, boxes.MAX_BOX + 1])
def test_a_size_no_box_has_is_refused(size: int) -> None:
    with pytest.raises(boxes.BadBox):
        list(boxes.read_boxes(Trickle(struct.pack(">I4s", size, b"mdat") + bytes(64), 64)))


@given(PACKETS, st.integers(1, 2**32 - 1), TIMES, st.integers(1, 5000))
def test_a_built_fragment_parses_to_what_it_was_built_from(
    packets: list[bytes], sequence: int, decode_time: int, duration: int
) -> None:
    data = boxes.build_fragment(sequence=sequence, decode_time=decode_time, duration=duration, packets=packets)
    moof, mdat = boxes.read_boxes(Trickle(data, 1000))
    fragment = boxes.parse_moof(moof.data)
    assert (fragment.sequence, fragment.decode_time) == (sequence, decode_time)
    assert fragment.samples == tuple(boxes.Sample(duration, len(packet), True, 0) for packet in packets)
    assert mdat.data[mdat.header :] == b"".join(packets)
    assert data[data_offset(moof.data) :] == b"".join(packets)


def data_offset(moof: bytes) -> int:
    """The trun's data offset, from the moof's start."""
    start, _ = boxes.find(moof, b"moof", b"traf", b"trun")
    return int(struct.unpack_from(">i", moof, start + 16)[0])


@given(PACKETS, st.integers(1, 2**32 - 1), TIMES)
def test_a_restamp_changes_time_and_number_and_nothing_else(
    packets: list[bytes], sequence: int, decode_time: int
) -> None:
    data = boxes.build_fragment(sequence=1, decode_time=0, duration=1024, packets=packets)
    (moof, _) = boxes.read_boxes(Trickle(data, 1000))
    stamped = boxes.restamp(moof.data, sequence=sequence, decode_time=decode_time)
    fragment = boxes.parse_moof(stamped)
    assert (fragment.sequence, fragment.decode_time) == (sequence, decode_time)
    assert fragment.samples == boxes.parse_moof(moof.data).samples
    assert boxes.restamp(stamped, sequence=1, decode_time=0) == moof.data


@given(PACKETS, st.data())
def test_damage_in_a_moof_is_a_bad_box_or_another_reading_never_a_crash(
    packets: list[bytes], data: st.DataObject
) -> None:
    whole = boxes.build_fragment(sequence=1, decode_time=0, duration=1024, packets=packets)
    (moof, _) = boxes.read_boxes(Trickle(whole, 1000))
    damaged = bytearray(moof.data)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        fragment = boxes.parse_moof(bytes(damaged))
    except boxes.BadBox:
        return
    assert all(sample.size >= 0 for sample in fragment.samples)


def test_defaults_and_first_flags_of_a_run_are_understood() -> None:
    """As ffmpeg writes pictures: durations by default, the first sample's flags apart, signed offsets (version 1)."""
    tfhd = encode(b"tfhd", struct.pack(">IIIII", 0x020038, 1, 512, 0, 0x01010000), wide=False)
    tfdt = encode(b"tfdt", struct.pack(">IQ", 1 << 24, 77), wide=False)
    run = struct.pack(">IIiI", 1 << 24 | 0xA05, 2, 0, 0x02000000) + struct.pack(">IiIi", 9, 1024, 5, -512)
    traf = encode(b"traf", tfhd + tfdt + encode(b"trun", run, wide=False), wide=False)
    moof = encode(b"moof", encode(b"mfhd", struct.pack(">II", 0, 3), wide=False) + traf, wide=False)
    assert boxes.parse_moof(moof) == boxes.Fragment(
        3, 77, (boxes.Sample(512, 9, True, 1024), boxes.Sample(512, 5, False, -512))
    )


def test_two_runs_or_no_configuration_are_refused() -> None:
    with pytest.raises(boxes.BadBox, match="0 boxes"):
        boxes.parse_moof(encode(b"moof", b"", wide=False))
    with pytest.raises(boxes.BadBox):
        boxes.video_codec(encode(b"moov", b"", wide=False))
