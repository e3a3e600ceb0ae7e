"""Provider connections: one a region (or endpoint) and set of credentials, shared by all resources that use it."""

import threading
from typing import Any, TypeVar

from academy_core.settings import OperatorSettings
from academy_operator.cluster import Cluster
from academy_operator.errors import CredentialsMissing
from academy_operator.providers import aws, r2
from academy_operator.providers.buckets import BucketProvider
from academy_operator.providers.queues import QueueProvider

ACCESS_KEY = "access-key-id"
SECRET_KEY = "secret-access-key"  # noqa: S105  (the key's name in the Secret)
LIMIT = 256
"""Connections kept; credentials rotate, old ones go."""

T = TypeVar("T")


class Connections:
    """Makes and keeps providers."""

    def __init__(self, settings: OperatorSettings, cluster: Cluster) -> None:
        """`cluster` is where Secrets are read."""
        self._settings = settings
        self._cluster = cluster
        self._kept: dict[Any, Any] = {}
        self._guard = threading.Lock()

    def queues(self, region: str, secret: str | None, namespace: str) -> QueueProvider:
        """SQS and CloudWatch. Raises CredentialsMissing, ClusterFault."""
        keys = self.keys(namespace, secret) if secret else None
        with self._guard:
            kept = self._kept.get(("queues", region, keys))
            if kept is None:
                sqs, cloudwatch = self._settings.AWS_ENDPOINT_URL_SQS, self._settings.AWS_ENDPOINT_URL_CLOUDWATCH
                kept = self._keep(("queues", region, keys), aws.connect(region, keys, sqs, cloudwatch))
        found: QueueProvider = kept
        return found

    def buckets(self, secret: str | None, namespace: str) -> BucketProvider:
        """R2. Raises CredentialsMissing, ClusterFault."""
        endpoint = self._settings.R2_ENDPOINT
        if endpoint is None:
            raise CredentialsMissing("the operator has no R2_ENDPOINT")
        keys = self.keys(namespace, secret) if secret else self._own_keys()
        with self._guard:
            kept = self._kept.get(("buckets", keys))
            if kept is None:
                kept = self._keep(("buckets", keys), r2.connect(str(endpoint), keys))
        found: BucketProvider = kept
        return found

    def _own_keys(self) -> aws.Keys:
        access, secret = self._settings.R2_ACCESS_KEY, self._settings.R2_SECRET_KEY
        if not access or secret is None:
            raise CredentialsMissing("the operator has no R2_ACCESS_KEY and R2_SECRET_KEY")
        return aws.Keys(access, secret.get_secret_value())

    def keys(self, namespace: str, secret: str) -> aws.Keys:
        """The credentials in a Secret, read anew each time so that a rotation is seen."""
        data = self._cluster.read_secret(namespace, secret)
        if data is None:
            raise CredentialsMissing(f"there is no Secret {namespace}/{secret}")
        missing = [key for key in (ACCESS_KEY, SECRET_KEY) if not data.get(key)]
        if missing:
            raise CredentialsMissing(f"Secret {namespace}/{secret} lacks {', '.join(missing)}")
        return aws.Keys(data[ACCESS_KEY].decode().strip(), data[SECRET_KEY].decode().strip())

    def _keep(self, key: Any, made: T) -> T:
        if len(self._kept) >= LIMIT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = made
        return made
