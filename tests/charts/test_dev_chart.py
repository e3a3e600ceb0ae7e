"""charts/academy-dev, and that charts/academy renders the same for its emulators as for production."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from charts_support import CHARTS, SITE, Manifest, Release, render

ENDPOINTS = {
    "site.url",
    "aws.accountId",
    "aws.sqsEndpoint",
    "r2.endpoint",
    "playback.baseUrl",
    "database.host",
    "networkPolicy.clusterCidrs",
    "networkPolicy.vpcCidrs",
    "networkPolicy.databaseCidrs",
    "networkPolicy.apiServerCidrs",
    "networkPolicy.apiServerPort",
}
"""Values that say where something is."""
CREDENTIALS = {"keda.credentialsSecret", "aws.roles"}
DIFFERS = (
    # Endpoints.
    r"ConfigMap academy-(api|worker)/data/(SITE_URL|CDN_HLS_BASE_URL|R2_ENDPOINT|AWS_ENDPOINT_URL_SQS|DB_DIRECT_HOST)",
    r"ConfigMap academy-pgbouncer/data/pgbouncer.ini",
    r"ScaledObject [a-z-]+/spec/triggers/\d/metadata/(queueURL|awsEndpoint)",
    r"Job academy-migrate/spec/template/spec/(initContainers|containers)/0/env/\d/value",
    r"Deployment academy-relay/spec/template/spec/initContainers/0/env/\d/value",
    r"Bucket academy-(ai|video)/spec/cors/0/allowedOrigins/0",
    r"NetworkPolicy [a-z-]+/spec/(in|e)gress/.*(cidr|except|port).*",
    # What follows from them: a changed ConfigMap replaces its pods, a changed pod renames the Job.
    r"\w+ [a-z-]+/(spec/template/)?(spec/template/)?metadata/annotations/checksum/settings",
    r"Job academy-migrate/metadata/name",
    # The TriggerAuthentication's body and the ServiceAccounts' annotations.
    r"TriggerAuthentication academy-queues/spec/(podIdentity|secretTargetRef)",
    r"ServiceAccount [a-z-]+/metadata/annotations",
)
"""The exact list of what an emulator may change."""


def chosen(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """The given keys of nested values, as single values for helm."""
    found = {}
    for key in keys:
        node: Any = values
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            found[key] = node
    return found


def pair() -> tuple[Release, Release]:
    """The dev preset's sizes with production's addresses and credentials, and the dev preset as it is."""
    base = yaml.safe_load((CHARTS / "academy" / "values-dev.yaml").read_text())
    site = yaml.safe_load(SITE.read_text())
    cleared = {"aws.sqsEndpoint": "", "keda.credentialsSecret": "", "networkPolicy.apiServerPort": 443}
    production = cleared | chosen(site, ENDPOINTS | CREDENTIALS)
    assert chosen(base, ENDPOINTS).keys() == ENDPOINTS
    production["networkPolicy.apiServerCidrs"] = production["networkPolicy.apiServerCidrs"][:1]  # as many as on kind
    trusted = {"site.trustedProxies": 0}  # no load balancer before kind: of the site, not of the emulator
    return render("values-dev.yaml", sets=production | trusted), render("values-dev.yaml", sets=trusted)


def key(manifest: Manifest) -> str:
    name = re.sub("^(academy-migrate)-[0-9a-f]+$", r"\1", manifest["metadata"]["name"])
    return f"{manifest['kind']} {name}"


def differences(one: Any, other: Any, path: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        missing = object()
        return [
            found
            for name in sorted(one.keys() | other.keys())
            for found in differences(one.get(name, missing), other.get(name, missing), f"{path}/{name}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for index, (a, b) in pairs for found in differences(a, b, f"{path}/{index}")]
    return [] if one == other else [path]


def test_the_emulator_changes_exactly_what_it_may() -> None:
    production, emulated = ({key(manifest): manifest for manifest in release.all} for release in pair())
    assert production.keys() == emulated.keys()
    found = [path for name in production for path in differences(production[name], emulated[name], name)]
    assert [path for path in found if not any(re.fullmatch(pattern, path) for pattern in DIFFERS)] == []
    unused = [pattern for pattern in DIFFERS if not any(re.fullmatch(pattern, path) for path in found)]
    assert unused == [], "the list is wider than what differs"


def test_only_the_addresses_differ_within_pgbouncers_configuration() -> None:
    lines = [release.get("ConfigMap", "academy-pgbouncer")["data"]["pgbouncer.ini"].splitlines() for release in pair()]
    differing = [(a, b) for a, b in zip(*lines, strict=True) if a != b]
    assert len(differing) == 1
    assert differing[0][1] == "academy = host=academy-dev-postgres port=5432 dbname=academy"


def backends() -> Release:
    return render(chart="academy-dev", name="academy-dev")


def test_it_makes_every_secret_with_every_key_that_is_read() -> None:
    secrets = {name: manifest["stringData"] for name, manifest in backends().of("Secret").items()}
    platform = render("values-dev.yaml")
    for owner, container in platform.containers():
        for source in container.get("envFrom", ()):
            if "secretRef" in source:
                assert source["secretRef"]["name"] in secrets, owner
    for owner, pod in platform.pods():
        for volume in pod["spec"].get("volumes", ()):
            if "secret" in volume:
                keys = {item["key"] for item in volume["secret"].get("items", ())}
                assert keys <= secrets[volume["secret"]["secretName"]].keys(), owner
    (reference,) = {
        (entry["name"]) for entry in platform.get("TriggerAuthentication", "academy-queues")["spec"]["secretTargetRef"]
    }
    assert secrets[reference].keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_tokens_match_and_no_two_classes_share_one() -> None:
    secrets = {name: manifest["stringData"] for name, manifest in backends().of("Secret").items()}
    app = secrets["academy-app"]
    workers = {"VIDEO": "academy-video-worker", "AI_CPU": "academy-ai-worker-cpu", "AI_GPU": "academy-ai-worker-gpu"}
    for name, secret in workers.items():
        assert app[f"INTERNAL_WORKER_TOKENS_{name}"] == secrets[secret]["INTERNAL_WORKER_TOKEN"]
    tokens = [value for name, value in app.items() if name.startswith("INTERNAL_WORKER_TOKENS_")]
    assert len(set(tokens)) == len(tokens) == 4
    assert all(len(token) >= 32 for token in tokens)
    assert f'"academy_app" "{app["DB_PASSWORD"]}"' in secrets["academy-pgbouncer"]["userlist.txt"]


def test_postgres_has_a_certificate_of_the_name_that_clients_verify(tmp_path: Path) -> None:
    secrets = {name: manifest["stringData"] for name, manifest in backends().of("Secret").items()}
    ca, certificate = tmp_path / "ca.pem", tmp_path / "tls.crt"
    ca.write_text(secrets["academy-database-ca"]["ca.pem"])
    certificate.write_text(secrets["academy-dev-postgres-tls"]["tls.crt"])
    host = render("values-dev.yaml").get("ConfigMap", "academy-api")["data"]["DB_DIRECT_HOST"]
    command = ["openssl", "verify", "-CAfile", ca, "-verify_hostname", host, certificate]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


def test_the_start_script_is_a_shell_script() -> None:
    script = backends().get("ConfigMap", "academy-dev-postgres")["data"]["start.sh"]
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=30)


def test_its_policies_open_the_way_to_the_backends_and_nothing_else() -> None:
    for policy in backends().of("NetworkPolicy").values():
        for rule in (*policy["spec"].get("egress", ()), *policy["spec"].get("ingress", ())):
            assert {port["port"] for port in rule["ports"]} <= {5432, 5000, 8333}
