"""A worker tells Kubernetes that it is busy: the newest state, seldom, and never at the work's expense."""

import json
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import wait_until

from academy_core import deletion_cost
from academy_core.deletion_cost import BUSY, IDLE, Reporter

PATH = "/api/v1/namespaces/academy/pods/academy-video-worker-x"


LONG = 20.0


class Patches:
    """Records when which value was sent; fails the first `failing` times."""

    def __init__(self, failing: int = 0) -> None:
        self.sent: list[str] = []
        self.times: list[float] = []
        self._failing = failing

    def __call__(self, value: str) -> None:
        self.times.append(time.monotonic())
        if self._failing:
            self._failing -= 1
            raise httpx.ConnectError("no apiserver")
        self.sent.append(value)


def within_a_pause(reporter: Reporter, *changes: bool) -> None:
    """Tell changes between which the reporter does not look, however long this thread stands still."""
    with reporter._changed:
        for busy in changes:
            reporter(busy)


def test_changes_are_coalesced_and_the_last_one_is_told() -> None:
    patches = Patches()
    reporter = Reporter(patches, apart=0.3)
    reporter(True)
    wait_until(lambda: patches.sent == [BUSY], LONG, "busy was not told")
    within_a_pause(reporter, False, True, False, True, False)
    wait_until(lambda: patches.sent[-1] == IDLE, LONG, "idle was not told")
    reporter.close()
    assert patches.sent == [BUSY, IDLE]
    assert patches.times[1] - patches.times[0] >= 0.3


def test_busy_and_idle_again_within_the_pause_tells_nothing() -> None:
    patches = Patches()
    reporter = Reporter(patches, apart=0.2)
    reporter(True)
    wait_until(lambda: patches.sent == [BUSY], LONG, "busy was not told")
    within_a_pause(reporter, False, True, False, True)
    # The state that was sent is the state that is: the next change alone is told.
    threading.Timer(0.5, reporter, [False]).start()
    wait_until(lambda: len(patches.sent) > 1, LONG, "the change was not told")
    reporter.close()
    assert patches.sent == [BUSY, IDLE]


def test_a_failure_is_tried_again_with_what_is_true_by_then() -> None:
    patches = Patches(failing=2)
    reporter = Reporter(patches, apart=0.05)
    reporter(True)
    wait_until(lambda: patches.sent == [BUSY], LONG, "never told")
    reporter.close()
    assert len(patches.times) == 3


def test_telling_does_not_wait_for_the_apiserver() -> None:
    asked, answered, told = threading.Event(), threading.Event(), threading.Event()

    def slow(_value: str) -> None:
        asked.set()
        answered.wait(LONG)
        told.set()

    reporter = Reporter(slow)
    reporter(True)
    assert asked.wait(LONG)
    for busy in (False, True):
        reporter(busy)
    assert not told.is_set()
    answered.set()
    reporter.close()


def test_outside_a_cluster_nobody_is_told() -> None:
    with deletion_cost.reported(None) as activity:
        activity(True)


class _Apiserver(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], self.headers["Content-Type"], body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def apiserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Something that speaks the kube-apiserver's TLS, and the account that the kubelet mounts."""
    certificate, key = tmp_path / "ca.crt", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=kubernetes"]
    make += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    (tmp_path / "token").write_text("the-token\n")
    (tmp_path / "namespace").write_text("academy")
    server = HTTPServer(("127.0.0.1", 0), _Apiserver)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    asked: list[Any] = []
    server.asked = asked  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(deletion_cost, "ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    yield asked
    server.shutdown()
    server.server_close()


def test_the_pods_own_annotation_is_patched_with_the_pods_own_token(apiserver: list[Any]) -> None:
    with deletion_cost.reported("academy-video-worker-x") as activity:
        activity(True)
        wait_until(lambda: bool(apiserver), LONG, "nobody was asked")
    ((path, authorization, kind, body),) = apiserver
    assert (path, authorization, kind) == (PATH, "Bearer the-token", "application/merge-patch+json")
    assert body == {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": BUSY}}}
