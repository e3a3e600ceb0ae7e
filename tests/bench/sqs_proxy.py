"""A loopback proxy that counts SQS API calls by action, so that every contender is counted the same way."""

import http.client
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import parse_qs


class CountingProxy:
    """Forwards to `upstream_port` on loopback. `calls` maps action name to number of requests."""

    def __init__(self, upstream_port: int) -> None:
        self.calls: Counter[str] = Counter()
        self._lock = Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                proxy._count(action_of(self.headers.get("X-Amz-Target"), body))
                upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=40)
                headers = {k: v for k, v in self.headers.items() if k.lower() not in {"connection", "host"}}
                upstream.request("POST", self.path, body, headers | {"Host": self.headers["Host"]})
                answer = upstream.getresponse()
                payload = answer.read()
                upstream.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST  # noqa: N815 - the name http.server calls

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                """Stay quiet: the figures are the output."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        Thread(target=self._server.serve_forever, daemon=True).start()

    def _count(self, action: str) -> None:
        with self._lock:
            self.calls[action] += 1

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def action_of(target: str | None, body: bytes) -> str:
    """The SQS action of a request in the JSON protocol (X-Amz-Target) or the query protocol (Action=)."""
    if target:
        return target.rsplit(".", 1)[-1]
    return parse_qs(body.decode(errors="replace")).get("Action", ["unknown"])[0]
