"""Credentials: the operator's own, or those of a Secret that a resource names."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import HttpUrl, SecretStr

from academy_core.settings import OperatorSettings
from academy_operator.errors import CredentialsMissing
from academy_operator.fake_cluster import FakeCluster
from academy_operator.providers import aws, r2
from academy_operator.providers_for import Connections

GOOD = {"access-key-id": b"key\n", "secret-access-key": b"secret\n"}


def connections(cluster: FakeCluster, **settings: object) -> Connections:
    base: dict[str, Any] = {"OPERATOR_CLUSTER_ID": "c", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1", **settings}
    return Connections(OperatorSettings.model_construct(**base), cluster)


def test_a_connection_is_shared_by_region_and_credentials_and_follows_a_rotation() -> None:
    cluster = FakeCluster(secrets={("academy", "sqs"): GOOD})
    made = connections(cluster)
    first = made.queues("ap-northeast-2", "sqs", "academy")
    assert made.queues("ap-northeast-2", "sqs", "academy") is first
    assert made.queues("us-east-1", "sqs", "academy") is not first
    cluster.secrets["academy", "sqs"] = {**GOOD, "secret-access-key": b"rotated"}
    assert made.queues("ap-northeast-2", "sqs", "academy") is not first


def test_keys_are_read_without_the_newline_that_editors_add() -> None:
    made = connections(FakeCluster(secrets={("academy", "sqs"): GOOD}))
    assert made.keys("academy", "sqs") == aws.Keys("key", "secret")


@pytest.mark.parametrize("data", [None, {}, {"access-key-id": b"key"}, {**GOOD, "secret-access-key": b""}])
def test_a_secret_that_lacks_something_is_told_without_its_content(data: dict[str, bytes] | None) -> None:
    secrets: dict[tuple[str, str], Mapping[str, bytes]] = {} if data is None else {("academy", "sqs"): data}
    made = connections(FakeCluster(secrets=secrets))
    with pytest.raises(CredentialsMissing, match="academy/sqs") as caught:
        made.queues("ap-northeast-2", "sqs", "academy")
    assert "key\n" not in str(caught.value)


def test_buckets_need_an_endpoint_and_credentials() -> None:
    cluster = FakeCluster(secrets={("academy", "r2"): GOOD})
    with pytest.raises(CredentialsMissing, match="R2_ENDPOINT"):
        connections(cluster, R2_ENDPOINT=None).buckets(None, "academy")
    endpoint = HttpUrl("https://account.r2.cloudflarestorage.com")
    with pytest.raises(CredentialsMissing, match="R2_ACCESS_KEY"):
        connections(cluster, R2_ENDPOINT=endpoint, R2_ACCESS_KEY=None, R2_SECRET_KEY=None).buckets(None, "academy")
    own = connections(cluster, R2_ENDPOINT=endpoint, R2_ACCESS_KEY="k", R2_SECRET_KEY=SecretStr("s"))
    assert isinstance(own.buckets(None, "academy"), r2.R2Buckets)
    assert own.buckets("r2", "academy") is not own.buckets(None, "academy")


def test_an_sqs_emulator_has_cloudwatch_only_where_it_says_so() -> None:
    cluster = FakeCluster()
    without = connections(cluster).queues("ap-northeast-2", None, "academy")
    assert isinstance(without, aws.AwsQueues)
    assert without.cloudwatch is None
    with_it = connections(cluster, AWS_ENDPOINT_URL_CLOUDWATCH="http://127.0.0.1:1").queues("r", None, "academy")
    assert isinstance(with_it, aws.AwsQueues)
    assert with_it.cloudwatch is not None


def test_aws_itself_is_no_emulator() -> None:
    made = connections(FakeCluster(), AWS_ENDPOINT_URL_SQS=None).queues("ap-northeast-2", None, "academy")
    assert isinstance(made, aws.AwsQueues)
    assert not made.emulator
    assert made.cloudwatch is not None


def test_credentials_are_not_in_what_is_printed() -> None:
    assert "hidden" not in repr(aws.Keys("key", "hidden"))
