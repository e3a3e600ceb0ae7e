"""Rules of an upload, pure: part sizes, allowed types, and what the first bytes of a recording look like."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from academy_core import containers
from academy_core.errors import Permanent, Reason

MIB = 1024 * 1024
MAX_SOURCE_BYTES = 50 * 1024 * MIB
MIN_PART_BYTES = 8 * MIB
"""R2's least is 5 MiB. All parts but the last are equal, as R2 demands."""
MAX_PARTS = 1000
"""One page of ListParts, so that resuming is one call (R2 would take 10,000)."""
URLS_AT_ONCE = 16
"""Presigning takes a little under a millisecond of CPU; one request may hold the event loop for 20 ms."""
OTHER_TYPES = frozenset({"application/octet-stream", "application/mp4", "application/x-matroska"})
"""What browsers send for recordings whose type their system does not know."""

TOO_LARGE = Reason(
    "source-too-large",
    "파일이 너무 큽니다. 50GB 이하의 파일을 올려 주세요.",
    "The file is too large. Please upload a file of at most 50 GB.",
)
NOT_A_VIDEO = Reason(
    "source-not-a-video",
    "동영상 파일이 아닙니다. MP4, MOV, MKV, WebM 등의 동영상 파일을 올려 주세요.",
    "This is not a video file. Please upload a video such as MP4, MOV, MKV or WebM.",
)
INCOMPLETE = Reason(
    "upload-incomplete",
    "아직 올라오지 않은 부분이 있습니다. 업로드를 이어서 마친 뒤 다시 시도해 주세요.",
    "Some parts of the file have not arrived yet. Please resume the upload and try again.",
)
SIZE_DIFFERS = Reason(
    "source-size-differs",
    "올라온 파일의 크기가 처음에 알려 준 크기와 다릅니다. 파일을 다시 올려 주세요.",
    "The uploaded file's size differs from what was announced. Please upload the file again.",
)
ABANDONED = Reason(
    "upload-abandoned",
    "업로드가 하루 넘게 중단되어 취소되었습니다. 파일을 다시 올려 주세요.",
    "The upload was left for more than a day and was given up. Please upload the file again.",
)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart upload: number from 1, size in bytes."""

    number: int
    size: int


def check_announced(size: int, content_type: str) -> None:
    """Refuse, before a byte is sent, what cannot become a lecture. Raises Permanent."""
    if size > MAX_SOURCE_BYTES:
        raise Permanent(reason=TOO_LARGE)
    if not content_type.startswith("video/") and content_type not in OTHER_TYPES:
        raise Permanent(reason=NOT_A_VIDEO)
    if containers.is_unsupported_type(content_type):
        raise Permanent(reason=containers.UNSUPPORTED)


def part_bytes(size: int) -> int:
    """Size of every part but the last: whole MiB, few enough parts for one page of ListParts."""
    return max(MIN_PART_BYTES, math.ceil(size / MAX_PARTS / MIB) * MIB)


def parts(size: int, part_size: int) -> Iterator[Part]:
    """All parts of a file of `size` bytes."""
    for number, start in enumerate(range(0, size, part_size), start=1):
        yield Part(number, min(part_size, size - start))


def missing(size: int, part_size: int, arrived: Collection[Part]) -> list[Part]:
    """The parts that have not arrived whole; a part of another size counts as missing."""
    there = set(arrived)
    return [part for part in parts(size, part_size) if part not in there]


def fault(head: bytes) -> Reason | None:
    """Why a file beginning with these bytes cannot become a lecture; None when a worker may have it."""
    if containers.is_unsupported(head):
        return containers.UNSUPPORTED
    return None if looks_like_video(head) else NOT_A_VIDEO


def looks_like_video(head: bytes) -> bool:
    """Whether a file beginning with these bytes is of a container that ffprobe will be allowed to open.

    A cheap look that spares a worker the obvious mistakes (a PDF, a picture, a zip); ffprobe has the last word.
    """
    return (
        head[4:8] in {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}  # MP4, QuickTime
        or head.startswith((b"\x1a\x45\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba"))  # Matroska and WebM, FLV, MPEG-PS
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
        or (head[:1] == b"G" and head[188:189] == b"G")  # MPEG-TS: a sync byte every 188
        or (head[4:5] == b"G" and head[196:197] == b"G")  # the same with camcorders' 4-byte time codes (M2TS)
    )
