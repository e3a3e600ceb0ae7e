"""The controllers that end namespaces and collect what has an owner: kube-controller-manager, beside the apiserver."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from cluster import binaries

from academy_local import ports, processes

START_SECONDS = 60
CONTROLLERS = ("namespace-controller", "garbage-collector-controller")


def program() -> Path:
    """kube-controller-manager, from where kube-apiserver comes too. Raises binaries.Unavailable."""
    given = os.environ.get("KUBEBUILDER_ASSETS")
    return (Path(given) if given else binaries.ensure("kube-controller-manager")) / "kube-controller-manager"


@contextmanager
def running(kubeconfig: Path, folder: Path) -> Iterator[None]:
    """They run, as the kubeconfig's user, until the block ends."""
    (port,) = ports.free(1)
    command = processes.Command(
        (
            str(program()),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--controllers={','.join(CONTROLLERS)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder / 'certificates'}",
            "--concurrent-namespace-syncs=10",
        ),
        grace_seconds=2.0,
    )
    child = processes.Child(command, folder / "controllers.log")
    try:
        child.wait_ready(lambda: _healthy(port), START_SECONDS)
        yield
    finally:
        child.stop()


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"https://127.0.0.1:{port}/healthz", verify=False, timeout=2).status_code == httpx.codes.OK  # noqa: S501
    except httpx.HTTPError:
        return False
