"""Django app `ops`."""

from django.apps import AppConfig


class OpsConfig(AppConfig):
    """Health, readiness, metrics, request ids, errors."""

    name = "academy_api.ops"
    label = "ops"
