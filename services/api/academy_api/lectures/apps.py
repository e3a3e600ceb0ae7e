"""Django app `lectures`."""

from django.apps import AppConfig


class LecturesConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.lectures"
    label = "lectures"
