"""A proxy in front of the S3 emulator that makes the faults R2 has: 503, 429, slow, cut and lost answers.

Which request gets which fault is drawn from a seed, so that a run can be repeated; threads may take turns otherwise,
the drawn sequence stays.
"""

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

FAULTS = ("503", "429", "slow", "cut-answer", "cut-request", "lost-answer")
"""lost-answer: the request is done, but its answer never comes. cut-request: the connection ends before it is done."""
_SLOW_SECONDS = 1.0
_PIECES = 10


class FaultProxy:
    """Forwards to `upstream`; `share` of the requests meet a fault. `met` counts them by kind, `calls` all requests."""

    def __init__(self, upstream: str, seed: int, share: float, faults: tuple[str, ...] = FAULTS) -> None:
        self.share = share
        self.met: Counter[str] = Counter()
        self.calls = 0
        self._faults = faults
        self._random = random.Random(seed)  # noqa: S311 - a drill that can be repeated
        self._lock = threading.Lock()
        self._upstream = urlsplit(upstream)
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        """Value of R2_ENDPOINT."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def draw(self) -> str:
        """The next request's fault, empty for none."""
        with self._lock:
            self.calls += 1
            hit = self._random.random() < self.share
            fault = self._random.choice(self._faults) if hit else ""
            self.met.update([fault] if hit else [])
        return fault

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, list[Any], bytes]:
        """Do the request upstream; status, headers, body."""
        connection = http.client.HTTPConnection(str(self._upstream.netloc), timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients whose connections were cut cut theirs; nothing of that is news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _any(self) -> None:
        fault = self.proxy.draw()
        if fault == "cut-request":
            self._hang_up()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if fault in {"503", "429"}:
            self._refuse(int(fault))
            return
        status, headers, payload = self.proxy.forward(self.command, self.path, dict(self.headers.items()), body)
        if fault == "lost-answer":
            self._hang_up()
            return
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding", "content-length", "date", "server"}:
                self.send_header(name, value)
        length = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(payload))
        self.send_header("Content-Length", length)
        self.end_headers()
        self._write(b"" if self.command == "HEAD" else payload, fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any  # noqa: N815 - the names http.server calls

    def _write(self, payload: bytes, fault: str) -> None:
        if fault == "cut-answer":
            self.wfile.write(payload[: len(payload) // 2])
            self._hang_up()
        elif fault == "slow":
            size = max(1, -(-len(payload) // _PIECES))
            for start in range(0, len(payload), size):
                time.sleep(_SLOW_SECONDS / _PIECES)
                self.wfile.write(payload[start : start + size])
        else:
            self.wfile.write(payload)

    def _refuse(self, status: int) -> None:
        code = {503: "SlowDown", 429: "TooManyRequests"}[status]
        body = b"" if self.command == "HEAD" else f"<Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(2)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
        """Keep quiet: `met` says what happened."""


@contextmanager
def faulty(upstream: str, seed: int, share: float, faults: tuple[str, ...] = FAULTS) -> Iterator[FaultProxy]:
    """A proxy that is closed at the end."""
    proxy = FaultProxy(upstream, seed, share, faults)
    try:
        yield proxy
    finally:
        proxy.close()
