"""Environment -> one frozen `Settings`. The only reader of ``os.environ``.

Wrong or missing settings refuse to start, and all problems are named at once. ``Settings`` explains each variable.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from chalicelib.baton.access_key import AccessKey, Vended, access_key_of, endpoint_of, under_snapstart
from chalicelib.baton.lineages.clients import Clients, RegistryProblems, decode_registry
from chalicelib.baton.urls import canonical_authority, is_issuer, is_origin

_PREFIX = re.compile(r"[a-zA-Z0-9_.-]{0,64}\Z")
_UNDER_LOCAL = re.compile(r"\*\.local(:[0-9]{1,5})?\Z")
_RESOURCE_SERVER = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})\Z")
_REGISTRY = re.compile(r"[A-Za-z0-9_-]+\.toml\Z")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_DEMO_REGISTRY = "clients.toml"
_FOLDER = Path(__file__).parents[1]
KNOWN = frozenset(
    {
        "BATON_AUDIENCE",
        "BATON_AUTHORITIES",
        "BATON_CLIENTS",
        "BATON_DEPLOYMENT",
        "BATON_DEVELOPMENT",
        "BATON_EARLIER_ISSUERS",
        "BATON_ISSUER",
        "BATON_KEY_RING",
        "BATON_RATE_LIMITS",
        "BATON_LOG_LEVEL",
        "BATON_ORIGINS",
        "BATON_RESOURCE_SERVERS",
        "BATON_REVOKE_ON_WRONG_KEY",
        "BATON_STORAGE",
        "BATON_TABLE_PREFIX",
        "BATON_AWS_CLIENT",
    }
)
"""Every setting. Any other variable whose name begins with ``BATON_`` is a mistake."""


class SettingsProblems(ValueError):
    """The environment is not fit to start with; the message names everything that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        """Lay the problems out, one a line."""
        super().__init__("Baton cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


class Settings(Struct, frozen=True):
    """What a deployment decides. Lists are separated by commas; switches are ``on`` or ``off`` (``1`` or ``0``)."""

    issuer: str
    """``BATON_ISSUER``, needed: the URL apps call, stage included. Stands in tokens and in the metadata."""

    audience: str
    """``BATON_AUDIENCE``: who tokens are for (``aud``); the issuer, unless said otherwise."""

    earlier_issuers: frozenset[str]
    """``BATON_EARLIER_ISSUERS``: issuers of before a move, whose tokens are still accepted."""

    authorities: frozenset[str]
    """``BATON_AUTHORITIES``: hosts under which apps sign, with the port where it is not 443 (nor 80, in development);
    an IPv6 address is in brackets, ``[::1]:8000``. The issuer's own host, unless said otherwise. In development
    ``*.local`` stands for all names under it."""

    table_prefix: str
    """``BATON_TABLE_PREFIX``, needed: the tables are ``<prefix>-users``, ``-lineages``, ``-ephemeral``, ``-audit``."""

    deployment: str
    """``BATON_DEPLOYMENT``: what functions, log groups and metrics are named after; the table prefix, unless said
    otherwise. The two part when tables are restored: those come back under another name, and all else keeps its own."""

    kms_key_id: str | None
    """``BATON_KEY_RING``, needed: ``kms:<id, ARN or alias>`` of the customer key that wraps the key ring; ``local``
    keeps it as it is, in development."""

    clients: Path
    """``BATON_CLIENTS``, needed outside development: the client registry, a file of ``chalicelib/``. The one that
    ships, ``clients.toml``, is a demonstration of everything, long-lived bearers (`iot`) included, and is refused
    outside development: docs/baton/operations.md has one to start from."""

    registry: Clients
    """The clients of that file."""

    origins: tuple[str, ...]
    """``BATON_ORIGINS``: web pages and hybrid apps that may call (CORS), each as it is sent in ``Origin``:
    ``https://app.example.com``, ``capacitor://localhost``, ``http://localhost:3000``. In development ``:*`` stands for
    any port of localhost."""

    resource_servers: Mapping[str, bytes]
    """``BATON_RESOURCE_SERVERS``: who may introspect: ``<id>:<SHA-256 of its secret, in hex>``."""

    revoke_on_wrong_key: bool
    """``BATON_REVOKE_ON_WRONG_KEY``: end a login whose token is exchanged by another key. Off, because any leaked
    dead token would then be a switch to log its owner out."""

    limits: bool
    """``BATON_RATE_LIMITS``: throttle logins and registrations. On; ``off`` is honoured in development alone."""

    development: bool
    """``BATON_DEVELOPMENT``: a developer's machine: plain http on localhost, keys unwrapped, tracebacks shown. Refuses
    to start inside Lambda."""

    storage: str
    """``BATON_STORAGE``: where everything is stored: ``dynamodb`` (default), or ``memory``, in development only. The
    environments of one process share that memory, and it ends with the process."""

    log_level: str
    """``BATON_LOG_LEVEL``: DEBUG, INFO (unless said otherwise), WARNING or ERROR."""

    snapshot: bool
    """``AWS_LAMBDA_INITIALIZATION_TYPE``, which Lambda sets: ``snap-start`` where a snapshot is taken of the start."""

    region: str
    """``AWS_REGION``, which Lambda sets: shown by ``GET /health``."""

    access_key: AccessKey | Vended | None
    """``BATON_AWS_CLIENT``: ``small`` (default, except in development) sends requests to AWS with Baton's
    own client, with the access key that Lambda sets: ``AWS_ACCESS_KEY_ID`` and the two beside it, or, under
    SnapStart, ``AWS_CONTAINER_CREDENTIALS_FULL_URI``, which hands one out. Where neither is, with ``botocore``, and
    where a proxy or a FIPS or dual-stack endpoint is asked for, botocore sends all."""

    dynamodb_endpoint: str
    """``AWS_ENDPOINT_URL_DYNAMODB``, or ``AWS_ENDPOINT_URL``: another engine than the region's own."""

    kms_endpoint: str
    """``AWS_ENDPOINT_URL_KMS``, or ``AWS_ENDPOINT_URL``: another KMS than the region's own."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment. Raises ``SettingsProblems``."""
    environ = os.environ if environ is None else environ
    problems = list(unknown_settings(environ))
    development = _switch(environ, "BATON_DEVELOPMENT", default=False, problems=problems)
    if development and "AWS_LAMBDA_RUNTIME_API" in environ:
        problems.append("BATON_DEVELOPMENT=1 is for a developer's machine: take it out of this function's environment")
    issuer = _issuer(environ, development=development, problems=problems)
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    limits = _switch(environ, "BATON_RATE_LIMITS", default=True, problems=problems)
    if not limits and not development:
        problems.append("BATON_RATE_LIMITS=off is honoured with BATON_DEVELOPMENT=1 alone")
    clients = _clients(environ, development=development, problems=problems)
    settings = Settings(
        issuer=issuer,
        audience=environ.get("BATON_AUDIENCE") or issuer,
        earlier_issuers=_earlier_issuers(environ, development=development, problems=problems),
        authorities=_authorities(environ, issuer, development=development, problems=problems),
        table_prefix=_table_prefix(environ, problems),
        deployment=_deployment(environ, problems) or environ.get("BATON_TABLE_PREFIX", ""),
        kms_key_id=_kms_key_id(environ, development=development, problems=problems),
        clients=clients,
        registry=_registry(clients, development=development, problems=problems),
        origins=_origins(environ, development=development, problems=problems),
        resource_servers=_resource_servers(environ, problems),
        revoke_on_wrong_key=_switch(environ, "BATON_REVOKE_ON_WRONG_KEY", default=False, problems=problems),
        limits=limits,
        development=development,
        storage=_storage(environ, development=development, problems=problems),
        log_level=_log_level(environ, problems),
        snapshot=under_snapstart(environ),
        region=region,
        access_key=_access_key(environ, region=region, development=development, problems=problems),
        dynamodb_endpoint=endpoint_of(environ, "dynamodb", region),
        kms_endpoint=endpoint_of(environ, "kms", region),
    )
    if problems:
        raise SettingsProblems(problems)
    return settings


def unknown_settings(environ: Mapping[str, str]) -> Iterator[str]:
    """Name each variable that looks like a setting and is none: a misspelt limit would limit nothing."""
    for name in sorted(name for name in environ if name.startswith("BATON_") and name not in KNOWN):
        import difflib  # noqa: PLC0415 - cold start: only where something is wrong

        (nearest,) = difflib.get_close_matches(name, sorted(KNOWN), n=1, cutoff=0)
        yield f"{name} is not a setting; the nearest is {nearest}"


def _issuer(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str:
    issuer = environ.get("BATON_ISSUER", "")
    if not issuer:
        problems.append("BATON_ISSUER is missing: the URL apps call, such as https://api.example.com/api")
    elif not is_issuer(issuer, development=development):
        problems.append(f"BATON_ISSUER: {issuer!r} is not {_AN_ISSUER}")
    return issuer


def _earlier_issuers(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> frozenset[str]:
    issuers = _words(environ, "BATON_EARLIER_ISSUERS")
    problems += [
        f"BATON_EARLIER_ISSUERS: {issuer!r} is not {_AN_ISSUER}"
        for issuer in issuers
        if not is_issuer(issuer, development=development)
    ]
    return frozenset(issuers)


_AN_ISSUER = (
    "an https URL, host in lower case, without query, fragment or final slash, such as https://api.example.com/api "
    "(http on localhost, with BATON_DEVELOPMENT=1, is the exception)"
)


def _authorities(environ: Mapping[str, str], issuer: str, *, development: bool, problems: list[str]) -> frozenset[str]:
    words = _words(environ, "BATON_AUTHORITIES")
    for word in words:
        canonical = canonical_authority(word)
        if canonical is None and not (development and _UNDER_LOCAL.match(word)):
            problems.append(
                f"BATON_AUTHORITIES: {word!r} is not a lower-case host or host:port; an IPv6 address is in brackets, "
                "such as [::1]:8000"
            )
        elif canonical is not None and canonical != word:
            problems.append(f"BATON_AUTHORITIES: write {canonical!r} for {word!r}: clients sign over that form")
    derived = issuer.partition("://")[2].partition("/")[0]
    # The default port is no part of what is signed (RFC 9421 section 2.2.3).
    named = {word.removesuffix(":443") for word in words or (derived,)}
    return frozenset(word.removesuffix(":80") for word in named) if development else frozenset(named)


def _table_prefix(environ: Mapping[str, str], problems: list[str]) -> str:
    prefix = environ.get("BATON_TABLE_PREFIX", "")
    if not prefix:
        problems.append("BATON_TABLE_PREFIX is missing: tables are named <prefix>-users, <prefix>-lineages, ...")
    elif not _PREFIX.match(prefix):
        problems.append("BATON_TABLE_PREFIX: at most 64 letters, digits, '_', '.', '-'")
    return prefix


def _deployment(environ: Mapping[str, str], problems: list[str]) -> str:
    name = environ.get("BATON_DEPLOYMENT", "")
    if not _PREFIX.match(name):
        problems.append("BATON_DEPLOYMENT: at most 64 letters, digits, '_', '.', '-'")
    return name


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


def _clients(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> Path:
    name = environ.get("BATON_CLIENTS") or (_DEMO_REGISTRY if development else "")
    path = _FOLDER / name if _REGISTRY.match(name) else Path()
    if not name:
        problems.append(f"BATON_CLIENTS is missing: the file of chalicelib/ that registers your clients. {_BEGIN}")
    elif not path.is_file():
        problems.append(
            f"BATON_CLIENTS: there is no file {name!r} in chalicelib/, or its name does not end in .toml. {_BEGIN}"
        )
    return path


_BEGIN = 'Write it: docs/baton/operations.md, "A client registry for production", has one to start from'


def _registry(path: Path, *, development: bool, problems: list[str]) -> Clients:
    """Read the client registry; without a file, which is a problem already, there are no clients."""
    if not path.is_file():
        return Clients({})
    file = f"chalicelib/{path.name}"
    try:
        clients = Clients.from_toml(decode_registry(path.read_bytes(), file), file)
    except RegistryProblems as wrong:
        problems += wrong.problems
        return Clients({})
    if clients.demonstration and not development:
        problems.append(
            f"BATON_CLIENTS: {file} says demonstration = true: its clients are for a first look, and one of them "
            f"issues bearer tokens that live for 180 days. {_BEGIN}"
        )
    return clients


def _origins(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> tuple[str, ...]:
    origins = _words(environ, "BATON_ORIGINS")
    problems += [
        f"BATON_ORIGINS: {origin!r} is not an exact origin as it is sent, such as https://app.example.com: lower "
        "case, no path, no default port, no wildcard; the scheme is https, capacitor, ionic or tauri, or http for "
        "localhost, 127.0.0.1 and tauri.localhost (http://localhost:* is any port, with BATON_DEVELOPMENT=1)"
        for origin in origins
        if not is_origin(origin, development=development)
    ]
    return origins


def _resource_servers(environ: Mapping[str, str], problems: list[str]) -> dict[str, bytes]:
    rows: dict[str, bytes] = {}
    for position, word in enumerate(_words(environ, "BATON_RESOURCE_SERVERS"), start=1):
        match = _RESOURCE_SERVER.match(word)
        if match is None:
            # The row itself is not shown: somebody may have put the secret there instead of its digest.
            problems.append(f"BATON_RESOURCE_SERVERS: row {position} is not <id>:<SHA-256 of its secret, in hex>")
        elif match[1] in rows:
            problems.append(f"BATON_RESOURCE_SERVERS: row {position} is a second one for {match[1]}")
        else:
            rows[match[1]] = bytes.fromhex(match[2])
    return rows


def _access_key(
    environ: Mapping[str, str], *, region: str, development: bool, problems: list[str]
) -> AccessKey | Vended | None:
    transport = environ.get("BATON_AWS_CLIENT") or ("botocore" if development else "small")
    if transport not in {"small", "botocore"}:
        problems.append("BATON_AWS_CLIENT must be small or botocore")
    return access_key_of(environ, region) if transport == "small" else None


def _storage(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str:
    storage = environ.get("BATON_STORAGE") or "dynamodb"
    if storage not in {"dynamodb", "memory"}:
        problems.append("BATON_STORAGE must be dynamodb or memory")
    elif storage == "memory" and not development:
        problems.append(
            "BATON_STORAGE=memory loses every account when a process ends: set BATON_STORAGE=dynamodb, or "
            "BATON_DEVELOPMENT=1 on a developer's machine"
        )
    return storage


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
