"""The API with one more address, `/hold`: a query that takes a while, to fill the pool."""

import importlib

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.urls import path

from academy_api.wsgi import application

__all__ = ["application"]


def hold(_request: HttpRequest) -> HttpResponse:
    """Sleep 10 ms in the database and say which backend did."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.01)")
        row = cursor.fetchone()
    return HttpResponse(str(row[0]))


# Only after Django is set up, which importing `application` has done.
importlib.import_module("academy_api.urls").urlpatterns.append(path("hold", hold))
