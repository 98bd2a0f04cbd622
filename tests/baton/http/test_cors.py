"""CORS: the pages that can read answers. The origins are exact; on a developer's machine any port is allowed."""

import json

import pytest

from chalicelib.baton.http.answer import readable_by
from tests.baton.wire.conversation import HOST, Send
from tools.dev.gateway import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX, Gateway

PAGE, UNLISTED = "https://app.example.com", "https://app.example.com.evil.example"


@pytest.mark.parametrize(
    ("origin", "read"),
    [
        ("https://app.example.com", True),
        ("http://localhost:3000", True),
        ("http://localhost:1", True),
        ("capacitor://localhost", True),
        ("https://APP.example.com", False),
        ("https://app.example.com:8443", False),
        ("http://localhost", False),
        ("http://localhost:", False),
        ("http://localhost:x", False),
        ("http://localhost:3000.evil.example", False),
        ("http://localhost:3000/", False),
        ("http://localhost:*", False),
        ("https://localhost:3000", False),
        ("capacitor://evil", False),
        ("null", False),
        ("", False),
    ],
)
def test_a_wildcard_in_an_origin_matches_only_a_port(*, origin: str, read: bool) -> None:
    """Everything else of an origin is compared exactly."""
    origins = ("https://app.example.com", "http://localhost:*", "capacitor://localhost")
    headers = readable_by(origin, origins)
    assert headers["Vary"] == "Origin"
    assert (headers.get("Access-Control-Allow-Origin") == origin) is read
    assert ("Access-Control-Expose-Headers" in headers) is read
    assert readable_by(origin, ()) == {}


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "status"),
    [
        ("GET", "/api/nothing", [], b"", 404),
        ("PUT", "/api/me", [], b"", 404),
        ("POST", "/api/login", [], b"x" * (PAYLOAD_BYTES_MAX + 1), 413),
        ("GET", "/api/time", [("x-a", "x" * HEADER_BYTES_MAX)], b"", 431),
    ],
)
def test_a_page_can_read_the_answers_that_the_gateway_makes(
    gateway: Gateway, method: str, target: str, headers: list[tuple[str, str]], body: bytes, status: int
) -> None:
    """Without these headers a browser hides ``code`` and ``Retry-After`` from the page."""
    answer = gateway.call(method, target, [("origin", PAGE), *headers], body)
    assert answer.status == status
    assert json.loads(answer.body)["code"]
    assert answer.header("access-control-allow-origin") == PAGE
    assert "Retry-After" in (answer.header("access-control-expose-headers") or "")
    assert answer.header("vary") == "Origin"
    unlisted = gateway.call(method, target, [("origin", UNLISTED), *headers], body)
    assert unlisted.status == status
    assert unlisted.header("access-control-allow-origin") is None


def test_a_page_with_an_unlisted_origin_can_read_no_answer(send: Send) -> None:
    """An origin that is only similar to a listed origin is unlisted."""
    for origin in (UNLISTED, "null", "http://app.example.com"):
        said = send("GET", "/api/time", [("host", HOST), ("origin", origin)], b"")
        assert "access-control-allow-origin" not in said.headers
        preflight = send("OPTIONS", "/api/me", [("host", HOST), ("origin", origin)], b"")
        assert "access-control-max-age" not in preflight.headers
