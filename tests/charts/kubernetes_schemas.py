"""What Kubernetes, KEDA and our own CRDs accept, as JSON schemas, offline.

Kubernetes' come from PyPI's kubernetes-validate (its OpenAPI, strict: unknown fields are faults); KEDA's from the Go
module the test cluster is built from; ours from the operator.
"""

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from charts_support import ROOT, Manifest
from referencing import Registry, Resource

KEDA = "v2.20.2"
UNCHECKED = frozenset(
    {"monitoring.coreos.com/v1", "external-secrets.io/v1", "gateway.networking.k8s.io/v1"}
)  # fmt: skip
"""API groups whose schema no registry here has; their fields are checked by nobody."""
DOWNLOAD_SECONDS = 300


class NoKeda(Exception):
    """KEDA's CRDs cannot be had."""


def faults(manifest: Manifest, version: str) -> list[str]:
    """What Kubernetes `version` (or a CRD) would refuse."""
    api = manifest["apiVersion"]
    if api in UNCHECKED:
        return []
    if api.startswith("keda.sh/"):
        validator = _crd(_keda_crds(), manifest["kind"])
    elif api.startswith("academy.hakwonplus.com/"):
        validator = _crd(_own_crds(), manifest["kind"])
    else:
        validator = _kubernetes(version, manifest["kind"].lower(), re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api))
    return [
        f"{manifest['kind']} {manifest['metadata']['name']}: {'/'.join(map(str, error.path))}: {error.message[:300]}"
        for error in validator.iter_errors(manifest)
    ]


@functools.cache
def _definitions(version: str) -> tuple[Path, Registry[Any]]:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return folder, definitions @ Registry()


@functools.cache
def _kubernetes(version: str, kind: str, api: str) -> jsonschema.Draft202012Validator:
    folder, registry = _definitions(version)
    schema = json.loads((folder / f"{kind}-{api}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=Resource.from_contents(schema) @ registry)


@functools.cache
def _own_crds() -> Path:
    return ROOT / "operator" / "academy_operator" / "resources"


@functools.cache
def _keda_crds() -> Path:
    go = shutil.which("go")
    if go is None:
        raise NoKeda("Go is not installed: KEDA's CRDs come from its module")
    done = subprocess.run(
        [go, "mod", "download", "-json", f"github.com/kedacore/keda/v2@{KEDA}"],
        capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=True,
    )  # fmt: skip
    return Path(json.loads(done.stdout)["Dir"]) / "config" / "crd" / "bases"


@functools.cache
def _crd(folder: Path, kind: str) -> jsonschema.Draft7Validator:
    for file in sorted(folder.rglob("*.yaml")):
        crd = yaml.safe_load(file.read_text())
        if crd.get("kind") == "CustomResourceDefinition" and crd["spec"]["names"]["kind"] == kind:
            schema = _closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            return jsonschema.Draft7Validator(schema)
    raise LookupError(f"no CRD of {kind} under {folder}")


def _closed(schema: Any) -> Any:
    """As a structural schema is read: what is not stated is no field (it would be pruned in silence)."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _closed(value) for key, value in schema.items()}
    if made.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if isinstance(made.get("properties"), dict) and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
