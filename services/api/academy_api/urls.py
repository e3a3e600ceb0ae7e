"""URL map: the public API under /api/, the worker endpoints under /internal/, and ops at the root."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
