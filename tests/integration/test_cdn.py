"""Cloudflare's purge adapter against a stand-in of its REST API, on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from academy_api.lectures.cdn import Cloudflare
from academy_core.errors import CdnUnavailable

ZONE = "023e105f4ecef8ad9ca31a8372d0c353"
TOKEN = "token-of-the-zone"
PREFIX = "media/hls/videos/lecture/publication/"


class Standin:
    """Answers POST /client/v4/zones/{zone}/purge_cache as Cloudflare documents it, or as `status` and `body` say."""

    def __init__(self) -> None:
        self.cached = {
            f"cdn.example.com/hls/{PREFIX}master.m3u8",
            f"cdn.example.com/hls/{PREFIX}720p/000000.m4s",
            "cdn.example.com/hls/media/hls/videos/lecture/publication2/master.m3u8",
        }
        self.status, self.body = 200, ""
        self.port = 0

    def answer(self, path: str, authorization: str | None, asked: Any) -> tuple[int, str]:
        if self.body or self.status != 200:
            return self.status, self.body
        if path != f"/client/v4/zones/{ZONE}/purge_cache" or authorization != f"Bearer {TOKEN}":
            return 403, failure(10000)
        if set(asked) != {"prefixes"} or not 0 < len(asked["prefixes"]) <= 30:
            return 400, failure(1012)
        if any("://" in prefix for prefix in asked["prefixes"]):
            return 400, failure(1147)
        gone = {
            url for url in self.cached for prefix in asked["prefixes"] if url == prefix or url.startswith(prefix + "/")
        }
        self.cached -= gone
        return 200, json.dumps({"success": True, "errors": [], "messages": [], "result": {"id": ZONE}})


def failure(code: int) -> str:
    return json.dumps({"success": False, "errors": [{"code": code, "message": "no"}], "messages": [], "result": None})


@contextmanager
def served(standin: Standin) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = standin.answer(self.path, self.headers.get("Authorization"), asked)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    standin.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@pytest.fixture
def standin() -> Iterator[Standin]:
    made = Standin()
    with served(made):
        yield made


def cloudflare(standin: Standin, token: str = TOKEN) -> Cloudflare:
    return Cloudflare(f"http://127.0.0.1:{standin.port}/client/v4/", ZONE, token, "https://cdn.example.com/hls/")


def test_a_publication_is_forgotten_and_its_neighbour_is_not(standin: Standin) -> None:
    cloudflare(standin).purge(PREFIX)
    assert standin.cached == {"cdn.example.com/hls/media/hls/videos/lecture/publication2/master.m3u8"}
    cloudflare(standin).purge(PREFIX)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, failure(971), "HTTP 429, errors [971]"),
        (500, "<html>oops</html>", "HTTP 500, errors []"),
        (200, failure(1012), "HTTP 200, errors [1012]"),
        (200, "[]", "HTTP 200, errors []"),
        (200, '{"success": "true"}', "HTTP 200, errors []"),
    ],
)
def test_anything_but_success_is_tried_again(standin: Standin, status: int, body: str, said: str) -> None:
    standin.status, standin.body = status, body
    with pytest.raises(CdnUnavailable) as failed:
        cloudflare(standin).purge(PREFIX)
    assert said in failed.value.detail


def test_a_refused_token_is_not_in_the_error(standin: Standin) -> None:
    with pytest.raises(CdnUnavailable) as failed:
        cloudflare(standin, "wrong-token").purge(PREFIX)
    assert "403" in failed.value.detail
    assert "wrong-token" not in repr(failed.value) + failed.value.detail


def test_an_api_that_cannot_be_reached_is_tried_again(free_port: int) -> None:
    unreachable = Cloudflare(f"http://127.0.0.1:{free_port}", ZONE, "token", "https://cdn.example.com")
    with pytest.raises(CdnUnavailable, match="ConnectError"):
        unreachable.purge(PREFIX)
