"""Programs of the test cluster, compiled from pinned Go modules: once a machine, kept in the user's cache.

`tools/go.mod` states the versions of Kubernetes, KEDA and CoreDNS; its go.sum and our own small programs are the key
under which the results are kept. metrics-server is built inside its own module, with its own go.sum.
"""

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import cache

TOOLS = Path(__file__).parent / "tools"
KEDA = "github.com/kedacore/keda/v2"
METRICS_SERVER = "sigs.k8s.io/metrics-server@v0.9.0"
BUILD_SECONDS = 3600
DOWNLOAD_SECONDS = 600


class Unavailable(RuntimeError):
    """Something that the test cluster needs is not on this machine; the message says what and how to get it."""


@dataclass(frozen=True)
class Source:
    """What a program is compiled from."""

    package: str
    stamps: Mapping[str, str]
    """Variables set at link time: without them Kubernetes and KEDA report no version."""
    module: str = ""
    """A module that is built in its own folder, with its own go.sum; else it is one of `tools`."""


def version(module: str) -> str:
    """Of a module that tools/go.mod requires, with its leading v."""
    text = (TOOLS / "go.mod").read_text(encoding="utf-8")
    found = re.search(rf"^\t{re.escape(module)} (v\S+)$", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"tools/go.mod requires no {module}")
    return found[1]


def kubernetes_version() -> str:
    """For instance v1.35.4."""
    return version("k8s.io/kubernetes")


def keda_version() -> str:
    """For instance v2.20.2."""
    return version(KEDA)


@functools.cache
def sources() -> Mapping[str, Source]:
    """Every program there is, by the name of its file."""
    kubernetes = kubernetes_version()
    major, minor, _ = kubernetes.removeprefix("v").split(".")
    of_kubernetes = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": kubernetes,
    }
    of_keda = {"github.com/kedacore/keda/v2/version.Version": keda_version().removeprefix("v")}
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubeadm")
    return {
        **{name: Source(f"k8s.io/kubernetes/cmd/{name}", of_kubernetes) for name in names},
        "keda": Source("github.com/kedacore/keda/v2/cmd/operator", of_keda),
        "keda-adapter": Source("github.com/kedacore/keda/v2/cmd/adapter", of_keda),
        "keda-admission-webhooks": Source("github.com/kedacore/keda/v2/cmd/webhooks", of_keda),
        "coredns": Source("./coredns", {}),
        "pause": Source("./pause", {}),
        "metrics-server": Source("./cmd/metrics-server", {}, module=METRICS_SERVER),
    }


def folder() -> Path:
    """Where the programs of this go.sum are kept, built or not."""
    own = sorted(TOOLS.glob("*/main.go"))
    return cache.root() / "cluster" / cache.key(METRICS_SERVER, files=[TOOLS / "go.mod", TOOLS / "go.sum", *own])


def missing(*names: str) -> list[str]:
    """Which of these programs, or of all, are still to be built."""
    return [name for name in names or sources() if not (folder() / name).exists()]


def ensure(*names: str) -> Path:
    """Build what is missing of these programs, or of all; the folder they are in. Minutes, once. Raises Unavailable."""
    if missing(*names):
        require_go()
        with cache.locked(folder()) as place:
            for name in missing(*names):
                print(f"building {name}: once for this go.sum", flush=True)  # noqa: T201  (minutes without a word)
                build(place, name, sources()[name])
    return folder()


def keda_manifests() -> Path:
    """KEDA's own kustomize folder, `config`, of the version we compile."""
    with cache.locked(folder()) as place:
        kept = place / "keda-config"
        if not kept.exists():
            shutil.rmtree(place / "keda-config.new", ignore_errors=True)
            shutil.copytree(_module(f"{KEDA}@{keda_version()}") / "config", place / "keda-config.new")
            (place / "keda-config.new").rename(kept)
    return kept


def require_go() -> None:
    """Raises Unavailable where nothing can be compiled."""
    if shutil.which("go") is None:
        raise Unavailable("the programs of the test cluster are compiled: install Go 1.26 (https://go.dev/dl)")


def build(place: Path, name: str, source: Source) -> None:
    """Compile one program into `place`."""
    flags = " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in source.stamps.items())])
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", str(place / f"{name}.new"), source.package],
        cwd=_module(source.module) if source.module else TOOLS,
        env={**os.environ, "CGO_ENABLED": "0"},
        check=True,
        timeout=BUILD_SECONDS,
    )
    (place / f"{name}.new").rename(place / name)


def _module(module: str) -> Path:
    """Folder of a module in Go's own cache."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", module],
        cwd=TOOLS,
        check=True,
        capture_output=True,
        text=True,
        timeout=DOWNLOAD_SECONDS,
    )
    return Path(json.loads(told.stdout)["Dir"])
