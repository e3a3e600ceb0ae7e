"""Hostile and odd pictures: opened upright within limits, or refused with a reason."""

import struct
import zlib
from pathlib import Path

import numpy as np
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
