"""The answers that the client libraries need: ends with their reason, headers for pages, addresses."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from baton_client import Answer, BatonClient, HttpTransport, MemoryStorage, Request
from chalicelib.baton.testing import gateway as gateways
from tests.baton.repository import ROOT, ours_only
from tests.baton.wire.conftest import PASSWORD, Line
from tools.dev.gateway import Gateway
from tools.dev.serve import Development, development

Make = Callable[..., tuple[BatonClient, Line]]
EMAIL = "ada@example.com"
PAGE = "https://app.example.com"


@pytest.mark.parametrize(("generations", "reason"), [(0, "logout"), (1, "logout"), (2, "reuse"), (5, "reuse")])
def test_a_logout_with_an_old_token_tells_of_a_copy(make_client: Make, generations: int, reason: str) -> None:
    """A token that is two or more generations old shows a copy of the device. The event has the token's generation."""
    phone, _ = make_client()
    tablet, _ = make_client()
    phone.register(EMAIL, PASSWORD, "phone")
    tablet.login(EMAIL, PASSWORD, "tablet")
    copy, _ = make_client(storage=MemoryStorage(phone._storage.read()))
    for _ in range(generations):
        copy.exchange()
    assert phone.logout()
    ended = {device["name"]: device["ended_reason"] for device in tablet.devices()}
    assert ended == {"phone": reason, "tablet": None}
    reused = [one["evidence"]["second"] for one in tablet.activity()["events"] if one["event"] == "token_reused"]
    assert [(one["generation"], one["key"]) for one in reused] == ([(0, "own")] if reason == "reuse" else [])


def test_a_logout_that_another_device_signs_ends_nothing(make_client: Make) -> None:
    """The token is not enough: the revocation must be signed with the key of the token's own login."""
    phone, _ = make_client()
    thief, _ = make_client()
    phone.register(EMAIL, PASSWORD, "phone")
    thief.register("eve@example.com", PASSWORD, "thief")
    stolen, key = phone.session, thief._storage.read().key
    assert stolen is not None
    assert key is not None
    thief._storage.update(lambda now: replace(now, session=replace(stolen, key_id=key.thumbprint())))
    thief.logout()
    assert phone.me()["email"] == EMAIL


def test_a_page_reads_what_a_client_needs(gateway: Gateway, make_client: Make) -> None:
    """CORS shows Baton's header fields to the page. Without them, a client in a browser treats each answer as foreign.

    Without ``Age``, it would also use the time of a cached answer as the present time.
    """
    phone, _ = make_client()
    seen: list[Request] = []

    class Watching(Line):
        """Adds the origin of a page."""

        def __call__(self, request: Request, timeout_s: float, /) -> Answer:
            asked = replace(request, headers={**request.headers, "origin": PAGE})
            seen.append(asked)
            return super().__call__(asked, timeout_s)

    phone._transport = Watching(gateway)
    phone.register(EMAIL, PASSWORD, "phone")
    answer = phone.call("GET", "/me")
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"Age", "Baton-Request-Id", "Baton-Time", "Baton-Replayed", "Retry-After"}
    sent = {name for request in seen for name in request.headers} - {"host", "origin", "accept"}
    asked = [("origin", PAGE), ("access-control-request-method", "POST")]
    preflight = gateway.call("OPTIONS", "/api/register", [*asked, ("access-control-request-headers", ",".join(sent))])
    allowed = {name.strip().lower() for name in (preflight.header("access-control-allow-headers") or "").split(",")}
    assert preflight.status == 204
    assert sent <= allowed


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Development]:
    """Run `make dev`."""
    before = dict(os.environ)
    monkeypatch.setattr(gateways, "APP", ROOT / "app.py")
    monkeypatch.delenv("BATON_ORIGINS")
    with development(0) as running:
        yield running
    os.environ.clear()
    os.environ.update(before)


@ours_only
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_make_dev_takes_both_of_its_addresses(served: Development, host: str) -> None:
    """An app signs for the host of its base URL. Pages on port 3000 may read the answers, and no other page may."""
    url = served.url.replace("localhost", host)
    with closing(HttpTransport()) as transport:
        client = BatonClient(url, "mobile", MemoryStorage(), transport=transport)
        client.register(f"{host}@example.com", PASSWORD, "phone")
        assert client.me()["email"] == f"{host}@example.com"
        for origin, read in (("http://localhost:3000", True), ("http://localhost:3001", False)):
            answer = transport(Request("GET", f"{url}/time", {"host": url.split("/")[2], "origin": origin}), 5)
            assert (answer.headers.get("access-control-allow-origin") == origin) is read
        assert client.logout()
