"""Exams over HTTP as a teacher's browser uses them, and a worker that grades through the real ledger."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from api_support import Api
from claiming import ClaimingWorker

from academy_ai.kinds.omr_grade.spec import KIND, OmrGradeResult, SheetRead
from academy_api.exams.models import Sheet
from academy_core.kinds import Queue, WorkerClass
from academy_core.ledger import ClaimedTask
from academy_core.store_fake import FakeStore

EXAMS = "/api/v1/exams"
TEMPLATE: dict[str, Any] = {
    "pageDimensions": [300, 400],
    "bubbleDimensions": [20, 20],
    "fieldBlocks": {
        "Q": {
            "fieldType": "QTYPE_MCQ4",
            "origin": [40, 40],
            "bubblesGap": 40,
            "labelsGap": 40,
            "fieldLabels": ["q1..3"],
        },
    },
}
KEY: dict[str, Any] = {
    "source_type": "custom",
    "options": {"questions_in_order": ["q1..3"], "answers_in_order": ["A", "B", "C"]},
    "marking_schemes": {"DEFAULT": {"correct": "2", "incorrect": "0", "unmarked": "0"}},
}
JPEG = {"file_name": "1번.jpg", "size": 5, "content_type": "image/jpeg"}


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json() if answer.content else None


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content


def made_exam(api: Api, template: Mapping[str, Any] = TEMPLATE, key: Mapping[str, Any] | None = KEY) -> str:
    made = ok(api.call("POST", f"{EXAMS}/templates", {"title": "OMR 카드", "definition": template}), 201)
    body = {"title": "3월 모의고사", "template": made["id"], "answer_key": key}
    exam: str = ok(api.call("POST", EXAMS, body), 201)["id"]
    return exam


def announced(api: Api, exam: str, *files: Mapping[str, Any]) -> Any:
    return ok(api.call("POST", f"{EXAMS}/{exam}/batches", {"files": list(files or (JPEG,))}), 201)


def upload(bucket: FakeStore, sheet: str, data: bytes = b"12345") -> None:
    """What a browser does with the presigned URL, done in memory."""
    bucket.put(Sheet.objects.get(pk=sheet).source_key, data, content_type="image/jpeg")


def grade(api: Api, batch: str, *, again: bool = False) -> int:
    submitted: int = ok(api.call("POST", f"{EXAMS}/batches/{batch}/grade", {"again": again}))["submitted"]
    return submitted


def read(answers: Mapping[str, str], *, page: int = 1, unsure: tuple[str, ...] = (), **more: Any) -> SheetRead:
    """A page as the kind would read it."""
    blanks = tuple(column for column, value in answers.items() if not value)
    confidence = dict.fromkeys(answers, 0.9)
    return SheetRead(
        source="s", page=page, answers=dict(answers), confidence=confidence, unsure=unsure, blanks=blanks, **more
    )


class Grader(ClaimingWorker):
    """A CPU AI worker that grades in the test's words, or with the kind's own code."""

    def __init__(self, bucket: FakeStore) -> None:
        super().__init__(WorkerClass.AI_CPU, Queue.AI_LITE, KIND)
        self.bucket = bucket

    def finish(self, task: ClaimedTask, *pages: SheetRead) -> None:
        """Complete with these readings."""
        data = json.dumps([page.model_dump() for page in pages]).encode()
        self.bucket.put(task.output_prefix + "answers.json", data, content_type="application/json")
        pictures = tuple(page.picture for page in pages if page.picture is not None)
        for name in pictures:
            self.bucket.put(task.output_prefix + name, b"jpg", content_type="image/jpeg")
        refused = sum(page.refused is not None for page in pages)
        unsure = sum(bool(page.unsure) for page in pages)
        self.complete(task, OmrGradeResult(sheets=len(pages), refused=refused, unsure=unsure, pictures=pictures))

    def refuse(self, task: ClaimedTask) -> None:
        """Fail for good: the picture is none."""
        self.fail(task, "picture-unreadable", "사진을 읽을 수 없습니다.", "The picture cannot be read.")


def sheet_of(batch: Any, number: int = 1) -> UUID:
    return UUID(batch["files"][number - 1]["id"])
