"""What stands on a sheet after corrections, and what it is worth."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from exam_support import KEY, TEMPLATE
from hypothesis import given
from hypothesis import strategies as st

from academy_api.exams import export, results
from academy_core.errors import Permanent

LAYOUT = results.layout(TEMPLATE)
MARKED = results.key_of(KEY, LAYOUT)


@dataclass(frozen=True)
class Page:
    answers: dict[str, str]
    unsure: tuple[str, ...] = ()
    blanks: tuple[str, ...] = field(default=())


values = st.sampled_from(["", "A", "B", "C", "D", "AB", "?"])
pages = st.fixed_dictionaries(dict.fromkeys(LAYOUT.columns, values)).map(
    lambda answers: Page(
        answers,
        tuple(column for column, value in answers.items() if value == "?"),
        tuple(column for column, value in answers.items() if value == ""),
    )
)
corrected = st.dictionaries(st.sampled_from(sorted(LAYOUT.columns)), st.sampled_from(["", "A", "B", "C", "D"]))


@given(pages, corrected)
def test_every_column_counts_once_and_only_unsure_ones_stay_open(page: Page, corrections: dict[str, str]) -> None:
    result = results.of_page(page, corrections, LAYOUT, MARKED)
    assert result.marks is not None
    counted = result.marks.right + result.marks.wrong + result.marks.blank + result.marks.open
    assert counted == len(LAYOUT.columns)
    assert set(result.unsure) == set(page.unsure) - set(corrections)
    assert result.marks.open == len(result.unsure)
    assert result.marks.score == 2 * result.marks.right


@given(pages, corrected)
def test_a_correction_says_what_stands_and_changes_nothing_else(page: Page, corrections: dict[str, str]) -> None:
    result = results.of_page(page, corrections, LAYOUT, None)
    assert result.answers == {**page.answers, **corrections}
    assert set(result.corrected) == set(corrections)


def test_what_was_not_read_is_unknown_and_has_no_marks() -> None:
    result = results.of_page(Page({}), {"q1": "A"}, LAYOUT, MARKED)
    assert result.marks is None
    assert result.unknown == ("q2", "q3")
    assert export.Row("a.pdf", 1, "page-not-found", result).head() == (
        "a.pdf",
        1,
        "",
        "",
        "",
        "",
        "",
        "",
        "page-not-found",
    )


@pytest.mark.parametrize("definition", [{}, {"fieldBlocks": []}, {**TEMPLATE, "pageDimensions": [10, 10]}])
def test_a_template_that_cannot_be_used_is_named(definition: dict[str, Any]) -> None:
    with pytest.raises(Permanent) as raised:
        results.layout(definition)
    assert raised.value.reason.code == "omr-template"
