"""All flows over the memory stores, with a clock that a test moves, and devices that sign."""

import base64
import hashlib
import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec.structs import replace

from chalicelib.baton.accounts.activity import ShowActivity
from chalicelib.baton.accounts.auth_session import AskForFactor
from chalicelib.baton.accounts.deletion import DeleteAccount
from chalicelib.baton.accounts.devices import EndDevice, ListDevices
from chalicelib.baton.accounts.export import ExportAccount
from chalicelib.baton.accounts.first_tokens import Admit, FirstTokens
from chalicelib.baton.accounts.login import Login
from chalicelib.baton.accounts.login_request import Device, Judge, ReadLoginRequest
from chalicelib.baton.accounts.logout import Logout
from chalicelib.baton.accounts.migration import Migrate, Migration
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.accounts.profile import ShowAccount
from chalicelib.baton.accounts.register import Register
from chalicelib.baton.accounts.roles import SetRoles
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.attestation.judge import JudgeEvidence, pinned_anchors
from chalicelib.baton.attestation.switches import ReadSwitches
from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Entropy
from chalicelib.baton.errors import NotFound
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.add_passkey import Enrollable
from chalicelib.baton.factors.breach import BreachCheck
from chalicelib.baton.factors.credentials import Credentials
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.passkey_ceremonies import PasskeyCeremonies
from chalicelib.baton.factors.passkey_challenge import Challenges
from chalicelib.baton.factors.prove_passkey import ProvePasskey
from chalicelib.baton.factors.prove_totp import ProveTotp
from chalicelib.baton.factors.step_up import IssueStepUpGrant
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.policy import PASSWORD_CHARACTERS_MIN
from chalicelib.baton.proof.signature import content_digest, signature_base
from chalicelib.baton.proof.signature_input import Signature, component, write_input
from chalicelib.baton.routing import Message, RouteSpec, StepUp
from chalicelib.baton.tokens.call import Call
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.exchange import Exchange, TokenRequest
from chalicelib.baton.tokens.introspect import Introspect
from chalicelib.baton.tokens.issue import Issue, TokenResponse
from chalicelib.baton.tokens.presented import Mismatches, RequestVerifier
from chalicelib.baton.tokens.reuse import EndReused, ForeignKeys
from chalicelib.baton.tokens.revoke import Revoke
from chalicelib.baton.tokens.shapes import Introspection
from chalicelib.baton.tokens.token import KnownTokens, Names
from tests.baton.memory import GivenKeyRing, LeakedPasswords, MemoryLog, MemoryStores

START = 1_800_000_000
AUTHORITY = "api.example.com"
PASSWORD = "copper lantern drifting sideways"
EMAIL = "ada@example.com"
RESOURCE_SERVER_SECRET = "the billing server's long and random secret"
ROLES = """[roles]
admin = { code = 1 }
support = { code = 2 }
owner = { code = 3, second_factor = "required" }
"""
_CLIENTS = Path(__file__).with_name("fixture_app") / "clients.toml"


def no_address_proof(*_: object, **__: object) -> str:
    """Refuse a code: this deployment has no mail."""
    raise NotFound


def always_ok(email_index: EmailIndex, *, now: int) -> Literal["ok", "bouncing"]:
    """Return that mails are sent: this deployment has no mail."""
    del email_index, now
    return "ok"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        """Start at ``START``."""
        self.now = START

    def __call__(self) -> int:
        """Return the time."""
        return self.now

    def skip(self, seconds: int) -> None:
        """Advance the time."""
        self.now += seconds


class Phone:
    """A device that signs requests: it has a P-256 key, an HMAC secret from a login, or no key."""

    def __init__(self, clock: Callable[[], int], *, kind: str = "P-256") -> None:
        """Create the key. ``kind`` is ``P-256``, ``hmac`` or ``none``."""
        self.clock = clock
        self.kind = kind
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.key_id = ""
        self.secret = b""

    @property
    def public_key(self) -> PublicKey:
        """Return the public key."""
        numbers = self.private.public_key().public_numbers()
        return PublicKey.from_raw(bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32, "big"))

    @property
    def device(self) -> Device:
        """Return the description that this device sends of itself."""
        return Device(
            name="Ada's phone",
            public_key=self.public_key if self.kind == "P-256" else None,
            hmac=self.kind == "hmac",
        )

    def keep(self, issued: TokenResponse) -> None:
        """Store an HMAC secret."""
        if issued.secret:
            self.key_id = issued.key_id or ""
            self.secret = base64.urlsafe_b64decode(issued.secret + "=")

    def message(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        token: str | None = None,
        attempt: str | None = None,
        grant: str | None = None,
        query: tuple[tuple[str, str], ...] = (),
        nonce: str | None = None,
        created: int | None = None,
        signed: bool = True,
    ) -> Message:
        """Build a request, signed if this device has a key."""
        fields: dict[str, tuple[str, ...]] = {"host": (AUTHORITY,)}
        if body:
            fields["content-type"] = ("application/json",)
            fields["content-digest"] = (content_digest(body),)
        if token:
            fields["authorization"] = (f"Bearer {token}",)
        if attempt:
            fields["idempotency-key"] = (attempt,)
        if grant:
            fields["baton-grant"] = (grant,)
        bare = Message(method, AUTHORITY, path, query, fields, body)
        can_sign = self.kind == "P-256" or (self.kind == "hmac" and self.secret)
        return self.signed(bare, nonce=nonce, created=created) if signed and can_sign else bare

    def signed(self, message: Message, *, nonce: str | None = None, created: int | None = None) -> Message:
        """Sign a request over all required components."""
        names = ["@method", "@authority", "@path"]
        components = [component(name) for name in names]
        components += [component("@query-param", name) for name, _ in message.query]
        wanted = ("content-digest", "authorization", "idempotency-key", "baton-grant")
        components += [component(name) for name in wanted if name in message.fields]
        parameters: dict[str, str | int] = {
            "created": self.clock() if created is None else created,
            "keyid": self.public_key.keyid if self.kind == "P-256" else self.key_id,
            "nonce": nonce or secrets.token_urlsafe(16),
            "tag": "baton",
        }
        written = write_input(components, parameters)
        base = signature_base(message, Signature(tuple(components), parameters, written, b""))
        value = base64.b64encode(self._sign(base)).decode()
        fields = {**message.fields, "signature-input": (f"sig={written}",), "signature": (f"sig=:{value}:",)}
        return Message(message.method, message.authority, message.path, message.query, fields, message.body)

    def _sign(self, base: bytes) -> bytes:
        if self.kind == "hmac":
            import hmac

            return hmac.digest(self.secret, base, "sha256")
        r, s = decode_dss_signature(self.private.sign(base, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


@dataclass
class World:
    """A deployment in memory."""

    limits: bool = True
    revoke_on_wrong_key: bool = False
    clock: Clock = field(default_factory=Clock)
    stores: MemoryStores = field(default_factory=MemoryStores)
    entropy: Entropy = secrets.token_bytes
    log: MemoryLog = field(default_factory=MemoryLog)
    leaked: LeakedPasswords = field(default_factory=LeakedPasswords)
    migration: Migration | None = None
    """What the app gave to ``migrate_with``."""
    mail: bool = False

    def __post_init__(self) -> None:
        """Create the flows, as ``app.py`` does."""
        clock, stores, entropy, log = self.clock, self.stores, self.entropy, self.log
        users, lineage_store, ephemeral, audit = stores.users, stores.lineage_store, stores.ephemeral, stores.audit
        self.key_ring = key_ring = GivenKeyRing(make_ring(entropy, now=START - 10))
        self.clients = clients = Clients.from_toml(_CLIENTS.read_text("utf-8") + ROLES)
        issuer = f"https://{AUTHORITY}/api"
        self.names = names = Names(issuer, issuer, frozenset())
        proof = RequestVerifier(
            key_ring=key_ring,
            clients=clients,
            names=names,
            authorities=frozenset({AUTHORITY}),
            mismatches=Mismatches(log),
            known=(known := KnownTokens()),
        )
        self.issue = issue = Issue(names, clients, known)
        record = Record(clock=clock, moment=time.time, entropy=entropy, ephemeral=ephemeral, audit=audit, log=log)
        credentials = Credentials(
            entropy=entropy, users=users, ephemeral=ephemeral, log=log, record=record, limits=self.limits
        )
        site = SiteRule(frozenset({f"https://{AUTHORITY}"}), log)
        introduce = ReadLoginRequest(entropy=entropy, clients=clients, proof=proof, site=site)
        first_tokens = FirstTokens(issue=issue)
        ask = AskForFactor(entropy=entropy, email_first=self.mail)
        enrollable = Enrollable(clients=clients, mail=self.mail)
        judge = Judge(clients=clients, enrollable=enrollable)
        passkeys = PasskeyCeremonies(
            clients=clients,
            challenges=Challenges(entropy=entropy, key_ring=key_ring),
            enrollable=enrollable,
            prove=ProvePasskey(clients=clients, store=stores.factors, tickets=ephemeral, record=record),
        )
        admit = Admit(clients=clients, lineage_store=lineage_store, first_tokens=first_tokens, log=log, record=record)
        self.prove_totp = ProveTotp(
            store=stores.factors, ephemeral=ephemeral, log=log, record=record, limits=self.limits
        )
        end_reused = EndReused(lineage_store=lineage_store, record=record)
        breaches = BreachCheck(fetch=self.leaked, log=log)
        new_password = NewPassword(characters_min=PASSWORD_CHARACTERS_MIN, breaches=breaches)
        judge_evidence = JudgeEvidence(
            key_ring=key_ring,
            store=stores.attestations,
            anchors=pinned_anchors(),
            switches=ReadSwitches(key_ring=key_ring, store=stores.attestations, log=log),
            log=log,
            record=record,
        )
        self._register = Register(
            clock=clock,
            entropy=entropy,
            key_ring=key_ring,
            introduce=introduce,
            judge_evidence=judge_evidence,
            new_password=new_password,
            credentials=credentials,
            users=users,
            lineage_store=lineage_store,
            ephemeral=ephemeral,
            first_tokens=first_tokens,
            judge=judge,
            ask=ask,
            log=log,
            record=record,
            limits=self.limits,
            address_proof=no_address_proof,
        )
        self._login = Login(
            clock=clock,
            key_ring=key_ring,
            introduce=introduce,
            judge_evidence=judge_evidence,
            credentials=credentials,
            users=users,
            lineage_store=lineage_store,
            migrate=Migrate(
                entropy=entropy, users=users, record=record, migration=lambda: self.migration, mail=self.mail
            ),
            judge=judge,
            ask=ask,
            admit=admit,
        )
        self._exchange = Exchange(
            clock=clock,
            entropy=entropy,
            proof=proof,
            lineage_store=lineage_store,
            end_reused=end_reused,
            foreign_keys=ForeignKeys(log),
            log=log,
            issue=issue,
            revoke_on_wrong_key=self.revoke_on_wrong_key,
        )
        self.call = Call(
            clock=clock, entropy=entropy, proof=proof, lineage_store=lineage_store, ephemeral=ephemeral, log=log
        )
        self.grant_step_up = IssueStepUpGrant(
            clock=clock,
            entropy=entropy,
            key_ring=key_ring,
            credentials=credentials,
            prove_totp=self.prove_totp,
            passkeys=passkeys,
            ephemeral=ephemeral,
            log=log,
        )
        self.logout = Logout(clock=clock, lineage_store=lineage_store, record=record)
        self.show = ShowAccount(clock=clock, users=users, email_status=always_ok)
        self.delete = DeleteAccount(
            clock=clock,
            users=users,
            lineage_store=lineage_store,
            record=record,
            at_providers=lambda _: lambda: None,
        )
        self.set_status = SetStatus(
            clock=clock, key_ring=key_ring, users=users, lineage_store=lineage_store, record=record
        )
        self.set_roles = SetRoles(
            clock=clock, key_ring=key_ring, clients=clients, users=users, lineage_store=lineage_store, record=record
        )
        self.change_password = ChangePassword(
            clock=clock,
            entropy=entropy,
            key_ring=key_ring,
            new_password=new_password,
            users=users,
            lineage_store=lineage_store,
            record=record,
        )
        self.list_devices = ListDevices(clock=clock, key_ring=key_ring, clients=clients)
        self.show_activity = ShowActivity(clock=clock, audit=audit)
        self.export = ExportAccount(
            clock=clock,
            clients=clients,
            users=users,
            email_status=always_ok,
            audit=audit,
            list_devices=self.list_devices,
            record=record,
            on_export=lambda: None,
        )
        self.end_device = EndDevice(clock=clock, lineage_store=lineage_store, record=record)
        self.revoke = Revoke(
            clock=clock, proof=proof, lineage_store=lineage_store, end_reused=end_reused, log=log, record=record
        )
        servers = {"billing": hashlib.sha256(RESOURCE_SERVER_SECRET.encode()).digest()}
        self._introspect = Introspect(
            clock=clock, proof=proof, lineage_store=lineage_store, resource_servers=servers, names=names
        )
        self._numbers = itertools.count(1)

    def attempt(self) -> str:
        """Draw a unique attempt."""
        return f"attempt-{next(self._numbers):016d}"

    def phone(self, kind: str = "P-256") -> Phone:
        """Make a device."""
        return Phone(self.clock, kind=kind)

    def register(
        self,
        phone: Phone,
        *,
        email: str = EMAIL,
        password: str = PASSWORD,
        client_id: str = "mobile",
        attempt: str | None = None,
        source: str = "192.0.2.1",
    ) -> TokenResponse:
        """Register from a device."""
        message = phone.message("POST", "/api/register", body=b"{}", attempt=attempt or self.attempt())
        issued = self._register(
            replace(message, source=source), email=email, password=password, client_id=client_id, device=phone.device
        )
        phone.keep(issued)
        return issued

    def login(
        self,
        phone: Phone,
        *,
        email: str = EMAIL,
        password: str = PASSWORD,
        client_id: str = "mobile",
        attempt: str | None = None,
        source: str = "192.0.2.1",
    ) -> TokenResponse:
        """Log in from a device."""
        message = phone.message("POST", "/api/login", body=b"{}", attempt=attempt or self.attempt())
        issued = self._login(
            replace(message, source=source), email=email, password=password, client_id=client_id, device=phone.device
        )
        phone.keep(issued)
        return issued

    def exchange(
        self,
        phone: Phone,
        token: str,
        *,
        attempt: str | None = None,
        client_id: str | None = None,
        scope: str | None = None,
    ) -> TokenResponse:
        """Exchange a token from a device."""
        message = phone.message("POST", "/api/oauth/token", body=b"form", attempt=attempt)
        return self._exchange(message, TokenRequest(token, client_id, scope))

    def introspect(self, *, token: str, resource_server: str, secret: str) -> Introspection:
        """Introspect a token, without claims of a team."""
        facts = self._introspect(token=token, resource_server=resource_server, secret=secret)
        assert isinstance(facts, Introspection)
        return facts

    def use(
        self,
        phone: Phone,
        token: str,
        method: str = "GET",
        path: str = "/api/me",
        *,
        body: bytes = b"",
        grant: str | None = None,
        step_up: StepUp | None = None,
        nonce: str | None = None,
        bound: bool = False,
    ) -> Caller:
        """Call a route with a token."""
        message = phone.message(method, path, body=body, token=token, grant=grant, nonce=nonce)
        return self.call.authorize(self.call.authenticate(message, bound=bound), spec=RouteSpec(step_up=step_up))
