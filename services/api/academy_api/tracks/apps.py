"""Django app `tracks`: hands its kinds and job kind to the ledger and its duties to the relay."""

from django.apps import AppConfig


class TracksConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.tracks"
    label = "tracks"

    def ready(self) -> None:
        """Register what the ledger and the relay call."""
        from academy_ai.kinds.lecture_slides import spec as slides  # noqa: PLC0415 - once all apps are loaded
        from academy_ai.kinds.lecture_transcribe import spec as transcribe  # noqa: PLC0415
        from academy_api import relay  # noqa: PLC0415
        from academy_api.ledger import registry  # noqa: PLC0415
        from academy_api.tracks import duties, hooks  # noqa: PLC0415

        for kind in (slides.KIND, transcribe.KIND, *transcribe.STEPS):
            registry.register_kind(kind)
        registry.register_job(hooks.ANALYSE)
        for duty in duties.ALL:
            relay.register_duty(duty)
