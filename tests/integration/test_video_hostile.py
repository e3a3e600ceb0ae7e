"""Hostile input: refused at once with a reason, or published as far as it can be; never a crash, a hang or a leftover.

Hundreds of files, damaged by a seeded hand or built to mislead, go through plan, normalise and the first chunk, one in
ten through everything to publish. `make test` takes the same ones every time, `make soak` others and ten times as many.
ACADEMY_SEED repeats a run.
"""

import dataclasses
import os
import random
import re
import resource
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import media
import media_hostile
import psutil
import pytest
from support import wait_until

from academy_core.errors import Permanent
from academy_core.tasks import Outcome
from academy_core.video import CHUNK, KINDS, PLAN, ChunkInput, ChunkResult
from academy_video import ladder, plan, tasks

STEPS = (ladder.Step(120, 23, 200_000, 400_000),)
RULES = plan.Rules(segment_seconds=2, min_segments=3, steps=STEPS, chunk_seconds=(4,))
SOAK = os.environ.get("ACADEMY_SOAK") == "1"
SOURCE = "sources/hostile.mp4"
FILES = 2200 if SOAK else 200
SEED = int(os.environ.get("ACADEMY_SEED", random.SystemRandom().randrange(1, 10**6) if SOAK else 7))
SAMPLE = FILES // 10
"""How many go through everything, all features on."""
EVERYTHING = dataclasses.replace(RULES, loudness=ladder.LOUDNESS_LUFS)
MOST_CHUNKS = 12
"""A file that damage has made longer than this is encoded at its front and its end."""
TEXT_BYTES = 1024
"""Of a playlist or script that is smuggled in, whatever the bait's name and the trap's port are this time."""
MOST_STRETCHES = 6
"""Two passes, each with its plan, and one stretch more of each: files of a few seconds need no more."""


@dataclass
class Trap:
    """A server that no worker may ever reach, and a readable video that none may open."""

    url: str
    bait: Path
    watch: media_hostile.OpenWatch
    requests: list[str] = field(default_factory=list)

    def touched(self) -> list[str]:
        """What was asked for and opened since this was asked last."""
        found = [*self.requests, *([str(self.bait)] if self.watch.opened() else [])]
        self.requests.clear()
        return found


@pytest.fixture
def trap(real: list[bytes], tmp_path: Path) -> Iterator[Trap]:
    requests: list[str] = []
    bait = tmp_path / "bait.mov"
    bait.write_bytes(real[-1])

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server, closing(media_hostile.OpenWatch(bait)) as watch:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield Trap(f"http://127.0.0.1:{server.server_address[1]}", bait, watch, requests)
        server.shutdown()
        thread.join(10)


@contextmanager
def untouched(trap: Trap) -> Iterator[None]:
    """This file, or one that another thread reads beside it, makes no worker read anything else."""
    yield
    assert trap.touched() == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def real(folder: Path) -> list[bytes]:
    """Real files of every kind, short: what is damaged."""
    source = media.numbered_lecture(folder / "real.mp4", Fraction(30), 2, words=("-g", "30")).path
    made = [source]
    recorder = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "16", "-c:a", "libopus")
    for name, words in {
        "front.mp4": ("-c", "copy", "-movflags", "+faststart"),
        "fragments.mp4": ("-c", "copy", "-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
        "a.mkv": ("-c", "copy"),
        "a.ts": ("-c", "copy"),
        "a.avi": ("-c:v", "mjpeg", "-q:v", "20", "-c:a", "pcm_s16le", "-ac", "1"),
        "a.webm": recorder,
        "a.mpg": ("-c:v", "mpeg2video", "-c:a", "mp2"),
        "a.flv": ("-c", "copy"),
        # Every picture is a key frame, so there is no table of them (stss).
        "a.mov": ("-c:v", "mjpeg", "-q:v", "20", "-c:a", "pcm_s16le", "-ac", "1"),
    }.items():
        made.append(folder / name)
        media.ffmpeg("-i", source, *words, made[-1], level="error")
    assert b"stss" in made[0].read_bytes()
    assert b"stss" not in made[-1].read_bytes()
    return [path.read_bytes() for path in made]


@contextmanager
def nothing_that_the_apis_sweep_would_not_find(store: media.WatchedStore) -> Iterator[None]:
    """The source is read and nothing else; what is written lies below the publication's prefix, in whole objects.

    Of a refused file the API deletes the source and that prefix (ADR 0055; its test is
    test_of_a_file_refused_after_its_plan_nothing_is_left).
    """
    yield
    assert all(key == SOURCE or key.startswith(media.PREFIX) for key, _, _ in store.reads)
    assert all(key == SOURCE or key.startswith(media.PREFIX) for key in store.writes)
    assert store.multipart == 0
    store.delete(SOURCE)
    store.delete_many([found.key for found in store.list(media.PREFIX)])
    assert not store.objects


@contextmanager
def nothing_left(folder: Path, store: media.WatchedStore) -> Iterator[None]:
    """No process, no file stays, and in the store nothing that would not be swept."""
    with nothing_that_the_apis_sweep_would_not_find(store):
        yield
    assert media.children() == []
    assert list(folder.iterdir()) == []


def first_steps(worker: media.Worker, data: bytes) -> str:
    """What becomes of a file: `ready` when its first chunk is made, else the code of the reason it is refused with."""

    def steps() -> str:
        outcome = follow(worker, put(worker, data))
        worker.run(CHUNK, ChunkInput.model_validate(outcome.children[0].input))
        return "ready"

    return becomes(steps)


def every_step(worker: media.Worker, data: bytes) -> str:
    """The same to the end: `published` when what was published can be read, `long` when only its ends were made."""

    def steps() -> str:
        outcome = follow(worker, put(worker, data))
        made = media.planned(outcome)
        assert made is not None
        if len(outcome.children) > MOST_CHUNKS:
            for child in (outcome.children[0], outcome.children[-1]):
                worker.run(CHUNK, ChunkInput.model_validate(child.input))
            return "long"
        published = media.finish(worker, outcome, made)
        times = media.track(published.joined(made.encoding.rungs[0].name)).presentation_times
        assert len(times) == made.encoding.total_frames
        if made.encoding.audio is not None:
            media.read_sound(published.joined("audio"))
        assert published.result.poster is not None
        return "published"

    return becomes(steps)


def becomes(steps: Callable[[], str]) -> str:
    """What the steps say, or the code of the reason with which the file is refused."""
    try:
        return steps()
    except Permanent as error:
        refused = error.reason
    assert refused.code.startswith("source-")
    assert refused.en.endswith(".")
    assert any("가" <= letter <= "힣" for letter in refused.ko)
    return refused.code


def follow(worker: media.Worker, source: tasks.PlanInput) -> Outcome:
    outcome = worker.run(PLAN, source)
    stretches = 0
    while media.planned(outcome) is None:
        stretches += 1
        assert stretches <= MOST_STRETCHES, "it is normalised again and again"
        (child,) = outcome.children
        kind = next(kind for kind in KINDS if kind.name == child.kind)
        outcome = worker.run(kind, kind.input.model_validate(child.input))
    return outcome


@pytest.mark.slow
@pytest.mark.timeout(3600 if SOAK else 900)
def test_damaged_files_are_ready_or_refused(
    folder: Path, real: list[bytes], trap: Trap, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = folder / "work"
    work.mkdir()
    texts = (media_hostile.playlist(f"{trap.url}/secret.ts"), media_hostile.script(f"file:{trap.bait}"))
    material = media_hostile.Material(real, [text.ljust(TEXT_BYTES, b"\n") for text in texts])
    chosen = set(random.Random(SEED).sample(range(FILES), SAMPLE))  # noqa: S311 - which files, always the same

    def one(number: int, rules: plan.Rules, way: Callable[[media.Worker, bytes], str]) -> str:
        how, data = media_hostile.mutated(SEED, number, material)
        worker = media.Worker(media.WatchedStore(), work, rules)
        try:
            with nothing_that_the_apis_sweep_would_not_find(worker.store), untouched(trap):
                return way(worker, data)
        except BaseException as error:
            kept = folder / f"failed-{SEED}-{number}"
            kept.write_bytes(data)
            error.add_note(f"file {number} of seed {SEED} ({how}), kept as {kept}")
            raise

    monkeypatch.setattr(ladder, "TITLE_FROM_SECONDS", 0)
    with ThreadPoolExecutor(2) as pool:
        whole = Counter(pool.map(lambda number: one(number, EVERYTHING, every_step), sorted(chosen), timeout=3000))
    monkeypatch.setattr(ladder, "QUALITY_SAMPLES", 0)
    others = [number for number in range(FILES) if number not in chosen]
    with ThreadPoolExecutor(2) as pool:
        found = Counter(pool.map(lambda number: one(number, RULES, first_steps), others, timeout=3000))
    with capsys.disabled():
        for name, counted in (("with everything", whole), ("the first chunk", found)):
            listed = ", ".join(f"{count} {code}" for code, count in counted.most_common())
            print(f"\n{counted.total()} damaged files, {name}, ACADEMY_SEED={SEED}: {listed}")  # noqa: T201 - the seed
    assert whole.total() + found.total() == FILES
    assert whole["published"] > SAMPLE // 4, "the mutator destroys everything: it tests nothing"
    assert found["ready"] > FILES // 10
    assert found["source-unreadable"] > 0
    assert media.children() == []
    assert list(work.iterdir()) == []


def hostile(kind: str, real: list[bytes], trap: Trap, folder: Path) -> bytes:
    """Files built to make the worker read something else, work without end, or fall over."""
    hls = media_hostile.playlist(f"{trap.url}/a.ts")
    lavfi = ("-f", "lavfi", "-i")
    path = folder / f"{kind}.mp4"
    if kind == "huge":
        coding = ("-c:v", "libx264", "-preset", "ultrafast")
        media.ffmpeg(*lavfi, "color=s=16000x9000:r=1:d=1", *coding, "-frames:v", "1", path, level="error")
        return path.read_bytes()
    if kind == "narrow":
        media.ffmpeg(*lavfi, "testsrc2=s=1600x32:r=10:d=2", "-c:v", "libx264", path, level="error")
        return path.read_bytes()
    if kind == "long":
        return claiming(real[1], 0xFFFF_FFFF)
    return {
        "empty": b"",
        "byte": b"\x00",
        "text": b"this is not a video\n" * 100,
        "random": random.Random(5).randbytes(200_000),  # noqa: S311 - noise
        "zeroes": bytes(1_000_000),
        "hls": hls,
        "hls-file": media_hostile.playlist(f"file:{trap.bait}"),
        "hls-in-ts": real[4][: 188 * 4] + hls,
        "concat": media_hostile.script(f"{trap.url}/a.mp4"),
        "concat-file": media_hostile.script(f"file:{trap.bait}"),
        "dash": media_hostile.manifest(f"{trap.url}/a.mp4"),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "subtitles": b"1\n00:00:00,000 --> 00:00:05,000\n<img src=http://127.0.0.1:9/a>\n",
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{trap.url}/a.png"/></svg>'.encode(),
        "gif": b"GIF89a" + bytes(1000),
        "reference-url": media_hostile.referring(real[-1], media_hostile.url_entry(f"{trap.url}/a.mov")),
        "reference-absolute": media_hostile.referring(
            real[-1], media_hostile.alias_entry(str(trap.bait), relative=False)
        ),
        "reference-relative": media_hostile.referring(
            real[-1], media_hostile.alias_entry(f"/{trap.bait.name}", relative=True)
        ),
        # The first fragment's header, read as a table of times, has 1.9 thousand million lines.
        "claim": real[2].replace(b"moof", b"stts", 1),
        "no-index": real[0][: len(real[0]) // 3],
        "half": real[1][: len(real[1]) // 2],
    }[kind]


def claiming(data: bytes, duration: int) -> bytes:
    """An MP4 whose headers claim this many ticks."""
    changed = bytearray(data)
    for box, at in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        where = -1
        while (where := changed.find(box, where + 1)) >= 0:
            changed[where + 4 + at : where + 8 + at] = duration.to_bytes(4)
    return bytes(changed)


EXPECTED = {
    "empty": "source-unreadable",
    "byte": "source-unreadable",
    "text": "source-unreadable",
    "random": "source-unreadable",
    "zeroes": "source-unreadable",
    "hls": "source-unreadable",
    "hls-file": "source-unreadable",
    "hls-in-ts": "source-",
    "concat": "source-unreadable",
    "concat-file": "source-unreadable",
    "dash": "source-unreadable",
    "sdp": "source-unreadable",
    "subtitles": "source-unreadable",
    "svg": "source-unreadable",
    "gif": "source-unreadable",
    "no-index": "source-unreadable",
    "claim": "source-unreadable",
    "huge": "source-too-large",
    "narrow": "source-odd-shape",
    "long": "ready",
    "reference-url": "ready",
    "reference-absolute": "source-unreadable",
    "reference-relative": "source-unreadable",
    "half": "ready",
}


ANYWHERE = ("-protocol_whitelist", "file,http,tcp")
OBEYED = {
    "hls": (*ANYWHERE, "-f", "hls"),
    "hls-file": (*ANYWHERE, "-allowed_extensions", "ALL", "-f", "hls"),
    "concat": (*ANYWHERE, "-safe", "0", "-f", "concat"),
    "concat-file": (*ANYWHERE, "-safe", "0", "-f", "concat"),
    "dash": (*ANYWHERE, "-f", "dash"),
    "reference-absolute": ("-enable_drefs", "1", "-use_absolute_path", "1"),
    "reference-relative": ("-enable_drefs", "1"),
}
"""How an ffmpeg is told to do what the file says. None follows a `url ` or what a picture or subtitles name."""


@pytest.mark.parametrize("kind", OBEYED)
def test_an_ffmpeg_without_our_options_reads_what_they_name(
    real: list[bytes], trap: Trap, tmp_path: Path, kind: str
) -> None:
    """The next test proves something."""
    path = tmp_path / f"{kind}.mov"
    path.write_bytes(hostile(kind, real, trap, tmp_path))
    command = (media.FFMPEG, "-nostdin", *OBEYED[kind], "-i", path, "-f", "null", "-")
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert trap.touched() != [], done.stderr.decode()


@pytest.mark.parametrize(("kind", "expected"), EXPECTED.items())
def test_files_built_to_mislead(real: list[bytes], trap: Trap, tmp_path: Path, kind: str, expected: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    worker = media.Worker(media.WatchedStore(), work, RULES)
    with nothing_left(work, worker.store):
        found = first_steps(worker, hostile(kind, real, trap, tmp_path))
    assert found.startswith(expected)
    assert trap.touched() == []
    if found != "ready":
        assert not worker.store.writes[1:], "a plan that refuses has written nothing"


@dataclass(frozen=True)
class Packet:
    """A picture's packet in a file: the picture's number, where its bytes begin and end."""

    number: int
    start: int
    end: int


@pytest.fixture(scope="module")
def indexed(folder: Path) -> tuple[Path, list[Packet]]:
    """Six numbered seconds with two B-pictures between references, index in front; its packets in file order."""
    path = media.numbered_lecture(folder / "whole.mp4", Fraction(30), 6, words=("-movflags", "+faststart")).path
    show = ("-select_streams", "v:0", "-show_entries", "packet=pts_time,pos,size", "-of", "csv=p=0")
    done = subprocess.run((media.FFPROBE, "-v", "error", *show, path), capture_output=True, check=True, text=True)
    rows = [line.split(",")[:3] for line in done.stdout.split()]
    return path, [Packet(round(float(time) * 30), int(at), int(at) + int(size)) for time, size, at in rows]


@pytest.mark.parametrize("where", ["in a reference", "behind a reference", "in a B-picture", "behind both B-pictures"])
def test_a_file_cut_in_the_middle_is_published_and_the_loss_is_said(
    indexed: tuple[Path, list[Packet]], tmp_path: Path, where: str
) -> None:
    """All that the file holds is shown at its time; the picture before stands where it holds nothing.

    A B-picture comes after the reference behind it: a cut between the two leaves a gap before the last picture.
    """
    whole, packets = indexed
    reference = next(at for at in range(100, 120) if packets[at].number > packets[at + 2].number)
    first, second = packets[reference + 1], packets[reference + 2]
    cut = {
        "in a reference": (packets[reference].start + packets[reference].end) // 2,
        "behind a reference": packets[reference].end,
        "in a B-picture": (second.start + second.end) // 2,
        "behind both B-pictures": second.end,
    }[where]
    assert first.number < second.number < packets[reference].number
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[:cut])
    work = tmp_path / "work"
    work.mkdir()
    worker = media.Worker(media.WatchedStore(), work, RULES)
    made = media.publish(worker, media.upload_source(worker.store, path))
    held = [packet.number for packet in packets if packet.end <= cut]
    length = 1 + max(packet.number for packet in packets if packet.start < cut)
    numbers, _ = media.read_frames(made.joined("120p"), 160, 120)
    assert numbers == [max(number for number in held if number <= at) for at in range(length)]
    assert made.result.duration_seconds == pytest.approx(length / 30)
    assert made.result.lost_seconds == pytest.approx(6 - length / 30, abs=0.2)


def emptied(path: Path, start: float, end: float) -> bytes:
    """The file with zeroes in place of all packets of these seconds, as a download leaves it that was interrupted."""
    data = bytearray(path.read_bytes())
    show = ("-show_entries", "packet=pts_time,pos,size", "-of", "csv=p=0")
    done = subprocess.run((media.FFPROBE, "-v", "error", *show, path), capture_output=True, check=True, text=True)
    for time, size, at in (line.split(",")[:3] for line in done.stdout.split()):
        if start <= float(time) < end:
            data[int(at) : int(at) + int(size)] = bytes(int(size))
    return bytes(data)


def test_a_hole_in_the_middle_costs_what_lies_in_it(folder: Path, tmp_path: Path) -> None:
    """From 5 s to 7 s there is nothing: the picture before stands, the sound is silent, all else is at its time."""
    lecture = media.numbered_lecture(folder / "sound.mp4", Fraction(30), 12, words=("-g", "30"))
    path = tmp_path / "hole.mp4"
    path.write_bytes(emptied(lecture.path, 5, 7))
    work = tmp_path / "work"
    work.mkdir()
    worker = media.Worker(media.WatchedStore(), work, RULES)
    made = media.publish(worker, media.upload_source(worker.store, path))
    assert made.result.duration_seconds == 12
    numbers, flashing = media.read_frames(made.joined("120p"), 160, 120)
    assert numbers == [*range(150), *[149] * 60, *range(210, 360)]
    sound = media.read_sound(made.joined("audio"))[1024:]
    assert max(map(abs, sound[int(5.1 * media.RATE) : int(6.9 * media.RATE)])) < 50
    onsets = [frame for frame in flashing if frame - 1 not in flashing]
    assert onsets == [lecture.flashes[0], lecture.flashes[2]]
    for onset in onsets:
        expected = onset * media.RATE // 30
        heard = next(at for at in range(expected - 12_000, expected + 12_000) if abs(sound[at]) > 9000)
        assert abs(heard - expected) <= media.RATE / 30
    assert made.result.lost_seconds == 0
    assert made.result.patched_seconds == 0, "between two pictures a hole looks as one that stands"


LONG_RULES = plan.Rules(segment_seconds=6, min_segments=3, steps=STEPS)
MINUTES = 80


@pytest.fixture(scope="module")
def long(folder: Path) -> Path:
    """The same numbered minute again and again, at 10 frames a second, a key frame every five seconds."""
    minute = media.numbered_lecture(folder / "minute.mp4", Fraction(10), 60, words=("-g", "50"))
    path = folder / "hours.mp4"
    media.ffmpeg("-stream_loop", str(MINUTES - 1), "-i", minute.path, "-c", "copy", path, level="error")
    return path


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        pytest.param(130, range(590, 600), id="the picture before it stands"),
        pytest.param(1230, range(295, 306), id="the picture behind it stands"),
        pytest.param(60 * MINUTES, range(1), id="black to the end"),
    ],
)
def test_a_hole_deep_in_a_long_lecture_costs_minutes_and_not_hours(
    long: Path, tmp_path: Path, seconds: int, shown: range
) -> None:
    """A picture that may stand in is looked for up to 300 s before, and behind; never from the lecture's start.

    The minutes are a few frames longer than their pictures.
    """
    start, end = 60 * MINUTES // 2, min(60 * MINUTES // 2 + seconds, 60 * MINUTES)
    worker = media.Worker(media.WatchedStore(), tmp_path, LONG_RULES)
    data = emptied(long, start, end)
    outcome = follow(worker, put(worker, data))
    chunks = [ChunkInput.model_validate(child.input) for child in outcome.children]
    inside = [each for each in chunks if start * 10 < each.first_frame and each.end_frame < end * 10]
    before = worker.store.bytes_read()
    # A worker that has read nothing yet.
    result = dataclasses.replace(worker).run(CHUNK, inside[-1]).result
    assert isinstance(result, ChunkResult)
    assert result.patched
    part = result.renditions[0]
    names = [part.init, *(segment.name for segment in part.segments)]
    joined = b"".join(worker.store.get(media.PREFIX + name) for name in names)
    numbers, _ = media.read_frames(joined, 160, 120)
    assert len(numbers) == inside[-1].end_frame - inside[-1].first_frame
    assert len(set(numbers)) == 1
    assert numbers[0] in shown
    read = (worker.store.bytes_read() - before) / len(data) * 60 * MINUTES
    assert read < 300 + 3 * (end - inside[-1].first_frame / 10) + 60, "more was read than lies around the chunk"


def test_a_child_may_neither_fork_without_end_nor_write(folder: Path, real: list[bytes]) -> None:
    """The limits are set on the real ffmpeg while it reads."""
    worker = media.Worker(media.WatchedStore(), folder, RULES)
    outcome = follow(worker, put(worker, real[0]))
    worker.store.open.clear()
    other = media.Worker(worker.store, folder, RULES)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(other.run, CHUNK, ChunkInput.model_validate(outcome.children[0].input))
        try:
            limits = limits_of_a_child()
        finally:
            worker.store.open.set()
        running.result(60)
    assert limits["NPROC"] == 4096
    assert limits["FSIZE"] == 0
    assert 0 < limits["AS"] <= 4 * 1024**3
    assert 0 < limits["CPU"] < 86_400


def put(worker: media.Worker, data: bytes) -> tasks.PlanInput:
    etag = worker.store.put(SOURCE, data, content_type="video/mp4")
    return tasks.PlanInput(source_key=SOURCE, source_bytes=len(data), source_etag=etag)


def limits_of_a_child() -> dict[str, int]:
    found: list[psutil.Process] = []
    wait_until(lambda: bool(found.extend(media.children()) or found), 30, "no ffmpeg started")
    names = {name: getattr(resource, f"RLIMIT_{name}") for name in ("NPROC", "FSIZE", "AS", "CPU")}
    wait_until(lambda: resource.prlimit(found[0].pid, names["NPROC"])[0] == 4096, 10, "limits were not set")
    return {name: resource.prlimit(found[0].pid, kind)[0] for name, kind in names.items()}


DOCS = Path(__file__).parents[2] / "docs/services/video.md"
ELSEWHERE = {"sound"}
"""A case of test_video_worker.py."""
NORMALISED = {
    "test_what_a_source_that_was_cut_off_lost_is_said",
    "test_how_a_child_ended_says_who_is_to_blame",
    "test_a_copy_without_end_is_refused_long_before_its_source_ends",
}
RELAY_FAULTS = {
    "test_a_store_that_is_away_takes_one_wait_of_the_relays_turn",
    "test_a_store_that_never_answers_does_not_hold_up_the_bells",
}
NORMALISED_FAULTS = {
    "test_children_killed_at_drawn_moments_change_nothing",
    "test_a_child_that_is_killed_is_not_the_end_of_a_stream_that_is_encoded",
    "test_a_child_that_comes_to_its_memorys_limit_is_not_the_end_of_the_source",
    "test_a_look_that_is_killed_decides_nothing",
    "test_an_upload_that_takes_long_is_not_the_end_of_the_source",
}
"""Cases of test_video_normalise.py."""


def named(heading: str) -> set[str]:
    """What the last column of the table below this heading names."""
    table = DOCS.read_text().partition(f"# {heading}\n")[2].partition("\n#")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    cells = [row.strip("| ").rpartition("|")[2] for row in rows]
    assert all("`" in cell for cell in cells), "a row names no case"
    return set(re.findall(r"`([^`]+)`", "".join(cells)))


def cases_in(file: str) -> set[str]:
    return set(re.findall(r"^def (test_\w+)\(", (Path(__file__).parent / file).read_text(), re.MULTILINE))


def test_the_documents_table_of_hostile_input_and_the_cases_are_the_same() -> None:
    others = {
        "test_files_built_to_mislead",
        "test_an_ffmpeg_without_our_options_reads_what_they_name",
        *(name for name in cases_in("test_video_hostile.py") if "documents" in name),
    }
    own = EXPECTED.keys() | cases_in("test_video_hostile.py") - others
    assert named("Hostile input") == own | ELSEWHERE | NORMALISED
    assert cases_in("test_video_normalise.py") >= NORMALISED | NORMALISED_FAULTS
    assert '("sound", "source-without-video")' in Path(__file__).with_name("test_video_worker.py").read_text()


def test_the_documents_table_of_faults_and_the_cases_are_the_same() -> None:
    own = cases_in("test_video_faults.py") | cases_in("test_video_drills.py")
    assert named("When something fails") == own | NORMALISED_FAULTS | RELAY_FAULTS
    assert cases_in("test_relay_process.py") | cases_in("api/test_lectures.py") >= RELAY_FAULTS
