"""Django app `playback`."""

from django.apps import AppConfig


class PlaybackConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.playback"
    label = "playback"
