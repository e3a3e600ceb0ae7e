"""From readings, corrections and a key to what stands on a sheet and what it is worth. Pure.

A refused page that a teacher has filled in by hand is marked like any other; one that nobody has has no
marks at all: None, not 0.
"""

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from academy_ai.kinds.omr_grade import marking, template
from academy_ai.kinds.omr_grade.marking import AnswerKey
from academy_ai.kinds.omr_grade.spec import Marks
from academy_ai.kinds.omr_grade.template import Sheet as Layout
from academy_core.errors import Permanent, Reason


class Machine(Protocol):
    """What the machine read of one page (`models.Reading`)."""

    answers: Mapping[str, str]
    unsure: Sequence[str]
    blanks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Result:
    """One page as it stands after a teacher's corrections."""

    answers: Mapping[str, str]
    """Column -> value. Columns of a refused page that nobody filled in are missing."""
    unsure: tuple[str, ...]
    """Columns that the machine was unsure of and nobody has corrected."""
    unknown: tuple[str, ...]
    """Columns of a refused page that nobody has filled in."""
    corrected: tuple[str, ...]
    marks: Marks | None
    """None without a key, and for a page with a column that nothing is known of."""


def layout(definition: Mapping[str, Any]) -> Layout:
    """A template's columns and marker. Raises Permanent naming what is wrong with it."""
    return _layout(json.dumps(definition, ensure_ascii=False))


def key_of(answer_key: Mapping[str, Any], sheet: Layout) -> AnswerKey:
    """An exam's key. Raises Permanent naming what is wrong with it."""
    return _key(json.dumps(answer_key, ensure_ascii=False), tuple(sheet.columns))


# A template never changes and a key seldom does; a page of results would parse them once a row.
_layout = functools.lru_cache(maxsize=64)(template.parse)
_key = functools.lru_cache(maxsize=64)(marking.parse)


def check_columns(wanted: Collection[str], columns: Collection[str]) -> None:
    """Raises Permanent naming a column that the template does not have."""
    unknown = sorted(set(wanted) - set(columns))
    if unknown:
        raise Permanent(
            reason=Reason(
                "unknown-column",
                f"답안지 양식에 '{unknown[0]}' 항목이 없습니다.",
                f"The template has no column '{unknown[0]}'.",
            )
        )


def of_page(read: Machine, corrections: Mapping[str, str], sheet: Layout, key: AnswerKey | None) -> Result:
    """What stands on a page: corrections over readings."""
    answers = {**read.answers, **corrections}
    unsure = tuple(column for column in read.unsure if column not in corrections)
    blanks = tuple(
        column for column, value in answers.items() if (value == "" if column in corrections else column in read.blanks)
    )
    unknown = tuple(column for column in sheet.columns if column not in answers)
    marks = marking.mark(answers, unsure, blanks, key) if key is not None and not set(key) & set(unknown) else None
    return Result(
        answers={column: answers[column] for column in sheet.columns if column in answers},
        unsure=unsure,
        unknown=unknown,
        corrected=tuple(column for column in sheet.columns if column in corrections),
        marks=marks,
    )
