"""How the end-to-end tests reach a Service: with a stand-in for a cluster whose nodes hear of a change late."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import helm, kubectl
from platform_e2e import Platform

from academy_local import ports

LATE_SECONDS = 0.5


class Way:
    """To the pod of the one Service: it opens and closes a while after the Service is patched."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = int(self._listener.getsockname()[1])

    @property
    def leads(self) -> bool:
        return ports.accepts(self._port)

    def service(self, *_: Any) -> dict[str, Any]:
        return {"spec": {"clusterIP": "127.0.0.1", "ports": [{"port": self._port}]}}

    def patch(self, *arguments: str) -> str:
        nowhere = json.loads(arguments[-1])["spec"]["selector"]["nowhere"]
        threading.Timer(LATE_SECONDS, self.close if nowhere else self._open).start()
        return ""

    def close(self) -> None:
        self._listener.close()

    def _open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    made = Way()
    monkeypatch.setattr(kubectl.Kubectl, "get", lambda _, *what: made.service(*what))
    monkeypatch.setattr(kubectl.Kubectl, "__call__", lambda _, *arguments: made.patch(*arguments))
    yield made
    made.close()


def test_a_service_is_cut_off_for_as_long_as_the_context_lasts(way: Way, tmp_path: Path) -> None:
    """Not from a while after its beginning until a while after its end."""
    platform = Platform(kubectl.Kubectl(tmp_path), helm.Helm(tmp_path, "academy"))
    assert way.leads
    with platform.cut_off("academy-dev-store"):
        assert not way.leads
    assert way.leads
