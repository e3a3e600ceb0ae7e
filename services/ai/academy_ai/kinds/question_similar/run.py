"""question.similar at work: a bank in, groups of the same question out.

Two questions that are the same share some of their rare grams, so only questions that do are compared: each with those
that its rarest grams lead to.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from academy_ai.kind import KindInput, Report
from academy_ai.kinds.question_similar import grams, spec
from academy_ai.kinds.question_similar.spec import Group, Pair, QuestionSimilarInput, QuestionSimilarResult
from academy_core.errors import Permanent, Reason

LEADS = 8
"""Rarest grams of a question by which others are found."""
CANDIDATES = 400
"""Questions that one is compared with at most: those that share most of its leads."""
_REPORT_EVERY = 500


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1, max_length=64)
    text: str = Field(max_length=spec.MAX_TEXT)


@dataclass(frozen=True, slots=True)
class _Bank:
    ids: Sequence[str]
    texts: Sequence[str]
    grams: Sequence[frozenset[str]]
    holders: Mapping[str, int]
    """Gram -> how many questions have it."""


def run(task: KindInput, files: Mapping[str, Path], out: Path, report: Report) -> QuestionSimilarResult:
    """Find the groups. Raises Permanent when the bank cannot be read."""
    assert isinstance(task, QuestionSimilarInput)  # noqa: S101 - the caller picks run by the input's kind
    bank = _read(files[task.bank])
    groups = grouped(bank.ids, list(pairs(bank, task.same, report)))
    (out / "groups.json").write_text(json.dumps([group.model_dump() for group in groups], ensure_ascii=False), "utf-8")
    return QuestionSimilarResult(
        questions=len(bank.ids), groups=len(groups), duplicates=sum(len(group.ids) - 1 for group in groups)
    )


def _read(path: Path) -> _Bank:
    texts: dict[str, str] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number > spec.MAX_QUESTIONS:
                raise bad_bank(f"more than {spec.MAX_QUESTIONS} questions")
            try:
                question = _Line.model_validate_json(line)
            except ValidationError as error:
                raise bad_bank(f"line {number}: {error.errors()[0]['msg']}") from None
            texts[question.id] = question.text
    found = tuple(map(grams.grams, texts.values()))
    holders = Counter(gram for held in found for gram in held)
    return _Bank(tuple(texts), tuple(texts.values()), found, holders)


def bad_bank(detail: str) -> Permanent:
    """The bank cannot be read: what is wrong."""
    return Permanent(
        detail,
        reason=Reason(
            "question-bank",
            f"문제은행 파일을 읽을 수 없습니다: {detail}.",
            f"The question bank cannot be read: {detail}.",
        ),
    )


def pairs(bank: _Bank, same: float, report: Report) -> Iterator[tuple[int, int, float]]:
    """Pairs of places in the bank that are alike at least `same`, the earlier one first."""
    earlier: defaultdict[str, list[int]] = defaultdict(list)
    for place, found in enumerate(bank.grams):
        leads = sorted(found, key=lambda gram: (bank.holders[gram], gram))[:LEADS]
        shared = Counter(other for gram in leads for other in earlier[gram])
        for other, _ in shared.most_common(CANDIDATES):
            likeness = grams.likeness(bank.texts[place], bank.texts[other])
            if likeness >= same:
                yield other, place, likeness
        for gram in leads:
            earlier[gram].append(place)
        if place % _REPORT_EVERY == 0:
            report(place / len(bank.grams))


def grouped(ids: Sequence[str], found: Sequence[tuple[int, int, float]]) -> list[Group]:
    """Groups of questions that pairs connect (union-find), in the bank's order."""
    parent = {place: place for pair in found for place in pair[:2]}

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for first, second, _ in found:
        one, other = sorted((root(first), root(second)))
        parent[other] = one
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place in sorted(parent):
        members[root(place)].append(place)
    links: defaultdict[int, list[Pair]] = defaultdict(list)
    for first, second, likeness in found:
        links[root(first)].append(Pair(first=ids[first], second=ids[second], likeness=round(likeness, 4)))
    return [
        Group(ids=tuple(ids[place] for place in places), pairs=tuple(links[top])) for top, places in members.items()
    ]
