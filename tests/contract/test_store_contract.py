"""What every ObjectStore does: the fake, and R2Store on moto and on the embedded platform's S3 server."""

import hashlib
from pathlib import Path

import httpx
import pytest

from academy_core.errors import NotFound, Permanent, PreconditionFailed
from academy_core.store import Level, ObjectStore, Part
from academy_core.store_fake import FakeStore

MIB = 1024 * 1024


def test_put_get_head_and_range(store_under_test: ObjectStore) -> None:
    etag = store_under_test.put("a/b.txt", b"0123456789", content_type="text/plain", cache_control="max-age=60")
    assert etag == hashlib.md5(b"0123456789").hexdigest()  # noqa: S324 - what S3 answers
    assert store_under_test.get("a/b.txt") == b"0123456789"
    assert store_under_test.get_range("a/b.txt", 2, 5) == b"234"
    assert store_under_test.get_range("a/b.txt", 8, 100) == b"89"
    info = store_under_test.head("a/b.txt")
    assert (info.key, info.size, info.etag) == ("a/b.txt", 10, etag)


def test_a_range_behind_the_end_is_permanent(store_under_test: ObjectStore) -> None:
    store_under_test.put("a", b"01", content_type="text/plain")
    with pytest.raises(Permanent):
        store_under_test.get_range("a", 5, 9)
    with pytest.raises(ValueError, match="start < end"):
        store_under_test.get_range("a", 5, 5)


def test_what_is_not_there_is_not_found(store_under_test: ObjectStore) -> None:
    for call in (store_under_test.get, store_under_test.head):
        with pytest.raises(NotFound):
            call("nothing")
    store_under_test.delete("nothing")


def test_conditional_put(store_under_test: ObjectStore) -> None:
    first = store_under_test.put("k", b"1", content_type="text/plain", if_none_match=True)
    with pytest.raises(PreconditionFailed):
        store_under_test.put("k", b"2", content_type="text/plain", if_none_match=True)
    second = store_under_test.put("k", b"3", content_type="text/plain", if_match=first)
    with pytest.raises(PreconditionFailed):
        store_under_test.put("k", b"4", content_type="text/plain", if_match=first)
    assert store_under_test.head("k").etag == second


def test_list_is_ordered_and_bounded_by_the_prefix(store_under_test: ObjectStore) -> None:
    for key in ("p/b", "p/a", "p/c/d", "q/a"):
        store_under_test.put(key, key.encode(), content_type="text/plain")
    assert [info.key for info in store_under_test.list("p/")] == ["p/a", "p/b", "p/c/d"]
    assert list(store_under_test.list("none/")) == []


def test_a_level_holds_objects_and_folders(store_under_test: ObjectStore) -> None:
    for key in ("p/a", "p/b/c/d", "p/b/e", "p/f/g", "q/h"):
        store_under_test.put(key, b"1", content_type="text/plain")
    level = store_under_test.level("p/")
    assert [info.key for info in level.objects] == ["p/a"]
    assert level.folders == ("p/b/", "p/f/")
    assert store_under_test.level("p/b/").folders == ("p/b/c/",)
    assert store_under_test.level("none/") == Level((), ())


def test_sweeping_a_prefix_takes_that_folder_alone(store_under_test: ObjectStore) -> None:
    for key in ("p/a", "p/b", "pp/a"):
        store_under_test.put(key, b"x", content_type="text/plain")
    assert store_under_test.delete_prefix("p/") == 2
    assert [info.key for info in store_under_test.list("")] == ["pp/a"]
    for prefix in ("", "/", "p"):
        with pytest.raises(ValueError, match="must name a folder"):
            store_under_test.delete_prefix(prefix)


def test_a_stream_larger_than_a_part_arrives_whole(store_under_test: ObjectStore) -> None:
    chunks = [bytes([n]) * MIB for n in range(17)] + [b"tail"]
    store_under_test.put_stream("s", iter(chunks), content_type="video/mp4")
    assert store_under_test.get("s") == b"".join(chunks)


def test_a_stream_that_breaks_leaves_nothing(store_under_test: ObjectStore) -> None:
    def breaking() -> object:
        for _ in range(17):
            yield b"x" * MIB
        raise OSError("encoder died")

    with pytest.raises(OSError, match="encoder died"):
        store_under_test.put_stream("s", breaking(), content_type="video/mp4")  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        store_under_test.head("s")


def test_a_file_is_put(store_under_test: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"file")
    store_under_test.put_file("f", tmp_path / "f", content_type="text/plain")
    store_under_test.put_stream("empty", [], content_type="text/plain")
    assert (store_under_test.get("f"), store_under_test.get("empty")) == (b"file", b"")


def test_multipart_resumes_by_listing_parts(store_under_test: ObjectStore) -> None:
    upload = store_under_test.create_multipart("m", content_type="video/mp4", cache_control="no-store")
    first = store_under_test.put_part("m", upload, 1, b"a" * 5 * MIB)
    assert store_under_test.list_parts("m", upload) == (first,)
    second = store_under_test.put_part("m", upload, 2, b"b")
    assert store_under_test.list_parts("m", upload) == (first, second)
    etag = store_under_test.complete_multipart("m", upload, [first, second])
    info = store_under_test.head("m")
    assert (info.size, info.etag) == (5 * MIB + 1, etag)
    assert store_under_test.get_range("m", 5 * MIB - 1, 5 * MIB + 1) == b"ab"


def test_an_aborted_upload_is_gone(store_under_test: ObjectStore) -> None:
    upload = store_under_test.create_multipart("m", content_type="video/mp4")
    store_under_test.put_part("m", upload, 1, b"a")
    store_under_test.abort_multipart("m", upload)
    store_under_test.abort_multipart("m", upload)
    with pytest.raises(NotFound):
        store_under_test.list_parts("m", upload)


def test_an_aborted_upload_cannot_be_completed(store_under_test: ObjectStore, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.params["store_under_test"] == "moto":
        pytest.skip("moto answers 500 where S3 and R2 answer NoSuchUpload")
    upload = store_under_test.create_multipart("m", content_type="video/mp4")
    part = store_under_test.put_part("m", upload, 1, b"a")
    store_under_test.abort_multipart("m", upload)
    with pytest.raises(NotFound):
        store_under_test.complete_multipart("m", upload, [part])


def test_parts_that_do_not_fit_are_permanent(store_under_test: ObjectStore) -> None:
    upload = store_under_test.create_multipart("m", content_type="video/mp4")
    part = store_under_test.put_part("m", upload, 1, b"a")
    with pytest.raises(Permanent):
        store_under_test.complete_multipart("m", upload, [part, Part(2, 1, "0" * 32)])


def test_presigned_urls_work_without_credentials(store_under_test: ObjectStore) -> None:
    if isinstance(store_under_test, FakeStore):
        assert "GET" in store_under_test.presign_get("k", 60)
        assert "PUT" in store_under_test.presign_put("k", 60, content_type="text/plain")
        assert "part=3" in store_under_test.presign_part("k", "u", 3, 60)
        return
    with httpx.Client(trust_env=False) as http:
        url = store_under_test.presign_put("k", 60, content_type="text/plain")
        assert http.put(url, content=b"hello", headers={"Content-Type": "text/plain"}).is_success
        answer = http.get(store_under_test.presign_get("k", 60), headers={"Range": "bytes=1-2"})
        assert (answer.status_code, answer.content) == (206, b"el")
        upload = store_under_test.create_multipart("m", content_type="text/plain")
        answer = http.put(store_under_test.presign_part("m", upload, 1, 60), content=b"part")
        etag = answer.headers["ETag"].strip('"')
        store_under_test.complete_multipart("m", upload, [Part(1, 4, etag)])
    assert store_under_test.get("m") == b"part"
