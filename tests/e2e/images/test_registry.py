"""Images for a cluster of one's own go to the registry that its nodes pull from: tested with a stand-in of one."""

import json
import os
import re
import threading
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cluster import given, images

pytestmark = pytest.mark.skipif(os.environ.get("ACADEMY_E2E") != "1", reason="builds images: make e2e")


class Registry(ThreadingHTTPServer):
    """Keeps what is pushed (OCI distribution specification 1.1, the part that a push needs)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, dict[str, object]] = {}


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        self._say(HTTPStatus.OK if self.path == "/v2/" else HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:
        known = self.path.rpartition("/")[2] in self.server.blobs
        self._say(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        self._body()
        self._say(HTTPStatus.ACCEPTED, Location=f"{self.path}{uuid.uuid4().hex}")

    def do_PATCH(self) -> None:
        self.server.blobs[self.path] = self.server.blobs.get(self.path, b"") + self._body()
        self._say(HTTPStatus.ACCEPTED, Location=self.path, Range=f"0-{len(self.server.blobs[self.path]) - 1}")

    def do_PUT(self) -> None:
        body = self._body()
        where, _, digest = self.path.partition("?digest=")
        if digest:
            self.server.blobs[digest.replace("%3A", ":")] = self.server.blobs.pop(where, b"") + body
        else:
            self.server.manifests[where] = json.loads(body)
        self._say(HTTPStatus.CREATED, Location=where)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _say(self, status: HTTPStatus, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class
        """Keep quiet."""


@pytest.fixture
def local() -> str:
    """A small image under its name on this machine."""
    return images.build("academy-base")


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """A registry without TLS, named in E2E_REGISTRY's place and known to buildah as such."""
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host = f"127.0.0.1:{server.server_address[1]}"
    settings = tmp_path / "registries.conf"
    settings.write_text(f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(settings))
    monkeypatch.setattr(images, "REGISTRY", f"{host}/team")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_image_reaches_the_registry_whole(local: str, registry: Registry, tmp_path: Path) -> None:
    name = "academy-base"
    images.buildah("tag", local, images.reference(name))
    archive = tmp_path / f"{name}.tar"
    try:
        images.buildah("push", "--quiet", images.reference(name), f"docker-archive:{archive}:{images.reference(name)}")
        given.Given(tmp_path / "kubeconfig").load(archive)
    finally:
        images.buildah("rmi", images.reference(name))
    ((path, manifest),) = registry.manifests.items()
    assert re.fullmatch(rf"/v2/team/{name}/manifests/{images.tag(name)}", path)
    layers = manifest["layers"]
    assert isinstance(layers, list)
    assert len(layers) == len(images.layers(local))
    assert {layer["digest"] for layer in layers} <= registry.blobs.keys()
