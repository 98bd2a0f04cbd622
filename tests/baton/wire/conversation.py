"""Requests through the gateway: raw requests, and requests that the reference client's code signs."""

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from baton_client import DeviceKey, Request, Signer, content_digest, signature_fields
from tools.dev.gateway import Gateway

HOST = "api.example.com"
PREFIX = "/api"
PASSWORD = "copper lantern drifting sideways"
NEW_PASSWORD = "granite umbrella conversation"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """Parse the body. A page has no members. A list is the member ``listed``."""
        is_page = self.headers.get("content-type", "").startswith("text/html")
        parsed = json.loads(self.body) if self.body and not is_page else {}
        return parsed if isinstance(parsed, dict) else {"listed": parsed}

    @property
    def cookies(self) -> str:
        """Return the cookies that the answer sets, as the field ``Cookie`` of the next request."""
        lines = self.headers.get("set-cookie", "").split("\n")
        return "; ".join(line.partition(";")[0] for line in lines if line and "Max-Age=0" not in line)

    @property
    def code(self) -> str:
        """Return the error code. It is empty on success."""
        return str(self.members.get("code", "")) if self.status >= 400 else ""


Send = Callable[[str, str, list[tuple[str, str]], bytes], Said]
"""Send method, target, headers and body through the gateway."""


def through(gateway: Gateway) -> Send:
    """Send requests to this gateway, in the same process."""

    def carry(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
        answer = gateway.call(method, target, headers, body)
        received = {name.lower(): value for name, value in answer.headers}
        cookies = [value for name, value in answer.headers if name.lower() == "set-cookie"]
        return Said(answer.status, received | ({"set-cookie": "\n".join(cookies)} if cookies else {}), answer.body)

    return carry


@dataclass
class Device:
    """A device with a key, and the tokens of its login."""

    send: Send
    clock: Callable[[], int]
    client_id: str = "mobile"
    bound: bool = True
    key: DeviceKey = field(default_factory=lambda: DeviceKey.generate("p256"))
    tokens: dict[str, Any] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The token for calls."""
        return str(self.tokens["access_token"])

    def entry(self, email: str, password: str = PASSWORD, **device: object) -> dict[str, Any]:
        """Make the body of a registration or login."""
        introduced = {"public_key": self.key.jwk()} if self.bound else {}
        return {
            "email": email,
            "password": password,
            "client_id": self.client_id,
            "device": {"name": "phone", **introduced, **device},
        }

    def register(self, email: str, **members: Any) -> Said:
        """Register and store the tokens."""
        return self._kept(self.post("/register", self.entry(email) | members, token=None))

    def login(self, email: str, **members: Any) -> Said:
        """Log in and store the tokens."""
        return self._kept(self.post("/login", self.entry(email) | members, token=None))

    def exchange(self, token: str | None = None, *, attempt: str | None = None, **fields: str) -> Said:
        """Exchange a token, by default the device's own token, and store the next token."""
        form = {"grant_type": "refresh_token", "refresh_token": token or str(self.tokens["refresh_token"]), **fields}
        headers = {"idempotency-key": attempt or secrets.token_urlsafe(16)}
        return self._kept(self.request("POST", "/oauth/token", urlencode(form).encode(), FORM | headers, token=None))

    def step_up(self, method: str, path: str, body: bytes = b"", password: str = PASSWORD) -> str:
        """Get a step-up grant for an operation."""
        operation = {"method": method, "path": PREFIX + path, "digest": content_digest(body)}
        said = self.post("/step-up", {"operation": operation, "password": password})
        assert said.status == 200, said
        return str(said.members["grant"])

    def confirmed(self, method: str, path: str, members: object = None) -> Said:
        """Get a grant for exactly this request, and send the request with it.

        If the step-up is refused, return that answer.
        """
        body = b"" if members is None else json.dumps(members).encode()
        operation = {"method": method, "path": PREFIX + path, "digest": content_digest(body)}
        said = self.post("/step-up", {"operation": operation, "password": PASSWORD})
        if said.status != 200:
            return said
        return self.request(method, path, body, (JSON if body else {}) | {"baton-grant": said.members["grant"]})

    def get(self, path: str, **named: Any) -> Said:
        """Send a signed GET."""
        return self.request("GET", path, **named)

    def post(self, path: str, members: object, headers: Mapping[str, str] | None = None, **named: Any) -> Said:
        """Send a signed POST of JSON."""
        body = json.dumps(members).encode()
        return self.request("POST", path, body, JSON | dict(headers or {}), **named)

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = "",
        created: int | None = None,
        nonce: str | None = None,
        tamper: Callable[[dict[str, str]], None] | None = None,
        sent_body: bytes | None = None,
        sent_path: str | None = None,
    ) -> Said:
        """Send a request, signed if this device is bound. ``tamper`` and ``sent_…`` change it after signing."""
        fields = {"host": HOST, **dict(headers or {})}
        if body and self.bound:
            fields["content-digest"] = content_digest(body)
        if token is not None:
            fields["authorization"] = f"Bearer {token or self.token}"
        if self.bound:
            request = Request(method, f"https://{HOST}{PREFIX}{path}", fields, body)
            signer = Signer(self.key.thumbprint(), self.key.sign)
            fields |= signature_fields(
                request, signer, created=created or self.clock(), nonce=nonce or secrets.token_urlsafe(16)
            )
        if tamper:
            tamper(fields)
        target = PREFIX + (sent_path or path)
        return self.send(method, target, list(fields.items()), body if sent_body is None else sent_body)

    def _kept(self, said: Said) -> Said:
        if said.status in {200, 201}:
            self.tokens = said.members
        return said
