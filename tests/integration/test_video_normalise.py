"""Normalising: stretches that stop and go on, workers killed between them."""

import contextlib
import dataclasses
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import media
import psutil
import pytest

from academy_core.errors import AcademyError, Permanent, Reason, Retryable, StoreUnavailable
from academy_core.kinds import TaskKind
from academy_core.ledger import NewTask
from academy_core.tasks import Outcome
from academy_core.video import (
    CHUNK,
    KINDS,
    NORMALISE,
    PLAN,
    REFUSED,
    ChunkInput,
    NormaliseInput,
    NormaliseResult,
    PlanInput,
)
from academy_video import ebml, ffmpeg, ladder, normalise, plan, process, reader, tasks

STEPS = (ladder.Step(160, 20, 400_000, 800_000), ladder.Step(120, 20, 200_000, 400_000))
RULES = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4, 6))
SECONDS = 10
SOAK = os.environ.get("ACADEMY_SOAK") == "1"


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> media.Numbered:
    folder = tmp_path_factory.mktemp("normalise")
    return media.numbered_lecture(folder / "numbered.mp4", Fraction(30), SECONDS, words=("-g", "30"))


@pytest.fixture
def worker(tmp_path: Path) -> media.Worker:
    folder = tmp_path / "worker"
    folder.mkdir()
    return media.Worker(media.WatchedStore(), folder, RULES)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stretch stops at its second key frame, and reads again only a little when it goes on."""
    monkeypatch.setattr(ladder, "NORMALISE_SECONDS", 0.0)
    monkeypatch.setattr(normalise, "_WORTH", 0)
    monkeypatch.setattr(normalise, "_SLACKS", (150_000, None))
    monkeypatch.setattr(normalise, "_HEAD_BYTES", 20_000)


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key frames a second apart are too few: the stream is encoded, with one every half second."""
    monkeypatch.setattr(ladder, "MAX_KEY_GAP_SECONDS", 0.9)
    monkeypatch.setattr(ladder, "INTERMEDIATE_KEY_SECONDS", 0.5)


def recorded(numbered: media.Numbered, path: Path, *words: str) -> Path:
    media.ffmpeg("-i", numbered.path, *words, path, level="error")
    return path


NOISY = ("-vf", "scale=640:480,noise=alls=20:allf=t", "-c:v", "mpeg2video", "-g", "15", "-q:v", "7", "-t", "6")
INPUTS: dict[str, tuple[str, ...]] = {
    "a.ts": ("-c", "copy"),
    "f.mp4": ("-c", "copy", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    "m.avi": ("-vf", "scale=640:480:flags=neighbor", "-c:v", "mpeg4", "-bf", "0", "-g", "30", "-q:v", "3"),
    "a.flv": ("-c", "copy"),
    "n.flv": (*NOISY[:2], "-c:v", "flv1", "-g", "15", "-q:v", "3", "-c:a", "nellymoser", "-ar", "22050", "-ac", "1"),
    "r.mkv": ("-c", "copy", "-f", "matroska", "-live", "1", "-cluster_time_limit", "500"),
}


def task_of(new: NewTask) -> tuple[TaskKind, Any]:
    kind = next(kind for kind in KINDS if kind.name == new.kind)
    return kind, kind.input.model_validate(new.input)


def stretches(worker: media.Worker, outcome: Outcome) -> Iterator[Outcome]:
    """Run what follows the first plan, up to the second one."""
    while media.planned(outcome) is None:
        (child,) = outcome.children
        kind, task = task_of(child)
        outcome = worker.run(kind, task)
        yield outcome


def finished(worker: media.Worker, outcome: Outcome) -> media.Published:
    """The lecture, from its second plan on."""
    made = media.planned(outcome)
    assert made is not None
    return media.finish(worker, outcome, made)


def preloaded(path: Path, chunks: int) -> Path:
    """The AVI, its sound that many chunks ahead of its pictures, as capture programs write it; without an index."""
    data = path.read_bytes()
    start = data.index(b"movi") + 4
    end = start - 4 + int.from_bytes(data[start - 8 : start - 4], "little")
    order, at = [], start
    while at < end:
        after = at + 8 + int.from_bytes(data[at + 4 : at + 8], "little")
        after += after % 2
        number = len(order) - (chunks if data[at : at + 4] == b"01wb" else 0)
        order.append((number, at, after))
        at = after
    moved = b"".join(data[at:after] for _, at, after in sorted(order))
    path.write_bytes(data[:start] + moved)
    return path


@pytest.mark.parametrize("name", [*INPUTS, "preloaded.avi"])
@pytest.mark.usefixtures("hurried")
def test_a_copy_in_many_stretches_is_the_copy_in_one(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, name: str
) -> None:
    if name == "preloaded.avi":
        path = preloaded(recorded(numbered, tmp_path / name, *INPUTS["m.avi"]), 40)
    else:
        path = recorded(numbered, tmp_path / name, *INPUTS[name])
    source = media.upload_source(worker.store, path)
    outcomes = list(stretches(worker, worker.run(PLAN, source)))
    assert len(outcomes) > 5, "it was not cut"
    made = finished(worker, outcomes[-1])
    numbers = numbers_in_step(made)
    body = numbers[2:-4]
    assert body == list(range(body[0], body[0] + len(body)))
    assert len(numbers) == pytest.approx(SECONDS * 30, abs=3)


DECODED: dict[str, tuple[str, ...]] = {
    "s24le.m2ts": (*NOISY, "-c:a", "pcm_bluray", "-sample_fmt", "s32", "-mpegts_m2ts_mode", "1"),
    "s16le.vob": (*NOISY, "-c:a", "pcm_s16be"),
    "s24le.ts": (*NOISY, "-c:a", "s302m", "-sample_fmt", "s32", "-strict", "-2"),
}
"""Camcorders and Blu-ray, DVD, studios; the PCM that it becomes is in the name."""


@pytest.mark.parametrize("name", DECODED)
@pytest.mark.usefixtures("hurried")
def test_sound_that_is_decoded_is_the_same_sample_for_sample_after_many_stretches(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What Matroska cannot hold becomes its PCM."""
    # ffmpeg reads 5 MB ahead before it gives out the first packet.
    monkeypatch.setattr(normalise, "_SLACKS", (6_000_000, None))
    path = tmp_path / name
    # The DVD's muxer complains of a buffer that other codecs than PCM fit into.
    media.ffmpeg("-i", numbered.path, *DECODED[name], path, level="fatal")
    source = media.upload_source(worker.store, path)
    outcomes = list(stretches(worker, worker.run(PLAN, source)))
    assert len(outcomes) > 5, "it was not cut"
    made = media.planned(outcomes[-1])
    assert made is not None
    view = worker.tools.view(source.source_key, source.source_bytes, media.PREFIX, made.encoding.intermediate)
    copy = tmp_path / "copy.mkv"
    copy.write_bytes(view.fetch(0, view.size))
    found = [pcm(each) for each in (path, copy)]
    assert found[0] == found[1]
    entries = ("-select_streams", "a", "-show_entries", "stream=codec_name", "-of", "csv=p=0")
    done = subprocess.run((media.FFPROBE, "-v", "error", *entries, copy), capture_output=True, check=True, text=True)
    assert done.stdout.strip() == f"pcm_{path.stem}"


def pcm(path: Path) -> bytes:
    """Samples of the sound, one after the other, whatever their times."""
    words = ("-map", "0:a", "-af", "asetpts=N/SR/TB", "-c:a", "pcm_s32le", "-f", "s32le")
    return media.ffmpeg("-i", path, *words, "pipe:1", level="error")


@pytest.mark.usefixtures("hurried", "sparse")
def test_sound_that_changes_goes_through_many_stretches_and_an_encode(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path
) -> None:
    """AAC in MPEG-TS, from 5.1 to stereo: no header can say what each of its packets does."""
    path = media.changing(numbered.path, tmp_path / "a.ts", "5.1", "stereo", "-f", "adts")
    source = media.upload_source(worker.store, path)
    ways: list[str] = []
    made = media.publish(worker, source, ways)
    assert len(ways) > 5, "it was not cut"
    assert ways[-1] == "encode"
    # The codec's delay at the start of each of its two parts: 1,024 samples.
    beeps = (flash * media.RATE // 30 + 1024 * part for flash, part in zip(numbered.flashes, (1, 2, 2), strict=True))
    samples = media.read_sound(made.joined("audio"))[1024:]
    loud = [at for at, sample in enumerate(samples) if abs(sample) > 4000]
    onsets = [at for number, at in enumerate(loud) if number == 0 or at - loud[number - 1] > media.RATE / 10]
    assert onsets == pytest.approx(list(beeps), abs=media.RATE / 100)


def numbers_in_step(made: media.Published, early: int = 0) -> list[int]:
    """The number of every frame that is published; each flash has its beep, `early` samples before it."""
    numbers, flashing = media.read_frames(made.joined("160p"), 214, 160)
    samples = media.read_sound(made.joined("audio"))[1024:]
    onsets = [frame for frame in flashing if frame - 1 not in flashing]
    assert len(onsets) == 3
    for onset in onsets:
        expected = int(numbers.index(onset) * media.RATE / 30)
        heard = next(at for at in range(max(0, expected - 12_000), expected + 12_000) if abs(samples[at]) > 9000)
        assert abs(heard + early - expected) <= media.RATE / 100
    return numbers


STILL_SECONDS, STILL_RATE = 4, 10
CHANGE, BEEPS = 20, (1, 3)
"""When the slide changes (a frame) and when beeps are heard (seconds)."""
STILLS: dict[str, tuple[str, ...]] = {
    "a.avi": ("-c:v", "mjpeg", "-q:v", "2", "-c:a", "pcm_s16le"),
    "p.avi": ("-c:v", "mpeg4", "-bf", "0", "-g", "5", "-q:v", "2", "-c:a", "pcm_s16le"),
    "a.ts": ("-c:v", "libx264", "-preset", "ultrafast", "-g", "5", "-bf", "0", "-muxrate", "8M"),
}


def still(path: Path, sound: str, words: Sequence[str]) -> Path:
    """A slide of fixed noise that changes once, 1 MB a second in AVI; a murmur, silence or no sound, with beeps."""
    murmur = {"live": "+0.02*(random(0)-0.5)", "silence": "", "none": ""}[sound]
    beeps = "+".join(f"between(t,{at},{at + 0.06})" for at in BEEPS)
    picture = f"color=c=0x282828:s=480x360:r={STILL_RATE}:d={STILL_SECONDS},noise=alls=40:all_seed=7"
    slide = f"{picture},format=gray,negate=enable='gte(n,{CHANGE})',format=yuv420p"
    heard = f"aevalsrc='0.6*sin(2*PI*1000*t)*({beeps}){murmur}':s={media.RATE}:d={STILL_SECONDS}"
    inputs = ["-f", "lavfi", "-i", slide, "-f", "lavfi", "-i", heard]
    streams = ["-map", "0:v", *([] if sound == "none" else ["-map", "1:a"])]
    media.ffmpeg(*inputs, *streams, *words, path, level="error")
    return path


@pytest.mark.parametrize("grace", [0.0, 1e6])
@pytest.mark.parametrize("sound", ["live", "silence", "none"])
@pytest.mark.parametrize("name", STILLS)
@pytest.mark.usefixtures("hurried")
def test_a_copy_of_a_picture_that_stands_goes_on_where_it_stopped(  # noqa: PLR0917 - fixtures
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sound: str, grace: float
) -> None:
    """Its packets are all alike, or each group of pictures like the one before."""
    monkeypatch.setattr(normalise, "_GRACE_SECONDS", grace)
    monkeypatch.setattr(normalise, "_SLACKS", (2_000_000, None))
    source = media.upload_source(worker.store, still(tmp_path / name, sound, STILLS[name]))
    outcomes = list(stretches(worker, worker.run(PLAN, source)))
    assert len(outcomes) > 3, "it was not cut"
    made = finished(worker, outcomes[-1])
    size = 160 * 120  # 120p
    raw = media.ffmpeg("-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1", stdin=made.joined("120p"))
    bright = [sum(raw[at : at + size]) > 128 * size for at in range(0, len(raw), size)]
    assert len(bright) == pytest.approx(STILL_SECONDS * STILL_RATE, abs=1)
    change = bright.index(True)
    assert bright[change:] == [True] * (len(bright) - change)
    assert change == pytest.approx(CHANGE, abs=1)
    if sound == "none":
        return
    samples = media.read_sound(made.joined("audio"))[1024:]
    loud = [at for at, sample in enumerate(samples) if abs(sample) > 9000]
    onsets = [at for number, at in enumerate(loud) if number == 0 or at - loud[number - 1] > media.RATE / 10]
    assert len(onsets) == len(BEEPS)
    for onset, beep in zip(onsets, BEEPS, strict=True):
        expected = (beep - CHANGE / STILL_RATE) * media.RATE
        assert abs(onset - change * media.RATE / STILL_RATE - expected) <= media.RATE / STILL_RATE


@pytest.mark.parametrize("name", ["sparse.mp4", "sparse.mkv", "b.avi"])
@pytest.mark.usefixtures("hurried")
def test_an_encode_in_many_stretches_loses_no_frame(
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """One key frame for all, which each stretch decodes from."""
    monkeypatch.setattr(ladder, "MAX_KEY_GAP_SECONDS", 5)
    monkeypatch.setattr(ladder, "INTERMEDIATE_KEY_SECONDS", 2)
    sound = ("-c:a", "pcm_s16le") if name == "sparse.mkv" else ()
    lecture = media.numbered_lecture(tmp_path / name, Fraction(30), 12, words=("-g", "9999", *sound))
    outcomes = list(stretches(worker, worker.run(PLAN, media.upload_source(worker.store, lecture.path))))
    assert 4 < len(outcomes) < 9
    made = finished(worker, outcomes[-1])
    # AVI does not say that the codec's delay of 1,024 samples comes before its sound.
    early = -1024 if name == "b.avi" else 0
    assert numbers_in_step(made, early) == list(range(360))


@pytest.mark.parametrize("name", ["mp2.ts", "aac.ts", "aac.flv", "sparse.mp4"])
@pytest.mark.usefixtures("hurried")
def test_a_picture_does_not_wait_for_sound_that_has_ended(
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Hours of it would lie in ffmpeg's memory, and the stretch would not stop."""
    monkeypatch.setattr(normalise, "_SLACKS", (25_000_000, None))
    rate = ("-b:v", "12M", "-minrate", "12M", "-maxrate", "12M", "-bufsize", "12M", "-x264-params", "nal-hrd=cbr")
    words = (*rate, "-g", "9999" if name == "sparse.mp4" else "10")
    lecture = media.numbered_lecture(tmp_path / "whole.mp4", Fraction(10), 40, murmur=False, words=words)
    codec = "mp2" if name == "mp2.ts" else "aac"
    short = ("-c:v", "copy", "-c:a", codec, "-af", "atrim=end=3")
    media.ffmpeg("-i", lecture.path, *short, tmp_path / name, level="error")
    outcome, saved = worker.run(PLAN, media.upload_source(worker.store, tmp_path / name)), 0.0
    while saved < 5:
        kind, task = task_of(outcome.children[0])
        before = worker.store.bytes_read()
        outcome = dataclasses.replace(worker).run(kind, task)
        assert isinstance(outcome.result, NormaliseResult)
        saved = outcome.result.seconds
        read = worker.store.bytes_read() - before
        assert read < 0.7 * (tmp_path / name).stat().st_size, f"up to {saved} s"


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-b_strategy", "0", "-g", "60")
MPEG4 = ("-vf", "scale=640:480:flags=neighbor", "-c:v", "mpeg4", "-q:v", "2", "-g", "60")
MPEG = ("-vf", "scale=640:480:flags=neighbor", "-c:v", "-b:v", "4M", "-g", "60")
REORDERED: dict[str, tuple[str, ...]] = {
    "h264-1": (*X264, "-bf", "1"),
    "h264-2": (*X264, "-bf", "2", "-x264-params", "b-pyramid=none"),
    "h264-3": (*X264, "-bf", "3", "-x264-params", "b-pyramid=none"),
    "h264-pyramid": (*X264, "-bf", "3", "-x264-params", "b-pyramid=normal:ref=3"),
    "h264-open": (*X264, "-bf", "2", "-x264-params", "b-pyramid=none:open-gop=1"),
    "h264-copied": ("-c:v", "copy"),
    "mpeg4-1": (*MPEG4, "-bf", "1"),
    "mpeg4-2": (*MPEG4, "-bf", "2"),
    "mpeg4-packed": (*MPEG4, "-bf", "1"),
    "mpeg1-none": (*MPEG[:3], "mpeg1video", *MPEG[3:], "-bf", "0"),
    "mpeg1-2": (*MPEG[:3], "mpeg1video", *MPEG[3:], "-bf", "2"),
    "mpeg2-2": (*MPEG[:3], "mpeg2video", *MPEG[3:], "-bf", "2"),
}
"""How AVI's pictures come to lie in another order than that in which they are shown, or to be held back as if so."""
_VOP, _B = b"\0\0\1\xb6", 2


def packed(path: Path) -> None:
    """The AVI as DivX and XviD write it: a B-frame with the picture before it, and in its own place next to nothing."""
    data = path.read_bytes().replace(b"Lavc59.37.100", b"DivX503b1393p")
    start = data.index(b"movi") + 4
    end = start - 4 + int.from_bytes(data[start - 8 : start - 4], "little")
    chunks: list[tuple[bytes, bytes]] = []
    at = start
    while at < end:
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if name == b"00dc" and body[body.index(_VOP) + 4] >> 6 == _B:
            before = max(number for number, (other, _) in enumerate(chunks) if other == name)
            chunks[before] = (name, chunks[before][1] + body)
            body = _VOP + b"\x51\x80"
        chunks.append((name, body))
        at += 8 + size + size % 2
    moved = b"".join(name + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2) for name, body in chunks)
    path.write_bytes(data[: start - 8] + (4 + len(moved)).to_bytes(4, "little") + b"movi" + moved)


@pytest.mark.parametrize("name", REORDERED)
@pytest.mark.usefixtures("hurried")
def test_the_picture_of_avi_with_b_frames_keeps_in_step(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """AVI has one time of a picture, that of its decoding; a picture that waits for others is shown later."""
    monkeypatch.setattr(ladder, "INTERMEDIATE_KEY_SECONDS", 1)
    path = recorded(numbered, tmp_path / "a.avi", *REORDERED[name], "-c:a", "pcm_s16le")
    if name == "mpeg4-packed":
        packed(path)
    ways: list[str] = []
    made = media.publish(worker, media.upload_source(worker.store, path), ways)
    assert set(ways) == {"encode"}
    assert len(ways) > 3, "it was not cut"
    assert numbers_in_step(made) == list(range(SECONDS * 30))


STREAMS = ["a.ts", "jump.ts", "f.mp4", "a.flv", "r.mkv"]
KEYS_APART = 165
"""Pictures, 5.5 s."""


def sparse_stream(folder: Path, name: str, keys: int) -> Path:
    """Twelve seconds with so many pictures from key frame to key frame; `jump.ts` has times that jump at the second."""
    words = ("-g", str(keys), "-sc_threshold", "0", *(("-bf", "0") if name == "jump.ts" else ()))
    lecture = media.numbered_lecture(folder / "sparse.mp4", Fraction(30), 12, words=words)
    if name != "jump.ts":
        return recorded(lecture, folder / name, *INPUTS[name])
    at = str(KEYS_APART / 30)
    first = recorded(lecture, folder / "first.ts", "-c", "copy", "-to", at, "-output_ts_offset", "500")
    second = recorded(lecture, folder / "second.ts", "-c", "copy", "-ss", str(KEYS_APART / 30 - 0.01))
    path = folder / name
    path.write_bytes(first.read_bytes() + second.read_bytes())
    return path


@pytest.mark.parametrize(
    ("name", "keys"), [*((name, KEYS_APART) for name in STREAMS), *((name, 9999) for name in INPUTS if name in STREAMS)]
)
@pytest.mark.usefixtures("hurried")
def test_a_stream_with_sparse_key_frames_is_encoded_at_once(
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, keys: int
) -> None:
    """Each stretch goes on from the source's key frame before it, and loses no frame."""
    monkeypatch.setattr(ladder, "MAX_KEY_GAP_SECONDS", 5)
    monkeypatch.setattr(ladder, "INTERMEDIATE_KEY_SECONDS", 2)
    path = sparse_stream(tmp_path, name, keys)
    outcomes = list(stretches(worker, worker.run(PLAN, media.upload_source(worker.store, path))))
    assert 4 < len(outcomes) < 9
    assert all(encoded(worker, each) for each in outcomes[:-1])
    numbers = numbers_in_step(finished(worker, outcomes[-1]))
    body = numbers[2:-4]
    assert body == list(range(body[0], body[0] + len(body)))
    assert len(numbers) == pytest.approx(360, abs=3)


@pytest.mark.parametrize("first", ["whole", "hurried"])
def test_a_stream_whose_key_frames_get_sparse_later_is_encoded_too(
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, first: str
) -> None:
    """In its first stretch from its start; later it is copied to its end, and the copy is encoded."""
    if first == "hurried":
        request.getfixturevalue("hurried")
    monkeypatch.setattr(ladder, "MAX_KEY_GAP_SECONDS", 5)
    monkeypatch.setattr(ladder, "INTERMEDIATE_KEY_SECONDS", 2)
    words = ("-g", "9999", "-sc_threshold", "0", "-force_key_frames", "1,2,3,4")
    lecture = media.numbered_lecture(tmp_path / "sparse.mp4", Fraction(30), 12, words=words)
    path = recorded(lecture, tmp_path / "a.ts", *INPUTS["a.ts"])
    outcomes = list(stretches(worker, worker.run(PLAN, media.upload_source(worker.store, path))))
    done = [encoded(worker, each) for each in outcomes if isinstance(each.result, NormaliseResult)]
    assert done == sorted(done)
    assert done[-1]
    assert done[0] == (first == "whole")
    numbers = numbers_in_step(finished(worker, outcomes[-1]))
    body = numbers[2:-4]
    assert body == list(range(body[0], body[0] + len(body)))
    assert len(numbers) == pytest.approx(360, abs=3)


def encoded(worker: media.Worker, outcome: Outcome) -> bool:
    """Whether the stretch was encoded, or else copied."""
    assert isinstance(outcome.result, NormaliseResult)
    return worker.tools.index(media.PREFIX, outcome.result.index).encoded


@pytest.mark.parametrize("coding", [(*X264[:4], "-bf", "0"), (*MPEG4[:6], "-bf", "0")], ids=["h264", "mpeg4"])
@pytest.mark.parametrize("every", [11, 8], ids=["dropped", "all"])
@pytest.mark.usefixtures("hurried")
def test_the_picture_of_avi_without_b_frames_keeps_in_step(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, coding: tuple[str, ...], every: int
) -> None:
    """Also where a screen recorder dropped pictures: packets without a byte stand for them, the one before stands."""
    kept = [number for number in range(SECONDS * 30) if number % every < 8]
    shown = f"scale=640:480:flags=neighbor,select=lt(mod(n\\,{every})\\,8)"
    words = (*coding, "-g", "15", "-vf", shown, "-fps_mode", "vfr", "-enc_time_base", "1/30", "-c:a", "pcm_s16le")
    ways: list[str] = []
    made = media.publish(
        worker, media.upload_source(worker.store, recorded(numbered, tmp_path / "a.avi", *words)), ways
    )
    assert set(ways) == {"copy"}
    assert len(ways) > 3, "it was not cut"
    expected = [max(number for number in kept if number <= frame) for frame in range(SECONDS * 30)]
    assert numbers_in_step(made) == expected


@pytest.mark.usefixtures("hurried")
def test_an_encode_that_came_late_to_its_first_picture_works_at_least_as_long(
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "MAX_KEY_GAP_SECONDS", 5)
    monkeypatch.setattr(ladder, "INTERMEDIATE_KEY_SECONDS", 2)
    lecture = media.numbered_lecture(tmp_path / "sparse.mp4", Fraction(30), 12, words=("-g", "9999"))
    _, task = task_of(worker.run(PLAN, media.upload_source(worker.store, lecture.path)).children[0])
    first = worker.run(NORMALISE, task)
    monkeypatch.setattr(normalise, "_WORTH", 1000)
    _, task = task_of(first.children[0])
    assert worker.run(NORMALISE, task).result.ended  # type: ignore[attr-defined]
    # Not beyond what the task is given.
    monkeypatch.setattr(normalise, "_SPARE_SECONDS", NORMALISE.max_seconds)
    assert not worker.run(NORMALISE, task).result.ended  # type: ignore[attr-defined]


def test_sound_that_is_saved_does_not_wait_for_the_first_picture_again(worker: media.Worker, tmp_path: Path) -> None:
    """Hours of it, uncompressed, are more than ffmpeg holds."""
    lecture = media.numbered_lecture(tmp_path / "sparse.mp4", Fraction(30), 12, words=("-g", "9999"))
    source = media.upload_source(worker.store, lecture.path)
    task = NormaliseInput(
        source=source, container="mov,mp4", mode="encode", video_stream_index=0, audio_stream_index=1, max_rate=10**6
    )
    view = worker.tools.view(source.source_key, source.source_bytes, media.PREFIX, None)
    with reader.serving(view) as served:
        words = ffmpeg.encode_command(media.FFMPEG, task, served.url, (9000, 8000), 1)
        made = subprocess.run(words[: words.index("-map", words.index("pipe:1"))], check=True, capture_output=True)
    blocks = [each for each in ebml.read(media.Reader(made.stdout)) if isinstance(each, ebml.Block)]
    times = {track: [each.time - 10_000 for each in blocks if each.track == track] for track in (1, 2)}
    assert min(times[1]) == pytest.approx(9033, abs=1)
    assert 6900 < min(times[2]) < 8000


@pytest.mark.parametrize("name", ["a.flv", "c.mkv"])
def test_what_a_source_that_was_cut_off_lost_is_said(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, name: str
) -> None:
    words = INPUTS.get(name, ("-c", "copy"))
    data = recorded(numbered, tmp_path / name, *words).read_bytes()
    path = tmp_path / f"cut-{name}"
    path.write_bytes(data[: len(data) // 2])
    kinds: list[str] = []
    made = media.publish(worker, media.upload_source(worker.store, path), kinds)
    assert kinds == ["copy"]
    assert 2 < made.result.duration_seconds < 8
    assert made.result.lost_seconds == pytest.approx(SECONDS - made.result.duration_seconds, abs=0.2)


def test_loudness_counts_what_is_read_again_once(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = media.upload_source(worker.store, recorded(numbered, tmp_path / "a.ts", *INPUTS["a.ts"]))
    _, whole = heard_in(worker, source)
    monkeypatch.setattr(ladder, "NORMALISE_SECONDS", 0.0)
    monkeypatch.setattr(normalise, "_WORTH", 0)
    count, parts = heard_in(worker, source)
    assert count > 5
    assert sum(parts.values()) == pytest.approx(sum(whole.values()), abs=5 * count)


def heard_in(worker: media.Worker, source: PlanInput) -> tuple[int, dict[int, int]]:
    """How many tasks it took, and the loudness that the last index holds."""
    *_, last = outcomes = list(stretches(worker, worker.run(PLAN, source)))
    made = media.planned(last)
    assert made is not None
    name = made.encoding.intermediate
    assert name is not None
    return len(outcomes), worker.tools.index(media.PREFIX, name).loudness


@pytest.mark.usefixtures("hurried")
def test_a_stretch_that_is_made_again_costs_that_stretch_and_changes_nothing(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path
) -> None:
    """A worker is killed after each stretch before it could say so; another does it again from the same input."""
    source = media.upload_source(worker.store, recorded(numbered, tmp_path / "a.ts", *INPUTS["a.ts"]))
    outcome = worker.run(PLAN, source)
    pictures = []
    while media.planned(outcome) is None:
        kind, task = task_of(outcome.children[0])
        worker.run(kind, task)
        outcome = worker.run(kind, task)
        pictures.append(kind.name)
    assert pictures.count(NORMALISE.name) > 5
    made = finished(worker, outcome)
    numbers, _ = media.read_frames(made.joined("160p"), 214, 160)
    body = numbers[2:-4]
    assert body == list(range(body[0], body[0] + len(body)))
    # A database restored to before the end has its chunks made again, by a worker that has read nothing yet.
    again = dataclasses.replace(worker).run(CHUNK, ChunkInput.model_validate(outcome.children[0].input))
    assert again.result == made.chunks[0]


def test_a_store_that_fails_is_not_the_sources_fault(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path
) -> None:
    source = media.upload_source(worker.store, recorded(numbered, tmp_path / "a.ts", *INPUTS["a.ts"]))
    _, task = task_of(worker.run(PLAN, source).children[0])
    other = dataclasses.replace(worker)
    real = worker.store.get_range
    calls = 0

    def away(key: str, start: int, end: int) -> bytes:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise StoreUnavailable("away")
        return real(key, start, end)

    worker.store.get_range = away  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        other.run(NORMALISE, task)
    assert media.children() == []


class Faulty(media.WatchedStore):
    """Does something once, when so much of the sources was read."""

    def __init__(self, once: Callable[[], object], after: int) -> None:
        super().__init__()
        self.once, self.after = once, after
        self.armed = False

    def get_range(self, key: str, start: int, end: int) -> bytes:
        """See ObjectStore.get_range."""
        data = super().get_range(key, start, end)
        if self.armed and self.bytes_read() >= self.after:
            self.armed = False
            self.once()
        return data


def kill_children() -> None:
    """Every child that reads a source."""
    for child in media.children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            child.kill()


def kill_encoder() -> None:
    """The child that encodes what others copy."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # what it copies may have ended
            if "libx264" in child.cmdline():
                child.kill()


def pieces(store: media.WatchedStore) -> set[str]:
    """What the normalised source is made of; the names say what they hold."""
    return {key for key in store.objects if key.endswith(".mkv")}


def packets(store: media.WatchedStore, track: int) -> list[tuple[int, bytes]]:
    """(time, payload) of what the pieces hold of a track."""
    data = b"".join(store.get(key) for key in sorted(pieces(store)) if "front" not in key)
    blocks = (each for each in ebml.read(media.Reader(data)) if isinstance(each, ebml.Block))
    return [(each.time, each.payload) for each in blocks if each.track == track]


def long_stream(numbered: media.Numbered, path: Path) -> Path:
    """15 MB of TS, most of it stuffing: what is read is far ahead of what has come out only at its start."""
    return recorded(numbered, path, "-c", "copy", "-muxrate", "12M")


def normalised(worker: media.Worker, path: Path) -> set[str]:
    """Plan, then every stretch, by workers that have read nothing before."""
    outcome = worker.run(PLAN, media.upload_source(worker.store, path))
    while media.planned(outcome) is None:
        kind, task = task_of(outcome.children[0])
        outcome = dataclasses.replace(worker).run(kind, task)
    return pieces(worker.store)


def killed(worker: media.Worker, path: Path, kill: Callable[[], None], share: float) -> tuple[media.Worker, Any]:
    """A worker whose first stretch was killed when this share of the source was read, and that stretch's task."""
    store = Faulty(kill, 0)
    other = dataclasses.replace(worker, store=store)
    _, task = task_of(other.run(PLAN, media.upload_source(store, path)).children[0])
    store.after, store.armed = store.bytes_read() + int(share * path.stat().st_size), True
    with pytest.raises(Retryable, match="ended by signal 9"):
        dataclasses.replace(other).run(NORMALISE, task)
    assert pieces(store) == set()
    return other, task


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_child_that_is_killed_is_not_the_end_of_the_source(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, share: float
) -> None:
    path = long_stream(numbered, tmp_path / "a.ts")
    other, task = killed(worker, path, kill_children, share)
    dataclasses.replace(other).run(NORMALISE, task)
    assert pieces(other.store) == normalised(worker, path)


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.usefixtures("sparse")
def test_a_child_that_is_killed_is_not_the_end_of_a_stream_that_is_encoded(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, share: float
) -> None:
    path = long_stream(numbered, tmp_path / "a.ts")
    other, task = killed(worker, path, kill_children, share)
    assert encoded(other, dataclasses.replace(other).run(NORMALISE, task))
    assert pieces(other.store) == normalised(worker, path)


@pytest.mark.parametrize("share", [0.1, 0.6, 0.9])
@pytest.mark.usefixtures("sparse")
def test_an_encoder_that_is_killed_is_not_the_end_of_a_stream(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    """Killed when it has been given this share of the lecture, whatever was read ahead by then."""
    path = long_stream(numbered, tmp_path / "a.ts")
    _, task = task_of(worker.run(PLAN, media.upload_source(worker.store, path)).children[0])
    packets_of = normalise._Feeder._packets

    def fatal(feeder: Any, picture: int, blocks: Any) -> Iterator[ebml.Block]:
        given = packets_of(feeder, picture, blocks)
        for block in given:
            yield block
            if block.time >= share * SECONDS * 1000:
                kill_encoder()
                break
        yield from given

    with monkeypatch.context() as broken:
        broken.setattr(normalise._Feeder, "_packets", fatal)
        with pytest.raises(Retryable, match="ended by signal 9"):
            dataclasses.replace(worker).run(NORMALISE, task)
    assert pieces(worker.store) == set()
    assert encoded(worker, dataclasses.replace(worker).run(NORMALISE, task))
    made = pieces(worker.store)
    other = dataclasses.replace(worker, store=media.WatchedStore())
    assert made == normalised(other, path)


LEAKING = """#!{python}
import mmap, os, subprocess, sys
command = [{ffmpeg!r}, *sys.argv[1:]]
if not any(word.startswith("http:") for word in command):
    os.execv(command[0], command)
child = subprocess.Popen(command, stdout=subprocess.PIPE, close_fds=False)
sys.stdout.buffer.write(child.stdout.read(200_000))
sys.stdout.buffer.flush()
child.kill()
child.wait()
kept = []
while True:
    kept.append(mmap.mmap(-1, 256 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE))
"""


def test_a_child_that_comes_to_its_memorys_limit_is_not_the_end_of_the_source(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path
) -> None:
    path = recorded(numbered, tmp_path / "a.flv", *INPUTS["a.flv"])
    _, task = task_of(worker.run(PLAN, media.upload_source(worker.store, path)).children[0])
    leaking = tmp_path / "ffmpeg"
    leaking.write_text(LEAKING.format(python=sys.executable, ffmpeg=media.FFMPEG))
    leaking.chmod(0o755)
    with pytest.raises(Retryable, match="memory's limit") as raised:
        dataclasses.replace(worker, ffmpeg=str(leaking)).run(NORMALISE, task)
    # All tries come to this where the file is to blame: nobody can tell, so it is kept, and a person is told.
    assert raised.value.reason == process.BROKE_OFF
    assert not raised.value.reason.code.startswith(REFUSED)


def test_an_upload_that_takes_long_is_not_the_end_of_the_source(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child stops reading meanwhile. A limit on its connection is a hundredth here."""
    monkeypatch.setattr(normalise, "_PIECE_BYTES", 20_000)
    path = long_stream(numbered, tmp_path / "a.ts")
    expected = normalised(dataclasses.replace(worker, store=media.WatchedStore()), path)
    real = socket.socket.settimeout

    def hurried(self: socket.socket, seconds: float | None) -> None:
        real(self, None if seconds is None else seconds / 100)

    monkeypatch.setattr(socket.socket, "settimeout", hurried)
    put, slow = worker.store.put, threading.Event()

    def once(key: str, data: bytes, **words: Any) -> str:
        if key.endswith(".mkv") and not slow.is_set():
            slow.set()
            time.sleep(2)
        return put(key, data, **words)

    monkeypatch.setattr(worker.store, "put", once)
    assert normalised(worker, path) == expected
    assert slow.is_set()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20 if SOAK else 4))
@pytest.mark.usefixtures("hurried")
def test_children_killed_at_drawn_moments_change_nothing(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, seed: int
) -> None:
    """Short form: 4 seeds; `make soak`: 20 others."""
    drawn = random.Random(random.SystemRandom().randrange(2**32) if SOAK else seed)  # noqa: S311 - repeatable
    name = drawn.choice(sorted(INPUTS))
    path = recorded(numbered, tmp_path / name, *INPUTS[name])
    store = Faulty(kill_children, 0)
    other = dataclasses.replace(worker, store=store)
    outcome = other.run(PLAN, media.upload_source(store, path))
    again = 0
    while media.planned(outcome) is None:
        kind, task = task_of(outcome.children[0])
        store.after = store.bytes_read() + drawn.randrange(path.stat().st_size)
        store.armed = drawn.random() < 0.5
        try:
            outcome = dataclasses.replace(other).run(kind, task)
        except Retryable:
            again += 1
    sys.stdout.write(f"{name}: {again} killed\n")
    normalised(worker, path)
    for track in (1, 2):
        found, expected = packets(store, track), packets(worker.store, track)
        assert [payload for _, payload in found] == [payload for _, payload in expected]
        # Where each stretch begins to read again hangs on the moment, and with it how its times are rounded.
        assert [time for time, _ in found] == pytest.approx([time for time, _ in expected], abs=5)


def test_a_look_that_is_killed_decides_nothing(
    worker: media.Worker, numbered: media.Numbered, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that the file is no video, nor its gain, nor its kind of picture."""
    monkeypatch.setattr(ladder, "TITLE_FROM_SECONDS", 1)
    rules = dataclasses.replace(RULES, loudness=-16.0)
    store = Faulty(kill_children, 0)
    other = dataclasses.replace(worker, store=store, rules=rules)
    source = media.upload_source(store, numbered.path)
    expected = other.run(PLAN, source)
    run, killed, looks = process.run, 0, 0

    def broken(context: Any, command: Sequence[str], **words: Any) -> process.Output:
        """The real one, but for one of the looks, which does not come to its end."""
        nonlocal looks
        looks += 1
        return run(context, ["/bin/sh", "-c", "kill -9 $$"] if looks == number else command, **words)

    monkeypatch.setattr(process, "run", broken)
    number = 0
    while True:
        number, looks = number + 1, 0
        try:
            outcome = dataclasses.replace(other).run(PLAN, source)
        except Retryable:
            killed += 1
        else:
            assert outcome == expected
            break
    assert killed == looks
    assert killed >= 4


NO_MEMORY = "'x: Cannot allocate memory' >&2"


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ("exit 1", None, ""),
        ("kill -9 $$", Retryable, "signal 9"),
        ("kill -11 $$", Retryable, "signal 11"),
        (f"{sys.executable} -c 'x = b\"x\" * (2200 << 20)' && echo {NO_MEMORY}; exit 1", Retryable, "memory's limit"),
        (f"echo {NO_MEMORY}; exit 1", None, ""),  # a header claims gigabytes
        (f"echo {NO_MEMORY}", None, ""),  # a damaged packet claims terabytes: what came is what there is
        ("exec sleep 300", Retryable, "too long"),
        ("yes", Permanent, "printed more"),
    ],
)
def test_how_a_child_ended_says_who_is_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, error: type[AcademyError] | None, said: str
) -> None:
    monkeypatch.setattr(process, "_OUTPUT_BYTES", 10_000)
    context = media.context(PLAN, PlanInput(source_key="k", source_bytes=1, source_etag="e"))
    command = ["/bin/sh", "-c", script]
    wall = 1 if "sleep" in script else 60
    with nullcontext() if error is None else pytest.raises(error, match=said) as raised:
        process.run(context, command, folder=str(tmp_path), wall_seconds=wall)
    if raised is not None:
        assert raised.value.reason == (plan.UNREADABLE if error is Permanent else process.BROKE_OFF)


def test_a_copy_that_never_meets_its_place_is_refused(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "NORMALISE_SECONDS", 0.0)
    monkeypatch.setattr(normalise, "_WORTH", 0)
    source = media.upload_source(worker.store, recorded(numbered, tmp_path / "a.ts", *INPUTS["a.ts"]))
    _, task = task_of(worker.run(PLAN, source).children[0])
    first = worker.run(NORMALISE, task)
    _, following = task_of(first.children[0])
    assert isinstance(following, NormaliseInput)
    other = media.numbered_lecture(tmp_path / "other.ts", Fraction(25), 6)
    changed = following.model_copy(update={"source": media.upload_source(worker.store, other.path)})
    with pytest.raises(Permanent):
        worker.run(NORMALISE, changed)


@pytest.mark.parametrize(
    ("owner", "limits", "said", "reason"),
    [
        pytest.param(ladder, {"MAX_SECONDS": SECONDS / 2}, "any lecture", plan.TOO_LONG, id="longer"),
        pytest.param(normalise, {"_LARGEST": 0, "_LARGEST_EXTRA": 40_000}, "any real", plan.UNREADABLE, id="larger"),
    ],
)
def test_a_copy_without_end_is_refused_long_before_its_source_ends(  # noqa: PLR0917 - fixtures
    worker: media.Worker,
    numbered: media.Numbered,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: object,
    limits: dict[str, float],
    said: str,
    reason: Reason,
) -> None:
    """Times that run on, or more and more to save: the limits that no real lecture comes to, lowered below this one."""
    monkeypatch.setattr(normalise, "_PIECE_BYTES", 20_000)
    path = long_stream(numbered, tmp_path / "a.ts")
    _, task = task_of(worker.run(PLAN, media.upload_source(worker.store, path)).children[0])
    before = worker.store.bytes_read()
    for name, value in limits.items():
        monkeypatch.setattr(owner, name, value)
    with pytest.raises(Permanent, match=said) as refused:
        worker.run(NORMALISE, task)
    assert refused.value.reason == reason
    assert worker.store.bytes_read() - before < 0.8 * path.stat().st_size
    assert media.children() == []
    assert pieces(worker.store), "it was refused before anything came"


def test_sound_that_is_decoded_may_be_larger_than_its_source(
    worker: media.Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Flash recording of a slide: its sound takes 44 kbit/s, decoded 700."""
    path = tmp_path / "slide.flv"
    drawn = ("-f", "lavfi", "-i", "color=white:s=320x240:r=10:d=20", "-f", "lavfi", "-i", "sine=f=500:d=20")
    coding = ("-c:v", "flv1", "-g", "50", "-c:a", "nellymoser", "-ar", "22050", "-ac", "1")
    media.ffmpeg(*drawn, *coding, path, level="error")
    monkeypatch.setattr(normalise, "_LARGEST_EXTRA", 0)
    assert normalised(worker, path)


def test_a_picture_that_stands_for_hours_is_not_drawn_for_hours(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds of it are looked at for what kind of picture it is: a second of work, and not 650,000 frames."""
    monkeypatch.setattr(ladder, "TITLE_FROM_SECONDS", 0)
    monkeypatch.setattr(tasks, "_PROBE_SECONDS", 20)
    path, hours = tmp_path / "hours.mkv", 6 * 3600
    times = f"setpts=if(lt(N\\,30)\\,N\\,N+30*{hours})/30/TB"
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-fps_mode", "passthrough")
    media.ffmpeg("-i", numbered.path, "-an", "-vf", times, *coding, path, level="error")
    outcome = worker.run(PLAN, media.upload_source(worker.store, path))
    while (made := media.planned(outcome)) is None:
        kind, task = task_of(outcome.children[0])
        outcome = worker.run(kind, task)
    assert made.duration_seconds == pytest.approx(hours + SECONDS, abs=0.2)
    encoding = made.encoding
    view = worker.tools.view(encoding.source_key, encoding.source_bytes, media.PREFIX, encoding.intermediate)
    with reader.serving(view) as served:
        # From where the next picture is hours away: nothing is put before it.
        command = ffmpeg.sample_command(media.FFMPEG, encoding, served.url, Fraction(2))
        made_of_it = subprocess.run(command, capture_output=True, timeout=20, check=True)
    assert len(made_of_it.stdout) < 100_000


def test_six_hours_are_planned_as_any_other_lecture(worker: media.Worker, tmp_path: Path) -> None:
    """360 times the same minute, copied: a real file of six hours, planned whole, cut at its start, middle and end."""
    lecture = media.numbered_lecture(tmp_path / "minute.mp4", Fraction(10), 60, words=("-g", "50"))
    path = tmp_path / "hours.mp4"
    media.ffmpeg("-stream_loop", "359", "-i", lecture.path, "-c", "copy", path, level="error")
    rules = plan.Rules(segment_seconds=6, min_segments=3, steps=STEPS[1:])
    other = dataclasses.replace(worker, rules=rules)
    outcome = other.run(PLAN, media.upload_source(worker.store, path))
    made = media.planned(outcome)
    assert made is not None
    assert made.duration_seconds == pytest.approx(6 * 3600, rel=0.001)
    assert 340 <= len(outcome.children) <= 380
    assert len(outcome.result.model_dump_json()) < 64 * 1024
    before = worker.store.bytes_read()
    for at in (0, len(outcome.children) // 2, len(outcome.children) - 1):
        task = ChunkInput.model_validate(outcome.children[at].input)
        result = other.run(CHUNK, task).result
        assert sum(len(part.segments) for part in result.renditions) > 0  # type: ignore[attr-defined]
    # A chunk in the middle costs what lies in it, and not the hours before.
    assert worker.store.bytes_read() - before < path.stat().st_size / 20


def test_frames_step_evenly_over_the_borders_of_pieces(
    worker: media.Worker, numbered: media.Numbered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(normalise, "_PIECE_BYTES", 10_000)
    source = media.upload_source(worker.store, recorded(numbered, tmp_path / "a.ts", *INPUTS["a.ts"]))
    made = media.publish(worker, source)
    pieces = {key for key in worker.store.writes if "intermediate/0" in key}
    assert len(pieces) > 5
    times = media.track(made.joined("160p")).presentation_times
    assert len({after - before for before, after in pairwise(times)}) == 1
