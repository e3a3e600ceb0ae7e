"""Django app `ledger`."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Jobs, tasks, leases, outbox. See docs/services/ledger.md."""

    name = "academy_api.ledger"
    label = "ledger"
