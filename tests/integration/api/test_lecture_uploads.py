"""The upload as a client does it: PUT to presigned URLs of a real S3 emulator, cut off and resumed."""

import os
from typing import Any

import httpx
import pytest
from api_support import Api
from support import S3Handle

from academy_api.lectures import graves, store, uploads
from academy_api.lectures.models import Upload
from academy_api.settings import config
from academy_core.errors import NotFound
from academy_core.store import R2Store

LECTURES = "/api/v1/lectures"
SIZE = 2 * uploads.MIN_PART_BYTES + 1000


@pytest.fixture
def video(s3: S3Handle, bucket: str, monkeypatch: pytest.MonkeyPatch) -> R2Store:
    """A fresh bucket of the emulator in place of the video bucket."""
    assert str(config.R2_ENDPOINT).rstrip("/") == s3.endpoint.rstrip("/")
    made = R2Store(config, bucket)
    monkeypatch.setattr(store, "video", lambda: made)
    return made


def _ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, answer.content
    return answer.json()


def _put(part: dict[str, Any], data: bytes) -> None:
    start = (part["number"] - 1) * uploads.MIN_PART_BYTES
    answer = httpx.put(part["url"], content=data[start : start + part["size"]], timeout=60)
    assert answer.status_code == 200, answer.text


def test_an_upload_that_broke_off_is_resumed_by_listing_its_parts(teacher: Api, video: R2Store) -> None:
    data = b"\x1a\x45\xdf\xa3" + os.urandom(SIZE - 4)
    body = {"title": "강의", "file_name": "강의.mkv", "size": SIZE, "content_type": "video/x-matroska"}
    lecture = _ok(teacher.call("POST", LECTURES, body), 201)["id"]

    first = _ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    assert [part["number"] for part in first["urls"]] == [1, 2, 3]
    assert (first["part_count"], first["missing"], first["uploaded"]) == (3, 3, [])
    assert [
        part["number"] for part in _ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {"after": 2}))["urls"]
    ] == [3]
    _put(first["urls"][1], data)
    refused = teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete")
    assert (refused.status_code, refused.json()["code"]) == (422, "upload-incomplete")

    resumed = _ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))
    assert resumed["uploaded"] == [{"number": 2, "size": uploads.MIN_PART_BYTES}]
    assert [(part["number"], part["size"]) for part in resumed["urls"]] == [(1, uploads.MIN_PART_BYTES), (3, 1000)]
    for part in resumed["urls"]:
        _put(part, data)

    assert _ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))["state"] == "processing"
    upload = Upload.objects.get(publication__lecture=lecture)
    assert upload.completed_at is not None
    assert video.get(upload.source_key) == data
    _ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/complete"))


def test_a_cancelled_upload_leaves_no_parts_behind(teacher: Api, video: R2Store) -> None:
    body = {"title": "강의", "file_name": "강의.mp4", "size": 100, "content_type": "video/mp4"}
    lecture = _ok(teacher.call("POST", LECTURES, body), 201)["id"]
    part = _ok(teacher.call("POST", f"{LECTURES}/{lecture}/upload/parts", {}))["urls"][0]
    _put(part, bytes(100))
    upload = Upload.objects.get(publication__lecture=lecture)
    assert len(video.list_parts(upload.source_key, upload.upload_id)) == 1
    _ok(teacher.call("POST", f"{LECTURES}/{lecture}/cancel"))
    graves.sweep()
    with pytest.raises(NotFound):
        video.list_parts(upload.source_key, upload.upload_id)
    assert httpx.put(part["url"], content=bytes(100), timeout=60).status_code == 404
