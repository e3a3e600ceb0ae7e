"""How well and how fast `image.quality` tells good photos from bad ones, beside the plain variance of the Laplacian.

python tests/bench/quality.py [--seeds 10]

Photos of made sheets, and the real ones of the reference data with enough pixels (if it is there), each in several
lights; the same blurred, and cut off at one side. AUC: how often a sharp photo measures sharper than a blurred one.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import omr_made  # the bench runs as a script; tests/ is no package
from machine import report
from omr_real import real_sheets

from academy_ai.kinds.image_quality.run import LEAST_LONG, LEAST_SHORT, SIDE, judge, run
from academy_ai.kinds.image_quality.spec import ImageQualityInput, ImageQualityResult
from academy_ai.paper import Gray

BLURS = (0.001, 0.002)
"""Sigma of the blur as a share of the picture's long side."""
CUT = 0.3
"""Share of the picture cut off at one side."""
TWELVE_MEGAPIXELS = (3000, 4000)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    photos = list(made_photos(given.seeds))
    real = [one.picture for one in real_sheets() if large(one.picture)]
    lit = [light for photo in [*photos, *real] for light in lights(photo)]
    report(
        made=given.seeds,
        real=len(real),
        sharpness={f"blur {share:.1%}": sharpness(lit, share) for share in BLURS},
        completeness=completeness(photos),
        ms=speed(photos[0]),
    )


def made_photos(seeds: int) -> Iterator[Gray]:
    """Sheets on a table."""
    for seed in range(seeds):
        made = omr_made.photographed(omr_made.sheet(seed), seed)
        yield np.asarray(cv2.cvtColor(made.picture, cv2.COLOR_BGR2GRAY), np.uint8)


def large(picture: Gray) -> bool:
    """Whether the kind does not refuse it as too small."""
    return max(picture.shape) >= LEAST_LONG and min(picture.shape) >= LEAST_SHORT


def lights(picture: Gray) -> Iterator[Gray]:
    """As it is, in dimmer light, and paler."""
    yield picture
    yield (picture * 0.6).astype(np.uint8)
    yield (255 - (255 - picture.astype(np.int16)) * 0.5).astype(np.uint8)


def verdict(picture: Gray) -> ImageQualityResult:
    """The kind's, on a decoded picture."""
    return judge(picture, picture.shape[1], picture.shape[0])


def plain(picture: Gray) -> float:
    """Variance of the Laplacian of the whole picture at 1,000 pixels."""
    scale = SIDE / max(picture.shape)
    return float(
        cv2.Laplacian(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), cv2.CV_32F).var()
    )


def sharpness(pictures: list[Gray], share: float) -> dict[str, float]:
    """AUC of both measures; share of sharp ones called blurred, and of blurred ones that pass as sharp."""
    blurred = [np.asarray(cv2.GaussianBlur(one, (0, 0), share * max(one.shape)), np.uint8) for one in pictures]
    sharp_ones, blurred_ones = ([verdict(one) for one in group] for group in (pictures, blurred))
    return {
        "pictures": len(pictures),
        "auc": auc([one.sharpness for one in sharp_ones], [one.sharpness for one in blurred_ones]),
        "plain_auc": auc([plain(one) for one in pictures], [plain(one) for one in blurred]),
        "sharp_called_blurred": share_of("blurred", sharp_ones),
        "blurred_called_sharp": round(1 - share_of("blurred", blurred_ones), 3),
    }


def auc(high: list[float], low: list[float]) -> float:
    """Share of pairs in the right order, ties half (Mann and Whitney)."""
    difference = np.subtract.outer(np.array(high), np.array(low))
    return round(float((difference > 0).mean() + (difference == 0).mean() / 2), 4)


def share_of(code: str, verdicts: list[ImageQualityResult]) -> float:
    """Share of pictures with this problem."""
    return round(sum(any(problem.code == code for problem in one.problems) for one in verdicts) / len(verdicts), 3)


def completeness(photos: list[Gray]) -> dict[str, float]:
    """Share called incomplete of whole photos, and of those cut at each side in turn."""
    cut = [side for one in photos for side in cuts(one)]
    return {
        "pictures": len(cut),
        "whole_called_incomplete": share_of("incomplete", [verdict(one) for one in photos]),
        "cut_called_incomplete": share_of("incomplete", [verdict(one) for one in cut]),
    }


def cuts(picture: Gray) -> list[Gray]:
    """Without its top, bottom, left and right."""
    height, width = picture.shape
    down, across = round(CUT * height), round(CUT * width)
    return [picture[down:], picture[:-down], picture[:, across:], picture[:, :-across]]


def speed(photo: Gray, rounds: int = 5) -> dict[str, float]:
    """Processor milliseconds of a 12-megapixel JPEG (the median): the whole kind, and without decoding."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        cv2.imwrite(str(path), cv2.resize(photo, TWELVE_MEGAPIXELS))
        whole, alone = [], []
        half = np.asarray(cv2.resize(photo, (TWELVE_MEGAPIXELS[0] // 2, TWELVE_MEGAPIXELS[1] // 2)), np.uint8)
        for _ in range(rounds):
            began = time.process_time()
            run(ImageQualityInput(image="photo.jpg"), {"photo.jpg": path}, path.parent, lambda _: None)
            whole.append(time.process_time() - began)
            began = time.process_time()
            verdict(half)
            alone.append(time.process_time() - began)
    return {
        "with_decoding": round(1000 * float(np.median(whole)), 1),
        "alone": round(1000 * float(np.median(alone)), 1),
    }


if __name__ == "__main__":
    main()
