"""Django app `accounts`."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.accounts"
    label = "accounts"
