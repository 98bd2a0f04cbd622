"""Environment -> one frozen `Settings`. The only reader of ``os.environ``.

Wrong or missing settings refuse to start, and all problems are named at once.
"""

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

_PREFIX = re.compile(r"[a-zA-Z0-9_.-]{0,64}\Z")
_AUTHORITY = re.compile(r"[a-z0-9.-]+(:[0-9]{1,5})?\Z")
_RESOURCE_SERVER = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})\Z")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class SettingsProblems(ValueError):
    """The environment is not fit to start with; the message names everything that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        """Lay the problems out, one a line."""
        super().__init__("Baton cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


class Settings(Struct, frozen=True):
    """What a deployment decides.

    ``authorities``: hosts (with port, where it is not the default) under which apps sign their calls.
    ``kms_key_id``: the customer key that wraps the key ring; ``None`` keeps it as it is, for development alone.
    ``resource_servers``: id -> SHA-256 of the secret, for introspection.
    """

    issuer: str
    audience: str
    earlier_issuers: frozenset[str]
    authorities: frozenset[str]
    table_prefix: str
    kms_key_id: str | None
    origins: tuple[str, ...]
    resource_servers: Mapping[str, bytes]
    revoke_on_foreign_key: bool
    limits: bool
    development: bool
    log_level: str
    region: str


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. Raises ``SettingsProblems``."""
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    development = _switch(environ, "BATON_DEVELOPMENT", default=False, problems=problems)
    if development and "AWS_LAMBDA_RUNTIME_API" in environ:
        problems.append("BATON_DEVELOPMENT=1 is for a developer's machine: take it out of this function's environment")
    issuer = _issuer(environ, development=development, problems=problems)
    limits = _switch(environ, "BATON_LIMITS", default=True, problems=problems)
    if not limits and not development:
        problems.append("BATON_LIMITS=off is honoured with BATON_DEVELOPMENT=1 alone")
    settings = Settings(
        issuer=issuer,
        audience=environ.get("BATON_AUDIENCE") or issuer,
        earlier_issuers=frozenset(_words(environ, "BATON_EARLIER_ISSUERS")),
        authorities=_authorities(environ, issuer, problems),
        table_prefix=_table_prefix(environ, problems),
        kms_key_id=_kms_key_id(environ, development=development, problems=problems),
        origins=_origins(environ, problems),
        resource_servers=_resource_servers(environ, problems),
        revoke_on_foreign_key=_switch(environ, "BATON_REVOKE_ON_FOREIGN_KEY", default=False, problems=problems),
        limits=limits,
        development=development,
        log_level=_log_level(environ, problems),
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "",
    )
    if problems:
        raise SettingsProblems(problems)
    return settings


def _issuer(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str:
    issuer = environ.get("BATON_ISSUER", "")
    url = urlsplit(issuer)
    if not issuer:
        problems.append("BATON_ISSUER is missing: the URL apps call, such as https://api.example.com/api")
    elif not url.netloc or url.query or url.fragment or issuer.endswith("/"):
        problems.append("BATON_ISSUER is a URL without query, fragment or final slash")
    elif url.scheme != "https" and not (development and url.hostname in _LOOPBACK):
        problems.append("BATON_ISSUER is an https URL (http on localhost, with BATON_DEVELOPMENT=1, is the exception)")
    return issuer


def _authorities(environ: Mapping[str, str], issuer: str, problems: list[str]) -> frozenset[str]:
    words = _words(environ, "BATON_AUTHORITIES") or tuple(filter(None, [urlsplit(issuer).netloc.lower()]))
    problems += [
        f"BATON_AUTHORITIES: {word!r} is not a lower-case host, or host:port"
        for word in words
        if not _AUTHORITY.match(word)
    ]
    return frozenset(words)


def _table_prefix(environ: Mapping[str, str], problems: list[str]) -> str:
    prefix = environ.get("BATON_TABLE_PREFIX", "")
    if not prefix:
        problems.append("BATON_TABLE_PREFIX is missing: tables are named <prefix>-users, <prefix>-gates, ...")
    elif not _PREFIX.match(prefix):
        problems.append("BATON_TABLE_PREFIX: at most 64 letters, digits, '_', '.', '-'")
    return prefix


def _kms_key_id(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str | None:
    value = environ.get("BATON_KEY_RING", "")
    scheme, _, key_id = value.partition(":")
    if scheme == "kms" and key_id:
        return key_id
    if value != "local":
        problems.append("BATON_KEY_RING is kms:<key id or ARN>, or local with BATON_DEVELOPMENT=1")
    elif not development:
        problems.append("BATON_KEY_RING=local keeps the keys unwrapped: only with BATON_DEVELOPMENT=1")
    return None


def _origins(environ: Mapping[str, str], problems: list[str]) -> tuple[str, ...]:
    origins = _words(environ, "BATON_ORIGINS")
    for origin in origins:
        url = urlsplit(origin)
        if not url.netloc or url.path or url.query or url.scheme not in {"https", "http"}:
            problems.append(f"BATON_ORIGINS: {origin!r} is not an exact origin, such as https://app.example.com")
    return origins


def _resource_servers(environ: Mapping[str, str], problems: list[str]) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for position, word in enumerate(_words(environ, "BATON_RESOURCE_SERVERS"), start=1):
        match = _RESOURCE_SERVER.match(word)
        if match is None:
            # The row itself is not shown: somebody may have put the secret there instead of its digest.
            problems.append(f"BATON_RESOURCE_SERVERS: row {position} is not <id>:<SHA-256 of its secret, in hex>")
        else:
            rows[match[1]] = bytes.fromhex(match[2])
    return rows


def _log_level(environ: Mapping[str, str], problems: list[str]) -> str:
    level = environ.get("BATON_LOG_LEVEL", "INFO")
    if level not in _LEVELS:
        problems.append(f"BATON_LOG_LEVEL is one of {', '.join(_LEVELS)}")
    return level


def _switch(environ: Mapping[str, str], name: str, *, default: bool, problems: list[str]) -> bool:
    value = environ.get(name, "")
    if value in {"1", "on"}:
        return True
    if value in {"0", "off"}:
        return False
    if value:
        problems.append(f"{name} is on or off")
    return default


def _words(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(word for word in (part.strip() for part in environ.get(name, "").split(",")) if word)
