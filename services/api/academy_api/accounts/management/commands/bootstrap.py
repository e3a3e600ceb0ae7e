"""`python -m academy_api.manage bootstrap --academy NAME --email ADDRESS < password`."""

import json
import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from academy_api.accounts import people


class Command(BaseCommand):
    """Make the first academy and its director; run again, it changes nothing."""

    help = __doc__

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The password comes on standard input, so that it is in no process list."""
        parser.add_argument("--academy", required=True)
        parser.add_argument("--email", required=True)

    def handle(self, *_args: str, academy: str, email: str, **_options: object) -> None:
        """Print the ids as JSON."""
        membership = people.bootstrap(academy, email, sys.stdin.readline().rstrip("\n"))
        self.stdout.write(json.dumps({"academy": str(membership.academy_id), "membership": str(membership.pk)}))
