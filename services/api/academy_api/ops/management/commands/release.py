"""`python -m academy_api.manage release [--bootstrap FOLDER]`: the migrate Job's command."""

from argparse import ArgumentParser
from pathlib import Path

import structlog
from django.core.management.base import BaseCommand, CommandError

from academy_api.accounts import people
from academy_api.ops import release, runs
from academy_core import log as logs
from academy_core.settings import MigrateSettings, load

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 600.0


class Command(BaseCommand):
    """Migrate the database and give the application's role its rights; make the first director."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--bootstrap`: a folder with the files academy, email and password; nothing happens where it has none."""
        parser.add_argument("--bootstrap", type=Path)
        parser.add_argument("--patience", type=float, default=PATIENCE_SECONDS, help="seconds")

    def handle(self, *_args: str, bootstrap: Path | None, patience: float, **_options: object) -> None:
        """Exit code 1 with the reason when it fails."""
        settings = load(MigrateSettings)
        logs.configure(settings)
        role = settings.DB_APP_ROLE
        try:
            with runs.noted("the migration") as run:
                release.run(role if role != settings.DB_USER else None, run, patience=patience)
        except (Exception, runs.Stopped) as error:
            raise CommandError(f"the migration failed: {runs.one_line(error)}") from error
        log.info("MIGRATED")
        if bootstrap is not None and (bootstrap / "email").exists():
            academy, email, password = (
                (bootstrap / name).read_text().strip() for name in ("academy", "email", "password")
            )
            membership = people.bootstrap(academy, email, password)
            log.info("BOOTSTRAPPED", academy=str(membership.academy_id), membership=str(membership.pk))
