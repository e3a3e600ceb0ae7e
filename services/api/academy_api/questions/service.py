"""What people do with the bank: add, change, remove, have it compared with itself.

A question and the counts of its grams change in one transaction. Counts are updated in the order of their keys, so two
that change many at once never wait for each other in a circle.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from academy_ai.kinds.question_similar import grams
from academy_ai.kinds.question_similar.spec import KIND, MAX_QUESTIONS, QuestionSimilarInput
from academy_api import buckets
from academy_api.accounts.limits import Limit
from academy_api.exams import graves
from academy_api.ledger import jobs
from academy_api.questions import hooks
from academy_api.questions.models import Comparison, Question, Scanned, gram_key
from academy_api.settings import config
from academy_core.errors import Conflict, Permanent, Reason
from academy_core.ledger import NewTask

NO_WORDS = Reason(
    "question-without-words",
    "글자나 숫자가 없는 문제는 저장할 수 없습니다.",
    "A question without a letter or digit cannot be stored.",
)
BANK_FULL = Reason(
    "question-bank-full",
    f"문제은행에는 {MAX_QUESTIONS:,}문제까지 저장할 수 있습니다.",
    f"A question bank holds up to {MAX_QUESTIONS:,} questions.",
)
COMPARING = Reason(
    "comparison-running",
    "이미 중복 검사가 진행 중입니다. 끝난 뒤 다시 시도해 주세요.",
    "The bank is being compared already. Please wait until that has ended.",
)
ALLOWANCE = Reason(
    "daily-allowance-basic",
    "오늘 쓸 수 있는 기본 AI 작업을 모두 썼습니다. 내일 다시 시도하거나 관리자에게 한도를 늘려 달라고 요청해 주세요.",
    "Today's allowance of basic AI work is used up. Try again tomorrow, or ask for a larger one.",
)
_EXPORTED_AT_ONCE = 500

_COUNT = """
INSERT INTO questions_gram AS g (key, holders)
SELECT key, step FROM unnest(%(keys)s::bigint[], %(steps)s::int[]) AS given(key, step) ORDER BY key
ON CONFLICT (key) DO UPDATE SET holders = g.holders + excluded.holders
"""


def allowance() -> Limit:
    """How much work an academy may give the basic tier a day."""
    return Limit("ai-basic", config.AI_DAILY_BASIC, 24 * 3600, ALLOWANCE)


def found_keys(academy: UUID, text: str) -> list[int]:
    """Keys of a text's grams, ascending; none for a text without a letter or digit."""
    return sorted(gram_key(academy, gram) for gram in grams.grams(text))


def keys_of(academy: UUID, text: str) -> list[int]:
    """Keys of a text's grams. Raises Permanent when there is none."""
    keys = found_keys(academy, text)
    if not keys:
        raise Permanent(reason=NO_WORDS)
    return keys


def add(academy: UUID, questions: Sequence[Question]) -> None:
    """Store questions (without their grams yet). Raises Permanent when the bank is full or one has no words."""
    for question in questions:
        question.grams = keys_of(academy, question.text)
    enter(academy, questions)


def enter(academy: UUID, questions: Sequence[Question]) -> None:
    """Store questions with their grams. Raises Permanent when the bank is full."""
    with transaction.atomic():
        total = _count(academy, [question.grams for question in questions], 1)
        if total > MAX_QUESTIONS:
            raise Permanent(reason=BANK_FULL)
        Question.objects.bulk_create(questions)


def change(question: Question, changes: Mapping[str, object]) -> None:
    """Write changed fields, and the grams where the text changed; a person has looked at it."""
    with transaction.atomic():
        locked = Question.objects.select_for_update().get(pk=question.pk)
        for name, value in changes.items():
            setattr(locked, name, value)
        if "text" in changes:
            _count(locked.academy_id, [locked.grams], -1)
            locked.grams = keys_of(locked.academy_id, locked.text)
            _count(locked.academy_id, [locked.grams], 1)
        locked.save()
        Scanned.objects.filter(question=locked).update(reviewed=True, to_review=False)


def remove(question: Question) -> None:
    """Take a question out. Runs in the caller's transaction."""
    locked = Question.objects.select_for_update().filter(pk=question.pk).first()
    if locked is not None:
        _count(locked.academy_id, [locked.grams], -1)
        locked.delete()


def remove_all(academy: UUID, questions: QuerySet[Question]) -> None:
    """Take many questions of an academy out. Runs in the caller's transaction."""
    locked = dict(questions.select_for_update(of=("self",)).values_list("pk", "grams"))
    _count(academy, list(locked.values()), -1)
    Question.objects.filter(pk__in=locked).delete()


def _count(academy: UUID, held: Sequence[Sequence[int]], step: int) -> int:
    """Count questions with these grams in or out; how many the academy has then."""
    counts = Counter(key for keys in held for key in keys)
    everything = gram_key(academy, "")
    counts[everything] = len(held)
    keys = sorted(counts)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, {"keys": keys, "steps": [step * counts[key] for key in keys]})
        cursor.execute("SELECT holders FROM questions_gram WHERE key = %s", [everything])
        (total,) = cursor.fetchone()
    return int(total)


def compare(academy: UUID, request_id: str) -> Comparison:
    """Have the bank searched for questions that stand in it twice. What was found before goes.

    Raises Conflict while that is under way, TooManyRequests when the day's allowance is used up.
    """
    if Comparison.objects.filter(academy_id=academy, state=Comparison.State.RUNNING).exists():
        raise Conflict(reason=COMPARING)
    allowance().spend(academy)
    comparison = Comparison(academy_id=academy)
    bank = f"{comparison.prefix}bank.jsonl"
    buckets.ai().put_stream(bank, _lines(academy), content_type="application/jsonl")
    with transaction.atomic():
        for earlier in Comparison.objects.filter(academy_id=academy):
            graves.bury(earlier.prefix)
            earlier.delete()
        comparison.job = jobs.submit(
            kind=hooks.COMPARE_JOB,
            academy=academy,
            owner_ref=comparison.pk,
            task=NewTask.of(KIND, QuestionSimilarInput(bank=bank)),
            output_prefix=f"{comparison.prefix}found/",
            request_id=request_id,
        )
        comparison.save(force_insert=True)
    return comparison


def _lines(academy: UUID) -> Iterator[bytes]:
    """The bank, a question a line, read piece by piece: some milliseconds of CPU between two database calls."""
    last = UUID(int=0)
    while True:
        rows = list(
            Question.objects.filter(academy_id=academy, pk__gt=last)
            .order_by("pk")
            .values_list("pk", "text")[:_EXPORTED_AT_ONCE]
        )
        if not rows:
            return
        yield "".join(
            json.dumps({"id": str(pk), "text": text}, ensure_ascii=False) + "\n" for pk, text in rows
        ).encode()
        last = rows[-1][0]
