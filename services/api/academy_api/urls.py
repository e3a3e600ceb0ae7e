"""URL map: the public API under /api/, the worker endpoints under /internal/, and ops at the root.

`API_SERVES` says which of the first two this process answers.
"""

from django.conf import settings
from django.urls import URLPattern, URLResolver, include, path

from academy_api.ops import views


def build(serves: str) -> list[URLPattern | URLResolver]:
    """The addresses of a process that serves `all`, `public` or `internal`."""
    patterns: list[URLPattern | URLResolver] = [
        path("health", views.health),
        path("ready", views.ready),
        path("metrics", views.metrics),
    ]
    if serves != "public":
        patterns.append(path("internal/v1/", include("academy_api.ledger.urls")))
    if serves != "internal":
        from academy_api.api import api  # noqa: PLC0415 - only what is served is loaded

        patterns.append(path("api/", api.urls))
    return patterns


urlpatterns = build(settings.API_SERVES)
