"""Tells Kubernetes which worker pods are dear: a scale-in takes the idle ones first.

The annotation counts only within one ReplicaSet's scale-in and is a hint: whoever loses its pod hands its task back
(S-16). So all of it is best effort, and patches are far enough apart to be no burden on the kube-apiserver. The pod's
token may patch this one annotation of this one pod (charts/academy, templates/shared/deletion-cost.yaml).
"""

import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from academy_core import log
from academy_core.consumer import Activity

ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
BUSY = "1000"
IDLE = "0"
APART_SECONDS = 5.0
CALL_SECONDS = 5.0
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_log = log.get(__name__)

Patch = Callable[[str], None]
"""Sets the annotation to a value; raises when it cannot."""


def _nobody(_busy: bool) -> None:  # noqa: FBT001 - Activity's shape
    """Outside a cluster there is nobody to tell."""


class Reporter:
    """Sends the newest state in a thread of its own, at most once in `apart` seconds, and again while it fails."""

    def __init__(self, patch: Patch, *, apart: float = APART_SECONDS) -> None:
        self._patch = patch
        self._apart = apart
        self._changed = threading.Condition()
        self._wanted = self._sent = IDLE
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="deletion-cost", daemon=True)
        self._thread.start()

    def __call__(self, busy: bool) -> None:  # noqa: FBT001 - Activity's shape
        """Busy or idle from now on. Returns at once."""
        with self._changed:
            self._wanted = BUSY if busy else IDLE
            self._changed.notify_all()

    def close(self) -> None:
        """Say no more: the pod is going, whatever it costs."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(CALL_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._wanted != self._sent)
                if self._closed:
                    return
                wanted = self._wanted
            try:
                self._patch(wanted)
                self._sent = wanted
            except (httpx.HTTPError, OSError) as error:
                _log.warning("DELETION_COST_NOT_SET", detail=f"{type(error).__name__}: {error}")
            with self._changed:
                due = time.monotonic() + self._apart
                while not self._closed and (left := due - time.monotonic()) > 0:
                    self._changed.wait(left)


@contextmanager
def reported(pod: str | None) -> Iterator[Activity]:
    """What the worker loop tells busy and idle to while the block runs. `pod` is None outside a cluster."""
    if pod is None:
        yield _nobody
        return
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with httpx.Client(verify=trusted, timeout=CALL_SECONDS) as client:
        reporter = Reporter(lambda value: _patch(client, pod, value))
        try:
            yield reporter
        finally:
            reporter.close()


def _patch(client: httpx.Client, pod: str, value: str) -> None:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"[{host}]" if ":" in host else host
    namespace = (ACCOUNT / "namespace").read_text().strip()
    answer = client.patch(
        f"https://{address}:{port}/api/v1/namespaces/{namespace}/pods/{pod}",
        json={"metadata": {"annotations": {ANNOTATION: value}}},
        headers={
            # Read each time: the kubelet renews it.
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/merge-patch+json",
        },
    )
    answer.raise_for_status()
