"""The parts of a request that an RFC requires a server to ignore, accept or refuse: one case for each clause."""

# ruff: noqa: E501 - a table: one clause, one line

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.baton.wire.conversation import FORM, HOST, JSON, PASSWORD, Device, Said
from tools.dev.gateway import Gateway, GatewayResponse

READABLE = (
    "/time",
    "/health",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/openapi.json",
)
"""The public documents."""


@pytest.mark.parametrize("path", READABLE)
def test_head_equals_get_without_the_body(gateway: Gateway, path: str) -> None:
    """RFC 9110 section 9.1 requires HEAD of general-purpose servers. Section 9.3.2 requires the same header fields."""
    headers = [("Host", HOST), ("Origin", "https://app.example.com")]
    got, asked = (gateway.call(method, f"/api{path}", headers) for method in ("GET", "HEAD"))
    varying = {"baton-time", "baton-request-id", "content-length"}

    def fields(answer: GatewayResponse) -> dict[str, str]:
        return {name.lower(): value for name, value in answer.headers if name.lower() not in varying}

    assert (got.status, asked.status) == (200, 200)
    assert asked.body == b""
    assert fields(asked) == fields(got)
    assert asked.header("content-length") == str(len(got.body))  # section 8.6: this length or none
    assert asked.header("access-control-allow-origin") == "https://app.example.com"


@pytest.mark.parametrize("path", READABLE)
def test_a_preflight_allows_head(gateway: Gateway, path: str) -> None:
    """Fetch, "CORS-preflight": the answer lists the methods that the route accepts."""
    headers = [("Host", HOST), ("Origin", "https://app.example.com"), ("Access-Control-Request-Method", "HEAD")]
    assert gateway.call("OPTIONS", f"/api{path}", headers).header("access-control-allow-methods") == "GET, HEAD"


def test_a_refused_head_has_no_body(gateway: Gateway) -> None:
    """RFC 9110 section 9.3.2. The rule also holds for the gateway's own answers."""
    for path, status in (("/time?unknown=1", 400), ("/nothing", 404), ("/me", 404)):
        answer = gateway.call("HEAD", f"/api{path}", [("Host", HOST)])
        assert (answer.status, answer.body) == (status, b""), path


@dataclass(frozen=True)
class Clause:
    """A clause, and a request that tests it."""

    source: str
    ask: Callable[[Device], Said]
    status: int
    code: str = ""


def get(*headers: tuple[str, str]) -> Callable[[Device], Said]:
    """Call ``GET /me`` with a bearer token and these headers."""
    return lambda device: device.send(
        "GET", "/api/me", [("host", HOST), ("authorization", f"Bearer {device.token}"), *headers], b""
    )


def call(authorization: str) -> Callable[[Device], Said]:
    """Call ``GET /me`` with this Authorization field. ``T`` is replaced by the token."""
    return lambda device: device.send(
        "GET", "/api/me", [("host", HOST), ("authorization", authorization.replace("T", device.token))], b""
    )


def register(**device: object) -> Callable[[Device], Said]:
    """Register with additional members in the device's public key. The request is signed with that key."""

    def ask(_: Device) -> Said:
        phone = Device(_.send, _.clock)
        return phone.register("bob@example.com", device={"name": "x", "public_key": {**phone.key.jwk(), **device}})

    return ask


def form(path: str, body: str, *headers: tuple[str, str]) -> Callable[[Device], Said]:
    """Post a form in which ``T`` is replaced by the token."""
    return lambda device: device.send(
        "POST",
        f"/api{path}",
        [("host", HOST), *FORM.items(), *headers],
        body.replace("T", str(device.tokens["refresh_token"])).encode(),
    )


def login(body: dict[str, object]) -> Callable[[Device], Said]:
    """Post to ``/login`` with members changed."""
    entry = {"email": "ada@example.com", "password": PASSWORD, "client_id": "simple"}
    return lambda device: device.send(
        "POST", "/api/login", [("host", HOST), *JSON.items()], json.dumps(entry | body).encode()
    )


CLAUSES = (
    Clause("RFC 9110 8.3: a Content-Type without content", get(("Content-Type", "application/json")), 200),
    Clause("RFC 9110 5.1: unrecognised fields", get(("X-Whatever", "1"), ("Foo", "")), 200),
    Clause("RFC 9110 10.1.1: 100-continue on HTTP/1.1", get(("Expect", "100-continue")), 200),
    Clause("RFC 9110 12.5.1: an Accept that cannot be met", get(("Accept", "image/png")), 200),
    Clause("RFC 9110 14.2: Range where ranges are not served", get(("Range", "bytes=0-0")), 200),
    Clause("RFC 9110 11.1: the scheme's case", call("bEARER T"), 200),
    Clause("RFC 9110 5.5: white space around a value", call(" Bearer  T\t"), 200),
    Clause("RFC 9110 11.6.1: credentials of another scheme", call("Basic T"), 401, "token_invalid"),
    Clause("RFC 9421 4.1: signatures by others", get(("Signature-Input", 'x=("date")'), ("Signature", "x=:AA==:")), 200),
    Clause("RFC 9530 2: digests by other algorithms beside ours", get(("Content-Digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, unixsum=:AA==:")), 200),
    Clause("RFC 7517 4: members that are not understood", register(iat=1), 201),
    Clause("RFC 7517 4: members that are not understood", register(exp=2, x5c=["x"], kid="k", foo={"bar": []}), 201),
    Clause("RFC 7517 4.2: a use that is advisory", register(use="enc", key_ops=["sign"], alg="RS256"), 201),
    Clause("RFC 7517 9.3: a private member", register(d="AAAA"), 422, "invalid_key"),
    Clause("RFC 7518 6.4: a symmetric member", register(k="AAAA"), 422, "invalid_key"),
    Clause("RFC 6749 3.2: unrecognised parameters", form("/oauth/token", "grant_type=refresh_token&refresh_token=T&x=1"), 200),
    Clause("RFC 6749 3.2: parameters without a value", form("/oauth/token", "grant_type=refresh_token&refresh_token=T&scope=&client_id="), 200),
    Clause("RFC 6749 3.2: parameters more than once", form("/oauth/token", "grant_type=refresh_token&refresh_token=T&refresh_token=T"), 400, "duplicate_field"),
    Clause("RFC 7009 2.1: a token_type_hint that is not known", form("/oauth/revoke", "token=T&token_type_hint=something"), 200),
    Clause("RFC 7009 2.2: an invalid token", form("/oauth/revoke", "token=garbage"), 200),
    Clause("RFC 8259 11: a charset of JSON", lambda device: device.send("POST", "/api/login", [("host", HOST), ("content-type", "application/json; charset=UTF-8")], json.dumps({"email": "ada@example.com", "password": PASSWORD, "client_id": "simple"}).encode()), 200),
    Clause("RFC 8259 8.1: a byte order mark may be an error", lambda device: device.send("POST", "/api/login", [("host", HOST), *JSON.items()], b"\xef\xbb\xbf{}"), 400, "malformed"),
    Clause("RFC 5321 2.4: a domain's case", login({"email": "ada@EXAMPLE.com"}), 200),
    Clause("RFC 5891 3.2: labels that are equivalent", login({"email": "ada@example\uff0ecom"}), 200),
)  # fmt: skip


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.source)
def test_a_clause_is_followed(make_device: Callable[..., Device], clause: Clause) -> None:
    """The server ignores, accepts or refuses as the clause requires."""
    device = make_device(client_id="simple", bound=False)
    assert device.register("ada@example.com").status == 201
    said = clause.ask(device)
    assert (said.status, said.code) == (clause.status, clause.code), said
