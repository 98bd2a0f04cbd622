"""A deployment whose clients judge evidence, its operator, and phones that attest."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from chalicelib.baton import settings
from chalicelib.baton.attestation.revocations import FetchRevocations
from chalicelib.baton.attestation.switches import LowerToReport
from chalicelib.baton.environment import Effects
from chalicelib.baton.factors.ports import NotFetched
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.storage.memory.storage import memory_storage
from chalicelib.baton.storage.memory.tables import MemoryTables
from chalicelib.baton.testing.attesters.kit import Attester
from chalicelib.baton.testing.clock import Clock
from chalicelib.baton.testing.gateway import Gateway, load_app
from tests.baton.fixture import APP, FOLDER
from tests.baton.wire.conversation import Device, Said, through

ENVIRON: Final = {
    "BATON_AUTHORITIES": "api.example.com",
    "BATON_CLIENTS": "clients-attest.toml",
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_KEY_RING": "local",
    "BATON_LOG_LEVEL": "DEBUG",
    "BATON_STORAGE": "memory",
    "BATON_TABLE_PREFIX": "baton-attest",
}


@dataclass
class Scene:
    """A deployment of two environments, without network and without the real roots."""

    environ: Mapping[str, str] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)
    tables: MemoryTables = field(default_factory=MemoryTables)
    lines: list[Mapping[str, Any]] = field(default_factory=list)
    fetched: bytes | NotFetched = field(default_factory=lambda: NotFetched("not in this test"))

    def __post_init__(self) -> None:
        """Load the environments."""
        self.attester = Attester(lambda: self.clock.now)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "_FOLDER", FOLDER)
            loaded = [load_app(APP, self._effects()) for _ in range(2)]
        self.batons = [module.baton for module in loaded]
        self.baton = self.batons[0]
        self.apps = [module.app for module in loaded]
        self.gateway = Gateway(self.apps, clock=self.clock)
        self.send = through(self.gateway)

    def _effects(self) -> Effects:
        return Effects(
            lambda: self.clock.now,
            secrets.token_bytes,
            ENVIRON | dict(self.environ),
            lambda _: memory_storage(secrets.token_bytes, self.tables),
            self.lines.append,
            anchors=self.attester.anchors,
            fetch=lambda *_, **__: self.fetched,
        )

    def phone(self, client_id: str = "bank", **named: Any) -> "Attesting":
        """Return a phone with a new key."""
        return Attesting(self.send, lambda: self.clock.now, client_id, scene=self, **named)

    def lower(self, client_id: str, hours: int) -> int:
        """Lower ``required`` to ``report``, as an operator does."""
        command = LowerToReport(
            entropy=secrets.token_bytes, key_ring=self.baton.key_ring, store=self.baton.storage.attestations
        )
        client = self.baton.clients.get(client_id)
        assert client is not None
        return command(client, hours=hours, now=self.clock.now)

    def fetch_revocations(self) -> None:
        """Run the daily job."""
        job = FetchRevocations(
            clock=lambda: self.clock.now,
            fetch=lambda *_, **__: self.fetched,
            store=self.baton.storage.attestations,
            log=self.baton.log,
            clients=self.baton.clients,
        )
        job()

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """Return the log lines of an event."""
        return [line for line in self.lines if line.get("message") == name]


@dataclass
class Attesting(Device):
    """A phone whose platform attests."""

    scene: Scene = None  # type: ignore[assignment]

    @property
    def public_key(self) -> PublicKey:
        """The key of the device."""
        return PublicKey.from_jwk(self.key.jwk())

    def challenge(self) -> str:
        """Get a challenge."""
        said = self.post("/attestation-challenge", {"client_id": self.client_id}, token=None)
        assert said.status == 200, said
        return str(said.members["attestation_challenge"])

    def evidence(self, form: str = "android-key", *, challenge: str = "", **named: Any) -> dict[str, Any]:
        """Make evidence for this phone and its client."""
        client = self.scene.baton.clients.get(self.client_id)
        assert client is not None
        named.setdefault("public_key", self.public_key)
        return self.scene.attester.member(form, client, challenge=challenge or self.challenge(), **named)

    def attest(self, evidence: object, **named: Any) -> Said:
        """Attest the login."""
        return self.post("/attest", {"attestation": evidence}, **named)
