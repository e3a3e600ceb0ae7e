"""A real kube-apiserver over etcd, in the manner of envtest: no nodes, no controllers, one set for a test run.

kube-apiserver comes from KUBEBUILDER_ASSETS, else from the cache of `binaries`, which `make e2e` fills; etcd is
Debian's. The servers are held by a process of their own (`python -m cluster.apiserver FOLDER WATCHED_PID …`), shared
by all processes of the run, and stopped when the run ends, however it ends.
"""

import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from cluster import binaries
from cluster.binaries import Unavailable

from academy_local import ports, processes

START_SECONDS = 120
ADMIN_TOKEN = "admin-of-a-throw-away-server"
OPERATOR_TOKEN = "operator-of-a-throw-away-server"
OPERATOR_USER = "system:serviceaccount:academy-system:academy-operator"


@dataclass(frozen=True)
class Programs:
    """Paths of the two servers."""

    etcd: str
    apiserver: str


def programs() -> Programs:
    """The two servers. Raises Unavailable; only `make e2e` builds what is missing."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    if given:
        return Programs(f"{given}/etcd", f"{given}/kube-apiserver")
    etcd = shutil.which("etcd")
    if etcd is None:
        raise Unavailable("no etcd: apt-get install etcd-server")
    if binaries.missing("kube-apiserver") and os.environ.get("ACADEMY_E2E") != "1":
        raise Unavailable("no kube-apiserver: run `make e2e`, which builds it, or set KUBEBUILDER_ASSETS")
    return Programs(etcd, str(binaries.ensure("kube-apiserver") / "kube-apiserver"))


@dataclass(frozen=True)
class ApiServer:
    """Addresses and credentials, as FOLDER/server.json holds them."""

    url: str
    certificate: str

    def kubeconfig(self, folder: Path, token: str, name: str) -> Path:
        """A kubeconfig for one of the two tokens."""
        path = folder / f"{name}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority": self.certificate}}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path


def ensure(folder: Path, watched: int) -> ApiServer:
    """Start the servers once a run; their addresses when they are ready."""
    servers = programs()
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / "server.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            read, write = os.pipe()
            holder = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "cluster.apiserver",
                    str(folder),
                    str(watched),
                    servers.etcd,
                    servers.apiserver,
                    str(write),
                ],
                cwd=Path(__file__).parents[1],
                start_new_session=True,
                pass_fds=[write],
            )
            os.close(write)
            ready, _, _ = select.select([read], [], [], START_SECONDS)
            answer = os.read(read, 1) if ready else b""
            os.close(read)
            if answer != b"1":
                holder.terminate()
                raise RuntimeError(f"kube-apiserver did not start: {folder}")
    return ApiServer(**json.loads(found.read_text(encoding="utf-8")))


def etcd_command(program: str, folder: Path, client: int, peer: int) -> processes.Command:
    """An etcd that forgets."""
    urls = {"client": f"http://127.0.0.1:{client}", "peer": f"http://127.0.0.1:{peer}"}
    return processes.Command(
        (
            program,
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={urls['client']}",
            f"--advertise-client-urls={urls['client']}",
            f"--listen-peer-urls={urls['peer']}",
            f"--initial-advertise-peer-urls={urls['peer']}",
            f"--initial-cluster=default={urls['peer']}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        grace_seconds=2.0,
    )


def apiserver_command(program: str, folder: Path, etcd: int, port: int) -> processes.Command:
    """A kube-apiserver with RBAC and two users."""
    return processes.Command(
        (
            program,
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder / 'certificates'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={folder / 'sa.pub'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
        ),
        grace_seconds=2.0,
    )


def _prepare(folder: Path) -> None:
    subprocess.run(["openssl", "genrsa", "-out", str(folder / "sa.key"), "2048"], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "rsa", "-in", str(folder / "sa.key"), "-pubout", "-out", str(folder / "sa.pub")],
        check=True,
        capture_output=True,
    )
    lines = [f'{ADMIN_TOKEN},admin,admin,"system:masters"', f"{OPERATOR_TOKEN},{OPERATOR_USER},operator"]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _answers(url: str, certificate: Path, headers: Mapping[str, str]) -> bool:
    if not certificate.exists():
        return False
    try:
        return httpx.get(url, verify=False, headers=dict(headers), timeout=2.0).status_code == httpx.codes.OK  # noqa: S501
    except httpx.HTTPError:
        return False


def hold(folder: Path, watched: int, servers: Programs, ready_fd: int) -> None:
    """Run both servers until `watched` ends."""
    watched_fd = os.pidfd_open(watched)
    client, peer, port = ports.free(3)
    certificate = folder / "certificates" / "apiserver.crt"
    url = f"https://127.0.0.1:{port}"
    children: list[processes.Child] = []
    try:
        _prepare(folder)
        etcd = processes.Child(etcd_command(servers.etcd, folder, client, peer), folder / "etcd.log")
        children.append(etcd)
        etcd.wait_ready(lambda: ports.accepts(client), START_SECONDS)
        apiserver = processes.Child(
            apiserver_command(servers.apiserver, folder, client, port), folder / "apiserver.log"
        )
        children.append(apiserver)
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        apiserver.wait_ready(lambda: _answers(f"{url}/readyz", certificate, headers), START_SECONDS)
        (folder / "server.json").write_text(json.dumps({"url": url, "certificate": str(certificate)}), encoding="utf-8")
        os.write(ready_fd, b"1")
        os.close(ready_fd)
        select.select([watched_fd], [], [])
    finally:
        for child in reversed(children):
            child.stop()
        shutil.rmtree(folder)
        with suppress(OSError):  # the run's last server removes the run's folder
            folder.parent.rmdir()


if __name__ == "__main__":
    hold(Path(sys.argv[1]), int(sys.argv[2]), Programs(sys.argv[3], sys.argv[4]), int(sys.argv[5]))
