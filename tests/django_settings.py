"""Django settings for mypy and pytest: the real ones, over an environment of throw-away values.

The servers of the integration tests (tests/integration/conftest.py) start only when a test asks for one, but their
addresses are chosen here, before any settings are read; pytest-xdist's processes inherit them from the first.
"""

import os
import secrets
import tempfile
from pathlib import Path

from academy_local import ports
from academy_local.servers import s3

if "ACADEMY_TEST_RUN_PID" not in os.environ:
    _postgres, _pgbouncer, _sqs, *_s3 = ports.free(3 + s3.PORTS)
    os.environ |= {
        "ACADEMY_TEST_RUN_PID": str(os.getpid()),
        # Of this run alone: a process's number comes again, and a run that is killed may leave its folder.
        "ACADEMY_TEST_FOLDER": str(Path(tempfile.gettempdir(), f"academy-test-{os.getpid()}-{secrets.token_hex(4)}")),
        "ACADEMY_TEST_PGBOUNCER_PORT": str(_pgbouncer),
        "ACADEMY_TEST_SQS_PORT": str(_sqs),
        "ACADEMY_TEST_S3_PORTS": ",".join(map(str, _s3)),
        "DB_PORT": str(_postgres),
        "DB_DIRECT_PORT": str(_postgres),
        "R2_ENDPOINT": f"http://{ports.HOST}:{_s3[0]}",
        "AWS_ENDPOINT_URL_SQS": f"http://{ports.HOST}:{_sqs}",
    }

TEST_ENVIRONMENT = {
    "SECRET_KEY": "test-only-secret-key-that-is-longer-than-fifty-characters",
    "SITE_URL": "http://testserver",
    "API_BASE_URL": "http://testserver",
    "R2_ACCESS_KEY": "test",
    "R2_SECRET_KEY": "test-secret",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "DB_NAME": "academy",
    "DB_USER": "postgres",
    "DB_PASSWORD": "password-of-the-test-server",
    "DB_HOST": "127.0.0.1",
    "INTERNAL_WORKER_TOKENS_VIDEO": "video-worker-token-of-32-characters",
    "INTERNAL_WORKER_TOKENS_AI_CPU": "ai-cpu-worker-token-of-32-characters",
    "INTERNAL_WORKER_TOKENS_AI_GPU": "ai-gpu-worker-token-of-32-characters",
    "INTERNAL_WORKER_TOKENS_RELAY": "relay-probe-token-of-32-characters!",
    "CDN_HLS_BASE_URL": "http://testserver/hls",
    "CDN_HLS_SIGNING_SECRET": "playback-signing-secret-of-32-characters",
}
for _name, _value in TEST_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

from academy_api.settings import *  # noqa: E402, F403
