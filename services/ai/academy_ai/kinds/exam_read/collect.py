"""From the texts of cut-out pictures to questions: number off, choices apart, passage beside, doubts named. Pure."""

import re
from collections.abc import Mapping, Sequence

from academy_ai.kinds.exam_ocr.spec import PictureRead
from academy_ai.kinds.exam_read.spec import Crop, Doubt, ExamRead, QuestionRead
from academy_ai.kinds.exam_segment.spec import ExamLayout, Part, Question

SIGNS = "①②③④⑤"
SURE = 0.6
"""Confidence of a line's least certain word under which a person has to look at the text."""
LEAST_CHOICES = 2

_NUMBER = re.compile(r"^\s*\d{1,3}\s*[.,·]?\s*")
_FORMULA = re.compile(r"⟦(\d+)⟧")

Texts = Mapping[str, PictureRead]
"""Picture -> what was read of it."""


def collected(layout: ExamLayout, texts: Texts) -> ExamRead:
    """All questions of an exam, by number. A picture that is not in `texts` counts as one that could not be read."""
    passages = [_joined(passage, texts)[0] for passage in layout.passages]
    questions = sorted(
        (
            _question(one, texts, "" if one.passage is None else passages[one.passage], layout)
            for one in layout.questions
        ),
        key=lambda question: question.number,
    )
    numbers = {question.number for question in questions}
    missing = sorted(set(range(min(numbers), max(numbers))) - numbers) if numbers else []
    return ExamRead(pages=layout.pages, questions=tuple(questions), missing=tuple(missing))


def _question(one: Question, texts: Texts, passage: str, layout: ExamLayout) -> QuestionRead:
    text, cut = _joined(one, texts)
    stem, choices = split(_NUMBER.sub("", text, count=1))
    shared = () if one.passage is None else layout.passages[one.passage].pictures
    return QuestionRead(
        number=one.number,
        text=stem,
        choices=tuple(choices),
        passage=passage,
        crops=(
            *(Crop(what="question", picture=name) for name in one.pictures),
            *(Crop(what="passage", picture=name) for name in shared),
            *cut,
        ),
        confidence=_confidence([texts[name] for name in one.pictures if name in texts]),
        doubts=_doubts(one, texts, stem, choices),
    )


def _joined(part: Part, texts: Texts) -> tuple[str, list[Crop]]:
    """The text of all its pictures, formulae counted through; and its formulae and figures."""
    lines: list[str] = []
    crops: list[Crop] = []
    for name in part.pictures:
        read = texts.get(name)
        if read is None:
            continue
        before = sum(crop.what == "formula" for crop in crops)
        lines.append(_counted_on(read.text, before))
        crops += [
            Crop(what="formula", picture=formula.picture, sign=f"⟦{number}⟧")
            for number, formula in enumerate(read.formulae, start=before + 1)
        ]
        crops += [Crop(what="figure", picture=figure.picture) for figure in read.figures]
    return "\n".join(line for line in lines if line).strip(), crops


def _counted_on(text: str, before: int) -> str:
    """The text with its formulae's numbers raised by those that come before."""
    return _FORMULA.sub(lambda found: f"⟦{int(found[1]) + before}⟧", text)


def split(text: str) -> tuple[str, list[str]]:
    """Stem and choices: what follows the last ① from which the circled digits count up, in their order.

    A stem may name choices itself (`①과 ②를 보고`), so an earlier ① that is not followed by all is left in it.
    """
    best: list[int] = []
    for start in (place for place, sign in enumerate(text) if sign == SIGNS[0]):
        run = [start]
        for sign in SIGNS[1:]:
            at = text.find(sign, run[-1])
            if at < 0:
                break
            run.append(at)
        if len(run) >= LEAST_CHOICES and len(run) >= len(best):
            best = run
    if not best:
        return text.strip(), []
    ends = [*best[1:], len(text)]
    return text[: best[0]].strip(), [" ".join(text[at + 1 : end].split()) for at, end in zip(best, ends, strict=True)]


def _doubts(one: Question, texts: Texts, stem: str, choices: Sequence[str]) -> tuple[Doubt, ...]:
    reads = [texts.get(name) for name in one.pictures]
    found: list[Doubt] = []
    if any(read is None or read.refused is not None for read in reads):
        found.append("picture")
    lines = [line for read in reads if read is not None for line in read.lines]
    if not stem or any(line.confidence < SURE for line in lines):
        found.append("text")
    if len(choices) != len(one.choices) or any(not choice for choice in choices):
        found.append("choices")
    return tuple(found)


def _confidence(reads: Sequence[PictureRead]) -> float:
    """Mean over the signs read."""
    signs = sum(len(read.text) for read in reads)
    return round(sum(read.confidence * len(read.text) for read in reads) / signs, 3) if signs else 0.0
