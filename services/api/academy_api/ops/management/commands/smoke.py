"""`python -m academy_api.manage smoke --api URL --video FILE`: `helm test`'s command."""

from argparse import ArgumentParser
from pathlib import Path

import httpx
import structlog
from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from academy_api.ops import smoke
from academy_core import log as logs
from academy_core.errors import AcademyError
from academy_core.settings import ApiSettings, load

log = structlog.get_logger(__name__)

SECONDS = 600.0


class Command(BaseCommand):
    """Publish a tiny lecture in an academy of its own, play it, delete it."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where the API is, and what to publish."""
        parser.add_argument("--api", required=True)
        parser.add_argument("--video", type=Path, required=True)
        parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the encoding may take")

    def handle(self, *_args: str, api: str, video: Path, seconds: float, **_options: object) -> None:
        """Exit code 1 with the step that failed."""
        settings = load(ApiSettings)
        logs.configure(settings)
        try:
            smoke.run(api, str(settings.SITE_URL), video, seconds)
        except (AcademyError, httpx.HTTPError, Error) as error:
            raise CommandError(f"the self-test failed: {error}") from error
        log.info("SMOKE_PASSED")
