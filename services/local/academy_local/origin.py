"""The playback origin: what Cloudflare's CDN and edge worker are in production (S-3), on one machine.

`python -m academy_local.origin PORT` serves /hls/<key> from the video bucket to whoever holds a signed URL. It runs the
same verifier as the signer's tests (academy_core.playback), hands the query on to every URI of a playlist, answers
ranges, and lets pages of any origin read (the signature is the permission).
"""

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from academy_core import playback
from academy_core.errors import AcademyError
from academy_core.settings import PlaybackSettings, load
from academy_core.store import ObjectStore, R2Store
from academy_local import ports

BASE = "/hls/"
PLAYLIST = ".m3u8"
CONTENT_TYPES = {
    PLAYLIST: "application/vnd.apple.mpegurl",
    ".mp4": "video/mp4",
    ".m4s": "video/iso.segment",
    ".jpg": "image/jpeg",
    ".vtt": "text/vtt; charset=utf-8",
}
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Content-Length, Content-Range, ETag",
}
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Max-Age": "86400",
}
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: HTTPStatus
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def answer(store: ObjectStore, keyring: playback.Keyring, target: str, wanted: str | None, now: float) -> Answer:
    """Serve the request target (raw path and query) with an optional Range header, at Unix time `now`."""
    parts = urlsplit(target)
    if not parts.path.startswith(BASE):
        return Answer(HTTPStatus.NOT_FOUND)
    try:
        key, _ = playback.admit(keyring, parts.path.removeprefix(BASE), parts.query, now)
        if key.endswith(PLAYLIST):
            return _playlist(store.get(key), parts.query)
        return _file(store, key, wanted)
    except AcademyError as error:
        return Answer(error.status, {"Content-Type": "text/plain; charset=utf-8"}, error.reason.en.encode())


def _playlist(stored: bytes, query: str) -> Answer:
    body = playback.append_query(stored.decode(), query).encode()
    # A growing playlist is read anew every few seconds.
    return Answer(HTTPStatus.OK, {"Content-Type": CONTENT_TYPES[PLAYLIST], "Cache-Control": "no-cache"}, body)


def _file(store: ObjectStore, key: str, wanted: str | None) -> Answer:
    suffix = key[key.rfind(".") :]
    found = store.head(key)
    headers = {
        "Content-Type": CONTENT_TYPES.get(suffix, "application/octet-stream"),
        # Names carry their content's hash: what is under a name never changes.
        "Cache-Control": "private, max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "ETag": f'"{found.etag}"',
    }
    span = byte_range(wanted, found.size)
    if span is None:
        return Answer(HTTPStatus.OK, headers, store.get(key))
    start, end = span
    if start >= end:
        return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers | {"Content-Range": f"bytes */{found.size}"})
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.size}"
    return Answer(HTTPStatus.PARTIAL_CONTENT, headers, store.get_range(key, start, end))


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, end) of a Range header over `size` bytes; None to send all; empty (start ≥ end) when unsatisfiable.

    As RFC 9110 allows, what is no single valid byte range is ignored.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first == "":
        return max(0, size - int(last)), size
    if last != "" and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1 if last else size)


class Handler(BaseHTTPRequestHandler):
    """Carries requests to `answer`."""

    protocol_version = "HTTP/1.1"
    store: ObjectStore
    keyring: playback.Keyring

    def do_GET(self) -> None:
        """Answer with a body."""
        self._send(answer(self.store, self.keyring, self.path, self.headers.get("Range"), time.time()))

    def do_HEAD(self) -> None:
        """Answer with the headers alone."""
        self._send(answer(self.store, self.keyring, self.path, None, time.time()), body=False)

    def do_OPTIONS(self) -> None:
        """Answer a browser's preflight."""
        self._send(Answer(HTTPStatus.NO_CONTENT, PREFLIGHT))

    def _send(self, answer: Answer, *, body: bool = True) -> None:
        self.send_response(answer.status)
        for name, value in {**answer.headers, **CORS}.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if body:
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log without the query: it holds the viewer's signature."""
        sys.stderr.write(re.sub(r"\?[^ ]*", "", format % args) + "\n")


class Server(ThreadingHTTPServer):
    """A thread a connection, none of which holds up the end of the process."""

    daemon_threads = True


def main(port: int) -> None:
    """Serve until a signal ends the process."""
    settings = load(PlaybackSettings)
    keyring = settings.keyring()
    if keyring is None:
        raise SystemExit("CDN_HLS_SIGNING_SECRET is not set: the origin serves signed URLs only")
    Handler.store = R2Store(settings, settings.R2_VIDEO_BUCKET)
    Handler.keyring = keyring
    Server((ports.HOST, port), Handler).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
