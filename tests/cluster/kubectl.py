"""kubectl as a function: what add-ons and end-to-end tests do to a cluster, they do as a person would."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster import clients
from support import wait_until

from academy_local import ports

CALL_SECONDS = 120
READY_SECONDS = 180


class Refused(RuntimeError):
    """kubectl failed; the message is its standard error."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl with one kubeconfig and, where one is stated, one namespace."""

    kubeconfig: Path
    namespace: str = ""

    def __call__(self, *arguments: str, content: str | None = None, timeout: float = CALL_SECONDS) -> str:
        """Its standard output. Raises Refused."""
        command = [*self.command(), *arguments]
        told = subprocess.run(command, input=content, capture_output=True, text=True, timeout=timeout, check=False)
        if told.returncode:
            raise Refused(f"kubectl {' '.join(arguments)}: {told.stderr.strip()}")
        return told.stdout

    def command(self) -> list[str]:
        """What every call starts with."""
        inside = ["-n", self.namespace] if self.namespace else []
        return [str(clients.kubectl()), "--kubeconfig", str(self.kubeconfig), *inside]

    def within(self, namespace: str) -> "Kubectl":
        """The same, in another namespace."""
        return Kubectl(self.kubeconfig, namespace)

    def get(self, *what: str) -> dict[str, Any]:
        """An object, or a list with `items`."""
        found: dict[str, Any] = json.loads(self("get", *what, "-o", "json"))
        return found

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects."""
        self("apply", "-f", "-", content=yaml.safe_dump_all(objects))

    def await_condition(self, what: str, condition: str, seconds: int = READY_SECONDS) -> None:
        """Wait until `what` (for instance deployment/api) has the condition. Raises Refused."""
        self("wait", f"--for=condition={condition}", what, f"--timeout={seconds}s", timeout=seconds + CALL_SECONDS)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods of a label selector that are not on their way out."""
        items = self.get("pods", "-l", selector)["items"]
        return [item for item in items if "deletionTimestamp" not in item["metadata"]]

    def await_service(self, name: str, *, leads: bool = True) -> str:
        """HOST:PORT of a Service, once it leads to a pod, or nowhere: nodes hear of either a moment after the API."""
        found = self.get("service", name)["spec"]
        host, port = str(found["clusterIP"]), int(found["ports"][0]["port"])
        wait_until(
            lambda: ports.accepts(port, host) is leads,
            READY_SECONDS,
            f"{name} leads {'to a pod' if leads else 'nowhere'}",
        )
        return f"{host}:{port}"
