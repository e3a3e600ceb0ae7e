"""Addresses of the worker endpoints, under /internal/v1/."""

from django.urls import path

from academy_api.ledger import views

urlpatterns = [
    path("claim", views.claim),
    path("probe", views.probe),
    path("tasks/<int:task>/heartbeat", views.heartbeat),
    path("tasks/<int:task>/complete", views.complete),
    path("tasks/<int:task>/fail", views.fail),
    path("tasks/<int:task>/release", views.release),
]
