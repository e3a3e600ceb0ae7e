"""From answers and a key to marks: OMRChecker's `evaluation.json` (custom source), read and applied. Pure."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from academy_ai.kinds.omr_grade.spec import Marks
from academy_ai.kinds.omr_grade.template import expand
from academy_core.errors import Permanent, Reason

Number = int | float | str


class _Scheme(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    correct: Number = 1
    incorrect: Number = 0
    unmarked: Number = 0


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    questions: tuple[str, ...]
    marking: _Scheme


class _Options(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    questions_in_order: tuple[str, ...] = Field(min_length=1)
    answers_in_order: tuple[Any, ...] = Field(min_length=1)


class _Evaluation(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    options: _Options
    marking_schemes: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class Question:
    """One question of the key: accepted answers with their score, and what wrong and blank give."""

    accepted: dict[str, Fraction]
    wrong: Fraction
    blank: Fraction


AnswerKey = dict[str, Question]


def bad_key(detail: str) -> Permanent:
    """The key cannot be used: what is wrong, for the teacher who wrote it."""
    return Permanent(
        detail,
        reason=Reason(
            "omr-key",
            f"정답 파일(evaluation.json)을 읽을 수 없습니다: {detail}. 파일을 고쳐 다시 올려 주세요.",
            f"The answer key (evaluation.json) cannot be used: {detail}. Correct the file and upload it again.",
        ),
    )


def _number(value: Number) -> Fraction:
    try:
        return Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        raise bad_key(f"{value!r} is not a number of marks") from None


def parse(text: str, columns: tuple[str, ...]) -> AnswerKey:
    """Read an `evaluation.json` for a sheet with these columns. Raises Permanent naming what is wrong."""
    try:
        given = _Evaluation.model_validate_json(text)
        sections = {
            name: _Section.model_validate(part) for name, part in given.marking_schemes.items() if name != "DEFAULT"
        }
        default = _Scheme.model_validate(given.marking_schemes.get("DEFAULT", {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise bad_key(f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}") from None
    questions = expand(given.options.questions_in_order)
    answers = given.options.answers_in_order
    if len(questions) != len(answers):
        raise bad_key(f"{len(questions)} questions but {len(answers)} answers")
    unknown = [question for question in questions if question not in columns]
    if unknown:
        raise bad_key(f"the template has no column {unknown[0]!r}")
    schemes = dict.fromkeys(questions, default)
    for section in sections.values():
        schemes |= dict.fromkeys(expand(section.questions), section.marking)
    return {
        question: Question(
            _accepted(answer, _number(schemes[question].correct)),
            _number(schemes[question].incorrect),
            _number(schemes[question].unmarked),
        )
        for question, answer in zip(questions, answers, strict=True)
    }


def _accepted(answer: Any, correct: Fraction) -> dict[str, Fraction]:
    """`"A"`, `["A", "B"]` (either), or `[["A", 2], ["B", 1]]` (each with its own score)."""
    if isinstance(answer, str):
        return {answer: correct}
    if isinstance(answer, list) and answer and all(isinstance(one, str) for one in answer):
        return dict.fromkeys(answer, correct)
    if isinstance(answer, list) and answer and all(isinstance(one, list) and len(one) == 2 for one in answer):  # noqa: PLR2004 - a pair
        return {str(value): _number(score) for value, score in answer}
    raise bad_key(f"{answer!r} is not an answer")


def mark(answers: dict[str, str], unsure: tuple[str, ...], blanks: tuple[str, ...], key: AnswerKey) -> Marks:
    """Marks of one sheet. Unsure columns give nothing and count as open."""
    score = Fraction(0)
    counts = {"right": 0, "wrong": 0, "blank": 0, "open": 0}
    for column, question in key.items():
        verdict, points = judge(column, answers, unsure, blanks, question)
        counts[verdict] += 1
        score += points
    out_of = sum((max(question.accepted.values()) for question in key.values()), Fraction(0))
    return Marks(score=round(float(score), 4), out_of=round(float(out_of), 4), **counts)


def judge(
    column: str, answers: dict[str, str], unsure: tuple[str, ...], blanks: tuple[str, ...], question: Question
) -> tuple[str, Fraction]:
    """One column's verdict (`right`, `wrong`, `blank` or `open`) and its points."""
    if column in unsure:
        return "open", Fraction(0)
    if answers[column] in question.accepted:
        return "right", question.accepted[answers[column]]
    if column in blanks:
        return "blank", question.blank
    return "wrong", question.wrong
