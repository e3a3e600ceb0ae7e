"""kind, where a Docker daemon answers and kind is installed.

The node image is kind's own and is pulled by Docker.
"""

import shutil
import subprocess
from pathlib import Path

import yaml
from cluster import cache, layout

NAME = "academy-e2e"
UP_SECONDS = 900
QUICK_SECONDS = 60


def usable() -> bool:
    """Whether kind can run here."""
    if shutil.which("kind") is None or shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=QUICK_SECONDS, check=False)
    return asked.returncode == 0


def configuration() -> str:
    """Two nodes that take pods, and a controller manager that looks at autoscalers as often as ours."""
    period = {"name": "horizontal-pod-autoscaler-sync-period", "value": "2s"}
    patch = {
        "kind": "ClusterConfiguration",
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "controllerManager": {"extraArgs": [period]},
    }
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {"serviceSubnet": layout.SERVICE_CIDR},
            "kubeadmConfigPatches": [yaml.safe_dump(patch)],
            "nodes": [{"role": "control-plane"}, {"role": "worker"}, {"role": "worker"}],
        }
    )


class Kind:
    """A kind cluster of a name of its own."""

    bare = False
    equipped = False

    @property
    def kubeconfig(self) -> Path:
        """In the cache: kind writes it."""
        return cache.root() / "kind" / "kubeconfig"

    def up(self, *, tied: bool = False) -> None:  # noqa: ARG002
        """Make it anew."""
        self.down()
        self.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
        create = ["create", "cluster", "--name", NAME, "--kubeconfig", str(self.kubeconfig), "--config", "-"]
        subprocess.run(["kind", *create], input=configuration(), text=True, check=True, timeout=UP_SECONDS)
        # Tests speak to Services; a node passes that on. The route ends with the node's network.
        node = ["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", f"{NAME}-control-plane"]
        told = subprocess.run(["docker", *node], capture_output=True, text=True, check=True, timeout=QUICK_SECONDS)
        route = ["route", "replace", layout.SERVICE_CIDR, "via", told.stdout.strip()]
        subprocess.run(["ip", *route], check=True, timeout=QUICK_SECONDS)

    def load(self, archive: Path, *, only: str = "") -> None:
        """Into every node, or that one."""
        load = ["load", "image-archive", str(archive), "--name", NAME, *(["--nodes", only] if only else [])]
        subprocess.run(["kind", *load], check=True, timeout=UP_SECONDS)

    def down(self) -> None:
        """Delete it, when there is one, and the way to it."""
        subprocess.run(["ip", "route", "flush", layout.SERVICE_CIDR], check=True, timeout=QUICK_SECONDS)
        delete = ["delete", "cluster", "--name", NAME, "--kubeconfig", str(self.kubeconfig)]
        subprocess.run(["kind", *delete], check=True, timeout=UP_SECONDS)
