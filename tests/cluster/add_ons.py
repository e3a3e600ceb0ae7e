"""What the platform expects of a cluster and a bare one lacks: DNS, storage, metrics-server, KEDA."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from cluster import archives, binaries, clients, kubectl, layout, provider

MANIFESTS = Path(__file__).parent / "manifests"
IMAGES = (
    archives.Program("keda", "localhost/keda:1"),
    archives.Program("keda-adapter", "localhost/keda-adapter:1"),
    archives.Program("keda-admission-webhooks", "localhost/keda-admission-webhooks:1"),
    archives.Program("metrics-server", "localhost/metrics-server:1"),
    archives.Program("coredns", "localhost/coredns:1"),
)
LABEL = "test-cluster/add-ons=true"
"""They all run on one node, so that drills may drain the others."""
KUSTOMIZE_SECONDS = 60


def install(cluster: provider.Provider) -> None:
    """Install and wait until all answer; nothing on a cluster that is equipped. Safe to run again."""
    if cluster.equipped:
        return
    programs = binaries.ensure()
    for image in IMAGES:
        cluster.load(archives.write(image, programs, programs))
    run = kubectl.Kubectl(cluster.kubeconfig)
    first = run("get", "nodes", "-o", "name").split()[0]
    run("label", "--overwrite", first, LABEL)
    manifests = ["metrics-server.yaml", *(("base.yaml", "coredns.yaml") if cluster.bare else ())]
    for name in manifests:
        run("apply", "-f", str(MANIFESTS / name))
    if cluster.bare:
        run.apply(*layout.volumes())
        run.within("kube-system").await_condition("deployment/coredns", "Available")
    # Server-side: KEDA's CRDs are larger than the annotation that client-side apply writes.
    run("apply", "--server-side", "-f", "-", content=_keda())
    for name in ("keda-operator", "keda-metrics-apiserver", "keda-admission"):
        run.within("keda").await_condition(f"deployment/{name}", "Available")
    run.within("kube-system").await_condition("deployment/metrics-server", "Available")
    for api in ("v1beta1.external.metrics.k8s.io", "v1beta1.metrics.k8s.io"):
        run.await_condition(f"apiservice/{api}", "Available")


def _keda() -> str:
    """KEDA's manifests with our patches; kustomize wants its bases below its own folder."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(binaries.keda_manifests(), Path(scratch, "config"))
        shutil.copy(MANIFESTS / "keda.yaml", Path(scratch, "kustomization.yaml"))
        command = [str(clients.kubectl()), "kustomize", scratch]
        told = subprocess.run(command, capture_output=True, text=True, timeout=KUSTOMIZE_SECONDS, check=True)
        return told.stdout
