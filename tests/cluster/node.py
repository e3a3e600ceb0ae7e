"""First process of a node: it lives in the node's own PID, mount, network, host name and IPC namespaces.

`namespaces` starts it (`python -m cluster.node NAME PROGRAMS STATE`). It prepares the namespaces, starts the
components in the order they need each other and then reaps whatever ends. When a component ends, it ends too, and the
kernel ends every process, mount and interface of the node with it: a broken cluster is a dead one.
"""

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path

from cluster import layout

START_SECONDS = 120
POLL_SECONDS = 0.05


class NotStarted(RuntimeError):
    """A component did not come up in time."""


class Components:
    """The processes started so far."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._names: dict[int, str] = {}

    def start(self, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start one, its output in a file of its name."""
        name = Path(command[0]).name
        with (self._log / f"{name}.log").open("ab") as output:
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        self._names[started.pid] = name
        return started

    def start_until(self, ready: Callable[[], bool], command: Sequence[str]) -> None:
        """Start it again while it ends before it is `ready`, as systemd does elsewhere. Raises NotStarted."""
        started = self.start(command)

        def lives() -> bool:
            nonlocal started
            if started.poll() is not None:
                del self._names[started.pid]
                started = self.start(command)
            return ready()

        _await(lives, Path(command[0]).name)

    def reap_until_one_ends(self) -> str:
        """Reap orphans of containers; the name of the first component that ends."""
        while True:
            pid, _ = os.wait()
            if pid in self._names:
                return self._names[pid]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _await(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            raise NotStarted(f"{what} within {START_SECONDS} s")
        time.sleep(POLL_SECONDS)


def _mounts(state: Path, folder: Path) -> None:
    """Make what the node writes outside its folder its own; /tmp, its volumes, all nodes share."""
    volumes, log, run = layout.OWN
    _run("mount", "--make-rprivate", "/")
    _run("mount", "--bind", str(state / "tmp"), volumes)
    _run("mount", "--bind", str(folder / "log"), log)
    _run("mount", "-t", "tmpfs", "tmpfs", run)
    _run("mount", "--make-rshared", "/")
    Path("/run/netns").mkdir()


def _network(of: layout.Node) -> None:
    _run("hostname", of.name)
    _run("ip", "link", "set", "lo", "up")
    _await(lambda: "eth0" in {name for _, name in socket.if_nameindex()}, "eth0")
    _run("ip", "addr", "add", f"{of.ip}/24", "dev", "eth0")
    _run("ip", "link", "set", "eth0", "up")
    _run("ip", "route", "add", "default", "via", layout.HOST_IP)
    for other in layout.NODES:
        if other != of:
            _run("ip", "route", "add", other.pod_cidr, "via", other.ip)
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        Path("/proc/sys", name).write_text("1", encoding="ascii")


def _answers(url: str) -> bool:
    insecure = ssl._create_unverified_context()  # noqa: S323 - it asks whether anything answers, no more
    try:
        with urllib.request.urlopen(url, timeout=2, context=insecure) as answer:  # noqa: S310 - loopback, by `main`
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False


def _control_plane(components: Components, programs: Path, state: Path) -> None:
    etcd = shutil.which("etcd")
    if etcd is None:
        raise NotStarted("etcd is not installed")
    components.start(layout.etcd_command(etcd, state))
    components.start(layout.apiserver_command(programs, state / "pki"))
    _await(lambda: _answers("https://127.0.0.1:6443/livez"), "kube-apiserver")
    # The controller manager gives up after 10 s without an API.
    components.start(layout.controller_manager_command(programs, state))
    components.start(layout.scheduler_command(programs, state))


def main(name: str, programs: Path, state: Path) -> None:
    """Run the node until a component ends or the namespace is killed."""
    of, folder = layout.node(name), state / name
    components = Components(folder / "log")
    _mounts(state, folder)
    _network(of)
    components.start(["containerd", "--config", str(folder / "containerd.toml")])
    if of.control_plane:
        _control_plane(components, programs, state)
    _await(Path(layout.CRI_SOCKET).exists, "containerd")
    components.start(layout.kube_proxy_command(programs, folder, of))
    # containerd listens a moment before it serves; a kubelet that asks in that moment ends.
    kubelet = layout.kubelet_command(programs, folder, of)
    components.start_until(lambda: _answers("http://127.0.0.1:10248/healthz"), kubelet)
    ended = components.reap_until_one_ends()
    sys.exit(f"{ended} ended: see {folder / 'log' / ended}.log")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
