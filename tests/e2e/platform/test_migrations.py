"""A release with a migration, under load: one that fails and is mended, one that is overtaken, and the way back.

The next release is the present one with a column more (`stand_ins/next_release.Dockerfile`).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import api_load
import exam_e2e
import platform_e2e
import psycopg2
import pytest
from cluster import images, kubectl, provider
from platform_e2e import Platform
from support import wait_until
from test_database import sends

from academy_local import client

NEXT = "stand-in-next-release"
MIGRATION = "9999_next_release"
FAILS_SECONDS = 180
WAITS_SECONDS = 120
HELM_SECONDS = 420
LOOK_SECONDS = 1.0


def next_release(**more: Any) -> dict[str, Any]:
    """Values of the release that has the migration."""
    values = platform_e2e.platform_values()
    values["images"]["api"] = {"repository": NEXT, "tag": images.tag(NEXT)}
    return {**values, **more}


@pytest.fixture(scope="module")
def next_image(cluster: provider.Provider) -> None:
    """Its image on the nodes."""
    cluster.load(images.archive(NEXT))


@pytest.fixture
def exam(platform: Platform, director: client.Client, next_image: None) -> Iterator[exam_e2e.Exam]:  # noqa: ARG001 - is there
    """An exam to ask for; after the test the present release and its schema."""
    made = exam_e2e.make(director)
    yield made
    platform.install()
    platform.query("ALTER TABLE exams_exam DROP COLUMN IF EXISTS next_release")
    platform.query("DELETE FROM django_migrations WHERE name = :'name'", name=MIGRATION)
    made.delete()


def column(platform: Platform) -> bool:
    """Whether the migration's column is there."""
    found = platform.query(
        "SELECT 1 AS one FROM information_schema.columns"
        " WHERE table_name = 'exams_exam' AND column_name = 'next_release'"
    )
    return bool(found)


def applied(platform: Platform) -> int:
    """How often the migration is noted as done."""
    (row,) = platform.query("SELECT count(*) FROM django_migrations WHERE name = :'name'", name=MIGRATION)
    return int(row["count"])


def waits_in_vain(platform: Platform) -> str:
    """What an API pod said that ended because the migration had failed; nothing while there is none."""
    for pod in platform.run.pods("app.kubernetes.io/component=api"):
        for status in pod["status"].get("initContainerStatuses", []):
            if status["name"] == "migrated" and status["restartCount"]:
                return said(platform, pod["metadata"]["name"], "-c", "migrated", "--previous")
    return ""


def jobs(platform: Platform) -> list[str]:
    """The migrate Jobs that there are."""
    found = platform.run("get", "jobs", "-l", "app.kubernetes.io/component=migrate", "-o", "name")
    return [name.removeprefix("job.batch/") for name in found.split()]


def log_of(platform: Platform, job: str) -> str:
    """What a Job has said so far; nothing before its container runs."""
    return said(platform, f"job/{job}", "-c", "migrate")


def said(platform: Platform, *whose: str) -> str:
    """A log; nothing where there is none, not yet or no more."""
    try:
        return platform.run("logs", *whose)
    except kubectl.Refused:
        return ""


def looked(question: Any) -> Any:
    """Its answer, not asked too often."""
    time.sleep(LOOK_SECONDS)
    return question()


def test_a_failed_migration_leaves_the_old_release_serving_and_a_retry_mends_it(
    platform: Platform, exam: exam_e2e.Exam
) -> None:
    platform.query("ALTER TABLE exams_exam ADD COLUMN next_release text")  # in the way
    with api_load.running(*platform.signed_in(exam.director), *sends(exam.id)) as load:
        platform.install(next_release(), wait=False)
        wait_until(
            lambda: "already exists" in looked(lambda: waits_in_vain(platform)),
            FAILS_SECONDS,
            "the new API pod ends with the migration's reason",
        )
        assert platform.available("academy-api")
        assert applied(platform) == 0
        platform.query("ALTER TABLE exams_exam DROP COLUMN next_release")
        platform.install(next_release(migrate={"retry": "mended"}))
    print(f"migration failed, mended, retried: {load}")  # noqa: T201  (a drill tells)
    assert load.requests > 0
    assert load.failed == []
    assert (applied(platform), column(platform)) == (1, True)


@contextmanager
def table_in_use(platform: Platform) -> Iterator[None]:
    """Somebody's long transaction on the table that the migration wants for itself."""
    connection = psycopg2.connect(
        host=platform.address("academy-dev-postgres"),
        dbname="academy",
        user="postgres",
        password=platform.secret("academy-dev-drawn")["admin"],
        sslmode="require",
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE exams_exam IN ROW SHARE MODE")
        yield
    finally:
        connection.close()


def test_an_upgrade_overtakes_a_migration_that_waits(platform: Platform, exam: exam_e2e.Exam) -> None:
    """The second release's Job waits for the first one's turn or takes it over; the column comes once."""
    before = platform.helm.revision("academy")
    with api_load.running(*platform.signed_in(exam.director), *sends(exam.id)) as load:
        with table_in_use(platform):
            platform.install(next_release(), wait=False)
            (first,) = jobs(platform)
            waits = "MIGRATION_WAITS"
            wait_until(
                lambda: waits in looked(lambda: log_of(platform, first)), WAITS_SECONDS, "the migration gives way"
            )
            platform.install(next_release(log={"level": "DEBUG"}), wait=False)
            (second,) = jobs(platform)
            assert second != first
            wait_until(
                lambda: bool(looked(lambda: log_of(platform, second))), WAITS_SECONDS, "the second one has begun"
            )
            assert applied(platform) == 0
        platform.install(next_release(log={"level": "DEBUG"}))
        assert (applied(platform), column(platform)) == (1, True)
        back = ("rollback", "academy", str(before), "--wait", "--timeout", f"{HELM_SECONDS}s")
        platform.helm(*back, timeout=2 * HELM_SECONDS)
    print(f"upgraded during a migration, rolled back on the new schema: {load}")  # noqa: T201  (a drill tells)
    assert load.requests > 0
    assert load.failed == []
    assert column(platform), "going back takes nothing away"
