"""Builds the platform's images from their Dockerfiles without a daemon and without a registry (buildah).

The base is a Debian 13 made by mmdebstrap, where Docker would pull `debian:trixie-slim`. An image's tag is a digest of
what it is made of, so an unchanged image is neither built nor loaded again, and a cluster never runs a stale one.
"""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster import cache
from cluster.binaries import Unavailable

ROOT = Path(__file__).parents[2]
SUITE = "trixie"
BASE = "localhost/debian:trixie-slim"
REGISTRY = os.environ.get("E2E_REGISTRY", "localhost")
"""Where nodes find the images: on themselves, or where a cluster of one's own pulls from (`given`)."""
SECONDS = 1800
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
"""Mounted at build time only: a user's private CA reaches the package indexes and no layer."""
# As Debian's own slim images leave them out.
SLIM = ("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*")
SLIM_DOCS = ("path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright")


@dataclass(frozen=True)
class Image:
    """One Dockerfile, its target and what its context is made of (paths below the repository's root)."""

    name: str
    dockerfile: str
    sources: tuple[str, ...] = ()
    target: str = ""
    on: tuple[str, ...] = ()
    """Images that it is built from, beside Debian."""
    context: str = ""
    """What COPY copies from."""


STAND_INS = "tests/cluster/stand_ins"
CORE, API, AI = "services/core/academy_core", "services/api/academy_api", "services/ai/academy_ai"
PACKAGES = ("pyproject.toml", "uv.lock")
FROM_BASE = ("academy-build", "academy-base")
ARGUMENTS = {"academy-build": "BUILD", "academy-base": "RUNTIME", "academy-api": "API", "academy-ai": "AI"}
"""Image -> the build argument by which a Dockerfile that is built from it knows it."""
IMAGES = {
    image.name: image
    for image in (
        Image("academy-base", "Dockerfile.base", ("k8s/images/sbom.py",), target="runtime"),
        Image("academy-build", "Dockerfile.base", ("k8s/images/sbom.py", *PACKAGES), target="build"),
        Image("academy-api", "services/api/Dockerfile", (CORE, API, AI), on=FROM_BASE),
        Image("academy-video", "services/video/Dockerfile", (CORE, "services/video/academy_video"), on=FROM_BASE),
        Image("academy-ai", "services/ai/Dockerfile", (CORE, AI), on=FROM_BASE),
        Image("academy-ai-gpu", "services/ai/Dockerfile.gpu", (CORE, AI), on=FROM_BASE),
        Image("academy-operator", "operator/Dockerfile", (CORE, "operator/academy_operator"), on=FROM_BASE),
        Image("academy-pgbouncer", "services/pgbouncer/Dockerfile", on=("academy-base",)),
        Image("stand-in-postgres", f"{STAND_INS}/postgres.Dockerfile", on=("academy-base",)),
        Image("stand-in-emulator", f"{STAND_INS}/emulator.Dockerfile", on=FROM_BASE),
        Image("stand-in-next-release", f"{STAND_INS}/next_release.Dockerfile", on=("academy-api",)),
        Image(
            "stand-in-premium",
            f"{STAND_INS}/premium.Dockerfile",
            (f"{STAND_INS}/premium.py",),
            on=("academy-ai",),
            context=STAND_INS,
        ),
    )
}
# The GPU image, five gigabytes of CUDA, is built where `make soak` runs.
SERVICES = ("academy-api", "academy-video", "academy-ai", "academy-operator", "academy-pgbouncer")


def tag(name: str) -> str:
    """A digest of everything that goes into the image."""
    image = IMAGES[name]
    files = [ROOT / image.dockerfile, ROOT / ".dockerignore"]
    files += [path for source in image.sources for path in _files(ROOT / source)]
    names = [str(path.relative_to(ROOT)) for path in files]
    return cache.key(image.target, *names, *(tag(other) for other in image.on), files=files)


def reference(name: str) -> str:
    """Of the image as it is now, for instance localhost/academy-api:0123456789abcdef."""
    return f"{REGISTRY}/{name}:{tag(name)}"


def build(name: str) -> str:
    """Build the image, and those it is built from, unless they are there; its reference. Raises Unavailable."""
    image, wanted = IMAGES[name], reference(name)
    with cache.locked(_home()):
        if exists(wanted):
            return wanted
    _ensure_debian()
    for other in image.on:
        build(other)
    with cache.locked(_home()):
        buildah(*_build_command(image, wanted), "--layers", str(ROOT / image.context))
        _forget_before(wanted)
    return wanted


def _forget_before(wanted: str) -> None:
    """Remove what this image was before; with another lock file, also the steps that led to it."""
    name = wanted.rpartition(":")[0]
    tags = buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
    before = [tag for tag in tags if tag.rpartition(":")[0] == name and tag != wanted]
    # A build that was killed leaves its container, which would hold the image.
    if before:
        buildah("rm", "--all")
        buildah("rmi", *before)
    if before and name.endswith("academy-build"):
        buildah("rmi", "--prune")


def build_again(name: str) -> str:
    """Build it once more from the beginning, under another tag; its reference."""
    image, wanted = IMAGES[name], f"{reference(name)}-again"
    with cache.locked(_home()):
        buildah(*_build_command(image, wanted), "--layers", "--no-cache", str(ROOT / image.context))
    return wanted


def _build_command(image: Image, wanted: str) -> list[str]:
    arguments = {"BASE": BASE, "REVISION": _revision(), **{ARGUMENTS[other]: reference(other) for other in image.on}}
    command = ["build", "--isolation", "chroot", "--network", "host", "--timestamp", "0", "--pull-never", "--quiet"]
    command += ["--format", "oci", "-f", str(ROOT / image.dockerfile), "-t", wanted]
    command += [part for key, value in arguments.items() for part in ("--build-arg", f"{key}={value}")]
    command += ["--target", image.target] if image.target else []
    return command + (["-v", f"{AUTHORITIES}:{AUTHORITIES}:ro"] if AUTHORITIES.exists() else [])


def archive(name: str) -> Path:
    """The built image as one file, for `Provider.load`; older ones of the same image are removed."""
    wanted = build(name)
    with cache.locked(cache.root() / "images") as folder:
        path = folder / f"{name}-{tag(name)}.tar"
        if not path.exists():
            for old in folder.glob(f"{name}-*.tar"):
                old.unlink()
            made = path.with_suffix(".new")
            made.unlink(missing_ok=True)
            buildah("push", "--quiet", wanted, f"docker-archive:{made}:{wanted}")
            made.rename(path)
    return path


def debian(archive: Path) -> None:
    """Write the Debian that all images stand on as an archive, for another engine than buildah. Raises Unavailable."""
    _ensure_debian()
    with cache.locked(_home()):
        buildah("push", "--quiet", BASE, f"docker-archive:{archive}:{BASE}")


def push(archive: Path) -> None:
    """Push an archive's image to the registry in its name, as whom `buildah login` signed in there."""
    with tarfile.open(archive) as packed, packed.extractfile("manifest.json") as manifest:  # type: ignore[union-attr]
        ((name,),) = [entry["RepoTags"] for entry in json.load(manifest)]
    buildah("push", "--quiet", name, f"docker://{name}")


def exists(image: str) -> bool:
    """Whether buildah's store has this reference."""
    told = subprocess.run([*_buildah(), "inspect", "--type", "image", image], capture_output=True, check=False)
    return told.returncode == 0


def configuration(image: str) -> dict[str, object]:
    """The OCI configuration of a built image: its user, command, environment and labels."""
    told = json.loads(buildah("inspect", "--type", "image", image))
    found: dict[str, object] = told["OCIv1"]["config"]
    return found


def layers(image: str) -> list[tuple[str, int]]:
    """Digest and unpacked bytes of each layer of a built image, the lowest first."""
    told = json.loads(buildah("inspect", "--type", "image", image))
    known = json.loads((_home() / "store" / "overlay-layers" / "layers.json").read_text(encoding="utf-8"))
    size = {layer["diff-digest"]: int(layer["diff-size"]) for layer in known if "diff-digest" in layer}
    return [(digest, size[digest]) for digest in told["OCIv1"]["rootfs"]["diff_ids"]]


def buildah(*arguments: str) -> str:
    """Its standard output; RuntimeError with the end of what it said."""
    command = [*_buildah(), *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if told.returncode:
        said = "\n".join((told.stdout + told.stderr).splitlines()[-30:])
        raise RuntimeError(f"buildah {' '.join(arguments)}:\n{said}")
    return told.stdout


def _home() -> Path:
    return cache.root() / "buildah"


def _buildah() -> list[str]:
    for program in ("buildah", "mmdebstrap"):
        if shutil.which(program) is None:
            raise Unavailable(f"images are built with {program}: services/local/setup.sh e2e installs it")
    if os.geteuid() != 0:
        raise Unavailable("images are built by root here: buildah mounts file systems")
    return ["buildah", "--root", f"{_home()}/store", "--runroot", f"{_home()}/run", "--storage-driver", "overlay"]


def _ensure_debian() -> None:
    """The image that stands for debian:trixie-slim.

    It has CA certificates already: installing them where the machine's are mounted would fail.
    """
    with cache.locked(_home()) as home:
        if exists(BASE):
            return
        root = home / f"{SUITE}.tar"
        options = [f"--dpkgopt={option}" for option in (*SLIM, *SLIM_DOCS)]
        command = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--include=ca-certificates",
            *options,
            SUITE,
            str(root),
        ]
        subprocess.run(command, check=True, timeout=SECONDS)
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, str(root), "/")
        buildah("commit", "--quiet", "--rm", container, BASE)
        root.unlink()


def _files(source: Path) -> Iterator[Path]:
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _revision() -> str:
    told = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return told.stdout.strip()
