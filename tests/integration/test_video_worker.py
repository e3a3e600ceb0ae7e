"""The video worker's handlers with real ffmpeg, over a store in memory that is served by HTTP ranges on loopback."""

import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import media
import pytest
from support import wait_until

from academy_core.errors import NotFound, Permanent, Retryable, StoreUnavailable
from academy_core.tasks import Cancelled
from academy_core.video import (
    CHUNK,
    PLAN,
    PUBLISH,
    ChunkInput,
    ChunkResult,
    PlanAnswer,
    PlanInput,
    PlanResult,
    PublishInput,
)
from academy_video import chunk, ffmpeg, ladder, plan

STEPS = (ladder.Step(160, 23, 400_000, 800_000), ladder.Step(120, 23, 200_000, 400_000))
RULES = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4, 6))
SECRETS = ("R2_SECRET_KEY", "INTERNAL_WORKER_TOKEN", "AWS_", "SECRET")


@pytest.fixture
def store() -> media.WatchedStore:
    return media.WatchedStore()


@pytest.fixture
def worker(store: media.WatchedStore, tmp_path: Path) -> media.Worker:
    folder = tmp_path / "worker"
    folder.mkdir()
    return media.Worker(store, folder, RULES)


@pytest.fixture(scope="module")
def lecture(tmp_path_factory: pytest.TempPathFactory) -> media.Numbered:
    return media.numbered_lecture(tmp_path_factory.mktemp("lecture") / "lecture.mp4", Fraction(30), 10)


def planned(worker: media.Worker, source: PlanInput) -> tuple[PlanResult, list[ChunkInput], PublishInput]:
    outcome = worker.run(PLAN, source)
    answer = media.as_model(PlanAnswer, outcome.result)
    assert outcome.then is not None
    assert answer.plan is not None
    return (
        answer.plan,
        [ChunkInput.model_validate(child.input) for child in outcome.children],
        PublishInput.model_validate(outcome.then.input),
    )


def test_a_short_lecture_is_planned_cut_and_published(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    made = media.publish(worker, media.upload_source(store, lecture.path))
    assert [rung.name for rung in made.plan.encoding.rungs] == ["160p", "120p"]
    assert made.plan.chunk_frames == (120, 180)
    assert made.result.segments == 5
    assert made.result.duration_seconds == 10
    results = (*made.chunks, made.result)
    listed = {key for listing in (result.keys() for result in results) for key in listing}
    stored = {info.key.removeprefix(media.PREFIX): info.size for info in store.list(media.PREFIX)}
    assert set(stored) == listed
    assert made.result.bytes == sum(stored.values())
    for name in stored:
        found = store.objects[media.PREFIX + name]
        assert found.cache_control == chunk.CACHE_CONTROL
        images = {"jpg": "image/jpeg", "vtt": "text/vtt"}
        kind = images.get(name.rpartition(".")[2], "audio/mp4" if name.startswith("audio/") else "video/mp4")
        assert found.content_type == kind
    poster = made.result.poster
    assert poster is not None
    assert store.get(media.PREFIX + poster).startswith(b"\xff\xd8")
    assert made.parts("160p")[0].codec.startswith("avc1.64")
    for bandwidth in made.result.bandwidths:
        assert 0 < bandwidth.average <= bandwidth.peak
    assert list(worker.folder.iterdir()) == []


def test_a_chunk_that_is_made_again_is_byte_equal(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    first = worker.run(CHUNK, chunks[1]).result
    before = {key: found.data for key, found in store.objects.items()}
    assert worker.run(CHUNK, chunks[1]).result == first
    assert {key: found.data for key, found in store.objects.items()} == before


def test_progress_is_said_while_the_chunk_is_made(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    context = media.context(CHUNK, chunks[0])
    said: list[tuple[float, float | None]] = []
    context.progress = lambda percent, media_seconds=None: said.append((percent, media_seconds))  # type: ignore[method-assign]
    worker.handler(CHUNK).run(context)
    assert said == sorted(said)
    assert len(said) >= 2
    assert said[-1] == (100, 4.0)


def test_segments_are_uploaded_while_the_encode_goes_on(
    worker: media.Worker, store: media.WatchedStore, tmp_path: Path
) -> None:
    source = media.upload_source(store, media.sample_lecture(tmp_path / "long.mp4", 60, size="640x360"))
    one_chunk = dataclasses.replace(worker, rules=dataclasses.replace(RULES, chunk_seconds=(60,)))
    _, chunks, _ = planned(one_chunk, source)
    uploaded_alive: list[bool] = []
    put = store.put

    def watched(key: str, data: bytes, **words: Any) -> str:
        uploaded_alive.append(bool(media.children()))
        return put(key, data, **words)

    store.put = watched  # type: ignore[method-assign]
    one_chunk.run(CHUNK, chunks[0])
    assert sum(uploaded_alive) > len(uploaded_alive) / 2


def test_children_have_an_empty_environment(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("R2_SECRET_KEY", "must-not-be-seen")
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    store.open.clear()
    with ThreadPoolExecutor(1) as pool:
        # One that has read nothing before: ffmpeg waits for what is held back, whatever the test is late by.
        running = pool.submit(dataclasses.replace(worker).run, CHUNK, chunks[0])
        try:
            wait_until(lambda: bool(media.children()), 30, "no ffmpeg started", lambda: not running.done())
            child = media.children()[0]
            assert Path(f"/proc/{child.pid}/environ").read_bytes() == b""
            assert not any(secret in word for word in child.cmdline() for secret in SECRETS)
            descriptors = {entry.name for entry in Path(f"/proc/{child.pid}/fd").iterdir()}
            assert len(descriptors) <= 3 + 6 + 2  # standard ones, pipes, its own sockets
        finally:
            store.open.set()
        assert isinstance(running.result(60).result, ChunkResult)


def test_a_cancel_kills_ffmpeg_and_stops_the_uploads(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    store.open.clear()
    context = media.context(CHUNK, chunks[0])
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(dataclasses.replace(worker).handler(CHUNK).run, context)
        wait_until(lambda: bool(media.children()), 30, "no ffmpeg started", lambda: not running.done())
        context.cancel()
        with pytest.raises(Cancelled):
            running.result(60)
    store.open.set()
    assert media.children() == []
    assert list(store.list(media.PREFIX)) == []
    assert list(worker.folder.iterdir()) == []


def test_a_chunk_that_was_cancelled_before_it_began_starts_nothing_that_stays(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    context = media.context(CHUNK, chunks[0])
    context.cancel()
    with pytest.raises(Cancelled):
        worker.handler(CHUNK).run(context)
    assert media.children() == []


def test_a_failed_upload_ends_the_chunk_at_once(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))

    def refuse(key: str, data: bytes, **_: str) -> str:
        raise StoreUnavailable(f"put {key} of {len(data)}")

    store.put = refuse  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreUnavailable):
        worker.run(CHUNK, chunks[0])
    assert media.children() == []


def test_a_front_that_is_missing_is_read_again_from_further_back(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A margin behind the chunk's start stands for a source that cannot be sought in exactly."""
    _, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    right = worker.run(CHUNK, chunks[1]).result
    late = chunks[1].encoding.model_copy(update={"seek_margin_seconds": -2.0})
    wrong = chunks[1].model_copy(update={"encoding": late})
    tried: list[float] = []
    readings = chunk.readings

    def watched(_: object) -> Iterator[ffmpeg.Reading]:
        for reading in readings(wrong):
            tried.append(reading.margin)
            yield reading

    monkeypatch.setattr(chunk, "readings", watched)
    assert worker.run(CHUNK, chunks[1]).result == right
    assert tried == [-2.0, 15.0]


def test_what_the_source_does_not_hold_is_filled_and_said(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    """A plan that believes in 20 s of a source of 10 s: the last picture stands, and the result says so."""
    made, chunks, _ = planned(worker, media.upload_source(store, lecture.path))
    longer = made.encoding.model_copy(update={"total_frames": 900})
    beyond = ChunkInput(encoding=longer, index=1, first_frame=120, end_frame=600)
    assert chunks[1].end_frame == 300
    result = worker.run(CHUNK, beyond).result
    assert isinstance(result, ChunkResult)
    assert result.patched
    part = next(part for part in result.renditions if part.name == "160p")
    names = [part.init, *(segment.name for segment in part.segments)]
    numbers, _ = media.read_frames(b"".join(store.get(media.PREFIX + name) for name in names), 214, 160)
    assert numbers == [*range(120, 300), *[299] * 300]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, lecture: media.Numbered) -> dict[str, bytes]:
    """Sources that must fail at once, by name."""
    folder = tmp_path_factory.mktemp("refused")
    lavfi = ("-f", "lavfi", "-i")
    media.ffmpeg(*lavfi, "sine=duration=3", "-c:a", "aac", folder / "sound.m4a", level="error")
    media.ffmpeg(*lavfi, "sine=duration=3", folder / "sound.flac", level="error")
    whole = lecture.path.read_bytes()
    return {
        "text": b"this is not a video\n" * 100,
        "empty": b"",
        "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n",
        "concat": b"ffconcat version 1.0\nfile 'http://127.0.0.1:9/secret.mp4'\n",
        "cut": whole[: len(whole) // 2],
        "sound": (folder / "sound.m4a").read_bytes(),
        "flac": (folder / "sound.flac").read_bytes(),
    }


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("text", "source-unreadable"),
        ("empty", "source-unreadable"),
        ("playlist", "source-unreadable"),
        ("concat", "source-unreadable"),
        ("cut", "source-unreadable"),
        ("sound", "source-without-video"),
        ("flac", "source-unreadable"),
    ],
)
def test_bad_input_fails_at_once_with_a_reason(  # noqa: PLR0917 - fixtures
    worker: media.Worker, store: media.WatchedStore, tmp_path: Path, refused: dict[str, bytes], name: str, code: str
) -> None:
    path = tmp_path / f"{name}.mp4"
    path.write_bytes(refused[name])
    with pytest.raises(Permanent) as failed:
        worker.run(PLAN, media.upload_source(store, path))
    assert failed.value.reason.code == code
    assert "X-Amz-Signature" not in failed.value.detail


def test_a_source_that_is_gone_or_another_fails_at_once(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    source = media.upload_source(store, lecture.path)
    for wrong in (
        source.model_copy(update={"source_key": "sources/other.mp4"}),
        source.model_copy(update={"source_etag": "another"}),
    ):
        with pytest.raises(Permanent) as failed:
            worker.run(PLAN, wrong)
        assert failed.value.reason.code == "source-gone"


def test_a_source_that_cannot_be_reached_is_tried_again(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    source = media.upload_source(store, lecture.path)
    _, chunks, _ = planned(worker, source)

    def away(key: str, start: int, end: int) -> bytes:
        raise StoreUnavailable(f"{key} {start}-{end}")

    store.get_range = away  # type: ignore[method-assign]
    other = dataclasses.replace(worker)  # with nothing in its cache
    for kind, task in ((PLAN, source), (CHUNK, chunks[1])):
        with pytest.raises(StoreUnavailable):
            other.run(kind, task)
    assert media.children() == []


@pytest.mark.parametrize(
    ("name", "words", "size"),
    [
        ("hevc.mkv", ("-c:v", "libx265", "-x265-params", "log-level=none"), (214, 160)),
        ("silent.mov", ("-an",), (214, 160)),
        ("portrait.mp4", ("-vf", "transpose=1", "-aspect", "3:4"), (160, 214)),
        ("mpeg.mp4", ("-vf", "fps=24000/1001"), (214, 160)),
    ],
)
def test_ordinary_inputs_come_out_whole(  # noqa: PLR0917 - fixtures
    worker: media.Worker,
    store: media.WatchedStore,
    tmp_path: Path,
    name: str,
    words: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    lecture = media.numbered_lecture(tmp_path / name, Fraction(30), 7, words=words)
    made = media.publish(worker, media.upload_source(store, lecture.path))
    encoding = made.plan.encoding
    assert (encoding.rungs[0].width, encoding.rungs[0].height) == size
    assert (encoding.audio is None) == ("-an" in words)
    times = media.track(made.joined("160p")).presentation_times
    assert len(times) == encoding.total_frames
    assert len({after - before for before, after in pairwise(times)}) == 1
    media.ffmpeg("-i", "pipe:0", "-f", "null", "-", stdin=made.joined("160p"))


def test_publish_refuses_a_lecture_with_a_file_missing(
    worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered
) -> None:
    made = media.publish(worker, media.upload_source(store, lecture.path))
    task = PublishInput(encoding=made.plan.encoding, duration_seconds=made.plan.duration_seconds)
    store.delete(media.PREFIX + made.parts("audio")[1].segments[0].name)
    with pytest.raises(Retryable, match="not in the store"):
        worker.run(PUBLISH, task, made.chunks)
    with pytest.raises(Retryable, match="of 300 frames"):
        worker.run(PUBLISH, task, made.chunks[:1])
    with pytest.raises(NotFound):
        store.get(media.PREFIX + made.parts("audio")[1].segments[0].name)


def test_threads_are_not_left_behind(worker: media.Worker, store: media.WatchedStore, lecture: media.Numbered) -> None:
    before = threading.active_count()
    media.publish(worker, media.upload_source(store, lecture.path))
    wait_until(lambda: threading.active_count() <= before, 10, "threads stayed")
