"""`manage.py ring`: a bell for every ready task that has none on its way.

For an operator after queues were purged or made anew, and for the embedded platform at start, whose queue emulator
forgets. Bells too many do no harm: they claim nothing and are deleted.
"""

from typing import Any

from django.core.management.base import BaseCommand

from academy_api.ledger import duties


class Command(BaseCommand):
    """See the module."""

    help = "Write a bell for every ready task that has none on its way; the relay sends them."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Write the bells and say how many."""
        self.stdout.write(f"{duties.ring_all()} bells written; the relay sends them.")
