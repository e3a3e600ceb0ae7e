"""question.similar: what goes in and what comes out. Light: the API may import it."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from academy_ai.kind import KindInput
from academy_ai.kinds.question_similar import grams
from academy_core.kinds import Payload, Queue, TaskKind, Urgency

Key = Annotated[str, Field(min_length=1, max_length=1024)]
MAX_QUESTIONS = 100_000
MAX_TEXT = 10_000
"""Characters of one question."""


class QuestionSimilarInput(KindInput):
    """A whole bank."""

    bank: Key
    """One JSON object a line: `{"id": "…", "text": "…"}`."""
    same: float = Field(grams.SAME, gt=0, le=1)
    """Least likeness of two questions that count as the same."""

    def sources(self) -> Iterable[str]:
        """See KindInput.sources."""
        yield self.bank


class Pair(Payload):
    """Two questions that are alike."""

    first: str
    second: str
    likeness: float


class Group(Payload):
    """Questions that are the same, one way or another."""

    ids: tuple[str, ...]
    """In the bank's order."""
    pairs: tuple[Pair, ...]


class QuestionSimilarResult(Payload):
    """What was found. The groups themselves are in `details` (a JSON list of Group)."""

    questions: int
    groups: int
    duplicates: int
    """Questions that could go: all but one of each group."""
    details: str = "groups.json"

    def keys(self) -> Iterable[str]:
        """See Payload.keys."""
        return (self.details,)


KIND = TaskKind(
    "question.similar", 1, Queue.AI_BASIC, Urgency.BULK, QuestionSimilarInput, QuestionSimilarResult, max_seconds=900
)
