"""Charts as the tests see them: rendered by the real helm, once a set of values, as plain objects."""

import functools
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from cluster import clients

ROOT = Path(__file__).parents[1]
CHARTS = ROOT / "charts"
SITE = Path(__file__).parent / "charts" / "site.yaml"
STAGES = tuple(f"values-stage-{number}.yaml" for number in (1, 2, 3))
HELM_SECONDS = 60

Manifest = dict[str, Any]


class Refused(Exception):
    """helm's words when it does not render."""


class Release:
    """The manifests of one rendering."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.all: list[Manifest] = [manifest for manifest in yaml.safe_load_all(text) if manifest]

    def of(self, kind: str) -> dict[str, Manifest]:
        """Those of a kind, by name."""
        return {manifest["metadata"]["name"]: manifest for manifest in self.all if manifest["kind"] == kind}

    def get(self, kind: str, name: str) -> Manifest:
        """One of them."""
        return self.of(kind)[name]

    def job(self) -> Manifest:
        """The migrate Job, whose name changes."""
        (job,) = self.of("Job").values()
        return job

    def pods(self) -> Iterator[tuple[str, Manifest]]:
        """Each pod template: the name of what makes the pods, and the template."""
        for manifest in self.all:
            if manifest["kind"] in {"Deployment", "StatefulSet", "Job"}:
                yield manifest["metadata"]["name"], manifest["spec"]["template"]
            elif manifest["kind"] == "Pod":
                yield manifest["metadata"]["name"], manifest

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """Each container of each pod, the initial ones too."""
        for name, pod in self.pods():
            for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
                yield f"{name}/{container['name']}", container


@functools.cache
def _render(chart: str, files: tuple[str, ...], sets: str, name: str, options: tuple[str, ...]) -> Release:
    command = [str(clients.helm()), "template", name, str(CHARTS / chart), "--namespace", "academy", *options]
    for file in files:
        command += ["--values", file]
    for key, value in json.loads(sets).items():
        command += ["--set-json", f"{key}={json.dumps(value)}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HELM_SECONDS, check=False)
    if done.returncode != 0:
        raise Refused(done.stderr)
    return Release(done.stdout)


def render(
    *files: str | Path,
    chart: str = "academy",
    sets: Mapping[str, Any] | None = None,
    name: str = "academy",
    options: tuple[str, ...] = (),
) -> Release:
    """Render a chart with values files (of the chart, or paths) and single values; Refused when helm refuses."""
    paths = tuple(str(CHARTS / chart / file) for file in files)
    return _render(chart, paths, json.dumps(sets or {}, sort_keys=True), name, options)


def stage(number: int, **sets: Any) -> Release:
    """A preset as a real installation uses it; a key's dots are double underscores."""
    return render(STAGES[number - 1], SITE, sets={key.replace("__", "."): value for key, value in sets.items()})


def dev(**sets: Any) -> Release:
    """charts/academy as on kind."""
    return render("values-dev.yaml", sets={key.replace("__", "."): value for key, value in sets.items()})


MATRIX: dict[str, Mapping[str, Any]] = {
    "without-pgbouncer": {"pgbouncer.enabled": False, "database.maxConcurrency": 8},
    "internal-apart": {"apiInternal.enabled": True},
    "monitored": {"monitoring.enabled": True, "pgbouncer.exporter.enabled": True},
    "gateway": {
        "ingress.enabled": False,
        "gateway.enabled": True,
        "gateway.name": "edge",
        "gateway.namespace": "infra",
    },
    "external-secrets": {
        "secrets.externalSecrets.enabled": True,
        "secrets.externalSecrets.storeName": "aws",
        "secrets.externalSecrets.except": ["bootstrap"],
    },
    "snapshot": {"migrate.backup": "snapshot", "migrate.rdsInstance": "academy"},
    "no-backup": {"migrate.backup": "none", "migrate.retry": "2026-11-25"},
    "video-alone": {"workers.aiCpu.enabled": False, "workers.aiGpu.enabled": False},
    "no-policies": {"networkPolicy.enabled": False},
    "autoscaled": {"api.autoscaling.enabled": True, "api.autoscaling.minReplicas": 1, "api.autoscaling.maxReplicas": 2},
    "live-code": {"development.liveCode": True},
    "alarms": {"alarms.actions": ["arn:aws:sns:ap-northeast-2:111122223333:academy"]},
    "vision": {"workers.aiCpu.googleCredentialsSecret": "vision", "images.pullSecrets": ["registry"]},
}
"""Values that switch something, each upon stage 1."""


RENDERINGS = (*(f"stage-{number}" for number in (1, 2, 3)), "dev", *MATRIX)


def rendering(name: str) -> Release:
    """One of RENDERINGS."""
    if name == "dev":
        return dev()
    return render(STAGES[0], SITE, sets=MATRIX[name]) if name in MATRIX else stage(int(name.removeprefix("stage-")))


def quantity(text: str | int) -> float:
    """A Kubernetes quantity as a number: CPUs, or bytes."""
    units = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    for suffix, factor in units.items():
        if str(text).endswith(suffix):
            return float(str(text).removesuffix(suffix)) * factor
    return float(text)
