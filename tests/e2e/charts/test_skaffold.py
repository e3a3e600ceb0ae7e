"""skaffold.yaml by the real binary: it is understood, and both profiles render what the charts render."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from charts_support import ROOT, SITE
from cluster import skaffold
from cluster.binaries import Unavailable

SECONDS = 120


@pytest.fixture(scope="session")
def binary() -> Path:
    """Built once a machine, some minutes; helm 3 lies beside it."""
    if os.environ.get("ACADEMY_E2E") != "1":
        pytest.skip("builds skaffold: make e2e")
    try:
        return skaffold.folder() / "skaffold"
    except Unavailable as lacking:
        pytest.fail(str(lacking))


def run(binary: Path, *arguments: str, **more: str) -> str:
    path = f"{binary.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(binary), *arguments], cwd=ROOT, env={**os.environ, "PATH": path, **more}, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_dockerfile_is_built_and_every_folder_it_syncs_is_there(binary: Path) -> None:
    config = yaml.safe_load(run(binary, "diagnose", "--yaml-only"))
    artifacts = {artifact["image"]: artifact for artifact in config["build"]["artifacts"]}
    dockerfiles = {
        str((ROOT / artifact.get("context", ".") / artifact["docker"]["dockerfile"]).relative_to(ROOT))
        for artifact in artifacts.values()
    }
    there = {str(file.relative_to(ROOT)) for file in ROOT.glob("*/*/Dockerfile")} | {"operator/Dockerfile"}
    assert {name for name in there if "tests" not in name} <= dockerfiles
    for artifact in artifacts.values():
        for rule in artifact.get("sync", {}).get("manual", ()):
            folder = ROOT / rule["src"].split("/**")[0]
            assert (folder / "__init__.py").exists(), rule
            assert rule["dest"] == "/var/academy/code"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """skaffold's options of a render after a build, as if every image had been built: there is no Docker here."""
    artifacts = yaml.safe_load((ROOT / "skaffold.yaml").read_text())["build"]["artifacts"]
    builds = [{"imageName": artifact["image"], "tag": f"{artifact['image']}:built"} for artifact in artifacts]
    file = tmp_path_factory.mktemp("skaffold") / "builds.json"
    file.write_text(json.dumps({"builds": builds}))
    return ["--offline=true", "--digest-source=tag", f"--build-artifacts={file}"]


def images(rendered: str) -> set[str]:
    found = set()
    for manifest in yaml.safe_load_all(rendered):
        if manifest and manifest["kind"] == "Deployment":
            spec = manifest["spec"]["template"]["spec"]
            found |= {box["image"].split("/")[-1].split(":")[0] for box in spec["containers"]}
    return found


def test_kind_renders_the_platform_with_live_code(binary: Path, built: list[str]) -> None:
    rendered = run(binary, "render", *built, "--profile=kind")
    assert {"academy-api", "academy-video", "academy-ai", "academy-operator", "academy-pgbouncer", "moto"} <= images(
        rendered
    )
    assert "/var/academy/code" in rendered
    services = {
        manifest["metadata"]["name"]
        for manifest in yaml.safe_load_all(rendered)
        if manifest and manifest["kind"] == "Service"
    }
    forwarded = {rule["resourceName"] for rule in yaml.safe_load((ROOT / "skaffold.yaml").read_text())["portForward"]}
    assert forwarded <= services


def test_eks_renders_a_preset_with_the_sites_values_and_no_dev_backend(
    binary: Path, built: list[str], tmp_path: Path
) -> None:
    operator = tmp_path / "operator.yaml"
    policy = yaml.safe_load(SITE.read_text())["networkPolicy"]
    wanted = ("clusterCidrs", "vpcCidrs", "apiServerCidrs")
    operator.write_text(
        yaml.safe_dump({"clusterId": "production", "networkPolicy": {name: policy[name] for name in wanted}})
    )
    rendered = run(
        binary, "render", *built, "--profile=eks",
        ACADEMY_STAGE="3", ACADEMY_VALUES=str(SITE), ACADEMY_OPERATOR_VALUES=str(operator),
    )  # fmt: skip
    assert "moto" not in images(rendered)
    assert "academy-api" in images(rendered)
    assert "/var/academy/code" not in rendered
    kinds = {manifest["kind"] for manifest in yaml.safe_load_all(rendered) if manifest}
    assert {"Ingress", "ScaledObject", "Queue"} <= kinds
