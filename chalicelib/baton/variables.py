"""Functions that read one setting each from the environment variables. They add each problem to ``problems``."""

import re
from collections.abc import Mapping

from chalicelib.baton.factors.decoys import DecoyProblem, Decoys, read_decoys
from chalicelib.baton.ids import Secret
from chalicelib.baton.urls import canonical_authority, is_issuer, is_origin

_PREFIX = re.compile(r"[a-zA-Z0-9_.-]{0,64}\Z")


_UNDER_LOCAL = re.compile(r"\*\.local(:[0-9]{1,5})?\Z")


_RESOURCE_SERVER = re.compile(r"([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})\Z")


_ORIGIN_SECRET = re.compile(r"[!-~]{32,256}")


_SENDER = re.compile(r"([^\s<>@]+@[^\s<>@]+|[^<>@\r\n]{1,64} <[^\s<>@]+@[^\s<>@]+>)\Z")
_QUEUE = re.compile(r"https?://[^/\s]+/(?:[0-9]{12}|ACCOUNT)/[A-Za-z0-9_-]{1,80}\Z")
"""The URL of an SQS queue. ``REGION`` and ``ACCOUNT`` are placeholders, which `make deploy` fills in."""
_SECONDS_DIGITS_MAX = 11


_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def issuer_of(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str:
    """Read the base URL that apps call, which is the issuer of all new tokens."""
    issuer = environ.get("BATON_ISSUER", "")
    if not issuer:
        problems.append("BATON_ISSUER is missing: the URL apps call, such as https://api.example.com/api")
    elif not is_issuer(issuer, development=development):
        problems.append(f"BATON_ISSUER: {issuer!r} is not {_AN_ISSUER}")
    return issuer


def earlier_issuers(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> frozenset[str]:
    """Read the issuers that this deployment had before. Baton accepts their tokens."""
    issuers = words_of(environ, "BATON_EARLIER_ISSUERS")
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


def authorities_of(
    environ: Mapping[str, str], issuer: str, *, development: bool, problems: list[str]
) -> frozenset[str]:
    """Read the hosts that a signature may cover as ``@authority``. Default: the host of ``issuer``."""
    words = words_of(environ, "BATON_AUTHORITIES")
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


def table_prefix(environ: Mapping[str, str], problems: list[str]) -> str:
    """Read the prefix of the table names."""
    prefix = environ.get("BATON_TABLE_PREFIX", "")
    if not prefix:
        problems.append("BATON_TABLE_PREFIX is missing: tables are named <prefix>-users, <prefix>-lineages, ...")
    elif not _PREFIX.match(prefix):
        problems.append("BATON_TABLE_PREFIX: at most 64 letters, digits, '_', '.', '-'")
    return prefix


def deployment_of(environ: Mapping[str, str], problems: list[str]) -> str:
    """Return the name of the deployment (``BATON_DEPLOYMENT``). It is empty if the variable is not set."""
    name = environ.get("BATON_DEPLOYMENT", "")
    if not _PREFIX.match(name):
        problems.append("BATON_DEPLOYMENT: at most 64 letters, digits, '_', '.', '-'")
    return name


def kms_key_id(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str | None:
    """Read the KMS key of the key ring. ``None``: the ring is not encrypted."""
    value = environ.get("BATON_KEY_RING", "")
    scheme, _, key_id = value.partition(":")
    if scheme == "kms" and key_id:
        return key_id
    if value != "local":
        problems.append("BATON_KEY_RING is kms:<key id or ARN>, or local with BATON_DEVELOPMENT=1")
    elif not development:
        problems.append(
            "BATON_KEY_RING=local stores the key ring unencrypted: it is allowed only with BATON_DEVELOPMENT=1"
        )
    return None


def origins_of(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> tuple[str, ...]:
    """Read the origins of the web pages and hybrid apps that may call Baton (CORS)."""
    origins = words_of(environ, "BATON_ORIGINS")
    problems += [
        f"BATON_ORIGINS: {origin!r} is not an exact origin as it is sent, such as https://app.example.com: lower "
        "case, no path, no default port, no wildcard; the scheme is https, capacitor, ionic or tauri, or http for "
        "localhost, 127.0.0.1 and tauri.localhost (http://localhost:* is any port, with BATON_DEVELOPMENT=1)"
        for origin in origins
        if not is_origin(origin, development=development)
    ]
    return origins


def origin_secret(environ: Mapping[str, str], problems: list[str]) -> Secret | None:
    """Read the secret that the CDN sends. It must be long: with this secret, a client can claim any source address."""
    value = environ.get("BATON_ORIGIN_SECRET", "")
    if value and not _ORIGIN_SECRET.fullmatch(value):
        problems.append(
            "BATON_ORIGIN_SECRET must have at least 32 visible ASCII characters: openssl rand -hex 32 makes one"
        )
    return Secret(value.encode()) if value else None


def resource_servers(environ: Mapping[str, str], problems: list[str]) -> dict[str, bytes]:
    """Read the servers that may introspect tokens: the SHA-256 digest of each server's secret, by the server's id."""
    rows: dict[str, bytes] = {}
    for position, word in enumerate(words_of(environ, "BATON_RESOURCE_SERVERS"), start=1):
        match = _RESOURCE_SERVER.match(word)
        if match is None:
            # Do not show the row: it may contain the secret instead of its digest.
            problems.append(f"BATON_RESOURCE_SERVERS: row {position} is not <id>:<SHA-256 of its secret, in hex>")
        elif match[1] in rows:
            problems.append(f"BATON_RESOURCE_SERVERS: row {position} repeats the id {match[1]}")
        else:
            rows[match[1]] = bytes.fromhex(match[2])
    return rows


def decoys_of(environ: Mapping[str, str], problems: list[str]) -> Decoys:
    """Read the decoys: the kinds of imported hashes, and the percentage of accounts with each kind."""
    try:
        return read_decoys(words_of(environ, "BATON_DECOYS"))
    except DecoyProblem as wrong:
        problems.append(f"BATON_DECOYS: {wrong}; `python -m tools.operate hashes` prints the value")
        return Decoys()


def storage_of(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str:
    """Read where Baton stores its data: ``dynamodb`` (the default) or ``memory``."""
    storage = environ.get("BATON_STORAGE") or "dynamodb"
    if storage not in {"dynamodb", "memory"}:
        problems.append("BATON_STORAGE must be dynamodb or memory")
    elif storage == "memory" and not development:
        problems.append(
            "BATON_STORAGE=memory loses every account when a process ends: set BATON_STORAGE=dynamodb, or "
            "BATON_DEVELOPMENT=1 on a developer's machine"
        )
    return storage


def mail_of(environ: Mapping[str, str], *, development: bool, problems: list[str]) -> str:
    """Read how mails are sent: ``off`` (the default), ``ses`` or ``mailbox``."""
    mail = environ.get("BATON_MAIL") or "off"
    if mail not in {"off", "ses", "mailbox"}:
        problems.append("BATON_MAIL must be off, ses or mailbox")
    elif mail == "mailbox" and not development:
        problems.append(
            "BATON_MAIL=mailbox sends no mail and keeps codes readable: it is allowed only with BATON_DEVELOPMENT=1"
        )
    return mail


def mail_from(environ: Mapping[str, str], problems: list[str]) -> str:
    """Read the sender of mails: an address, or ``Name <address>``. ``BATON_MAIL=ses`` requires a sender."""
    sender = environ.get("BATON_MAIL_FROM", "")
    if sender and not _SENDER.match(sender):
        problems.append("BATON_MAIL_FROM is an address, or Name <address>, such as Example <login@example.com>")
    elif not sender and environ.get("BATON_MAIL") == "ses":
        problems.append("BATON_MAIL_FROM is missing: BATON_MAIL=ses needs a sender whose identity SES has verified")
    return sender


def mail_queue(environ: Mapping[str, str], problems: list[str]) -> str:
    """Read the URL of the SQS queue for orders. ``BATON_MAIL=ses`` requires the queue."""
    queue = environ.get("BATON_MAIL_QUEUE", "")
    if queue and not _QUEUE.match(queue):
        problems.append("BATON_MAIL_QUEUE is the URL of an SQS queue. docs/baton/mail.md has its form")
    elif not queue and environ.get("BATON_MAIL") == "ses":
        problems.append("BATON_MAIL_QUEUE is missing: BATON_MAIL=ses needs a queue. docs/baton/mail.md has its URL")
    return queue


def mail_claims_from(environ: Mapping[str, str], problems: list[str]) -> int:
    """Read a time in seconds since the epoch. Only accounts created at this time or later can be claimed by mail."""
    value = environ.get("BATON_MAIL_CLAIMS_FROM") or "0"
    if not (value.isascii() and value.isdecimal() and len(value) <= _SECONDS_DIGITS_MAX):
        problems.append("BATON_MAIL_CLAIMS_FROM is a time in seconds since the epoch, such as 1795910400")
        return 0
    return int(value)


def verify_first(environ: Mapping[str, str], problems: list[str]) -> bool:
    """Read whether a registration needs a code that Baton has mailed to the address."""
    registration = environ.get("BATON_REGISTRATION") or "open"
    if registration not in {"open", "verify_first"}:
        problems.append("BATON_REGISTRATION must be open or verify_first")
    elif registration == "verify_first" and (environ.get("BATON_MAIL") or "off") == "off":
        problems.append("BATON_REGISTRATION=verify_first needs mail: set BATON_MAIL, or BATON_REGISTRATION=open")
    return registration == "verify_first"


def log_level(environ: Mapping[str, str], problems: list[str]) -> str:
    """Read the lowest level that is logged: ``DEBUG``, ``INFO`` (the default), ``WARNING`` or ``ERROR``."""
    level = environ.get("BATON_LOG_LEVEL") or "INFO"
    if level not in _LEVELS:
        problems.append(f"BATON_LOG_LEVEL is one of {', '.join(_LEVELS)}")
    return level


def switch(environ: Mapping[str, str], name: str, *, default: bool, problems: list[str]) -> bool:
    """Read a switch: true for ``on`` or ``1``, false for ``off`` or ``0``, ``default`` if it is not set.

    Any other value is a problem, and the result is ``default``.
    """
    value = environ.get(name, "")
    if value in {"1", "on"}:
        return True
    if value in {"0", "off"}:
        return False
    if value:
        problems.append(f"{name} is on or off")
    return default


def words_of(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Read a comma-separated list. Spaces around words, and empty words, are dropped. Default: an empty list."""
    return tuple(word for word in (part.strip() for part in environ.get(name, "").split(",")) if word)
