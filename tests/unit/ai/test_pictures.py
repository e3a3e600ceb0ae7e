"""Hostile and odd pictures: opened upright within limits, or refused with a reason."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
import pytest
from PIL import Image

from academy_ai import pictures
from academy_core.errors import Permanent


def code(path: Path) -> str:
    with pytest.raises(Permanent) as refused:
        list(pictures.pages(path, 1000))
    assert refused.value.reason.ko
    return refused.value.reason.code


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (400, 200), "white")
    picture.paste("black", (0, 0, 200, 200))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    seen = pictures.gray(tmp_path / "a.jpg", 1000)
    assert seen.shape == (400, 200)
    assert seen[:150].mean() < 20
    assert seen[250:].mean() > 200


def test_transparent_paper_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (200, 200), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert pictures.gray(tmp_path / "a.png", 1000).min() == 255


def test_large_jpeg_is_decoded_small_but_not_too_small(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((3000, 4000), np.uint8)).save(tmp_path / "a.jpg")
    assert 1600 <= max(pictures.gray(tmp_path / "a.jpg", 1600).shape) <= 3200


def _bomb(path: Path, side: int) -> Path:
    """A PNG whose header promises `side` x `side` pixels and whose data is a few bytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize(
    ("side", "expected"),
    [(30_000, "picture-size"), (15_000, "picture-size"), (1, "picture-size"), (500, "picture-unreadable")],
)
def test_promised_sizes_are_checked_before_decoding(tmp_path: Path, side: int, expected: str) -> None:
    assert code(_bomb(tmp_path / "a.png", side)) == expected


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.7 nothing", b"GIF89a" + bytes(50)])
def test_what_is_no_picture_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert code(tmp_path / "a.jpg") == "picture-unreadable"


def test_truncated_jpeg_is_refused(tmp_path: Path) -> None:
    random = np.random.default_rng(1).integers(0, 255, (300, 300), np.uint8)
    Image.fromarray(random).save(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    assert code(tmp_path / "b.jpg") == "picture-unreadable"


def _pdf(path: Path, pages: list[tuple[float, float]]) -> Path:
    document = pdfium.PdfDocument.new()
    for width, height in pages:
        document.new_page(width, height)
    document.save(path)
    return path


def test_a_pdf_of_ten_thousand_pages_is_refused_before_any_is_drawn(tmp_path: Path) -> None:
    assert code(_pdf(tmp_path / "a.pdf", [(100, 100)] * 10_000)) == "pdf-pages"


@pytest.mark.parametrize(("size", "expected"), [((1, 14_400), "picture-size"), ((14_400, 3), "picture-size")])
def test_pdf_pages_like_threads_are_refused(tmp_path: Path, size: tuple[float, float], expected: str) -> None:
    assert code(_pdf(tmp_path / "a.pdf", [size])) == expected


def test_a_huge_pdf_page_is_drawn_at_the_size_of_any_other(tmp_path: Path) -> None:
    (page,) = pictures.pages(_pdf(tmp_path / "a.pdf", [(14_400, 14_400)]), 1000)
    assert page.shape == (pictures.PDF_SIDE, pictures.PDF_SIDE)


def test_a_pdf_whose_stream_swells_a_thousandfold_is_drawn_within_limits(tmp_path: Path) -> None:
    """20 MB of `0 0 m` packed into 20 KB: pdfium reads it, and the page stays a page."""
    content = zlib.compress(b"0 0 m\n" * 3_500_000, 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(content), content),
    ]
    body = b"%PDF-1.4\n" + b"".join(b"%d 0 obj%s endobj\n" % (n, part) for n, part in enumerate(parts, 1))
    (tmp_path / "a.pdf").write_bytes(body + b"trailer<</Root 1 0 R/Size 5>>\n%%EOF")
    (page,) = pictures.pages(tmp_path / "a.pdf", 1000)
    assert page.shape == (pictures.PDF_SIDE, pictures.PDF_SIDE)


@pytest.mark.parametrize("orientation", [0, 9, 255, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (400, 200), "white").save(tmp_path / "a.jpg", exif=exif)
    assert pictures.gray(tmp_path / "a.jpg", 1000).shape == (200, 400)
    assert pictures.size(tmp_path / "a.jpg") == (400, 200)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12" * 60]
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_passed_over(tmp_path: Path, exif: bytes) -> None:
    Image.new("L", (400, 200), "white").save(tmp_path / "a.jpg", exif=exif)
    assert sorted(pictures.gray(tmp_path / "a.jpg", 1000).shape) == [200, 400]
