"""What can go wrong between the operator, a provider and the cluster.

Provider errors are wrapped into these at the edge (providers/*.py, cluster.py); the reconciler turns a type into
conditions and decides by it whether to try again. `condition` is the reason written into a metav1 Condition.
"""

from typing import ClassVar

from academy_core.errors import AcademyError, Permanent, Retryable


class ProviderFault(Retryable):
    """The provider did not do what was asked; the same call may succeed later."""

    condition: ClassVar[str] = "ProviderUnavailable"
    after_seconds: ClassVar[float] = 0.0
    """Least wait before the next try; the backoff applies on top."""


class Throttled(ProviderFault):
    """Too many calls."""

    condition = "Throttled"


class AccessDenied(ProviderFault):
    """The credentials do not allow this call. Retried, because a person can repair them at any time."""

    condition = "AccessDenied"


class CredentialsMissing(ProviderFault):
    """The Secret that a resource names is not there, or has not the keys that are needed."""

    condition = "CredentialsMissing"


class DeletedRecently(ProviderFault):
    """SQS refuses a queue's name for 60 s after its deletion."""

    condition = "QueueDeletedRecently"
    after_seconds = 61.0


class Gone(ProviderFault):
    """The queue or bucket vanished between two calls; the next pass sees it as absent."""

    condition = "NotFound"


class AlreadyExists(ProviderFault):
    """CreateBucket met a bucket of that name that was not there a moment ago."""

    condition = "AlreadyExists"


class Refused(Permanent):
    """The operator declines to act: the reason is for the resource's author. `condition` names it in CamelCase."""

    def __init__(self, condition: str, message: str) -> None:
        """`condition` is the reason of the Ready condition; `message` says what is wrong and what to do."""
        self.condition = condition
        super().__init__(message)


class Unsupported(AcademyError):
    """The provider has no such operation (an emulator without message move tasks, R2 without policies)."""


class ClusterFault(Retryable):
    """The kube-apiserver did not do what was asked; the same call may succeed later."""


class Forbidden(ClusterFault):
    """The operator may not do this in that namespace."""


class ResourceGone(AcademyError):
    """The custom resource is no longer there, or another one of its name is: forget it."""


class NamespaceTerminating(AcademyError):
    """The namespace is being deleted: nothing can be created in it any more."""
