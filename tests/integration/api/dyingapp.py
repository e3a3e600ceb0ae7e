"""The API, killed around the commit of a request that asks for it by X-Die: before or after."""

import os
import signal
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from django.http import HttpRequest

from academy_api.wsgi import application

__all__ = ["application"]


def die(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Middleware: the request's first commit of a transaction is the process's end."""

    def handle(request: HttpRequest) -> Any:
        when = request.headers.get("X-Die")
        if when is None:
            return get_response(request)
        wrapper: Any = connection
        really_commit = wrapper._commit

        def commit() -> None:
            if when == "after":
                really_commit()
            os.kill(os.getpid(), signal.SIGKILL)

        wrapper._commit = commit
        return get_response(request)

    return handle


settings.MIDDLEWARE.append(f"{__name__}.die")
application.load_middleware()
