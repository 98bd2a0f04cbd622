"""A sequence of requests to Baton on the embedded engine, with each answer, AWS request and log line.

Everything random is drawn from ``Entropy`` under the name of the step. Two values are masked: the
``ClientRequestToken`` that botocore draws for a transaction, and the version of the release in ``/health``. Argon2 has
a fixed salt, because the app draws the salt from the entropy that is replaced here. Measured milliseconds are zero.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any
from urllib.parse import urlencode

import pytest
from chalice.app import Chalice
from msgspec import Meta

from chalicelib import __version__
from chalicelib.baton import Answer, Baton, Body, Caller, StepUp
from chalicelib.baton.accounts.status import SetStatus
from chalicelib.baton.http import jobs
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import DAY_S, FAILURES_PER_ACCOUNT_MAX, THROTTLE_WINDOW_S
from chalicelib.baton.storage.dynamodb.database import KEYS, Tables
from tests.baton.golden.fixed import Clock, Entropy, ed25519_key, p256, written
from tests.baton.golden.values import Entry
from tests.baton.wire.conversation import FORM, JSON, NEW_PASSWORD, PASSWORD, PREFIX, Device, Said
from tools.dev.engine import client, create_tables
from tools.dev.gateway import Gateway, LambdaContext

RESOURCE_SERVER, RESOURCE_SERVER_SECRET = "billing", "a long and random secret of a server"
TABLES = Tables("golden")
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "BATON_DEVELOPMENT": "1",
    "BATON_ISSUER": "http://localhost:8000/api",
    "BATON_AUTHORITIES": "api.example.com,localhost:8000",
    "BATON_KEY_RING": "local",
    "BATON_LOG_LEVEL": "DEBUG",
    "BATON_ORIGINS": "https://app.example.com",
    "BATON_RESOURCE_SERVERS": f"{RESOURCE_SERVER}:{hashlib.sha256(RESOURCE_SERVER_SECRET.encode()).hexdigest()}",
    "BATON_TABLE_PREFIX": TABLES.prefix,
}
MINUTE_S = 60
EMAIL = "ada@example.com"
ORIGIN = "https://app.example.com"
_STANDARD_OUTPUT = 1


@dataclass
class Seen:
    """The answers, requests and log lines of the current step, and the entries made so far."""

    clock: Clock
    entropy: Entropy
    answers: list[str]
    requests: list[str]
    read_lines: Callable[[], list[str]]
    entries: list[Entry]
    broken: bool = False
    """Answer every DynamoDB request with an error."""

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Record the requests of this block under a name."""
        self.forget()
        self.entropy.begin(name)
        yield
        for kind, lines in (("answer", self.answers), ("aws", self.requests), ("log", self.read_lines())):
            if lines:
                self.entries.append((f"{kind}: {name}", list(lines)))
        self.forget()

    def forget(self) -> None:
        """Delete the requests and lines that no step recorded."""
        self.answers.clear()
        self.requests.clear()
        self.read_lines()


class HmacKey:
    """The HMAC secret of a lineage, in place of a device's key pair."""

    def __init__(self, tokens: dict[str, Any]) -> None:
        """Read the secret from the answer to the login."""
        self._key_id = str(tokens["key_id"])
        self._secret = base64.urlsafe_b64decode(tokens["secret"] + "=")

    def thumbprint(self) -> str:
        """Return the thumbprint of the secret."""
        return self._key_id

    def sign(self, message: bytes) -> bytes:
        """Sign with HMAC-SHA256."""
        return hmac.digest(self._secret, message, "sha256")


def conversation() -> list[Entry]:
    """Run the whole sequence. The embedded engine must be running."""
    with pytest.MonkeyPatch.context() as patch, _standard_output() as read_lines:
        for name in [name for name in os.environ if name.startswith(("BATON_", "AWS_"))]:
            patch.delenv(name)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        create_tables(TABLES)
        try:
            return [*_conversation(read_lines), *_tables()]
        finally:
            for table in KEYS:
                client().delete_table(TableName=TABLES.name(table))


def _conversation(read_lines: Callable[[], list[str]]) -> list[Entry]:
    seen = Seen(Clock(), Entropy(), [], [], read_lines, [])
    with _nothing_random(seen):
        _talk(seen)
    return seen.entries


@contextmanager
def _nothing_random(seen: Seen) -> Iterator[None]:
    """Replace random values within this context, by names that a move of code does not change.

    Record the AWS requests.
    """
    from moto.core.exceptions import JsonRESTError
    from moto.dynamodb.responses import DynamoHandler

    answered = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        seen.requests.extend(_shown(handler.headers["X-Amz-Target"], handler.body))
        if seen.broken:
            raise JsonRESTError("ValidationException", "planted: an error that botocore does not retry")
        return answered(handler)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DynamoHandler, "call_action", call_action)
        patch.setattr(secrets, "token_bytes", seen.entropy)
        patch.setattr(time, "time", seen.clock.time)
        patch.setattr(time, "perf_counter", lambda: 0.0)
        yield


class Transfer(Body):
    """The body of the team's route."""

    to: Annotated[str, Meta(min_length=1, max_length=256)]
    amount: Annotated[int, Meta(ge=1, le=1_000_000)]


def environment() -> SimpleNamespace:
    """Make an application with one route of a team. The real ``app.py`` may have others."""
    app, baton = Chalice(app_name="golden", configure_logs=False), Baton.from_environment()
    baton.install(app)

    @app.route("/transfers", methods=["POST"])
    @baton.signed(body=Transfer, step_up=StepUp(max_age=120))
    def create_transfer(caller: Caller, transfer: Transfer) -> Answer:
        return Answer(201, {"from": caller.account, "to": transfer.to, "amount": transfer.amount})

    return SimpleNamespace(app=app, baton=baton)


def _talk(seen: Seen) -> None:
    module = environment()
    module.baton.log.metrics = True
    gateway = Gateway([module.app])

    def send(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
        answer = gateway.call(method, target, headers, body, source="192.0.2.7")
        text = answer.body.decode().replace(f'"version":"{__version__}"', '"version":"(masked)"')
        lines = [f"{method} {target.partition('?')[0]} {answer.status}"]
        seen.answers.extend([*lines, *(f"{name}: {value}" for name, value in answer.headers), text])
        return Said(answer.status, {name.lower(): value for name, value in answer.headers}, answer.body)

    talk = Talk(seen, module, send)
    talk.public()
    talk.registration()
    talk.calls()
    talk.refused_calls()
    talk.exchanges()
    talk.mechanisms()
    talk.oauth()
    talk.step_ups()
    talk.ends()
    talk.jobs()


def _tables() -> Iterator[Entry]:
    """Return every stored item, to show the effect of the updates."""
    for table in KEYS:
        items = client().scan(TableName=TABLES.name(table))["Items"]
        yield f"table: {table}, at the end", sorted(map(written, items))


def _shown(target: str, body: bytes | str) -> Iterator[str]:
    """Format a DynamoDB request as lines, one for each write of a transaction."""
    operation = target.rpartition(".")[2]
    request = json.loads(body)
    if operation == "TransactWriteItems":
        assert request.pop("ClientRequestToken")
        writes = request.pop("TransactItems")
        yield f"{operation} of {len(writes)} {written(request)}"
        yield from map(written, writes)
    else:
        yield f"{operation} {written(request)}"


@contextmanager
def _standard_output() -> Iterator[Callable[[], list[str]]]:
    """Capture the standard output of any call, and return it line by line."""
    sys.stdout.flush()
    kept = os.dup(_STANDARD_OUTPUT)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), _STANDARD_OUTPUT)
        read_to = 0

        def read() -> list[str]:
            nonlocal read_to
            sys.stdout.flush()
            size = os.fstat(file.fileno()).st_size
            text = os.pread(file.fileno(), size - read_to, read_to).decode()
            read_to = size
            return text.splitlines()

        try:
            yield read
        finally:
            sys.stdout.flush()
            os.dup2(kept, _STANDARD_OUTPUT)
            os.close(kept)


def _without(*names: str) -> Callable[[dict[str, str]], None]:
    """Remove fields from a signed request."""

    def tamper(fields: dict[str, str]) -> None:
        for name in names:
            del fields[name]

    return tamper


@dataclass
class Talk:
    """The steps, in order. Later methods use the logins of earlier methods."""

    seen: Seen
    module: SimpleNamespace
    send: Callable[[str, str, list[tuple[str, str]], bytes], Said]

    def __post_init__(self) -> None:
        """Make the devices."""
        self.phone = self.device("mobile", key=p256("phone"))
        self.tablet = self.device("mobile-opaque", key=ed25519_key("tablet"))
        self.stranger = self.device("mobile", key=p256("stranger"))
        self.unbound: dict[str, Device] = {}

    def device(self, client_id: str, **members: Any) -> Device:
        """Make a device. Without a key it is not bound."""
        return Device(self.send, self.seen.clock.seconds, client_id, bound="key" in members, **members)

    def raw(self, name: str, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        """Record an unsigned request."""
        fields = {"host": "api.example.com", **(headers or {})}
        with self.seen.step(name):
            self.send(method, PREFIX + path, list(fields.items()), body)

    def public(self) -> None:
        """Request the public documents. The first request creates the key ring."""
        self.raw("jwks, the ring is made", "GET", "/.well-known/jwks.json")
        self.raw("jwks", "GET", "/.well-known/jwks.json")
        self.raw("jwks for a page", "GET", "/.well-known/jwks.json", {"Origin": ORIGIN})
        self.raw("authorization server", "GET", "/.well-known/oauth-authorization-server")
        self.raw("openid configuration", "GET", "/.well-known/openid-configuration")
        self.raw("protected resource", "GET", "/.well-known/oauth-protected-resource")
        self.raw("time", "GET", "/time")
        self.raw("time, HEAD", "HEAD", "/time")
        self.raw("time with a query", "GET", "/time?a=1")
        self.raw("health", "GET", "/health")
        self.raw("authorize", "GET", "/oauth/authorize?client_id=x")
        self.raw("authorize in a browser", "GET", "/oauth/authorize", {"Accept": "text/html"})
        self.raw("unknown route", "GET", "/nothing")
        self.raw("method of another route", "PUT", "/me")
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        self.raw("preflight", "OPTIONS", "/me/devices/x", {"Origin": ORIGIN, **asked})
        self.raw(
            "preflight of a page that is not listed", "OPTIONS", "/me", {"Origin": "https://evil.example", **asked}
        )

    def registration(self) -> None:
        """Register and log in, with success and with refusals."""
        phone, seen = self.phone, self.seen
        attempt = {"idempotency-key": '"attempt-of-a-registration"'}
        for name in ("register", "register, sent again"):
            with seen.step(name):
                phone.tokens = phone.post("/register", phone.entry(EMAIL), attempt, token=None).members
        with seen.step("register, address taken"):
            self.stranger.register(EMAIL)
        for name, password in {
            "too short": "short",
            "too common": "passwordpassword",
            "contains the address": "eve@example.com 123",
        }.items():
            with seen.step(f"register, password {name}"):
                self.stranger.register("eve@example.com", password=password)
        seen.clock.now += 10
        tablet_attempt = {"idempotency-key": "attempt-of-a-tablet"}
        for name in ("login", "login, sent again"):
            with seen.step(name):
                body = self.tablet.entry(EMAIL, name="T\u00e4blet of Ada, with a long name \U0001f600")
                self.tablet.tokens = self.tablet.post("/login", body, tablet_attempt, token=None).members
        with seen.step("login, wrong password"):
            self.stranger.login(EMAIL, password="granite umbrella conversatiom")
        with seen.step("login, unknown address"):
            self.stranger.login("nobody@example.com")
        with seen.step("login, unknown client"):
            self.device("nothing").login(EMAIL)
        with seen.step("login, key missing"):
            self.device("mobile").login(EMAIL)
        login = json.dumps(self.device("simple").entry(EMAIL)).encode()
        for name, sent, headers in (
            ("malformed JSON", b'{"email":', JSON),
            ("no object", b"[]", JSON),
            ("wrong type", login.replace(b'"phone"', b"7"), JSON),
            ("unknown member", login.replace(b'"name"', b'"nome"'), JSON),
            ("missing member", b'{"email":"ada@example.com"}', JSON),
            ("member twice", b'{"email":"a","email":"b"}', JSON),
            ("wrong media type", login, {"content-type": "text/plain"}),
            ("no body", b"", {}),
            ("body too large", b" " * 65537, JSON),
            ("bad attempt", login, JSON | {"idempotency-key": "short"}),
            ("bad address", login.replace(b"ada@", b"ada@@"), JSON),
        ):
            self.raw(f"login, {name}", "POST", "/login", headers, sent)

    def calls(self) -> None:
        """Call with the tokens of both devices."""
        phone, seen = self.phone, self.seen
        with seen.step("me"):
            phone.get("/me")
        with seen.step("me, opaque and Ed25519"):
            self.tablet.get("/me")
        with seen.step("me, for a page"):
            phone.request("GET", "/me", headers={"origin": ORIGIN})
        with seen.step("devices"):
            phone.get("/me/devices")
        seen.broken = True
        with seen.step("me, DynamoDB fails"):
            phone.get("/me")
        with seen.step("login, DynamoDB fails"):
            self.stranger.login(EMAIL)
        seen.broken = False
        with seen.step("transfer without step-up"):
            phone.post("/transfers", {"to": "eve", "amount": 100})

    def refused_calls(self) -> None:
        """Send calls that are refused."""
        phone, seen = self.phone, self.seen

        def altered(fields: dict[str, str]) -> None:
            fields["signature"] = "baton=:" + base64.b64encode(bytes(64)).decode() + ":"

        self.raw("me, no token", "GET", "/me")
        self.raw("me, no token that is known", "GET", "/me", {"authorization": "Bearer x.y.z"})
        self.raw("me, opaque garbage", "GET", "/me", {"authorization": "Bearer baton_AAAA"})
        self.raw("me, DPoP", "GET", "/me", {"authorization": f"DPoP {phone.token}"})
        with seen.step("me, signature missing"):
            phone.get("/me", tamper=_without("signature", "signature-input"))
        with seen.step("me, signature value missing"):
            phone.get("/me", tamper=_without("signature"))
        with seen.step("me, signature does not verify"):
            phone.get("/me", nonce="a-nonce", tamper=altered)
        with seen.step("me, another key"):
            self.stranger.get("/me", token=phone.token)
        with seen.step("me, clock wrong"):
            phone.get("/me", created=seen.clock.now - 301)
        operation = {"method": "DELETE", "path": "/api/me", "digest": "sha-256=:" + "A" * 43 + "=:"}
        for name in ("step-up", "step-up, nonce used before"):
            with seen.step(name):
                phone.post("/step-up", {"operation": operation, "password": PASSWORD}, nonce="a-nonce-used-twice")
        with seen.step("logout, digest of another body"):
            phone.request("POST", "/logout", b"{}", JSON, sent_body=b'{"everywhere":true}')
        with seen.step("logout, token not covered"):
            phone.post("/logout", {}, tamper=lambda fields: fields.update({"baton-grant": "x"}))
        with seen.step("end of a device that is unknown"):
            phone.confirmed("DELETE", "/me/devices/AAAAAAAAAAAAAAAA")

    def exchanges(self) -> None:
        """Exchange and retry. Send superseded tokens, tokens of other clients and reused tokens."""
        phone, tablet, seen = self.phone, self.tablet, self.seen
        first = str(phone.tokens["refresh_token"])
        seen.clock.now += MINUTE_S
        for name in ("exchange", "exchange, sent again"):
            with seen.step(name):
                phone.exchange(first, attempt="attempt-of-generation-0")
        with seen.step("exchange, opaque and Ed25519"):
            tablet.exchange()
        seen.clock.now += MINUTE_S
        with seen.step("exchange, the second"):
            phone.exchange(attempt="attempt-of-generation-1")
        with seen.step("exchange, superseded"):
            phone.exchange(first, attempt="attempt-of-generation-0")
        with seen.step("exchange by another key"):
            self.stranger.exchange(str(phone.tokens["refresh_token"]))
        with seen.step("exchange, scope too wide"):
            phone.exchange(scope="account admin")
        with seen.step("exchange by another client"):
            phone.exchange(client_id="mobile-opaque")
        with seen.step("exchange, wrong grant type"):
            phone.exchange(grant_type="password")
        with seen.step("me with a token that was exchanged"):
            seen.clock.now += 2 * MINUTE_S
            phone.get("/me", token=first)
        with seen.step("exchange, reuse"):
            phone.exchange(first, attempt="attempt-of-another-client")
        with seen.step("me after the reuse"):
            phone.get("/me")
        with seen.step("exchange after the reuse"):
            phone.exchange()
        seen.clock.now += MINUTE_S
        with seen.step("login, the device is known"):
            phone.login(EMAIL)

    def mechanisms(self) -> None:
        """Log in with each of the other mechanisms, and renew."""
        seen = self.seen
        for client_id in ("session-api", "legacy", "oauth", "iot", "simple"):
            device = self.device(client_id)
            with seen.step(f"login by {client_id}"):
                device.login(EMAIL)
            seen.clock.now += 10 * MINUTE_S
            with seen.step(f"me by {client_id}"):
                device.get("/me")
            with seen.step(f"renewal by {client_id}"):
                device.exchange(str(device.tokens.get("refresh_token", device.token)))
            self.unbound[client_id] = device
        hmac_device = self.device("mobile")
        with seen.step("login with an HMAC secret"):
            hmac_device.tokens = hmac_device.post(
                "/login", hmac_device.entry(EMAIL, binding="hmac"), token=None
            ).members
        hmac_device.bound = True
        hmac_device.key = HmacKey(hmac_device.tokens)  # type: ignore[assignment] # it has the methods of a key
        with seen.step("me with an HMAC secret"):
            hmac_device.get("/me")
        with seen.step("exchange with an HMAC secret"):
            hmac_device.exchange()
        with seen.step("login with the HMAC secret of the last login"):
            body = {"email": EMAIL, "password": PASSWORD, "client_id": "mobile", "device": {"binding": "hmac"}}
            hmac_device.post("/login", body, token=None)
        for name, device in (("phone", self.phone), ("tablet", self.tablet)):
            with seen.step(f"exchange of the {name}, minutes later"):
                device.exchange()
        with seen.step("devices, all"):
            self.phone.get("/me/devices")

    def oauth(self) -> None:
        """Introspect and revoke."""
        credentials = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
        basic = {"authorization": f"Basic {credentials}"}
        renewing = self.unbound["oauth"]
        for name, token in {
            "bound": self.phone.token,
            "opaque": self.tablet.token,
            "renewal": str(renewing.tokens["refresh_token"]),
            "garbage": "garbage",
        }.items():
            body = urlencode({"token": token}).encode()
            self.raw(f"introspection, {name}", "POST", "/oauth/introspect", FORM | basic, body)
        self.raw("introspection, no credentials", "POST", "/oauth/introspect", FORM, b"token=x")
        wrong = {"authorization": "Basic " + base64.b64encode(b"billing:wrong").decode()}
        self.raw("introspection, wrong credentials", "POST", "/oauth/introspect", FORM | wrong, b"token=x")
        self.raw("introspection, no token", "POST", "/oauth/introspect", FORM | basic)
        body = urlencode({"token": str(renewing.tokens["refresh_token"])}).encode()
        for name in ("revocation", "revocation, again"):
            self.raw(name, "POST", "/oauth/revoke", FORM, body)
        self.raw("revocation of garbage", "POST", "/oauth/revoke", FORM, b"token=garbage")
        self.raw("introspection, revoked", "POST", "/oauth/introspect", FORM | basic, body)

    def step_ups(self) -> None:
        """Prove the password again."""
        phone, seen = self.phone, self.seen
        with seen.step("step-up, wrong password"):
            operation = {"method": "DELETE", "path": "/api/me", "digest": "sha-256=:" + "A" * 43 + "=:"}
            phone.post("/step-up", {"operation": operation, "password": "not the password of Ada"})
        with seen.step("step-up, wrong type"):
            phone.post("/step-up", {"operation": {"method": "BREW", "path": 1, "digest": ""}, "password": ""})
        with seen.step("transfer with step-up"):
            phone.confirmed("POST", "/transfers", {"to": "eve", "amount": 100})
        with seen.step("transfer with a grant for another amount"):
            grant = phone.step_up("POST", "/transfers", b'{"to":"eve","amount":100}')
            phone.request("POST", "/transfers", b'{"to":"eve","amount":999}', JSON | {"baton-grant": grant})

    def ends(self) -> None:
        """End logins, one by one and all in one request, and delete the account."""
        phone, seen = self.phone, self.seen
        with seen.step("end of a device"):
            phone.confirmed("DELETE", f"/me/devices/{self.tablet.tokens['device_id']}")
        with seen.step("exchange of the device that was ended"):
            self.tablet.exchange()
        with seen.step("logout"):
            self.unbound["simple"].post("/logout", {})
        with seen.step("me after the logout"):
            self.unbound["simple"].get("/me")
        seen.clock.now += MINUTE_S
        with seen.step("password change"):
            phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD})
        with seen.step("call of another device after the password change"):
            self.unbound["iot"].get("/me")
        self.throttled()
        seen.clock.now += 15 * MINUTE_S
        with seen.step("exchange before the logout everywhere"):
            phone.exchange()
        with seen.step("logout everywhere"):
            body = b'{"everywhere":true}'
            grant = phone.step_up("POST", "/logout", body, password=NEW_PASSWORD)
            phone.request("POST", "/logout", body, JSON | {"baton-grant": grant})
        module = self.module
        act = SetStatus(
            clock=seen.clock.seconds,
            key_ring=module.baton.key_ring,
            users=module.baton.users,
            lineage_store=module.baton.lineage_store,
            record=module.baton.recorder,
        )
        module.baton.log.start_request(request_id="an-operator")
        seen.clock.now += MINUTE_S
        with seen.step("login after the logout everywhere"):
            phone.login(EMAIL, password=NEW_PASSWORD)
        with seen.step("account disabled"):
            act(EMAIL, Status.DISABLED)
        with seen.step("me of a disabled account"):
            phone.get("/me")
        with seen.step("login to a disabled account"):
            phone.login(EMAIL, password=NEW_PASSWORD)
        with seen.step("account enabled"):
            act(EMAIL, Status.ACTIVE)
        with seen.step("login after the account is enabled"):
            phone.login(EMAIL, password=NEW_PASSWORD)
        with seen.step("account deleted"):
            grant = phone.step_up("DELETE", "/me", password=NEW_PASSWORD)
            phone.request("DELETE", "/me", headers={"baton-grant": grant})
        with seen.step("me of a deleted account"):
            phone.get("/me")
        with seen.step("register after the deletion"):
            phone.register(EMAIL)
        with seen.step("account deleted by the operator"):
            act(EMAIL, Status.DELETED)

    def throttled(self) -> None:
        """Reach a rate limit, as ten wrong passwords do, and log in once more."""
        now, module = self.seen.clock.now, self.module
        account = module.baton.key_ring.current(now=now).decoy_account("nobody@example.com")
        for _ in range(FAILURES_PER_ACCOUNT_MAX):
            bucket = f"account:{account}"
            module.baton.ephemeral.count(bucket, limit=FAILURES_PER_ACCOUNT_MAX, window_s=THROTTLE_WINDOW_S, now=now)
        with self.seen.step("login, too many failures"):
            self.stranger.login("nobody@example.com")

    def jobs(self) -> None:
        """Rotate the keys when they are due."""
        event = {
            "version": "0",
            "account": "000000000000",
            "region": "us-east-1",
            "detail": {},
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "time": "2027-01-15T08:00:00Z",
            "id": "a-scheduled-event",
            "resources": [],
        }
        for name, passed_days in (("nothing is due", 1), ("a key is due", 84), ("key and root are due", 365)):
            self.seen.clock.now += passed_days * DAY_S
            with self.seen.step(f"key rotation, {name}"):
                jobs.rotate_keys(event, LambdaContext("an-invocation"))
        self.raw("jwks, rotated", "GET", "/.well-known/jwks.json")
