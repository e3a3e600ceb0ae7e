"""A Docker engine of one's own: what the real `skaffold build` is tried on. Nothing of it stays.

It has PID and mount namespaces of its own, so the end of one process ends every container and mount. The network is the
machine's, of which it touches nothing: no bridge, no firewall rule, no forwarding. Builds use that network as it is.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster import cache, cgroups, images, processes
from cluster.binaries import Unavailable
from support import wait_until

TOOLS = images.ROOT / ".tools" / "docker" / "usr"
CGROUP = "academy-docker"
DEBIAN = "docker.io/library/debian:trixie-slim"
"""As Dockerfile.base calls it: an image that is there is not pulled."""
START_SECONDS = 60
STOP_SECONDS = 60
CALL_SECONDS = 300
LAST_LINES = 20
# /run becomes its own: there are sockets of another engine, and what dockerd and runc leave. What the names of the
# network are resolved by may be there too.
IN_ITS_NAMESPACES = """
set -e
names=$(readlink -f /etc/resolv.conf)
cp "$names" "$0/resolv.conf"
mount -t tmpfs none /run
mkdir -p "$(dirname "$names")"
[ -e "$names" ] || cp "$0/resolv.conf" "$names"
exec "$@"
"""


class Engine:
    """A running engine, and the client that talks to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = _traces()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Of a program that calls `docker` or its socket. Its home is the engine's: what it remembers goes with it."""
        return {
            **os.environ,
            "PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self._folder / "home"),
            "DOCKER_HOST": f"unix://{self._folder / 'docker.sock'}",
            "DOCKER_CONFIG": str(self._folder / "client"),
        }

    def __call__(self, *arguments: str) -> str:
        """`docker` with these arguments; what it printed. RuntimeError with what it said."""
        told = subprocess.run(
            ["docker", *arguments], env=self.environment, capture_output=True, text=True, timeout=CALL_SECONDS,
            check=False,
        )  # fmt: skip
        if told.returncode:
            raise RuntimeError(f"docker {' '.join(arguments)}:\n{told.stdout}{told.stderr}")
        return told.stdout

    def up(self, buildx: Path) -> None:
        """Start it and give it Debian. `buildx` is the client's plug-in for BuildKit."""
        self.down()  # of a run that was killed
        for name in ("home", "client/cli-plugins"):
            (self._folder / name).mkdir(parents=True)
        (self._folder / "client" / "cli-plugins" / "docker-buildx").symlink_to(buildx)
        # `docker build` is buildx, as in every newer client.
        (self._folder / "client" / "config.json").write_text(json.dumps({"aliases": {"builder": "buildx"}}))
        (self._folder / "dockerd.json").write_text("{}")
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": f"{TOOLS / 'sbin'}:{TOOLS / 'bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"},
                start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(self._answers, START_SECONDS, "dockerd answers", lambda: self._running)
        except AssertionError as late:
            said = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
            raise RuntimeError("\n".join(["no Docker engine:", *said])) from late
        self._load_debian()

    def down(self) -> None:
        """End it; remove its images, its cgroups and all it wrote."""
        if self._process is not None:
            for child in self._children():
                os.kill(child, signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
        cgroups.remove(CGROUP)
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def leftovers(self) -> list[str]:
        """What of it is on this machine; empty after `down`."""
        mine = str(self._folder)
        found = processes.traces(mine)
        found += [f"cgroup {group}" for group in cgroups.found(CGROUP)]
        found += [f"folder {mine}"] if self._folder.exists() else []
        return found + sorted(_traces() - self._before)

    @property
    def _log(self) -> Path:
        return self._folder / "dockerd.log"

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _command(self) -> list[str]:
        own = [
            "dockerd",
            f"--host=unix://{self._folder / 'docker.sock'}",
            f"--data-root={self._folder / 'data'}",
            f"--exec-root={self._folder / 'exec'}",
            f"--pidfile={self._folder / 'dockerd.pid'}",
            # Not the machine's own /etc/docker/daemon.json.
            f"--config-file={self._folder / 'dockerd.json'}",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--userland-proxy=false",
            "--exec-opt=native.cgroupdriver=cgroupfs",
            f"--cgroup-parent=/{CGROUP}",
        ]
        apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
        return ["setpriv", "--pdeathsig=KILL", "--", *apart, "sh", "-c", IN_ITS_NAMESPACES, str(self._folder), *own]

    def _answers(self) -> bool:
        try:
            self("version")
        except RuntimeError:
            return False
        return True

    def _children(self) -> list[int]:
        """The first process of its namespaces: with it all others end."""
        if not self._running or self._process is None:
            return []
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]

    def _load_debian(self) -> None:
        """The stand-in that buildah's builds have, and in it the machine's certificate authorities.

        A registry behind a private one is reached so; the engine's images go nowhere.
        """
        archive = self._folder / "debian.tar"
        images.debian(archive)
        self("load", "--quiet", "--input", str(archive))
        archive.unlink()
        container = self("create", "--network=none", images.BASE, "true").strip()
        if images.AUTHORITIES.exists():
            self("cp", str(images.AUTHORITIES), f"{container}:{images.AUTHORITIES}")
        self("commit", container, DEBIAN)
        self("rm", container)


@contextmanager
def engine(buildx: Path) -> Iterator[Engine]:
    """An engine, the only one of ours on this machine at a time. Raises Unavailable."""
    _check()
    with cache.locked(cache.root() / "docker") as place:
        found = Engine(place / "engine")
        try:
            found.up(buildx)
            yield found
        finally:
            found.down()


def _check() -> None:
    """Everything that a machine may lack, in one message."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    programs = ("containerd", "runc", "unshare", "setpriv", "iptables-save", "ip6tables-save")
    lacking = [name for name in programs if shutil.which(name, path=path) is None]
    lacking += [name for name in ("sbin/dockerd", "bin/docker") if not (TOOLS / name).exists()]
    if os.geteuid() != 0:
        lacking.append("root: it mounts file systems")
    if lacking:
        raise Unavailable(f"no Docker engine can run here; it lacks {', '.join(lacking)}. services/local/setup.sh e2e")


def _traces() -> set[str]:
    """What engines leave on a machine beside their own folders: this one may add nothing to it."""
    found = {f"ip_forward {Path('/proc/sys/net/ipv4/ip_forward').read_text(encoding='ascii').strip()}"}
    found |= {f"interface {link.name}" for link in Path("/sys/class/net").glob("docker*")}
    found |= {f"folder /run/{name}" for name in ("docker", "containerd", "runc") if Path("/run", name).exists()}
    found |= {f"service {unit}" for unit in Path("/etc/systemd/system").glob("*.wants/docker.*")}
    for program in ("iptables-save", "ip6tables-save"):
        told = subprocess.run(
            [program], env={"PATH": "/usr/sbin:/sbin"}, capture_output=True, text=True, timeout=CALL_SECONDS, check=True
        )
        found |= {f"{program} {line}" for line in told.stdout.splitlines() if "DOCKER" in line}
    return found
