"""From a data folder's identity to the environment of each process: the same variables as in production.

Pure: only addresses, credentials and sizes differ from a cluster.
"""

from academy_local import ports, speech_model
from academy_local.home import Home, Identity
from academy_local.servers import postgres, sqs

DATABASE = "academy"
VIDEO_BUCKET = "academy-video"
AI_BUCKET = "academy-ai"
QUEUES = ("academy-video-jobs", "academy-ai-jobs-lite", "academy-ai-jobs-basic", "academy-ai-jobs-premium")
SHUTDOWN_GRACE_SECONDS = 5
"""How long a worker may go on after `down` before it hands its task back."""
MARK = "ACADEMY_LOCAL_HOME"
"""Every process of a platform carries its data folder under this name, so that strays can be found."""


def url(port: int) -> str:
    """Base URL of a loopback server."""
    return f"http://{ports.HOST}:{port}"


def shared(identity: Identity) -> dict[str, str]:
    """What API, relay, workers and origin have in common."""
    addresses, secrets = identity.addresses, identity.secrets
    return {
        "PYTHONUNBUFFERED": "1",
        "AWS_REGION": sqs.REGION,
        "AWS_ENDPOINT_URL_SQS": url(addresses.sqs),
        # The SQS emulator takes any; they keep boto3 from looking for real ones.
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "R2_ENDPOINT": url(addresses.s3[0]),
        "R2_ACCESS_KEY": secrets.store_access,
        "R2_SECRET_KEY": secrets.store_secret,
        "R2_VIDEO_BUCKET": VIDEO_BUCKET,
        "R2_AI_BUCKET": AI_BUCKET,
        "API_BASE_URL": url(addresses.api),
    }


def api(identity: Identity) -> dict[str, str]:
    """The API, the relay and Django's commands."""
    addresses, secrets = identity.addresses, identity.secrets
    return (
        shared(identity)
        | {
            "SECRET_KEY": secrets.django,
            "DJANGO_SETTINGS_MODULE": "academy_api.settings",
            "SITE_URL": url(addresses.api),
            "DB_NAME": DATABASE,
            "DB_USER": postgres.USER,
            "DB_PASSWORD": secrets.database,
            "DB_HOST": ports.HOST,
            "DB_PORT": str(addresses.postgres),
            # No PgBouncer here: connections are kept, and pooled by each process.
            "DB_CONN_MAX_AGE": "60",
            "INTERNAL_WORKER_TOKENS_VIDEO": secrets.video_worker,
            "INTERNAL_WORKER_TOKENS_AI_CPU": secrets.ai_cpu_worker,
            "INTERNAL_WORKER_TOKENS_AI_GPU": secrets.ai_gpu_worker,
            "INTERNAL_WORKER_TOKENS_RELAY": secrets.relay,
            "GUNICORN_WORKERS": "1",
        }
        | playback(identity)
    )


def playback(identity: Identity) -> dict[str, str]:
    """What signer and verifier of playback URLs share."""
    return {
        "CDN_HLS_BASE_URL": f"{url(identity.addresses.origin)}/hls",
        "CDN_HLS_SIGNING_SECRET": identity.secrets.playback,
        "CDN_HLS_SIGNING_KEY_ID": "v1",
    }


def video_worker(home: Home, identity: Identity, number: int) -> dict[str, str]:
    """The video worker `number`."""
    name = f"video-{number}"
    return shared(identity) | {
        "INTERNAL_WORKER_TOKEN": identity.secrets.video_worker,
        "VIDEO_WORKER_ID": name,
        "METRICS_HOST": ports.HOST,
        "SHUTDOWN_GRACE_SECONDS": str(SHUTDOWN_GRACE_SECONDS),
        "VIDEO_WORKER_TEMP_DIR": str(home.scratch / name),
    }


def ai_cpu_worker(home: Home, identity: Identity, number: int) -> dict[str, str]:
    """The CPU AI worker `number`: basic and lite."""
    name = f"ai-cpu-{number}"
    return _ai_worker(home, identity, name) | {
        "INTERNAL_WORKER_TOKEN": identity.secrets.ai_cpu_worker,
        "AI_WORKER_ID_CPU": name,
    }


def ai_premium_worker(home: Home, identity: Identity) -> dict[str, str]:
    """The premium AI worker, with the model that lies in the data folder."""
    name = "ai-premium"
    return _ai_worker(home, identity, name) | {
        "INTERNAL_WORKER_TOKEN": identity.secrets.ai_gpu_worker,
        "AI_WORKER_ID_GPU": name,
        "TRANSCRIBE_MODEL_DIR": str(home.folder / speech_model.FOLDER),
        "TRANSCRIBE_MODEL_SHA256": speech_model.SHA256,
    }


def _ai_worker(home: Home, identity: Identity, name: str) -> dict[str, str]:
    return shared(identity) | {
        "METRICS_HOST": ports.HOST,
        "SHUTDOWN_GRACE_SECONDS": str(SHUTDOWN_GRACE_SECONDS),
        "AI_WORKER_TEMP_DIR": str(home.scratch / name),
    }


def origin(identity: Identity) -> dict[str, str]:
    """The playback origin."""
    return shared(identity) | playback(identity)
