"""A person with an authenticator app: the app computes its codes by itself, from RFC 4226 and 6238 alone."""

import base64
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from baton_client import content_digest
from tests.baton.wire.conversation import JSON, PASSWORD, PREFIX, Device, Said

EMAIL = "ada@example.com"


def totp(secret: str, step: int) -> str:
    """Compute a code: HMAC-SHA-1 of the step, truncated (RFC 4226 5.3), six digits."""
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), "sha1")
    place = mac[-1] & 15
    return f"{(int.from_bytes(mac[place : place + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def wrong(code: str) -> str:
    """Return another code, which is right at no step that counts."""
    return f"{(int(code) + 500_000) % 10**6:06}"


@dataclass
class Person:
    """A person with one account, an authenticator app, and recovery codes on paper."""

    clock: Callable[[], int]
    secret: str = ""
    codes: list[str] = field(default_factory=list)
    used_step: int = 0

    def code(self, ahead: int = 0) -> str:
        """Read the app: the code of now, or of another step."""
        return totp(self.secret, self.clock() // 30 + ahead)

    def fresh_code(self) -> str:
        """Read a code that was not used: of this step, or of the next one. Wait for it where there is none."""
        self.used_step = max(self.used_step + 1, self.clock() // 30)
        assert self.used_step <= self.clock() // 30 + 1, "let the clock go on"
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
    """Step up with these factors, those that are ``None`` left out."""
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
    """Step up for exactly this request, and send it with its grant. A step-up that is refused is the answer."""
    said = grant_of(phone, method, path, body, password=password, totp=totp)
    if said.status != 200:
        return said
    grant = {"baton-grant": str(said.members["grant"])}
    return phone.request(method, path, body, (JSON if body else {}) | grant | dict(headers or {}))


def ask(phone: Device, email: str = EMAIL, *, attempt: str | None = None, path: str = "/login") -> Said:
    """Log in, and keep nothing: the answer is 403 where a factor is asked for."""
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
    """Draw an attempt."""
    return secrets.token_urlsafe(16)
