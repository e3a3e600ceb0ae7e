"""Scanned exams over HTTP into the question bank: real Postgres and ledger, the object store in memory."""

from typing import Any
from uuid import UUID

import cv2
import exam_made
import pytest
from api_support import Api, World, signed_in
from claiming import ClaimingWorker
from django.db import IntegrityError, transaction
from exam_support import ok, refused
from tesseract_support import reads

from academy_ai.kind import AiKind, kinds_of
from academy_ai.kinds import exam_ocr, exam_read
from academy_ai.kinds.exam_read.spec import COLLECT, KIND, CollectInput, CollectResult, Crop, ExamRead, QuestionRead
from academy_ai.kinds.exam_segment.spec import ExamSegmentResult, PageSeen
from academy_api.accounts.models import AuditEntry
from academy_api.exams import graves
from academy_api.ledger import jobs
from academy_api.questions import duties, scans, service
from academy_api.questions.models import Gram, Question, Scan, Scanned, Work
from academy_core.errors import StoreUnavailable
from academy_core.kinds import Queue, WorkerClass
from academy_core.ledger import ClaimedTask, NewTask
from academy_core.store_fake import FakeStore

QUESTIONS = "/api/v1/questions"
SCANS = f"{QUESTIONS}/scans"
PDF = {"file_name": "기출.pdf", "size": 5, "content_type": "application/pdf"}
KINDS: dict[str, AiKind] = {
    kind.task.name: kind for package in (exam_read, exam_ocr) for kind in kinds_of(package.__name__)
}


class Reader(ClaimingWorker):
    """A basic worker that reads scans in the test's words, or with the kinds' own code."""

    def __init__(self, ai: FakeStore) -> None:
        super().__init__(WorkerClass.AI_CPU, Queue.AI_BASIC, *(kind.task for kind in KINDS.values()))
        self.ai = ai

    def segment(self) -> ClaimedTask:
        """Do exam.read; nothing was cut out, so that only the collecting is left."""
        task = self.claim()
        assert task.kind == KIND.name
        result = ExamSegmentResult(pages=1, refused=0, questions=0, passages=0, pictures=())
        self.complete(task, result, (), NewTask.of(COLLECT, CollectInput(layout=result.details)))
        return task

    def collect(self, found: ExamRead) -> ClaimedTask:
        """Do exam.read.collect with these questions."""
        task = self.claim()
        assert task.kind == COLLECT.name
        doubtful = sum(bool(question.doubts) for question in found.questions)
        result = CollectResult(pages=len(found.pages), refused=0, questions=len(found.questions), doubtful=doubtful)
        name = task.output_prefix + result.details
        self.ai.put(name, found.model_dump_json().encode(), content_type="application/json")
        self.complete(task, result)
        return task

    def read(self, *questions: QuestionRead, pages: tuple[PageSeen, ...] = (), missing: tuple[int, ...] = ()) -> None:
        """A whole reading, fetched by the relay."""
        self.segment()
        self.collect(ExamRead(pages=pages, questions=questions, missing=missing))
        duties.fetch_scans()


@pytest.fixture
def reader(ai: FakeStore) -> Reader:
    return Reader(ai)


def question(number: int, text: str, **more: Any) -> QuestionRead:
    crops = (Crop(what="question", picture=f"question-{number:03}.png"),)
    return QuestionRead(number=number, text=text, crops=crops, confidence=0.9, **more)


FIRST = question(1, "삼각형의 밑변이 12cm이고 높이가 7cm일 때 넓이를 구하시오.", choices=("42", "84"))
SECOND = question(2, "대동법의 실시가 상공업에 미친 영향은?", doubts=("text",), passage="조선 후기에는…")


def announced(api: Api, *files: dict[str, Any]) -> Any:
    return ok(api.call("POST", SCANS, {"title": "2024 3월 모의고사", "files": list(files or (PDF,))}), 201)


def upload(ai: FakeStore, scan: str, data: bytes = b"%PDF-") -> None:
    """What a browser does with the presigned URLs, done in memory."""
    for key in Scan.objects.get(pk=scan).source_keys:
        ai.put(key, data, content_type="application/pdf")


def submitted(api: Api, ai: FakeStore) -> str:
    """A scan that is being read."""
    scan: str = announced(api)["id"]
    upload(ai, scan)
    assert read(api, scan)["state"] == "reading"
    return scan


def read(api: Api, scan: str, *, again: bool = False) -> Any:
    return ok(api.call("POST", f"{SCANS}/{scan}/read", {"again": again}))


def seen(api: Api, scan: str) -> Any:
    return ok(api.call("GET", f"{SCANS}/{scan}"))


def bank(api: Api, query: str = "") -> list[Any]:
    items: list[Any] = ok(api.call("GET", f"{QUESTIONS}{query}"))["items"]
    return sorted(items, key=lambda one: one["scanned"]["number"])


def found(api: Api, text: str) -> list[str]:
    return [each["question"]["id"] for each in ok(api.call("POST", f"{QUESTIONS}/search", {"text": text}))]


def holders() -> set[int]:
    return set(Gram.objects.exclude(holders=0).values_list("holders", flat=True))


# -- from upload to the bank ------------------------------------------------------------------------------------------


@reads
def test_an_uploaded_exam_becomes_searchable_questions(teacher: Api, reader: Reader) -> None:
    """The whole way with the real kinds, task by task as the ledger hands them out."""
    made = exam_made.page(5, columns=2)
    data = cv2.imencode(".png", made.picture)[1].tobytes()
    page = {"file_name": "1쪽.png", "size": len(data), "content_type": "image/png"}
    scan = announced(teacher, page)
    upload(reader.ai, scan["id"], data)
    read(teacher, scan["id"])
    kinds = []
    while (task := reader.try_claim()) is not None:
        reader.do(KINDS[task.kind], task, reader.ai)
        kinds.append(task.kind)
    assert kinds[0] == "exam.read"
    assert kinds[-1] == "exam.read.collect"
    assert set(kinds[1:-1]) == {"exam.ocr"}
    duties.fetch_scans()
    done = seen(teacher, scan["id"])
    assert (done["state"], done["questions"], done["missing"]) == ("done", len(made.questions), [])
    for one, true in zip(bank(teacher), made.questions, strict=True):
        assert one["scanned"]["number"] == true.number
        assert one["source"] == "2024 3월 모의고사"
        assert found(teacher, " ".join(true.lines))[0] == one["id"]
        for crop in one["scanned"]["crops"]:
            key = next(key for key in reader.ai.objects if key in crop["url"])
            assert reader.ai.get(key).startswith(b"\x89PNG")


def test_a_scan_is_announced_uploaded_read_and_reviewed(teacher: Api, reader: Reader) -> None:
    scan = announced(teacher)
    assert (scan["state"], scan["percent"]) == ("uploading", None)
    assert scan["files"][0]["upload_url"]
    refused(teacher.call("POST", f"{SCANS}/{scan['id']}/read", {}), 409, "scan-not-arrived")
    upload(reader.ai, scan["id"])
    reading = read(teacher, scan["id"])
    assert (reading["state"], reading["files"][0]["upload_url"]) == ("reading", None)
    task = reader.segment()
    assert task.input == {"pages": [f"scans/{scan['id']}/sources/01"]}
    assert seen(teacher, scan["id"])["percent"] == 50
    reader.collect(ExamRead(pages=(), questions=(FIRST, SECOND), missing=()))
    assert seen(teacher, scan["id"])["state"] == "reading"  # the questions are still in the store
    duties.fetch_scans()
    done = seen(teacher, scan["id"])
    assert (done["state"], done["questions"], done["to_review"]) == ("done", 2, 1)
    first, second = bank(teacher, f"?scan={scan['id']}")
    assert (first["choices"], second["passage"]) == (["42", "84"], "조선 후기에는…")
    assert [one["id"] for one in bank(teacher, "?review=true")] == [second["id"]]
    assert found(teacher, FIRST.text)[0] == first["id"]
    ok(teacher.call("PATCH", f"{QUESTIONS}/{second['id']}", {}))  # right as it is
    assert bank(teacher, "?review=true") == []
    assert seen(teacher, scan["id"])["to_review"] == 0


def test_fetching_again_and_a_relay_beside_enter_nothing_twice(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    reader.segment()
    reader.collect(ExamRead(pages=(), questions=(FIRST, SECOND)))
    row = Scan.objects.get(pk=scan)
    result = ExamRead(pages=(), questions=(FIRST, SECOND))
    scans.enter(row, result)
    scans.enter(row, result)
    duties.fetch_scans()
    assert Question.objects.count() == 2
    assert holders() <= {1, 2}
    other = Question.objects.create(academy_id=row.academy_id, text="또", grams=[])
    again = Scanned(academy_id=row.academy_id, scan=row, question=other, number=FIRST.number, confidence=0)
    again.crops, again.doubts, again.to_review = [], [], False
    with pytest.raises(IntegrityError, match="scanned_number"), transaction.atomic():
        again.save(force_insert=True)


def test_asking_twice_reads_once(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    read(teacher, scan, again=True)
    reader.read(FIRST)
    read(teacher, scan)
    assert (seen(teacher, scan)["state"], reader.try_claim()) == ("done", None)


def test_reading_again_replaces_what_nobody_looked_at(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    reader.read(FIRST, SECOND)
    first, second = bank(teacher)
    ok(teacher.call("PATCH", f"{QUESTIONS}/{first['id']}", {"text": "고친 문제"}))
    read(teacher, scan, again=True)
    reader.read(question(1, "다시 읽은 첫 문제"), question(2, "다시 읽은 둘째 문제"), question(3, "새 문제"))
    kept, replaced, new = bank(teacher)
    assert (kept["id"], kept["text"]) == (first["id"], "고친 문제")
    assert replaced["id"] != second["id"]
    assert (replaced["text"], new["text"]) == ("다시 읽은 둘째 문제", "새 문제")
    assert found(teacher, SECOND.text) == []
    assert Gram.objects.get(key=service.gram_key(UUID(str(Scan.objects.get(pk=scan).academy_id)), "")).holders == 3


def test_a_question_without_a_word_enters_and_waits_for_a_person(teacher: Api, reader: Reader) -> None:
    submitted(teacher, reader.ai)
    reader.read(question(1, "", doubts=("text",)), question(2, "\x00넓이\x00는?"))
    picture, text = bank(teacher)
    assert (picture["text"], picture["scanned"]["to_review"]) == ("", True)
    assert text["text"] == "넓이는?"


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_pages_that_could_not_be_read_are_named(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    source = f"scans/{scan}/sources/01"
    bad = PageSeen(source=source, page=2, refused="picture-unreadable", reason_ko="열 수 없습니다.", reason_en="No.")
    reader.read(FIRST, pages=(PageSeen(source=source, page=1), bad), missing=(3,))
    done = seen(teacher, scan)
    assert done["missing"] == [3]
    assert done["refused"] == [
        {"file_name": "기출.pdf", "page": 2, "code": "picture-unreadable", "ko": "열 수 없습니다.", "en": "No."}
    ]


@pytest.mark.parametrize(
    ("pages", "code"),
    [
        ((PageSeen(source="s", page=1),), "scan-without-questions"),
        ((PageSeen(source="s", page=1, refused="pdf-pages", reason_ko="쪽", reason_en="Pages"),), "pdf-pages"),
    ],
)
def test_a_scan_without_questions_fails_with_a_reason(
    teacher: Api, reader: Reader, pages: tuple[PageSeen, ...], code: str
) -> None:
    scan = submitted(teacher, reader.ai)
    reader.read(pages=pages)
    failed = seen(teacher, scan)
    assert (failed["state"], failed["reason"]["code"]) == ("failed", code)
    assert read(teacher, scan)["state"] == "reading"  # it may be tried again
    reader.read(FIRST)
    assert (seen(teacher, scan)["state"], seen(teacher, scan)["reason"]) == ("done", None)


def test_a_failed_job_fails_the_scan(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    reader.fail(reader.claim(), "source-gone", "파일이 없습니다.", "The file is gone.")
    assert seen(teacher, scan)["reason"]["code"] == "source-gone"
    jobs.retry(Scan.objects.get(pk=scan).job)
    assert (seen(teacher, scan)["state"], seen(teacher, scan)["reason"]) == ("reading", None)


@pytest.mark.parametrize("data", [None, b"{", b'{"pages": [], "questions": [{"number": -1}]}'])
def test_a_result_that_is_gone_or_no_result_fails_the_scan(teacher: Api, reader: Reader, data: bytes | None) -> None:
    scan = submitted(teacher, reader.ai)
    reader.segment()
    task = reader.collect(ExamRead(pages=(), questions=(FIRST,)))
    name = task.output_prefix + "questions.json"
    if data is None:
        reader.ai.delete(name)
    else:
        reader.ai.put(name, data, content_type="application/json")
    duties.fetch_scans()
    assert seen(teacher, scan)["reason"]["code"] == "scan-lost"
    assert not Question.objects.exists()


def test_a_store_that_is_away_is_waited_for(teacher: Api, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = submitted(teacher, reader.ai)
    reader.segment()
    reader.collect(ExamRead(pages=(), questions=(FIRST,)))

    def away(key: str) -> bytes:
        raise StoreUnavailable(key)

    with monkeypatch.context() as patch:
        patch.setattr(reader.ai, "get", away)
        with pytest.raises(StoreUnavailable):
            duties.fetch_scans()
    assert seen(teacher, scan)["state"] == "reading"
    duties.fetch_scans()
    assert seen(teacher, scan)["state"] == "done"


def test_a_full_bank_takes_nothing_of_a_scan(teacher: Api, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MAX_QUESTIONS", 1)
    scan = submitted(teacher, reader.ai)
    reader.read(FIRST, SECOND)
    assert seen(teacher, scan)["reason"]["code"] == "question-bank-full"
    assert (Question.objects.count(), holders()) == (0, set())


def test_files_that_cannot_be_read_are_refused_at_once(teacher: Api, reader: Reader) -> None:
    video = {"title": "기출", "files": [{**PDF, "content_type": "video/mp4"}]}
    refused(teacher.call("POST", SCANS, video), 422, "sheet-type")
    large = {"title": "기출", "files": [{**PDF, "size": 200 * 1024 * 1024}]}
    refused(teacher.call("POST", SCANS, large), 422, "sheet-too-large")
    scan = announced(teacher)["id"]
    upload(reader.ai, scan, b"longer than announced")
    refused(teacher.call("POST", f"{SCANS}/{scan}/read", {}), 422, "sheet-size-differs")
    assert reader.try_claim() is None


def test_the_days_allowance_is_the_academys(teacher: Api, ai: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "config", service.config.model_copy(update={"AI_DAILY_BASIC": 1}))
    submitted(teacher, ai)
    scan = announced(teacher)["id"]
    upload(ai, scan)
    refused(teacher.call("POST", f"{SCANS}/{scan}/read", {}), 429, "daily-allowance-basic")
    assert seen(teacher, scan)["state"] == "uploading"


# -- ends -------------------------------------------------------------------------------------------------------------


def test_cancelling_ends_the_work(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    assert ok(teacher.call("POST", f"{SCANS}/{scan}/cancel"))["state"] == "cancelled"
    assert reader.try_claim() is None
    waiting = announced(teacher)["id"]
    assert ok(teacher.call("POST", f"{SCANS}/{waiting}/cancel"))["state"] == "cancelled"
    assert read(teacher, scan)["state"] == "reading"  # and may be begun anew


def test_deleting_takes_questions_work_and_files_along(teacher: Api, reader: Reader) -> None:
    typed = ok(teacher.call("POST", QUESTIONS, {"questions": [{"text": FIRST.text}]}), 201)["ids"]
    scan = submitted(teacher, reader.ai)
    reader.read(FIRST, SECOND)
    running = submitted(teacher, reader.ai)
    for each in (scan, running):
        ok(teacher.call("DELETE", f"{SCANS}/{each}"), 204)
    assert [str(pk) for pk in Question.objects.values_list("pk", flat=True)] == typed
    assert (holders(), reader.try_claim()) == ({1}, None)
    graves.sweep()
    graves.sweep()
    assert reader.ai.objects == {}
    assert AuditEntry.objects.filter(action="scan.delete").count() == 2


def test_one_question_of_a_scan_can_go(teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    reader.read(FIRST, SECOND)
    ok(teacher.call("DELETE", f"{QUESTIONS}/{bank(teacher)[0]['id']}"), 204)
    assert seen(teacher, scan)["questions"] == 1


# -- whose it is ------------------------------------------------------------------------------------------------------


def test_another_academy_sees_neither_scan_nor_questions(world: World, teacher: Api, reader: Reader) -> None:
    scan = submitted(teacher, reader.ai)
    reader.read(FIRST)
    other = signed_in(world.other_director)
    assert found(other, FIRST.text) == []
    for method, path in (("GET", ""), ("POST", "/read"), ("POST", "/cancel"), ("DELETE", "")):
        assert other.call(method, f"{SCANS}/{scan}{path}", {}).status_code == 404
    assert other.call("GET", f"{QUESTIONS}?scan={scan}").status_code == 404
    assert ok(other.call("GET", SCANS))["items"] == []
    assert seen(teacher, scan)["state"] == Work.DONE


def test_the_database_refuses_questions_of_another_academys_scan(world: World, teacher: Api, ai: FakeStore) -> None:
    scan = Scan.objects.get(pk=submitted(teacher, ai))
    stray = Question.objects.create(academy=world.other, text="남의 문제", grams=[])
    held = Scanned(academy=world.other, question=stray, scan=scan, number=1, confidence=1, to_review=False)
    held.crops, held.doubts = [], []
    with pytest.raises(IntegrityError, match="tenant"), transaction.atomic():
        held.save(force_insert=True)
