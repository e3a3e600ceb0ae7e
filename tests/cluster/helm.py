"""helm as a function, as users call it: install, upgrade, roll back, test, uninstall."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster import clients

SECONDS = 900
MARGIN_SECONDS = 60


class Failed(RuntimeError):
    """helm failed; the message is its standard error."""


@dataclass(frozen=True)
class Helm:
    """helm with one kubeconfig and one namespace."""

    kubeconfig: Path
    namespace: str

    def __call__(self, *arguments: str, content: str | None = None, timeout: float = SECONDS) -> str:
        """Its standard output. Raises Failed."""
        own = ["--kubeconfig", str(self.kubeconfig), "-n", self.namespace]
        command = [str(clients.helm()), *own, *arguments]
        told = subprocess.run(command, input=content, capture_output=True, text=True, timeout=timeout, check=False)
        if told.returncode:
            raise Failed(f"helm {' '.join(arguments)}: {told.stderr.strip()}")
        return told.stdout

    def upgrade(
        self,
        release: str,
        chart: Path,
        *presets: Path,
        values: dict[str, Any],
        wait: bool = True,
        seconds: int = SECONDS,
    ) -> None:
        """Install or upgrade a release; with `wait`, until everything is ready. Raises Failed."""
        arguments = ["upgrade", "--install", release, str(chart)]
        arguments += [part for preset in presets for part in ("-f", str(preset))]
        arguments += ["--wait", "--timeout", f"{seconds}s"] if wait else []
        self(*arguments, "-f", "-", content=yaml.safe_dump(values), timeout=seconds + MARGIN_SECONDS)

    def uninstall(self, release: str, seconds: int = SECONDS) -> None:
        """Remove a release and wait until its objects are gone."""
        self("uninstall", release, "--wait", "--timeout", f"{seconds}s", timeout=seconds + MARGIN_SECONDS)

    def revision(self, release: str) -> int:
        """The number of the release's last revision."""
        told: list[dict[str, Any]] = json.loads(self("history", release, "-o", "json"))
        return max(int(entry["revision"]) for entry in told)

    def manifest(self, release: str) -> list[dict[str, Any]]:
        """The objects of the release."""
        return [found for found in yaml.safe_load_all(self("get", "manifest", release)) if found]
