"""Two Django products, one process each under gunicorn: ``python django_peers.py <peer> <store> <tokens>``.

``simplejwt`` is djangorestframework-simplejwt with rotation and its blacklist. ``oauth_toolkit`` is
django-oauth-toolkit with rotation and reuse protection. The products' own Python runs this file. No middleware is
installed, so no request has the cost of sessions or messages.
"""

import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.urls import path

PEER, STORE, TOKENS = "BENCH_PEER", "BENCH_STORE", "BENCH_TOKENS"
SECRET_BYTES = 48
APPS = {
    "simplejwt": ["rest_framework", "rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist"],
    "oauth_toolkit": ["oauth2_provider"],
}
PATHS = {"simplejwt": "/token/refresh", "oauth_toolkit": "/token/"}
PACKAGES = {"simplejwt": "djangorestframework-simplejwt", "oauth_toolkit": "django-oauth-toolkit"}


def database(store: str) -> dict[str, Any]:
    """Return the database settings of Django: connections are kept, and SQLite writes in WAL mode."""
    if store.startswith("sqlite:"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": store.removeprefix("sqlite:"),
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    url = urlsplit(store)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.strip("/"),
        "USER": url.username,
        "PASSWORD": url.password,
        "HOST": url.hostname,
        "PORT": url.port,
        "CONN_MAX_AGE": None,
    }


peer = os.environ.setdefault(PEER, sys.argv[1] if len(sys.argv) > 1 else "simplejwt")
settings.configure(
    SECRET_KEY=os.environ.setdefault("BENCH_SECRET", secrets.token_urlsafe(SECRET_BYTES)),
    DEBUG=False,
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=[],
    LOGGING_CONFIG=None,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", *APPS[peer]],
    DATABASES={"default": database(os.environ.setdefault(STORE, sys.argv[2] if len(sys.argv) > 2 else "sqlite:"))},
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    SIMPLE_JWT={
        "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
        "REFRESH_TOKEN_LIFETIME": timedelta(days=30),
        "ROTATE_REFRESH_TOKENS": True,
        "BLACKLIST_AFTER_ROTATION": True,
    },
    OAUTH2_PROVIDER={
        "ACCESS_TOKEN_EXPIRE_SECONDS": 900,
        "REFRESH_TOKEN_EXPIRE_SECONDS": 30 * 86400,
        "ROTATE_REFRESH_TOKEN": True,
        "REFRESH_TOKEN_REUSE_PROTECTION": True,
        "SCOPES": {"account": "the account"},
    },
)
django.setup()

if peer == "simplejwt":
    from rest_framework_simplejwt.views import TokenRefreshView

    urlpatterns = [path("token/refresh", TokenRefreshView.as_view())]
else:
    from oauth2_provider.views import TokenView

    urlpatterns = [path("token/", TokenView.as_view())]

answer_requests = get_wsgi_application()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer ``/floor`` before Django: the cost of gunicorn alone."""
    if environ["PATH_INFO"] == "/floor":
        environ["wsgi.input"].read()
        size = environ["QUERY_STRING"].removeprefix("bytes=")
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", size)])
        return [b"x" * int(size)]
    answered: Iterable[bytes] = answer_requests(environ, start_response)
    return answered


def log_in(number: int) -> str:
    """Store the data of a login, and return its refresh token."""
    from django.contrib.auth import get_user_model  # noqa: PLC0415 - after the set-up

    user = get_user_model().objects.create(username=f"account-{number}")
    if peer == "simplejwt":
        from rest_framework_simplejwt.tokens import RefreshToken  # noqa: PLC0415 - only one of the two is installed

        return str(RefreshToken.for_user(user))
    return _first_token(user)


def _first_token(user: Any) -> str:
    from django.utils import timezone  # noqa: PLC0415 - after the set-up
    from oauth2_provider.models import (  # noqa: PLC0415 - only one of the two is installed
        get_access_token_model,
        get_application_model,
        get_refresh_token_model,
    )

    app, _ = get_application_model().objects.get_or_create(
        client_id="app",
        defaults={
            "client_type": "public",
            "authorization_grant_type": "authorization-code",
            "redirect_uris": "https://app.example.com/callback",
            "name": "app",
        },
    )
    access = get_access_token_model().objects.create(
        user=user,
        application=app,
        scope="account",
        token=secrets.token_urlsafe(24),
        expires=timezone.now() + timedelta(minutes=15),
    )
    token = secrets.token_urlsafe(24)
    get_refresh_token_model().objects.create(
        user=user, application=app, access_token=access, token=token, token_family=_family()
    )
    return token


def _family() -> Any:
    import uuid  # noqa: PLC0415 - only needed here

    return uuid.uuid4()


def main(tokens: int) -> None:
    """Create the tables, log in, print the address, and run gunicorn."""
    call_command("migrate", verbosity=0, interactive=False)
    seeded = [log_in(number) for number in range(tokens)]
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    listening.set_inheritable(True)
    versions = {
        "Python": sys.version.split()[0],
        **{name: version(name) for name in ("Django", PACKAGES[peer], "gunicorn")},
        **({} if os.environ[STORE].startswith("sqlite:") else {"psycopg": version("psycopg")}),
    }
    said = {"port": listening.getsockname()[1], "path": PATHS[peer], "tokens": seeded, "versions": versions}
    print(json.dumps(said), flush=True)
    command = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listening.fileno()}"]
    command += ["--workers", "1", "--worker-class", "gthread", "--threads", "16", "--keep-alive", "300"]
    command += ["--log-level", "error", "--no-control-socket", "django_peers:application"]
    os.execv(sys.executable, command)  # noqa: S606 - fixed arguments


if __name__ == "__main__":
    main(int(sys.argv[3]))
