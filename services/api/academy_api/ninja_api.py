"""How a NinjaAPI of ours is made: problem+json for every error, JSON bodies only, deny by default.

Used by `api` (public) and `internal` (worker endpoints).
"""

import functools
import json
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

from academy_api import off_loop, problems
from academy_api.accounts.auth import nobody


class JsonParser(Parser):
    """Takes application/json only: a cross-site form cannot send it, so sign-in needs no token of its own."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Parse the body; HttpError 415 for another type, 400 when it is no JSON object."""
        if request.content_type != "application/json":
            raise HttpError(415, "not JSON")
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise HttpError(400, "no JSON object")
        return body


def make_api(title: str, namespace: str, *, docs: bool) -> NinjaAPI:
    """Make a NinjaAPI whose operations answer nobody unless they say whom (`auth=`)."""
    made = NinjaAPI(
        title=title,
        urls_namespace=namespace,
        docs_url="/docs" if docs else None,
        docs_decorator=_off_loop,
        openapi_url="/openapi.json" if docs else None,
        auth=nobody,
        parser=JsonParser(),
    )
    made.add_exception_handler(Exception, problems.of_exception)
    made.add_exception_handler(ValidationError, problems.of_exception)
    made.add_exception_handler(HttpError, _http_error)
    made.add_exception_handler(Http404, _not_found)
    return made


def _off_loop(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The schema of the whole API is put together at each request: tens of milliseconds of CPU."""

    @functools.wraps(view)
    def run(*args: Any, **kwargs: Any) -> HttpResponse:
        return off_loop.run(functools.partial(view, *args, **kwargs))

    return run


def _http_error(request: HttpRequest, error: HttpError | type[HttpError]) -> HttpResponse:
    # ninja reports whatever the parser raises as a 400 of its own.
    first = error.__cause__ if isinstance(error.__cause__, HttpError) else error
    return problems.of_status(request, first.status_code if isinstance(first, HttpError) else 500)


def _not_found(request: HttpRequest, _error: Http404 | type[Http404]) -> HttpResponse:
    return problems.of_status(request, 404)
