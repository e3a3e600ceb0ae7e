"""Rules of an upload."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_api.lectures import uploads
from academy_core.errors import Permanent


@given(size=st.integers(1, uploads.MAX_SOURCE_BYTES))
def test_parts_cover_the_file_as_r2_demands(size: int) -> None:
    part_size = uploads.part_bytes(size)
    parts = list(uploads.parts(size, part_size))
    assert sum(part.size for part in parts) == size
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert len(parts) <= uploads.MAX_PARTS
    assert all(part.size == part_size for part in parts[:-1])
    assert part_size >= 5 * uploads.MIB
    assert 0 < parts[-1].size <= part_size


@given(size=st.integers(1, 100 * uploads.MIB), arrived=st.sets(st.integers(1, 13)))
def test_resuming_asks_for_exactly_what_is_missing(size: int, arrived: set[int]) -> None:
    part_size = uploads.part_bytes(size)
    every = list(uploads.parts(size, part_size))
    there = [part for part in every if part.number in arrived]
    missing = uploads.missing(size, part_size, there)
    assert sorted(missing + there, key=lambda part: part.number) == every


def test_a_part_that_arrived_short_is_missing() -> None:
    assert uploads.missing(10, 8, [uploads.Part(1, 7), uploads.Part(2, 2)]) == [uploads.Part(1, 8)]


@pytest.mark.parametrize(
    ("head", "is_video"),
    [
        (b"\x00\x00\x00\x20ftypisom", True),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", True),
        (b"\x1a\x45\xdf\xa3\x01\x00", True),
        (b"RIFF\x00\x00\x00\x00AVI LIST", True),
        (b"FLV\x01\x05", True),
        (b"\x00\x00\x01\xba\x44", True),
        ((b"G" + b"\x00" * 187) * 2, True),
        ((b"\x00" * 4 + b"G" + b"\x00" * 187) * 2, True),
        (b"", False),
        (b"G", False),
        (b"GIF89a" + b"\x00" * 300, False),
        (b"%PDF-1.7", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", False),
        (b"#EXTM3U\n", False),
        (b"PK\x03\x04", False),
    ],
)
def test_first_bytes(head: bytes, *, is_video: bool) -> None:
    assert uploads.looks_like_video(head) is is_video


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (b"\x00\x00\x00\x20ftypisom", None),
        (b"%PDF-1.7", "source-not-a-video"),
        (bytes.fromhex("3026B2758E66CF11A6D900AA0062CE6C"), "source-container-unsupported"),
        (bytes.fromhex("3026B275"), "source-not-a-video"),
        (b".RMF\x00\x00\x00\x12", "source-container-unsupported"),
        (b"OggS\x00\x02", "source-container-unsupported"),
        (bytes.fromhex("060E2B34020501010D01020101020400"), "source-container-unsupported"),
    ],
)
def test_a_video_of_another_kind_is_not_called_no_video(head: bytes, code: str | None) -> None:
    fault = uploads.fault(head)
    assert (None if fault is None else fault.code) == code


@pytest.mark.parametrize(
    "content_type", ["video/mp4", "video/quicktime", "video/x-matroska", "application/octet-stream"]
)
def test_video_types_are_accepted(content_type: str) -> None:
    uploads.check_announced(1, content_type)


@pytest.mark.parametrize(
    ("size", "content_type", "code"),
    [
        (1, "image/png", "source-not-a-video"),
        (1, "video/x-ms-wmv", "source-container-unsupported"),
        (uploads.MAX_SOURCE_BYTES + 1, "video/mp4", "source-too-large"),
    ],
)
def test_what_cannot_be_a_lecture_is_refused_at_once(size: int, content_type: str, code: str) -> None:
    with pytest.raises(Permanent) as refused:
        uploads.check_announced(size, content_type)
    assert refused.value.reason.code == code
