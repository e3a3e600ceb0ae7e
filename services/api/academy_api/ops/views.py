"""`/health`, `/ready`, `/metrics`: for the platform, not for people.

They are asked straight at the pod. A request that came through the load balancer (X-Forwarded-For) gets 404 from
`/ready` and `/metrics`, which tell more than a stranger should read.
"""

from collections.abc import Callable
from http import HTTPStatus

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from academy_core.errors import Reason, Retryable

_BEHIND = Reason(
    "migrations-pending",
    "데이터베이스가 아직 이 버전에 맞게 준비되지 않았습니다.",
    "The database has not been migrated to this version yet.",
)


def _direct(view: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    @require_safe
    def guarded(request: HttpRequest) -> HttpResponse:
        if "X-Forwarded-For" in request.headers:
            raise Http404
        return view(request)

    return guarded


@require_safe
def health(_request: HttpRequest) -> HttpResponse:
    """The process answers. Asks nothing else, so that a lost database restarts no pod."""
    return JsonResponse({"status": "ok"})


class Readiness:
    """Whether this process has once seen a database with all of its migrations.

    Checked until it holds, then never again: a database lost later answers 503 on the requests that need it, but all
    pods would lose it together, and taking them all out of service helps nobody.
    """

    def __init__(self) -> None:
        self.seen = False

    def check(self) -> None:
        """Raise Retryable while migrations are missing, django.db.OperationalError while there is no database."""
        if self.seen:
            return
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise Retryable(reason=_BEHIND)
        self.seen = True


readiness = Readiness()


@_direct
def ready(_request: HttpRequest) -> HttpResponse:
    """The process may get requests."""
    readiness.check()
    return JsonResponse({"status": "ready"})


@_direct
def metrics(_request: HttpRequest) -> HttpResponse:
    """Prometheus metrics of all processes of this pod."""
    registry = REGISTRY
    if values.ValueClass is not values.MutexValue:  # prometheus_client's multi-process mode
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return HttpResponse(generate_latest(registry), status=HTTPStatus.OK, content_type=CONTENT_TYPE_LATEST)
