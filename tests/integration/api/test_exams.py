"""Exams over HTTP, on real Postgres and the real ledger, with the object store in memory."""

import csv
import io
import json
from typing import Any

import cv2
import omr_made
import openpyxl
import pytest
from api_support import Api, World
from django.db import IntegrityError
from django.utils import timezone
from exam_support import EXAMS, JPEG, KEY, TEMPLATE, Grader, announced, grade, made_exam, ok, read, refused, upload

from academy_ai.kind import AiKind
from academy_ai.kinds.omr_grade import spec
from academy_api.accounts.models import AuditEntry
from academy_api.exams import duties, graves, service, uploads
from academy_api.exams.models import Batch, Exam, Grave, Sheet, Template
from academy_core.errors import StoreUnavailable
from academy_core.store_fake import FakeStore


@pytest.fixture
def grader(ai: FakeStore) -> Grader:
    return Grader(ai)


def submitted(api: Api, bucket: FakeStore, exam: str, *files: dict[str, Any]) -> Any:
    """A batch whose files have all arrived and are being graded."""
    batch = announced(api, exam, *files)
    for file in batch["files"]:
        upload(bucket, file["id"])
    assert grade(api, batch["id"]) == len(batch["files"])
    return batch


def graded(api: Api, grader: Grader, exam: str, *pages: Any) -> Any:
    """A batch of one file, read as `pages`."""
    batch = submitted(api, grader.bucket, exam)
    grader.finish(grader.claim(), *pages)
    duties.fetch_readings()
    return batch


def state_of(api: Api, sheet: str) -> str:
    state: str = ok(api.call("GET", f"{EXAMS}/sheets/{sheet}"))["state"]
    return state


def results_of(api: Api, exam: str, query: str = "") -> list[Any]:
    items: list[Any] = ok(api.call("GET", f"{EXAMS}/{exam}/results{query}"))["items"]
    return items


# -- from upload to marks ---------------------------------------------------------------------------------------------


def test_a_photographed_sheet_goes_from_upload_to_marks(teacher: Api, grader: Grader) -> None:
    """The whole way with the real kind: the only thing made up is the photo."""
    made = omr_made.photographed(omr_made.sheet(7), 7)
    template = ok(
        teacher.call("POST", f"{EXAMS}/templates", {"title": "OMR", "definition": json.loads(made.template)}), 201
    )
    right = {column: value for column, value in made.truth.items() if column != "Student" and value}
    key = {"options": {"questions_in_order": list(right), "answers_in_order": list(right.values())}}
    exam = ok(teacher.call("POST", EXAMS, {"title": "시험", "template": template["id"], "answer_key": key}), 201)["id"]
    data = cv2.imencode(".jpg", made.picture)[1].tobytes()
    batch = announced(teacher, exam, {**JPEG, "size": len(data)})
    upload(grader.bucket, batch["files"][0]["id"], data)
    grade(teacher, batch["id"])
    grader.work(AiKind(spec.KIND, spec.__package__), grader.bucket)
    duties.fetch_readings()
    (page,) = results_of(teacher, exam)
    assert page["answers"] == made.truth
    assert page["marks"]["score"] == page["marks"]["out_of"] == len(right)
    assert page["picture_url"] is not None


def test_a_batch_is_announced_uploaded_graded_and_reviewed(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    batch = announced(teacher, exam, JPEG, {**JPEG, "file_name": "2.jpg"})
    assert [file["state"] for file in batch["files"]] == ["uploading", "uploading"]
    assert all(file["upload_url"] for file in batch["files"])
    first, second = (file["id"] for file in batch["files"])
    upload(grader.bucket, first)
    assert grade(teacher, batch["id"]) == 1  # the other has not arrived yet
    assert (state_of(teacher, first), state_of(teacher, second)) == ("grading", "uploading")
    task = grader.claim()
    assert task.input["sheets"] == [Sheet.objects.get(pk=first).source_key]
    grader.finish(task, read({"q1": "A", "q2": "?", "q3": ""}, unsure=("q2",), picture="sheet-001.jpg"))
    assert state_of(teacher, first) == "grading"  # the readings are still in the store
    duties.fetch_readings()
    assert state_of(teacher, first) == "graded"
    (page,) = results_of(teacher, exam)
    assert page["marks"] == {"score": 2, "out_of": 6, "right": 1, "wrong": 0, "blank": 1, "open": 1}
    assert (page["unsure"], page["read"]["q2"]) == (["q2"], "?")
    assert len(results_of(teacher, exam, "?review=true")) == 1
    answer = teacher.call("PATCH", f"{EXAMS}/readings/{page['id']}", {"corrections": {"q2": "B", "q3": "C"}})
    corrected = ok(answer)
    assert corrected["marks"]["score"] == 6
    assert corrected["read"] == page["read"]  # kept apart
    assert corrected["answers"] == {"q1": "A", "q2": "B", "q3": "C"}
    assert results_of(teacher, exam, "?review=true") == []
    back = ok(teacher.call("PATCH", f"{EXAMS}/readings/{page['id']}", {"corrections": {"q2": None}}))
    assert (back["unsure"], back["corrections"]) == (["q2"], {"q3": "C"})
    assert ok(teacher.call("GET", f"{EXAMS}/{exam}"))["to_review"] == 1


def test_a_new_key_marks_every_sheet_anew(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher, key=None)
    graded(teacher, grader, exam, read({"q1": "A", "q2": "A", "q3": "A"}))
    assert results_of(teacher, exam)[0]["marks"] is None
    ok(teacher.call("PATCH", f"{EXAMS}/{exam}", {"answer_key": KEY}))
    assert results_of(teacher, exam)[0]["marks"]["score"] == 2
    ok(teacher.call("PATCH", f"{EXAMS}/{exam}", {"answer_key": None}))
    assert results_of(teacher, exam)[0]["marks"] is None


def test_a_refused_page_has_no_marks_until_somebody_fills_it_in(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    refusal = read({}, refused="page-not-found", reason_ko="찾을 수 없습니다.", reason_en="Not found.")
    graded(teacher, grader, exam, refusal, read({"q1": "A", "q2": "B", "q3": "C"}, page=2))
    pages = {page["page"]: page for page in results_of(teacher, exam)}
    assert pages[1]["marks"] is None  # unknown, not 0
    assert pages[1]["refused"]["code"] == "page-not-found"
    assert pages[1]["unsure"] == ["q1", "q2", "q3"]
    assert [page["page"] for page in results_of(teacher, exam, "?review=true")] == [1]
    filled = {"corrections": {"q1": "A", "q2": "B", "q3": "D"}}
    assert ok(teacher.call("PATCH", f"{EXAMS}/readings/{pages[1]['id']}", filled))["marks"]["score"] == 4


def test_progress_is_that_of_the_job(teacher: Api, grader: Grader) -> None:
    batch = submitted(teacher, grader.bucket, made_exam(teacher))
    sheet = batch["files"][0]["id"]
    assert ok(teacher.call("GET", f"{EXAMS}/sheets/{sheet}"))["percent"] == 0
    assert ok(teacher.call("GET", f"{EXAMS}/batches/{batch['id']}"))["sheets"] == {"grading": 1}


def test_grading_again_keeps_corrections_and_writes_elsewhere(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    batch = graded(teacher, grader, exam, read({"q1": "A", "q2": "B", "q3": ""}), read({"q1": "D"}, page=2))
    page = next(page for page in results_of(teacher, exam) if page["page"] == 1)
    ok(teacher.call("PATCH", f"{EXAMS}/readings/{page['id']}", {"corrections": {"q3": "C"}}))
    before = Sheet.objects.get(batch=batch["id"]).output_prefix
    assert grade(teacher, batch["id"], again=True) == 1
    task = grader.claim()
    assert task.output_prefix != before
    grader.finish(task, read({"q1": "B", "q2": "B", "q3": ""}))
    duties.fetch_readings()
    (again,) = results_of(teacher, exam)  # the second page is gone
    assert again["id"] == page["id"]
    assert again["answers"] == {"q1": "B", "q2": "B", "q3": "C"}


def test_grading_twice_grades_once(teacher: Api, grader: Grader) -> None:
    batch = submitted(teacher, grader.bucket, made_exam(teacher))
    refused(teacher.call("POST", f"{EXAMS}/batches/{batch['id']}/grade", {}), 409, "nothing-to-grade")
    grader.claim()
    assert grader.try_claim() is None


def test_one_bad_file_fails_alone_and_may_be_graded_again(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    batch = submitted(teacher, grader.bucket, exam, JPEG, JPEG)
    grader.refuse(grader.claim())
    grader.finish(grader.claim(), read({"q1": "A", "q2": "B", "q3": "C"}))
    duties.fetch_readings()
    files = ok(teacher.call("GET", f"{EXAMS}/batches/{batch['id']}"))["files"]
    assert [file["state"] for file in files] == ["failed", "graded"]
    assert files[0]["reason"]["code"] == "picture-unreadable"
    assert ok(teacher.call("POST", f"{EXAMS}/sheets/{files[0]['id']}/grade"))["submitted"] == 1
    assert state_of(teacher, files[0]["id"]) == "grading"


def test_a_file_of_another_size_is_refused_and_the_others_go_on(teacher: Api, grader: Grader) -> None:
    batch = announced(teacher, made_exam(teacher), JPEG, JPEG)
    upload(grader.bucket, batch["files"][0]["id"], b"longer than announced")
    upload(grader.bucket, batch["files"][1]["id"])
    assert grade(teacher, batch["id"]) == 1
    files = ok(teacher.call("GET", f"{EXAMS}/batches/{batch['id']}"))["files"]
    assert (files[0]["state"], files[0]["reason"]["code"]) == ("failed", "sheet-size-differs")


def test_the_days_allowance_is_the_academys(teacher: Api, ai: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "config", service.config.model_copy(update={"AI_DAILY_LITE": 2}))
    exam = made_exam(teacher)
    submitted(teacher, ai, exam, JPEG, JPEG)
    batch = announced(teacher, exam)
    upload(ai, batch["files"][0]["id"])
    answer = teacher.call("POST", f"{EXAMS}/batches/{batch['id']}/grade", {})
    refused(answer, 429, "daily-allowance-lite")
    assert 0 < int(answer["Retry-After"]) <= 24 * 3600
    assert state_of(teacher, batch["files"][0]["id"]) == "uploading"


def test_a_store_that_is_away_loses_nothing(teacher: Api, grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    exam = made_exam(teacher)
    batch = submitted(teacher, grader.bucket, exam)
    grader.finish(grader.claim(), read({"q1": "A", "q2": "B", "q3": "C"}))

    def away(_key: str) -> bytes:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(grader.bucket, "get", away)
        with pytest.raises(StoreUnavailable):
            duties.fetch_readings()
    assert state_of(teacher, batch["files"][0]["id"]) == "grading"
    duties.fetch_readings()
    assert state_of(teacher, batch["files"][0]["id"]) == "graded"


def test_readings_that_are_lost_are_said_to_be(teacher: Api, grader: Grader) -> None:
    batch = submitted(teacher, grader.bucket, made_exam(teacher))
    task = grader.claim()
    grader.finish(task, read({"q1": "A"}))
    grader.bucket.delete(task.output_prefix + "answers.json")
    duties.fetch_readings()
    file = ok(teacher.call("GET", f"{EXAMS}/batches/{batch['id']}"))["files"][0]
    assert (file["state"], file["reason"]["code"]) == ("failed", "readings-lost")


# -- ends -------------------------------------------------------------------------------------------------------------


def test_cancel_ends_what_runs_and_keeps_what_is_graded(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    batch = submitted(teacher, grader.bucket, exam, JPEG, JPEG)
    grader.finish(grader.claim(), read({"q1": "A", "q2": "B", "q3": "C"}))
    duties.fetch_readings()
    files = ok(teacher.call("POST", f"{EXAMS}/batches/{batch['id']}/cancel"))["files"]
    assert [file["state"] for file in files] == ["graded", "cancelled"]
    assert grader.try_claim() is None


def test_deleting_an_exam_ends_its_jobs_and_leaves_no_file(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    batch = submitted(teacher, grader.bucket, exam)
    ok(teacher.call("DELETE", f"{EXAMS}/{exam}"), 204)
    assert grader.try_claim() is None
    graves.sweep()
    assert grader.bucket.objects == {}
    grader.bucket.put(f"exams/{batch['id']}/sources/late", b"x", content_type="x/y")  # with a URL that is still good
    Grave.objects.update(created_at=timezone.now() - graves.SWEPT_AGAIN, due_at=timezone.now())
    graves.sweep()
    assert grader.bucket.objects == {}
    assert not Grave.objects.exists()
    assert AuditEntry.objects.filter(action="exam.delete", target=exam).exists()


def test_a_template_in_use_stays(teacher: Api, ai: FakeStore) -> None:
    exam = made_exam(teacher)
    template = Template.objects.get()
    refused(teacher.call("DELETE", f"{EXAMS}/templates/{template.pk}"), 409, "template-in-use")
    ok(teacher.call("DELETE", f"{EXAMS}/{exam}"), 204)
    ok(teacher.call("DELETE", f"{EXAMS}/templates/{template.pk}"), 204)
    assert ai.objects == {}


# -- exports ----------------------------------------------------------------------------------------------------------


def test_results_are_exported_as_they_stand(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    graded(teacher, grader, exam, read({"q1": "=1+1", "q2": "?", "q3": ""}, unsure=("q2",)))
    (page,) = results_of(teacher, exam)
    ok(teacher.call("PATCH", f"{EXAMS}/readings/{page['id']}", {"corrections": {"q2": "B"}}))
    answer = teacher.call("GET", f"{EXAMS}/{exam}/results.csv")
    assert answer.status_code == 200
    text = answer.content.decode("utf-8-sig")
    row = dict(zip(*csv.reader(io.StringIO(text)), strict=True))
    assert (row["file"], row["score"], row["q1"], row["q2"]) == ("1번.jpg", "2.0", "'=1+1", "B")
    book = openpyxl.load_workbook(io.BytesIO(teacher.call("GET", f"{EXAMS}/{exam}/results.xlsx").content))
    head, first = (tuple(cell.value for cell in cells) for cells in book["results"].iter_rows())
    assert dict(zip(head, first, strict=True))["q1"] == "=1+1"
    assert all(cell.data_type != "f" for cells in book["results"].iter_rows() for cell in cells)
    assert AuditEntry.objects.filter(action="results.export").count() == 2


def test_what_is_not_known_is_empty_in_an_export(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    graded(teacher, grader, exam, read({}, refused="page-not-found"))
    text = teacher.call("GET", f"{EXAMS}/{exam}/results.csv").content.decode("utf-8-sig")
    row = dict(zip(*csv.reader(io.StringIO(text)), strict=True))
    assert (row["score"], row["q1"], row["refused"]) == ("", "", "page-not-found")


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/templates", {"title": "t", "definition": {}}, "omr-template"),
        ("/templates", {"title": " ", "definition": TEMPLATE}, "invalid-request"),
        (
            "/templates",
            {"title": "t", "definition": {**TEMPLATE, "preProcessors": [{"name": "CropOnMarkers"}]}},
            "template-without-marker",
        ),
        ("/templates", {"title": "t", "definition": TEMPLATE, "marker": "no base64!"}, "marker-type"),
        ("/templates", {"title": "a\0b", "definition": TEMPLATE}, "unstorable-character"),
        ("/templates", {"title": "t", "definition": {**TEMPLATE, "note": "\ud800"}}, "omr-template"),
        ("/templates", {"title": "t", "definition": {**TEMPLATE, "note": ["\0"]}}, "unstorable-character"),
    ],
)
def test_bad_templates_are_refused(teacher: Api, ai: FakeStore, path: str, body: dict[str, Any], code: str) -> None:
    refused(teacher.call("POST", EXAMS + path, body), 422, code)
    assert ai.objects == {}


def test_a_key_that_does_not_fit_the_template_is_refused(teacher: Api) -> None:
    exam = made_exam(teacher)
    key = {"options": {"questions_in_order": ["q9"], "answers_in_order": ["A"]}}
    refused(teacher.call("PATCH", f"{EXAMS}/{exam}", {"answer_key": key}), 422, "omr-key")
    assert Exam.objects.get(pk=exam).answer_key == KEY


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ({**JPEG, "content_type": "video/mp4"}, "sheet-type"),
        ({**JPEG, "size": uploads.MAX_BYTES + 1}, "sheet-too-large"),
        ({**JPEG, "size": 0}, "invalid-request"),
    ],
)
def test_files_that_cannot_be_sheets_are_refused(teacher: Api, file: dict[str, Any], code: str) -> None:
    exam = made_exam(teacher)
    refused(teacher.call("POST", f"{EXAMS}/{exam}/batches", {"files": [file]}), 422, code)
    assert not Batch.objects.exists()


def test_a_correction_of_a_column_there_is_not_is_refused(teacher: Api, grader: Grader) -> None:
    exam = made_exam(teacher)
    graded(teacher, grader, exam, read({"q1": "A", "q2": "B", "q3": "C"}))
    (page,) = results_of(teacher, exam)
    answer = teacher.call("PATCH", f"{EXAMS}/readings/{page['id']}", {"corrections": {"q9": "A"}})
    refused(answer, 422, "unknown-column")


def test_the_database_refuses_a_sheet_of_another_academys_batch(world: World, teacher: Api) -> None:
    announced(teacher, made_exam(teacher))
    with pytest.raises(IntegrityError, match="batch_id_tenant"):
        Sheet.objects.create(
            academy=world.other, batch=Batch.objects.get(), number=9, file_name="x", content_type="image/png", size=1
        )
