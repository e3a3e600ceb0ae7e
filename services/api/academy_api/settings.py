"""Django settings, derived from the typed settings class; nothing here reads the environment itself."""

from academy_core.settings import ApiSettings, load

config = load(ApiSettings)

SECRET_KEY = config.SECRET_KEY.get_secret_value()
DEBUG = config.DEBUG
ALLOWED_HOSTS = [config.SITE_URL.host or "", config.API_BASE_URL.host or "", "localhost", "127.0.0.1"]
ALLOWED_HOSTS += [config.POD_IP] if config.POD_IP else []
ROOT_URLCONF = "academy_api.urls"
WSGI_APPLICATION = "academy_api.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "ninja",  # its docs page and the page's scripts, served from here instead of a CDN
    "academy_api.accounts.apps.AccountsConfig",
    "academy_api.ledger.apps.LedgerConfig",
    "academy_api.lectures.apps.LecturesConfig",
    "academy_api.exams.apps.ExamsConfig",
    "academy_api.questions.apps.QuestionsConfig",
    "academy_api.tracks.apps.TracksConfig",
    "academy_api.playback.apps.PlaybackConfig",
    "academy_api.ops.apps.OpsConfig",
]
# Outside in: the first sees the request first and the answer last.
MIDDLEWARE = [
    "academy_api.ops.middleware.request_log",
    "academy_api.ops.middleware.security_headers",
    "academy_api.ops.middleware.Problems",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
STATIC_URL = "/api/static/"
WHITENOISE_USE_FINDERS = True  # the few files come from installed packages; nothing is collected at build time
APPEND_SLASH = False

DATABASES = {
    "default": {
        "ENGINE": "academy_api.database",
        "NAME": config.DB_NAME,
        "USER": config.DB_USER,
        "PASSWORD": config.DB_PASSWORD.get_secret_value(),
        "HOST": config.DB_HOST,
        "PORT": config.DB_PORT,
        # Django gives the connection back after every request; how long it lives on is the pool's affair.
        "CONN_MAX_AGE": 0,
        "DISABLE_SERVER_SIDE_CURSORS": True,  # transaction pooling
        "OPTIONS": {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, **config.tls()},
    }
}
DB_POOL_MAX_AGE = config.DB_CONN_MAX_AGE
DB_POOL_SIZE = config.DB_MAX_CONCURRENCY
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.Person"
PASSWORD_HASHERS = ["academy_api.accounts.hashers.OffLoopArgon2"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]

# Behind TLS every cookie is secure and plain HTTP is redirected; the embedded platform runs on plain loopback HTTP.
TLS = config.SITE_URL.scheme == "https"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = TLS
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_TRUSTED_ORIGINS = [str(config.SITE_URL).rstrip("/")]
SECURE_SSL_REDIRECT = TLS
# Probes, scrapes and workers come straight to the pod, inside the cluster, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^(health|ready|metrics)$", r"^internal/"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TLS and config.TRUSTED_PROXIES else None
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if TLS else 0
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # HSTS for subdomains: the academies' other subdomains are not ours to decide
    "security.W021",  # HSTS preload: the same
]
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024  # a completion with 2,000 children; files never pass through here
TRUSTED_PROXIES = config.TRUSTED_PROXIES
API_SERVES = config.API_SERVES

USE_TZ = True
TIME_ZONE = "Asia/Seoul"
LANGUAGE_CODE = "ko"
LOGGING_CONFIG = None  # structlog, set up once at process start by academy_core.log
