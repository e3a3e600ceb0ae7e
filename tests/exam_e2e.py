"""Answer sheets as work for an installed platform: a task a sheet, through the public API, with known answers."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import httpx
import omr_made

from academy_local import client

EXAMS = "/api/v1/exams"
BATCH = 100
PICTURES = 4
"""Different sheets; a class's other sheets are copies of them."""
UPLOAD_SECONDS = 60


@dataclass(frozen=True)
class Uploaded:
    """Sheets in the store, of one batch."""

    batch: str
    sheets: tuple[str, ...]


@dataclass(frozen=True)
class Exam:
    """An exam of the director's academy."""

    director: client.Client
    id: str
    made: tuple[omr_made.Made, ...]

    def upload(self, count: int) -> list[Uploaded]:
        """`count` sheets, in batches."""
        pictures = [cv2.imencode(".jpg", made.picture)[1].tobytes() for made in self.made]
        return [self._batch([pictures[number % len(pictures)] for number in some]) for some in _batches(count)]

    def _batch(self, pictures: Sequence[bytes]) -> Uploaded:
        files = [
            {"file_name": f"{number}.jpg", "size": len(picture), "content_type": "image/jpeg"}
            for number, picture in enumerate(pictures)
        ]
        batch = call(self.director, "POST", f"{self.id}/batches", {"files": files})
        with httpx.Client(timeout=UPLOAD_SECONDS, headers={"Content-Type": "image/jpeg"}) as store:
            for file, picture in zip(batch["files"], pictures, strict=True):
                store.put(file["upload_url"], content=picture).raise_for_status()
        return Uploaded(batch["id"], tuple(file["id"] for file in batch["files"]))

    def picture_of(self, file_name: str) -> int:
        """Which of the pictures a file is a copy of."""
        return int(file_name.removesuffix(".jpg")) % len(self.made)

    def grade(self, *uploaded: Uploaded) -> None:
        """Have all of them graded."""
        for each in uploaded:
            assert call(self.director, "POST", f"batches/{each.batch}/grade", {})["submitted"] == len(each.sheets)

    def grade_one(self, sheet: str) -> None:
        """Have one sheet graded."""
        assert call(self.director, "POST", f"sheets/{sheet}/grade")["submitted"] == 1

    def states(self, *uploaded: Uploaded) -> Counter[str]:
        """How many sheets stand where."""
        found: Counter[str] = Counter()
        for each in uploaded:
            found.update(call(self.director, "GET", f"batches/{each.batch}")["sheets"])
        return found

    def results(self) -> Iterator[dict[str, Any]]:
        """Every page that was read."""
        after = ""
        while True:
            page = call(self.director, "GET", f"{self.id}/results?limit=100{after}")
            yield from page["items"]
            if not page["next"]:
                return
            after = f"&cursor={page['next']}"

    def delete(self) -> None:
        """The exam with all it has."""
        call(self.director, "DELETE", self.id)


def make(director: client.Client) -> Exam:
    """An exam with its answer sheet."""
    made = tuple(omr_made.sheet(seed, questions=20, blank=0.0, double=0.0) for seed in range(PICTURES))
    definition = json.loads(made[0].template)
    template = call(director, "POST", "templates", {"title": "OMR 카드", "definition": definition})
    exam = call(director, "POST", "", {"title": "3월 모의고사", "template": template["id"]})
    return Exam(director, exam["id"], made)


def call(director: client.Client, method: str, path: str, body: Any = None) -> dict[str, Any]:
    """One request below /api/v1/exams."""
    return director._call(method, f"{EXAMS}/{path}".rstrip("/"), json=body)


def _batches(count: int) -> Iterator[range]:
    """The numbers of the sheets of each batch."""
    for first in range(0, count, BATCH):
        yield range(first, min(count, first + BATCH))
