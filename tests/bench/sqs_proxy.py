"""A loopback proxy that counts SQS API calls by action, so that every contender is counted the same way."""

from collections import Counter
from threading import Lock

from forwarding import Proxy, Request


class CountingProxy(Proxy):
    """Forwards to `upstream_port` on loopback. `calls` maps action name to number of requests."""

    def __init__(self, upstream_port: int) -> None:
        self.calls: Counter[str] = Counter()
        self._lock = Lock()
        super().__init__(upstream_port, before=self._count)

    def _count(self, request: Request) -> None:
        with self._lock:
            self.calls[request.action] += 1
