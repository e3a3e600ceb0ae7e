"""What a release does to the database, by the commands that the charts start, as real processes."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg2
import pytest
from charts_support import stage
from psycopg2 import sql
from support import S3Handle, wait_until

from academy_local import ports, processes
from academy_local.servers import pgbouncer as pgbouncer_server
from academy_local.servers import postgres as postgres_server

SECONDS = 120
LOCK_SECONDS = 5
"""How long `release` waits for a table at a time."""


class Database:
    """A fresh database with the two roles that docs/deploy.md makes on RDS."""

    def __init__(self, server: postgres_server.Postgres) -> None:
        self.server = server
        mark = uuid4().hex[:8]
        self.name, self.app, self.migrate = f"release_{mark}", f"app_{mark}", f"migrate_{mark}"
        self.others: list[str] = []
        self.execute(
            sql.SQL("CREATE ROLE {m} LOGIN CREATEROLE PASSWORD 'm'; SET ROLE {m}; CREATE ROLE {a} PASSWORD 'a'")
            .format(m=sql.Identifier(self.migrate), a=sql.Identifier(self.app)),
            "postgres",
        )  # fmt: skip
        self.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(self.name), sql.Identifier(self.migrate)),
            "postgres",
        )

    def connect(
        self, database: str | None = None, user: str = "", password: str = ""
    ) -> psycopg2.extensions.connection:
        dsn = self.server.dsn(database or self.name)
        raw = psycopg2.connect(dsn, **({"user": user, "password": password} if user else {}))
        raw.autocommit = True
        return raw

    def execute(self, statement: str | sql.Composable, database: str | None = None) -> list[tuple[object, ...]]:
        raw = self.connect(database)
        try:
            with raw.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            raw.close()

    def other_role(self) -> str:
        """A second role of the application, as docs/runbooks/rotate-credentials.md makes it."""
        other = f"{self.app}_b"
        self.others.append(other)
        self.execute(
            sql.SQL("SET ROLE {}; CREATE ROLE {} PASSWORD 'b'").format(
                sql.Identifier(self.migrate), sql.Identifier(other)
            )
        )
        return other

    def drop(self) -> None:
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(self.name)), "postgres")
        for role in (*self.others, self.app, self.migrate):
            self.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)), "postgres")

    def environment(self, user: str, password: str) -> dict[str, str]:
        return {**os.environ, "DB_NAME": self.name, "DB_USER": user, "DB_PASSWORD": password, "LOG_JSON": "true"}

    def start(self, *arguments: str, app: bool = False, **more: str) -> subprocess.Popen[str]:
        environment = self.environment(*((self.app, "a") if app else (self.migrate, "m")))
        environment |= {"DB_APP_ROLE": self.app, "DJANGO_SETTINGS_MODULE": "academy_api.settings", **more}
        command = [sys.executable, "-m", "academy_api.manage", *arguments]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, *arguments: str, code: int = 0, app: bool = False, **more: str) -> str:
        return ended(self.start(*arguments, app=app, **more), code)

    def query(self, statement: str) -> object:
        """The only value of the only row."""
        ((value,),) = self.execute(statement)
        return value


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """All that it wrote until it ended, with this exit code."""
    output, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == code, output
    return output


def says(process: subprocess.Popen[str], text: str) -> None:
    """Read what it writes up to a line with `text`."""
    assert process.stdout is not None
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if text in line:
                return
        raise AssertionError(f"it never said {text!r}: {lines}")
    finally:
        watchdog.cancel()


@pytest.fixture
def database(postgres: postgres_server.Postgres) -> Iterator[Database]:
    made = Database(postgres)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def migrated(postgres: postgres_server.Postgres) -> Iterator[Database]:
    made = Database(postgres)
    made.run("release")
    yield made
    made.drop()


def test_a_waiting_pod_goes_on_once_the_release_has_run_as_another_role(database: Database, tmp_path: Path) -> None:
    waiting = database.start("await_migrations", app=True)
    for name, content in {"academy": "첫 학원", "email": "d@example.com", "password": "long enough for all"}.items():
        (tmp_path / name).write_text(f"{content}\n")
    assert "BOOTSTRAPPED" in database.run("release", f"--bootstrap={tmp_path}")
    output = ended(waiting)
    assert "WAITING_FOR_MIGRATIONS" in output
    # Again: nothing changes, and nobody is made twice.
    (tmp_path / "password").write_text("another password entirely")
    database.run("release", f"--bootstrap={tmp_path}")
    assert database.execute("SELECT count(*) FROM accounts_membership") == [(1,)]


def test_the_application_reads_and_writes_but_owns_nothing(migrated: Database) -> None:
    raw = migrated.connect(user=migrated.app, password="a")
    with raw.cursor() as cursor:
        cursor.execute("INSERT INTO accounts_academy (id, name, created_at) VALUES (gen_random_uuid(), 'x', now())")
        cursor.execute("DELETE FROM accounts_academy")
        for refused in ("DROP TABLE accounts_academy", "CREATE TABLE mine (x int)", "TRUNCATE accounts_academy"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(refused)
    raw.close()


def test_the_application_cannot_log_in_before_its_role_has_its_timeouts(database: Database) -> None:
    """A pooler would keep such a connection, without them, for as long as it is busy."""
    with pytest.raises(psycopg2.OperationalError, match="not permitted to log in"):
        database.connect(user=database.app, password="a")
    database.run("release")
    database.connect(user=database.app, password="a").close()


def test_timeouts_are_the_roles_own(migrated: Database) -> None:
    raw = migrated.connect(user=migrated.app, password="a")
    with raw.cursor() as cursor:
        shown = {}
        for setting in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone"):
            cursor.execute(f"SHOW {setting}")
            shown[setting] = cursor.fetchone()[0]  # type: ignore[index]
    raw.close()
    assert shown == {
        "statement_timeout": "25s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "30s",
        "timezone": "UTC",
    }


def test_a_pod_whose_migration_failed_exits_with_the_reason_and_a_retry_mends_it(database: Database) -> None:
    # A table that is in the way.
    database.execute(
        sql.SQL("SET ROLE {}; CREATE TABLE accounts_academy (x int)").format(sql.Identifier(database.migrate))
    )
    assert "already exists" in database.run("release", code=1)
    reason = database.run("await_migrations", code=1, app=True)
    assert 'the migration failed: relation "accounts_academy" already exists' in reason
    database.execute("DROP TABLE accounts_academy")
    database.run("release")
    database.run("await_migrations", app=True)


def test_two_releases_at_once_run_one_after_the_other(database: Database) -> None:
    runs = [database.start("release") for _ in range(2)]
    for run in runs:
        ended(run)
    applied = database.execute("SELECT app, name, count(*) FROM django_migrations GROUP BY 1, 2 HAVING count(*) > 1")
    assert applied == []


INDEX = "academy_name"
NEXT_MIGRATION = f"""
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("accounts", "0002_answers_in_one_transaction")]
    operations = [AddIndexConcurrently("academy", models.Index(fields=["name"], name="{INDEX}"))]
"""
VALID = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('academy_name')"
BUILDS = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"


@pytest.fixture
def next_release(tmp_path: Path) -> dict[str, str]:
    """Environment of a release that makes an index on a table that is in use, concurrently."""
    package = tmp_path / "next_migrations"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"from academy_api.accounts import migrations\n__path__ = [*migrations.__path__, {str(package)!r}]\n"
    )
    (package / "9999_index.py").write_text(NEXT_MIGRATION)
    (tmp_path / "next_settings.py").write_text(
        "from academy_api.settings import *\nMIGRATION_MODULES = {'accounts': 'next_migrations'}\n"
    )
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"DJANGO_SETTINGS_MODULE": "next_settings", "PYTHONPATH": path}


@contextmanager
def writing(database: Database) -> Iterator[None]:
    """A transaction that has written to the table and goes on: the index waits for it."""
    raw = database.connect()
    raw.autocommit = False
    try:
        with raw.cursor() as cursor:
            cursor.execute("INSERT INTO accounts_academy (id, name, created_at) VALUES (gen_random_uuid(), 'x', now())")
        yield
    finally:
        raw.close()


def builds(database: Database) -> None:
    wait_until(lambda: database.query(BUILDS) == 1, SECONDS, "the index is being made")


def test_an_index_waits_longer_for_a_transaction_than_a_table_is_kept(
    database: Database, next_release: dict[str, str]
) -> None:
    database.run("release")
    with writing(database):
        process = database.start("release", **next_release)
        builds(database)
        time.sleep(2 * LOCK_SECONDS)
        assert database.query(BUILDS) == 1
    output = ended(process)
    assert "MIGRATION_WAITS" not in output
    assert database.query(VALID) is True


def test_an_index_that_came_too_late_is_made_anew_by_the_next_run(
    database: Database, next_release: dict[str, str]
) -> None:
    database.run("release")
    with writing(database):
        assert "lock timeout" in database.run("release", "--patience=2", code=1, **next_release)
    assert database.query(VALID) is False, "what Postgres leaves"
    database.run("release", **next_release)
    assert database.query(VALID) is True
    database.run("await_migrations", app=True, **next_release)


def test_a_whole_index_that_was_not_recorded_is_made_anew(database: Database, next_release: dict[str, str]) -> None:
    """A Job that is killed: its server process may finish the index."""
    database.run("release")
    database.execute(f"CREATE INDEX {INDEX} ON accounts_academy (id)")
    database.run("release", **next_release)
    assert "(name)" in str(database.query(f"SELECT pg_get_indexdef('{INDEX}'::regclass)"))


def test_a_run_that_is_killed_keeps_nobody_out(database: Database, next_release: dict[str, str]) -> None:
    database.run("release")
    with writing(database):
        killed = database.start("release", **next_release)
        builds(database)
        killed.kill()
        killed.communicate()
        # Its server process notices while it still waits for the transaction.
        wait_until(lambda: database.query(BUILDS) == 0, SECONDS, "the index is given up")
    database.run("release", **next_release)
    assert database.query(VALID) is True


def test_a_second_run_does_not_stand_in_the_way_of_the_firsts_index(
    database: Database, next_release: dict[str, str]
) -> None:
    database.run("release")
    with writing(database):
        first = database.start("release", **next_release)
        builds(database)
        second = database.start("release", **next_release)
        says(second, "another release is running")
    for run in (first, second):
        assert "deadlock" not in ended(run)
    assert database.query(VALID) is True


def test_a_run_that_is_stopped_says_so_at_once(database: Database, next_release: dict[str, str]) -> None:
    database.run("release")
    with writing(database):
        stopped = database.start("release", **next_release)
        builds(database)
        stopped.terminate()
        ended(stopped, 1)
        reason = database.run("await_migrations", code=1, app=True, **next_release)
    assert "the migration failed: stopped by SIGTERM" in reason
    database.run("release", **next_release)
    database.run("await_migrations", app=True, **next_release)


def test_an_older_run_that_ends_late_does_not_speak_for_the_newer_one(
    database: Database, next_release: dict[str, str]
) -> None:
    database.run("release")
    with writing(database):
        older = database.start("release", **next_release)
        builds(database)
        database.execute(
            "INSERT INTO migration_run (targets) SELECT targets FROM migration_run ORDER BY id DESC LIMIT 1"
        )
        older.terminate()
        older.communicate(timeout=SECONDS)
        waiting = database.run("await_migrations", "--seconds=1", code=1, app=True, **next_release)
    assert "not migrated within 1 s" in waiting


POOLED = 2
"""Server connections of the pooler below."""


class Pooler(pgbouncer_server.PgBouncer):
    """PgBouncer with the chart's settings, before the test server, which has no TLS."""

    def prepare(self) -> None:
        """With the chart's file in the place of its own, and no users yet."""
        super().prepare()
        chart = stage(
            1, database__host=ports.HOST, database__port=self.server.port, database__name=self.name,
            pgbouncer__poolSize=POOLED, pgbouncer__reservePoolSize=0,
        ).get("ConfigMap", "academy-pgbouncer")["data"]["pgbouncer.ini"]  # fmt: skip
        here = f"listen_port = {self.port}\nserver_tls_sslmode = disable\nserver_tls_ca_file =\n"
        users = f"auth_file = {self.folder / 'users.txt'}\nadmin_users = {postgres_server.USER}\n"
        (self.folder / "pgbouncer.ini").write_text(f"{chart}\n{here}{users}")

    def knows(self, **users: str) -> None:
        """The roles of its userlist, with their passwords, beside the test's own."""
        listed = {postgres_server.USER: self.server.password, **users}
        (self.folder / "users.txt").write_text("".join(f'"{name}" "{word}"\n' for name, word in listed.items()))


@pytest.fixture
def pooler(
    pgbouncer: pgbouncer_server.PgBouncer, database: Database, tmp_path: Path, free_port: int
) -> Iterator[Pooler]:
    """Before `database`, with both roles in its userlist."""
    made = Pooler(tmp_path / "pgbouncer", free_port, pgbouncer.server, name=database.name)
    made.prepare()
    made.knows(**{database.app: "a", database.other_role(): "b"})
    child = processes.Child(made.command(), tmp_path / "log")
    try:
        child.wait_ready(made.ready, SECONDS)
        yield made
    finally:
        child.stop()


def asks(pooler: Pooler, database: Database, role: str, word: str) -> str:
    """Who the server says a client of the pooler is; the error where it does not get through."""
    try:
        with (
            closing(
                psycopg2.connect(
                    host=ports.HOST,
                    port=pooler.port,
                    dbname=database.name,
                    user=role,
                    password=word,
                    connect_timeout=30,
                )
            ) as raw,
            raw.cursor() as cursor,
        ):
            cursor.execute("SELECT current_user FROM accounts_academy RIGHT JOIN (VALUES (1)) AS one ON true")
            return str(cursor.fetchall()[0][0])
    except psycopg2.OperationalError as error:
        return str(error)


def test_two_roles_take_turns_and_share_the_poolers_connections(database: Database, pooler: Pooler) -> None:
    """The steps of docs/runbooks/rotate-credentials.md, the database password."""
    (other,) = database.others
    database.run("release")
    assert asks(pooler, database, database.app, "a") == database.app
    assert "not permitted to log in" in asks(pooler, database, other, "b"), "before the release that names it"
    database.run("release", DB_APP_ROLE=other)
    used = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'app%'"
    for _ in range(3):
        # As many clients as there are connections, of the one role and then of the other: idle ones give way.
        for role, word in ((database.app, "a"), (other, "b")):
            with ThreadPoolExecutor(2 * POOLED) as clients:
                said = list(clients.map(lambda _, role=role, word=word: asks(pooler, database, role, word), range(8)))
            assert set(said) == {role}
            # Those that gave way have been told to end; the server may be a moment about it.
            wait_until(lambda: int(str(database.query(used))) <= POOLED, SECONDS, "more connections than are pooled")
    database.execute(
        sql.SQL("SET ROLE {}; ALTER ROLE {} NOLOGIN PASSWORD NULL").format(
            sql.Identifier(database.migrate), sql.Identifier(database.app)
        )
    )
    pooler.knows(**{other: "b"})
    with closing(psycopg2.connect(pooler.dsn("pgbouncer"))) as raw:
        raw.autocommit = True
        raw.cursor().execute("RELOAD")
    assert asks(pooler, database, other, "b") == other
    assert "authentication failed" in asks(pooler, database, database.app, "a")


def test_a_table_in_use_is_waited_for_in_short_turns(database: Database) -> None:
    database.run("release")
    # A migration again, as if it were new; somebody holds what it wants.
    database.execute("DELETE FROM django_migrations WHERE app = 'ledger' AND name >= '0003'")
    holder = database.connect()
    holder.autocommit = False
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE migration_run IN ACCESS EXCLUSIVE MODE")
    process = database.start("release")
    says(process, "lock timeout")
    holder.rollback()
    holder.close()
    output = ended(process, 1)
    assert "unsafe migrations: ledger.0003_functions" in output


def test_a_dump_restores_to_the_same_rows(migrated: Database, bucket: str, s3: S3Handle, tmp_path: Path) -> None:
    migrated.execute(
        "INSERT INTO accounts_academy (id, name, created_at) SELECT gen_random_uuid(), 'academy ' || n, now()"
        " FROM generate_series(1, 500) n"
    )
    bin_folder = Path(postgres_server.binary("pg_dump")).parent
    more = {"R2_BACKUP_BUCKET": bucket, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    assert "BACKUP_NOT_NEEDED" in migrated.run("backup", "--mode=dump", "--if-pending", **more)
    output = migrated.run("backup", "--mode=dump", **more)
    (event,) = [json.loads(line) for line in output.splitlines() if "BACKED_UP" in line]
    file = tmp_path / "copy.dump"
    s3.client.download_file(bucket, event["backup"], str(file))
    copy = f"{migrated.name}_copy"
    migrated.execute(f'CREATE DATABASE "{copy}"', "postgres")
    try:
        subprocess.run(
            [bin_folder / "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error",
             f"--dbname={migrated.server.dsn(copy)}", file], check=True, timeout=SECONDS,
        )  # fmt: skip
        tables = migrated.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        assert len(tables) > 10
        for (table,) in tables:
            rows = f'SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM "{table}" t'  # noqa: S608
            assert migrated.execute(rows, copy) == migrated.execute(rows), table
    finally:
        migrated.execute(f'DROP DATABASE "{copy}"', "postgres")


def test_a_dump_that_fails_leaves_nothing_and_stops_the_release(migrated: Database, bucket: str, s3: S3Handle) -> None:
    bin_folder = Path(postgres_server.binary("pg_dump")).parent
    more = {"R2_BACKUP_BUCKET": bucket, "PATH": f"{bin_folder}:{os.environ['PATH']}", "DB_DIRECT_PORT": "1"}
    assert "backup failed: pg_dump" in migrated.run("backup", "--mode=dump", code=1, **more)
    assert s3.client.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.fixture
def pending(database: Database, bucket: str, next_release: dict[str, str]) -> dict[str, str]:
    """Environment of a release that has something to back up before."""
    database.run("release")
    bin_folder = Path(postgres_server.binary("pg_dump")).parent
    return {**next_release, "R2_BACKUP_BUCKET": bucket, "PATH": f"{bin_folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"R2_SECRET_KEY": "wrong"}, "put"),
        ({"DB_DIRECT_PORT": "1"}, "pg_dump"),
    ],
)
def test_who_waits_for_the_migration_is_told_that_the_backup_failed(
    database: Database, pending: dict[str, str], wrong: dict[str, str], reason: str
) -> None:
    database.run("backup", "--mode=dump", "--if-pending", code=1, **pending | wrong)
    told = database.run("await_migrations", code=1, app=True, **pending)
    assert "the backup failed: " in told
    assert reason in told
    # Tried again, it is under way and no longer failed.
    database.run("backup", "--mode=dump", "--if-pending", **pending)
    assert "not migrated within 1 s" in database.run("await_migrations", "--seconds=1", code=1, app=True, **pending)


def test_a_backup_that_is_stopped_says_so_and_leaves_nothing(
    database: Database, pending: dict[str, str], s3: S3Handle, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    real = postgres_server.binary("pg_dump")
    begun = tmp_path / "begun"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\necho begun; : >{begun}; exec sleep {SECONDS}\n'
    )
    program.chmod(0o755)
    slow = {**pending, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    process = database.start("backup", "--mode=dump", "--if-pending", **slow)
    wait_until(begun.exists, SECONDS, "the backup begins")
    process.terminate()
    ended(process, 1)
    told = database.run("await_migrations", code=1, app=True, **pending)
    assert "the backup failed: stopped by SIGTERM" in told
    assert s3.client.list_objects_v2(Bucket=pending["R2_BACKUP_BUCKET"])["KeyCount"] == 0


def test_an_empty_database_needs_no_backup(database: Database, bucket: str) -> None:
    output = database.run("backup", "--mode=dump", "--if-pending", R2_BACKUP_BUCKET=bucket)
    assert "empty database" in output


def test_another_servers_pg_dump_is_refused(migrated: Database, bucket: str, tmp_path: Path) -> None:
    wrong = tmp_path / "pg_dump"
    wrong.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 11.4'\n")
    wrong.chmod(0o755)
    output = migrated.run(
        "backup", "--mode=dump", code=1, R2_BACKUP_BUCKET=bucket, PATH=f"{tmp_path}:{os.environ['PATH']}"
    )
    assert "the server is PostgreSQL 18" in output
    assert "is pg_dump (PostgreSQL) 11.4" in output
