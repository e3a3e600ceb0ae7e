"""PgBouncer's configuration, and the arithmetic of connections (templates/pgbouncer/, templates/_checks.tpl)."""

import configparser

import pytest
import yaml
from charts_support import CHARTS, RENDERINGS, SITE, STAGES, Manifest, Refused, Release, render, rendering, stage
from hypothesis import given, settings
from hypothesis import strategies as st

GUNICORN_TIMEOUT = 30


def ini(release: Release) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(comment_prefixes=("#", ";"))
    parser.read_string(release.get("ConfigMap", "academy-pgbouncer")["data"]["pgbouncer.ini"])
    return parser


@pytest.mark.parametrize("name", [name for name in RENDERINGS if name != "without-pgbouncer"])
def test_transactions_are_pooled_over_verified_tls_and_a_database_that_is_back_is_found(name: str) -> None:
    pooler = ini(rendering(name))["pgbouncer"]
    assert pooler["pool_mode"] == "transaction"
    assert pooler["auth_type"] == "scram-sha-256"
    assert pooler["server_tls_sslmode"] == "verify-full"
    assert pooler["server_tls_ca_file"] == "/etc/academy/database-ca/ca.pem"
    assert pooler["server_login_retry"] == "1"
    assert int(pooler["query_wait_timeout"]) < GUNICORN_TIMEOUT
    assert "admin_users" not in pooler


def test_a_rollout_takes_the_address_away_before_sigterm_and_waits_for_clients() -> None:
    deployment = stage(3).get("Deployment", "academy-pgbouncer")["spec"]
    pod = deployment["template"]["spec"]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pause >= 10
    assert pod["terminationGracePeriodSeconds"] >= pause + GUNICORN_TIMEOUT
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_changed_configuration_replaces_the_pods() -> None:
    checksums = {
        release.get("Deployment", "academy-pgbouncer")["spec"]["template"]["metadata"]["annotations"][
            "checksum/settings"
        ]
        for release in (stage(1), stage(1, pgbouncer__poolSize=19))
    }
    assert len(checksums) == 2


def test_django_knows_whether_a_pooler_is_there() -> None:
    pooled = stage(1).get("ConfigMap", "academy-api")["data"]
    assert (pooled["DB_HOST"], pooled["DB_PORT"], pooled["DB_CONN_MAX_AGE"]) == ("academy-pgbouncer", "6432", "0")
    alone = rendering("without-pgbouncer")
    direct = alone.get("ConfigMap", "academy-api")["data"]
    assert (direct["DB_HOST"], direct["DB_CONN_MAX_AGE"]) == (direct["DB_DIRECT_HOST"], "60")
    assert "academy-pgbouncer" not in alone.text


def test_the_exporter_reads_statistics_and_nothing_else() -> None:
    pooler = ini(rendering("monitored"))["pgbouncer"]
    assert pooler["stats_users"] == "pgbouncer_exporter"
    assert "stats_users" not in ini(stage(1))["pgbouncer"]


def refusal(**sets: object) -> str:
    with pytest.raises(Refused) as caught:
        render(STAGES[0], SITE, sets={key.replace("__", "."): value for key, value in sets.items()})
    return str(caught.value)


def test_too_many_clients_fail_with_the_sum_spelled_out() -> None:
    assert (
        "pgbouncer.maxClientConnections: (3 api + 1 surge) × 4 workers × 50 database.maxConcurrency = 800 clients, "
        "more than 1 PgBouncer left in a rollout × 400 = 400"
    ) in refusal(api__replicas=3, database__maxConcurrency=50)


def test_too_many_server_connections_fail_with_the_sum_spelled_out() -> None:
    assert (
        "database.maxConnections: (1 pgbouncer + 1 draining) × (40 poolSize + 5 reservePoolSize) + 1 relay + 1 ending "
        "+ 1 migrate + 1 backup + 1 exporter = 95, more than 87 database.maxConnections - 5 reserved = 82"
    ) in refusal(pgbouncer__poolSize=40)


def test_without_a_pooler_the_api_itself_must_fit() -> None:
    assert (
        "database.maxConnections: (1 api + 1 ending) × 4 workers × 20 database.maxConcurrency + 1 relay + 1 ending + "
        "1 migrate + 1 backup + 1 exporter = 165, more than 87 database.maxConnections - 5 reserved = 82"
    ) in refusal(pgbouncer__enabled=False)


READY_SECONDS = 3
"""From a pooler's start to its readiness: less than one of before takes to end."""


def most_at_once(deployment: Manifest, ready_seconds: int = READY_SECONDS) -> int:
    """How many of its pods may have connections in a rollout, which is played through second by second.

    The Deployment's controller keeps maxUnavailable and maxSurge among pods that do not end; who ends counts only here,
    until its grace period is over.
    """
    spec = deployment["spec"]
    wanted, rolling = spec["replicas"], spec["strategy"]["rollingUpdate"]
    old, new, starting, ending, most = wanted, 0, list[int](), list[int](), 0
    for now in range(600):
        new += starting.count(now)
        starting = [at for at in starting if at > now]
        ending = [at for at in ending if at > now]
        while old and old + new > wanted - rolling["maxUnavailable"]:
            old -= 1
            ending.append(now + spec["template"]["spec"]["terminationGracePeriodSeconds"])
        while new + len(starting) < wanted and old + new + len(starting) < wanted + rolling["maxSurge"]:
            starting.append(now + ready_seconds)
        most = max(most, old + new + len(starting) + len(ending))
    assert (old, new, starting, ending) == (0, wanted, [], []), "the rollout has ended"
    return most


def rolled(name: str, replicas: int) -> int:
    """`most_at_once` of a component with so many replicas."""
    deployment = stage(1).get("Deployment", name)
    return most_at_once({**deployment, "spec": {**deployment["spec"], "replicas": replicas}})


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_rollout_of_a_preset_stays_below_what_postgres_has(number: int) -> None:
    release = stage(number)
    values = yaml.safe_load((CHARTS / "academy" / "values.yaml").read_text())["database"]
    values |= yaml.safe_load((CHARTS / "academy" / STAGES[number - 1]).read_text())["database"]
    pooler = ini(release)["pgbouncer"]
    each = int(pooler["default_pool_size"]) + int(pooler["reserve_pool_size"])
    assert int(pooler["max_db_connections"]) == each, "for all roles together"
    pooled = most_at_once(release.get("Deployment", "academy-pgbouncer")) * each
    direct = most_at_once(release.get("Deployment", "academy-relay")) + 1 + 1 + values["exporterConnections"]
    assert pooled + direct <= values["maxConnections"] - values["reservedConnections"]


@settings(max_examples=25)
@given(
    replicas=st.integers(1, 6),
    internal=st.integers(0, 3),
    workers=st.integers(1, 8),
    concurrency=st.integers(1, 40),
    poolers=st.integers(1, 3),
    pool=st.integers(1, 60),
    relays=st.integers(1, 3),
)
def test_the_chart_renders_exactly_when_both_sums_hold(
    *, replicas: int, internal: int, workers: int, concurrency: int, poolers: int, pool: int, relays: int
) -> None:
    sets = {
        "api.replicas": replicas,
        "apiInternal.enabled": internal > 0,
        "apiInternal.replicas": max(internal, 1),
        "api.gunicorn.workers": workers,
        "database.maxConcurrency": concurrency,
        "pgbouncer.replicas": poolers,
        "pgbouncer.poolSize": pool,
        "relay.replicas": relays,
    }
    clients = (replicas + 1 + (internal + 1 if internal else 0)) * workers * concurrency
    servers = rolled("academy-pgbouncer", poolers) * (pool + 5) + rolled("academy-relay", relays) + 1 + 1 + 1
    fits = clients <= max(1, poolers - 1) * 400 and servers <= 87 - 5
    reason = "" if fits else refusal(**{key.replace(".", "__"): value for key, value in sets.items()})
    assert ("maxClientConnections:" in reason) == (clients > max(1, poolers - 1) * 400)
    assert ("maxConnections:" in reason) == (servers > 82)
    if fits:
        render(STAGES[0], SITE, sets=sets)
