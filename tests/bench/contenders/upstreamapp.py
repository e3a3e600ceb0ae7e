"""The API with one more address, `/upstream`: it asks a slow neighbour and passes the answer on."""

import http.client
import importlib
import os

from django.http import HttpRequest, HttpResponse
from django.urls import path

from academy_api.wsgi import application

__all__ = ["application"]


def upstream(_request: HttpRequest) -> HttpResponse:
    """As a request that waits for a database, a store or another service."""
    connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["UPSTREAM_PORT"]), timeout=30)
    connection.request("GET", "/")
    body = connection.getresponse().read()
    connection.close()
    return HttpResponse(body)


# Only after Django is set up, which importing `application` has done.
importlib.import_module("academy_api.urls").urlpatterns.append(path("upstream", upstream))
