"""A loopback HTTP proxy with a look at every request: counts them, or breaks something at one of them."""

import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs

HOP_BY_HOP = {"connection", "transfer-encoding"}


@dataclass(frozen=True)
class Request:
    """What a client sent; header names in any case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def action(self) -> str:
        """The SQS action: in the JSON protocol (X-Amz-Target) or the query protocol (Action=)."""
        target = self.headers.get("X-Amz-Target")
        if target:
            return target.rsplit(".", 1)[-1]
        return parse_qs(self.body.decode(errors="replace")).get("Action", ["unknown"])[0]


def nothing(*_: object) -> None:
    """The hook that does nothing."""


class Dropped(Exception):
    """Raised by a hook: the connection is cut in place of an answer."""


class Proxy:
    """Forwards to `upstream_port` on loopback, the Host header as it came (signatures cover it)."""

    def __init__(
        self,
        upstream_port: int,
        before: Callable[[Request], None] = nothing,
        after: Callable[[Request, int], None] = nothing,
    ) -> None:
        """`before` sees a request that was not forwarded yet; `after` also its status, before the client does."""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.command, self.path, self.headers, body)
                try:
                    before(request)
                    answer, payload = self._forward(body)
                    after(request, answer.status)
                    self._pass_on(answer, payload)
                except (Dropped, ConnectionError):
                    self.close_connection = True

            def _pass_on(self, answer: http.client.HTTPResponse, payload: bytes) -> None:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP | {"content-length"}:
                        self.send_header(name, value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST  # noqa: N815 - the names http.server calls

            def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
                upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=40)
                headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                payload = answer.read()
                upstream.close()
                return answer, payload

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
