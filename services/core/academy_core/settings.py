"""The one place where environment variables are read: a typed settings class a process.

Each process's composition root calls `load(ClassOfThisProcess)` once and passes the values on. All faults are
reported at once and no secret is ever printed. `.env.example` and `docs/settings.md` are generated from here
(`python -m academy_core.settings`), and a test holds them equal.
"""

import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from academy_core.errors import SettingsFault
from academy_core.kinds import Queue
from academy_core.playback import Keyring

_TOKEN_LENGTH = 32


def split_tokens(tokens: SecretStr) -> tuple[str, ...]:
    """The tokens of a setting that lists several by comma, so that they can be rotated."""
    return tuple(token.strip() for token in tokens.get_secret_value().split(",") if token.strip())


def _long_enough(tokens: SecretStr) -> SecretStr:
    found = split_tokens(tokens)
    if not found or any(len(token) < _TOKEN_LENGTH for token in found):
        raise ValueError(f"wanted at least one token, each of at least {_TOKEN_LENGTH} characters")
    return tokens


Token = Annotated[SecretStr, Field(min_length=_TOKEN_LENGTH)]
Tokens = Annotated[SecretStr, AfterValidator(_long_enough)]
Bucket = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]
QueueName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,76}$")]  # SQS allows 80, "-dlq" included


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

    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level that is logged.")
    LOG_JSON: bool = Field(default=False, description="One JSON object a line instead of the readable form.")


class QueueSettings(_Base):
    """SQS."""

    AWS_REGION: str = Field("ap-northeast-2", description="Region of the SQS queues.")
    AWS_ENDPOINT_URL_SQS: str | None = Field(None, description="SQS emulator; unset in production.")
    VIDEO_SQS_QUEUE_NAME: QueueName = Field("academy-video-jobs", description="Queue of the video workers.")
    AI_SQS_QUEUE_NAME_LITE: QueueName = Field("academy-ai-jobs-lite", description="Queue of the lite AI kinds.")
    AI_SQS_QUEUE_NAME_BASIC: QueueName = Field("academy-ai-jobs-basic", description="Queue of the basic AI kinds.")
    AI_SQS_QUEUE_NAME_PREMIUM: QueueName = Field(
        "academy-ai-jobs-premium", description="Queue of the premium AI kinds."
    )

    def queue_names(self) -> Mapping[Queue, str]:
        """SQS names by logical queue (S-4)."""
        return {
            Queue.VIDEO: self.VIDEO_SQS_QUEUE_NAME,
            Queue.AI_LITE: self.AI_SQS_QUEUE_NAME_LITE,
            Queue.AI_BASIC: self.AI_SQS_QUEUE_NAME_BASIC,
            Queue.AI_PREMIUM: self.AI_SQS_QUEUE_NAME_PREMIUM,
        }


class StoreSettings(_Base):
    """Cloudflare R2."""

    R2_ENDPOINT: Endpoint = Field(description="Cloudflare R2's S3 endpoint. Never an AWS S3 address.")
    R2_ACCESS_KEY: str = Field(description="R2 access key id.")
    R2_SECRET_KEY: SecretStr = Field(description="R2 secret access key.")
    R2_VIDEO_BUCKET: Bucket = Field("academy-video", description="Sources and HLS.")
    R2_AI_BUCKET: Bucket = Field("academy-ai", description="AI inputs and results.")
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
    DB_SSLMODE: SslMode = Field("prefer", description="How DB_HOST's TLS is checked; verify-full for a host outside.")
    DB_DIRECT_SSLMODE: SslMode | None = Field(None, description="The same for the direct host; DB_SSLMODE when unset.")
    DB_SSLROOTCERT: str | None = Field(None, description="File of the certificate authorities that verify-full trusts.")
    DB_CONN_MAX_AGE: int = Field(
        0, ge=0, description="0 with PgBouncer, 60 without: maximum age of a pooled connection."
    )
    DB_MAX_CONCURRENCY: int = Field(20, ge=1, le=200, description="Database connections of one API process at most.")

    def tls(self, *, direct: bool = False) -> dict[str, str]:
        """Libpq's TLS parameters for DB_HOST, or for the direct host."""
        mode = self.DB_DIRECT_SSLMODE if direct and self.DB_DIRECT_SSLMODE else self.DB_SSLMODE
        return {"sslmode": mode} | ({"sslrootcert": self.DB_SSLROOTCERT} if self.DB_SSLROOTCERT else {})


class PlaybackSettings(StoreSettings):
    """Playback (S-3): the API signs, the embedded platform's origin verifies."""

    CDN_HLS_BASE_URL: PublicUrl = Field(description="Base URL of playback; what follows is the object's key.")
    CDN_HLS_SIGNING_SECRET: SecretStr | None = Field(
        None, description="Signs playback URLs, at least 32 characters; plain URLs when unset."
    )
    CDN_HLS_SIGNING_KEY_ID: str = Field("v1", description="Key id of the signing secret.")
    CDN_HLS_SIGNING_PREVIOUS_KEYS: SecretStr | None = Field(
        None, validate_default=True, description="Keys that still verify after a rotation: id:secret, by comma."
    )

    # On the last field, not on the model: it must report beside faults of other fields, not after they are mended.
    @field_validator("CDN_HLS_SIGNING_PREVIOUS_KEYS")
    @classmethod
    def _signing_is_sound(cls, previous: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """The keys are usable, and nothing serves the signed files without asking for the signature."""
        secret = info.data.get("CDN_HLS_SIGNING_SECRET")
        try:
            keyring = _keyring(str(info.data.get("CDN_HLS_SIGNING_KEY_ID")), secret, previous)
        except SettingsFault as fault:
            raise ValueError(fault.detail) from None
        if keyring is not None and info.data.get("R2_PUBLIC_BASE_URL") is not None:
            raise ValueError(
                "CDN_HLS_SIGNING_SECRET with R2_PUBLIC_BASE_URL: a public bucket would serve unsigned URLs"
            )
        if keyring is None and previous is not None:
            raise ValueError("CDN_HLS_SIGNING_PREVIOUS_KEYS without CDN_HLS_SIGNING_SECRET")
        return previous

    def keyring(self) -> Keyring | None:
        """The playback keys, or None when URLs are plain."""
        return _keyring(self.CDN_HLS_SIGNING_KEY_ID, self.CDN_HLS_SIGNING_SECRET, self.CDN_HLS_SIGNING_PREVIOUS_KEYS)


def _keyring(key_id: str, secret: SecretStr | None, previous: SecretStr | None) -> Keyring | None:
    if secret is None:
        return None
    return Keyring.parse(key_id, secret.get_secret_value(), previous.get_secret_value() if previous else "")


class CdnSettings(_Base):
    """The CDN's cache: purged of what is deleted."""

    CDN_PURGE_API_URL: HttpUrl = Field(
        HttpUrl("https://api.cloudflare.com/client/v4"), description="Cloudflare's API, version 4."
    )
    CDN_PURGE_ZONE_ID: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = Field(
        None, description="Cloudflare zone of CDN_HLS_BASE_URL; nothing is purged when unset."
    )
    CDN_PURGE_API_TOKEN: SecretStr | None = Field(
        None, validate_default=True, description="Cloudflare API token that may purge that zone's cache, and no more."
    )

    @field_validator("CDN_PURGE_API_TOKEN")
    @classmethod
    def _both_or_none(cls, token: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if (token is None) != (info.data.get("CDN_PURGE_ZONE_ID") is None):
            raise ValueError("CDN_PURGE_ZONE_ID and CDN_PURGE_API_TOKEN are set together or not at all")
        return token


class ApiSettings(LogSettings, QueueSettings, PlaybackSettings, CdnSettings, DatabaseSettings):
    """api, api-internal, relay and migrate: they share one image and these variables."""

    SECRET_KEY: Annotated[SecretStr, Field(min_length=50)] = Field(description="Django's secret key.")
    DEBUG: bool = Field(default=False, description="Never in production.")
    DJANGO_SETTINGS_MODULE: str = Field("academy_api.settings", description="Django's settings module.")
    SITE_URL: HttpUrl = Field(description="Public address of the API and console.")
    API_BASE_URL: HttpUrl = Field(description="Where the worker endpoints are reached.")
    INTERNAL_WORKER_TOKENS_VIDEO: Tokens = Field(description="Accepted tokens of the video workers, by comma.")
    INTERNAL_WORKER_TOKENS_AI_CPU: Tokens = Field(description="Accepted tokens of the CPU AI workers, by comma.")
    INTERNAL_WORKER_TOKENS_AI_GPU: Tokens = Field(description="Accepted tokens of the GPU AI workers, by comma.")
    INTERNAL_WORKER_TOKENS_RELAY: Tokens = Field(
        description="Accepted tokens of the relay's probe, by comma; the relay itself bears the first."
    )
    API_SERVES: Literal["all", "public", "internal"] = Field(
        "all", description="Which addresses this process answers: the public API, the worker endpoints, or both."
    )
    TRUSTED_PROXIES: int = Field(
        0, ge=0, le=5, description="Proxies in front that append to X-Forwarded-For (1 behind a load balancer)."
    )
    AI_DAILY_LITE: int = Field(2000, ge=0, description="Files an academy may have graded a day (lite tier).")
    AI_DAILY_BASIC: int = Field(200, ge=0, description="Basic AI work an academy may ask for a day.")
    POD_IP: str | None = Field(
        None, description="This pod's address: the load balancer's checks and Prometheus name it as their host."
    )
    RELAY_METRICS_PORT: int = Field(0, ge=0, le=65535, description="Port of the relay's /metrics; 0 for none.")
    GUNICORN_WORKERS: int = Field(4, ge=1, description="Gunicorn worker processes.")
    GUNICORN_WORKER_CONNECTIONS: int = Field(1000, ge=1, description="Connections a gunicorn worker.")

    @field_validator("INTERNAL_WORKER_TOKENS_RELAY")
    @classmethod
    def _one_class_a_token(cls, relay: SecretStr, info: ValidationInfo) -> SecretStr:
        """A token names its worker class, so no two classes may share one."""
        others = (value for name, value in info.data.items() if name.startswith("INTERNAL_WORKER_TOKENS_"))
        tokens = [token for value in (*others, relay) for token in set(split_tokens(value))]
        if len(set(tokens)) < len(tokens):
            raise ValueError("two worker classes share a token")
        return relay


class MigrateSettings(ApiSettings):
    """migrate: what a release does to the database, and the backup before it."""

    DB_APP_ROLE: str | None = Field(
        None, description="Role of API and relay, when it is not DB_USER: gets its rights and timeouts with a release."
    )
    R2_BACKUP_BUCKET: Bucket = Field("academy-backup", description="Private bucket of the database's dumps.")
    RDS_INSTANCE_ID: str | None = Field(None, description="RDS instance that a backup by snapshot is of.")


class WorkerSettings(LogSettings, QueueSettings, StoreSettings):
    """What every worker has."""

    API_BASE_URL: HttpUrl = Field(description="Where the worker endpoints are reached.")
    INTERNAL_WORKER_TOKEN: Token = Field(description="This worker class's token, at least 32 characters.")
    SQS_WAIT_TIME_SECONDS: int = Field(20, ge=0, le=20, description="Long poll of one receive.")
    SQS_VISIBILITY_TIMEOUT_SECONDS: int = Field(300, ge=10, le=43_200, description="Visibility timeout of a bell.")
    SHUTDOWN_GRACE_SECONDS: float = Field(
        60.0, ge=0, description="How long running work may go on after SIGTERM before it is handed back."
    )
    POD_NAME: str | None = Field(
        None, description="Name of the worker's own pod in Kubernetes, whose deletion cost it sets; unset elsewhere."
    )
    METRICS_HOST: str = Field("0.0.0.0", description="Address of /metrics and /live.")  # noqa: S104 - scraped from outside the pod
    METRICS_PORT: int = Field(0, ge=0, le=65535, description="Port of /metrics and /live; 0 picks a free one.")


_Worker = Annotated[str, Field(min_length=1, max_length=128)]


class VideoWorkerSettings(WorkerSettings):
    """The video worker (S-14)."""

    VIDEO_WORKER_ID: _Worker = Field(
        default_factory=socket.gethostname, description="Name of this worker; the pod name in a cluster."
    )
    VIDEO_WORKER_TEMP_DIR: str = Field("/tmp/academy-video", description="Scratch folder.")  # noqa: S108
    FFMPEG_BIN: str = Field("ffmpeg", description="ffmpeg.")
    FFPROBE_BIN: str = Field("ffprobe", description="ffprobe.")
    HLS_TIME_SECONDS: int = Field(6, ge=2, le=12, description="Segment length.")
    MIN_SEGMENTS_PER_VARIANT: int = Field(3, ge=1, description="Least number of segments of a rendition.")
    THUMBNAIL_AT_SECONDS: float = Field(5.0, ge=0, description="Where the poster is taken.")
    LOUDNESS_NORMALIZE: bool = Field(default=True, description="Bring every lecture's sound to -16 LUFS.")


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
    R2_ENDPOINT: Endpoint | None = Field(None, description="Cloudflare R2's S3 endpoint; needed for Bucket resources.")
    R2_ACCESS_KEY: str | None = Field(None, description="R2 access key id of buckets that name no Secret.")
    R2_SECRET_KEY: SecretStr | None = Field(None, description="Its secret.")


class AiWorkerSettings(WorkerSettings):
    """What both AI workers have."""

    AI_WORKER_TEMP_DIR: str = Field("/tmp/academy-ai", description="Scratch folder.")  # noqa: S108
    AI_CHILD_MAX_TASKS: int = Field(200, ge=1, description="Tasks after which the child process is replaced.")
    AI_CHILD_MEMORY_MIB: int = Field(
        2048,
        ge=256,
        description="Memory above which the child process is replaced after its task; the CPU worker's may never "
        "reserve more than twice that.",
    )


class VisionSettings(_Base):
    """Google Vision, which reads text where it is set up (S-15)."""

    GOOGLE_APPLICATION_CREDENTIALS: str | None = Field(
        None, description="A service account's key file; text is read by Tesseract when unset."
    )
    GOOGLE_VISION_ENDPOINT: HttpUrl = Field(
        HttpUrl("https://vision.googleapis.com"), description="Google Vision's REST API, or a regional one."
    )


class AiCpuWorkerSettings(AiWorkerSettings, VisionSettings):
    """The CPU AI worker: basic and lite (S-7, S-15)."""

    AI_WORKER_ID_CPU: _Worker = Field(
        default_factory=socket.gethostname, description="Name of this worker; the pod name in a cluster."
    )
    AI_WORKER_BASIC_POLL_WEIGHT: int = Field(3, ge=1, le=100, description="Share of the basic queue.")
    AI_WORKER_LITE_POLL_WEIGHT: int = Field(1, ge=1, le=100, description="Share of the lite queue.")


class TranscribeSettings(_Base):
    """Speech to text."""

    TRANSCRIBE_MODEL_DIR: str | None = Field(
        None, description="Folder of a multilingual Whisper model in CTranslate2's format; never fetched at run time."
    )
    TRANSCRIBE_MODEL_SHA256: str | None = Field(
        None, pattern=r"^[0-9a-fA-F]{64}$", description="What the model's `model.bin` must hash to."
    )
    TRANSCRIBE_ENGINE: Literal["auto", "torch", "ctranslate2"] = Field(
        "auto", description="torch where there is a GPU, else CTranslate2 with int8."
    )

    def options(self) -> dict[str, str]:
        """What is set, as the AI kinds get it."""
        found = {name: getattr(self, name) for name in TranscribeSettings.model_fields}
        return {name: str(value) for name, value in found.items() if value is not None}


class AiGpuWorkerSettings(AiWorkerSettings, TranscribeSettings):
    """The GPU AI worker: premium (S-15)."""

    AI_WORKER_ID_GPU: _Worker = Field(
        default_factory=socket.gethostname, description="Name of this worker; the pod name in a cluster."
    )


PROCESSES: Mapping[str, type[BaseSettings]] = {
    "api, api-internal, relay": ApiSettings,
    "migrate": MigrateSettings,
    "video-worker": VideoWorkerSettings,
    "ai-worker-cpu": AiCpuWorkerSettings,
    "ai-worker-gpu": AiGpuWorkerSettings,
    "operator": OperatorSettings,
}
"""Every process and its settings class."""

S = TypeVar("S", bound=BaseSettings)


def load(cls: type[S]) -> S:
    """Read the environment into `cls`; SettingsFault names every fault at once, without any value."""
    try:
        return cls()
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise SettingsFault(f"settings: {faults}") from None


def _sections() -> Iterator[tuple[type[BaseSettings], dict[str, Any]]]:
    """Each class with the fields it adds, every variable once, bases first."""
    seen: set[str] = set()
    for process in PROCESSES.values():
        for cls in reversed(process.__mro__):
            if not issubclass(cls, _Base) or cls is _Base:
                continue
            own = {name: field for name, field in cls.model_fields.items() if name in cls.__annotations__}
            new = {name: field for name, field in own.items() if name not in seen}
            seen |= new.keys()
            if new:
                yield cls, new


def _default(field: Any) -> str | None:
    """A field's default as an environment variable holds it; None when there is none."""
    if field.is_required() or field.default_factory is not None or field.default is None:
        return None
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def env_example() -> str:
    """The text of `.env.example`: required variables empty, optional ones commented out or with their default."""
    lines = ["# Generated by `python -m academy_core.settings`. Every setting of every process; see docs/settings.md."]
    for cls, fields in _sections():
        lines += ["", f"# {(cls.__doc__ or '').strip()}"]
        for name, field in fields.items():
            lines.append(f"# {field.description}")
            default = _default(field)
            lines.append(f"{name}={default or ''}" if default is not None or field.is_required() else f"# {name}=")
    return "\n".join(lines) + "\n"


def _stated_default(field: Any) -> str:
    if field.is_required():
        return "**required**"
    if field.default_factory is not None:
        return "the host name"
    default = _default(field)
    return "unset" if default is None else f"`{default}`"


def markdown() -> str:
    """The text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Generated by `python -m academy_core.settings` from `academy_core/settings.py`; a test holds them equal.",
        "Settings come from environment variables alone. A wrong or missing one stops the process at start, with one",
        "message that names every fault and no value.",
    ]
    for cls, fields in _sections():
        users = ", ".join(name for name, process in PROCESSES.items() if issubclass(process, cls))
        lines += ["", f"## {(cls.__doc__ or '').strip().rstrip('.')}", "", f"Read by {users}.", ""]
        lines += ["| variable | default | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | {_stated_default(field)} | {field.description} |" for name, field in fields.items()]
    return "\n".join(lines) + "\n"


def generate(root: Path) -> None:
    """Write both files under the repository's root."""
    (root / ".env.example").write_text(env_example())
    (root / "docs").mkdir(exist_ok=True)
    (root / "docs" / "settings.md").write_text(markdown())


if __name__ == "__main__":
    generate(Path.cwd())
