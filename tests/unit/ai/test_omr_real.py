"""Real answer sheets (reference data) against what a person reads on them."""

import pytest
from omr_real import READ_BY_EYE, REFERENCE, Real, real_sheets

from academy_ai.kinds.omr_grade import template
from academy_ai.kinds.omr_grade.layout import layout
from academy_ai.kinds.omr_grade.run import Exam, collect, measure

SHEETS = {sheet.name: sheet for sheet in real_sheets()}


@pytest.mark.skipif(not SHEETS, reason=f"reference data absent: {REFERENCE}/omr")
@pytest.mark.parametrize("name", sorted(READ_BY_EYE))
def test_real_sheet_reads_as_a_person_reads_it(name: str) -> None:
    real: Real = SHEETS[name]
    exam = Exam(layout(template.parse(real.template)), None, real.marker)
    _, readings = measure(exam, real.picture)
    answers = collect(exam.plan.sheet, readings, name, 1).answers
    assert {column: answers[column] for column in READ_BY_EYE[name]} == READ_BY_EYE[name]
