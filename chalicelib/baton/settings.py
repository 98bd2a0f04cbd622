"""Read the environment into one frozen ``Settings``. No other deployed module reads ``os.environ``.

If a setting is wrong or missing, Baton does not start, and the error lists all problems. ``Settings`` explains each
variable.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from chalicelib.baton import variables
from chalicelib.baton.access_key import AccessKey, Vended, access_key_of, endpoint_of, under_snapstart
from chalicelib.baton.factors.decoys import Decoys
from chalicelib.baton.ids import Secret
from chalicelib.baton.lineages.clients import Clients, RegistryProblems, decode_registry
from chalicelib.baton.lineages.resources import ResourceProblems, Resources, read_resources
from chalicelib.baton.urls import may_be_same_site

if TYPE_CHECKING:
    from chalicelib.baton.federation.providers import Providers

_REGISTRY = re.compile(r"[A-Za-z0-9_-]+\.toml\Z")
_RESOURCES = "resources.toml"
_PROVIDERS = "providers.toml"
_DEMO_REGISTRY = "clients.toml"
_FOLDER = Path(__file__).parents[1]
KNOWN = frozenset(
    {
        "BATON_AUDIENCE", "BATON_AUTHORITIES", "BATON_AWS_CLIENT", "BATON_BREACH_CHECK", "BATON_CLIENTS",
        "BATON_DECOYS", "BATON_DEPLOYMENT", "BATON_DEVELOPMENT", "BATON_EARLIER_ISSUERS", "BATON_ISSUER",
        "BATON_KEY_RING", "BATON_LOG_LEVEL", "BATON_MAIL", "BATON_MAIL_CLAIMS_FROM", "BATON_MAIL_FROM",
        "BATON_MAIL_QUEUE", "BATON_ORIGIN_SECRET", "BATON_ORIGINS", "BATON_RATE_LIMITS", "BATON_REGISTRATION",
        "BATON_RESOURCE_SERVERS", "BATON_REVOKE_ON_WRONG_KEY", "BATON_STORAGE", "BATON_TABLE_PREFIX",
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
    """``BATON_EARLIER_ISSUERS``: the earlier issuers of this deployment. Baton accepts their tokens. Default: none."""

    authorities: frozenset[str]
    """``BATON_AUTHORITIES``: the hosts that apps sign in ``@authority``. Default: the host of the issuer. Write a port
    after the host, except port 443 (in development, also except port 80). An IPv6 address is in brackets:
    ``[::1]:8000``. In development ``*.local`` means all names under ``local``."""

    table_prefix: str
    """``BATON_TABLE_PREFIX``: begins the names of the tables, such as ``<prefix>-lineages``. Required."""

    deployment: str
    """``BATON_DEPLOYMENT``: the name of the deployment in metrics, log groups and functions. Default: the table prefix.
    Set it after a restore of the tables: the new tables have another prefix, but all other names stay the same."""

    kms_key_id: str | None
    """``BATON_KEY_RING``: ``kms:<id, ARN or alias>`` of the key that encrypts the key ring, or ``local``. Required.
    ``local`` stores the ring unencrypted, in development only."""

    clients: Path
    """``BATON_CLIENTS``: the file in ``chalicelib/`` that registers the clients. Required outside development. The
    included ``clients.toml`` is a demonstration: its client ``iot`` gets long-lived bearer tokens. Baton refuses this
    file outside development. docs/baton/operations.md has a registry to begin with."""

    registry: Clients
    """The clients and roles, read from the file that the setting ``clients`` names."""

    resources: Resources
    """The servers in ``chalicelib/resources.toml``, which may get narrowed tokens. Without the file, there are none."""

    providers: "Providers | None"
    """The identity providers in ``chalicelib/providers.toml``. ``None``: there is no such file."""

    origins: tuple[str, ...]
    """``BATON_ORIGINS``: the web pages and hybrid apps that may call Baton (CORS). Default: none. Write each origin as
    in the header ``Origin``: ``https://app.example.com``, ``capacitor://localhost``, ``http://localhost:3000``. In
    development ``:*`` means any port of localhost."""

    origin_secret: Secret | None
    """``BATON_ORIGIN_SECRET``: the secret that your CDN sends in the header ``Baton-Origin-Secret``, at least 32
    characters. Default: none. If a request has this secret and a valid ``CloudFront-Viewer-Address``, its source is the
    address in that header. Otherwise the source is the address that the gateway saw."""

    resource_servers: Mapping[str, bytes]
    """``BATON_RESOURCE_SERVERS``: the servers that may introspect tokens: ``<id>:<SHA-256 of the secret in hex>``."""

    revoke_on_wrong_key: bool
    """``BATON_REVOKE_ON_WRONG_KEY``: end a login if another key signs an exchange with its token. Default: off. With
    ``on``, a thief can log the owner out with only a leaked token, even after the token has expired."""

    limits: bool
    """``BATON_RATE_LIMITS``: limit the rate of logins and registrations. Default: on. ``off`` in development only."""

    breach_check: bool
    """``BATON_BREACH_CHECK``: refuse new passwords that leaked from other services.

    Baton sends a request to Pwned Passwords at ``api.pwnedpasswords.com``, and waits for 500 ms at most. Default: on,
    in development off. Set it to ``off`` if the function cannot reach the internet. Otherwise each new password waits.
    """

    decoys: Decoys
    """``BATON_DECOYS``: the kinds of imported hashes. In ``bcrypt12=41/60,fbscrypt=3/5``, 41 % of the accounts have
    bcrypt12 now, 60 % had it just after the import. Default: none. With this setting, a login with an unknown address
    takes as long as a login to one of these accounts. ``python -m tools.operate hashes`` prints the value."""

    development: bool
    """``BATON_DEVELOPMENT``: allow plain http on localhost, an unencrypted key ring, and tracebacks. Default: off.
    With ``on``, Baton does not start inside Lambda."""

    storage: str
    """``BATON_STORAGE``: where Baton stores its data: ``dynamodb`` (default), or ``memory``, in development only. With
    ``memory``, all environments of a process share the data, and the data is lost when the process ends."""

    log_level: str
    """``BATON_LOG_LEVEL``: DEBUG, INFO, WARNING or ERROR. Default: INFO."""

    mail: str
    """``BATON_MAIL``: ``off`` (default), ``ses``, or ``mailbox``, in development only. ``ses`` queues mails in SQS and
    sends them with Amazon SES. ``mailbox`` keeps the last 100 mails in memory. With ``off``, the mail routes answer
    404."""

    mail_from: str
    """``BATON_MAIL_FROM``: the sender of mails, an address or ``Name <address>``. Required with ``ses``."""

    mail_queue: str
    """``BATON_MAIL_QUEUE``: the URL of the queue of orders, which send mails and finish deletions of accounts. Required
    with ``ses``. `make deploy` creates the queue, and fills in ``REGION`` and ``ACCOUNT``."""

    mail_claims_from: int
    """``BATON_MAIL_CLAIMS_FROM``: a time in seconds since the epoch. A reset by mail can claim only accounts created at
    this time or later. Default: 0, so a reset can claim every account whose address is not proved. If accounts exist
    when you switch on mail, set this variable to the time of the switch. docs/baton/mail.md explains a claim."""

    verify_first: bool
    """``BATON_REGISTRATION``: ``open`` (default) or ``verify_first``, which needs mail. With ``verify_first``, a new
    account needs a code from its mailbox. An address that has an account gets the same answer as a wrong code."""

    sqs_endpoint: str
    """The URL of SQS: ``AWS_ENDPOINT_URL_SQS``, ``AWS_ENDPOINT_URL``, or otherwise the URL of the region."""

    snapshot: bool
    """Whether Lambda takes a snapshot of this process: ``AWS_LAMBDA_INITIALIZATION_TYPE`` is ``snap-start``."""

    region: str
    """``AWS_REGION``, which Lambda sets. ``GET /health`` shows it."""

    access_key: AccessKey | Vended | None
    """``BATON_AWS_CLIENT``: ``small`` or ``botocore``. Default: ``small``, in development ``botocore``. Baton's small
    AWS client uses the access key that Lambda sets (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
    ``AWS_SESSION_TOKEN``). Under SnapStart it reads an access key from ``AWS_CONTAINER_CREDENTIALS_FULL_URI``. ``None``
    means that botocore sends all requests: ``botocore`` is set, there is no access key, the small client does not
    support the region, or the environment names a proxy, a FIPS endpoint or a dual-stack endpoint."""

    dynamodb_endpoint: str
    """The URL of DynamoDB: ``AWS_ENDPOINT_URL_DYNAMODB``, ``AWS_ENDPOINT_URL``, or otherwise the URL of the region."""

    kms_endpoint: str
    """The URL of KMS: ``AWS_ENDPOINT_URL_KMS``, ``AWS_ENDPOINT_URL``, or otherwise the URL of the region."""

    @property
    def has_queue(self) -> bool:
        """Whether orders can be queued. In development they always can: the development server has its own queue."""
        return self.development or (self.mail_queue != "" and self.mail != "mailbox")


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in the environment. Raises ``SettingsProblems``, which lists every problem."""
    environ = os.environ if environ is None else environ
    problems = list(unknown_settings(environ))
    development = variables.switch(environ, "BATON_DEVELOPMENT", default=False, problems=problems)
    if development and "AWS_LAMBDA_RUNTIME_API" in environ:
        problems.append("BATON_DEVELOPMENT=1 is for a developer's machine: take it out of this function's environment")
    issuer = variables.issuer_of(environ, development=development, problems=problems)
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
    limits = variables.switch(environ, "BATON_RATE_LIMITS", default=True, problems=problems)
    if not limits and not development:
        problems.append("BATON_RATE_LIMITS=off is allowed only with BATON_DEVELOPMENT=1")
    clients = _clients(environ, development=development, problems=problems)
    registry = _registry(clients, issuer, development=development, problems=problems)
    audience = environ.get("BATON_AUDIENCE") or issuer
    providers = _providers(registry, development=development, problems=problems)
    mail = variables.mail_of(environ, development=development, problems=problems)
    if providers and registry.relying_party is None:  # even with mail on: an account may have no address
        problems += [
            f"chalicelib/providers.toml: provider.{row.name} does not count for a step-up, and the registry has no "
            "[webauthn]. So people without a password and without an address could neither delete their accounts nor "
            "end the login of a stolen device"
            for row in providers.by_name.values()
            if not row.counts_for_step_up
        ]
    settings = Settings(
        issuer=issuer,
        audience=audience,
        earlier_issuers=variables.earlier_issuers(environ, development=development, problems=problems),
        authorities=variables.authorities_of(environ, issuer, development=development, problems=problems),
        table_prefix=variables.table_prefix(environ, problems),
        deployment=variables.deployment_of(environ, problems) or environ.get("BATON_TABLE_PREFIX", ""),
        kms_key_id=variables.kms_key_id(environ, development=development, problems=problems),
        clients=clients,
        registry=registry,
        resources=_resources(registry, {issuer, audience}, development=development, problems=problems),
        providers=providers,
        origins=variables.origins_of(environ, development=development, problems=problems),
        origin_secret=variables.origin_secret(environ, problems),
        resource_servers=variables.resource_servers(environ, problems),
        revoke_on_wrong_key=variables.switch(environ, "BATON_REVOKE_ON_WRONG_KEY", default=False, problems=problems),
        limits=limits,
        breach_check=variables.switch(environ, "BATON_BREACH_CHECK", default=not development, problems=problems),
        decoys=variables.decoys_of(environ, problems),
        development=development,
        storage=variables.storage_of(environ, development=development, problems=problems),
        log_level=variables.log_level(environ, problems),
        mail=mail,
        mail_from=variables.mail_from(environ, problems),
        mail_queue=variables.mail_queue(environ, problems),
        mail_claims_from=variables.mail_claims_from(environ, problems),
        verify_first=variables.verify_first(environ, problems),
        sqs_endpoint=endpoint_of(environ, "sqs", region),
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
    """Describe each unknown variable that begins with ``BATON_``, because a misspelt setting has no effect."""
    for name in sorted(name for name in environ if name.startswith("BATON_") and name not in KNOWN):
        import difflib  # noqa: PLC0415 - cold start: only for an error

        (nearest,) = difflib.get_close_matches(name, sorted(KNOWN), n=1, cutoff=0)
        yield f"{name} is not a setting; the nearest is {nearest}"


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


def _registry(path: Path, issuer: str, *, development: bool, problems: list[str]) -> Clients:
    """Read the client registry. If the file is missing (already listed as a problem), return an empty registry."""
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
            f"BATON_CLIENTS: {file} has demonstration = true: its clients are for a first look, and one of them "
            f"issues bearer tokens that live for 180 days. {_BEGIN}"
        )
        return clients
    for client in clients.by_cookie:
        for origin in client.origins:
            if not (origin.startswith("https:") or development):
                problems.append(f"BATON_CLIENTS: client.{client.id}: the origin {origin!r} is for development only")
            elif origin.startswith("https:") and not may_be_same_site(origin, issuer):
                problems.append(
                    f"BATON_CLIENTS: client.{client.id}: the origin {origin!r} is of another site than BATON_ISSUER, "
                    "so browsers send it no cookies"
                )
    return clients


def _resources(registry: Clients, own: set[str], *, development: bool, problems: list[str]) -> Resources:
    """Read the servers for which tokens are narrowed, if the team has the file ``resources.toml``."""
    path = _FOLDER / _RESOURCES
    if not path.is_file() or not list(registry):  # without a registry, each client would be unknown
        return Resources()
    file = f"chalicelib/{_RESOURCES}"
    try:
        return read_resources(
            decode_registry(path.read_bytes(), file),
            clients=[client.id for client in registry],
            own=own,
            development=development,
            file=file,
        )
    except (RegistryProblems, ResourceProblems) as wrong:
        problems += wrong.problems
        return Resources()


def _providers(registry: Clients, *, development: bool, problems: list[str]) -> "Providers | None":
    """Read the identity providers, if the team has the file ``providers.toml``."""
    path = _FOLDER / _PROVIDERS
    if not path.is_file() or not list(registry):  # without a registry, each client would be unknown
        return None
    from chalicelib.baton.federation.providers import (  # noqa: PLC0415 - cold start
        ProviderProblems,
        read_providers,
    )

    file = f"chalicelib/{_PROVIDERS}"
    try:
        return read_providers(
            decode_registry(path.read_bytes(), file),
            clients=[client.id for client in registry],
            development=development,
            file=file,
        )
    except (RegistryProblems, ProviderProblems) as wrong:
        problems += wrong.problems
        return None


def _access_key(
    environ: Mapping[str, str], *, region: str, development: bool, problems: list[str]
) -> AccessKey | Vended | None:
    transport = environ.get("BATON_AWS_CLIENT") or ("botocore" if development else "small")
    if transport not in {"small", "botocore"}:
        problems.append("BATON_AWS_CLIENT must be small or botocore")
    return access_key_of(environ, region) if transport == "small" else None
