"""Django's configuration of the app."""

from django.apps import AppConfig


class ExamsConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.exams"
    label = "exams"

    def ready(self) -> None:
        """Register what the ledger and the relay call."""
        from academy_ai.kinds.omr_grade import spec  # noqa: PLC0415 - models may only be imported once all apps are loaded
        from academy_api import relay  # noqa: PLC0415
        from academy_api.exams import duties, hooks  # noqa: PLC0415
        from academy_api.ledger import registry  # noqa: PLC0415

        registry.register_kind(spec.KIND)
        registry.register_job(hooks.GRADE)
        for duty in duties.ALL:
            relay.register_duty(duty)
