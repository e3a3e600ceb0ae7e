"""What leaves the manifests with an upgrade and must stay all the same: the commands of the docs, tried on a server."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts_support import ROOT
from cluster import clients, helm
from conftest import Kubectl, installing

HAND_OVER = (ROOT / "docs" / "services" / "charts.md").read_text(encoding="utf-8")
CALL_SECONDS = 60

API = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: academy-api}
spec:
  {{- with .Values.replicas }}
  replicas: {{ . }}
  {{- end }}
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api}}
    spec: {containers: [{name: c, image: "i:{{ .Values.tag }}"}]}
---
{{- if .Values.secret }}
apiVersion: v1
kind: ConfigMap
metadata: {name: asked-for}
{{- end }}
"""


@pytest.fixture
def api(admin: Kubectl, tmp_path: Path) -> Iterator[helm.Helm]:
    """helm, with a chart of the API's Deployment at `chart` in the folder."""
    with installing(admin, tmp_path, "academy", API) as found:
        yield found


def hand_over(folder: Path) -> None:
    """Run what docs/services/charts.md says to run before the upgrade."""
    (block,) = re.findall(r"```sh\n(replicas=.*?\nEOF\n)helm upgrade", HAND_OVER, re.DOTALL)
    environment = {
        **os.environ,
        "KUBECONFIG": str(folder / "helm.kubeconfig"),
        "PATH": f"{clients.kubectl().parent}:{os.environ['PATH']}",
    }
    subprocess.run(["sh", "-euc", block], env=environment, check=True, timeout=CALL_SECONDS)


@pytest.mark.parametrize("before", ["true", "false"], ids=["applied-by-the-server", "applied-by-the-client"])
def test_the_apis_count_outlives_its_leaving_the_manifest(
    admin: Kubectl, api: helm.Helm, tmp_path: Path, before: str
) -> None:
    chart = str(tmp_path / "chart")
    for step in ("install", "upgrade"):
        api(step, "academy", chart, f"--server-side={before}", "--set-json", "replicas=3", "--set", f"tag={step}")
    hand_over(tmp_path)
    api("upgrade", "academy", chart, "--server-side=true", "--set", "tag=autoscaled")
    assert admin.replicas("academy-api") == 3
    # The autoscaler's from now on: a further upgrade, by either way, and a rollback to it leave what it wants.
    admin.run("scale", "deployment", "academy-api", "--replicas=7")
    for way in ("true", "false"):
        api("upgrade", "academy", chart, f"--server-side={way}", "--set", f"tag=later-{way}")
        assert admin.replicas("academy-api") == 7
    api("rollback", "academy", "3")
    assert admin.replicas("academy-api") == 7
    # And back to a fixed count.
    api(
        "upgrade", "academy", chart, "--server-side=true", "--force-conflicts",
        "--set-json", "replicas=7", "--set", "tag=fixed",
    )  # fmt: skip
    assert admin.replicas("academy-api") == 7


def test_a_resource_that_is_annotated_to_be_kept_outlives_its_leaving_the_manifest(
    admin: Kubectl, api: helm.Helm, tmp_path: Path
) -> None:
    """Step 3 of the database password in docs/runbooks/rotate-credentials.md."""
    chart = str(tmp_path / "chart")
    api("install", "academy", chart, "--set", "tag=1,secret=true")
    admin.run("annotate", "configmap", "asked-for", "helm.sh/resource-policy=keep")
    api("upgrade", "academy", chart, "--set", "tag=2")
    admin.run("delete", "configmap", "asked-for")
