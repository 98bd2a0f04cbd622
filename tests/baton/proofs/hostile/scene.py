"""The scene: a victim with two bound logins, and a thief who has seen all traffic but has no key."""

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from baton_client import DeviceKey
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.storage.dynamodb.database import DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from tests.baton.proofs.hostile.forgeries import THIEFS_KEY
from tests.baton.wire.conversation import FORM, JSON, PREFIX, Device, Said

VICTIM, THIEF = "ada@example.com", "eve@example.com"
ORDER = b'{"to":"Bob","amount":20000}'


@dataclass(frozen=True)
class Sent:
    """A request as it is sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def by(self, device: Device) -> Said:
        """Send the request through the gateway of a device."""
        return device.send(self.method, self.target, list(self.headers), self.body)

    def header(self, name: str) -> str:
        """Return the value of a header field."""
        return dict(self.headers)[name]

    def having(self, **fields: str | None) -> "Sent":
        """Replace header fields: ``_`` stands for ``-``, and ``None`` removes a field."""
        named = dict(self.headers) | {name.replace("_", "-"): value for name, value in fields.items()}
        return replace(self, headers=tuple((name, value) for name, value in named.items() if value is not None))

    def with_more(self, *headers: tuple[str, str]) -> "Sent":
        """Add header fields, also if they exist already."""
        return replace(self, headers=(*self.headers, *headers))


def prepared(device: Device, act: Callable[[Device], object]) -> Sent:
    """Let a device sign a request, and return the request instead of sending it."""
    kept: list[Sent] = []

    def keep(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
        kept.append(Sent(method, target, tuple(headers), body))
        return Said(0, {}, b"")

    act(replace(device, send=keep))
    (sent,) = kept
    return sent


def key_of_the_thief() -> DeviceKey:
    """Return the key that forged tokens name."""
    encoded = THIEFS_KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return DeviceKey(base64.b64encode(encoded).decode())


@dataclass
class Scene:
    """The devices of the victim and of the thief, and the data that the thief has captured."""

    make: Callable[..., Device]
    tables: Tables
    lineage_store: LineageStore = field(init=False)
    phone: Device = field(init=False)
    tablet: Device = field(init=False)
    watch: Device = field(init=False)
    thief: Device = field(init=False)
    bearer: Device = field(init=False)
    used_tokens: list[str] = field(init=False)
    seen: list[Sent] = field(init=False)
    """Delivered requests of the victim that the thief has captured."""

    def __post_init__(self) -> None:
        """Create the victim's logins and traffic, and an account for the thief."""
        self.lineage_store = LineageStore(DynamoDB(self.tables))
        self.phone = self.make()
        self.tablet, self.watch = self.make(client_id="mobile-opaque"), self.make()
        assert self.phone.register(VICTIM).status == 201
        assert self.tablet.login(VICTIM).status == 200
        assert self.watch.login(VICTIM).status == 200
        self.used_tokens = [self.phone.token, self.tablet.token]
        self.seen = []
        self.overheard(self.phone, lambda device: device.exchange())
        self.overheard(self.tablet, lambda device: device.exchange())
        self.overheard(self.phone, lambda device: device.get("/me"))
        self.overheard(self.tablet, lambda device: device.get("/me/devices"))
        self.overheard(self.phone, lambda device: device.step_up("POST", "/transfers", ORDER))
        self.overheard(self.phone, self.transfer(self.phone))
        self.overheard(self.phone, self.ending(self.watch))
        self.thief = self.make(key=key_of_the_thief())
        assert self.thief.register(THIEF).status == 201
        self.bearer = self.make(client_id="simple", bound=False)
        assert self.bearer.login(THIEF).status == 200

    def overheard(self, device: Device, act: Callable[[Device], object]) -> None:
        """Deliver the requests of a device, and let the thief capture them."""

        def carry(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
            self.seen.append(Sent(method, target, tuple(headers), body))
            said = device.send(method, target, headers, body)
            assert said.status < 300, said
            return said

        watched = replace(device, send=carry)
        act(watched)
        device.tokens = watched.tokens

    @property
    def account(self) -> AccountId:
        """Return the id of the victim's account."""
        return AccountId(json.loads(decode_base64url(self.phone.token.split(".")[1]))["sub"])

    def account_state(self) -> AccountState:
        """Read the victim's account state from the tables."""
        account_state = self.lineage_store.get(self.account)
        assert account_state is not None
        return account_state

    def transfer(self, device: Device) -> Callable[[Device], Said]:
        """Prepare a transfer, with its grant."""
        grant = device.step_up("POST", "/transfers", ORDER)
        return lambda sender: sender.request("POST", "/transfers", ORDER, JSON | {"baton-grant": grant})

    def ending(self, ended: Device) -> Callable[[Device], Said]:
        """Prepare the removal of a device by the phone, with its grant."""
        path = f"/me/devices/{ended.tokens['device_id']}"
        grant = {"baton-grant": self.phone.step_up("DELETE", path)}
        return lambda sender: sender.request("DELETE", path, headers=grant)

    def doors(self, token: str) -> dict[str, Sent]:
        """Build an unsigned request with this token for each route that takes a token."""
        host, form = ("host", "api.example.com"), tuple(FORM.items())
        exchange = urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode()
        attempt = ("idempotency-key", secrets.token_urlsafe(16))
        return {
            "call": Sent("GET", f"{PREFIX}/me", (host, ("authorization", f"Bearer {token}"))),
            "exchange": Sent("POST", f"{PREFIX}/oauth/token", (host, *form, attempt), exchange),
            "revoke": Sent("POST", f"{PREFIX}/oauth/revoke", (host, *form), urlencode({"token": token}).encode()),
        }

    def lives(self) -> None:
        """Check that the victim's logins still work completely."""
        for device in (self.phone, self.tablet):
            assert device.get("/me").members["email"] == VICTIM
            assert device.exchange().status == 200
            assert device.get("/me/devices").status == 200
        assert self.phone.step_up("POST", "/transfers", ORDER)
        assert self.phone.login(VICTIM).status == 200
