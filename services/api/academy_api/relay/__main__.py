"""Composition root of the relay: `python -m academy_api.relay`. SIGTERM ends it after the duty under way."""

import os
import signal
import threading

import django
import prometheus_client
import structlog
from django.conf import settings as django_settings

from academy_api.relay import HERE, lock
from academy_core import log as logs

log = structlog.get_logger(__name__)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    HERE.set()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "academy_api.settings")
    from academy_api.settings import config  # noqa: PLC0415 - the environment must be complete first

    logs.configure(config)
    django_settings.DATABASES["default"] = lock.direct_database(config)
    django.setup()
    from academy_api.relay import loop, standing  # noqa: PLC0415 - these need Django's apps

    if config.RELAY_METRICS_PORT:
        prometheus_client.start_http_server(config.RELAY_METRICS_PORT)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with standing.duties_of(config) as make_duties:
        loop.run(make_duties, stop)
    log.info("Graceful shutdown")


if __name__ == "__main__":
    main()
