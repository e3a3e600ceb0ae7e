"""The loopback reader: exactly the bytes that were asked for, few of them fetched twice, faults told apart."""

import socket
import struct
import time
import urllib.error
import urllib.request
from itertools import pairwise
from urllib.parse import urlsplit

import media
import pytest
from hypothesis import given
from hypothesis import strategies as st

from academy_core.errors import StoreUnavailable
from academy_core.store_fake import FakeStore
from academy_video import ffmpeg, keyframes, reader

DATA = bytes(range(256)) * 4096  # 1 MiB


def view(store: FakeStore, *extents: tuple[str, int, int]) -> reader.View:
    return reader.View(reader.Blocks(store), [reader.Extent(*extent) for extent in extents])


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def stored(**objects: bytes) -> media.WatchedStore:
    store = media.WatchedStore()
    for key, data in objects.items():
        store.put(key, data, content_type="video/mp4")
    return store


@given(
    st.lists(st.integers(0, 40_000), min_size=2, max_size=5, unique=True).map(sorted),
    st.integers(0, 45_000),
    st.integers(0, 45_000),
)
def test_pieces_read_as_one_file(cuts: list[int], start: int, length: int) -> None:
    whole = DATA[:40_000]
    objects = {f"k{number}": whole[first:last] for number, (first, last) in enumerate(pairwise(cuts))}
    made = view(stored(**objects), *((key, 0, len(data)) for key, data in objects.items()))
    expected = whole[cuts[0] : cuts[-1]]
    assert made.size == len(expected)
    assert made.fetch(start, length) == expected[start : start + length]
    assert b"".join(made.stream(min(start, made.size), made.size)) == expected[start:]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_a_part_may_be_left_out(start: int, length: int) -> None:
    made = view(stored(a=DATA[:600], b=DATA[600:1000]), ("a", 0, 600), ("b", 0, 400))
    end = min(1000, start + length)
    left = made.without(start, end)
    assert left.fetch(0, 2000) == DATA[:start] + DATA[end:1000] if start < end else DATA[:1000]


def test_what_was_read_is_kept() -> None:
    store = stored(a=DATA)
    made = view(store, ("a", 0, len(DATA)))
    first = made.fetch(100, 50_000)
    read = store.bytes_read()
    assert made.fetch(100, 50_000) == first
    assert store.bytes_read() == read


def test_what_another_keeps_is_not_fetched_again_nor_pushed_out() -> None:
    """Pieces that are kept are left out of what is fetched, however much is read afterwards."""
    store = stored(a=DATA, b=DATA * 80)
    looked = reader.Blocks(store)
    reader.View(looked, [reader.Extent("a", 0, len(DATA))]).fetch(200_000, 300_000)
    blocks = reader.Blocks(store, looked)
    for _ in reader.View(blocks, [reader.Extent("b", 0, 80 * len(DATA))]).stream(0, 15 * len(DATA)):
        continue
    before = store.bytes_read()
    made = reader.View(blocks, [reader.Extent("a", 0, len(DATA))])
    assert b"".join(made.stream(0, made.size)) == DATA
    assert store.bytes_read() - before <= len(DATA) - 300_000


@given(samples=st.integers(0, 5000), in_front=st.booleans())
def test_an_index_is_fetched_in_one_piece(*, samples: int, in_front: bool) -> None:
    moov, media_ = box(b"moov", bytes(64 * samples)), box(b"mdat", DATA)
    whole = box(b"ftyp", b"isom") + (moov + media_ if in_front else media_ + moov)
    store = stored(a=whole)
    made = view(store, ("a", 0, len(whole)))
    keyframes.fetch_index(made.fetch, made.size)
    before, at = len(store.reads), whole.index(b"moov") - 4
    assert b"".join(made.stream(at, at + len(moov))) == moov
    assert (before <= 4, len(store.reads)) == (True, before)


@pytest.mark.parametrize("data", [b"", b"x", bytes(100), b"1234" * 10_000, DATA])
def test_what_is_no_mp4_has_no_index_to_fetch(data: bytes) -> None:
    store = stored(a=data)
    made = view(store, ("a", 0, len(data)))
    keyframes.fetch_index(made.fetch, made.size)
    assert len(store.reads) <= 2


def test_a_reader_that_stops_early_costs_little_more_than_it_took() -> None:
    store = stored(a=DATA * 8)
    made = view(store, ("a", 0, len(DATA) * 8))
    taken = 0
    for piece in made.stream(0, made.size):
        taken += len(piece)
        if taken > 4_000_000:
            break
    assert store.bytes_read() <= 1.05 * taken


def get(url: str, asked: str | None = None) -> tuple[int, bytes]:
    headers = {} if asked is None else {"Range": asked}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:  # noqa: S310 - loopback
        return answer.status, answer.read()


def test_ranges_over_http() -> None:
    with reader.serving(view(stored(a=DATA), ("a", 0, len(DATA)))) as served:
        assert get(served.url) == (206, DATA)
        assert get(served.url, "bytes=10-19") == (206, DATA[10:20])
        assert get(served.url, "bytes=1048570-") == (206, DATA[-6:])
        for url, asked, status in ((served.url, "bytes=9999999-", 416), (served.url[:-1], "bytes=0-", 404)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(url, asked)
            assert refused.value.code == status
    with pytest.raises(urllib.error.URLError):
        get(served.url)


def test_segments_are_small_beside_what_receives_them() -> None:
    """A window that ffmpeg's pause has shut opens again for a segment: one of 64 KiB may wait for it a minute."""
    with reader.serving(view(stored(a=DATA), ("a", 0, len(DATA)))) as served:
        address = urlsplit(served.url)
        with socket.create_connection((address.hostname or "", address.port or 0), 10) as connection:
            segment = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
    received = ffmpeg.source_options(served.url)
    assert segment <= int(received[received.index("-recv_buffer_size") + 1]) // 8


@pytest.mark.parametrize("fault", [StoreUnavailable, OSError, MemoryError])
def test_a_fault_of_the_store_is_kept_and_the_answer_is_cut(fault: type[Exception]) -> None:
    store = stored(a=DATA)

    def away(key: str, start: int, end: int) -> bytes:
        raise fault(f"{key} {start} {end}")

    with reader.serving(view(store, ("a", 0, len(DATA)))) as served:
        store.get_range = away  # type: ignore[method-assign]
        with pytest.raises(Exception, match=r"IncompleteRead|closed|reset"):
            get(served.url)
        assert isinstance(served.failure, fault)


def test_a_child_that_reads_nothing_for_long_still_gets_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its output waits for the store meanwhile. A limit on the connection is a hundredth here."""
    real = socket.socket.settimeout

    def hurried(self: socket.socket, seconds: float | None) -> None:
        real(self, None if seconds is None else seconds / 100)

    monkeypatch.setattr(socket.socket, "settimeout", hurried)
    with reader.serving(view(stored(a=DATA), ("a", 0, len(DATA)))) as served:
        address = urlsplit(served.url)
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32_768)
            connection.connect((address.hostname, address.port))
            connection.sendall(f"GET {address.path} HTTP/1.0\r\n\r\n".encode())
            time.sleep(1.5)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert answer.endswith(DATA)
        assert served.failure is None
