"""Django app `questions`: hands its job kinds to the ledger and its duty to the relay."""

from django.apps import AppConfig


class QuestionsConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.questions"
    label = "questions"

    def ready(self) -> None:
        """Register what the ledger and the relay call."""
        from academy_ai.kinds.exam_ocr import spec as exam_ocr  # noqa: PLC0415 - once all apps are loaded
        from academy_ai.kinds.exam_read import spec as exam_read  # noqa: PLC0415
        from academy_ai.kinds.question_similar import spec as question_similar  # noqa: PLC0415
        from academy_api import relay  # noqa: PLC0415
        from academy_api.ledger import registry  # noqa: PLC0415
        from academy_api.questions import duties, hooks  # noqa: PLC0415

        for kind in (question_similar.KIND, exam_read.KIND, *exam_read.STEPS, exam_ocr.KIND):
            registry.register_kind(kind)
        for job in (hooks.COMPARE, hooks.READ):
            registry.register_job(job)
        for duty in duties.ALL:
            relay.register_duty(duty)
