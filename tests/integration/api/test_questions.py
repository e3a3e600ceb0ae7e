"""The question bank over HTTP, on real Postgres; comparisons with the kind's own code."""

import random
from typing import Any

import pytest
import question_made
from api_support import Api, World, signed_in
from claiming import ClaimingWorker
from exam_support import ok, refused

from academy_ai.kind import AiKind
from academy_ai.kinds.question_similar import spec
from academy_ai.kinds.question_similar.spec import KIND
from academy_api.exams import graves
from academy_api.questions import search, service
from academy_api.questions.models import Gram, Question, gram_key
from academy_core.kinds import Queue, WorkerClass
from academy_core.store_fake import FakeStore

QUESTIONS = "/api/v1/questions"
PLAIN = "민수이는 한 변의 길이가 12cm이고 높이가 7cm인 삼각형을 그렸다. 이 삼각형의 넓이를 구하시오."
SPACED = "민수이는 한변의 길이가 12 cm이고, 높이가 7 cm인 삼각형을 그렸다. 이 삼각형의 넓이를 구하시오!"
OTHER = "조선 시대 대동법의 실시가 상공업에 미친 영향을 서술하시오."


def add(api: Api, *texts: str) -> list[str]:
    ids: list[str] = ok(api.call("POST", QUESTIONS, {"questions": [{"text": text} for text in texts]}), 201)["ids"]
    return ids


def found(api: Api, text: str, limit: int = 10) -> list[Any]:
    items: list[Any] = ok(api.call("POST", f"{QUESTIONS}/search", {"text": text, "limit": limit}))
    return items


def holders() -> dict[int, int]:
    return {key: count for key, count in Gram.objects.values_list("key", "holders") if count}


def test_the_same_question_is_found_and_marked(teacher: Api) -> None:
    first, other = add(teacher, PLAIN, OTHER)
    best = found(teacher, SPACED)
    assert (best[0]["question"]["id"], best[0]["same"]) == (first, True)
    assert all(each["question"]["id"] != other or not each["same"] for each in best)
    assert found(teacher, PLAIN)[0]["score"] == 1.0


def test_another_academys_questions_are_never_found(world: World, teacher: Api) -> None:
    add(signed_in(world.other_director), PLAIN)
    assert found(teacher, PLAIN) == []


def test_counts_of_grams_follow_every_change(world: World, teacher: Api) -> None:
    kept, gone = add(teacher, PLAIN, OTHER)
    ok(teacher.call("PATCH", f"{QUESTIONS}/{kept}", {"text": SPACED, "answer": "42"}))
    ok(teacher.call("PATCH", f"{QUESTIONS}/{kept}", {"source": "3월 모의고사"}))
    ok(teacher.call("DELETE", f"{QUESTIONS}/{gone}"), 204)
    (question,) = Question.objects.all()
    assert (question.answer, question.source) == ("42", "3월 모의고사")
    assert holders() == dict.fromkeys([*question.grams, gram_key(world.academy.pk, "")], 1)


def test_a_text_without_words_is_no_question_and_finds_none(teacher: Api) -> None:
    refused(teacher.call("POST", QUESTIONS, {"questions": [{"text": "?!…"}]}), 422, "question-without-words")
    assert not Question.objects.exists()
    assert found(teacher, "?!…") == []


def test_a_bank_has_an_end(teacher: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_QUESTIONS", 2)
    add(teacher, PLAIN, OTHER)
    refused(teacher.call("POST", QUESTIONS, {"questions": [{"text": SPACED}]}), 422, "question-bank-full")
    assert Question.objects.count() == 2
    assert Gram.objects.filter(holders__gt=2).count() == 0


def test_questions_asked_otherwise_are_found(world: World) -> None:
    """Recall on a small bank; `tests/bench/similar.py` states it on a large one."""
    seed = 11
    made = question_made.bank(1_000, seed)
    rng = random.Random(seed)  # noqa: S311
    rows = [Question(academy=world.academy, text=question.text) for question in made]
    service.add(world.academy.pk, rows)
    asked = rng.sample(range(len(made)), 60)
    hits = 0
    for at in asked:
        text = question_made.asked_otherwise(made[at], rng, errors=0.03)
        hits += rows[at].pk in {one.question for one in search.similar(world.academy.pk, text, 10)}
    assert hits >= 54, f"seed {seed}: {hits} of {len(asked)}"


# -- comparisons ------------------------------------------------------------------------------------------------------


def compared(ai: FakeStore) -> None:
    """What a basic worker does with the task."""
    ClaimingWorker(WorkerClass.AI_CPU, Queue.AI_BASIC, KIND).work(AiKind(KIND, spec.__package__), ai)


def test_a_bank_is_compared_with_itself(teacher: Api, ai: FakeStore) -> None:
    first, second, _ = add(teacher, PLAIN, SPACED, OTHER)
    comparison = ok(teacher.call("POST", f"{QUESTIONS}/comparisons"), 201)
    assert (comparison["state"], comparison["duplicates"]) == ("running", None)
    refused(teacher.call("POST", f"{QUESTIONS}/comparisons"), 409, "comparison-running")
    compared(ai)
    done = ok(teacher.call("GET", f"{QUESTIONS}/comparisons/{comparison['id']}"))
    assert (done["state"], done["questions"], done["duplicates"]) == ("done", 3, 1)
    (group,) = done["groups"]
    assert sorted(group["ids"]) == sorted([first, second])


def test_a_new_comparison_replaces_the_last(teacher: Api, ai: FakeStore) -> None:
    add(teacher, PLAIN, SPACED)
    first = ok(teacher.call("POST", f"{QUESTIONS}/comparisons"), 201)["id"]
    compared(ai)
    second = ok(teacher.call("POST", f"{QUESTIONS}/comparisons"), 201)["id"]
    items = ok(teacher.call("GET", f"{QUESTIONS}/comparisons"))["items"]
    assert [each["id"] for each in items] == [second]
    graves.sweep()
    assert {key.split("/")[1] for key in ai.objects} == {second} != {first}


def test_the_days_allowance_is_the_academys(teacher: Api, ai: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "config", service.config.model_copy(update={"AI_DAILY_BASIC": 0}))
    add(teacher, PLAIN)
    refused(teacher.call("POST", f"{QUESTIONS}/comparisons"), 429, "daily-allowance-basic")
    assert ai.objects == {}
