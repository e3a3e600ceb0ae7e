"""Django app `lectures`: hands its job kind to the ledger and its duties to the relay."""

from django.apps import AppConfig


class LecturesConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.lectures"
    label = "lectures"

    def ready(self) -> None:
        """Register what the ledger and the relay call."""
        from academy_api import relay  # noqa: PLC0415 - models may only be imported once all apps are loaded
        from academy_api.lectures import duties, hooks  # noqa: PLC0415
        from academy_api.ledger import registry  # noqa: PLC0415
        from academy_core import video  # noqa: PLC0415

        for kind in video.KINDS:
            registry.register_kind(kind)
        registry.register_job(hooks.ENCODE)
        for duty in duties.ALL:
            relay.register_duty(duty)
