"""Writes an image's bill of materials: every Debian and Python package in it, as CycloneDX 1.6 JSON.

It is part of the base image and runs as the last step but the code of every image's build. It states no time and no
serial number, so that the same image has the same bill. Standard library only.
"""

import importlib.metadata
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

OUT = Path("/usr/share/academy/sbom.cdx.json")
PACKAGES = Path("/opt/academy/venv")


def debian() -> list[dict[str, Any]]:
    """Installed Debian packages."""
    told = subprocess.run(
        ["/usr/bin/dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\n"],
        check=True,
        capture_output=True,
        text=True,
    )
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    return [
        component(name, version, f"pkg:deb/debian/{name}@{version}?arch={architecture}")
        for name, version, architecture in rows
    ]


def python() -> list[dict[str, Any]]:
    """Installed Python packages, with the licence that each states."""
    folders = [str(path) for path in PACKAGES.glob("lib/python*/site-packages")]
    found = []
    for package in importlib.metadata.distributions(path=folders):
        name = package.metadata["Name"].lower().replace("_", "-")
        part = component(name, package.version, f"pkg:pypi/{name}@{package.version}")
        licence = package.metadata.json.get("license_expression")
        found.append({**part, "licenses": [{"expression": licence}]} if licence else part)
    return found


def component(name: str, version: str, purl: str) -> dict[str, Any]:
    """One entry."""
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def main(image: str) -> None:
    """Write the bill of the image that is being built."""
    parts = sorted([*debian(), *python()], key=lambda part: part["purl"])
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": image, "bom-ref": image}},
        "components": parts,
        "properties": [{"name": "academy:python", "value": platform.python_version()}],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
