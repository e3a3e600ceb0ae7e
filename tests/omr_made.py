"""Made answer sheets with known marks, and the degradations that scans and photos bring; seeded."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
PAPER = 245


@dataclass(frozen=True)
class Made:
    """A sheet: its template.json, the picture, and what each output column must read."""

    template: str
    picture: Picture
    truth: dict[str, str]


def _ring(picture: Picture, at: tuple[float, float], size: float, letter: str, shade: int) -> None:
    centre = (round(at[0] + size / 2), round(at[1] + size / 2))
    cv2.circle(picture, centre, round(size / 2), (shade, shade, shade), 1, cv2.LINE_AA)
    (width, height), _ = cv2.getTextSize(letter, cv2.FONT_HERSHEY_SIMPLEX, size / 55, 1)
    foot = (centre[0] - width // 2, centre[1] + height // 2)
    cv2.putText(picture, letter, foot, cv2.FONT_HERSHEY_SIMPLEX, size / 55, (shade, shade, shade), 1, cv2.LINE_AA)


def _mark(picture: Picture, x: float, y: float, size: float, random: np.random.Generator) -> None:
    """A hand-filled bubble: off centre, ragged, dark but not black."""
    shade = int(random.integers(25, 90))
    centre = np.array([x + size / 2, y + size / 2]) + random.normal(0, size * 0.05, 2)
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    radius = size * (0.44 + random.normal(0, 0.04, 16))
    outline = centre + np.stack([np.cos(turn) * radius, np.sin(turn) * radius], axis=1)
    cv2.fillPoly(picture, [np.rint(outline * 16).astype(np.int32)], (shade, shade, shade + 12), cv2.LINE_AA, 4)


def sheet(seed: int, *, questions: int = 60, choices: int = 5, blank: float = 0.05, double: float = 0.03) -> Made:
    """An A4 sheet at 120 dpi: student number (8 digits), `questions` in columns of 20; some blank, some doubled."""
    random = np.random.default_rng(seed)
    width, height, size = 992, 1403, 20.0
    picture = np.full((height, width, 3), PAPER, np.uint8)
    cv2.putText(picture, "ACADEMY ANSWER SHEET", (60, 80), cv2.FONT_HERSHEY_DUPLEX, 1.2, (40, 40, 40), 2, cv2.LINE_AA)
    cv2.rectangle(picture, (40, 110), (width - 40, 200), (90, 90, 90), 1)
    for row in range(3):
        text = "Fill in one circle for each question, dark and whole."[: 52 - 8 * row]
        cv2.putText(picture, text, (60, 135 + 25 * row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (70, 70, 70), 1, cv2.LINE_AA)
    shade = int(random.integers(90, 170))
    blocks: dict[str, dict[str, object]] = {}
    truth: dict[str, str] = {}
    blocks["Number"] = {
        "fieldType": "QTYPE_INT",
        "origin": [80, 260],
        "bubblesGap": 29,
        "labelsGap": 34,
        "fieldLabels": ["n1..8"],
    }
    digits = random.integers(0, 10, 8)
    for column, digit in enumerate(digits):
        for row in range(10):
            _ring(picture, (80 + 34 * column, 260 + 29 * row), size, str(row), shade)
        _mark(picture, 80 + 34 * column, 260 + 29 * int(digit), size, random)
    truth["Student"] = "".join(map(str, digits))
    values = "ABCDE"[:choices]
    for first in range(1, questions + 1, 20):
        last = min(questions, first + 19)
        x = 110 + 290 * ((first - 1) // 20)
        blocks[f"Q{first}"] = {
            "fieldType": f"QTYPE_MCQ{choices}",
            "origin": [x, 620],
            "bubblesGap": 38,
            "labelsGap": 36,
            "fieldLabels": [f"q{first}..{last}"],
        }
        for number in range(first, last + 1):
            y = 620 + 36 * (number - first)
            cv2.putText(
                picture, str(number), (x - 45, y + 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA
            )
            for column, value in enumerate(values):
                _ring(picture, (x + 38 * column, y), size, value, shade)
            chance = random.random()
            count = 0 if chance < blank else 2 if chance < blank + double else 1
            marked = sorted(random.choice(choices, count, replace=False))
            for column in marked:
                _mark(picture, x + 38 * int(column), y, size, random)
            truth[f"q{number}"] = "".join(values[int(column)] for column in marked)
    template = {
        "pageDimensions": [width, height],
        "bubbleDimensions": [size, size],
        "customLabels": {"Student": ["n1..8"]},
        "fieldBlocks": blocks,
        "preProcessors": [],
    }
    return Made(json.dumps(template), picture, truth)


def photographed(made: Made, seed: int) -> Made:
    """The same sheet lying on a dark table, seen by a phone: perspective, uneven light, `CropPage` in the template."""
    random = np.random.default_rng(seed)
    height, width = made.picture.shape[:2]
    table = random.integers(20, 70, 3)
    out = np.empty((1800, 1400, 3), np.uint8)
    out[:] = np.clip(table + random.normal(0, 6, out.shape), 0, 255).astype(np.uint8)
    corners = np.array([(180, 220), (1220, 220), (1220, 1640), (180, 1640)], np.float32)
    corners += random.uniform(-60, 60, corners.shape).astype(np.float32)
    page = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(page, corners)
    cv2.warpPerspective(made.picture, matrix, (1400, 1800), dst=out, borderMode=cv2.BORDER_TRANSPARENT)
    out = shadow(cv2.GaussianBlur(out, (3, 3), 0), random)
    template = json.loads(made.template)
    template["preProcessors"] = [{"name": "CropPage", "options": {"morphKernel": [10, 10]}}]
    return Made(json.dumps(template), out, made.truth)


def _paper(picture: Picture) -> tuple[int, ...]:
    """What comes into view beyond the picture's edge: more of what its border shows."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    return tuple(int(v) for v in np.atleast_1d(np.median(border, axis=0)))


def rotated(picture: Picture, angle: float) -> Picture:
    """Turned about the middle, the canvas unchanged."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    return np.asarray(cv2.warpAffine(picture, turn, (width, height), borderValue=_paper(picture)), np.uint8)


def tilted(picture: Picture, share: float, random: np.random.Generator) -> Picture:
    """Every corner moved by up to `share` of the picture's size."""
    height, width = picture.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    moved = corners + (random.uniform(-share, share, (4, 2)) * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    return np.asarray(cv2.warpPerspective(picture, matrix, (width, height), borderValue=_paper(picture)), np.uint8)


def shifted(picture: Picture, share: float, random: np.random.Generator) -> Picture:
    """Moved by `share` of its size in a random direction."""
    height, width = picture.shape[:2]
    x, y = random.choice([-1, 1], 2) * share * (width, height)
    move = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return np.asarray(cv2.warpAffine(picture, move, (width, height), borderValue=_paper(picture)), np.uint8)


def shadow(picture: Picture, random: np.random.Generator) -> Picture:
    """Light that falls off across the picture, down to half, with a soft edge somewhere."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    angle = random.uniform(0, 2 * np.pi)
    along = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)
    light = 1 - 0.25 * (along + 0.5) - 0.25 / (1 + np.exp(-(along - random.uniform(-0.2, 0.2)) * 40))
    return np.clip(picture * (light[..., None] if picture.ndim == 3 else light), 0, 255).astype(np.uint8)


def jpeg(picture: Picture, quality: int) -> Picture:
    """Compressed and opened again."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)


def noisy(picture: Picture, random: np.random.Generator) -> Picture:
    """Sensor noise of a dim room (sigma 15 of 255)."""
    return np.clip(picture + random.normal(0, 15, picture.shape), 0, 255).astype(np.uint8)


def curled(picture: Picture, share: float) -> Picture:
    """Paper that does not lie flat: rows bow by `share` of the height."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bow = share * height * np.sin(np.pi * x / width)
    return np.asarray(
        cv2.remap(picture, x, (y + bow).astype(np.float32), cv2.INTER_LINEAR, borderValue=_paper(picture)), np.uint8
    )


def small(picture: Picture, share: float) -> Picture:
    """Fewer pixels."""
    return np.asarray(cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


DEGRADATIONS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "clean": lambda p, _: p,
    "rotation 1": lambda p, r: rotated(p, float(r.choice([-1, 1]))),
    "rotation 2": lambda p, r: rotated(p, float(r.choice([-2, 2]))),
    "rotation 5": lambda p, r: rotated(p, float(r.choice([-5, 5]))),
    "rotation 180": lambda p, _: np.ascontiguousarray(p[::-1, ::-1]),
    "perspective 2%": lambda p, r: tilted(p, 0.02, r),
    "perspective 5%": lambda p, r: tilted(p, 0.05, r),
    "shift 1%": lambda p, r: shifted(p, 0.01, r),
    "blur": lambda p, _: np.asarray(cv2.GaussianBlur(p, (0, 0), max(p.shape) / 1000), np.uint8),
    "jpeg 20": lambda p, _: jpeg(p, 20),
    "shadow": shadow,
    "noise": noisy,
    "curl 1%": lambda p, _: curled(p, 0.01),
    "low resolution": lambda p, _: small(p, 0.6),
    "grey": lambda p, _: np.asarray(p if p.ndim == 2 else cv2.cvtColor(p, cv2.COLOR_BGR2GRAY), np.uint8),
}
"""Name -> degradation; the first twelve are those of the published comparison, the rest our own."""
