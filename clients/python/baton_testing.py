"""Faults for the tests of your app. A test plans a fault, such as a lost answer, and `make dev` causes the fault.

    dev = Development()
    with dev.fault("answer_lost", route="POST /oauth/token"):
        client.exchange()  # a BatonClient of your app

This file needs only the standard library, and a running `make dev` on this machine. docs/baton/development.md lists the
faults. Use this file for the tests of an app. The tests of a backend use `chalicelib.baton.testing` instead.
"""

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Development", "DevelopmentError", "Fault", "FaultNotMetError"]


class DevelopmentError(Exception):
    """The development server refused a request. `code` is the error code.

    If the request has an unknown name, such as the name of a fault, `known` lists the names that the server accepts.
    """

    def __init__(self, status: int, members: dict[str, Any]) -> None:
        """Keep the parts of the answer."""
        super().__init__(f"{status} {members.get('code', '')}: {members.get('detail', '')} {members.get('known', '')}")
        self.status = status
        self.code = str(members.get("code", ""))
        self.known = list(members.get("known", ()))


class FaultNotMetError(AssertionError):
    """No request matched the planned fault, so the test has tested nothing."""


@dataclass(frozen=True)
class Fault:
    """A planned fault: its id, and its name, such as `answer_lost`."""

    id: str
    name: str


class Development:
    """The development server that `make dev` runs, for a test that plans faults and reads mails and requests."""

    def __init__(self, url: str = "http://localhost:8000") -> None:
        """Use the server at `url`, without `/api`."""
        self._url = url.rstrip("/")

    @contextlib.contextmanager
    def fault(  # noqa: PLR0913 - each is a member of the request
        self,
        name: str,
        *,
        route: str = "",
        phone: str = "",
        account: str = "",
        times: int = 1,
        ms: int | None = None,
        seconds: int | None = None,
    ) -> Iterator[Fault]:
        """Plan a fault for the requests of this block. At the end of the block the fault is removed.

        Args:
            name: such as `answer_lost`.
            route: only requests to this route, such as `POST /oauth/token`.
            phone: only requests with this value in the header `Baton-Phone`.
            account: only requests of this account, by its id or its e-mail address.
            times: the number of requests that get the fault.
            ms: the delay of `slow` and `database_slow`, in milliseconds.
            seconds: the difference of the clock for `clock_skew`.

        Raises:
            DevelopmentError: the server has no such fault or route, or a member is wrong.
            FaultNotMetError: no request matched the fault.

        """
        match = {"route": route, "phone": phone, "account": account}
        numbers = {"ms": ms, "seconds": seconds}
        members: dict[str, Any] = {
            "name": name,
            "times": times,
            "match": {member: value for member, value in match.items() if value},
            **{member: value for member, value in numbers.items() if value is not None},
        }
        planned = Fault(str(self._send("POST", "/faults", members)["id"]), name)
        unmet = False
        try:
            yield planned
            left = {one["id"]: one["left"] for one in self.faults()}
            unmet = left.get(planned.id) == times
        finally:
            with contextlib.suppress(DevelopmentError):  # already removed: the fault happened as often as planned
                self._send("DELETE", f"/faults/{planned.id}")
        if unmet:
            raise FaultNotMetError(f"no request met the fault {name}: {match}")

    def faults(self) -> list[dict[str, Any]]:
        """Return the planned faults, each with the number of remaining times."""
        return list(self._send("GET", "/faults")["faults"])

    def skip(self, seconds: float) -> int:
        """Move the clock of the server forward by `seconds`. Return the new server time, in seconds."""
        return int(self._send("POST", "/clock", {"skip": seconds})["server_time"])

    def mails(self) -> list[dict[str, str]]:
        """Return the mails that Baton has sent to the development mailbox, the newest first."""
        return list(self._send("GET", "/mails")["mails"])

    def requests(self, text: str = "") -> list[dict[str, Any]]:
        """Return the requests with this text in their id, account, login, phone, path or code, the newest first."""
        return list(self._send("GET", f"/requests?{urllib.parse.urlencode({'q': text})}")["requests"])

    def id_token(self, provider: str, sub: str, nonce: str, **claims: object) -> str:
        """Sign in a person at an identity provider of the server, and return the id_token.

        `claims` are other claims, such as `email` and `email_verified`. A claim that is `None` is left out. To set the
        claim `aud`, give `audience`. Default: the first audience of the provider.
        """
        return self._signed(provider, {"sub": sub, "nonce": nonce, **claims})["id_token"]

    def person(self, provider: str, sub: str, **claims: object) -> Callable[[str], dict[str, str]]:
        """Return a function for the parameter `sign_in` of the client. It signs in the person `sub` at `provider`.

        The function gets the nonce. It shows no sheet, and returns `id_token` and `authorization_code`.
        """
        return lambda nonce: self._signed(provider, {"sub": sub, "nonce": nonce, **claims})

    def _signed(self, provider: str, members: dict[str, Any]) -> dict[str, str]:
        return dict(self._send("POST", f"/providers/{urllib.parse.quote(provider, safe='')}/token", members))

    def providers(self) -> list[dict[str, Any]]:
        """Return the identity providers of the server."""
        return list(self._send("GET", "/providers")["providers"])

    def rotate(self, provider: str) -> None:
        """Let a provider sign with a new key, and publish only this key."""
        self._send("POST", f"/providers/{urllib.parse.quote(provider, safe='')}/rotate", {})

    @contextlib.contextmanager
    def outage(self, provider: str) -> Iterator[None]:
        """Plan an outage of a provider in this block: its keys cannot be fetched."""
        path = f"/providers/{urllib.parse.quote(provider, safe='')}/outage"
        self._send("POST", path, {"on": True})
        try:
            yield
        finally:
            self._send("POST", path, {"on": False})

    def reset(self) -> None:
        """Delete all accounts, mails and faults, and set the clock to the true time."""
        self._send("POST", "/reset", {})

    def _send(self, method: str, path: str, members: dict[str, Any] | None = None) -> dict[str, Any]:
        body = None if members is None else json.dumps(members).encode()
        request = urllib.request.Request(  # noqa: S310 - the URL is the developer's
            f"{self._url}/_dev{path}", data=body, headers={"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 # nosec B310 - as above
                said = answer.read()
        except urllib.error.HTTPError as refused:
            raise DevelopmentError(refused.code, _object(refused.read())) from None
        return _object(said)


def _object(text: bytes) -> dict[str, Any]:
    try:
        members = json.loads(text or b"{}")
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}
