"""The error tree: an error's type alone decides retry, HTTP status and what a person reads.

Raised anywhere, caught at three places: the worker loop (retry or fail the task), the API's exception
handler (RFC 9457 answer) and the command line (one line in the user's language). Provider errors
(botocore, httpx, psycopg2) are wrapped into this tree at the edge that talks to the provider.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something went wrong, in words for a person: what is wrong and what to do.

    `code` is stable and machine-readable (kebab-case); `ko` and `en` are whole sentences.
    """

    code: str
    ko: str
    en: str


class AcademyError(Exception):
    """Root of the tree. Never raised itself."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR
    retryable: ClassVar[bool] = False
    default: ClassVar[Reason] = Reason(
        "internal-error",
        "처리 중 문제가 생겼습니다. 잠시 뒤 다시 시도해 주세요.",
        "Something went wrong on our side. Please try again in a moment.",
    )

    def __init__(self, detail: str = "", *, reason: Reason | None = None) -> None:
        """`detail` is for the log (never shown to a person, never a secret); `reason` replaces the type's default."""
        self.reason = reason or self.default
        self.detail = detail
        super().__init__(detail or self.reason.en)


class Permanent(AcademyError):
    """Trying again cannot help: bad input. The task fails, and its job with it; nothing goes to the DLQ."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    default = Reason("bad-input", "입력한 내용을 처리할 수 없습니다.", "The input cannot be processed.")


class Retryable(AcademyError):
    """The same work may succeed later: a provider is slow, away or throttling."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retryable = True
    default = Reason(
        "temporarily-unavailable",
        "일시적으로 처리할 수 없습니다. 잠시 뒤 다시 시도해 주세요.",
        "Temporarily unavailable. Please try again in a moment.",
    )


class TooManyRequests(Retryable):
    """A throttle or an allowance is used up; `retry_after` says for how long, in whole seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    default = Reason(
        "too-many-requests",
        "요청이 너무 많습니다. 잠시 뒤 다시 시도해 주세요.",
        "Too many requests. Please wait a while and try again.",
    )

    def __init__(self, retry_after: int, detail: str = "", *, reason: Reason | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(detail, reason=reason)


class ApiUnavailable(Retryable):
    """The worker cannot reach the API, or it answered 5xx: stop receiving and wait for it."""


class LeaseLost(AcademyError):
    """The attempt no longer holds its task (cancelled, claimed again, ended). Stop the work, list nothing."""

    status = HTTPStatus.CONFLICT
    default = Reason("lease-lost", "이 작업의 권한이 만료되었습니다.", "This attempt no longer holds the task.")


class NotAllowed(AcademyError):
    """Known caller, not permitted."""

    status = HTTPStatus.FORBIDDEN
    default = Reason("not-allowed", "권한이 없습니다.", "You are not allowed to do this.")


class NotAuthenticated(AcademyError):
    """Unknown caller."""

    status = HTTPStatus.UNAUTHORIZED
    default = Reason("not-authenticated", "로그인이 필요합니다.", "Please sign in.")


class NotFound(AcademyError):
    """No such thing, or not the caller's academy's (the answer is the same, so that ids cannot be probed)."""

    status = HTTPStatus.NOT_FOUND
    default = Reason("not-found", "찾을 수 없습니다.", "Not found.")


class Conflict(AcademyError):
    """The thing is in a state in which this cannot be done."""

    status = HTTPStatus.CONFLICT
    default = Reason("conflict", "지금 상태에서는 할 수 없는 작업입니다.", "This cannot be done in the current state.")


class PreconditionFailed(Conflict):
    """A conditional PUT found another object (or one at all): read again, decide again."""

    status = HTTPStatus.PRECONDITION_FAILED


class StoreUnavailable(Retryable):
    """The object store is away, throttles or refuses us; `detail` has the provider's code."""


class CdnUnavailable(Retryable):
    """The CDN is away, throttles or refuses us; `detail` has its codes."""


class QueueUnavailable(Retryable):
    """SQS is away, throttles or refuses us, or a count could not be read (unknown is not zero)."""


class ReceiptLost(AcademyError):
    """The message is no longer ours: its visibility ran out and it was delivered again, or it is deleted."""

    status = HTTPStatus.CONFLICT


class SettingsFault(AcademyError):
    """Settings are wrong or missing; the message names every fault. The process stops at start."""

    default = Reason("bad-settings", "설정이 잘못되었습니다.", "The settings are wrong.")
