"""Settings of playback: rotation, and the combinations that would leak or lock out."""

from collections.abc import Mapping

import pytest

from academy_core import settings
from academy_core.errors import SettingsFault

BASE = {
    "R2_ENDPOINT": "http://127.0.0.1:1",
    "R2_ACCESS_KEY": "key",
    "R2_SECRET_KEY": "store-secret",
    "CDN_HLS_BASE_URL": "http://127.0.0.1:2/hls",
}
SIGNED = {"CDN_HLS_SIGNING_SECRET": "s" * 32}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in settings.PlaybackSettings.model_fields:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def _load(environment: pytest.MonkeyPatch, values: Mapping[str, str]) -> settings.PlaybackSettings:
    for name, value in (BASE | dict(values)).items():
        environment.setenv(name, value)
    return settings.load(settings.PlaybackSettings)


def test_without_a_secret_urls_are_plain(environment: pytest.MonkeyPatch) -> None:
    assert _load(environment, {"R2_PUBLIC_BASE_URL": "https://files.example"}).keyring() is None


def test_keys_rotate_by_settings(environment: pytest.MonkeyPatch) -> None:
    keyring = _load(
        environment, SIGNED | {"CDN_HLS_SIGNING_KEY_ID": "v2", "CDN_HLS_SIGNING_PREVIOUS_KEYS": "v1:" + "o" * 32}
    ).keyring()
    assert keyring is not None
    assert keyring.signing.id == "v2"
    assert [key.id for key in keyring.previous] == ["v1"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (SIGNED | {"R2_PUBLIC_BASE_URL": "https://files.example"}, "R2_PUBLIC_BASE_URL"),
        ({"CDN_HLS_SIGNING_SECRET": "too-short-a-secret"}, "fewer than 32"),
        (SIGNED | {"CDN_HLS_SIGNING_KEY_ID": "v 1"}, "key id"),
        (SIGNED | {"CDN_HLS_SIGNING_PREVIOUS_KEYS": "v1:" + "o" * 32}, "must differ"),
        ({"CDN_HLS_SIGNING_PREVIOUS_KEYS": "v1:" + "o" * 32}, "without CDN_HLS_SIGNING_SECRET"),
    ],
)
def test_an_unsound_combination_stops_the_process(
    environment: pytest.MonkeyPatch, values: Mapping[str, str], said: str
) -> None:
    with pytest.raises(SettingsFault, match=said) as fault:
        _load(environment, values)
    assert "ssss" not in str(fault.value)
    assert "oooo" not in str(fault.value)
    assert "too-short-a-secret" not in str(fault.value)
