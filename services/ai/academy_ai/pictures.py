"""Opening pictures and PDFs that strangers uploaded: within limits, upright, or refused with a reason.

Used by every kind that reads pictures. The header is read before a pixel is decoded; JPEG is decoded at a reduced
size where that is enough; EXIF orientation is applied.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pypdfium2 as pdfium
from PIL import Image, ImageOps, UnidentifiedImageError

from academy_core.errors import Permanent, Reason

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
MAX_PIXELS = 100_000_000
MAX_SIDE = 20_000
MIN_SIDE = 100
MAX_PAGES = 200
PDF_SIDE = 2400
"""Long side in pixels of a rendered PDF page: about 200 dpi of A4."""

ORIENTATION, SIDEWAYS = 0x0112, range(5, 9)
"""EXIF's orientation tag; with these values the picture lies on its side."""
UNREADABLE = (UnidentifiedImageError, OSError, ValueError, SyntaxError)
"""What Pillow raises for files that are broken or no pictures."""

Gray = npt.NDArray[np.uint8]


def unreadable(detail: str) -> Permanent:
    """The file is not a picture we can open."""
    return Permanent(
        detail,
        reason=Reason(
            "picture-unreadable",
            "사진 파일을 열 수 없습니다. JPEG, PNG 또는 PDF 파일로 다시 올려 주세요.",
            "The picture cannot be opened. Upload it again as a JPEG, PNG or PDF file.",
        ),
    )


def out_of_bounds(detail: str) -> Permanent:
    """The picture is too small or too large."""
    return Permanent(
        detail,
        reason=Reason(
            "picture-size",
            f"사진의 크기가 맞지 않습니다. 가로세로 {MIN_SIDE}~{MAX_SIDE}픽셀, 전체 1억 픽셀 이하로 올려 주세요.",
            f"The picture's size is out of bounds: {MIN_SIDE} to {MAX_SIDE} pixels a side, 100 million in all.",
        ),
    )


def gray(path: Path, enough: int) -> Gray:
    """The picture in grey, upright, its long side at least `enough` pixels if it has them. Raises Permanent."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if min(width, height) < MIN_SIDE or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise out_of_bounds(f"{width}x{height}")
            share = enough / max(width, height)
            if share < 1:
                picture.draft("L", (round(width * share), round(height * share)))
            flat = _on_white(ImageOps.exif_transpose(picture))
            return np.ascontiguousarray(np.asarray(flat, np.uint8))
    except Image.DecompressionBombError as error:
        raise out_of_bounds(str(error)) from error
    except UNREADABLE as error:
        raise unreadable(type(error).__name__) from error


def size(path: Path) -> tuple[int, int]:
    """Width and height in the file, turned upright. Raises Permanent."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            return (height, width) if picture.getexif().get(ORIENTATION) in SIDEWAYS else (width, height)
    except Image.DecompressionBombError as error:
        raise out_of_bounds(str(error)) from error
    except UNREADABLE as error:
        raise unreadable(type(error).__name__) from error


def _on_white(picture: Image.Image) -> Image.Image:
    """Grey; transparent parts are paper."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        whole = picture.convert("LA")
        paper = Image.new("L", whole.size, 255)
        paper.paste(whole.getchannel("L"), mask=whole.getchannel("A"))
        return paper
    return picture.convert("L")


def is_pdf(path: Path) -> bool:
    """Whether the file says of itself that it is a PDF."""
    with path.open("rb") as file:
        return b"%PDF-" in file.read(1024)


def pages(path: Path, enough: int) -> Iterator[Gray]:
    """The picture, or each page of the PDF, in grey. Raises Permanent."""
    if not is_pdf(path):
        yield gray(path, enough)
        return
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        raise unreadable("PDF") from error
    with document:
        if not 0 < len(document) <= MAX_PAGES:
            raise Permanent(
                f"{len(document)} pages",
                reason=Reason(
                    "pdf-pages",
                    f"PDF는 {MAX_PAGES}쪽까지 처리할 수 있습니다. 나누어 올려 주세요.",
                    f"A PDF may have up to {MAX_PAGES} pages. Split it and upload the parts.",
                ),
            )
        for number in range(len(document)):
            yield _rendered(document, number)


def _rendered(document: pdfium.PdfDocument, number: int) -> Gray:
    try:
        page = document[number]
        longest = max(page.get_size())
        if not longest > 0:
            raise unreadable(f"page {number + 1} has no size")
        if min(page.get_size()) * PDF_SIDE < MIN_SIDE * longest:
            raise out_of_bounds(f"page {number + 1} is {page.get_size()}")
        bitmap = page.render(scale=PDF_SIDE / longest, grayscale=True)
        pixels = np.frombuffer(ctypes.string_at(bitmap.buffer, bitmap.stride * bitmap.height), np.uint8)
    except pdfium.PdfiumError as error:
        raise unreadable(f"page {number + 1}") from error
    return np.ascontiguousarray(pixels.reshape(bitmap.height, bitmap.stride)[:, : bitmap.width])
