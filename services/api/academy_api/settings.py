"""Django settings, derived from the typed settings class; nothing here reads the environment itself."""

from academy_core.settings import ApiSettings, load

config = load(ApiSettings)

SECRET_KEY = config.SECRET_KEY.get_secret_value()
DEBUG = config.DEBUG
ALLOWED_HOSTS = [config.SITE_URL.host or "", config.API_BASE_URL.host or "", "localhost", "127.0.0.1"]
ROOT_URLCONF = "academy_api.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "academy_api.accounts.apps.AccountsConfig",
    "academy_api.ledger.apps.LedgerConfig",
    "academy_api.lectures.apps.LecturesConfig",
    "academy_api.playback.apps.PlaybackConfig",
    "academy_api.ops.apps.OpsConfig",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": config.DB_NAME,
        "USER": config.DB_USER,
        "PASSWORD": config.DB_PASSWORD.get_secret_value(),
        "HOST": config.DB_HOST,
        "PORT": config.DB_PORT,
        "CONN_MAX_AGE": 0,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "Asia/Seoul"
LANGUAGE_CODE = "ko"
