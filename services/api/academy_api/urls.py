"""URL map: the public API under /api/, the worker endpoints under /internal/, and ops at the root."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [path("internal/v1/", include("academy_api.ledger.urls"))]
