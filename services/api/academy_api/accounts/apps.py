"""Django app `accounts`."""

from django.apps import AppConfig

from academy_api.relay import Duty, register_duty


class AccountsConfig(AppConfig):
    """Academies, people, sign-in, API keys, audit log, idempotency, limits."""

    name = "academy_api.accounts"
    label = "accounts"

    def ready(self) -> None:
        """Let the relay clear away what has expired."""
        from academy_api.accounts import upkeep  # noqa: PLC0415 - models load after the apps

        register_duty(Duty("accounts.prune", upkeep.EVERY_SECONDS, upkeep.prune))
