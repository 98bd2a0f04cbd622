"""A deployment whose people come from identity providers, the providers, and phones that log in with them."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey as PrivateKey

from baton_client import content_digest
from chalicelib.baton import settings
from chalicelib.baton.environment import Effects
from chalicelib.baton.factors.ports import NotFetched
from chalicelib.baton.federation.id_token import login_nonce
from chalicelib.baton.mail.outbox import Mailbox
from chalicelib.baton.storage.memory.storage import memory_storage
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.testing.clock import Clock
from chalicelib.baton.testing.faults import Faults
from chalicelib.baton.testing.gateway import Gateway, load_app
from chalicelib.baton.testing.identity_provider import IdentityProvider
from tests.baton.federation.apple_server import AppleServer
from tests.baton.fixture import APP, FOLDER
from tests.baton.wire.conversation import PREFIX, Device, Said, through

ENVIRON: Final = {
    "BATON_AUTHORITIES": "api.example.com",
    "BATON_CLIENTS": "clients-factors.toml",
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_KEY_RING": "local",
    "BATON_LOG_LEVEL": "DEBUG",
    "BATON_STORAGE": "memory",
    "BATON_TABLE_PREFIX": "baton-federation",
}


@dataclass
class Scene:
    """A deployment of two environments, without network."""

    environ: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    tables: MemoryTables = field(default_factory=MemoryTables)
    faults: Faults = field(default_factory=Faults)
    mailbox: Mailbox = field(default_factory=Mailbox)
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    apple: AppleServer = field(default_factory=AppleServer)
    rows: str = "identity-providers.toml"

    def __post_init__(self) -> None:
        """Load the environments, and begin the providers."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "_FOLDER", FOLDER)
            patch.setattr(settings, "_PROVIDERS", self.rows)
            loaded = [load_app(APP, self._effects()) for _ in range(2)]
        self.batons = [module.baton for module in loaded]
        self.baton = self.batons[0]
        rows = self.baton.settings.providers.by_name if self.rows else {}
        self.providers = {name: IdentityProvider(row, lambda: self.clock.now) for name, row in rows.items()}
        if self.rows:
            self.apple.begin(self.providers["apple"], lambda: self.clock.now)
        self.gateway = Gateway([module.app for module in loaded], clock=self.clock)
        self.send = through(self.gateway)

    def _effects(self) -> Effects:
        return Effects(
            lambda: self.clock.now,
            secrets.token_bytes,
            ENVIRON | dict(self.environ),
            lambda _: self.faults.around(memory_storage(secrets.token_bytes, self.tables)),
            self.lines.append,
            mailbox=self.mailbox,
            fetch=self._fetch,
            post=self.apple.post,
        )

    def _fetch(self, url: str, **_: Any) -> bytes | NotFetched:
        for provider in self.providers.values():
            if provider.provider.jwks_uri == url:
                return provider.fetch() or NotFetched("out of order")
        return NotFetched("no such host")

    def phone(self, client_id: str = "mobile", **named: Any) -> "Federated":
        """Return a phone with a new key."""
        return Federated(self.send, lambda: self.clock.now, client_id, scene=self, **named)

    def set_key(self, private: PrivateKey | None = None) -> None:
        """Set the private key for Apple, as the operator does."""
        self.apple.set_key(self.baton, now=self.clock.now, private=private)

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in self.lines if line.get("message") == name]

    @property
    def accounts(self) -> int:
        """The number of accounts that are not deleted."""
        return len(self.tables.users)


@dataclass
class Federated(Device):
    """A phone of a person who has accounts at providers."""

    scene: Scene = None  # type: ignore[assignment]
    attempt: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def nonce(self, provider: str = "google", *, attempt: str = "", client_id: str = "") -> str:
        """Compute the nonce of a login."""
        return login_nonce(
            provider=provider,
            client_id=client_id or self.client_id,
            keyid=self.key.thumbprint(),
            attempt=attempt or self.attempt,
        )

    def id_token(self, provider: str = "google", sub: str = "ada", **claims: Any) -> str:
        """Sign in at the provider."""
        nonce = claims.pop("nonce", None) or self.nonce(provider)
        return self.scene.providers[provider].token(sub, nonce, self.client_id, **claims)

    def enter(
        self,
        provider: str = "google",
        sub: str = "ada",
        *,
        token: str = "",
        create: bool = False,
        again: bool = False,
        members: Mapping[str, object] | None = None,
        **claims: Any,
    ) -> Said:
        """Log in, with a new attempt unless ``again``."""
        if not (again or token):
            self.attempt = secrets.token_urlsafe(16)
        body = {
            "provider": provider,
            "id_token": token or self.id_token(provider, sub, **claims),
            "client_id": self.client_id,
            "device": {"name": "phone", "public_key": self.key.jwk()},
            "create": create,
            **(members or {}),
        }
        return self._kept(self.post("/login/federated", body, {"idempotency-key": self.attempt}, token=None))

    def operation(self, method: str, path: str, members: object = None) -> tuple[dict[str, str], bytes]:
        """Return an operation for a step-up, and the body of its request."""
        body = b"" if members is None else json.dumps(members).encode()
        return {"method": method, "path": PREFIX + path, "digest": content_digest(body)}, body
