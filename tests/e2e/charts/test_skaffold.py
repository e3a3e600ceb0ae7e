"""skaffold.yaml by the real binary: understood, built by a Docker engine of our own, rendered in both profiles.

`skaffold dev` on kind is not shown: kind wants Docker with privileged containers (docs/deploy.md).
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from charts_support import ROOT, SITE, Release
from cluster import docker, skaffold
from cluster.binaries import Unavailable

SECONDS = 120
BUILD_SECONDS = 1800
CHAIN = ("academy-base", "academy-build", "academy-api", "academy-pgbouncer")
"""What CI builds: an image of each kind, in one line of descent. `make soak` builds all."""
ALL = tuple(
    artifact["image"] for artifact in yaml.safe_load((ROOT / "skaffold.yaml").read_text())["build"]["artifacts"]
)
NAMES = ALL if os.environ.get("ACADEMY_SOAK") == "1" else CHAIN
USER = "65532:65532"
WORKS = {
    "academy-api": ["python", "-c", "import academy_api, academy_ai.kinds, django, os; print(os.getuid())"],
    "academy-video": ["python", "-c", "import academy_video, os; print(os.getuid())"],
    "academy-ai": ["python", "-c", "import academy_ai, numpy, os; print(os.getuid())"],
    "academy-operator": ["python", "-c", "import academy_operator, kopf, os; print(os.getuid())"],
    "academy-pgbouncer": ["sh", "-c", "pgbouncer --version >&2 && id -u"],
}
"""A command of each image that runs: it prints its user."""
# All of them share an engine: one process runs them.
on_docker = pytest.mark.xdist_group("docker")


@pytest.fixture(scope="session")
def binary() -> Path:
    """Built once a machine, some minutes; helm 3 lies beside it."""
    if os.environ.get("ACADEMY_E2E") != "1":
        pytest.skip("builds skaffold: make e2e")
    try:
        return skaffold.folder() / "skaffold"
    except Unavailable as lacking:
        pytest.fail(str(lacking))


def run(binary: Path, *arguments: str, tree: Path = ROOT, **more: str) -> str:
    path = f"{binary.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(binary), *arguments], cwd=tree, env={**os.environ, "PATH": path, **more}, capture_output=True, text=True,
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


@dataclass(frozen=True)
class Builds:
    """What one `skaffold build` gave."""

    tags: dict[str, str]
    """By image: the reference that is deployed."""
    said: str
    seconds: float

    @property
    def made(self) -> set[str]:
        """Images that were built, and not found."""
        return {name for name in self.tags if f"- {name}: Not found. Building" in self.said}


@dataclass(frozen=True)
class Checkout:
    """A copy of the repository that may be changed, and the engine it is built by."""

    folder: Path
    engine: docker.Engine
    binary: Path

    def build(self) -> Builds:
        """`skaffold build` of NAMES."""
        file, started = self.folder / "builds.json", time.monotonic()
        command = [str(self.binary), "build", "--filename=-", f"--build-image={','.join(NAMES)}"]
        environment = self.engine.environment
        environment["PATH"] = f"{self.binary.parent}:{environment['PATH']}"
        done = subprocess.run(
            [*command, f"--file-output={file}", "--interactive=false"], cwd=self.folder, env=environment,
            input=self._on_the_machines_network(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=BUILD_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        tags = {build["imageName"]: build["tag"] for build in json.loads(file.read_text())["builds"]}
        file.unlink()
        return Builds(tags, done.stdout, time.monotonic() - started)

    def _on_the_machines_network(self) -> str:
        """skaffold.yaml for an engine without a bridge; nothing else differs."""
        config = yaml.safe_load((self.folder / "skaffold.yaml").read_text())
        for artifact in config["build"]["artifacts"]:
            artifact["docker"]["network"] = "host"
        return yaml.safe_dump(config)


@pytest.fixture(scope="session")
def checkout(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """The files as they are now, committed: skaffold names what it builds after a commit."""
    folder = tmp_path_factory.mktemp("checkout")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if name and os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for command in (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--message=as it is")):
        subprocess.run(["git", *command], cwd=folder, check=True, timeout=SECONDS)
    try:
        with docker.engine(binary.parent / "docker-buildx") as engine:
            yield Checkout(folder, engine, binary)
    except Unavailable as lacking:
        pytest.fail(str(lacking))
    assert engine.leftovers() == [], "the engine left something on this machine"


@pytest.fixture(scope="session")
def first(checkout: Checkout) -> Builds:
    """The build of an engine that knows nothing but Debian."""
    return checkout.build()


@on_docker
def test_build_gives_every_image_as_its_own_user(checkout: Checkout, first: Builds) -> None:
    print(f"\nskaffold build of {len(NAMES)} images, nothing kept before: {first.seconds:.0f} s")  # noqa: T201 - the figure
    assert set(first.tags) == first.made == set(NAMES)
    assert "taggers failed" not in first.said
    users = {
        name: checkout.engine("image", "inspect", "--format={{.Config.User}}", tag).strip()
        for name, tag in first.tags.items()
    }
    assert users == {name: "0:0" if name == "academy-build" else USER for name in NAMES}


@on_docker
def test_the_same_sources_are_not_built_again(checkout: Checkout, first: Builds) -> None:
    second = checkout.build()
    print(f"\nthe same again: {second.seconds:.1f} s")  # noqa: T201 - the figure
    assert second.made == set()
    assert second.tags == first.tags


@on_docker
def test_a_change_of_the_api_changes_the_apis_image_alone(checkout: Checkout, first: Builds) -> None:
    source = checkout.folder / "services/api/academy_api/__init__.py"
    before = source.read_bytes()
    source.write_bytes(before + b"# changed\n")
    try:
        changed = checkout.build()
    finally:
        source.write_bytes(before)
    print(f"\nafter a change of the API: {changed.seconds:.1f} s")  # noqa: T201 - the figure
    assert changed.made == {"academy-api"}
    assert {name for name in NAMES if changed.tags[name] != first.tags[name]} == {"academy-api"}


@on_docker
@pytest.mark.parametrize("name", [name for name in NAMES if name in WORKS])
def test_a_built_image_runs_as_a_restricted_pod_does(checkout: Checkout, first: Builds, name: str) -> None:
    restricted = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
    told = checkout.engine("run", "--rm", *restricted, first.tags[name], *WORKS[name])
    assert told.strip() == USER.partition(":")[0]


@on_docker
def test_kind_deploys_exactly_what_was_built(binary: Path, checkout: Checkout, first: Builds, tmp_path: Path) -> None:
    """Every container, by the very image; what CI does not build stands in the list under a name of its own."""
    tags = {name: first.tags.get(name, f"{name}:not-built") for name in ALL}
    rendered = Release(
        run(binary, "render", *after(tags, tmp_path / "builds.json"), "--profile=kind", tree=checkout.folder)
    )
    used = {container["image"] for _, container in rendered.containers() if container["image"].startswith("academy-")}
    assert used == {tags[name] for name in WORKS}


def after(tags: dict[str, str], file: Path) -> list[str]:
    """skaffold's options of a render after a build that gave these."""
    file.write_text(json.dumps({"builds": [{"imageName": name, "tag": tag} for name, tag in tags.items()]}))
    return ["--offline=true", "--digest-source=tag", f"--build-artifacts={file}"]


def images(rendered: str) -> set[str]:
    return {container["image"] for _, container in Release(rendered).containers()}


def test_kind_renders_the_platform_with_live_code(binary: Path, tmp_path: Path) -> None:
    tags = {name: f"{name}:built" for name in ALL}
    rendered = run(binary, "render", *after(tags, tmp_path / "builds.json"), "--profile=kind")
    assert {tags[name] for name in WORKS} <= images(rendered)
    assert any("/moto" in image for image in images(rendered))
    assert "/var/academy/code" in rendered
    services = {
        manifest["metadata"]["name"]
        for manifest in yaml.safe_load_all(rendered)
        if manifest and manifest["kind"] == "Service"
    }
    forwarded = {rule["resourceName"] for rule in yaml.safe_load((ROOT / "skaffold.yaml").read_text())["portForward"]}
    assert forwarded <= services


def test_eks_renders_a_preset_with_the_sites_values_and_no_dev_backend(binary: Path, tmp_path: Path) -> None:
    registry = yaml.safe_load(SITE.read_text())["images"]["registry"]
    pushed = {name: f"{registry}/{name}:0123abc@sha256:{number:064x}" for number, name in enumerate(ALL)}
    operator = tmp_path / "operator.yaml"
    policy = yaml.safe_load(SITE.read_text())["networkPolicy"]
    wanted = ("clusterCidrs", "vpcCidrs", "apiServerCidrs")
    operator.write_text(
        yaml.safe_dump({"clusterId": "production", "networkPolicy": {name: policy[name] for name in wanted}})
    )
    rendered = run(
        binary, "render", *after(pushed, tmp_path / "builds.json"), "--profile=eks",
        ACADEMY_STAGE="3", ACADEMY_VALUES=str(SITE), ACADEMY_OPERATOR_VALUES=str(operator),
    )  # fmt: skip
    assert not any("moto" in image for image in images(rendered))
    # By their content, in the registry they were pushed to; the GPU image is none of skaffold's.
    built = {image for image in images(rendered) if "/academy-ai-gpu:" not in image}
    assert built == {pushed[name].replace(":0123abc", "") for name in WORKS}
    assert "/var/academy/code" not in rendered
    kinds = {manifest["kind"] for manifest in yaml.safe_load_all(rendered) if manifest}
    assert {"Ingress", "ScaledObject", "Queue"} <= kinds
