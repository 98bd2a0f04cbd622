"""A fuzzer of hostile requests: families of requests, drawn from a seed, for every stage of request processing."""

import base64
import json
import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlencode

from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.proofs.hostile.attacks import altered, forgeries, signed_requests, with_value
from tests.baton.proofs.hostile.forgeries import OVERSIZED, twin
from tests.baton.proofs.hostile.scene import VICTIM, Scene, Sent, prepared
from tests.baton.wire.conversation import FORM, HOST, JSON, PREFIX, Device

HONEST_PASSWORD = "velvet anchor tundra piano"
"""A valid password, but not the password of the victim, which the thief must not have."""

HOST_FIELD = ("host", HOST)

TEXTS = (
    "",
    " ",
    "\0",
    "\ud800",
    "\udfff\ud800",
    "\ufeff",
    "\ufffd",
    "\u202eevil",
    "\u200b",
    "\u2028",
    "a\u0300" * 40,
    "e\u0301\u0316" * 300,
    "\ufdfa" * 200,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\u0430\u0501\u0430@example.com",  # Cyrillic
    "ADA@EXAMPLE.COM",
    "\uff41da@example.com",  # full width
    "ada@example.com\u3002",
    "ada@ex\u00adample.com",
    "ada+x@example.com",
    "a.d.a@example.com",
    '"ada"@example.com',
    "ada@[127.0.0.1]",
    "ada@example.com\r\nBcc: eve@example.com",
    "\u0130@example.com",
    "\u017fda@example.com",
    "\u1e9e@example.com",
    "x" * 255 + "@example.com",
    "x" * 5000,
    "x" * 1025,
    "../../etc/passwd",
    "'; DROP TABLE users; --",
    "<script>alert(1)</script>",
    "{{7*7}}${7*7}%{7*7}",
    "%00%0d%0a",
    "null",
    "NaN",
    "-1",
    VICTIM,
)
NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63, 2**64, 10**30, -(10**30), 1.5, 1e308, -0.0)
RAW = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"0",
    b'""',
    b"{}{}",
    b"{},",
    b"\xef\xbb\xbf{}",
    "{}".encode("utf-16"),
    "{}".encode("utf-32"),
    b"\xff\xfe\xfd",
    b"\0",
    b'{"a":NaN}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 4300 + b"}",
    b'{"a":' + b"9" * 4301 + b"}",
    b'{"a":1.' + b"0" * 9000 + b"1}",
    b'{"a":01}',
    b"{'a':1}",
    b'{"a":1,}',
    b'{"a":1}//',
    b'{"a":"\x01"}',
    b'{"a":"\\x"}',
    b'{"email":"a","email":"b"}',
    b'{"a":{"b":1,"b":2}}',
    b'{"email":"a","\\u0065mail":"b"}',
    b"[" * 60_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b'{"a":' * 17 + b"1" + b"}" * 17,
    b'{"__proto__":{"admin":true},"constructor":1,"__class__":"x"}',
    b"x" * 66_000,
)
FORMS = (
    b"",
    b"&&&",
    b"=&=",
    b"grant_type",
    b"grant_type=refresh_token",
    b"grant_type=refresh_token&grant_type=refresh_token",
    b"grant_type=refresh_token&refresh_token=a&refresh_token=b",
    b"grant_type=password&username=ada&password=x",
    b"grant_type=authorization_code&code=x",
    b"grant_type=refresh_token&refresh_token=%00",
    b"grant_type=refresh_token&refresh_token=%ff%fe",
    b"grant_type=refresh_token&refresh_token=%u0041",
    b"grant_type=refresh_token&refresh_token=%",
    b"grant_type=refresh_token&refresh_token=%ED%A0%80",
    b"grant_type=refresh_token;refresh_token=x",
    b"grant_type[]=refresh_token&refresh_token[a]=x",
    b"token=&token=",
    b"token=x&token_type_hint=" + b"y" * 9000,
    b"a=1&" * 33,
    b"a=1&" * 16_000,
    b"\xc3\xa9=1",
    b"token=" + b"x" * 60_000,
    b"{}",
)
FIELDS = (
    "authorization",
    "Authorization",
    "AUTHORIZATION",
    "signature",
    "Signature-Input",
    "content-digest",
    "Content-Type",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "idempotency-key",
    "Idempotency-Key",
    "baton-grant",
    "host",
    "Host",
    "x-forwarded-host",
    "x-forwarded-for",
    "x-http-method-override",
    "x-amzn-trace-id",
    "origin",
    "cookie",
    "dpop",
    "accept",
    "x-\u00e9",
    "",
)
VALUES = (
    "",
    " ",
    "\t",
    ",",
    ";",
    "\0",
    "\x7f",
    "\r\n x",
    "\u00e9",
    "\u732b",
    "\ud800",
    "x" * 8192,
    "x" * 8193,
    "Bearer",
    "Bearer ",
    "Bearer  x",
    "bearer baton_" + "A" * 120,
    "Basic",
    "Basic Og==",
    "Basic !",
    "Basic /////w==",
    "DPoP x",
    '"',
    '""',
    '"sixteen characters"',
    "sixteen-characters-and-more",
    "baton=()",
    "baton=();tag=baton",
    'baton=();created=1;keyid="x";nonce="n";tag="baton"',
    'baton=("@method" "@authority" "@path");created=1;keyid="x";nonce="n";tag="baton"',
    'baton=("@query");created=1;keyid="x";nonce="n";tag="baton"',
    'baton=("a";sf "b";key="x" "c";bs);created=1;keyid="x";nonce="n";tag="baton"',
    'a=("@path");tag="baton", b=("@path");tag="baton"',
    "baton=:AAAA:",
    "baton=::",
    "baton=:=:",
    "baton=?1",
    "sha-256=:AAAA:",
    "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    "application/json",
    "application/json; charset=utf-16",
    "application/json;",
    "application/x-www-form-urlencoded; charset=UTF-8",
    "multipart/form-data; boundary=x",
    "chunked",
    "gzip",
    "null",
    "https://app.example.com",
    "https://app.example.com.evil.example",
    HOST,
    "localhost:8000",
    "evil.example",
)
SEGMENTS = (
    "me",
    "devices",
    "x",
    "%2e%2e",
    "..",
    ".",
    "%2F",
    "%00",
    "%ff",
    "%",
    "%zz",
    "\u00e9",
    "%F0%9F%98%80",
    "A" * 16,
    "AAAAAAAAAAAAAAAA%20",
    "{device_id}",
    "*",
    "~",
    ";x=1",
    "\ud800",
    "a b",
    "x" * 4000,
)
QUERIES = (
    "",
    "?",
    "?a",
    "?a=1",
    "?a=1&a=2",
    "?%ff=%00",
    "?a=%ED%A0%80",
    "?=" + "x" * 500,
    "?a[]=1",
    "?" + "a=1&" * 200,
    "?token=x",
    "?%F0%9F%98%80",
    "?a=\ud800",
    "?\ud800=1",
    "#x",
)
JSON_ROUTES = ("/register", "/login", "/step-up", "/logout", "/me/password", "/transfers")
FORM_ROUTES = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")
ROUTES = (
    ("GET", "/time"),
    ("GET", "/health"),
    ("GET", "/openapi.json"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/me"),
    ("GET", "/session"),
    ("DELETE", "/me"),
    ("GET", "/me/devices"),
    ("GET", "/me/activity"),
    ("GET", "/me/export"),
    ("DELETE", "/me/devices/x"),
    *(("POST", route) for route in (*JSON_ROUTES, *FORM_ROUTES)),
)


@dataclass(frozen=True)
class Hostile:
    """One hostile request. ``harmless``: a success is allowed, because it does not touch the victim's data."""

    family: str
    what: str
    sent: Sent
    harmless: bool = False


@dataclass
class Storm:
    """Draws hostile requests. The same seed and number give the same request, whatever was drawn before."""

    scene: Scene
    seed: int
    chance: random.Random = field(init=False)
    _forged: list[tuple[str, str]] = field(init=False)
    _altered: list[tuple[str, Sent]] = field(init=False)

    def __post_init__(self) -> None:
        """Create the parts that the requests share."""
        self._forged = [*forgeries(self.scene), *OVERSIZED.items()]
        self._altered = [
            (f"{name}: {what}", changed)
            for name, sent in signed_requests(self.scene).items()
            for what, changed in altered(sent, self.scene)
            if changed != sent
        ]

    def draw(self, number: int) -> Hostile:
        """Draw one request."""
        self.chance = random.Random(f"{self.seed} {number}")
        family = self.chance.choice(tuple(FAMILIES))
        what, sent, harmless = FAMILIES[family](self)
        return Hostile(family, what, sent, harmless)

    # --- families ---

    def forged_token(self) -> tuple[str, Sent, bool]:
        """Forge a token of the victim, on any route, signed by the thief or unsigned."""
        what, forgery = self.chance.choice(self._forged)
        door = self.chance.choice(("call", "exchange", "revoke", "introspect", "signed call"))
        if door == "signed call":
            posing = replace(self.scene.thief, tokens={"access_token": forgery})
            return f"{door}: {what}", prepared(posing, lambda device: device.get("/me")), False
        if door == "introspect":
            credentials = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
            headers = (HOST_FIELD, *FORM.items(), ("authorization", f"Basic {credentials}"))
            body = urlencode({"token": forgery}, errors="replace").encode()
            return f"{door}: {what}", Sent("POST", f"{PREFIX}/oauth/introspect", headers, body), True
        # White space around a field is not part of its value (RFC 9110 section 5.5). Revocation of an invalid token is
        # no error.
        genuine = door == "call" and forgery.strip() == self.scene.phone.token
        return f"{door}: {what}", self.scene.doors(forgery)[door], door == "revoke" or genuine

    def altered_signature(self) -> tuple[str, Sent, bool]:
        """Alter a request that the victim signed."""
        what, sent = self.chance.choice(self._altered)
        return what, sent, False

    def flipped_signature(self) -> tuple[str, Sent, bool]:
        """Flip one bit in a signature of the thief. Her login is valid, so the signature check is reached."""
        bit = self.chance.randrange(512)
        sent = prepared(self.scene.thief, lambda device: device.get("/me"))

        def flip(value: bytes) -> bytes:
            return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(64, "big")

        return f"bit {bit}", with_value(sent, flip), False

    def replayed(self) -> tuple[str, Sent, bool]:
        """Replay a captured request unchanged, with the other form of its signature, or on another route."""
        sent = self.chance.choice(self.scene.seen)
        if self.chance.random() < 0.4:
            sent = with_value(sent, twin)
        elsewhere = self.chance.random() < 0.5
        if elsewhere:
            sent = replace(sent, target=self.chance.choice(self.scene.seen).target)
        repeatable = sent.method == "GET" or sent.target.endswith("/oauth/token")
        return sent.target, sent, repeatable

    def hostile_json(self) -> tuple[str, Sent, bool]:
        """Send hostile JSON in the thief's name with a valid signature, so that the JSON is parsed."""
        route = self.chance.choice(JSON_ROUTES)
        raw = self.chance.random() < 0.3
        body = self.chance.choice(RAW) if raw else json.dumps(self._json(route)).encode()
        if route in {"/register", "/login"} or (raw and self.chance.random() < 0.2):
            return route, Sent("POST", PREFIX + route, (HOST_FIELD, *JSON.items()), body), True
        grant = {"baton-grant": self._text(printable=True)} if self.chance.random() < 0.5 else {}
        device = self.chance.choice((self.scene.thief, self.scene.bearer))
        # A logout would end the bearer login of the thief: only use logout with invalid parameters.
        if route == "/logout" and not raw:
            body = json.dumps({"everywhere": self.chance.choice((*TEXTS, *NUMBERS))}).encode()
        elif route == "/logout" and body == b"":
            body = b"[]"
        return route, prepared(device, lambda sender: sender.request("POST", route, body, JSON | grant)), True

    def hostile_form(self) -> tuple[str, Sent, bool]:
        """Send a hostile form to the OAuth routes."""
        route = self.chance.choice(FORM_ROUTES)
        if self.chance.random() < 0.2:
            token = self.chance.choice((self.scene.phone.token, self.scene.tablet.token))
            body = urlencode({"grant_type": "refresh_token", "refresh_token": token, "token": token}).encode()
        elif self.chance.random() < 0.5:
            body = self.chance.choice(FORMS)
        else:
            names = ("grant_type", "refresh_token", "token", "client_id", "scope", "token_type_hint", "x")
            pairs = [(self.chance.choice(names), self._form_text()) for _ in range(self.chance.randrange(6))]
            body = urlencode([("grant_type", "refresh_token"), *pairs], errors="surrogatepass").encode()
        headers = [HOST_FIELD, *FORM.items()]
        if route.endswith("introspect") and self.chance.random() < 0.7:
            credentials = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
            headers.append(("authorization", f"Basic {credentials}"))
        return route, Sent("POST", PREFIX + route, tuple(headers), body), True

    def hostile_fields(self) -> tuple[str, Sent, bool]:
        """Add hostile header fields to a request of the thief, before it is signed, or to an unsigned request."""
        method, route = self.chance.choice(ROUTES)
        more = [(self.chance.choice(FIELDS), self.chance.choice(VALUES)) for _ in range(self.chance.randrange(1, 4))]
        if self.chance.random() < 0.6 and route not in {"/logout", "/me"}:
            body = b"{}" if method == "POST" else b""
            headers = JSON if body else {}
            sent = prepared(self.scene.thief, lambda device: device.request(method, route, body, headers))
        else:
            sent = Sent(method, PREFIX + route, (HOST_FIELD,), b"")
        return f"{method} {route} {more[0][0]}", sent.with_more(*more), True

    def hostile_person(self) -> tuple[str, Sent, bool]:
        """Register or log in with hostile addresses and passwords."""
        route = self.chance.choice(("/register", "/login"))
        fresh = f"x{self.chance.randrange(10**9)}"
        email = self.chance.choice((f"{fresh}@example.com", f"{fresh}{self._text()[:20]}@example.com", self._text()))
        password = self._text() if self.chance.random() < 0.6 else HONEST_PASSWORD
        # A name is stored as plaintext, up to 32 bytes. It must not equal a password of another request.
        name = self._text()
        entry = {
            "email": email,
            "password": password,
            "client_id": self.chance.choice(("simple", "simple", "mobile", self._text())),
            "device": {"name": f"{name[:8]}~{name[8:]}"} if self.chance.random() < 0.5 else {},
        }
        body = json.dumps(entry).encode()
        attempt = (("idempotency-key", self._text()),) if self.chance.random() < 0.2 else ()
        return route, Sent("POST", PREFIX + route, (HOST_FIELD, *JSON.items(), *attempt), body), True

    def hostile_target(self) -> tuple[str, Sent, bool]:
        """Request paths that may not exist, with a query. For existing paths the thief uses her own login."""
        if self.chance.random() < 0.2:
            # A client does not send the fragment, so this is the same request (RFC 9110 section 7.1).
            public = self.chance.choice(("/time", "/.well-known/jwks.json", "/openapi.json"))
            return (
                f"GET {public}",
                Sent("GET", f"{PREFIX}{public}{self.chance.choice(('', '?', '#x'))}", (HOST_FIELD,)),
                True,
            )
        if self.chance.random() < 0.4:
            method, route = self.chance.choice(ROUTES)
        else:
            method = self.chance.choice(
                ("GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "get", "")
            )
            route = "/" + "/".join(self.chance.choice(SEGMENTS) for _ in range(self.chance.randrange(4)))
        if self.chance.random() < 0.3:
            route = f"/me/devices/{self.chance.choice(SEGMENTS)}"
            method = "DELETE"
        target = PREFIX * (self.chance.random() < 0.95) + route + self.chance.choice(QUERIES)
        if method in {"GET", "DELETE"} and target.isascii() and self.chance.random() < 0.6 and route != "/me":
            sent = prepared(self.scene.thief, lambda device: device.request(method, route))
            return f"{method} {route[:40]}", replace(sent, target=target), True
        return f"{method} {route[:40]}", Sent(method, target, (HOST_FIELD,), b""), True

    def other_hands(self) -> tuple[str, Sent, bool]:
        """Use the victim's tokens with the thief's key, or without a key."""
        token = self.chance.choice(
            [*self.scene.used_tokens, self.scene.phone.token, self.scene.tablet.token, self.scene.watch.token]
        )
        if self.chance.random() < 0.4:
            door = self.chance.choice(("call", "exchange", "revoke"))
            return f"{door}, unsigned", self.scene.doors(token)[door], False
        posing = replace(self.scene.thief, tokens={"access_token": token, "refresh_token": token})
        device_id = str(self.scene.phone.tokens["device_id"])
        acts: dict[str, Callable[[Device], object]] = {
            "read": lambda device: device.get("/me"),
            "end": lambda device: device.request("DELETE", f"/me/devices/{device_id}"),
            "log out": lambda device: device.post("/logout", {"everywhere": True}),
            "exchange": lambda device: device.exchange(),
        }
        act = self.chance.choice(tuple(acts))
        return f"{act}, signed by the thief", prepared(posing, acts[act]), False

    # --- parts ---

    def _text(self, *, printable: bool = False) -> str:
        if printable:
            return secrets.token_urlsafe(self.chance.randrange(1, 60))
        if self.chance.random() < 0.7:
            return self.chance.choice(TEXTS)
        return "".join(chr(self.chance.randrange(0x110000)) for _ in range(self.chance.randrange(1, 30)))

    def _form_text(self) -> str:
        tokens = (self.scene.bearer.token, self.scene.thief.token, self.scene.phone.token, self.scene.tablet.token)
        return self.chance.choice(tokens) if self.chance.random() < 0.4 else quote(self._text(), errors="surrogatepass")

    def _json(self, route: str) -> Any:
        members = {
            "/register": ("email", "password", "client_id", "device"),
            "/login": ("email", "password", "client_id", "device"),
            "/step-up": ("operation", "password"),
            "/me/password": ("new_password",),
            "/transfers": ("to", "amount"),
            "/logout": ("everywhere",),
        }[route]
        right: dict[str, Any] = {
            "operation": {"method": "POST", "path": "/api/transfers", "digest": f"sha-256=:{'A' * 43}=:"},
            "amount": 1,
            "device": {},
            "client_id": "simple",
            "email": VICTIM,
        }
        value = {name: right.get(name, "text") if self.chance.random() < 0.6 else self._value() for name in members}
        if self.chance.random() < 0.2:
            value[self._text()] = self._value()
        return value

    def _value(self, depth: int = 0) -> Any:
        kind = self.chance.randrange(6 if depth < 18 else 4)
        match kind:
            case 0:
                return self.chance.choice((None, True, False))
            case 1:
                return self.chance.choice(NUMBERS)
            case 2 | 3:
                return self._text()
            case 4:
                return [self._value(depth + 1) for _ in range(self.chance.randrange(3))]
            case _:
                return {self._text(): self._value(depth + 1) for _ in range(self.chance.randrange(3))}


FAMILIES: dict[str, Callable[[Storm], tuple[str, Sent, bool]]] = {
    "forged token": Storm.forged_token,
    "altered signature": Storm.altered_signature,
    "flipped signature": Storm.flipped_signature,
    "replayed": Storm.replayed,
    "JSON": Storm.hostile_json,
    "form": Storm.hostile_form,
    "header fields": Storm.hostile_fields,
    "e-mail and password": Storm.hostile_person,
    "path and query": Storm.hostile_target,
    "other hands": Storm.other_hands,
}


def storm(scene: Scene, seed: int, count: int) -> Iterator[Hostile]:
    """Draw this number of hostile requests."""
    drawn = Storm(scene, seed)
    for number in range(count):
        yield drawn.draw(number)
