"""The few signs that Tesseract reads badly or not at all when alone: digits, brackets, circled digits.

Each is compared with pictures of the same sign in several fonts (`glyphs.png`, made by `python -m academy_ai.glyphs`
from Debian's fonts-nanum and fonts-noto-cjk, both under the Open Font License). Shared by the kinds that read exams.
"""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from academy_ai.paper import Floats, Gray

SIDE = 24
"""Pixels of a glyph's picture."""
PLAIN = "0123456789[]~-()"
CIRCLED = "①②③④⑤⑥⑦⑧⑨"
OTHERS = "㉠㉡㉢㉣㉤ⓐⓑⓒⓓⓔ○◎●㉮㉯"
"""Circled signs that must not be taken for a digit."""
SIGNS = PLAIN + CIRCLED + OTHERS
INSIDE = 0.37
"""Radius of what is inside a ring, of its picture's side."""
PICTURE = Path(__file__).with_name("glyphs.png")
_NANUM = Path("/usr/share/fonts/truetype/nanum")
_NOTO = Path("/usr/share/fonts/opentype/noto")
FONTS = (
    (_NANUM / "NanumGothic.ttf", 0),
    (_NANUM / "NanumGothicBold.ttf", 0),
    (_NANUM / "NanumMyeongjo.ttf", 0),
    (_NANUM / "NanumMyeongjoBold.ttf", 0),
    (_NANUM / "NanumSquareR.ttf", 0),
    (_NOTO / "NotoSansCJK-Bold.ttc", 1),
    (_NOTO / "NotoSerifCJK-Bold.ttc", 1),
)
"""Font files and the Korean face in them."""


@dataclass(frozen=True, slots=True)
class Likely:
    """The sign that a picture looks most like, how much (1: the same), and how much more than any other sign."""

    sign: str
    likeness: float
    lead: float


def likely(ink: Gray, signs: str, *, inside: bool = False) -> Likely:
    """What a cut-out sign (ink on 0) is, out of `signs`; `inside`: by what a ring holds, not by the ring."""
    known = [place for place, sign in enumerate(SIGNS) if sign in signs]
    scores = (_known(inside)[known] @ _normal(ink, inside=inside)).max(axis=1)
    order = np.argsort(scores)[::-1]
    best, second = float(scores[order[0]]), float(scores[order[1]]) if len(order) > 1 else 0.0
    return Likely(SIGNS[known[int(order[0])]], best, best - second)


def _normal(ink: Gray, *, inside: bool) -> Floats:
    """The sign in a square of SIDE pixels, its shape kept, as a vector of mean 0 and length 1."""
    height, width = ink.shape
    scale = SIDE / max(height, width, 1)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grown = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
    square = np.zeros((SIDE, SIDE), np.float32)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = grown
    square = np.asarray(cv2.GaussianBlur(square, (3, 3), 0), np.float32)
    if inside:
        square *= cv2.circle(np.zeros_like(square), (SIDE // 2, SIDE // 2), round(INSIDE * SIDE), 1.0, -1)
    square -= square.mean()
    return np.asarray(square.ravel() / max(float(np.linalg.norm(square)), 1e-6), np.float32)


@functools.cache
def _known(inside: bool) -> Floats:  # noqa: FBT001 - the cache's key
    """Signs x fonts x pixels."""
    with Image.open(PICTURE) as picture:
        sheet = np.asarray(picture, np.uint8)
    rows = sheet.reshape(len(SIGNS), SIDE, -1, SIDE).transpose(0, 2, 1, 3)
    return np.stack([np.stack([_normal(cut(one), inside=inside) for one in row]) for row in rows])


def cut(picture: npt.NDArray[np.uint8]) -> Gray:
    """A picture of ink without its empty border."""
    rows, columns = np.flatnonzero(picture.max(axis=1) > 60), np.flatnonzero(picture.max(axis=0) > 60)  # noqa: PLR2004 - fainter is blur
    if not len(rows):
        return np.zeros((1, 1), np.uint8)
    return np.asarray(picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], np.uint8)


def made() -> Image.Image:
    """The picture of all signs (down) in all fonts (across)."""
    sheet = Image.new("L", (SIDE * len(FONTS), SIDE * len(SIGNS)))
    for column, (path, index) in enumerate(FONTS):
        face = ImageFont.truetype(str(path), 96, index=index)
        for row, sign in enumerate(SIGNS):
            large = Image.new("L", (192, 192))
            ImageDraw.Draw(large).text((40, 40), sign, font=face, fill=255)
            glyph = Image.fromarray(cut(np.asarray(large, np.uint8)))
            glyph.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            at = column * SIDE + (SIDE - glyph.width) // 2, row * SIDE + (SIDE - glyph.height) // 2
            sheet.paste(glyph, at)
    return sheet


if __name__ == "__main__":
    made().save(PICTURE, optimize=True)
    sys.stdout.write(f"{PICTURE}\n")
