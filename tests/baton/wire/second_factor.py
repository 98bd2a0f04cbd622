"""A person with an authenticator app. The app computes its codes without Baton's code, from RFC 4226 and 6238."""

import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import pytest

from baton_client import content_digest
from chalicelib.baton.accounts.roles import SetRoles
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.storage.memory import storage
from chalicelib.baton.storage.memory.tables import MemoryTables
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import JSON, PASSWORD, PREFIX, Device, Said
from tools.dev.gateway import DevelopmentClock, Gateway

EMAIL = "ada@example.com"


def totp(secret: str, step: int) -> str:
    """Compute a code: HMAC-SHA-1 of the step, truncated (RFC 4226 5.3), six digits."""
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    place = mac[-1] & 15
    return f"{(int.from_bytes(mac[place : place + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def wrong(code: str) -> str:
    """Return another code, which is wrong at every accepted step."""
    return f"{(int(code) + 500_000) % 10**6:06}"


@dataclass
class Deployment:
    """Two environments that share tables in memory, with the registry of second factors, and their clock."""

    environments: list[Any]
    tables: MemoryTables
    clock: DevelopmentClock

    @classmethod
    def load(cls) -> Self:
        """Load the environments. This takes longer than a test."""
        tables, clock = MemoryTables(), DevelopmentClock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BATON_STORAGE", "memory")
            patch.setenv("BATON_CLIENTS", "clients-factors.toml")
            patch.setattr(storage, "OF_THIS_PROCESS", tables)
            return cls([load_environment(clock) for _ in range(2)], tables, clock)

    def begin(self) -> DevelopmentClock:
        """Empty the tables, and return the clock, set to now."""
        for column in fields(self.tables):
            kept = getattr(self.tables, column.name)
            if hasattr(kept, "clear"):
                kept.clear()
        self.clock.skipped_s = 0
        return self.clock


@dataclass
class Person:
    """A person with one account, an authenticator app, and recovery codes on paper."""

    clock: Callable[[], int]
    secret: str = ""
    codes: list[str] = field(default_factory=list)
    used_step: int = 0

    def code(self, ahead: int = 0) -> str:
        """Read the app: the present code, or the code of another step."""
        return totp(self.secret, self.clock() // 30 + ahead)

    def fresh_code(self) -> str:
        """Read a code that was not used, of this step or of the next step. If both are used, wait."""
        self.used_step = max(self.used_step + 1, self.clock() // 30)
        assert self.used_step <= self.clock() // 30 + 1, "advance the clock first: the codes of both steps are used"
        return totp(self.secret, self.used_step)

    def enrol(self, phone: Device) -> Said:
        """Enrol the app on this phone, with a step-up, and keep the recovery codes."""
        begun = stepped(phone, "POST", "/me/factors/totp", totp=self.fresh_code() if self.secret else None)
        assert begun.status == 200, begun
        self.secret = begun.members["secret"]
        self.used_step = 0
        said = phone.post(
            "/me/factors/totp/confirm", {"enrolment": begun.members["enrolment"], "totp": self.fresh_code()}
        )
        assert said.status == 200, said
        self.codes = said.members.get("recovery_codes", self.codes)
        return said


def grant_of(phone: Device, method: str, path: str, body: bytes = b"", **proof: Any) -> Said:
    """Step up with these factors. Factors that are ``None`` are left out."""
    operation = {"method": method, "path": PREFIX + path, "digest": content_digest(body)}
    return phone.post("/step-up", {"operation": operation} | {k: v for k, v in proof.items() if v is not None})


def stepped(
    phone: Device,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    password: str | None = PASSWORD,
    totp: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Said:
    """Step up for exactly this request, and send it with its grant. If the step-up is refused, return that answer."""
    said = grant_of(phone, method, path, body, password=password, totp=totp)
    if said.status != 200:
        return said
    grant = {"baton-grant": str(said.members["grant"])}
    return phone.request(method, path, body, (JSON if body else {}) | grant | dict(headers or {}))


def ask(phone: Device, email: str = EMAIL, *, attempt: str | None = None, path: str = "/login") -> Said:
    """Log in, and store nothing. If a factor is required, the answer is 403."""
    headers = {"idempotency-key": attempt} if attempt else {}
    return phone.post(path, phone.entry(email), headers, token=None)


def prove(phone: Device, session: Said | str, *, attempt: str | None = None, **members: Any) -> Said:
    """Send the second step of a login, and keep the tokens."""
    text = session if isinstance(session, str) else str(session.members["auth_session"])
    headers = {"idempotency-key": attempt} if attempt else {}
    said = phone.post("/login/factor", {"auth_session": text} | members, headers, token=None)
    if said.status == 200:
        phone.tokens = said.members
    return said


def attempt() -> str:
    """Make a new attempt."""
    return secrets.token_urlsafe(16)


def set_roles(baton: Any, *roles: str) -> None:
    """Give Ada these roles, as the operator does."""
    SetRoles(
        clock=baton.clock,
        key_ring=baton.key_ring,
        clients=baton.clients,
        users=baton.users,
        lineage_store=baton.lineage_store,
        record=baton.recorder,
    )(EMAIL, roles)


def set_status(baton: Any, status: Status) -> None:
    """Disable or enable Ada's account, as the operator does."""
    SetStatus(
        clock=baton.clock,
        key_ring=baton.key_ring,
        users=baton.users,
        lineage_store=baton.lineage_store,
        record=baton.recorder,
    )(EMAIL, status)


def factors_gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of an environment with the registry of second factors, over tables in DynamoDB."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_CLIENTS", "clients-factors.toml")
    return Gateway([load_environment(clock).app])
