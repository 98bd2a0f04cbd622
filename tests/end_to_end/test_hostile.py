"""Nothing a client can send is a 5xx, and every refusal has our shape."""

import json
import random
from collections.abc import Callable, Iterator

import pytest

from tests.web.conversation import FORM, HOST, JSON, Device, Said

REQUESTS = 1500
ROUTES = [
    *(
        "/register",
        "/login",
        "/step-up",
        "/logout",
        "/me",
        "/me/password",
        "/me/devices",
        "/me/devices/x",
        "/transfers",
    ),
    *("/oauth/token", "/oauth/revoke", "/oauth/introspect", "/time", "/health", "/.well-known/jwks.json", "/nothing"),
]
BODIES = [
    *(
        b"",
        b"{}",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        "{}".encode("utf-16"),
        b"\0",
        b"{}{}",
    ),
    *(
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":-Infinity}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"\\ud800":1}',
        b'{"a":"\\u0000"}',
    ),
    *(b"[" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a":{"a":{"a":{"a":1}}}}', b'{"email":{}}', b"x" * 66000),
    *(
        b"grant_type=refresh_token",
        b"grant_type=refresh_token&refresh_token=",
        b"token=%ff",
        b"token=%",
        b"token=a&token=b",
    ),
    *(b"a=1&" * 50, b"grant_type=refresh_token&refresh_token=" + b"x" * 9000, b"token=%00", b"=&=&=", b"token"),
    b'{"email":"ada@example.com","password":"copper lantern drifting sideways","client_id":"simple","device":null}',
    b'{"email":"\\u202eada@example.com","password":"\\ud83d\\ude00","client_id":"mobile","device":{"public_key":{}}}',
    b'{"email":"a@b.c","password":"x","client_id":"mobile","device":{"public_key":{"kty":"EC","crv":"P-256","x":1}}}',
]
VALUES = [
    *(
        "",
        " ",
        "x",
        "Bearer",
        "Bearer ",
        "Bearer a.b.c",
        "bearer baton_AAAA",
        "Basic ",
        "Basic !!!",
        "Basic YTpi",
        "Basic YQ==",
    ),
    *(
        '"',
        '""',
        "é",
        "\x7f",
        "x" * 9000,
        "sig=()",
        "baton=(;)",
        'baton=();tag="baton"',
        "baton=::",
        "baton=1",
        "a=b=c",
    ),
    'baton=("@method" "@authority" "@path");created=1;keyid="x";nonce="n";tag="baton"',
    'a=("@path");tag="baton", b=("@path");tag="baton"',
    'baton=("@query");created=99999999999999999999;tag="baton"',
    "sha-256=:AAAA:",
    "application/json; charset=utf-16",
    "multipart/form-data",
]
NAMES = [
    *("authorization", "Authorization", "signature", "signature-input", "content-digest", "idempotency-key"),
    *("baton-grant", "content-type", "host", "origin", "x-forwarded-host", "dpop", "content-encoding"),
]
QUERIES = ["", "?", "?a", "?a=1&a=2", "?%ff=%00", "?a=%F0%9F%98%80", "?=" + "x" * 500, "?a[]=1"]


def hostile(chance: random.Random, token: str) -> Iterator[tuple[str, str, list[tuple[str, str]], bytes]]:
    """Make requests nobody sends by accident."""
    for _ in range(REQUESTS):
        headers = [
            (chance.choice(NAMES), chance.choice([*VALUES, f"Bearer {token}"])) for _ in range(chance.randrange(5))
        ]
        if chance.random() < 0.7:
            headers += list(chance.choice([JSON, FORM]).items())
        if chance.random() < 0.8:
            headers.append(("host", HOST))
        target = "/api" + chance.choice(ROUTES) + chance.choice(QUERIES if chance.random() < 0.3 else [""])
        yield (
            chance.choice(["GET", "POST", "POST", "POST", "DELETE", "OPTIONS"]),
            target,
            headers,
            chance.choice(BODIES),
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_no_request_is_answered_with_a_5xx(make_device: Callable[..., Device], seed: int) -> None:
    """Each is refused by a status of the wire's table, in our shape, or is answered."""
    phone = make_device(client_id="simple", bound=False)
    token = str(phone.register("ada@example.com").members["access_token"])
    statuses = set()
    for method, target, headers, body in hostile(random.Random(seed), token):
        said: Said = phone.send(method, target, headers, body)
        statuses.add(said.status)
        assert said.status < 500, (method, target, headers, body[:200], said)
        if said.status >= 400:
            members = json.loads(said.body)
            assert members["code"], said
            assert members["action"], said
    assert statuses >= {200, 400, 401, 404, 413, 415, 422}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xef\xbb\xbf{}", "malformed"),
        ("{}".encode("utf-16"), "malformed"),
        (b"{} ", "malformed"),  # well-formed, and the member email is missing
        (b'{"email":"a","email":"b"}', "duplicate_field"),
        (b'{"device":{"name":"a","name":"b"}}', "duplicate_field"),
        (b'{"email":NaN}', "malformed"),
        (b'{"email":1e999}', "malformed"),
        (b'{"email":' + b"[" * 20 + b"]" * 20 + b"}", "malformed"),
        (b'{"email":"\\ud800"}', "malformed"),
        (b'{"email":"\\u0000"}', "malformed"),
        (b'{"ema\\u0000il":"x"}', "malformed"),
        (b"[]", "malformed"),
        (b"", "malformed"),
    ],
)
def test_json_is_read_strictly(make_device: Callable[..., Device], body: bytes, code: str) -> None:
    """RFC 8259 and nothing that parsers disagree about."""
    said = make_device().send("POST", "/api/login", [("host", HOST), *JSON.items()], body)
    assert (said.status, said.code) == (400, code)


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 401),
        ("APPLICATION/JSON", 401),
        ("application/json; charset=UTF-8", 401),
        ('application/json;charset="utf-8"', 401),
        ("application/json; charset=utf-16", 415),
        ("application/jsonx", 415),
        ("application/json, text/plain", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_the_media_type_is_compared_whole(make_device: Callable[..., Device], media_type: str, status: int) -> None:
    """Case-insensitively; a prefix is not enough."""
    body = b'{"email":"nobody@example.com","password":"x","client_id":"simple"}'
    said = make_device().send("POST", "/api/login", [("host", HOST), ("content-type", media_type)], body)
    assert said.status == status
