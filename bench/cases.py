"""The measured calls: whole events into the app as deployed, without the database.

Keys, nonces and the time are the same in every run, so a call does the same work in every run.
"""

import hashlib
import hmac
import os
import random
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import replace

from bench.events import event
from chalicelib.baton.lineages.rules import rights_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "clients" / "python"))
os.environ |= {
    "BATON_BREACH_CHECK": "off",  # the instructions of a registration, without another service
    "BATON_CLIENTS": "clients-dev.toml",
    "BATON_DEVELOPMENT": "off",
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_KEY_RING": "kms:bench",
    "BATON_LOG_LEVEL": "INFO",
    "BATON_TABLE_PREFIX": "bench",
}

from chalice.app import Chalice  # noqa: E402
from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: E402
from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: E402

from baton_client import Request, Signer, content_digest, signature_fields  # noqa: E402 - after the change of the path
from chalicelib.baton.environment import EFFECTS, Effects  # noqa: E402
from chalicelib.baton.ids import LineageId  # noqa: E402
from chalicelib.baton.keys.public_key import PublicKey  # noqa: E402
from chalicelib.baton.keys.rotation import make_ring  # noqa: E402
from chalicelib.baton.lineages.assurance import PASSWORD  # noqa: E402
from chalicelib.baton.lineages.model import (  # noqa: E402
    NO_ATTEMPT,
    AccountState,
    Binding,
    KeyBinding,
    Lineage,
    SecretBinding,
    Status,
)
from chalicelib.baton.routing import Answer  # noqa: E402
from chalicelib.baton.storage.dynamodb.items import state_item  # noqa: E402
from chalicelib.baton.storage.dynamodb.values import Item  # noqa: E402
from chalicelib.baton.tokens.caller import Caller  # noqa: E402

NOW = 1_800_000_000
"""The time of every call, in seconds since the epoch."""

EFFECTS.set(Effects(lambda: NOW, secrets.token_bytes))
from app import app, baton  # noqa: E402 - after the clock is replaced

FORMS = {"mobile": "JWT", "mobile-opaque": "opaque"}
"""The token format of each client."""

ALGORITHMS = ("HMAC", "P-256", "Ed25519")

_MESSAGE = b"a signature base is a few hundred bytes long" * 10
_draw = random.Random("the same keys in every run").randbytes  # noqa: S311 - the same values in each run
_ring = make_ring(_draw, now=NOW - 60)


class Asked(BaseException):
    """The call has reached its first database request.

    This is not an ``Exception``, because Chalice would turn an ``Exception`` into an answer.
    """


class DynamoDB:
    """A replacement for DynamoDB: a read returns the stored state, and a write is answered as if it had happened.

    If answers are off, the first request ends the call with ``Asked``.
    """

    def __init__(self) -> None:
        """Start without a state, and with answers on."""
        self.answers = True
        self._stands: dict[str, Item] = {}
        self._written: dict[str, Item] = {}

    def hold(self, account_state: AccountState, *, afterwards: AccountState) -> None:
        """Store the account state that a read returns, and the state ``afterwards`` that a write returns."""
        item = state_item(account_state)
        self._stands[item["pk"]["S"]], self._written[item["pk"]["S"]] = item, state_item(afterwards)

    def read(self, table: str, key: Item) -> Item:
        """Return the account state."""
        if not self.answers:
            raise Asked(table)
        return self._stands[key["pk"]["S"]]

    def write(self, operation: str, **request: Any) -> Item:
        """Return the account state after the write."""
        if not self.answers:
            raise Asked(operation)
        return self._written[request["Key"]["pk"]["S"]]


engine = DynamoDB()
baton.database.read = engine.read  # type: ignore[method-assign] # replaced
baton.database.write = engine.write  # type: ignore[method-assign] # replaced
baton.key_ring.current = lambda **_: _ring  # type: ignore[method-assign] # read once for each environment


@app.route("/bench", methods=["GET"])
@baton.signed()
def called(caller: Caller) -> Answer:
    """Return the device id of the caller."""
    return Answer(200, {"hello": caller.device_id})


trivial_app = Chalice(app_name="trivial", configure_logs=False)


@trivial_app.route("/hello")
def hello() -> dict[str, str]:
    """Return an answer without authentication."""
    return {"hello": "world"}


_TRIVIAL_EVENT = event("GET", "/hello", {"host": "api.example.com"})


def trivial() -> None:
    """Call a route without authentication: the cost of Chalice's dispatch."""
    answer = trivial_app(_TRIVIAL_EVENT, None)
    assert answer["statusCode"] == 200, answer


class Login:
    """A login with one kind of key and one token format: its calls, and their necessary cryptography."""

    def __init__(self, algorithm: str, client_id: str, number: int = 0) -> None:
        """Make key, lineage, token and signed requests, and store the account state in the database."""
        self.name = f"{algorithm}, {FORMS[client_id]}" + (f", phone {number}" if number else "")
        client = baton.clients.get(client_id)
        assert client is not None
        account = _ring.account_ids("bench@example.com", self.name, now=NOW)[0]
        lineage_id = _ring.lineage_ids(account, self.name, now=NOW)[0]
        key, binding, self._signer, self._check = _key(algorithm, lineage_id)
        lineage = Lineage(
            id=lineage_id,
            epoch=1,
            generation=0,
            attempts=(NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT),
            issued_at=NOW,
            expires_at=NOW + client.mechanism.absolute_s,
            binding=binding,
            client=client.code,
            auth_time=NOW,
            assurance=PASSWORD,
            label="bench",
        )
        account_state = AccountState(account, Status.ACTIVE, 1, 1, {lineage_id: lineage})
        engine.hold(
            account_state, afterwards=replace(account_state, lineages={lineage_id: replace(lineage, generation=1)})
        )
        issued = baton.issue(
            lineage, account=account, client=client, key=key, ring=_ring, now=NOW, rights=rights_of(account_state)
        )
        token = issued.access_token
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client_id}
        attempt = {
            "idempotency-key": '"an attempt of 128 bits"'.replace(" ", "-"),
            "content-type": "application/x-www-form-urlencoded",
        }
        self._call = self._signed("GET", "/bench", {"authorization": f"Bearer {token}"})
        self._exchange = self._signed("POST", "/oauth/token", attempt, urlencode(form).encode())
        self._token_check = _jws_check(token) if FORMS[client_id] == "JWT" else _opaque_check()

    def cryptography(self) -> None:
        """Verify the token and the signature of the request, and nothing else."""
        self._token_check()
        self._check()

    def call(self) -> None:
        """Make a whole signed call."""
        answer = app(self._call, None)
        assert answer["statusCode"] == 200, answer

    def exchange(self) -> None:
        """Make a whole exchange."""
        answer = app(self._exchange, None)
        assert answer["statusCode"] == 200, answer

    def _signed(self, method: str, path: str, fields: dict[str, str], body: bytes = b"") -> dict[str, Any]:
        headers = {"host": "api.example.com", **fields, **({"content-digest": content_digest(body)} if body else {})}
        request = Request(method, f"https://api.example.com/api{path}", headers, body)
        proof = signature_fields(request, self._signer, created=NOW, nonce="a-nonce-of-128-bits-and-no-more")
        return event(method, path, headers | proof, body)


def logins() -> list[Login]:
    """Log in with every kind of key and token format."""
    return [Login(algorithm, client_id) for algorithm in ALGORITHMS for client_id in FORMS]


def fleet(phones: int) -> list[Login]:
    """Log in once on each of many phones, with a P-256 key and a JWT."""
    return [Login("P-256", "mobile", number) for number in range(1, phones + 1)]


def _key(algorithm: str, lineage_id: LineageId) -> tuple[PublicKey | None, Binding, Signer, Callable[[], object]]:
    match algorithm:
        case "P-256":
            private = ec.derive_private_key(int.from_bytes(_draw(32), "big"), ec.SECP256R1())
            numbers = private.public_key().public_numbers()
            key = PublicKey.from_raw(bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32, "big"))
            public, der = private.public_key(), _sign_p256(private, _MESSAGE)
            signer = Signer(key.keyid, lambda base: _raw(_sign_p256(private, base)))
            return key, KeyBinding(key.thumbprint), signer, _p256_check(public, der, _MESSAGE)
        case "Ed25519":
            edwards = ed25519.Ed25519PrivateKey.from_private_bytes(_draw(32))
            key = PublicKey.from_raw(edwards.public_key().public_bytes_raw())
            edwards_public, signature = edwards.public_key(), edwards.sign(_MESSAGE)
            signer = Signer(key.keyid, edwards.sign)
            return key, KeyBinding(key.thumbprint), signer, lambda: edwards_public.verify(signature, _MESSAGE)
        case _:
            secret = _ring.lineage_secret(lineage_id)
            assert secret is not None
            hmac_key = secret.reveal()
            signer = Signer(lineage_id, lambda base: hmac.digest(hmac_key, base, hashlib.sha256))
            return None, SecretBinding(), signer, lambda: hmac.digest(hmac_key, _MESSAGE, "sha256")


def _sign_p256(private: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    return private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def _raw(der: bytes) -> bytes:
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _p256_check(public: ec.EllipticCurvePublicKey, der: bytes, message: bytes) -> Callable[[], object]:
    return lambda: public.verify(der, message, ec.ECDSA(hashes.SHA256()))


def _jws_check(token: str) -> Callable[[], object]:
    private, signing_input = _ring.signing[0].private_key(), token.rpartition(".")[0].encode()
    return _p256_check(private.public_key(), _sign_p256(private, signing_input), signing_input)


def _opaque_check() -> Callable[[], object]:
    siv = AESSIV(hashlib.sha512(_ring.roots[0].secret.reveal()).digest())
    sealed = siv.encrypt(bytes(80), [b"bench"])
    return lambda: siv.decrypt(sealed, [b"bench"])
