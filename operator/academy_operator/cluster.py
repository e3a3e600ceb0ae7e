"""What the operator itself writes to the kube-apiserver (status, ConfigMaps, Events), and the Secrets it reads."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol, cast

import urllib3
from kubernetes import client, config

from academy_operator.errors import ClusterFault, Forbidden, NamespaceTerminating, ResourceGone
from academy_operator.model import GROUP, VERSION, Json, Resource, format_time, resource_of

API_VERSION = f"{GROUP}/{VERSION}"
PAGE = 100
"""Objects listed in one answer."""
JSON_PATCH = "application/json-patch+json"
TIMEOUTS = (5, 20)
"""Seconds to connect and to answer."""
COMPONENT = "academy-operator"


class Cluster(Protocol):
    """The kube-apiserver as the reconciler sees it. Calls may raise ClusterFault."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """What is served."""

    def write_status(self, resource: Resource, status: Json) -> None:
        """Replace the status of that very object. Raises ResourceGone when it is another of its name, or none."""

    def list(self, kind: str, plural: str, namespace: str) -> Iterable[Resource]:
        """The custom resources of a kind in a namespace. Raises Forbidden."""

    def ensure_config_map(self, resource: Resource, name: str, data: Mapping[str, str]) -> bool:
        """A ConfigMap owned by the resource; written only when it differs. False when it is somebody else's."""

    def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """Data of a Secret, None when there is none."""

    def post_event(self, resource: Resource, reason: str, message: str, now: datetime) -> None:
        """A Warning about the resource, posted once a reason. Raises NamespaceTerminating."""


def config_map_body(resource: Resource, name: str, data: Mapping[str, str]) -> dict[str, Any]:
    """The ConfigMap, garbage-collected with the resource."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": resource.namespace,
            "labels": {"app.kubernetes.io/managed-by": COMPONENT},
            "ownerReferences": [owner_reference(resource)],
        },
        "data": dict(data),
    }


def owner_reference(resource: Resource) -> dict[str, Any]:
    """metav1.OwnerReference of a resource."""
    return {
        "apiVersion": API_VERSION,
        "kind": resource.kind,
        "name": resource.name,
        "uid": resource.uid,
        "controller": True,
    }


def belongs(references: list[Json], resource: Resource) -> bool:
    """Whether an object is this resource's, or its predecessor's of the same name, not collected yet."""
    return any(
        reference.get("kind") == resource.kind
        and reference.get("name") == resource.name
        and str(reference.get("apiVersion", "")).partition("/")[0] == GROUP
        for reference in references
    )


def event_body(resource: Resource, reason: str, message: str, now: datetime) -> dict[str, Any]:
    """A core/v1 Event of type Warning; one object a resource and reason, so that repeats do not pile up."""
    event = f"{resource.name}.{resource.uid[:8]}.{reason.lower()}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": event, "namespace": resource.namespace},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": resource.kind,
            "namespace": resource.namespace,
            "name": resource.name,
            "uid": resource.uid,
        },
        "type": "Warning",
        "reason": reason,
        "message": message[:1024],
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
    }


@dataclass(frozen=True, slots=True)
class KubernetesCluster:
    """The real one."""

    core: Any
    """client.CoreV1Api: its types ask for models where plain JSON does."""
    custom: client.CustomObjectsApi
    namespaces: tuple[str, ...]
    """What is served."""

    def write_status(self, resource: Resource, status: Json) -> None:
        """See Cluster. A JSON patch that tests the uid; a uid in a merge patch is not looked at under /status."""
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/uid", "value": resource.uid},
            {"op": "add", "path": "/status", "value": dict(status)},
        ]
        try:
            self.custom.patch_namespaced_custom_object_status(
                GROUP,
                VERSION,
                resource.namespace,
                resource.plural,
                resource.name,
                patch,
                _content_type=JSON_PATCH,
                _request_timeout=TIMEOUTS,
            )
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            if _status(error) == HTTPStatus.NOT_FOUND or _is_test_failed(error):
                raise ResourceGone(f"{resource.label} ({resource.uid}) is gone") from error
            raise _fault("write status", resource.label, error) from error

    def list(self, kind: str, plural: str, namespace: str) -> Iterator[Resource]:
        """See Cluster. Page by page, all of one moment."""
        token = ""
        while True:
            try:
                page: Any = self.custom.list_namespaced_custom_object(
                    GROUP, VERSION, namespace, plural, limit=PAGE, _continue=token, _request_timeout=TIMEOUTS
                )
            except (client.ApiException, urllib3.exceptions.HTTPError) as error:
                raise _fault("list", f"{plural} in {namespace}", error) from error
            yield from (resource_of(kind, plural, item) for item in page["items"])
            token = page["metadata"].get("continue", "")
            if not token:
                return

    def ensure_config_map(self, resource: Resource, name: str, data: Mapping[str, str]) -> bool:
        """See Cluster. Replacing carries the resourceVersion read, so that a concurrent change is never lost."""
        body = config_map_body(resource, name, data)
        try:
            found = self._find_config_map(resource.namespace, name)
            if found is None:
                self.core.create_namespaced_config_map(resource.namespace, body, _request_timeout=TIMEOUTS)
                return True
            references = found["metadata"].get("ownerReferences") or []
            if not belongs(references, resource):
                return False
            if found.get("data") == body["data"] and references == body["metadata"]["ownerReferences"]:
                return True
            body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            self.core.replace_namespaced_config_map(name, resource.namespace, body, _request_timeout=TIMEOUTS)
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            raise _fault("write ConfigMap", f"{resource.namespace}/{name}", error) from error
        return True

    def read_secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        """See Cluster."""
        try:
            secret = self.core.read_namespaced_secret(name, namespace, _request_timeout=TIMEOUTS)
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                return None
            raise _fault("read Secret", f"{namespace}/{name}", error) from error
        return {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}

    def post_event(self, resource: Resource, reason: str, message: str, now: datetime) -> None:
        """See Cluster. A namespace that ends refuses what is new, and loses its RoleBindings, in either order."""
        body = event_body(resource, reason, message, now)
        try:
            self.core.create_namespaced_event(resource.namespace, body, _request_timeout=TIMEOUTS)
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            if _status(error) == HTTPStatus.CONFLICT:
                return
            refused = _status(error) == HTTPStatus.FORBIDDEN
            if _is_terminating(error) or (refused and self._is_ending(resource.namespace)):
                raise NamespaceTerminating(resource.namespace) from error
            raise _fault("post Event", resource.label, error) from error

    def _is_ending(self, namespace: str) -> bool:
        try:
            found = self.core.read_namespace(namespace, _request_timeout=TIMEOUTS)
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                return True
            raise _fault("read namespace", namespace, error) from error
        return bool(found.metadata.deletion_timestamp)

    def _find_config_map(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            found = self.core.read_namespaced_config_map(name, namespace, _request_timeout=TIMEOUTS)
        except client.ApiException as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                return None
            raise
        return cast("dict[str, Any]", self.core.api_client.sanitize_for_serialization(found))


def connect(namespaces: tuple[str, ...]) -> KubernetesCluster:
    """As the pod's service account, or as the kubeconfig says."""
    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        config.load_kube_config()  # type: ignore[no-untyped-call]
    api = client.ApiClient()
    api.configuration.retries = False
    return KubernetesCluster(client.CoreV1Api(api), client.CustomObjectsApi(api), namespaces)


def _status(error: Exception) -> int | None:
    return error.status if isinstance(error, client.ApiException) else None


def _is_terminating(error: Exception) -> bool:
    """403 whose cause is NamespaceTerminating, or 404: the namespace has gone altogether."""
    if _status(error) == HTTPStatus.NOT_FOUND:
        return True
    body = str(getattr(error, "body", "") or "")
    return _status(error) == HTTPStatus.FORBIDDEN and ("NamespaceTerminating" in body or "being terminated" in body)


def _is_test_failed(error: Exception) -> bool:
    """The answer to a JSON patch whose test did not hold: 422 without causes; a refusal by the schema names its own."""
    body = str(getattr(error, "body", "") or "")
    return _status(error) == HTTPStatus.UNPROCESSABLE_ENTITY and '"causes"' not in body


def _fault(what: str, where: str, error: Exception) -> ClusterFault:
    """Without the answer's headers and body, which may say more than a log should keep."""
    status = _status(error)
    kind = Forbidden if status == HTTPStatus.FORBIDDEN else ClusterFault
    return kind(f"cannot {what} of {where}: {status or type(error).__name__}")
