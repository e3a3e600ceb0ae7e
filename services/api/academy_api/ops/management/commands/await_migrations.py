"""`python -m academy_api.manage await_migrations`: what an API or relay pod does before its process starts."""

import time
from argparse import ArgumentParser

import structlog
from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connection

from academy_api.ops import runs
from academy_core import log as logs
from academy_core.settings import ApiSettings, load

log = structlog.get_logger(__name__)

SECONDS = 900.0
EVERY_SECONDS = 1.0


class Command(BaseCommand):
    """Wait until the database has all migrations of this version; exit with the reason when their run failed."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How long to wait."""
        parser.add_argument("--seconds", type=float, default=SECONDS)

    def handle(self, *_args: str, seconds: float, **_options: object) -> None:
        """Exit code 1 when the run failed or nothing came in time."""
        logs.configure(load(ApiSettings))
        deadline = time.monotonic() + seconds
        said = ""
        while (waiting := _waiting_for()) is not None:
            if waiting != said:
                log.info("WAITING_FOR_MIGRATIONS", reason=waiting)
                said = waiting
            if time.monotonic() > deadline:
                raise CommandError(f"not migrated within {seconds:g} s: {waiting}")
            time.sleep(EVERY_SECONDS)


def _waiting_for() -> str | None:
    """What is still missing; None when nothing is. CommandError when it will not come."""
    try:
        todo = runs.pending()
        if not todo.migrations:
            return None
        if reason := runs.failure(todo.targets):
            raise CommandError(reason)
    except Error as error:
        return runs.one_line(error)
    finally:
        connection.close()
    return f"{len(todo.migrations)} migrations, the first {todo.migrations[0]}"
