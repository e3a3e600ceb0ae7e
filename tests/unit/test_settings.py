"""Settings: generated files, all faults at once, no secret shown (S-18), and no way to AWS S3 (S-1)."""

import socket
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from academy_core import settings
from academy_core.errors import SettingsFault
from academy_core.kinds import Queue

ROOT = Path(__file__).parents[2]
STORE = {
    "R2_ENDPOINT": "https://abc.r2.cloudflarestorage.com",
    "R2_ACCESS_KEY": "id",
    "R2_SECRET_KEY": "hidden-store-key",
}
WORKER = STORE | {"API_BASE_URL": "http://api:8000", "INTERNAL_WORKER_TOKEN": "w" * 32}
API = STORE | {
    "SECRET_KEY": "k" * 50,
    "SITE_URL": "https://academy.example",
    "API_BASE_URL": "http://api:8000",
    "DB_NAME": "academy",
    "DB_USER": "academy",
    "DB_PASSWORD": "hidden-db-password",
    "DB_HOST": "pgbouncer",
    "INTERNAL_WORKER_TOKENS_VIDEO": "v" * 32,
    "INTERNAL_WORKER_TOKENS_AI_CPU": "c" * 32,
    "INTERNAL_WORKER_TOKENS_AI_GPU": "g" * 32,
    "INTERNAL_WORKER_TOKENS_RELAY": "r" * 32,
    "CDN_HLS_BASE_URL": "https://cdn.example",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for process in settings.PROCESSES.values():
        for name in process.model_fields:
            monkeypatch.delenv(name, raising=False)
    return monkeypatch


def load(environment: pytest.MonkeyPatch, cls: type[BaseSettings], values: dict[str, str]) -> BaseSettings:
    for name, value in values.items():
        environment.setenv(name, value)
    return settings.load(cls)


def faults(environment: pytest.MonkeyPatch, cls: type[BaseSettings], values: dict[str, str]) -> str:
    with pytest.raises(SettingsFault) as caught:
        load(environment, cls, values)
    return str(caught.value)


def test_generated_files_are_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text() == settings.env_example(), "run python -m academy_core.settings"
    assert (ROOT / "docs" / "settings.md").read_text() == settings.markdown(), "run python -m academy_core.settings"


def test_every_variable_is_listed_once(tmp_path: Path) -> None:
    settings.generate(tmp_path)
    lines = (tmp_path / ".env.example").read_text().splitlines()
    listed = [line.removeprefix("# ").split("=")[0] for line in lines if "=" in line.split(" ")[-1] and line[:1]]
    for process in settings.PROCESSES.values():
        for name in process.model_fields:
            assert sum(entry == name for entry in listed) == 1, name


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (settings.ApiSettings, API),
        (settings.VideoWorkerSettings, WORKER),
        (settings.AiCpuWorkerSettings, WORKER),
        (settings.AiGpuWorkerSettings, WORKER),
    ],
)
def test_what_is_required_suffices(
    environment: pytest.MonkeyPatch, cls: type[BaseSettings], values: dict[str, str]
) -> None:
    load(environment, cls, values)


def test_defaults_of_the_specification(environment: pytest.MonkeyPatch) -> None:
    cpu = load(environment, settings.AiCpuWorkerSettings, WORKER)
    assert isinstance(cpu, settings.AiCpuWorkerSettings)
    assert (cpu.AI_WORKER_BASIC_POLL_WEIGHT, cpu.AI_WORKER_LITE_POLL_WEIGHT) == (3, 1)
    assert (cpu.SQS_WAIT_TIME_SECONDS, cpu.SQS_VISIBILITY_TIMEOUT_SECONDS) == (20, 300)
    assert (cpu.RETRY_MAX_ATTEMPTS, cpu.BACKOFF_BASE_SECONDS, cpu.BACKOFF_CAP_SECONDS) == (5, 0.5, 10.0)
    assert ("ap-northeast-2", socket.gethostname()) == (cpu.AWS_REGION, cpu.AI_WORKER_ID_CPU)
    assert cpu.queue_names() == {
        Queue.VIDEO: "academy-video-jobs",
        Queue.AI_LITE: "academy-ai-jobs-lite",
        Queue.AI_BASIC: "academy-ai-jobs-basic",
        Queue.AI_PREMIUM: "academy-ai-jobs-premium",
    }


def test_all_faults_are_named_at_once_and_no_value_is_shown(environment: pytest.MonkeyPatch) -> None:
    bad = API | {
        "SECRET_KEY": "hidden-short-key",
        "DB_PORT": "hidden-port",
        "INTERNAL_WORKER_TOKENS_VIDEO": "v" * 32 + ",hidden-short-token",
        "INTERNAL_WORKER_TOKENS_RELAY": "g" * 32,
        "CDN_HLS_SIGNING_SECRET": "hidden-signing-secret-of-32-characters",
        "R2_PUBLIC_BASE_URL": "https://public.example",
        "LOG_LEVEL": "LOUD",
    }
    del bad["SITE_URL"]
    message = faults(environment, settings.ApiSettings, bad)
    for name in ("SECRET_KEY", "DB_PORT", "INTERNAL_WORKER_TOKENS_VIDEO", "INTERNAL_WORKER_TOKENS_RELAY", "SITE_URL"):
        assert name in message
    assert "two worker classes share a token" in message
    assert "a public bucket would serve unsigned URLs" in message
    assert "LOG_LEVEL" in message
    assert "hidden" not in message


def test_secrets_do_not_show_in_a_settings_repr(environment: pytest.MonkeyPatch) -> None:
    assert "hidden" not in repr(load(environment, settings.ApiSettings, API))


def test_tokens_are_listed_by_comma() -> None:
    assert settings.split_tokens(settings.SecretStr(" a, b,,")) == ("a", "b")


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://s3.amazonaws.com",
        "https://S3.ap-northeast-2.AmazonAWS.com./",
        "https://bucket.s3.dualstack.ap-northeast-2.amazonaws.com",
        "https://s3.cn-north-1.amazonaws.com.cn",
        "https://s3.ap-northeast-2.api.aws",
        "https://user:secret@abc.r2.cloudflarestorage.com",
        "https://abc.r2.cloudflarestorage.com/bucket",
        "https://abc.r2.cloudflarestorage.com/?x=1",
        "ftp://abc.r2.cloudflarestorage.com",
    ],
)
def test_an_endpoint_that_is_not_r2s_is_refused(environment: pytest.MonkeyPatch, endpoint: str) -> None:
    assert "R2_ENDPOINT" in faults(environment, settings.VideoWorkerSettings, WORKER | {"R2_ENDPOINT": endpoint})
