"""exam.segment on made pages: numbers, boxes, choices, passages; and the run of numbers that decides."""

import json
from pathlib import Path

import cv2
import exam_made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_ai.kinds.exam_segment.run import run
from academy_ai.kinds.exam_segment.spec import ExamLayout, ExamSegmentInput
from academy_ai.kinds.exam_segment.starts import run_of

pytestmark = pytest.mark.skipif(
    bool(exam_made.MISSING), reason=f"Korean fonts absent (fonts-nanum, fonts-noto-cjk): {exam_made.MISSING[:1]}"
)


def segmented(folder: Path, pictures: list[exam_made.Picture]) -> ExamLayout:
    names = []
    for number, picture in enumerate(pictures):
        names.append(f"page-{number}.png")
        cv2.imwrite(str(folder / names[-1]), picture)
    out = folder / "out"
    out.mkdir()
    task = ExamSegmentInput(pages=tuple(names))
    steps: list[float] = []
    result = run(task, {name: folder / name for name in names}, out, steps.append)
    assert sorted(result.keys()) == sorted(path.name for path in out.iterdir())
    assert steps[-1] == 1.0
    return ExamLayout.model_validate(json.loads((out / "layout.json").read_text()))


@pytest.mark.parametrize(("seed", "way"), [(2, "clean"), (4, "scan"), (6, "photo")])
def test_a_made_page_is_taken_apart(tmp_path: Path, seed: int, way: str) -> None:
    made = exam_made.page(seed)
    seen = segmented(tmp_path, [exam_made.DEGRADATIONS[way](made.picture, np.random.default_rng(seed))])
    assert [one.number for one in seen.questions] == [one.number for one in made.questions]
    assert [(one.first, one.last) for one in seen.passages] == [(one.first, one.last) for one in made.passages]
    assert all(len(question.choices) == 5 for question in seen.questions)
    for question in seen.questions:
        shared = [n for n, one in enumerate(made.passages) if one.first <= question.number <= one.last]
        assert question.passage == (shared[0] if shared else None)


def test_pages_go_on_from_one_another_in_reading_order(tmp_path: Path) -> None:
    first = exam_made.page(2)
    second = exam_made.page(3, first=len(first.questions) + 1)
    seen = segmented(tmp_path, [first.picture, second.picture])
    assert [one.number for one in seen.questions] == list(range(1, len(first.questions) + len(second.questions) + 1))
    assert {box.page for one in seen.questions for box in one.boxes} == {0, 1}


def test_a_blank_page_holds_nothing_and_a_broken_file_is_refused(tmp_path: Path) -> None:
    blank, broken, out = tmp_path / "blank.png", tmp_path / "broken.png", tmp_path / "out"
    cv2.imwrite(str(blank), np.full((1200, 900), 255, np.uint8))
    broken.write_bytes(b"\x89PNG no more")
    out.mkdir()
    task = ExamSegmentInput(pages=("blank", "broken"))
    result = run(task, {"blank": blank, "broken": broken}, out, lambda _: None)
    assert (result.pages, result.refused, result.questions) == (2, 1, 0)
    refused = ExamLayout.model_validate(json.loads((out / "layout.json").read_text())).pages[1]
    assert (refused.refused, bool(refused.reason_ko)) == ("picture-unreadable", True)


@pytest.mark.parametrize(
    ("read", "run_"),
    [
        ([1, 2, None, 4], {0: 1, 1: 2, 2: 3, 3: 4}),
        ([None, 2, 3], {0: 1, 1: 2, 2: 3}),
        ([1, 2, 4, None, None, 6], {0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 5: 6}),
        ([1, 2, 43, 3], {0: 1, 1: 2, 3: 3}),
        ([None, None], {}),
        ([7, 8, None], {0: 7, 1: 8, 2: 9}),
    ],
)
def test_the_longest_run_of_numbers_counts(read: list[int | None], run_: dict[int, int]) -> None:
    assert run_of(read) == run_


@given(st.lists(st.none() | st.integers(0, 60), max_size=25))
def test_a_run_always_rises_by_one(read: list[int | None]) -> None:
    numbers = list(run_of(read).values())
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


@pytest.mark.parametrize("seed", [3, 23, 27, 29, 37])
def test_passages_are_found_where_thin_print_breaks(tmp_path: Path, seed: int) -> None:
    """A scanner's blur and white paper leave gaps in the thin strokes of `[5~7]`."""
    made = exam_made.page(seed)
    assert made.passages
    scan = exam_made.scanned(made.picture, np.random.default_rng([seed, len("scan")]))
    spans = [(passage.first, passage.last) for passage in segmented(tmp_path, [scan]).passages]
    assert spans == [(passage.first, passage.last) for passage in made.passages]
