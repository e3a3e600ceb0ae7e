"""image.quality on made pictures, good and spoiled."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import omr_made
import pytest
from PIL import Image

from academy_ai.kinds.image_quality.run import judge, run
from academy_ai.kinds.image_quality.spec import ImageQualityInput, ImageQualityResult
from academy_ai.pictures import Gray


def photo(seed: int) -> Gray:
    made = omr_made.photographed(omr_made.sheet(seed), seed)
    return np.asarray(cv2.cvtColor(made.picture, cv2.COLOR_BGR2GRAY), np.uint8)


def verdict(gray: Gray) -> ImageQualityResult:
    return judge(gray, gray.shape[1], gray.shape[0])


def codes(gray: Gray) -> set[str]:
    return {problem.code for problem in verdict(gray).problems}


SPOILED: dict[str, Callable[[Gray], Gray]] = {
    "blurred": lambda g: np.asarray(cv2.GaussianBlur(g, (0, 0), 4), np.uint8),
    "dark": lambda g: (g // 4).astype(np.uint8),
    "incomplete": lambda g: g[: int(0.7 * g.shape[0])],
    "small": lambda g: np.asarray(cv2.resize(g, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA), np.uint8),
    "faint": lambda g: np.asarray(255 - (255 - g) // 6, np.uint8),
}


@pytest.mark.parametrize("seed", range(5))
def test_a_good_photo_passes(seed: int) -> None:
    result = verdict(photo(seed))
    assert result.good, result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(SPOILED))
def test_a_spoiled_photo_is_told_why(name: str, seed: int) -> None:
    assert name in codes(SPOILED[name](photo(seed)))


def test_a_flat_scan_is_complete_and_good() -> None:
    scan = cv2.cvtColor(omr_made.sheet(1).picture, cv2.COLOR_BGR2GRAY)
    assert codes(np.asarray(scan, np.uint8)) == set()


def test_every_problem_speaks_both_languages() -> None:
    spoiled = [problem for spoil in SPOILED.values() for problem in verdict(spoil(photo(0))).problems]
    assert {problem.code for problem in spoiled} >= set(SPOILED)
    for problem in spoiled:
        assert problem.en.isascii()
        assert any("가" <= letter <= "힣" for letter in problem.ko)


def test_runs_on_a_file_and_counts_its_own_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(photo(2))).save(tmp_path / "a.jpg", exif=exif, quality=92)
    result = run(ImageQualityInput(image="a.jpg"), {"a.jpg": tmp_path / "a.jpg"}, tmp_path, lambda _: None)
    assert isinstance(result, ImageQualityResult)
    assert (result.width, result.height, result.good) == (1400, 1800, True)
