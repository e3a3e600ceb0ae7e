"""Provider errors become ours at the edge, by code; and nothing else passes."""

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
)
from prometheus_client import REGISTRY

from academy_operator import errors
from academy_operator.providers import aws


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", errors.Gone),
        ("com.amazonaws.sqs#QueueDoesNotExist", errors.Gone),
        ("AWS.SimpleQueueService.QueueDeletedRecently", errors.DeletedRecently),
        ("RequestThrottled", errors.Throttled),
        ("ThrottlingException", errors.Throttled),
        ("SlowDown", errors.Throttled),
        ("AccessDenied", errors.AccessDenied),
        ("403", errors.AccessDenied),
        ("ExpiredToken", errors.AccessDenied),
        ("BucketConflict", errors.AlreadyExists),
        ("NotImplemented", errors.Unsupported),
        ("InternalError", errors.ProviderFault),
        ("", errors.ProviderFault),
    ],
)
def test_codes(code: str, kind: type[Exception]) -> None:
    assert type(aws.fault_of(code, "why")) is kind


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "InternalError", "Message": "x"}}, "GetQueueUrl"),
        ConnectTimeoutError(endpoint_url="https://sqs.example"),
        NoCredentialsError(),
    ],
)
def test_every_provider_error_is_wrapped_and_counted(error: Exception) -> None:
    with pytest.raises(errors.ProviderFault) as caught, aws.wrapped("GetQueueUrl"):
        raise error
    assert caught.value.retryable
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        CredentialRetrievalError(provider="container-role", error_msg="secret body"),
    ],
)
def test_missing_credentials_are_told_as_such_without_what_the_chain_said(error: Exception) -> None:
    expected = pytest.raises(errors.CredentialsMissing, match="the environment, IRSA or Pod Identity")
    with expected as caught, aws.wrapped("GetQueueUrl"):
        raise error
    assert "secret body" not in str(caught.value)


def sized(size: int) -> dict[str, str]:
    return {"Body": "x" * size}


def test_a_batch_that_is_sent_on_stays_within_sqs_s_limit() -> None:
    assert len(aws.fitting([sized(1)] * 10)) == 10
    assert len(aws.fitting([sized(300_000)] * 10)) == 3
    assert len(aws.fitting([sized(1_048_576), sized(1)])) == 1, "one always goes"
    assert len(aws.fitting([{"Body": "가" * 300_000}] * 2)) == 1, "bytes count, not characters"


def test_calls_are_counted_by_operation_and_result() -> None:
    def count(result: str) -> float:
        labels = {"operation": "TagQueue", "result": result}
        return REGISTRY.get_sample_value("academy_operator_provider_calls_total", labels) or 0.0

    before = count("ok")
    with aws.wrapped("TagQueue"):
        pass
    assert count("ok") == before + 1
