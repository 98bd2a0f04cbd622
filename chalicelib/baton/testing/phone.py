"""Phones, which follow the client rules (docs/baton/wire.md), and thieves, who have a copy of a phone."""

import base64
import hmac
import json as json_codec
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import structs

from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.keys.public_key import ES256, PublicKey
from chalicelib.baton.proof.signature import content_digest, signature_base
from chalicelib.baton.proof.signature_input import TAG, Signature, component, write_input
from chalicelib.baton.routing import Message
from chalicelib.baton.testing.clock import Clock
from chalicelib.baton.testing.gateway import GatewayResponse
from chalicelib.baton.tokens.call import SAFE_METHODS

PHONE_PASSWORD: Final = "copper lantern drifting sideways"  # noqa: S105 - of people in tests
SENDINGS_MAX: Final = 5
"""The maximum number of times that a phone sends a request."""
EARLY_S: Final = 10
"""A phone exchanges a token before a call if the token expires within this time, in seconds."""
_SIGNED: Final = ("content-digest", "authorization", "idempotency-key", "baton-grant")

Send = Callable[[str, str, list[tuple[str, str]], bytes], GatewayResponse]
"""Send method, target, header fields and body to the server."""


class AnswerLost(Exception):
    """No answer arrived. The call may have taken effect: a client must check the outcome before it repeats the call."""


@dataclass(frozen=True, slots=True, repr=False)
class Reply:
    """The answer that a phone received. Names of header fields are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        """Show status, code and detail of a refusal, but only the status of a success: its body may have a token."""
        if not self.code:
            return f"<Reply {self.status}>"
        return f"<Reply {self.status} {self.code}: {self.json.get('detail') or self.json.get('error_description')}>"

    @property
    def json(self) -> Any:  # noqa: ANN401 - any JSON
        """The parsed body, or ``None`` if the answer has no body."""
        return json_codec.loads(self.body) if self.body else None

    @property
    def code(self) -> str:
        """The code of a refusal, such as ``step_up_required``. It is empty after a success."""
        members = self.json if self.status >= 400 else None
        return str(members.get("code", "")) if isinstance(members, dict) else ""

    @property
    def replayed(self) -> bool:
        """Whether the reply is the stored answer of an exactly-once call."""
        return self.headers.get("baton-replayed") == "1"


_NOT_YET: Final = AccountId("")


@dataclass(frozen=True, slots=True)
class Session:
    """The durable storage of a phone. ``key`` is the private key or HMAC secret that signs its requests, if any."""

    email: str
    client_id: str
    account: AccountId = _NOT_YET
    tokens: Mapping[str, Any] = field(default_factory=dict, repr=False)
    key: EllipticCurvePrivateKey | bytes | None = field(default=None, repr=False)
    expires_at: int = 0
    attempt: str = field(default="", repr=False)
    """The attempt of the next exchange. The phone stores this attempt together with the tokens."""


class Phone:
    """A phone that is logged in. ``World.phone`` makes it.

    Before a call, the phone exchanges a token that has expired or expires within ``EARLY_S``. The phone repeats an
    exchange after a lost answer or a 503. ``request`` describes when the phone repeats a call.
    """

    def __init__(self, send: Send, clock: Clock, *, authority: str, prefix: str, session: Session) -> None:
        """Use a session: an empty session that ``log_in`` will fill, or a copy of another phone's session."""
        self._send, self._clock = send, clock
        self._authority, self._prefix = authority, prefix
        self._session = session
        self._lost_requests = self._lost_answers = 0
        self.is_thief = False
        self.logged_out: str | None = None
        """The end reason of the login, or the code of a refusal without a reason. ``None``: no reply showed an end."""

    @property
    def session(self) -> Session:
        """The stored session of the phone."""
        return self._session

    @property
    def email(self) -> str:
        """The address of the account."""
        return self._session.email

    @property
    def account(self) -> AccountId:
        """The id of the account."""
        return self._session.account

    @property
    def key(self) -> EllipticCurvePrivateKey | bytes | None:
        """The private key or HMAC secret that signs the requests. ``None``: the requests have no signature."""
        return self._session.key

    @property
    def device_id(self) -> str:
        """The id of the login."""
        return str(self._session.tokens["device_id"])

    def get(self, path: str, **named: Any) -> Reply:  # noqa: ANN401 - those of ``request``
        """Send a GET request, with the named arguments of ``request``."""
        return self.request("GET", path, **named)

    def post(self, path: str, **named: Any) -> Reply:  # noqa: ANN401 - the same
        """Send a POST request, with the named arguments of ``request``."""
        return self.request("POST", path, **named)

    def put(self, path: str, **named: Any) -> Reply:  # noqa: ANN401 - the same
        """Send a PUT request, with the named arguments of ``request``."""
        return self.request("PUT", path, **named)

    def patch(self, path: str, **named: Any) -> Reply:  # noqa: ANN401 - the same
        """Send a PATCH request, with the named arguments of ``request``."""
        return self.request("PATCH", path, **named)

    def delete(self, path: str, **named: Any) -> Reply:  # noqa: ANN401 - the same
        """Send a DELETE request, with the named arguments of ``request``."""
        return self.request("DELETE", path, **named)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        password: str | None = None,
    ) -> Reply:
        """Send a signed call and return the reply. If the login has ended, the reply is the refusal of the server.

        The phone does not repeat a call after a 503: the reply with status 503 is returned.

        Args:
            method: the method.
            path: the path below the stage, percent-encoded, such as ``/orders/7``.
            json: the body.
            query: the query parameters.
            headers: further header fields.
            idempotency_key: the key of an exactly-once call: 16 to 128 visible ASCII characters.
            password: if the server requires a step-up, send this password, and then the call again. If the server
                refuses the step-up, the reply is this refusal.

        Raises:
            AnswerLost: no answer arrived. The phone sends a safe request, or a request with ``idempotency_key``, up to
                five times. It sends any other request once.

        """
        refused = self._exchange_if_expired()
        if refused is not None:
            return refused
        body = b"" if json is None else json_codec.dumps(json).encode()
        fields = {name.lower(): value for name, value in (headers or {}).items()}
        fields |= {"idempotency-key": f'"{idempotency_key}"'} if idempotency_key else {}
        fields |= {"content-type": "application/json"} if body else {}
        repeat = method in SAFE_METHODS or idempotency_key is not None
        reply = self._ask(method, path, body, fields, query=query, repeat=repeat)
        if password is not None and reply.code == "step_up_required":
            operation = {"method": method, "path": self._prefix + path, "digest": content_digest(body)}
            granted = self._step_up(operation, password)
            if granted.status != 200:
                return granted
            fields |= {"baton-grant": granted.json["grant"]}
            reply = self._ask(method, path, body, fields, query=query, repeat=repeat)
        return self._noted(reply)

    def lose_next_request(self, times: int = 1) -> None:
        """Lose the next ``times`` requests: the server does not receive them."""
        self._lost_requests = times

    def lose_next_answer(self, times: int = 1) -> None:
        """Lose the next ``times`` answers: the server handles each request, but the phone receives no answer."""
        self._lost_answers = times

    def restart(self) -> None:
        """End the app and start it again. The phone keeps its session. The next requests and answers are not lost."""
        self._lost_requests = self._lost_answers = 0

    def log_in(self, route: Literal["/register", "/login"], password: str, device: Mapping[str, object]) -> Reply:
        """Register or log in, and return the reply. After a success, store the tokens and the account id."""
        entry = {"email": self.email, "password": password, "client_id": self._session.client_id, "device": device}
        fields = {"content-type": "application/json", "idempotency-key": secrets.token_urlsafe(16)}
        reply = self._ask("POST", route, json_codec.dumps(entry).encode(), fields, token=False)
        if reply.status in {200, 201}:
            self._store(reply)
            self._session = replace(self._session, account=AccountId(self.get("/me").json["account_id"]))
        return reply

    def _step_up(self, operation: Mapping[str, str], password: str) -> Reply:
        body = json_codec.dumps({"operation": operation, "password": password}).encode()
        fields = {"content-type": "application/json", "idempotency-key": secrets.token_urlsafe(16)}
        return self._ask("POST", "/step-up", body, fields)

    def _exchange_if_expired(self) -> Reply | None:
        session = self._session
        if "refresh_token" not in session.tokens or self._clock.now < session.expires_at - EARLY_S:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": session.tokens["refresh_token"]}
        fields = {"content-type": "application/x-www-form-urlencoded", "idempotency-key": session.attempt}
        body = urlencode({**form, "client_id": session.client_id}).encode()
        for _ in range(SENDINGS_MAX):
            reply = self._ask("POST", "/oauth/token", body, fields, token=False)
            if reply.status != 503:
                break
        if reply.status == 200:
            self._store(reply)
            return None
        if reply.code == "superseded" and not self.is_thief:
            # A later token of this login was exchanged, but not by this phone. So a thief has a copy of the phone.
            self._ask("POST", "/oauth/revoke", urlencode({"token": form["refresh_token"]}).encode(), _FORM, token=False)
            self.logged_out = "reuse"
        return self._noted(reply)

    def _store(self, reply: Reply) -> None:
        """Store new tokens, and the attempt of the next exchange, before the phone uses the tokens."""
        tokens = {**self._session.tokens, **reply.json}
        key: EllipticCurvePrivateKey | bytes | None = self._session.key
        if "secret" in reply.json:
            key = decode_base64url(reply.json["secret"])
        expires_at = reply.json["server_time"] + reply.json["expires_in"]
        attempt = secrets.token_urlsafe(16)
        self._session = replace(self._session, tokens=tokens, key=key, expires_at=expires_at, attempt=attempt)

    def _noted(self, reply: Reply) -> Reply:
        ends = {"invalid_token", "invalid_grant"}
        members = reply.json if reply.status >= 400 else None
        if isinstance(members, dict) and members.get("action") == "log_in" and members.get("error") in ends:
            self.logged_out = str(members.get("reason") or reply.code)
        return reply

    def _ask(
        self,
        method: str,
        path: str,
        body: bytes,
        fields: Mapping[str, str],
        *,
        query: Mapping[str, str] | None = None,
        token: bool = True,
        repeat: bool = True,
    ) -> Reply:
        """Send a request until an answer arrives, at most ``SENDINGS_MAX`` times. Without ``repeat``, send it once.

        Each sending has a new signature.
        """
        pairs = tuple((query or {}).items())
        target = self._prefix + path + "?" * bool(pairs) + "&".join(f"{_quoted(n)}={_quoted(v)}" for n, v in pairs)
        for _ in range(SENDINGS_MAX if repeat else 1):
            named = {"host": self._authority, **fields}
            if body:
                named["content-digest"] = content_digest(body)
            if token:
                named["authorization"] = f"Bearer {self._session.tokens['access_token']}"
            signed = named | self._signature(
                Message(method, self._authority, self._prefix + path, pairs, {}, body), named
            )
            if self._lost_requests:
                self._lost_requests -= 1
                continue
            answer = self._send(method, target, list(signed.items()), body)
            if self._lost_answers:
                self._lost_answers -= 1
                continue
            return Reply(answer.status, {name.lower(): value for name, value in answer.headers}, answer.body)
        raise AnswerLost(f"{method} {path}: no answer arrived. Call restart() and check what the server has done.")

    def _signature(self, bare: Message, fields: Mapping[str, str]) -> dict[str, str]:
        """Return the two signature fields of a request (RFC 9421). Without a key, the result is empty."""
        key = self._session.key
        if key is None:
            return {}
        components = [component(name) for name in ("@method", "@authority", "@path")]
        components += [component("@query-param", _quoted(name)) for name, _ in bare.query]
        components += [component(name) for name in _SIGNED if name in fields]
        parameters: dict[str, str | int] = {
            "created": self._clock.now,
            "keyid": self._session.tokens["key_id"] if isinstance(key, bytes) else public_key(key).keyid,
            "nonce": secrets.token_urlsafe(16),
            "tag": TAG,
        }
        written = write_input(components, parameters)
        message = structs.replace(bare, fields={name: (value,) for name, value in fields.items()})
        base = signature_base(message, Signature(tuple(components), parameters, written, b""))
        value = base64.b64encode(_sign(key, base)).decode()
        return {"signature-input": f"{TAG}={written}", "signature": f"{TAG}=:{value}:"}


_FORM: Final = {"content-type": "application/x-www-form-urlencoded"}


def _quoted(text: str) -> str:
    """Encode a name or value of the query as RFC 9421 section 2.2.8 signs it."""
    return quote(text, safe="*").replace("~", "%7E")


def new_key() -> EllipticCurvePrivateKey:
    """Make a P-256 key."""
    return generate_private_key(SECP256R1())


def public_key(key: EllipticCurvePrivateKey) -> PublicKey:
    """Return the public key of a private key."""
    numbers = key.public_key().public_numbers()
    return PublicKey.from_raw(bytes([2 + numbers.y % 2]) + numbers.x.to_bytes(32, "big"))


def _sign(key: EllipticCurvePrivateKey | bytes, base: bytes) -> bytes:
    if isinstance(key, bytes):
        return hmac.digest(key, base, "sha256")
    r, s = decode_dss_signature(key.sign(base, ES256))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")
