"""Django app `ops`."""

from django.apps import AppConfig

from academy_api.database import guard


class OpsConfig(AppConfig):
    """Health, readiness, metrics, request ids, errors."""

    name = "academy_api.ops"
    label = "ops"

    def ready(self) -> None:
        """Keep network calls out of transactions, in every process that runs Django."""
        guard.install()
