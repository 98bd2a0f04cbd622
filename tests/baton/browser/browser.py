"""A browser: its cookies, and the header fields that a browser adds to each request."""

import json
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any, Final
from urllib.parse import urlencode

from baton_client import content_digest
from chalicelib.baton.testing.gateway import GatewayResponse
from chalicelib.baton.testing.world import World
from tests.baton.wire.conversation import PASSWORD

OWN: Final = "https://api.example.com"
PAGE: Final = "https://app.example.com"
EMAIL: Final = "ada@example.com"
SESSION, REMEMBER, LOGIN = "__Host-baton", "__Host-baton-remember", "__Host-baton-login"
BOUND: Final = "__Host-baton-bound"
SAME_ORIGIN: Final = {"sec-fetch-site": "same-origin", "origin": OWN}


@dataclass(frozen=True)
class Shown:
    """An answer as a browser has it. ``set_cookies`` are the lines of ``Set-Cookie``."""

    status: int
    headers: dict[str, str]
    set_cookies: list[str]
    body: bytes

    @property
    def members(self) -> dict[str, Any]:
        """Parse the body."""
        parsed = json.loads(self.body) if self.body else {}
        assert isinstance(parsed, dict)
        return parsed

    @property
    def code(self) -> str:
        """Return the error code. It is empty on success."""
        return str(self.members.get("code", "")) if self.status >= 400 else ""


def cleared(answer: Shown) -> bool:
    """Check whether the answer deletes every cookie."""
    deleted = {line.partition("=")[0] for line in answer.set_cookies if "Max-Age=0" in line}
    return deleted == {SESSION, REMEMBER, LOGIN, BOUND}


def shown(answer: GatewayResponse) -> Shown:
    """Read an answer of the gateway."""
    headers = {name.lower(): value for name, value in answer.headers}
    return Shown(answer.status, headers, [v for n, v in answer.headers if n.lower() == "set-cookie"], answer.body)


@dataclass(frozen=True)
class Form:
    """The fields of a form, in order."""

    fields: tuple[tuple[str, str], ...]


@dataclass
class Browser:
    """A browser with one page of the API's own origin, unless the header fields say otherwise."""

    world: World
    client_id: str = "web"
    cookies: dict[str, str] = field(default_factory=dict)

    def request(
        self,
        method: str,
        path: str,
        members: object = None,
        *,
        page: dict[str, str] | None = None,
        extra: list[tuple[str, str]] | None = None,
        keeps: bool = True,
    ) -> Shown:
        """Send a request with the cookies. ``page``: the header fields about the page; default: same origin.

        ``keeps``: store the cookies of the answer; otherwise its ``Set-Cookie`` is lost.
        """
        media_type = "application/json"
        if isinstance(members, Form):
            body, media_type = urlencode(members.fields).encode(), "application/x-www-form-urlencoded"
        else:
            body = b"" if members is None else json.dumps(members).encode()
        fields = [("host", "api.example.com"), *(SAME_ORIGIN if page is None else page).items(), *(extra or [])]
        if self.cookies:
            fields.append(("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        if body:
            fields.append(("content-type", media_type))
        answer = shown(self.world.gateway.call(method, f"/api{path}", fields, body))
        if keeps:
            self.keep(answer)
        return answer

    def keep(self, answer: Shown) -> None:
        """Store and delete cookies as ``Set-Cookie`` of the answer says."""
        for line in answer.set_cookies:
            for name, morsel in SimpleCookie(line).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value

    def entry(self, email: str = EMAIL, **members: object) -> dict[str, object]:
        """Make the body of a registration or login."""
        return {"email": email, "password": PASSWORD, "client_id": self.client_id, **members}

    def register(self, email: str = EMAIL, **members: object) -> Shown:
        """Create an account."""
        answer = self.request("POST", "/register", self.entry(email, **members))
        assert answer.status == 201, answer
        return answer

    def login(self, email: str = EMAIL, **members: object) -> Shown:
        """Log in."""
        answer = self.request("POST", "/login", self.entry(email, **members))
        assert answer.status == 200, answer
        return answer

    def step_up(self, method: str, path: str, members: object = None) -> str:
        """Prove the password for a request."""
        body = b"" if members is None else json.dumps(members).encode()
        operation = {"method": method, "path": f"/api{path}", "digest": content_digest(body)}
        answer = self.request("POST", "/step-up", {"operation": operation, "password": PASSWORD})
        assert answer.status == 200, answer
        return str(answer.members["grant"])

    def copy(self) -> "Browser":
        """Return a browser with a copy of the cookies."""
        return Browser(self.world, self.client_id, dict(self.cookies))
