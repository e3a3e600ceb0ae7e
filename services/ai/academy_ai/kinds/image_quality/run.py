"""image.quality at work: a few measures of one picture, each with a sentence the student can act on."""

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from academy_ai import pictures
from academy_ai.kind import KindInput, Report
from academy_ai.kinds.image_quality.spec import ImageQualityInput, ImageQualityResult, Problem
from academy_ai.pictures import Gray

SIDE = 1000
"""Long side at which sharpness is measured: the same print then gives the same figure from any camera."""
LEAST_LONG, LEAST_SHORT = 1000, 600
ENOUGH = 2000
"""Long side that is decoded: a page that fills half of the picture still has SIDE pixels."""
MASK = 300
LEAST_SHARPNESS = 0.006
LEAST_BRIGHTNESS = 90.0
LEAST_CONTRAST = 45.0
BORDER = 0.03
"""Share of the picture, along each side, in which paper is looked for."""
CUT, CLEAR = 0.5, 0.15
"""Share of a side's border that is paper: above, the paper runs out of view; below, its edge is in view."""
TABLE_SHARE = 0.08
"""Share of the picture that must be table; print on a page that fills the picture is less."""
TABLE = 60
"""How much darker than the paper the table must be to be told from it."""

SMALL = Problem(
    code="small",
    ko="사진의 해상도가 낮습니다. 더 가까이에서, 원본 크기로 다시 찍어 주세요.",
    en="The picture has too few pixels. Take it again from nearer and send it in its original size.",
)
DARK = Problem(
    code="dark",
    ko="사진이 너무 어둡습니다. 밝은 곳에서 다시 찍어 주세요.",
    en="The picture is too dark. Take it again in brighter light.",
)
FAINT = Problem(
    code="faint",
    ko="글씨가 너무 흐리게 보입니다. 빛 반사와 그림자를 피해 다시 찍어 주세요.",
    en="The print is too faint. Take it again without glare or deep shadow.",
)
BLURRED = Problem(
    code="blurred",
    ko="사진이 흔들렸거나 초점이 맞지 않습니다. 휴대폰을 고정하고 글씨에 초점을 맞춰 다시 찍어 주세요.",
    en="The picture is blurred. Hold the phone still, focus on the print and take it again.",
)
INCOMPLETE = Problem(
    code="incomplete",
    ko="종이의 일부가 잘렸습니다. 네 모서리가 모두 보이게 다시 찍어 주세요.",
    en="Part of the page is cut off. Take it again with all four corners in view.",
)


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> ImageQualityResult:  # noqa: ARG001 - no artefacts
    """Judge one picture. Raises Permanent when it cannot be opened."""
    assert isinstance(task, ImageQualityInput)  # noqa: S101 - the caller picks run by the input's kind
    cv2.setNumThreads(1)
    path = files[task.image]
    width, height = pictures.size(path)
    result = judge(pictures.gray(path, ENOUGH), width, height)
    report(1.0)
    return result


def judge(gray: Gray, width: int, height: int) -> ImageQualityResult:
    """Judge a decoded picture that has `width` x `height` pixels in its file."""
    paper = find_paper(gray)
    page = _scaled(gray if paper is None else _inside(gray, paper), SIDE)
    dark, brightness = (float(value) for value in np.percentile(page[::4, ::4], (1, 95)))
    contrast = print_contrast(page)
    sharpness = float(cv2.Laplacian(page, cv2.CV_32F).var()) / max(contrast, 10.0) ** 2
    sides = 0 if paper is None else sides_cut(paper)
    problems = [
        problem
        for problem, found in (
            (DARK, brightness < LEAST_BRIGHTNESS),
            (INCOMPLETE, sides > 0),
            (BLURRED, sharpness < LEAST_SHARPNESS),
            (FAINT, contrast < LEAST_CONTRAST and brightness - dark < 2 * LEAST_CONTRAST),
            (SMALL, max(width, height) < LEAST_LONG or min(width, height) < LEAST_SHORT),
        )
        if found
    ]
    return ImageQualityResult(
        good=not problems,
        problems=tuple(problems),
        width=width,
        height=height,
        sharpness=round(sharpness, 5),
        brightness=brightness,
        contrast=round(contrast, 1),
        sides_cut=sides,
    )


def print_contrast(gray: Gray) -> float:
    """How far the darker print lies under the paper around it (99th percentile of the local difference)."""
    paper = cv2.dilate(
        cv2.resize(gray, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA), np.ones((9, 9), np.uint8)
    )
    whole = cv2.resize(paper, (gray.shape[1], gray.shape[0]), interpolation=cv2.INTER_LINEAR)
    under = cv2.subtract(whole, gray)
    middle = under[gray.shape[0] // 5 : -gray.shape[0] // 5, gray.shape[1] // 5 : -gray.shape[1] // 5]
    return float(np.percentile(middle[::2, ::2], 97))


def _scaled(gray: Gray, side: int) -> Gray:
    scale = min(1.0, side / max(gray.shape))
    return np.asarray(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def find_paper(gray: Gray) -> Gray | None:
    """Mask (small) of the sheet of paper on a darker table; None when the picture is all paper, or no paper shows."""
    small = cv2.medianBlur(_scaled(gray, MASK), 5)
    level, bright = cv2.threshold(small, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(bright)
    if count < 2:  # noqa: PLR2004 - only the background
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    table = small[small <= level]
    if float(np.median(small[labels == largest])) - float(np.median(table)) < TABLE:
        return None
    mask = np.asarray(np.where(labels == largest, 255, 0), np.uint8)
    return mask if len(table) > TABLE_SHARE * small.size else None


def _inside(gray: Gray, paper: Gray) -> Gray:
    """The part of the picture that the paper takes up."""
    x, y, width, height = cv2.boundingRect(paper)
    scale = gray.shape[0] / paper.shape[0]
    return gray[round(y * scale) : round((y + height) * scale), round(x * scale) : round((x + width) * scale)]


def sides_cut(paper: Gray) -> int:
    """Sides of the picture over which the paper runs out of view, while its edge is in view elsewhere."""
    wide = max(2, round(BORDER * min(paper.shape)))
    borders = (paper[:wide], paper[-wide:], paper[:, :wide], paper[:, -wide:])
    shares = [float(np.mean(border > 0)) for border in borders]
    return 0 if min(shares) > CLEAR else sum(share > CUT for share in shares)
