"""Pictures and PDFs uploaded for the AI workers: which are taken, where they are put, whether they have arrived."""

from collections.abc import Sequence
from dataclasses import dataclass

from academy_api import buckets
from academy_api.exams import graves
from academy_core.errors import Permanent, Reason

MAX_BYTES = 100 * 1024 * 1024
TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/tiff", "image/bmp", "application/pdf"})

TOO_LARGE = Reason(
    "sheet-too-large",
    "파일이 너무 큽니다. 한 파일은 100MB 이하여야 합니다. 여러 개로 나누어 올려 주세요.",
    "The file is too large: at most 100 MB a file. Please split it.",
)
NO_PICTURE = Reason(
    "sheet-type",
    "지원하지 않는 파일 형식입니다. JPG, PNG, WebP, TIFF, BMP 사진이나 PDF를 올려 주세요.",
    "This type of file is not supported. Please upload a JPG, PNG, WebP, TIFF or BMP picture, or a PDF.",
)
SIZE_DIFFERS = Reason(
    "sheet-size-differs",
    "올라온 파일의 크기가 처음에 알려 준 크기와 다릅니다. 파일을 다시 올려 주세요.",
    "The uploaded file's size differs from what was announced. Please upload the file again.",
)


@dataclass(frozen=True, slots=True)
class Announced:
    """A file that the client is going to upload."""

    file_name: str
    size: int
    """Bytes."""
    content_type: str


def check(files: Sequence[Announced]) -> None:
    """Raises Permanent for a file that the workers could not read."""
    for file in files:
        if file.content_type not in TYPES:
            raise Permanent(file.file_name, reason=NO_PICTURE)
        if file.size > MAX_BYTES:
            raise Permanent(file.file_name, reason=TOO_LARGE)


def put_url(key: str, content_type: str) -> str:
    """Where to PUT a file. Presigning is local: no call is made."""
    return buckets.ai().presign_put(key, int(graves.URL_LIFE.total_seconds()), content_type=content_type)


def get_url(key: str) -> str:
    """Where to GET a file, for as long."""
    return buckets.ai().presign_get(key, int(graves.URL_LIFE.total_seconds()))


def arrived(prefix: str) -> dict[str, int]:
    """Key -> size in bytes of what lies under the prefix."""
    return {info.key: info.size for info in buckets.ai().list(prefix)}
