"""Where AWS credentials come from: IRSA and EKS Pod Identity through boto3's own chain, and a Secret a resource.

Stand-ins answer for STS and the Pod Identity agent; what is looked at is whose signature reaches SQS.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from forwarding import Proxy, Request
from operator_e2e import Kube, Operator, eventually

MakeOperator = Callable[..., Operator]
READY = ("True", "Available")
ROLE = "arn:aws:iam::111122223333:role/academy-operator"
NOBODY = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
"""An environment without keys: the chain has to look further."""
LIFETIME = timedelta(minutes=5)
"""Shorter than the ten minutes that botocore wants left: each use asks for new ones."""


class Issuer:
    """STS's AssumeRoleWithWebIdentity (POST) and the Pod Identity agent (GET): a new access key each time."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        """The tokens that were presented."""
        self.count = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.shown.append(self.headers.get("Authorization", ""))
                key, expiry = issuer.issue()
                answer = {"AccessKeyId": key, "SecretAccessKey": "s", "Token": f"session-{key}", "Expiration": expiry}
                self._answer("application/json", json.dumps(answer))

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                assert (form["Action"], form["RoleArn"]) == (["AssumeRoleWithWebIdentity"], [ROLE])
                issuer.shown += form["WebIdentityToken"]
                key, expiry = issuer.issue()
                credentials = (
                    f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                    f"<SessionToken>session-{key}</SessionToken><Expiration>{expiry}</Expiration>"
                )
                result = f"<AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials>"
                self._answer(
                    "text/xml",
                    "<AssumeRoleWithWebIdentityResponse xmlns='https://sts.amazonaws.com/doc/2011-06-15/'>"
                    f"{result}</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
                )

            def _answer(self, kind: str, text: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
                """Stay quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def issue(self) -> tuple[str, str]:
        """An access key id and when it expires."""
        self.count += 1
        return f"ASIA{self.count:016d}", (datetime.now(UTC) + LIFETIME).strftime("%Y-%m-%dT%H:%M:%SZ")

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """A fresh one."""
    issuer = Issuer()
    yield issuer
    issuer.close()


class Signatures:
    """Who signed what reached SQS: (access key id, session token)."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()
        self.endpoint = ""

    def look(self, request: Request) -> None:
        """A proxy's hook."""
        found = re.search(r"Credential=([^/]+)/", request.headers.get("Authorization") or "")
        if found:
            self.seen.add((found[1], request.headers.get("X-Amz-Security-Token") or ""))


@pytest.fixture
def signatures(endpoint: str) -> Iterator[Signatures]:
    """A fresh record, and a way to SQS that fills it."""
    signatures = Signatures()
    proxy = Proxy(int(endpoint.rpartition(":")[2]), before=signatures.look)
    signatures.endpoint = proxy.endpoint
    yield signatures
    proxy.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The projected service account token, which the kubelet rotates."""
    path = tmp_path / "token"
    path.write_text("first", encoding="utf-8")
    return path


def serve(operator: Operator, signatures: Signatures, kube: Kube, name: str) -> None:
    """One queue is made and looked at again and again."""
    operator.endpoint = signatures.endpoint
    operator.start()
    kube.create(operator.namespace, "queues", name, {})
    kube.await_condition(operator.namespace, "queues", name, "Ready", READY)


def check_rotation(issuer: Issuer, token: Path, signatures: Signatures) -> None:
    """Issued keys sign, session token included; a rotated token is presented; later keys replace earlier ones."""
    assert issuer.shown[0] == "first"
    seen = set(signatures.seen)  # which grows meanwhile
    assert seen
    assert all(key.startswith("ASIA") and session == f"session-{key}" for key, session in seen)
    token.write_text("second", encoding="utf-8")
    eventually(lambda: issuer.shown[-1] == "second", "the rotated token is presented")
    newest = f"ASIA{issuer.count:016d}"
    eventually(lambda: max(signatures.seen)[0] >= newest, "the keys issued for it sign")


def test_eks_pod_identity(
    kube: Kube, make_operator: MakeOperator, issuer: Issuer, token: Path, signatures: Signatures
) -> None:
    operator = make_operator(
        kube.namespace(),
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{issuer.endpoint}/v1/credentials",
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(token),
        **NOBODY,
    )
    serve(operator, signatures, kube, "academy-pod-identity")
    check_rotation(issuer, token, signatures)


def test_iam_roles_for_service_accounts(
    kube: Kube, make_operator: MakeOperator, issuer: Issuer, token: Path, signatures: Signatures
) -> None:
    operator = make_operator(
        kube.namespace(),
        AWS_ROLE_ARN=ROLE,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(token),
        AWS_ENDPOINT_URL_STS=issuer.endpoint,
        **NOBODY,
    )
    serve(operator, signatures, kube, "academy-irsa")
    check_rotation(issuer, token, signatures)


def test_a_secret_of_its_own_signs_for_a_resource_and_a_rotation_is_seen(
    kube: Kube, namespace: str, make_operator: MakeOperator, signatures: Signatures
) -> None:
    """Another account's queue beside the operator's own; both keys are used, each for its own."""
    operator = make_operator(namespace)
    operator.endpoint = signatures.endpoint
    operator.start()
    secret = {"metadata": {"name": "other"}, "stringData": {"access-key-id": "AKIAONE", "secret-access-key": "s"}}
    kube.core.create_namespaced_secret(namespace, secret)
    kube.create(namespace, "queues", "academy-other", {"credentials": {"secretName": "other"}})
    kube.await_condition(namespace, "queues", "academy-other", "Ready", READY)
    assert signatures.seen == {("AKIAONE", "")}
    kube.core.patch_namespaced_secret("other", namespace, {"stringData": {"access-key-id": "AKIATWO"}})
    eventually(lambda: ("AKIATWO", "") in signatures.seen, "the rotated Secret is used")
    kube.create(namespace, "queues", "academy-own", {})
    kube.await_condition(namespace, "queues", "academy-own", "Ready", READY)
    assert signatures.seen == {("AKIAONE", ""), ("AKIATWO", ""), ("test", "")}


def test_without_any_credentials_the_resource_says_so(kube: Kube, namespace: str, make_operator: MakeOperator) -> None:
    operator = make_operator(namespace, **NOBODY)
    operator.start()
    kube.create(namespace, "queues", "academy-nobody", {})
    kube.await_condition(namespace, "queues", "academy-nobody", "Degraded", ("True", "CredentialsMissing"))
