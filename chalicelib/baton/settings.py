"""Read the environment into one frozen ``Settings``. No other module reads ``os.environ``.

If a setting is wrong or missing, Baton does not start, and the error lists all problems. ``Settings`` explains each
variable.
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
        "BATON_AUDIENCE", "BATON_AUTHORITIES", "BATON_AWS_CLIENT", "BATON_CLIENTS", "BATON_DEPLOYMENT",
        "BATON_DEVELOPMENT", "BATON_EARLIER_ISSUERS", "BATON_ISSUER", "BATON_KEY_RING", "BATON_LOG_LEVEL",
        "BATON_ORIGINS", "BATON_RATE_LIMITS", "BATON_RESOURCE_SERVERS", "BATON_REVOKE_ON_WRONG_KEY", "BATON_STORAGE",
        "BATON_TABLE_PREFIX",
    }
)  # fmt: skip
"""Every setting. Any other variable whose name begins with ``BATON_`` is a mistake."""


class SettingsProblems(ValueError):
    """The settings are invalid. The message lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        """List the problems, one on each line."""
        super().__init__("Baton cannot start:\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


class Settings(Struct, frozen=True):
    """The settings of a deployment. Lists are separated by commas. Switches are ``on`` or ``off`` (``1`` or ``0``)."""

    issuer: str
    """``BATON_ISSUER``: the URL that apps call, with the stage. Required. Tokens and metadata contain it."""

    audience: str
    """``BATON_AUDIENCE``: the audience of tokens (claim ``aud``). Default: the issuer."""

    earlier_issuers: frozenset[str]
    """``BATON_EARLIER_ISSUERS``: issuers before a change of the URL. Their tokens are still accepted. Default: none."""

    authorities: frozenset[str]
    """``BATON_AUTHORITIES``: the hosts that apps sign for. Default: the host of the issuer. A host has its port unless
    that is 443 (or 80, in development). An IPv6 address is in brackets: ``[::1]:8000``. In development ``*.local``
    means all names under ``local``."""

    table_prefix: str
    """``BATON_TABLE_PREFIX``: begins the names of the tables, such as ``<prefix>-lineages``. Required."""

    deployment: str
    """``BATON_DEPLOYMENT``: the name of the deployment in metrics, log groups and functions. Default: the table prefix.
    Set it after a restore: restored tables have another prefix, and all other names stay."""

    kms_key_id: str | None
    """``BATON_KEY_RING``: ``kms:<id, ARN or alias>`` of the key that encrypts the key ring, or ``local``. Required.
    ``local`` stores the ring unencrypted, in development only."""

    clients: Path
    """``BATON_CLIENTS``: the file in ``chalicelib/`` that registers the clients. Required outside development. The
    included ``clients.toml`` is a demonstration, with long-lived bearer tokens (`iot`). It is refused outside
    development. docs/baton/operations.md has a registry to begin with."""

    registry: Clients
    """The clients of that file."""

    origins: tuple[str, ...]
    """``BATON_ORIGINS``: the web pages and hybrid apps that may call (CORS). Default: none. Each is written as in the
    header ``Origin``: ``https://app.example.com``, ``capacitor://localhost``, ``http://localhost:3000``. In development
    ``:*`` means any port of localhost."""

    resource_servers: Mapping[str, bytes]
    """``BATON_RESOURCE_SERVERS``: the servers that may introspect, as ``<id>:<SHA-256 of the secret in hex>``."""

    revoke_on_wrong_key: bool
    """``BATON_REVOKE_ON_WRONG_KEY``: end a login if another key signs an exchange with its token. Default: off. It is
    off because a leaked token, even an expired one, would be enough to log its owner out."""

    limits: bool
    """``BATON_RATE_LIMITS``: limit the rate of logins and registrations. Default: on. ``off`` in development only."""

    development: bool
    """``BATON_DEVELOPMENT``: allow plain http on localhost, an unencrypted key ring, and tracebacks. Default: off.
    Baton does not start inside Lambda if it is on."""

    storage: str
    """``BATON_STORAGE``: where everything is stored: ``dynamodb`` (default), or ``memory``, in development only. The
    environments of one process share that memory, and it ends with the process."""

    log_level: str
    """``BATON_LOG_LEVEL``: DEBUG, INFO, WARNING or ERROR. Default: INFO."""

    snapshot: bool
    """Whether Lambda takes a snapshot of this process: ``AWS_LAMBDA_INITIALIZATION_TYPE`` is ``snap-start``."""

    region: str
    """``AWS_REGION``, which Lambda sets. ``GET /health`` shows it."""

    access_key: AccessKey | Vended | None
    """``BATON_AWS_CLIENT``: ``small`` or ``botocore``. Default: ``small``, in development ``botocore``. Baton's small
    AWS client uses the access key that Lambda sets (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
    ``AWS_SESSION_TOKEN``). Under SnapStart it reads one from ``AWS_CONTAINER_CREDENTIALS_FULL_URI``. ``None`` means
    that botocore sends all requests: it is set, there is no access key, or the environment names a proxy, a FIPS
    endpoint or a dual-stack endpoint."""

    dynamodb_endpoint: str
    """The URL of DynamoDB: ``AWS_ENDPOINT_URL_DYNAMODB``, ``AWS_ENDPOINT_URL``, or else the one of the region."""

    kms_endpoint: str
    """The URL of KMS: ``AWS_ENDPOINT_URL_KMS``, ``AWS_ENDPOINT_URL``, or else the one of the region."""


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
    """Describe each unknown variable that begins with ``BATON_``: a misspelt setting would have no effect."""
    for name in sorted(name for name in environ if name.startswith("BATON_") and name not in KNOWN):
        import difflib  # noqa: PLC0415 - cold start: only for an error

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
    # The default port is not part of the signed host (RFC 9421 section 2.2.3).
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
    """Read the client registry. Return an empty one if the file is missing, which is already a problem."""
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
            # Do not show the row: it may contain the secret instead of its digest.
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
