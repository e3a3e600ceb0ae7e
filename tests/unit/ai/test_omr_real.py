"""Real answer sheets (reference data) against what a person reads on them."""

import numpy as np
import omr_made
import pytest
from omr_real import READ_BY_EYE, REFERENCE, Real, real_sheets

from academy_ai.kinds.omr_grade import template
from academy_ai.kinds.omr_grade.layout import layout
from academy_ai.kinds.omr_grade.run import Exam, collect, measure

SHEETS = {sheet.name: sheet for sheet in real_sheets()}
real_data = pytest.mark.skipif(not SHEETS, reason=f"reference data absent: {REFERENCE}/omr")


def answers(name: str, way: str) -> dict[str, str]:
    real: Real = SHEETS[name]
    exam = Exam(layout(template.parse(real.template)), None, real.marker)
    worse = omr_made.DEGRADATIONS[way](real.picture, np.random.default_rng(0))
    _, readings = measure(exam, worse)
    return collect(exam.plan.sheet, readings, name, 1).answers


@real_data
@pytest.mark.parametrize("name", sorted(READ_BY_EYE))
def test_real_sheet_reads_as_a_person_reads_it(name: str) -> None:
    read, truth = answers(name, "clean"), READ_BY_EYE[name]
    unsure = [column for column in truth if "?" in read[column]]
    assert len(unsure) <= len(truth) // 100
    assert {column: read[column] for column in truth if column not in unsure} == {
        column: value for column, value in truth.items() if column not in unsure
    }


@real_data
@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("sample2/AdrianSample/adrian_omr.png", "curl 1%"),
        ("sample2/AdrianSample/adrian_omr_2.png", "curl 1%"),
        ("sample1/MobileCamera/sheet1.jpg", "blur"),
    ],
)
def test_what_once_was_read_a_row_off_or_refused(name: str, way: str) -> None:
    """A search that left what it had looked at; small rings that crowded a scribbled marker out."""
    read, truth = answers(name, way), READ_BY_EYE[name]
    assert {column for column in truth if read[column] != truth[column]} <= {"Roll"}
    assert all("?" in read[column] for column in truth if read[column] != truth[column])
