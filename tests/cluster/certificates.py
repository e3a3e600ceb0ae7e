"""Keys, certificates and kubeconfigs of the test cluster: kubeadm's, and one more for kube-proxy."""

import base64
import subprocess
from pathlib import Path

import yaml
from cluster import layout

SECONDS = 60
DAYS = "30"


def make(programs: Path, state: Path, kubernetes: str) -> None:
    """Fill state/pki, state/admin.conf and each node's kubelet.conf and kube-proxy.conf."""
    for node in layout.NODES:
        wanted = state / node.name / "kubeadm.yaml"
        wanted.write_text(yaml.safe_dump_all(layout.kubeadm(state, node, kubernetes)), encoding="utf-8")
        if node.control_plane:
            _run(str(programs / "kubeadm"), "init", "phase", "certs", "all", "--config", str(wanted))
            for name in ("super-admin", "controller-manager", "scheduler"):
                _kubeconfig(programs, name, wanted, state)
        _kubeconfig(programs, "kubelet", wanted, state / node.name)
    # Its group is system:masters: it needs no role binding, so it works on an empty cluster.
    (state / "super-admin.conf").rename(state / "admin.conf")
    _kube_proxy(state)


def _run(*command: str) -> None:
    told = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if told.returncode:
        raise RuntimeError(f"{' '.join(command)}: {told.stderr}")


def _kubeconfig(programs: Path, name: str, wanted: Path, folder: Path) -> None:
    place = ("--config", str(wanted), "--kubeconfig-dir", str(folder))
    _run(str(programs / "kubeadm"), "init", "phase", "kubeconfig", name, *place)


def _kube_proxy(state: Path) -> None:
    """kubeadm would give kube-proxy a pod's token; ours runs outside of pods."""
    pki, own = state / "pki", state / "pki" / "kube-proxy"
    request = ["-subj", "/CN=system:kube-proxy", "-keyout", f"{own}.key", "-out", f"{own}.csr"]
    _run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", *request)
    authority = ["-CA", str(pki / "ca.crt"), "-CAkey", str(pki / "ca.key"), "-CAcreateserial", "-days", DAYS]
    _run("openssl", "x509", "-req", "-in", f"{own}.csr", "-out", f"{own}.crt", *authority)
    encoded = [
        base64.b64encode(Path(path).read_bytes()).decode() for path in (pki / "ca.crt", f"{own}.crt", f"{own}.key")
    ]
    for node in layout.NODES:
        target = state / node.name / "kube-proxy.conf"
        target.write_text(yaml.safe_dump(layout.kubeconfig(*encoded)), encoding="utf-8")
