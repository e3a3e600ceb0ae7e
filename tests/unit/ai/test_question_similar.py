"""question.similar: grams, overlap, groups."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_ai.kinds.question_similar import grams
from academy_ai.kinds.question_similar.run import grouped, run
from academy_ai.kinds.question_similar.spec import QuestionSimilarInput, QuestionSimilarResult
from academy_core.errors import Permanent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("삼각형", {"삼각", "각형"}),
        ("12 cm", {"12", "cm", "12c"}),
        ("3개, 40개", {"3", "40", "3&40", "개", "3개", "40개"}),
        ("① ２", {"1", "2", "1&2"}),
        ("!?", set()),
    ],
)
def test_what_a_question_is_compared_by(text: str, expected: set[str]) -> None:
    assert grams.grams(text) == expected


def test_a_table_of_figures_is_not_paired_without_end() -> None:
    assert len(grams.grams(" ".join(map(str, range(1000))))) <= 1000 + grams.MAX_NUMBERS**2


@given(st.text(), st.text())
def test_likeness_is_symmetric_and_whole_with_itself(first: str, second: str) -> None:
    assert grams.likeness(first, second) == grams.likeness(second, first)
    assert 0 <= grams.likeness(first, second) <= 1
    assert grams.likeness(first, first) == (1.0 if grams.grams(first) else 0.0)


def test_the_same_wording_with_other_numbers_is_another_question() -> None:
    text = "한 변의 길이가 12cm인 정사각형의 넓이를 구하시오."
    assert grams.likeness(text, text.replace("12", "13")) == 0
    assert grams.likeness(text, "한변의 길이가 12 cm인 정사각형의 넓이를 구하시오") >= grams.SAME


@given(st.integers(0, 1000))
def test_a_rarer_gram_weighs_more(holders: int) -> None:
    assert grams.weight(holders, 1001) > grams.weight(holders + 1, 1001) > 0


def _run(folder: Path, texts: Sequence[str]) -> QuestionSimilarResult:
    bank = folder / "bank.jsonl"
    lines = [json.dumps({"id": f"q{number}", "text": text}) for number, text in enumerate(texts)]
    bank.write_text("\n".join(lines))
    return run(QuestionSimilarInput(bank="bank"), {"bank": bank}, folder, lambda _share: None)


def test_questions_that_are_the_same_make_a_group(tmp_path: Path) -> None:
    texts = [f"{number}번째 문제: 길이가 {number * 7}cm인 끈을 {number}명이 나눈다." for number in range(3, 40)]
    result = _run(tmp_path, [*texts, texts[5], texts[5].replace("끈을 ", "끈을,"), texts[9]])
    assert (result.questions, result.groups, result.duplicates) == (40, 2, 3)
    first, second = json.loads((tmp_path / "groups.json").read_text())
    assert first["ids"] == ["q5", "q37", "q38"]
    assert second["ids"] == ["q9", "q39"]


def test_an_empty_bank_has_no_groups(tmp_path: Path) -> None:
    assert _run(tmp_path, []) == QuestionSimilarResult(questions=0, groups=0, duplicates=0)


@pytest.mark.parametrize("data", [b"no json\n", b'{"id": "a"}\n', b"\xff\xfe\n"])
def test_a_bank_that_cannot_be_read_is_refused_by_line(tmp_path: Path, data: bytes) -> None:
    bank = tmp_path / "bank.jsonl"
    bank.write_bytes(b'{"id": "a", "text": "b"}\n' + data)
    with pytest.raises(Permanent, match="line 2"):
        run(QuestionSimilarInput(bank="bank"), {"bank": bank}, tmp_path, lambda _share: None)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)).filter(lambda pair: pair[0] < pair[1])))
def test_groups_hold_each_question_once_and_keep_pairs_together(found: list[tuple[int, int]]) -> None:
    groups = grouped([f"q{number}" for number in range(21)], [(first, second, 0.9) for first, second in found])
    seen = [each for group in groups for each in group.ids]
    assert len(seen) == len(set(seen))
    of = {each: at for at, group in enumerate(groups) for each in group.ids}
    assert all(of[f"q{first}"] == of[f"q{second}"] for first, second in found)
