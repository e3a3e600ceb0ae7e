"""Backups: names that sort, an RDS snapshot that is waited for."""

from datetime import UTC, datetime, timedelta, timezone

import boto3
import pytest
from moto import mock_aws

from academy_api.ops import backup

REGION = "ap-northeast-2"


def test_names_sort_by_time_whatever_the_zone() -> None:
    noon = datetime(2026, 11, 25, 12, tzinfo=UTC)
    seoul = noon.astimezone(timezone(timedelta(hours=9)))
    assert backup.name("abc", noon) == backup.name("abc", seoul) == "20261125t120000z-abc"
    assert backup.name("abc", noon) < backup.name("abc", noon + timedelta(seconds=1))


@mock_aws
def test_a_snapshot_is_there_when_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    rds = boto3.client("rds", region_name=REGION)
    rds.create_db_instance(DBInstanceIdentifier="academy", DBInstanceClass="db.t4g.micro", Engine="postgres")
    name = f"academy-{backup.name('abc', datetime(2026, 11, 25, 12, tzinfo=UTC))}"
    backup.snapshot(REGION, "academy", name)
    (found,) = rds.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"]
    assert found["Status"] == "available"
    with pytest.raises(backup.BackupFailed, match="snapshot of another"):
        backup.snapshot(REGION, "another", name)
