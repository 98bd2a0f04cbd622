"""Cacheable answers contain no time, and pages can read the headers of cached answers."""

from collections.abc import Callable

import pytest

from tests.baton.wire.conversation import HOST, Device, Send

CACHEABLE = [
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
    "/openapi.json",
]
PAGE = "https://app.example.com"


@pytest.mark.parametrize("path", CACHEABLE)
def test_a_cacheable_answer_has_no_baton_time(send: Send, path: str) -> None:
    """A cached answer with ``Baton-Time`` could set a phone's clock back by five minutes."""
    said = send("GET", f"/api{path}", [("host", HOST)], b"")
    assert said.status == 200
    assert said.headers["cache-control"] == "public, max-age=300"
    assert "baton-time" not in said.headers
    assert said.headers["baton-request-id"], "an answer without a request id is not Baton's"


@pytest.mark.parametrize("path", CACHEABLE)
def test_a_refusal_on_a_cacheable_route_is_not_cached(send: Send, path: str) -> None:
    """The refusal is only about one request."""
    said = send("GET", f"/api{path}?x=1", [("host", HOST)], b"")
    assert said.status == 400
    assert said.headers["cache-control"] == "no-store"
    assert int(said.headers["baton-time"]) == said.members["server_time"]


def test_every_other_answer_has_baton_time_and_is_not_cached(make_device: Callable[..., Device], send: Send) -> None:
    """A phone sets its clock by this time."""
    phone = make_device()
    phone.register("ada@example.com")
    for said in (phone.get("/me"), phone.exchange(), send("GET", "/api/time", [("host", HOST)], b"")):
        assert said.headers["cache-control"] == "no-store"
        assert int(said.headers["baton-time"])


def test_a_page_can_read_the_age_of_an_answer(send: Send) -> None:
    """Client rule 9: an answer with ``Age`` does not set the clock."""
    said = send("GET", "/api/.well-known/jwks.json", [("host", HOST), ("origin", PAGE)], b"")
    exposed = {name.strip() for name in said.headers["access-control-expose-headers"].split(",")}
    assert exposed == {"Age", "Baton-Replayed", "Baton-Request-Id", "Baton-Time", "Retry-After"}
    assert said.headers["vary"] == "Origin", "a cache keeps one answer for each origin"


def test_a_preflight_is_cached_for_two_hours(send: Send) -> None:
    """Chromium caches a preflight for two hours at most."""
    said = send("OPTIONS", "/api/me", [("host", HOST), ("origin", PAGE)], b"")
    assert (said.status, said.headers["access-control-max-age"]) == (204, "7200")
