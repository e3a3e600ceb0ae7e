"""Django app `ledger`."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.ledger"
    label = "ledger"
