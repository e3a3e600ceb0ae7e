"""Django settings for mypy and pytest: the real ones, over an environment of throw-away values."""

import os

TEST_ENVIRONMENT = {
    "SECRET_KEY": "test-only-secret-key-that-is-longer-than-fifty-characters",
    "SITE_URL": "http://testserver",
    "API_BASE_URL": "http://testserver",
    "R2_ENDPOINT": "http://127.0.0.1:1",
    "R2_ACCESS_KEY": "test",
    "R2_SECRET_KEY": "test-secret",
    "DB_NAME": "academy",
    "DB_USER": "postgres",
    "DB_PASSWORD": "unused",
    "DB_HOST": "127.0.0.1",
    "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1",
    "INTERNAL_WORKER_TOKENS_VIDEO": "video-worker-token-of-32-characters",
    "INTERNAL_WORKER_TOKENS_AI_CPU": "ai-cpu-worker-token-of-32-characters",
    "INTERNAL_WORKER_TOKENS_AI_GPU": "ai-gpu-worker-token-of-32-characters",
    "CDN_HLS_BASE_URL": "http://testserver/hls",
    "CDN_HLS_SIGNING_SECRET": "playback-signing-secret-of-32-characters",
}
for _name, _value in TEST_ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)

from academy_api.settings import *  # noqa: E402, F403
