"""A deployment of the team's app in this process: Lambda environments, storage, clock and phones."""

import contextlib
import dataclasses
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from chalice.app import Chalice
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from msgspec.structs import replace

from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.roles import SetRoles
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.environment import Effects
from chalicelib.baton.events.ports import Audit, AuditEvent, StoredEvent
from chalicelib.baton.factors.password_hash import TEST_COST
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.mail.outbox import Mailbox
from chalicelib.baton.mail.ports import Mail
from chalicelib.baton.service import Baton
from chalicelib.baton.storage.memory.storage import memory_storage
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.storage.ports import Storage
from chalicelib.baton.testing import dynamodb
from chalicelib.baton.testing.clock import Clock
from chalicelib.baton.testing.faults import Faults
from chalicelib.baton.testing.gateway import ROOT, Gateway, GatewayResponse, load_app
from chalicelib.baton.testing.phone import PHONE_PASSWORD, Phone, Session, new_key, public_key

ARGON2_COST: Final = (64, 1, 1)
"""Memory (KiB), passes and lanes of the password hashes in a World: a hash takes 0.1 ms instead of 20 ms."""
SETTINGS: Final[Mapping[str, str]] = {
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_KEY_RING": "local",
    "BATON_LOG_LEVEL": "DEBUG",
    "BATON_MAIL": "mailbox",
    "BATON_RATE_LIMITS": "off",
}
"""The default settings of a World. ``World(settings=...)`` adds or replaces settings. A World does not read the
environment variables of the process."""
T = TypeVar("T")


class World:
    """A deployment of one app. With ``storage="moto"``, use the World in a ``with`` statement, or call ``close``."""

    def __init__(
        self,
        app: str | Path = "app.py",
        storage: Literal["memory", "moto"] = "memory",
        settings: Mapping[str, str] | None = None,
        environments: int = 2,
    ) -> None:
        """Load the app once for each environment. The gateway sends the requests to the environments in turn.

        Args:
            app: the path of the app's file, relative to the folder that has ``chalicelib/``.
            storage: ``memory``, or ``moto`` (a DynamoDB in this process) for an app with its own tables.
            settings: settings that extend or replace ``SETTINGS``, such as ``{"BATON_CLIENTS": "my-clients.toml"}``.
            environments: the number of Lambda environments, each with its own copy of the app.

        Raises:
            ModuleNotFoundError: ``storage`` is ``moto``, and moto is not installed.
            TypeError: the app has no global variable with a Chalice app, or no global variable with a ``Baton``.
            ValueError: the settings are invalid. The message lists every problem.

        """
        self.clock = Clock()
        self.lines: list[Mapping[str, Any]] = []
        """Every log line of the app, in order."""
        self.storage = Faults()
        self._mailbox = Mailbox()
        self._audit: list[AuditEvent] = []
        self._known: set[str] = set()
        prefix = f"baton-{secrets.token_hex(4)}"
        environ = {**SETTINGS, "BATON_TABLE_PREFIX": prefix, **(settings or {})}
        environ["BATON_STORAGE"] = "memory" if storage == "memory" else "dynamodb"
        self._after = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            if storage == "moto":
                opening.enter_context(dynamodb.emulated())
                opening.enter_context(dynamodb.tables(prefix))
            tables = MemoryTables() if storage == "memory" else None
            loaded = [load_app(ROOT / app, self._effects(environ, tables)) for _ in range(environments)]
            self._after = opening.pop_all()
        self._baton = _only(Baton, vars(loaded[0]), app)
        issuer = urlsplit(self._baton.settings.issuer)
        self._authority, self._prefix = issuer.netloc, issuer.path
        apps = [_only(Chalice, vars(module), app) for module in loaded]
        self._app = apps[0]
        self.gateway = Gateway(
            apps, stage=issuer.path.strip("/"), clock=self.clock, origins=self._baton.settings.origins
        )
        """The gateway, for requests that no phone would send."""

    def phone(
        self,
        email: str | None = None,
        *,
        client_id: str = "mobile",
        key: EllipticCurvePrivateKey | None = None,
        binding: Literal["key", "hmac", "none"] = "key",
        password: str = PHONE_PASSWORD,
    ) -> Phone:
        """Return a phone that is logged in.

        Args:
            email: the address of the account. The first phone with this address registers the account, and each later
                phone logs in. Default: a new address, so a new account.
            client_id: the client, a row of the registry.
            key: the private key of the device, such as ``Phone.key`` of another phone. Default: a new P-256 key. If
                ``binding`` is not ``key``, this argument is ignored.
            binding: what the login is bound to: a ``key``, an ``hmac`` secret of the server, or ``none``.
            password: the password of the account.

        Raises:
            ValueError: the server refused the registration or the login. The message contains the server's answer.

        """
        email = email or f"person-{secrets.token_hex(4)}@example.com"
        own = (key or new_key()) if binding == "key" else None
        introduced: dict[str, object] = {"name": "test phone"}
        introduced |= {"public_key": public_key(own).to_jwk()} if own else {}
        introduced |= {"binding": "hmac"} if binding == "hmac" else {}
        phone = self._phone(Session(email, client_id, key=own))
        reply = phone.log_in("/login" if email in self._known else "/register", password, introduced)
        if reply.status not in {200, 201}:
            raise ValueError(f"{email} is not logged in at {client_id!r}: {reply.status} {reply.body.decode()}")
        self._known.add(email)
        return phone

    def thief_of(self, phone: Phone, *, key: bool = True) -> Phone:
        """Return a thief: a phone with a copy of all that ``phone`` stores. ``key=False``: the copy has no key."""
        thief = self._phone(phone.session if key else dataclasses.replace(phone.session, key=None))
        thief.is_thief = True
        return thief

    @property
    def deployment(self) -> str:
        """The name of this deployment, equal to ``Baton.deployment``. The names of your own tables begin with it."""
        return self._baton.deployment

    @property
    def mails(self) -> list[Mail]:
        """The last 100 mails, the oldest first. Each has ``to``, ``subject``, ``text`` and ``html``."""
        return self._mailbox.mails

    @property
    def events(self) -> list[str]:
        """The names of the events in the log lines (``lines``), in order."""
        return [str(line["message"]) for line in self.lines if "message" in line]

    @property
    def routes(self) -> set[str]:
        """The team's own routes, such as ``POST /orders``. Routes with the method ``OPTIONS`` are left out."""
        served = {f"{method} {path}" for path, methods in self._app.routes.items() for method in methods}
        baton = {f"{route.method} {route.path}" for route in self._baton.routes}
        return {route for route in served - baton if not route.startswith("OPTIONS ")}

    def account_of(self, email: str) -> AccountId:
        """Return the id of the account with this address. Raises ``LookupError`` if there is none."""
        ring = self._baton.key_ring.current(now=self.clock.now)
        account = self._stores.accounts.find(ring.email_index(canonical_email(email)))
        if account is None:
            raise LookupError(f"no account has the address {email}")
        return account

    def audit(self, account: AccountId) -> list[AuditEvent]:
        """Return the audit events of an account, in order."""
        return [event for event in self._audit if event.account == account]

    def set_roles(self, email: str, roles: Collection[str]) -> None:
        """Replace the roles of an account, as the operator does. The new roles apply from the next call.

        Raises ``errors.NotFound`` if the address has no active account, and ``UnknownRole`` for an unknown role.
        """
        SetRoles(clients=self._baton.clients, **self._operator())(email, roles)

    def disable(self, email: str) -> None:
        """Disable an account, as the operator does: all its logins end.

        Raises ``errors.NotFound`` if no account has this address, or if the account is deleted.
        """
        SetStatus(**self._operator())(email, Status.DISABLED)

    def enable(self, email: str) -> None:
        """Enable a disabled account: its owner can log in again.

        Raises ``errors.NotFound`` if no account has this address, or if the account is deleted.
        """
        SetStatus(**self._operator())(email, Status.ACTIVE)

    def close(self) -> None:
        """Stop moto, if this world started moto."""
        self._after.close()

    def __enter__(self) -> Self:
        """Return this world. If it uses moto, ``__init__`` has started moto."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the world."""
        self.close()

    def _effects(self, environ: Mapping[str, str], tables: MemoryTables | None) -> Effects:
        def storage(made: Storage) -> Storage:
            self._stores = made if tables is None else memory_storage(secrets.token_bytes, tables)
            return self.storage.around(replace(self._stores, audit=_RecordedAudit(self._stores.audit, self._audit)))

        return Effects(
            lambda: self.clock.now, secrets.token_bytes, environ, storage, self.lines.append, mailbox=self._mailbox
        )

    def _phone(self, session: Session) -> Phone:
        return Phone(self._call, self.clock, authority=self._authority, prefix=self._prefix, session=session)

    def _call(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> GatewayResponse:
        token = TEST_COST.set(ARGON2_COST)
        try:
            return self.gateway.call(method, target, headers, body)
        finally:
            TEST_COST.reset(token)

    def _operator(self) -> dict[str, Any]:
        return {
            "clock": self._baton.clock,
            "key_ring": self._baton.key_ring,
            "users": self._stores.accounts,
            "lineage_store": self._stores.lineages,
            "record": self._baton.recorder,
        }


class _RecordedAudit:
    """An audit that a test can read."""

    def __init__(self, audit: Audit, events: list[AuditEvent]) -> None:
        self._audit, self._events = audit, events

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event to the storage, and add it to the list that ``World.audit`` reads."""
        self._audit.append(event, event_id=event_id)
        self._events.append(event)

    def newest(self, account: AccountId, *, before: str | None, limit: int, now: int) -> list[StoredEvent]:
        """Read the newest events from the storage."""
        return self._audit.newest(account, before=before, limit=limit, now=now)

    def erase(self, account: AccountId) -> None:
        """Delete the events of an account from the storage, and from the list that ``World.audit`` reads."""
        self._audit.erase(account)
        self._events[:] = [event for event in self._events if event.account != account]


def _only(kind: type[T], variables: Mapping[str, object], app: str | Path) -> T:
    found = next((value for value in variables.values() if isinstance(value, kind)), None)
    if found is None:
        raise TypeError(f"{app} has no global variable of the type {kind.__name__}. Make one, as Baton's app.py does.")
    return found
