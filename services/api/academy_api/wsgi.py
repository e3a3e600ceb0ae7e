"""What gunicorn serves: `gunicorn -c python:academy_api.gunicorn_conf academy_api.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "academy_api.settings")
application = get_wsgi_application()

from academy_api.ledger import outbox  # noqa: E402 - needs Django's apps
from academy_api.settings import config  # noqa: E402 - read once Django has been told where they are
from academy_core import log  # noqa: E402

log.configure(config)
outbox.start_fast_path(outbox.post(config))
