"""The servers the integration tests and the embedded platform stand on do what production's do."""

import hashlib
import signal
import subprocess
from contextlib import closing
from http import HTTPStatus
from pathlib import Path

import httpx
import psycopg2
import pytest
from botocore.exceptions import ClientError
from django.db import connection
from mypy_boto3_s3.type_defs import CORSRuleTypeDef
from support import S3Handle, SqsHandle, wait_until

from academy_local import ports, processes
from academy_local.servers import pgbouncer as pgbouncer_server
from academy_local.servers import postgres as postgres_server
from academy_local.servers import s3 as s3_server

PART = b"p" * (5 * 2**20)


def test_postgres_wants_the_password(postgres: postgres_server.Postgres) -> None:
    with psycopg2.connect(postgres.dsn("postgres")) as link, link.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        assert int(cursor.fetchall()[0][0]) >= 160_000
    wrong = postgres_server.Postgres(postgres.folder, postgres.port, "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong.dsn("postgres"))


@pytest.mark.django_db
def test_django_reaches_it() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert str(cursor.fetchone()[0]).startswith("test_academy")


def test_pgbouncer_pools_transactions(pgbouncer: pgbouncer_server.PgBouncer) -> None:
    first, second = (psycopg2.connect(pgbouncer.dsn("postgres")) for _ in range(2))
    try:
        backends = []
        for link in (first, second, first):
            with link.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                backends.append(cursor.fetchall()[0][0])
            link.commit()
        assert len(set(backends)) == 1, "one server connection should serve clients that take turns"
    finally:
        first.close()
        second.close()


def test_pgbouncer_lets_its_clients_finish_when_told_to_end(
    pgbouncer: pgbouncer_server.PgBouncer, tmp_path: Path, free_port: int
) -> None:
    """What a rollout of the pooler counts on; before 1.23 SIGTERM cut clients off."""
    said = subprocess.run([str(pgbouncer_server.binary()), "--version"], check=True, capture_output=True, text=True)
    version = tuple(map(int, said.stdout.split()[1].split(".")))
    print(f"pgbouncer={version}")  # noqa: T201 - which one the tests of pooling used
    if version < (1, 23):
        pytest.skip(f"PgBouncer {version} ends at once on SIGTERM: `make setup` builds a newer one")
    pooler = pgbouncer_server.PgBouncer(tmp_path / "pgbouncer", free_port, pgbouncer.server)
    pooler.prepare()
    child = processes.Child(pooler.command(), tmp_path / "log")
    try:
        child.wait_ready(pooler.ready, 30)
        with closing(psycopg2.connect(pooler.dsn("postgres"))) as link, link.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backend = cursor.fetchall()
            child.send(signal.SIGTERM)
            wait_until(lambda: not ports.accepts(free_port), 30, "it takes new clients")
            cursor.execute("SELECT pg_backend_pid()")
            assert cursor.fetchall() == backend
            link.commit()
            assert child.returncode() is None
        wait_until(lambda: child.returncode() is not None, 30, "it does not end once its clients have gone")
        assert child.returncode() == 0
    finally:
        child.stop()


def test_sqs_counts_receives(sqs: SqsHandle, queue_url: str) -> None:
    sqs.client.send_message(QueueUrl=queue_url, MessageBody="ding")
    for expected in ("1", "2"):
        answer = sqs.client.receive_message(
            QueueUrl=queue_url, VisibilityTimeout=0, AttributeNames=["ApproximateReceiveCount"], WaitTimeSeconds=5
        )
        assert answer["Messages"][0]["Attributes"]["ApproximateReceiveCount"] == expected


def test_s3_conditional_puts(s3: S3Handle, bucket: str) -> None:
    etag = s3.client.put_object(Bucket=bucket, Key="a", Body=b"1", IfNoneMatch="*")["ETag"]
    for put in (
        lambda: s3.client.put_object(Bucket=bucket, Key="a", Body=b"2", IfNoneMatch="*"),
        lambda: s3.client.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch='"0123"'),
    ):
        with pytest.raises(ClientError) as caught:
            put()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.PRECONDITION_FAILED
    s3.client.put_object(Bucket=bucket, Key="a", Body=b"2", IfMatch=etag)
    assert s3.client.get_object(Bucket=bucket, Key="a")["Body"].read() == b"2"


def test_s3_presigned_multipart(s3: S3Handle, bucket: str) -> None:
    upload = s3.client.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    for number, body in ((2, b"end"), (1, PART)):
        params = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": number}
        url = s3.client.generate_presigned_url("upload_part", Params=params, ExpiresIn=60)
        answer = httpx.put(url, content=body, timeout=30)
        assert answer.headers["etag"].strip('"') == hashlib.md5(body, usedforsecurity=False).hexdigest()
    parts = s3.client.list_parts(Bucket=bucket, Key="m", UploadId=upload)["Parts"]
    assert [(part["PartNumber"], part["Size"]) for part in parts] == [(1, len(PART)), (2, 3)]
    s3.client.complete_multipart_upload(
        Bucket=bucket,
        Key="m",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]},
    )
    tail = s3.client.get_object(Bucket=bucket, Key="m", Range="bytes=-4")
    assert tail["Body"].read() == b"pend"


def test_s3_refuses_strangers(s3: S3Handle, bucket: str) -> None:
    s3.client.put_object(Bucket=bucket, Key="a", Body=b"1")
    url = s3.client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a"}, ExpiresIn=60)
    assert httpx.get(url).content == b"1"
    assert httpx.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == HTTPStatus.FORBIDDEN
    assert httpx.get(url.split("?")[0]).status_code == HTTPStatus.FORBIDDEN


def test_s3_cors_exposes_the_etag(s3: S3Handle, bucket: str) -> None:
    origin = "http://console.test"
    rule: CORSRuleTypeDef = {
        "AllowedOrigins": [origin],
        "AllowedMethods": ["PUT", "GET"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["ETag"],
    }
    s3.client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    url = s3.client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a"}, ExpiresIn=60)
    asked = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
    assert httpx.options(url, headers=asked).headers["access-control-allow-origin"] == origin
    assert "access-control-allow-origin" not in httpx.options(url, headers=asked | {"Origin": "http://evil"}).headers
    answer = httpx.put(url, content=b"1", headers={"Origin": origin})
    assert "etag" in answer.headers["access-control-expose-headers"].lower()


def test_s3_keeps_what_it_acknowledged_when_killed(tmp_path: Path) -> None:
    server = s3_server.S3(tmp_path, tuple(ports.free(s3_server.PORTS)), "key", "secret")
    client = server.client()
    server.prepare()
    try:
        for turn in range(2):
            child = processes.Child(server.command(), tmp_path / "log")
            try:
                child.wait_ready(server.ready, 60)
                if turn == 0:
                    client.create_bucket(Bucket="kept")
                    client.put_object(Bucket="kept", Key="a", Body=PART)
                else:
                    assert client.get_object(Bucket="kept", Key="a")["Body"].read() == PART
                child.send(signal.SIGKILL)
            finally:
                child.reap(timeout=30)
    finally:
        server.tidy()
    sockets = [path.name for path in s3_server.SOCKETS.glob("seaweedfs-*.sock")]
    assert [name for name in sockets for port in server.ports if str(port) in name] == []
