"""Django app `questions`: hands its job kind to the ledger."""

from django.apps import AppConfig


class QuestionsConfig(AppConfig):
    """See the package docstring."""

    name = "academy_api.questions"
    label = "questions"

    def ready(self) -> None:
        """Register what the ledger calls."""
        from academy_ai.kinds.question_similar.spec import KIND  # noqa: PLC0415 - once all apps are loaded
        from academy_api.ledger import registry  # noqa: PLC0415
        from academy_api.questions import hooks  # noqa: PLC0415

        registry.register_kind(KIND)
        registry.register_job(hooks.COMPARE)
