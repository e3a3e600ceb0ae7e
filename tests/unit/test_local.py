"""The embedded platform's pure parts: ranges, the origin's answers, ports, the data folder, the environments."""

import re
import socket
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_core import playback, settings
from academy_core.store_fake import FakeStore
from academy_local import environment, home, origin, ports

NOW = 1_800_000_000.0
KEY = playback.Key("v1", "a-playback-secret-of-thirty-two-characters")
PREFIX = "media/hls/videos/lecture/publication/"


def opened(name: str, expires: float = NOW + 60) -> str:
    query = playback.signed_query(KEY, playback.Grant(PREFIX, int(expires), "viewer"))
    return f"/hls/{PREFIX}{name}?{query}"


def serve(target: str, wanted: str | None = None) -> origin.Answer:
    store = FakeStore()
    store.put(f"{PREFIX}1080p/s0.m4s", b"0123456789", content_type="video/iso.segment")
    store.put(f"{PREFIX}master.m3u8", b"#EXTM3U\n1080p/index.m3u8\n", content_type="x")
    return origin.answer(store, playback.Keyring(KEY), target, wanted, NOW)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,3-4", None),
        ("items=0-1", None),
        ("bytes=0-", (0, 10)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-400", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=-0", (10, 10)),
        ("bytes=10-", (10, 10)),
        ("bytes=11-12", (11, 10)),
    ],
)
def test_byte_range(header: str | None, expected: tuple[int, int] | None) -> None:
    assert origin.byte_range(header, 10) == expected


@given(st.integers(0, 200), st.integers(0, 200), st.integers(1, 100))
def test_a_satisfiable_range_is_what_slicing_gives(first: int, last: int, size: int) -> None:
    span = origin.byte_range(f"bytes={first}-{last}", size)
    if span is None:
        assert last < first
    elif span[0] >= span[1]:
        assert first >= size
    else:
        assert list(range(*span)) == [index for index in range(size) if first <= index <= last]


def test_a_segment_is_served_whole_and_in_part() -> None:
    whole = serve(opened("1080p/s0.m4s"))
    assert (whole.status, whole.body, whole.headers["Content-Type"]) == (
        HTTPStatus.OK,
        b"0123456789",
        "video/iso.segment",
    )
    part = serve(opened("1080p/s0.m4s"), "bytes=2-4")
    assert (part.status, part.body, part.headers["Content-Range"]) == (
        HTTPStatus.PARTIAL_CONTENT,
        b"234",
        "bytes 2-4/10",
    )
    beyond = serve(opened("1080p/s0.m4s"), "bytes=10-")
    assert (beyond.status, beyond.headers["Content-Range"]) == (
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "bytes */10",
    )


def test_a_playlist_hands_its_query_on() -> None:
    target = opened("master.m3u8")
    answer = serve(target)
    assert answer.body.decode() == f"#EXTM3U\n1080p/index.m3u8?{target.partition('?')[2]}\n"


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (f"/hls/{PREFIX}1080p/s0.m4s", HTTPStatus.FORBIDDEN),
        (opened("1080p/s0.m4s", expires=NOW - 1), HTTPStatus.FORBIDDEN),
        (opened("1080p/s0.m4s").replace("viewer=viewer", "viewer=other"), HTTPStatus.FORBIDDEN),
        (opened("../../../sources/x"), HTTPStatus.FORBIDDEN),
        (opened("1080p/nowhere.m4s"), HTTPStatus.NOT_FOUND),
        ("/", HTTPStatus.NOT_FOUND),
        ("/hls", HTTPStatus.NOT_FOUND),
    ],
)
def test_what_is_not_signed_or_not_there_is_not_served(target: str, status: HTTPStatus) -> None:
    assert serve(target).status == status


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server((ports.HOST, 0)) as server:
        port = server.getsockname()[1]
        assert not ports.is_free(port)
        assert ports.accepts(port)
    assert ports.is_free(port)
    assert not ports.accepts(port)


def test_free_ports_differ() -> None:
    found = ports.free(20)
    assert len(set(found)) == 20
    assert all(ports.is_free(port) for port in found)


OTHER = """
import random
random.sample = lambda candidates, _: list(candidates)
from academy_local import ports
print(*ports.free(2))
"""
"""A process that is to draw the same ports as this one."""


def test_no_two_processes_choose_one_port_before_its_server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.sample", lambda candidates, _: list(candidates))
    own = ports.free(2)
    told = subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, check=True, timeout=60)
    assert set(own).isdisjoint(map(int, told.stdout.split()))
    assert set(own).isdisjoint(ports.free(2))


def test_a_process_that_chooses_many_ports_keeps_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "KEPT", 3)
    first, *later = ports.free(4)
    monkeypatch.setattr("random.sample", lambda *_: [*later, first])
    assert ports.free(1) == [first]


def test_a_folder_keeps_its_ports_and_secrets(tmp_path: Path) -> None:
    place = home.Home(tmp_path / "data")
    identity = place.identity()
    assert home.Home(tmp_path / "data").identity() == identity
    assert (place.folder / "identity.json").stat().st_mode & 0o777 == 0o600
    assert identity.secrets.playback not in repr(identity)


def test_a_state_that_a_start_forgets_while_it_is_read_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home.Home(tmp_path / "data")
    place.identity()
    place.write_state(home.State(supervisor=1, phase="up", step="", processes={}))
    assert place.state() is not None
    read = Path.read_bytes

    def forgotten(path: Path) -> bytes:
        place.forget_state()
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", forgotten)
    assert place.state() is None


def test_one_holder_a_folder(tmp_path: Path) -> None:
    place = home.Home(tmp_path / "data")
    assert not place.running()
    with place.lock() as mine:
        assert mine
        assert home.Home(place.folder).running()
        with home.Home(place.folder).lock() as other:
            assert not other
    assert not place.running()


def test_every_process_finds_all_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = home.Home(tmp_path)
    identity = place.identity()
    processes: dict[type[settings.LogSettings | settings.PlaybackSettings], dict[str, str]] = {
        settings.ApiSettings: environment.api(identity),
        settings.VideoWorkerSettings: environment.video_worker(place, identity, 1),
        settings.AiCpuWorkerSettings: environment.ai_cpu_worker(place, identity, 1),
        settings.PlaybackSettings: environment.origin(identity),
    }
    for cls, given_to_it in processes.items():
        with monkeypatch.context() as patch:
            for name in cls.model_fields:
                patch.delenv(name, raising=False)
            for name, value in given_to_it.items():
                patch.setenv(name, value)
            settings.load(cls)


def test_everything_is_on_loopback(tmp_path: Path) -> None:
    place = home.Home(tmp_path)
    identity = place.identity()
    workers = [make(place, identity, 1) for make in (environment.video_worker, environment.ai_cpu_worker)]
    for given_to_it in (environment.api(identity), *workers):
        for host in re.findall(r"https?://([^:/]+)", "\n".join(given_to_it.values())):
            assert host == ports.HOST
    assert {worker["METRICS_HOST"] for worker in workers} == {ports.HOST}
