"""skaffold and what it works with, compiled from their Go modules: once a machine, kept in the user's cache.

skaffold 2.16 calls helm with flags that helm 4 no longer has (`version --client`, `--post-renderer PROGRAM`), so it
gets helm 3; everything else uses helm 4 (`clients`). It calls `docker build --load`, which only buildx understands.
"""

from pathlib import Path

from cluster import binaries, cache

SOURCES = {
    "skaffold": binaries.Source("./cmd/skaffold", {}, module="github.com/GoogleContainerTools/skaffold/v2@v2.16.1"),
    "helm": binaries.Source(
        "./cmd/helm",
        {
            "helm.sh/helm/v3/internal/version.version": "v3.22.0",
            # What it renders for without a cluster; unstamped it is Kubernetes 1.20.
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
            "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": "35",
        },
        module="helm.sh/helm/v3@v3.22.0",
    ),
    "docker-buildx": binaries.Source(
        "./cmd/buildx",
        {"github.com/docker/buildx/version.Version": "v0.30.1"},
        module="github.com/docker/buildx@v0.30.1",
    ),
}


def folder() -> Path:
    """Folder of the programs; minutes the first time. Raises binaries.Unavailable without Go."""
    key = cache.key(repr(SOURCES))
    with cache.locked(cache.root() / "skaffold" / key) as place:
        for name, source in SOURCES.items():
            if not (place / name).exists():
                binaries.require_go()
                binaries.build(place, name, source)
    return place
