"""The refresh request of each product: its bytes, the kept connections, and the content of the answer."""

import base64
import json
import secrets
import socket
import time
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.serialization import load_der_private_key

from baton_client import DeviceKey, Request, Signer, content_digest, signature_fields

FORM = "application/x-www-form-urlencoded"
PASSWORD = "copper lantern drifting sideways"  # noqa: S105 - not a real password
ANSWER_S = 30


@dataclass(frozen=True, slots=True)
class Said:
    """An answer."""

    status: int
    body: bytes

    def member(self, *names: str) -> str | None:
        """Return the first of these members that exists."""
        try:
            members = json.loads(self.body)
        except ValueError:
            return None
        found = members if isinstance(members, dict) else {}
        return next((str(found[name]) for name in names if found.get(name)), None)


class Connection:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        """Connect to loopback, without Nagle's delay."""
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        """Send bytes."""
        self._socket.sendall(request)

    def answer(self) -> Said:
        """Read one answer."""
        response = HTTPResponse(self._socket, method="POST")
        response.begin()
        return Said(response.status, response.read())

    def ask(self, request: bytes) -> Said:
        """Send a request and read its answer."""
        self.send(request)
        return self.answer()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


@dataclass(slots=True)
class Login:
    """One login: its token and, if the login is bound, its key."""

    token: str
    key: DeviceKey | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """The refresh route of a product, and the format of its requests."""

    port: int
    path: str
    client_id: str
    parameter: str = "refresh_token"
    floor: str = "/floor"
    knows_dpop: bool = False
    """Whether a key is proved by DPoP (RFC 9449). If not, the key signs the request (RFC 9421)."""

    @property
    def host(self) -> str:
        """Return the authority."""
        return f"127.0.0.1:{self.port}"

    def refresh(self, login: Login, *, attempt: str | None = None) -> bytes:
        """Build the request that sends the token of a login."""
        form = self._form(login.token)
        fields = {"host": self.host, "content-type": FORM}
        if login.key and self.knows_dpop:
            fields["dpop"] = dpop_proof(f"http://{self.host}{self.path}", login.key)
        elif login.key:
            fields |= {"content-digest": content_digest(form), "idempotency-key": attempt or secrets.token_urlsafe(16)}
            fields |= _signature(Request("POST", f"http://{self.host}{self.path}", fields, form), login.key)
        elif attempt:
            fields["idempotency-key"] = attempt
        return written(self.path, fields, form)

    def nothing(self, login: Login, *, answer_bytes: int) -> bytes:
        """Build a request that is like a refresh, but that the HTTP server itself answers.

        The body of the answer has ``answer_bytes`` bytes.
        """
        target = f"{self.floor}?bytes={answer_bytes}"
        return written(target, {"host": self.host, "content-type": FORM}, self._form(login.token))

    def _form(self, token: str) -> bytes:
        return urlencode({"grant_type": "refresh_token", self.parameter: token, "client_id": self.client_id}).encode()

    def child(self, said: Said) -> str | None:
        """Return the next refresh token in an answer, or ``None``."""
        return said.member("refresh_token", "refresh") if said.status == 200 else None


def dpop_proof(url: str, key: DeviceKey) -> str:
    """Make the DPoP proof for one POST (RFC 9449 section 4.2)."""
    private = load_der_private_key(base64.b64decode(key.data), None)
    claims = {"htm": "POST", "htu": url, "iat": int(time.time()), "jti": secrets.token_urlsafe(16)}
    return jwt.encode(claims, private, "ES256", headers={"typ": "dpop+jwt", "jwk": key.jwk()})  # type: ignore[arg-type]


def written(path: str, fields: dict[str, str], body: bytes) -> bytes:
    """Format a POST request as bytes."""
    head = "".join(f"{name}: {value}\r\n" for name, value in {**fields, "content-length": str(len(body))}.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def register(door: Door, connection: Connection, *, email: str, key: DeviceKey | None) -> Login:
    """Register an account with Baton, as an app does, and return its first login."""
    device: dict[str, Any] = {"name": "bench"} | ({"public_key": key.jwk()} if key else {})
    members = {"email": email, "password": PASSWORD, "client_id": door.client_id, "device": device}
    body = json.dumps(members).encode()
    fields = {"host": door.host, "content-type": "application/json", "idempotency-key": secrets.token_urlsafe(16)}
    if key:
        fields["content-digest"] = content_digest(body)
        fields |= _signature(Request("POST", f"http://{door.host}/api/register", fields, body), key)
    said = connection.ask(written("/api/register", fields, body))
    token = said.member("refresh_token")
    if token is None:
        raise AssertionError(said)
    return Login(token, key)


def _signature(request: Request, key: DeviceKey) -> dict[str, str]:
    signer = Signer(key.thumbprint(), key.sign)
    return signature_fields(request, signer, created=int(time.time()), nonce=secrets.token_urlsafe(16))
