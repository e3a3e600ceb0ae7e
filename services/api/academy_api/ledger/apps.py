"""Django app `ledger`."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Jobs, tasks, leases, outbox. See docs/services/ledger.md."""

    name = "academy_api.ledger"
    label = "ledger"

    def ready(self) -> None:
        """Refuse to start with worker tokens that are missing, short or shared."""
        from academy_api.ledger import tokens  # noqa: PLC0415 - reads settings, which must be loaded first
        from academy_api.settings import config  # noqa: PLC0415 - as above

        tokens.accepted(config)
