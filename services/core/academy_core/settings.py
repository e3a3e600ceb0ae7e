"""The one place where environment variables are read: a typed settings class a process.

Each process's composition root calls `load(ClassOfThisProcess)` once and passes the values on. All faults are
reported at once and no secret is ever printed. `.env.example` and `docs/settings.md` are generated from here
(`python -m academy_core.settings`), and a test holds them equal.
"""

from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from academy_core.errors import SettingsFault
from academy_core.playback import Keyring

Token = Annotated[SecretStr, Field(min_length=32)]


def refuse_aws(url: str) -> None:
    """ValueError when the URL's host is one of AWS's own (S-1: files live in R2, never in AWS S3)."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    labels = host.split(".")
    if "amazonaws" in labels or labels[-1] == "aws":
        raise ValueError("must not be an AWS address: files live in Cloudflare R2")


def _endpoint(url: HttpUrl) -> HttpUrl:
    refuse_aws(str(url))
    if url.username or url.password or url.query or url.fragment or url.path not in {None, "/"}:
        raise ValueError("must be scheme, host and port alone")
    return url


def _not_aws(url: HttpUrl) -> HttpUrl:
    refuse_aws(str(url))
    return url


Endpoint = Annotated[HttpUrl, AfterValidator(_endpoint)]
PublicUrl = Annotated[HttpUrl, AfterValidator(_not_aws)]


class _Base(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, case_sensitive=True, env_ignore_empty=True)


class LogSettings(_Base):
    """Logging."""

    LOG_LEVEL: str = Field("INFO", description="Least level that is logged.")
    LOG_JSON: bool = Field(default=False, description="One JSON object a line instead of the readable form.")


class QueueSettings(_Base):
    """SQS."""

    AWS_REGION: str = Field("ap-northeast-2", description="Region of the SQS queues.")
    AWS_ENDPOINT_URL_SQS: str | None = Field(None, description="SQS emulator; unset in production.")
    VIDEO_SQS_QUEUE_NAME: str = Field("academy-video-jobs", description="Queue of the video workers.")
    AI_SQS_QUEUE_NAME_LITE: str = Field("academy-ai-jobs-lite", description="Queue of the lite AI kinds.")
    AI_SQS_QUEUE_NAME_BASIC: str = Field("academy-ai-jobs-basic", description="Queue of the basic AI kinds.")
    AI_SQS_QUEUE_NAME_PREMIUM: str = Field("academy-ai-jobs-premium", description="Queue of the premium AI kinds.")


class StoreSettings(_Base):
    """Cloudflare R2."""

    R2_ENDPOINT: Endpoint = Field(description="Cloudflare R2's S3 endpoint. Never an AWS S3 address.")
    R2_ACCESS_KEY: str = Field(description="R2 access key id.")
    R2_SECRET_KEY: SecretStr = Field(description="R2 secret access key.")
    R2_VIDEO_BUCKET: str = Field("academy-video", description="Sources and HLS.")
    R2_AI_BUCKET: str = Field("academy-ai", description="AI inputs and results.")
    R2_PREFIX: str = Field("media/hls/videos", description="Key prefix of HLS in the video bucket.")
    R2_PUBLIC_BASE_URL: PublicUrl | None = Field(None, description="Public base URL of a bucket; never with signing.")
    UPLOAD_MAX_CONCURRENCY: int = Field(4, ge=1, le=64, description="Parallel uploads of one worker.")
    RETRY_MAX_ATTEMPTS: int = Field(5, ge=1, le=20, description="Attempts at one R2 or API call.")
    BACKOFF_BASE_SECONDS: float = Field(0.5, gt=0, description="First backoff between attempts.")
    BACKOFF_CAP_SECONDS: float = Field(10.0, gt=0, description="Longest backoff between attempts.")


class DatabaseSettings(_Base):
    """Postgres, pooled and direct."""

    DB_NAME: str = Field(description="Database name.")
    DB_USER: str = Field(description="Database role of the application.")
    DB_PASSWORD: SecretStr = Field(description="Its password.")
    DB_HOST: str = Field(description="PgBouncer, or Postgres itself.")
    DB_PORT: int = Field(5432, ge=1, le=65535, description="Port of DB_HOST.")
    DB_DIRECT_HOST: str | None = Field(None, description="Postgres past the pooler; DB_HOST when unset.")
    DB_DIRECT_PORT: int | None = Field(None, ge=1, le=65535, description="Its port; DB_PORT when unset.")
    DB_CONN_MAX_AGE: int = Field(
        0, ge=0, description="0 with PgBouncer, 60 without: maximum age of a pooled connection."
    )
    DB_MAX_CONCURRENCY: int = Field(20, ge=1, le=200, description="Database connections of one API process at most.")


class PlaybackSettings(StoreSettings):
    """Playback (S-3): the API signs, the embedded platform's origin verifies."""

    CDN_HLS_BASE_URL: PublicUrl = Field(description="Base URL of playback; what follows is the object's key.")
    CDN_HLS_SIGNING_SECRET: SecretStr | None = Field(
        None, description="Signs playback URLs, at least 32 characters; plain URLs when unset."
    )
    CDN_HLS_SIGNING_KEY_ID: str = Field("v1", description="Key id of the signing secret.")
    CDN_HLS_SIGNING_PREVIOUS_KEYS: SecretStr | None = Field(
        None, description="Keys that still verify after a rotation: id:secret, by comma."
    )

    @model_validator(mode="after")
    def _signing_is_sound(self) -> "PlaybackSettings":
        """The keys are usable, and nothing serves the signed files without asking for the signature."""
        try:
            keyring = self.keyring()
        except SettingsFault as fault:
            raise ValueError(fault.detail) from None
        if keyring is not None and self.R2_PUBLIC_BASE_URL is not None:
            raise ValueError(
                "CDN_HLS_SIGNING_SECRET with R2_PUBLIC_BASE_URL: a public bucket would serve unsigned URLs"
            )
        if keyring is None and self.CDN_HLS_SIGNING_PREVIOUS_KEYS is not None:
            raise ValueError("CDN_HLS_SIGNING_PREVIOUS_KEYS without CDN_HLS_SIGNING_SECRET")
        return self

    def keyring(self) -> Keyring | None:
        """The playback keys, or None when URLs are plain."""
        if self.CDN_HLS_SIGNING_SECRET is None:
            return None
        previous = self.CDN_HLS_SIGNING_PREVIOUS_KEYS
        return Keyring.parse(
            self.CDN_HLS_SIGNING_KEY_ID,
            self.CDN_HLS_SIGNING_SECRET.get_secret_value(),
            previous.get_secret_value() if previous is not None else "",
        )


class ApiSettings(LogSettings, QueueSettings, PlaybackSettings, DatabaseSettings):
    """api, api-internal, relay and migrate: they share one image and one set of variables."""

    SECRET_KEY: Annotated[SecretStr, Field(min_length=50)] = Field(description="Django's secret key.")
    DEBUG: bool = Field(default=False, description="Never in production.")
    DJANGO_SETTINGS_MODULE: str = Field("academy_api.settings", description="Django's settings module.")
    SITE_URL: HttpUrl = Field(description="Public address of the API and console.")
    API_BASE_URL: HttpUrl = Field(description="Where the worker endpoints are reached.")
    INTERNAL_WORKER_TOKENS_VIDEO: SecretStr = Field(description="Accepted tokens of the video workers, by comma.")
    INTERNAL_WORKER_TOKENS_AI_CPU: SecretStr = Field(description="Accepted tokens of the CPU AI workers, by comma.")
    INTERNAL_WORKER_TOKENS_AI_GPU: SecretStr = Field(description="Accepted tokens of the GPU AI workers, by comma.")
    API_SERVES: Literal["all", "public", "internal"] = Field(
        "all", description="Which addresses this process answers: the public API, the worker endpoints, or both."
    )
    TRUSTED_PROXIES: int = Field(
        0, ge=0, le=5, description="Proxies in front that append to X-Forwarded-For (1 behind a load balancer)."
    )
    GUNICORN_WORKERS: int = Field(4, ge=1, description="Gunicorn worker processes.")
    GUNICORN_WORKER_CONNECTIONS: int = Field(1000, ge=1, description="Connections a gunicorn worker.")


class WorkerSettings(LogSettings, QueueSettings, StoreSettings):
    """What every worker has."""

    API_BASE_URL: HttpUrl = Field(description="Where the worker endpoints are reached.")
    INTERNAL_WORKER_TOKEN: Token = Field(description="This worker class's token, at least 32 characters.")
    SQS_WAIT_TIME_SECONDS: int = Field(20, ge=0, le=20, description="Long poll of one receive.")
    SQS_VISIBILITY_TIMEOUT_SECONDS: int = Field(300, ge=10, le=43_200, description="Visibility timeout of a bell.")


class VideoWorkerSettings(WorkerSettings):
    """The video worker (S-14)."""

    VIDEO_WORKER_ID: str = Field(description="Name of this worker; the pod name in a cluster.")
    VIDEO_WORKER_TEMP_DIR: str = Field("/tmp/academy-video", description="Scratch folder.")  # noqa: S108
    FFMPEG_BIN: str = Field("ffmpeg", description="ffmpeg.")
    FFPROBE_BIN: str = Field("ffprobe", description="ffprobe.")
    HLS_TIME_SECONDS: int = Field(6, ge=2, le=12, description="Segment length.")
    MIN_SEGMENTS_PER_VARIANT: int = Field(3, ge=1, description="Least number of segments of a rendition.")
    THUMBNAIL_AT_SECONDS: float = Field(5.0, ge=0, description="Where the poster is taken.")


class OperatorSettings(LogSettings):
    """The Kubernetes operator."""

    OPERATOR_CLUSTER_ID: str = Field(
        min_length=1, max_length=63, description="Name of this cluster in ownership tags; fixed for the cluster's life."
    )
    OPERATOR_ALLOWED_PRINCIPALS: str = Field("", description="AWS principals that queues may admit, by comma.")
    OPERATOR_METRICS_PORT: int = Field(9090, ge=0, le=65535, description="Port of the Prometheus metrics; 0 for none.")
    OPERATOR_COUNT_SECONDS: float = Field(30.0, ge=1, description="How often depths are read and status is written.")
    OPERATOR_DRIFT_SECONDS: float = Field(300.0, ge=1, description="How often drift is looked for.")
    OPERATOR_RELEASE_SECONDS: float = Field(
        600.0, ge=1, description="A deletion that the provider keeps from ending is let go after this."
    )
    OPERATOR_SWEEP_PER_SECOND: float = Field(50.0, gt=0, description="Resources visited a second at most.")
    AWS_REGION: str = Field("ap-northeast-2", description="Region of the SQS queues.")
    AWS_ENDPOINT_URL_SQS: str | None = Field(None, description="SQS emulator; unset in production.")
    AWS_ENDPOINT_URL_CLOUDWATCH: str | None = Field(
        None, description="CloudWatch emulator; unset in production. An SQS emulator without it has no alarms."
    )
    R2_ENDPOINT: HttpUrl | None = Field(None, description="Cloudflare R2's S3 endpoint; needed for Bucket resources.")
    R2_ACCESS_KEY: str | None = Field(None, description="R2 access key id of buckets that name no Secret.")
    R2_SECRET_KEY: SecretStr | None = Field(None, description="Its secret.")


S = TypeVar("S", bound=BaseSettings)


def load(cls: type[S]) -> S:
    """Read the environment into `cls`; SettingsFault names every fault at once, without any value."""
    try:
        return cls()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or cls.__name__}: {fault['msg']}" for fault in error.errors()
        )
        raise SettingsFault(f"settings: {faults}") from None
