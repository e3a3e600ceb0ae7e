"""A page that plays a lecture in headless Chromium with hls.js, and what it tells of itself.

Nothing drives the browser: the page (tests/browser/player.html) is served with the lecture from one loopback server and
reports to it. The lecture is served by the embedded platform's origin, so signatures and playlists are those of a
viewer; the browser itself can reach nothing but that server.
"""

import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support import wait_until

from academy_core import playback
from academy_core.store import ObjectStore
from academy_local import origin

PAGES = Path(__file__).parent / "browser"
HLS_JS = Path(__file__).parents[1] / ".tools" / "browser" / "node_modules" / "hls.js" / "dist" / "hls.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
KEYRING = playback.Keyring(playback.Key("v1", "the browser tests' own signing secret"))

needed = pytest.mark.skipif(
    CHROMIUM is None or not HLS_JS.exists(),
    reason="chromium or hls.js is not installed: `make setup` says what it could not install",
)


@dataclass
class Player:
    """What is played, what was asked for, and what the page reported."""

    store: ObjectStore
    prefix: str
    """The publication's."""
    grant_seconds: float = 3600.0
    """How long a playback address lasts."""
    reports: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[str, int, float]] = field(default_factory=list)
    """(path below the publication, status, when) of everything the page asked for there, playlists and segments."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The reports of one kind, in order."""
        return [report for report in self.reports if report["kind"] == kind]

    @property
    def at(self) -> float:
        """Where the picture stands, in seconds of the lecture."""
        return max((float(report["at"]) for report in self.reports), default=0.0)

    def fatal(self) -> list[dict[str, Any]]:
        """Errors from which the player did not recover."""
        return [report for report in self.of("error") if report["fatal"]]

    def wait(self, condition: Callable[[], bool], seconds: float, message: str) -> None:
        """Wait for what the page reports; AssertionError at once when it gave up."""
        wait_until(condition, seconds, message, lambda: not self.fatal())

    def address(self) -> dict[str, Any]:
        """A fresh playback address, and when the page asks for the next."""
        expires = int(time.time() + self.grant_seconds)
        query = playback.signed_query(KEYRING.signing, playback.Grant(self.prefix, expires, "viewer"))
        renew_at = time.time() + self.grant_seconds / 2
        return {"path": f"{origin.BASE}{self.prefix}master.m3u8?{query}", "renew_at": renew_at}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    player: Player

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/player.html":
            self._send(HTTPStatus.OK, "text/html", (PAGES / "player.html").read_bytes())
        elif path == "/hls.js":
            self._send(HTTPStatus.OK, "text/javascript", HLS_JS.read_bytes())
        elif path == "/grant":
            address = self.player.address()
            address["url"] = f"http://{self.headers['Host']}{address['path']}"
            self._send(HTTPStatus.OK, "application/json", json.dumps(address).encode())
        elif path.startswith(origin.BASE):
            found = origin.answer(self.player.store, KEYRING, self.path, self.headers.get("Range"), time.time())
            self.player.answers.append((path.rpartition(self.player.prefix)[2], found.status, time.time()))
            self._send(found.status, found.headers.get("Content-Type", "text/plain"), found.body)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"")

    def do_POST(self) -> None:
        self.player.reports.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send(HTTPStatus.NO_CONTENT, "text/plain", b"")

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Cache-Control", "no-store")
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
        """Keep quiet: `Player.answers` has the requests."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that ends cuts its connections; nothing of that is news."""


@contextmanager
def playing(player: Player, profile: Path, query: str) -> Iterator[None]:
    """The page plays `player`'s lecture while the block runs. `profile`: an empty folder for the browser."""
    handler = type("Handler", (_Handler,), {"player": player})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    page = f"http://127.0.0.1:{server.server_address[1]}/player.html?{query}"
    try:
        with (
            (profile / "chromium.log").open("wb") as log,
            # It keeps a socket where temporary files are, and is killed before it would remove it.
            tempfile.TemporaryDirectory(prefix="browser-") as temporary,
        ):
            environment = {**os.environ, "TMPDIR": temporary}
            command = _command(profile, page)
            browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
            try:
                yield
            finally:
                _end(browser)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def _command(profile: Path, page: str) -> list[str]:
    assert CHROMIUM is not None
    return [
        CHROMIUM,
        "--headless=new",
        # The sandbox wants an unprivileged user; what is loaded here is ours alone.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--mute-audio",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--autoplay-policy=no-user-gesture-required",
        f"--user-data-dir={profile / 'profile'}",
        page,
    ]


def _end(browser: "subprocess.Popen[bytes]") -> None:
    """End the browser with all its processes, which are one group."""
    os.killpg(browser.pid, 9)
    browser.wait(30)
