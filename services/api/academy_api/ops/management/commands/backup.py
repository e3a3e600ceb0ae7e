"""`python -m academy_api.manage backup --mode dump|snapshot [--if-pending]`: the migrate Job's first step."""

from argparse import ArgumentParser
from datetime import UTC, datetime

import structlog
from django.core.management.base import BaseCommand, CommandError

from academy_api.ops import backup, runs
from academy_core import log as logs
from academy_core.settings import MigrateSettings, load
from academy_core.store import R2Store

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    """Back the database up."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to, and whether only before a change."""
        parser.add_argument("--mode", choices=["dump", "snapshot"], required=True)
        parser.add_argument("--if-pending", action="store_true", help="only when migrations are pending")

    def handle(self, *_args: str, mode: str, if_pending: bool, **_options: object) -> None:
        """Exit code 1 with the reason when there is no backup afterwards and there should be one."""
        settings = load(MigrateSettings)
        logs.configure(settings)
        try:
            with runs.noted("the backup") as run:
                name = _back_up(settings, mode, run, if_pending=if_pending)
        except (Exception, runs.Stopped) as error:
            raise CommandError(f"the backup failed: {runs.one_line(error)}") from error
        if name is not None:
            log.info("BACKED_UP", mode=mode, backup=name)


def _back_up(settings: MigrateSettings, mode: str, run: runs.Run, *, if_pending: bool) -> str | None:
    """Name of the backup; None when none is needed."""
    todo = runs.pending()
    if todo.fresh or (if_pending and not todo.migrations):
        log.info("BACKUP_NOT_NEEDED", reason="empty database" if todo.fresh else "nothing pending")
        return None
    run.begin(todo.targets)
    name = backup.name(todo.targets, datetime.now(UTC))
    if mode == "snapshot":
        if settings.RDS_INSTANCE_ID is None:
            raise backup.BackupFailed("RDS_INSTANCE_ID: needed for a snapshot")
        name = f"{settings.RDS_INSTANCE_ID}-{name}"
        backup.snapshot(settings.AWS_REGION, settings.RDS_INSTANCE_ID, name)
    else:
        name = f"{settings.DB_NAME}/{name}.dump"
        store = R2Store(settings, settings.R2_BACKUP_BUCKET)
        backup.dump(store, settings, name, backup.pg_dump())
    return name
