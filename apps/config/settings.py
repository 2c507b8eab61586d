"""Settings of the portal, all from the environment; docs/decisions/0001 lists the variables."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
from django.utils.translation import gettext_lazy as _

from apps.config import env
from regatta.embedded.keys import kept_secret
from regatta.embedded.paths import broker_url, database_url, home

django_stubs_ext.monkeypatch()  # generic classes like ModelAdmin[Any] at run time

BASE_DIR = Path(__file__).resolve().parents[2]
REGATTA_HOME = home()
REGATTA_URL = env.text("REGATTA_URL", "http://127.0.0.1:8000").rstrip("/")
_address = urlsplit(REGATTA_URL)

DEBUG = False
SECRET_KEY = env.text("SECRET_KEY") or kept_secret(REGATTA_HOME / "secret_key")
SECRET_KEY_FALLBACKS = env.words("SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = [
    _address.hostname or "127.0.0.1",
    *("127.0.0.1", "localhost", "[::1]"),
    *env.words("REGATTA_ALLOWED_HOSTS"),
]
CSRF_TRUSTED_ORIGINS = [f"{_address.scheme}://{_address.netloc}"]

INSTALLED_APPS = [
    "apps.web",  # first: its templates and static files of installed packages win
    "apps.config.console.ConsoleConfig",  # the Django admin as admin console
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "csp",
    "django_htmx",
    "lucide",
    "ninja",  # the API's page of docs, from the wheel
    "template_partials",
    "apps.config",
    "apps.advisor",
    "apps.insights",
    "apps.jobs",
    "apps.costs",
    "apps.clusters",
    "apps.accounts",
    "apps.lifecycle",
    "apps.http",
]
MIDDLEWARE = [
    "apps.http.request_id.request_id",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "apps.http.rim.sane_address",
    "apps.accounts.middleware.AccessMiddleware",
]
ROOT_URLCONF = "apps.config.urls"
ASGI_APPLICATION = "apps.config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "frontend" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "apps.web.context.shell",
            ],
            "builtins": [
                "apps.web.templatetags.portal",
                "django.templatetags.i18n",
                "django.templatetags.static",
                "lucide.templatetags.lucide",
                "template_partials.templatetags.partials",
            ],
        },
    }
]

DATABASES = {
    "default": env.database(
        env.text("DATABASE_URL") or database_url(REGATTA_HOME),
        pool=int(env.number("REGATTA_DB_POOL", 0)),  # set where many threads share a process
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "web:start"

CELERY_BROKER_URL = env.text("BROKER_URL") or broker_url(REGATTA_HOME)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 2000
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 600, "socket_connect_timeout": 1}
# Run by the ticker, in seconds: the sweeps bring everything to its end without a broker.
TICKS = {
    "accounts.prune": 600.0,
    "http.prune": 600.0,
    "clusters.reconcile": 0.5,
    "clusters.sweep_orphans": 60.0,
    "jobs.reconcile": 0.5,
    "jobs.stop_strays": 60.0,
    "jobs.prune": 3600.0,
    "insights.sample": 5.0,
    "insights.roll_up": 20.0,
    "insights.prune": 3600.0,
    "advisor.search": 10.0,
    "advisor.prune": 3600.0,
    "advisor.foresee": 60.0,
    "advisor.settle": 15.0,
    "web.ask_worker": 10.0,
}
FOLLOWERS = ["apps.jobs.follow.follow"]  # functions that the ticker keeps running

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [REGATTA_HOME / "locale"]  # compiled at each start from frontend/locale
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "static/"
STATIC_ROOT = REGATTA_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "frontend" / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "apps.web.finders.PlotlyFinder",
]
_collected = env.flag("REGATTA_COLLECTED_STATIC")  # set by whoever ran collectstatic before
WHITENOISE_USE_FINDERS = WHITENOISE_AUTOREFRESH = not _collected
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _collected
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 8 << 20
RATE_LIMITS_PER_MIN = {  # docs/limits.md; 0 is no limit
    "read": env.number("REGATTA_READS_PER_MIN", 60_000),
    "write": env.number("REGATTA_WRITES_PER_MIN", 6_000),
    "upload": env.number("REGATTA_UPLOADS_PER_MIN", 120),
    "new_token": env.number("REGATTA_NEW_TOKENS_PER_MIN", 60),
    "plan": env.number("REGATTA_PLANS_PER_MIN", 30),
}

_https = _address.scheme == "https"
SESSION_COOKIE_NAME = "__Host-sid" if _https else "sid"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SESSION_COOKIE_AGE = 14 * 86400
SECURE_HSTS_SECONDS = 31536000 if _https else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
    }
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "apps.http.log_lines.Formatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("LOG_LEVEL", "INFO")},
    "loggers": {"httpx": {"level": "WARNING"}, "celery": {"level": "WARNING"}},
}
