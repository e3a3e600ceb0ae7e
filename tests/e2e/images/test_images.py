"""The platform's images as they are shipped: what is in them, what is not, and that each starts in a cluster."""

import json
import os
import re
import secrets
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from charts_support import Manifest, Release, dev, render, stage
from cluster import images, provider
from cluster.kubectl import Kubectl
from support import wait_until

MEGABYTE = 10**6
LIMITS_MB = {
    "academy-base": 500,
    "academy-api": 600,
    "academy-video": 800,
    "academy-ai": 2000,
    "academy-ai-gpu": 8000,
    "academy-operator": 600,
    "academy-pgbouncer": 600,
}
"""S-19; it names no limit for the operator and PgBouncer, which stay below the API's."""
CODE_LAYER_MB = 20
START_SECONDS = 180
USER = "65532:65532"
FORBIDDEN_PROGRAMS = {
    "gcc",
    "cc",
    "g++",
    "c++",
    "clang",
    "ld",
    "as",
    "make",
    "pip",
    "pip3",
    "uv",
    "git",
    "curl",
    "wget",
}
FORBIDDEN_FOLDERS = {".git", "tests", ".venv", ".cache", "node_modules", ".pytest_cache"}
SECRET = re.compile(
    rb"-----BEGIN (RSA |EC |OPENSSH )?PRIVATE KEY-----|AKIA[0-9A-Z]{16}|AWS_SECRET_ACCESS_KEY=\S|SECRET_KEY=\S"
)
DEPLOYMENTS = {
    "academy-api": "academy-api",
    "academy-video": "academy-video-worker",
    "academy-ai": "academy-ai-worker-cpu",
    "academy-ai-gpu": "academy-ai-worker-gpu",
    "academy-operator": "academy-operator",
    "academy-pgbouncer": "academy-pgbouncer",
}
REFUSALS = {
    "academy-video": "API_BASE_URL: Field required",
    "academy-ai": "API_BASE_URL: Field required",
    "academy-ai-gpu": "API_BASE_URL: Field required",
    "academy-operator": "OPERATOR_CLUSTER_ID: Field required",
    "academy-pgbouncer": "/etc/pgbouncer/pgbouncer.ini",
}
"""What the chart's command says, all its code imported, where nothing is set. The API's stops before that."""
RUN = """
import importlib, sys
from academy_ai.kind import discover
packages = {kind.package for kind in discover().values() if kind.task.queue in sys.argv[1:]}
assert packages
for package in packages:
    importlib.import_module(f"{package}.run")
"""
"""Imports what the kinds of these queues run, which a worker does when their first task comes."""
ALSO = {
    "academy-video": ["ffmpeg", "-version"],
    "academy-ai": ["python", "-c", RUN, "ai-basic", "ai-lite"],
    "academy-ai-gpu": ["python", "-c", f"{RUN}import torch; assert torch.version.cuda", "ai-premium"],
}

pytestmark = pytest.mark.skipif(os.environ.get("ACADEMY_E2E") != "1", reason="builds images: make e2e")


# Five gigabytes of CUDA.
SOAK = ["academy-ai-gpu"] if os.environ.get("ACADEMY_SOAK") == "1" else []


@pytest.fixture(scope="session", params=["academy-base", *images.SERVICES, *SOAK])
def image(request: pytest.FixtureRequest) -> str:
    """An image's name; built."""
    name = str(request.param)
    images.build(name)
    return name


@pytest.fixture
def root(image: str) -> Iterator[Path]:
    """The image's files, mounted."""
    container = images.buildah("from", images.reference(image)).strip()
    try:
        yield Path(images.buildah("mount", container).strip())
    finally:
        images.buildah("rm", container)


def files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def megabytes(name: str) -> list[float]:
    """Of each layer, unpacked."""
    return [size / MEGABYTE for _, size in images.layers(images.reference(name))]


def test_size(image: str) -> None:
    sizes = megabytes(image)
    print(f"{image}: {sum(sizes):.0f} MB unpacked, last layer {sizes[-1]:.1f} MB")  # noqa: T201  (a measurement)
    assert sum(sizes) <= LIMITS_MB[image]


def test_a_change_of_code_ships_one_small_layer(image: str) -> None:
    if image in {"academy-base", "academy-pgbouncer"}:
        pytest.skip("there is no code of ours in it")
    assert megabytes(image)[-1] < CODE_LAYER_MB


def test_labels_and_user(image: str) -> None:
    configuration = images.configuration(images.reference(image))
    assert configuration["User"] == USER
    if image != "academy-base":
        labels = configuration["Labels"]
        assert isinstance(labels, dict)
        assert labels["org.opencontainers.image.title"] == image
        assert re.fullmatch("[0-9a-f]{40}", labels["org.opencontainers.image.revision"])
        assert labels["org.opencontainers.image.licenses"]


def test_bill_of_materials(image: str, root: Path) -> None:
    if image == "academy-base":
        pytest.skip("each image that stands on it lists its packages")
    bill = json.loads((root / "usr/share/academy/sbom.cdx.json").read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", image)
    listed = {part["purl"].partition("@")[0] for part in bill["components"]}
    assert "pkg:deb/debian/libc6" in listed
    folders = (root / "opt/academy/venv").glob("lib/python*/site-packages/*.dist-info")
    installed = {f"pkg:pypi/{path.name.split('-')[0].lower().replace('_', '-')}" for path in folders}
    assert {name.replace(".", "-") for name in installed} <= {name.replace(".", "-") for name in listed}


def test_what_it_must_not_contain(root: Path) -> None:
    found = []
    for path in files(root):
        inside = path.relative_to(root)
        if path.name in FORBIDDEN_PROGRAMS and path.parent.name in {"bin", "sbin"}:
            found.append(f"program {inside}")
        ours = inside.parts[:2] == ("opt", "academy")
        library = "site-packages" in inside.parts
        if ours and not library and FORBIDDEN_FOLDERS & set(inside.parts):
            found.append(f"folder {inside}")
        if inside.parts[0] in {"root", "home"} and path.name not in {".bashrc", ".profile"}:
            found.append(f"home {inside}")
        if inside.parts[:3] in {("var", "lib", "apt"), ("var", "cache", "apt")} and path.stat().st_size > MEGABYTE:
            found.append(f"cache {inside}")
        if ours and not library and path.suffix != ".pyc" and path.is_file() and SECRET.search(path.read_bytes()):
            found.append(f"secret in {inside}")
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000 and ours:
            found.append(f"set-uid {inside}")
    assert found == []


def test_nothing_of_ours_can_be_written_by_its_user(image: str, root: Path) -> None:
    if image in {"academy-base", "academy-pgbouncer"}:
        pytest.skip("there is no code of ours in it")
    inside = list(files(root / "opt/academy"))
    assert inside
    links = [path for path in inside if path.is_symlink()]
    writable = [path for path in set(inside) - set(links) if path.stat().st_mode & 0o022 or path.stat().st_uid != 0]
    assert writable == []


def test_an_unchanged_input_gives_the_same_image(image: str) -> None:
    """Built again without the builder's memory of the last layers, the code's layer has the digest it had."""
    if image != "academy-operator":
        pytest.skip("one image stands for all: they share how they are built")
    before = images.layers(images.reference(image))
    again = images.build_again(image)
    assert images.layers(again)[-1] == before[-1]
    images.buildah("rmi", again)


def main(release: Release, deployment: str) -> Manifest:
    """The first container of a Deployment's pods."""
    container: Manifest = release.get("Deployment", deployment)["spec"]["template"]["spec"]["containers"][0]
    return container


def settings() -> dict[str, str]:
    """What the chart gives the API, with secrets of no use: it does not even import without."""
    release = dev()
    told: dict[str, str] = release.get("ConfigMap", "academy-api")["data"]
    own = {each["name"]: each["value"] for each in main(release, "academy-api")["env"] if "value" in each}
    keys = ("SECRET_KEY", "DB_PASSWORD", "CDN_HLS_SIGNING_SECRET", "R2_ACCESS_KEY", "R2_SECRET_KEY")
    tokens = tuple(f"INTERNAL_WORKER_TOKENS_{who}" for who in ("VIDEO", "AI_CPU", "AI_GPU", "RELAY"))
    return {**told, **own, **{name: secrets.token_urlsafe(48) for name in (*keys, *tokens)}}


@pytest.fixture(scope="module")
def restricted(run: Kubectl) -> Iterator[Kubectl]:
    """A namespace that admits only what Pod Security calls restricted."""
    run("create", "namespace", "images")
    run("label", "namespace", "images", "pod-security.kubernetes.io/enforce=restricted")
    inside = run.within("images")
    account = ("get", "serviceaccount", "default", "--ignore-not-found", "-o", "name")
    # Without it a pod is refused, and only those that a controller makes are tried again.
    wait_until(lambda: inside(*account) != "", START_SECONDS, "the namespace has its account")
    yield inside
    run("delete", "namespace", "images", timeout=START_SECONDS)


def command(name: str) -> list[str]:
    """What the chart has this image run."""
    if name == "academy-operator":
        release = render("values-dev.yaml", chart="academy-operator", name="academy-operator")
    else:
        release = stage(1)
    found: list[str] = main(release, DEPLOYMENTS[name])["command"]
    return found


@pytest.mark.parametrize("name", [*images.SERVICES, *SOAK])
def test_starts_as_its_user_on_a_read_only_root(cluster: provider.Provider, restricted: Kubectl, name: str) -> None:
    """The chart's command imports all it needs and reads its settings; it can write nowhere but where a volume is."""
    cluster.load(images.archive(name))
    given = settings() if name == "academy-api" else {}
    # gunicorn loads the application and ends. The others miss their settings.
    start = [*command(name), *(["--check-config"] if given else [])]
    script = (
        f"id -u; touch /opt/academy/x 2>/dev/null && echo writable; touch /tmp/x; {shlex.join(start)}; echo ended $?"
    )
    if name in ALSO:
        script += f"; {shlex.join(ALSO[name])} >/dev/null"
    container = {
        "name": "main",
        "image": images.reference(name),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "env": [{"name": key, "value": value} for key, value in given.items()],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a volume
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    }
    restricted.apply(pod)

    def ended() -> bool:
        return restricted.get("pod", name)["status"]["phase"] in {"Succeeded", "Failed"}

    wait_until(ended, START_SECONDS, f"{name} ends")
    said = restricted("logs", name)
    lines = said.splitlines()
    assert lines[0] == USER.partition(":")[0], said
    assert "writable" not in lines
    assert ("ended 0" in lines) == bool(given), said
    assert REFUSALS.get(name, "") in said
    assert "Traceback" not in said
    assert restricted.get("pod", name)["status"]["phase"] == "Succeeded", said
