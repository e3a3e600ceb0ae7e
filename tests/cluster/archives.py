"""Images of one static program each, made without a builder: what the cluster's own add-ons run from.

The format is `docker save`'s, which containerd, kind and Docker all load.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """An image that holds one program."""

    name: str
    """Of the file, and of the entry point at the image's root."""
    reference: str
    user: str = "65532:65532"
    """Numeric: a pod with runAsNonRoot refuses a name."""


def write(image: Program, programs: Path, out: Path) -> Path:
    """Write the image's archive into the folder `out`; its path. An archive that is there is kept."""
    path = out / f"{image.name}.tar"
    if path.exists():
        return path
    content = (programs / image.name).read_bytes()
    layer = _tar({"tmp": None, image.name: content})
    digest = hashlib.sha256(layer).hexdigest()
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": [f"/{image.name}"], "User": image.user, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created_by": "tests/cluster/archives.py"}],
    }
    encoded = json.dumps(configuration).encode()
    name = f"{hashlib.sha256(encoded).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [image.reference], "Layers": [f"{digest}/layer.tar"]}]
    files = {name: encoded, f"{digest}/layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    path.with_suffix(".new").write_bytes(_tar(files))
    path.with_suffix(".new").rename(path)
    return path


def _tar(files: Mapping[str, bytes | None]) -> bytes:
    """None stands for a folder that everybody may write to."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if content is None:
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            else:
                entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, None if content is None else io.BytesIO(content))
    return buffer.getvalue()
