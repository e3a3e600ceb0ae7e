"""What ffmpeg reads a source from: a loopback HTTP server over byte ranges of the object store.

    ffmpeg --http://127.0.0.1/<secret>--> this reader --get_range, retried--> R2

The child sees no presigned URL and reaches no other host, a fault of the store is told from a fault of the file
(`Served.failure`), and little more is fetched than is read: blocks are small at first and grow as a read goes on.
What is read again and again, the index at a file's front or end, stays in `Blocks` from task to task; what a plan has
read stays apart, for the chunks that the same process will make.
"""

import contextlib
import secrets
import socket
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate

from academy_core.errors import AcademyError
from academy_core.store import ObjectStore

BLOCK = 16 * 1024
"""Unit of fetching and caching, bytes."""
_FIRST_FETCH = 4 * BLOCK
"""What is fetched when a read begins."""
_LARGEST_FETCH = 4 * 1024 * 1024
_GROWTH = 32
"""A read that has gone on for n bytes fetches n/32 at a time: so much is fetched in vain at most."""
CACHE_BYTES = 64 * 1024 * 1024
LOOKED_BYTES = 2 * CACHE_BYTES
"""What is kept of a plan's reads: five minutes of sound, and the picture between it, at up to 3.5 Mbit/s."""
KEEP_BELOW = 16 * 1024 * 1024
"""A single read longer than this is media, not an index: the rest of it is not kept."""
_SEND_BUFFER = 16 * 1024
"""Small, so that what ffmpeg has not asked for yet is not fetched to wait in a socket."""
_SEGMENT = 1440
"""Of TCP, bytes. Loopback's own is 64 KiB, more than ffmpeg's receive buffer: a window that has been shut opens again
only for a whole segment, and the two would wait for each other up to a minute."""
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes [start, end) of an object."""

    key: str
    start: int
    end: int


class Blocks:
    """The blocks read last, bounded, shared by tasks of a process. Objects never change under their key.

    What `other` keeps is used, and not kept again. `longest`: how much of a single read is kept, `most`: of all, bytes.
    """

    def __init__(
        self,
        store: ObjectStore,
        other: "Blocks | None" = None,
        *,
        longest: int = KEEP_BELOW,
        most: int = CACHE_BYTES,
    ) -> None:
        self.longest = longest
        self._most = most
        self._store = store
        self._other = other
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def read(self, extent: Extent, *, keep: bool) -> bytes:
        """The bytes at the start of the extent: from the cache as many as it holds, else all of them from the store.

        Raises what ObjectStore.get_range raises.
        """
        first = extent.start - extent.start % BLOCK
        block = self._found(extent.key, first)
        if len(block) > extent.start - first:
            return block[extent.start - first : extent.end - first]
        later = range(first + BLOCK, extent.end, BLOCK)
        end = next((at for at in later if self._found(extent.key, at)), extent.end)
        if not keep:
            return self._store.get_range(extent.key, extent.start, end)
        data = self._store.get_range(extent.key, first, end)
        self._keep(extent.key, first, data)
        return data[extent.start - first :]

    def _found(self, key: str, at: int) -> bytes:
        """The block that starts there, empty when it is not kept."""
        with self._lock:
            block = self._kept.get((key, at), b"")
            if block:
                self._kept.move_to_end((key, at))
        return block or (self._other._found(key, at) if self._other else b"")  # noqa: SLF001 - of the same class

    def _keep(self, key: str, first: int, data: bytes) -> None:
        with self._lock:
            for at in range(0, len(data), BLOCK):
                block = data[at : at + BLOCK]
                old = self._kept.pop((key, first + at), b"")
                self._kept[key, first + at] = max(old, block, key=len)
                self._bytes += max(len(block) - len(old), 0)
            while self._bytes > self._most:
                self._bytes -= len(self._kept.popitem(last=False)[1])


def looked(store: ObjectStore) -> Blocks:
    """For what plans read: kept whole, reads of media too."""
    return Blocks(store, longest=LOOKED_BYTES, most=LOOKED_BYTES)


class View:
    """A file put together from extents, as ffmpeg is to see it."""

    def __init__(self, blocks: Blocks, extents: Sequence[Extent]) -> None:
        self._blocks = blocks
        self._extents = [extent for extent in extents if extent.end > extent.start]
        self._ends = list(accumulate(extent.end - extent.start for extent in self._extents))
        self.size = self._ends[-1] if self._ends else 0

    def without(self, start: int, end: int) -> "View":
        """The same without bytes [start, end)."""
        return View(self._blocks, [*self._between(0, start), *self._between(end, self.size)])

    def _between(self, start: int, end: int) -> Iterator[Extent]:
        for extent, extent_end in zip(self._extents, self._ends, strict=True):
            offset = extent.end - extent_end
            if start < extent_end and end > extent.start - offset:
                yield Extent(extent.key, max(extent.start, start + offset), min(extent.end, end + offset))

    def fetch(self, start: int, length: int) -> bytes:
        """Bytes [start, start + length), fewer at the end. Raises what ObjectStore.get_range raises."""
        end = min(start + length, self.size)
        parts: list[bytes] = []
        while start < end:
            parts.append(self._piece(start, end, keep=True))
            start += len(parts[-1])
        return b"".join(parts)

    def stream(self, start: int, end: int) -> Iterator[bytes]:
        """The same in pieces as they are read, fetching more at a time the longer it goes on."""
        at = start
        while at < end:
            wanted = min(max(_FIRST_FETCH, (at - start) // _GROWTH), _LARGEST_FETCH)
            piece = self._piece(at, min(end, at + wanted), keep=at - start < self._blocks.longest)
            yield piece
            at += len(piece)

    def _piece(self, start: int, end: int, *, keep: bool) -> bytes:
        """Bytes from `start` up to `end`, or fewer: what lies in one extent, or in one block that is kept."""
        number = bisect_right(self._ends, start)
        extent = self._extents[number]
        offset = extent.end - self._ends[number]
        last = min(end + offset, extent.end)
        whole = min(-(-last // BLOCK) * BLOCK, extent.end) if keep else last
        data = self._blocks.read(Extent(extent.key, start + offset, whole), keep=keep)
        if not data:
            raise ShortObject(f"{extent.key} ends before byte {start + offset}")
        return data[: end - start]


class ShortObject(AcademyError):
    """An object holds fewer bytes than it should."""


class Served:
    """A view while it is served."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.url = ""
        self.failure: Exception | None = None
        """Why the file could not be read to where it was wanted; None while the file alone is to blame."""
        self.sent = 0
        """Bytes given to the child so far."""

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """What a child asked for, all of it unless `failure` says why not."""
        try:
            for piece in self.view.stream(start, end):
                yield piece
                self.sent += len(piece)
        except Exception as error:  # noqa: BLE001 - whatever it was, the file is not to blame
            self.failure = error


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Before anybody can connect: what is accepted inherits it."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
        super().server_bind()


@contextmanager
def serving(view: View) -> Iterator[Served]:
    """Serve a view on loopback under an address that nobody can guess, while the block runs."""
    served = Served(view)
    path = f"/{secrets.token_urlsafe(16)}"

    class Answer(BaseHTTPRequestHandler):
        """One connection of ffmpeg: it opens a new one whenever it jumps.

        No time limit: a child reads nothing while its output waits for the store, and its end closes the connection.
        """

        def setup(self) -> None:
            """See BaseHTTPRequestHandler.setup."""
            super().setup()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

        def do_GET(self) -> None:
            """Answer one range."""
            if self.path != path:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            start, end = _range(self.headers.get("Range", ""), view.size)
            if start >= end:
                self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{view.size}")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            self._send(start, end)

        def _send(self, start: int, end: int) -> None:
            with contextlib.suppress(OSError):  # the child has jumped elsewhere or ended
                for piece in served.pieces(start, end):
                    self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
            """Keep quiet."""

    server = _Server(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="source-reader", daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_address[1]}{path}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _range(header: str, size: int) -> tuple[int, int]:
    """[start, end) that a Range header asks for; the whole when it asks for nothing that we know."""
    first, dash, last = header.removeprefix("bytes=").partition("-")
    if not dash or not first.isdecimal():
        return 0, size
    return int(first), min(int(last) + 1 if last.isdecimal() else size, size)
