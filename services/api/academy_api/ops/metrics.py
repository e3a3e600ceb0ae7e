"""The API's metrics (S-20): requests, event-loop lag; the database pool has its own in `database.pool`.

Multi-process: gunicorn's configuration sets prometheus_client's directory before this module is imported.
"""

from django.http import HttpRequest
from prometheus_client import Counter, Gauge, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

requests = Counter("api_requests_total", "Requests answered.", ["method", "route", "status"])
durations = Histogram("api_request_duration_seconds", "Time to answer.", ["method", "route"], buckets=_BUCKETS)
active_requests = Gauge("api_requests_active", "Requests being answered.", multiprocess_mode="livesum")
loop_lag = Histogram(
    "api_event_loop_lag_seconds",
    "How late a timer of the event loop fired.",
    buckets=(0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe(request: HttpRequest, status: int, seconds: float) -> None:
    """Count one answered request. Labels are the route, not the path, so that their number is bounded."""
    route = request.resolver_match.route if request.resolver_match else "unmatched"
    method = request.method if request.method in _METHODS else "other"
    requests.labels(method, route, str(status)).inc()
    durations.labels(method, route).observe(seconds)
