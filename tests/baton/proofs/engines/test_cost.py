"""The cost of each operation, on dynoxide, which counts capacity as DynamoDB does. The figures of moto are wrong.

A failed condition is charged too, but its answer has no figure. It is counted by DynamoDB's rule: one unit for an item
under 1 KB, two in a transaction.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import base64
import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import bcrypt
import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from baton_client import content_digest
from chalicelib.baton import settings
from chalicelib.baton.accounts.arriving import Arrival, account_of
from chalicelib.baton.accounts.migration import Migrated, Migration
from chalicelib.baton.effects import Done
from chalicelib.baton.factors.model import passkey_id
from chalicelib.baton.federation.id_token import login_nonce, step_up_nonce
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.tickets import open_ticket
from chalicelib.baton.lineages.model import Actor, PresentedToken
from chalicelib.baton.lineages.rules import Exchanged
from chalicelib.baton.mail.links import MailLinks
from chalicelib.baton.mail.tickets import MailOrder
from chalicelib.baton.policy import (
    KEY_RING_REFRESH_S,
    LINEAGE_KEPT_S,
    LINEAGES_IN_ONE_UNIT,
    LINEAGES_MAX,
    ONCE_ANSWER_BYTES_MAX,
)
from chalicelib.baton.proof.once_rules import OnceKey
from chalicelib.baton.routing import Answer
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from chalicelib.baton.testing.attesters.kit import Attester
from chalicelib.baton.testing.contract.values import NOW
from chalicelib.baton.testing.identity_provider import IdentityProvider
from chalicelib.baton.testing.phone import new_key
from chalicelib.baton.tokens.caller import Caller
from tests.baton.browser.dbsc import CHALLENGE, OFFER, answer_to, make_proof
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.factors.authenticator import Authenticator
from tests.baton.federation.apple_server import AppleServer
from tests.baton.fixture import load_environment
from tests.baton.proofs.engines.recording import ReadThenWrite
from tests.baton.storage.test_dynamodb import put_state
from tests.baton.storage.test_state_size import LARGEST, state_of
from tests.baton.wire.conversation import FORM, HOST, JSON, NEW_PASSWORD, PASSWORD, Device, Said
from tests.baton.wire.passkeys import (
    add,
    factor_options,
    options_of,
    send_passkey,
    sign_in_options,
    step_up_options,
    switch_on,
)
from tests.baton.wire.restore import keep, put_key, restore_options, send_restore
from tests.baton.wire.second_factor import Person, ask, grant_of, prove
from tests.baton.wire.test_narrowed import narrow
from tools.dev.gateway import DevelopmentClock, Gateway

# Write units, read units and round trips before the answer, and separately the units of the audit entry
# (`events/names.py` lists the audited events).
GOLDEN = """
route                                       operation                           writes  reads  trips  audit
GET /time                                   warm                                     0      0      0      0
GET /health                                 warm                                     0      1      1      0
GET /.well-known/jwks.json                  warm                                     0      0      0      0
GET /.well-known/oauth-authorization-server warm                                     0      0      0      0
GET /.well-known/openid-configuration       warm                                     0      0      0      0
GET /.well-known/oauth-protected-resource   warm                                     0      0      0      0
GET /openapi.json                           warm                                     0      0      0      0
GET /oauth/authorize                        warm                                     0      0      0      0
POST /oauth/authorize                       warm                                     0      0      0      0
GET /.well-known/jwks.json                  the key ring is due: any request         0      1      1      0
POST /register                              a new account                            7      0      2      1
POST /register                              a retry                                  9      2      6      0
POST /register                              a taken address                          7      1      3      0
POST /login                                 a known device                           3      3      6      2
POST /login                                 an unknown device                        5      3      8      1
POST /login                                 a known device, the account full         5      3      6      2
POST /login                                 a known device's retry                   2      3      5      0
POST /login                                 a known device, wrong password           1      3      4      0
POST /login                                 an unknown device, wrong password        2      3      5      0
POST /login                                 an address nobody has                    2      3      5      0
POST /login                                 an imported person, the first login      6      3      9      1
POST /login                                 a person who moves, not known here      11      4     10      2
POST /login                                 a person who moves, imported before      9      5     11      2
POST /oauth/token                           a narrowed token                         0      1      1      0
POST /oauth/token                           exchange                                 1      0      1      0
POST /oauth/token                           exchange, a retry                        1      0      1      0
POST /oauth/token                           exchange, a late repetition              1      0      1      0
POST /oauth/token                           exchange, reuse                          3      0      3      1
POST /oauth/token                           exchange, an ended login                 1      0      1      0
POST /oauth/token                           exchange, rotating_refresh               1      0      1      0
POST /oauth/token                           renewal, refresh, the first of a day     1      1      2      0
POST /oauth/token                           renewal, refresh, another that day       0      1      1      0
POST /oauth/token                           renewal, session                         1      1      2      0
POST /oauth/token                           a forged token                           0      0      0      0
POST /oauth/revoke                          any token of a bound login               1      1      2      1
POST /oauth/revoke                          any token of an unbound login            1      1      2      1
POST /oauth/introspect                      any token for calls                      0      1      1      0
GET /me/devices                             a signed safe call                       0      1      1      0
GET /me/devices                             the same, of a session that slides       1      1      2      0
GET /me/devices                             the same, long-lived, first of a day     1      1      2      0
GET /me/devices                             the same, long-lived, another time       0      1      1      0
GET /me/devices                             the same, with an expired token          0      0      0      0
GET /me/devices                             by a cookie                              0      1      1      0
GET /me/devices                             by a cookie that slides                  1      1      2      0
GET /me/devices                             by a remember token                      1      1      2      0
GET /me/devices                             by an old session id                     1      1      2      1
GET /me/devices                             by a cookie, for another site            0      0      0      0
GET /session                                without cookies                          0      0      0      0
GET /session                                by a cookie                              0      1      1      0
POST /login                                 in a browser                             5      4      9      1
POST /login                                 in a browser, over a cookie              5      4      9      2
POST /session/handover                      a code, of a login by password           1      2      3      0
POST /session/redeem                        whose code it is                         0      2      2      0
POST /session/redeem                        the tap                                  2      2      4      1
POST /session/redeem                        a forged code                            0      0      0      0
GET /session/open                           the page                                 0      0      0      0
GET /session/open                           with a code                              2      2      4      1
GET /me/devices                             by a cookie that an app handed over      0      1      1      0
GET /me/devices                             the same, that slides                    1      1      2      0
POST /session/bind                          an offer                                 1      0      1      0
POST /session/proof                         without a proof: a challenge             0      1      1      0
POST /session/proof                         with a proof                             0      1      1      0
GET /me/devices                             by a bound cookie                        0      1      1      0
POST /nothing                               a signed state-changing call             1      1      2      0
POST /nothing                               the same, replayed                       1      1      2      0
POST /nothing                               the same, unbound                        0      1      1      0
GET /me                                     the account                              0      3      3      0
GET /me/activity                            the newest page                          0      1      1      1
GET /me/export                              with a grant                             1      3      4      2
DELETE /me/devices/{device_id}              another device                           3      1      4      1
POST /logout                                here                                     2      1      3      1
POST /logout                                everywhere                               3      1      4      1
POST /step-up                               the password is right                    4      2      6      0
POST /transfers                             without a grant                          1      2      3      0
POST /transfers                             with a grant                             2      1      3      0
POST /me/password                           with a grant                             6      2      5      1
DELETE /me                                  with a grant                             5      3      8      1
POST /register/start                        any address                              2      0      2      0
POST /register                              with a code                              8      0      3      1
POST /password/forgot                       a known address                          2      2      4      0
POST /password/forgot                       an unknown address                       2      2      4      0
POST /password/forgot                       a known device                           3      2      5      0
POST /password/reset                        the right code                           5      2      4      1
POST /password/reset                        a repetition                             1      2      3      0
POST /password/reset                        a wrong code                             1      0      1      0
POST /me/email/code                         a signed call, its limits, the user      3      2      5      0
POST /me/email/verify                       the right code                           6      1      4      1
POST /me/email                              a grant, the limits, the user            6      2      8      0
POST /me/email/confirm                      the code of the new mailbox             10      2      5      1
POST /me/email/confirm                      a taken address                         10      3      6      0
POST /mail/undo                             the address returns                     10      2      3      1
POST /mail/undo                             a repetition                             0      2      2      0
POST /mail/not-me                           an account that was never proved         6      2      3      1
GET /mail/action                            the page of a link                       0      0      0      0
POST /login                                 an unknown device, asked for a code      4      3      7      0
POST /login/email-code                      a login that must enrol                  2      2      4      0
POST /login/factor                          the code of the mailbox                  6      2      5      1
POST /login                                 a remembered device                      3      3      6      2
POST /login/factor                          a known device, by its app               4      2      6      2
POST /login/factor                          an unknown device, by its app            5      2      7      1
POST /login/factor                          a recovery code                          2      2      4      2
POST /login/enrol                           refused: the account has a factor        0      2      2      0
POST /step-up                               password and app                         7      2      9      0
POST /step-up                               the app alone                            5      2      7      0
GET /me/factors                             the factors                              0      2      2      0
POST /me/factors/totp                       with a grant                             2      2      4      0
POST /me/factors/totp/confirm               the first code                           5      2      4      1
DELETE /me/factors/totp                     with a grant                             6      2      5      1
POST /me/factors/recovery-codes             with a grant                             6      2      5      1
PUT /me/second-factor                       with a grant                             6      2      5      1
GET /.well-known/apple-app-site-association warm                                     0      0      0      0
GET /.well-known/assetlinks.json            warm                                     0      0      0      0
GET /.well-known/webauthn                   warm                                     0      0      0      0
GET /.well-known/passkey-endpoints          warm                                     0      0      0      0
POST /login/passkey/options                 any device                               0      0      0      0
POST /login/passkey                         the first login of a day                 3      2      5      1
POST /login/passkey                         another login of that day                2      2      4      1
POST /login/passkey                         a forged signature                       0      2      2      0
POST /login/restore/options                 a new phone                              0      0      0      0
POST /login/restore                         a new phone                              3      2      5      1
POST /login/restore                         a forged signature                       0      2      2      0
POST /login/restore                         the old phone has logged out             0      2      2      0
POST /me/restore-key/options                right after a login                      1      2      3      0
PUT /me/restore-key                         a restore key                            5      2      4      0
DELETE /me/restore-key                      the restore key                          5      1      3      0
POST /login/factor/options                  a passkey                                0      2      2      0
POST /login/factor                          an unknown device, by a passkey          3      2      5      1
POST /step-up/options                       a passkey                                1      2      3      0
POST /step-up                               a passkey alone                          3      2      5      0
POST /me/passkeys/options                   with a grant                             2      2      4      0
POST /me/passkeys/upgrade-options           right after a login                      1      2      3      0
POST /me/passkeys                           a new passkey                            7      2      4      1
GET /me/passkeys                            the passkeys                             0      2      2      0
PATCH /me/passkeys/{passkey_id}             a name                                   5      2      4      0
DELETE /me/passkeys/{passkey_id}            with a grant                             8      2      5      1
POST /login/federated                       a sign-up                                9      1      3      1
POST /login/federated                       an unknown device                        1      3      4      1
POST /login/federated                       a refused token                          1      0      1      0
POST /step-up                               an identity                              2      2      4      0
GET /me/identities                          the identities                           0      2      2      0
POST /me/identities                         a new identity                           8      2      5      1
POST /me/identities                         mine already                             2      2      4      0
POST /me/identities                         of another account                       8      3      6      0
DELETE /me/identities/{provider}            with a grant                             8      2      5      1
POST /login/federated                       at Apple, with a code                    2      4      6      1
POST /federation/apple/notifications        the app was removed                      3      3      6      0
POST /attestation-challenge                 a challenge                              0      0      0      0
POST /register                              with evidence                            8      0      3      2
POST /login                                 an unknown device, with evidence         6      3      9      2
POST /login                                 a known device, known evidence           3      4      7      2
POST /login                                 a known device, an assertion             4      4      8      2
POST /oauth/token                           exchange, an attested login              1      0      1      0
POST /attest                                a login without evidence                 3      1      4      1
POST /attest                                bad evidence                             1      1      2      0
"""

EXCHANGES = 1000
READS = {"GetItem", "BatchGetItem", "Query", "Scan"}


@dataclass(frozen=True, slots=True)
class Cost:
    """Capacity units and calls. The audit is counted separately, because the answer does not depend on it."""

    writes: float
    reads: float
    trips: int
    audit: float = 0


@dataclass(slots=True)
class Meter:
    """Counts the calls of every client that Baton creates."""

    units: Counter[str] = field(default_factory=Counter)

    def attach(self, client: Any) -> None:
        """Register for the events of a client."""
        events = client.meta.events
        events.register("provide-client-params.dynamodb", self._ask)
        events.register("before-parameter-build.dynamodb", self._begin)
        events.register("request-created.dynamodb", self._sent)
        events.register("after-call.dynamodb", self._answered)

    def _ask(self, params: Mapping[str, object], **_: object) -> dict[str, object]:
        return {**params, "ReturnConsumedCapacity": "TOTAL"}

    def _begin(self, params: Mapping[str, Any], context: dict[str, Any], **_: object) -> None:
        context["writes"] = len(params.get("TransactItems", "1"))

    def _sent(self, request: Any, **_: object) -> None:
        # Count each attempt: a retry of botocore is a round trip too.
        self.units["audit trips" if b"-audit" in bytes(request.data) else "trips"] += 1

    def _answered(self, model: Any, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        match parsed.get("Error", {}).get("Code"):
            case None:
                told = parsed["ConsumedCapacity"]
                for one in told if isinstance(told, list) else [told]:
                    kind = "reads" if model.name in READS else "writes"
                    self.units["audit" if one["TableName"].endswith("-audit") else kind] += one["CapacityUnits"]
            case "ConditionalCheckFailedException":
                self.units["writes"] += 1
            case "TransactionCanceledException":
                self.units["writes"] += 2 * context["writes"]
            case code:
                pytest.fail(f"{model.name}: {code}")

    def reading(self) -> Cost:
        """Return the counts, and reset them."""
        cost = Cost(self.units["writes"], self.units["reads"], self.units["trips"], self.units["audit"])
        self.units.clear()
        return cost


@pytest.fixture
def tables(shared_tables: Tables) -> Tables:
    """Use dynoxide for all tables."""
    return shared_tables


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """Attach a meter to every client that Baton creates."""
    meter = Meter()
    make = AwsClient._make

    def metered(service: AwsClient) -> object:
        client = make(service)
        meter.attach(client)
        return client

    monkeypatch.setattr(AwsClient, "_make", metered)
    return meter


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, meter: Meter, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put one environment behind the gateway, with an empty signed route, as an app would add it."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_MAIL", "mailbox")
    monkeypatch.setenv("BATON_ISSUER", f"https://{HOST}/api")  # Baton offers a browser a binding only over https
    attester = Attester(lambda: int(clock.time()))
    monkeypatch.setattr(settings, "_PROVIDERS", "identity-providers.toml")
    environment = load_environment(clock, anchors=attester.anchors)
    ATTESTERS[:] = [attester]
    rows = environment.baton.settings.providers
    google, acme, apple = (
        IdentityProvider(rows.get(name), lambda: int(clock.time())) for name in ("google", "acme", "apple")
    )
    served = {one.provider.jwks_uri: one for one in (google, acme, apple)}
    environment.baton._late.fetch = lambda url, **_: served[url].fetch()
    PROVIDERS[:] = [google, acme, apple]
    server = AppleServer()
    server.begin(apple, lambda: int(clock.time()))
    server.set_key(environment.baton, now=int(clock.time()))
    environment.baton._late.post = server.post
    APPLES[:] = [server]
    environment.baton._dispatch.after = None  # mails stay in the queue, as behind SQS
    QUEUES[:] = [environment.baton]

    @environment.app.route("/nothing", methods=["POST"])  # type: ignore[untyped-decorator]
    @environment.baton.signed()  # type: ignore[untyped-decorator]
    def nothing(caller: Caller) -> Answer:
        return Answer(204)

    gateway = Gateway([environment.app])
    gateway.call("GET", "/api/.well-known/jwks.json", [("host", HOST)])  # load the key ring first
    return gateway


Act = Callable[[], Said]
Prepare = Callable[["Home"], Act]
ROWS: dict[tuple[str, str], tuple[int, Prepare]] = {}


QUEUES: list[Any] = []
"""The deployment whose queue of mails the rows read."""
ATTESTERS: list[Attester] = []
"""The authorities that attest the phones of the rows."""
PROVIDERS: list[IdentityProvider] = []
"""The identity providers of the people of the rows: Google; Acme, which counts for a step-up; Apple."""
APPLES: list[AppleServer] = []
"""Apple's server, which trades codes."""


class Home:
    """The account of the devices of one row."""

    def __init__(self, make_device: Callable[..., Device], clock: DevelopmentClock, number: int) -> None:
        """Set the address of the account."""
        self.make, self.clock, self.email = make_device, clock, f"ada{number}@example.com"

    def device(self, client_id: str = "mobile") -> Device:
        """Create a device. It is bound if its client requires that."""
        return self.make(client_id=client_id, bound=client_id == "mobile")

    def registered(self, client_id: str = "mobile") -> Device:
        """Register a device."""
        device = self.device(client_id)
        assert device.register(self.email).status == 201
        return device

    def evidence(self, phone: Device, form: str = "android-key", **named: Any) -> dict[str, Any]:
        """Make evidence for a phone of the client ``genuine``."""
        (attester,), (baton,) = ATTESTERS, QUEUES
        said = phone.post("/attestation-challenge", {"client_id": "genuine"}, token=None)
        challenge = said.members["attestation_challenge"]
        public_key = PublicKey.from_jwk(phone.key.jwk())
        client = baton.clients.get("genuine")
        return attester.member(form, client, challenge=challenge, public_key=public_key, **named)

    def genuine(self, form: str = "android-key") -> tuple[Device, dict[str, Any]]:
        """Register a phone with evidence. Return the evidence too."""
        phone = self.make(client_id="genuine")
        evidence = self.evidence(phone, form)
        assert phone.register(self.email, attestation=evidence).status == 201
        return phone, evidence

    def federated(self, phone: Device, *, index: int = 0, **claims: Any) -> Said:
        """Log in, or sign up, with an identity at Google, or at the provider with this index."""
        provider, attempt = PROVIDERS[index], secrets.token_urlsafe(16)
        name = provider.provider.name
        nonce = login_nonce(provider=name, client_id="mobile", keyid=phone.key.thumbprint(), attempt=attempt)
        body = {
            "provider": name,
            "id_token": provider.token(self.email, nonce, **claims),
            "client_id": "mobile",
            "device": {"name": "phone", "public_key": phone.key.jwk()},
            "create": True,
        }
        return phone._kept(phone.post("/login/federated", body, {"idempotency-key": attempt}, token=None))

    def at_apple(self, phone: Device) -> Said:
        """Log in, or sign up, with an identity at Apple and an authorization code."""
        (*_, apple), (server,), attempt = PROVIDERS, APPLES, secrets.token_urlsafe(16)
        nonce = login_nonce(provider="apple", client_id="mobile", keyid=phone.key.thumbprint(), attempt=attempt)
        body = {
            "provider": "apple",
            "id_token": apple.token(self.email, nonce),
            "authorization_code": server.code(self.email),
            "client_id": "mobile",
            "device": {"name": "phone", "public_key": phone.key.jwk()},
            "create": True,
        }
        return phone._kept(phone.post("/login/federated", body, {"idempotency-key": attempt}, token=None))

    def code(self) -> str:
        """Read the code of the newest order in the queue."""
        return self._newest_order()[1].code

    def link(self, *, unproved: bool = False) -> str:
        """Make the ticket of the link to Baton's page in the mail of the newest order."""
        ring, order = self._newest_order()
        links = MailLinks(issuer="https://api.example.com", link_host="")
        (url,) = links(order, to=order.address, ring=ring, unproved=unproved).values()
        return url.rpartition("=")[2]

    def _newest_order(self) -> tuple[Ring, MailOrder]:
        (baton,), now = QUEUES, int(self.clock.time())
        ring = baton.key_ring.current(now=now)
        return ring, open_ticket(MailOrder, baton.background.pending._orders[-1], ring, now=now, bound_to={})

    def skip(self, seconds: int) -> None:
        """Advance the clock, and let the environment read its key ring again."""
        self.clock.skip(seconds)
        request_without_token("/.well-known/jwks.json")(self)()


def row(route: str, operation: str, status: int = 200) -> Callable[[Prepare], Prepare]:
    """Add a row to the table.

    The calls of the preparation are not counted, those of the function that it returns are.
    """

    def claim(prepare: Prepare) -> Prepare:
        assert (route, operation) not in ROWS
        ROWS[route, operation] = (status, prepare)
        return prepare

    return claim


def request_without_token(path: str, method: str = "GET") -> Prepare:
    """Send a request without a token."""
    return lambda home: lambda: home.device().send(method, f"/api{path}", [("host", HOST)], b"")


for _path in (
    "/time",
    "/health",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-protected-resource",
    "/openapi.json",
):
    row(f"GET {_path}", "warm")(request_without_token(_path))
for _method in ("GET", "POST"):
    row(f"{_method} /oauth/authorize", "warm", 400)(request_without_token("/oauth/authorize", _method))


@row("GET /.well-known/jwks.json", "the key ring is due: any request")
def _(home: Home) -> Act:
    home.clock.skip(KEY_RING_REFRESH_S)
    return request_without_token("/.well-known/jwks.json")(home)


def enter_twice(device: Device, path: str, email: str) -> Act:
    """Register or log in, and repeat the request with the same attempt."""
    attempt = {"idempotency-key": secrets.token_urlsafe(16)}
    assert device.post(path, device.entry(email), attempt, token=None).status in {200, 201}
    return lambda: device.post(path, device.entry(email), attempt, token=None)


@row("POST /register", "a new account", 201)
def _(home: Home) -> Act:
    return lambda: home.device().register(home.email)


@row("POST /register", "a retry", 201)
def _(home: Home) -> Act:
    return enter_twice(home.device(), "/register", home.email)


@row("POST /register", "a taken address", 409)
def _(home: Home) -> Act:
    home.registered()
    return lambda: home.device().register(home.email)


@row("POST /login", "a known device")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.login(home.email)


@row("POST /login", "an unknown device")
def _(home: Home) -> Act:
    home.registered()
    return lambda: home.device().login(home.email)


@row("POST /login", "a known device, the account full")
def _(home: Home) -> Act:
    phone = home.registered()
    for _ in range(LINEAGES_MAX - 1):
        assert phone.login(home.email).status == 200
    home.skip(LINEAGE_KEPT_S)
    return lambda: phone.login(home.email)


@row("POST /login", "a known device's retry")
def _(home: Home) -> Act:
    return enter_twice(home.registered(), "/login", home.email)


@row("POST /login", "a known device, wrong password", 401)
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.login(home.email, password=NEW_PASSWORD)


@row("POST /login", "an unknown device, wrong password", 401)
def _(home: Home) -> Act:
    home.registered()
    return lambda: home.device().login(home.email, password=NEW_PASSWORD)


@row("POST /login", "an address nobody has", 401)
def _(home: Home) -> Act:
    return lambda: home.device().login(home.email)


def arrive(home: Home, **members: Any) -> None:
    """Make the account of a person who comes from another system."""
    (baton,), now = QUEUES, int(home.clock.time())
    arrival = Arrival(email=home.email, source_id="old", **members)
    made = account_of(arrival, baton.key_ring.current(now=now), entropy=secrets.token_bytes, now=now)
    assert baton.users.register(*made) == Done()


@row("POST /login", "an imported person, the first login")
def _(home: Home) -> Act:
    arrive(home, password_hash=bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode())
    return lambda: home.device().login(home.email)


@row("POST /login", "a person who moves, not known here")
def _(home: Home) -> Act:
    QUEUES[0]._migration = Migration(lambda email, _: Migrated() if email == home.email else None, 2**33)
    return lambda: home.device().login(home.email)


@row("POST /login", "a person who moves, imported before")
def _(home: Home) -> Act:
    QUEUES[0]._migration = Migration(lambda email, _: Migrated() if email == home.email else None, 2**33)
    arrive(home, migrate=True)
    return lambda: home.device().login(home.email)


@row("POST /oauth/token", "a narrowed token")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: narrow(phone)


@row("POST /oauth/token", "exchange")
def _(home: Home) -> Act:
    phone = home.registered()
    return phone.exchange


def exchanged(phone: Device, times: int) -> tuple[str, str]:
    """Exchange this number of times. Return the first of these tokens, and its attempt."""
    token, attempt = str(phone.tokens["refresh_token"]), secrets.token_urlsafe(16)
    assert phone.exchange(attempt=attempt).status == 200
    for _ in range(times - 1):
        assert phone.exchange().status == 200
    return token, attempt


@row("POST /oauth/token", "exchange, a retry")
def _(home: Home) -> Act:
    phone = home.registered()
    token, attempt = exchanged(phone, 1)
    return lambda: phone.exchange(token, attempt=attempt)


@row("POST /oauth/token", "exchange, a late repetition", 409)
def _(home: Home) -> Act:
    phone = home.registered()
    token, attempt = exchanged(phone, 2)
    return lambda: phone.exchange(token, attempt=attempt)


@row("POST /oauth/token", "exchange, reuse", 400)
def _(home: Home) -> Act:
    phone = home.registered()
    token, _ = exchanged(phone, 1)
    return lambda: phone.exchange(token)


@row("POST /oauth/token", "exchange, an ended login", 400)
def _(home: Home) -> Act:
    phone = home.registered()
    phone.post("/logout", {})
    return phone.exchange


@row("POST /oauth/token", "exchange, rotating_refresh")
def _(home: Home) -> Act:
    phone = home.registered("oauth")
    return phone.exchange


@row("POST /oauth/token", "renewal, refresh, the first of a day")
def _(home: Home) -> Act:
    phone = home.registered("legacy")
    return phone.exchange


@row("POST /oauth/token", "renewal, refresh, another that day")
def _(home: Home) -> Act:
    phone = home.registered("legacy")
    assert phone.exchange().status == 200
    return phone.exchange


@row("POST /oauth/token", "renewal, session")
def _(home: Home) -> Act:
    phone = home.registered("session-api")
    return phone.exchange


@row("POST /oauth/token", "a forged token", 400)
def _(home: Home) -> Act:
    phone = home.registered()
    header, payload, _ = phone.token.split(".")
    return lambda: phone.exchange(f"{header}.{payload}.{'A' * 86}")


def revoking(phone: Device) -> Act:
    """Revoke the token of a device."""
    form = urlencode({"token": phone.token}).encode()
    return lambda: phone.request("POST", "/oauth/revoke", form, FORM, token=None)


@row("POST /oauth/revoke", "any token of a bound login")
def _(home: Home) -> Act:
    return revoking(home.registered())


@row("POST /oauth/revoke", "any token of an unbound login")
def _(home: Home) -> Act:
    return revoking(home.registered("simple"))


@row("POST /oauth/introspect", "any token for calls")
def _(home: Home) -> Act:
    phone = home.registered()
    known = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET.replace(' ', '+')}".encode()).decode()
    headers = [("host", HOST), *FORM.items(), ("authorization", f"Basic {known}")]
    return lambda: phone.send("POST", "/api/oauth/introspect", headers, urlencode({"token": phone.token}).encode())


@row("GET /me/devices", "a signed safe call")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.get("/me/devices")


@row("GET /me/devices", "the same, of a session that slides")
def _(home: Home) -> Act:
    phone = home.registered("session-api")
    home.skip(600)
    return lambda: phone.get("/me/devices")


@row("GET /me/devices", "the same, long-lived, first of a day")
def _(home: Home) -> Act:
    thing = home.registered("iot")
    return lambda: thing.get("/me/devices")


@row("GET /me/devices", "the same, long-lived, another time")
def _(home: Home) -> Act:
    thing = home.registered("iot")
    assert thing.get("/me/devices").status == 200
    return lambda: thing.get("/me/devices")


@row("GET /me/devices", "the same, with an expired token", 401)
def _(home: Home) -> Act:
    phone = home.registered()
    home.skip(1000)
    return lambda: phone.get("/me/devices")


PAGE = {"sec-fetch-site": "same-origin"}


def browser_of(home: Home, *, remember: bool = False) -> tuple[Device, str]:
    """Register a browser, and return it with its cookies."""
    browser = home.device("web")
    browser.bound = False
    said = browser.post("/register", browser.entry(home.email) | {"remember": remember}, PAGE, token=None)
    assert said.status == 201
    return browser, said.cookies


def with_cookies(browser: Device, cookies: str, path: str = "/me/devices", **page: str) -> Act:
    """Read with cookies."""
    headers = {**PAGE, "cookie": cookies, **{name.replace("_", "-"): value for name, value in page.items()}}
    return lambda: browser.get(path, headers=headers, token=None)


@row("GET /me/devices", "by a cookie")
def _(home: Home) -> Act:
    return with_cookies(*browser_of(home))


@row("GET /me/devices", "by a cookie that slides")
def _(home: Home) -> Act:
    browser = browser_of(home)
    home.skip(600)
    return with_cookies(*browser)


@row("GET /me/devices", "by a remember token")
def _(home: Home) -> Act:
    browser = browser_of(home, remember=True)
    home.skip(36_000)
    return with_cookies(*browser)


@row("GET /me/devices", "by an old session id", 401)
def _(home: Home) -> Act:
    browser, cookies = browser_of(home)
    newer = cookies
    for _ in range(2):
        home.skip(600)
        newer = with_cookies(browser, newer)().cookies
    return with_cookies(browser, cookies)


@row("GET /me/devices", "by a cookie, for another site", 403)
def _(home: Home) -> Act:
    return with_cookies(*browser_of(home), sec_fetch_site="cross-site")


@row("GET /session", "without cookies")
def _(home: Home) -> Act:
    return with_cookies(home.device("web"), "", "/session")


@row("GET /session", "by a cookie")
def _(home: Home) -> Act:
    return with_cookies(*browser_of(home), "/session")


@row("POST /login", "in a browser")
def _(home: Home) -> Act:
    browser, _ = browser_of(home)
    return lambda: browser.post("/login", browser.entry(home.email), PAGE, token=None)


@row("POST /login", "in a browser, over a cookie")
def _(home: Home) -> Act:
    browser, cookies = browser_of(home)
    return lambda: browser.post("/login", browser.entry(home.email), {**PAGE, "cookie": cookies}, token=None)


def code_of(phone: Device) -> str:
    """Request a code to hand the login over."""
    return str(phone.post("/session/handover", {"client_id": "web"}).members["code"])


def redeeming(home: Home, *, confirm: bool, cookies: str = "") -> Act:
    """Redeem a code in a browser."""
    code, browser = code_of(home.registered()), home.device("web")
    headers = {**PAGE, **({"cookie": cookies} if cookies else {})}
    return lambda: browser.post("/session/redeem", {"code": code, "confirm": confirm}, headers, token=None)


@row("POST /session/handover", "a code, of a login by password")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.post("/session/handover", {"client_id": "web"})


@row("POST /session/redeem", "whose code it is")
def _(home: Home) -> Act:
    return redeeming(home, confirm=False)


@row("POST /session/redeem", "the tap")
def _(home: Home) -> Act:
    return redeeming(home, confirm=True)


@row("POST /session/redeem", "a forged code", 400)
def _(home: Home) -> Act:
    browser = home.device("web")
    return lambda: browser.post("/session/redeem", {"code": "ho.x", "confirm": True}, PAGE, token=None)


@row("GET /session/open", "the page")
def _(home: Home) -> Act:
    return request_without_token("/session/open")(home)


@row("GET /session/open", "with a code", 303)
def _(home: Home) -> Act:
    headers, browser = {"baton-handover": code_of(home.registered())}, home.device("web")
    return lambda: browser.get("/session/open", headers=headers, token=None)


@row("GET /me/devices", "by a cookie that an app handed over")
def _(home: Home) -> Act:
    return with_cookies(home.device("web"), redeeming(home, confirm=True)().cookies)


@row("GET /me/devices", "the same, that slides")
def _(home: Home) -> Act:
    cookies = redeeming(home, confirm=True)().cookies
    home.skip(600)
    return with_cookies(home.device("web"), cookies)


def bound_browser(home: Home) -> tuple[Device, str, EllipticCurvePrivateKey, str]:
    """Register a browser and bind it. Return it with its cookies, its key and its session."""
    browser, key = home.device("web"), new_key()
    browser.bound = False
    said = browser.post("/register", browser.entry(home.email), PAGE, token=None)
    path, proof = answer_to(said.headers[OFFER], key)
    bound = browser.request("POST", path, headers={"secure-session-response": proof}, token=None)
    return browser, f"{said.cookies}; {bound.cookies}", key, bound.members["session_identifier"]


def proving(browser: Device, session: str, key: EllipticCurvePrivateKey, *, challenge: bool) -> Act:
    """Renew the proof of a browser."""
    headers = {"sec-secure-session-id": session}

    def ask() -> Said:
        return browser.request("POST", "/session/proof", headers=headers, token=None)

    if challenge:
        headers["secure-session-response"] = make_proof(key, ask().headers[CHALLENGE].split('"')[1])
    return ask


@row("POST /session/bind", "an offer")
def _(home: Home) -> Act:
    browser, key = home.device("web"), new_key()
    browser.bound = False
    said = browser.post("/register", browser.entry(home.email), PAGE, token=None)
    path, proof = answer_to(said.headers[OFFER], key)
    return lambda: browser.request("POST", path, headers={"secure-session-response": proof}, token=None)


@row("POST /session/proof", "without a proof: a challenge", 403)
def _(home: Home) -> Act:
    browser, _, key, session = bound_browser(home)
    return proving(browser, session, key, challenge=False)


@row("POST /session/proof", "with a proof")
def _(home: Home) -> Act:
    browser, _, key, session = bound_browser(home)
    return proving(browser, session, key, challenge=True)


@row("GET /me/devices", "by a bound cookie")
def _(home: Home) -> Act:
    browser, cookies, _, _ = bound_browser(home)
    home.skip(61)
    return with_cookies(browser, cookies)


@row("POST /nothing", "a signed state-changing call", 204)
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.post("/nothing", {})


@row("POST /nothing", "the same, replayed", 401)
def _(home: Home) -> Act:
    phone = home.registered()
    phone.post("/nothing", {}, nonce="once")
    return lambda: phone.post("/nothing", {}, nonce="once")


@row("POST /nothing", "the same, unbound", 204)
def _(home: Home) -> Act:
    phone = home.registered("simple")
    return lambda: phone.post("/nothing", {})


@row("GET /me", "the account")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.get("/me")


@row("GET /me/activity", "the newest page")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.get("/me/activity")


@row("GET /me/export", "with a grant")
def _(home: Home) -> Act:
    phone = home.registered()
    grant = phone.step_up("GET", "/me/export")
    return lambda: phone.request("GET", "/me/export", headers={"baton-grant": grant})


@row("DELETE /me/devices/{device_id}", "another device", 204)
def _(home: Home) -> Act:
    tablet, phone = home.registered(), home.device()
    phone.login(home.email)
    path = f"/me/devices/{tablet.tokens['device_id']}"
    grant = phone.step_up("DELETE", path)
    return lambda: phone.request("DELETE", path, headers={"baton-grant": grant})


@row("POST /logout", "here", 204)
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.post("/logout", {})


@row("POST /logout", "everywhere", 204)
def _(home: Home) -> Act:
    phone = home.registered()
    grant = phone.step_up("POST", "/logout", b'{"everywhere": true}')
    return lambda: phone.post("/logout", {"everywhere": True}, {"baton-grant": grant})


@row("POST /step-up", "the password is right")
def _(home: Home) -> Act:
    phone = home.registered()
    operation = {"method": "DELETE", "path": "/api/me", "digest": content_digest(b"")}
    return lambda: phone.post("/step-up", {"operation": operation, "password": PASSWORD})


@row("POST /transfers", "without a grant", 401)
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.post("/transfers", {"to": "bob", "amount": 20000})


@row("POST /transfers", "with a grant", 201)
def _(home: Home) -> Act:
    phone = home.registered()
    grant = phone.step_up("POST", "/transfers", b'{"to": "bob", "amount": 20000}')
    return lambda: phone.post("/transfers", {"to": "bob", "amount": 20000}, {"baton-grant": grant})


@row("POST /me/password", "with a grant", 204)
def _(home: Home) -> Act:
    phone = home.registered()
    grant = phone.step_up("POST", "/me/password", f'{{"new_password": "{NEW_PASSWORD}"}}'.encode())
    return lambda: phone.post("/me/password", {"new_password": NEW_PASSWORD}, {"baton-grant": grant})


@row("DELETE /me", "with a grant", 204)
def _(home: Home) -> Act:
    phone = home.registered()
    grant = phone.step_up("DELETE", "/me")
    return lambda: phone.request("DELETE", "/me", headers={"baton-grant": grant})


def forgot(device: Device, email: str, path: str = "/password/forgot") -> Said:
    """Request the code of a reset, or of a registration."""
    entry = device.entry(email)
    del entry["password"]
    return device.post(path, entry, token=None)


@row("POST /register/start", "any address", 202)
def _(home: Home) -> Act:
    return lambda: forgot(home.device(), home.email, "/register/start")


@row("POST /register", "with a code", 201)
def _(home: Home) -> Act:
    phone = home.device()
    session = forgot(phone, home.email, "/register/start").members["mail_session"]
    return lambda: phone.register(home.email, mail_session=session, code=home.code())


@row("POST /password/forgot", "a known address", 202)
def _(home: Home) -> Act:
    home.registered()
    return lambda: forgot(home.device(), home.email)


@row("POST /password/forgot", "an unknown address", 202)
def _(home: Home) -> Act:
    return lambda: forgot(home.device(), home.email)


@row("POST /password/forgot", "a known device", 202)
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: forgot(phone, home.email)


def resetting(home: Home, code: str = "") -> Act:
    """Reset with the code of the newest mail, or with another code."""
    home.registered()
    lost = home.device()
    session = forgot(lost, home.email).members["mail_session"]
    body = {"mail_session": session, "code": code or home.code(), "new_password": NEW_PASSWORD}
    return lambda: lost.post("/password/reset", body, token=None)


@row("POST /password/reset", "the right code", 204)
def _(home: Home) -> Act:
    return resetting(home)


@row("POST /password/reset", "a repetition", 204)
def _(home: Home) -> Act:
    reset = resetting(home)
    assert reset().status == 204
    return reset


@row("POST /password/reset", "a wrong code", 401)
def _(home: Home) -> Act:
    return resetting(home, "00000000")


@row("POST /me/email/code", "a signed call, its limits, the user", 202)
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.post("/me/email/code", {})


@row("POST /me/email/verify", "the right code", 204)
def _(home: Home) -> Act:
    phone = home.registered()
    session = phone.post("/me/email/code", {}).members["mail_session"]
    body = {"mail_session": session, "code": home.code()}
    return lambda: phone.post("/me/email/verify", body)


def proved(home: Home, phone: Device) -> Device:
    """Prove the address of a phone's account, without a mail: a source may request only 30 in an hour."""
    me, (baton,), now = phone.get("/me").members, QUEUES, int(home.clock.time())
    actor = Actor(AccountId(me["account_id"]), LineageId(me["device_id"]), not_before=0, credentials_version=1)
    assert baton.users.verify_address(actor, language="", now=now) == Done()
    return phone


def moving(home: Home) -> tuple[Device, str]:
    """Prove the address, and request the code for another address."""
    phone = proved(home, home.registered())
    said = phone.confirmed("POST", "/me/email", {"new_email": f"new-{home.email}"})
    return phone, str(said.members["mail_session"])


@row("POST /me/email", "a grant, the limits, the user", 202)
def _(home: Home) -> Act:
    phone = home.registered()
    body = json.dumps({"new_email": f"new-{home.email}"}).encode()
    headers = {"content-type": "application/json", "baton-grant": phone.step_up("POST", "/me/email", body)}
    return lambda: phone.request("POST", "/me/email", body, headers)


@row("POST /me/email/confirm", "the code of the new mailbox", 204)
def _(home: Home) -> Act:
    phone, session = moving(home)
    body = {"mail_session": session, "code": home.code()}
    return lambda: phone.post("/me/email/confirm", body)


@row("POST /me/email/confirm", "a taken address", 409)
def _(home: Home) -> Act:
    phone, session = moving(home)
    assert home.device().register(f"new-{home.email}").status == 201
    body = {"mail_session": session, "code": home.code()}
    return lambda: phone.post("/me/email/confirm", body)


def undoing(home: Home) -> Act:
    """Change the address, and undo that with the link of the notice."""
    phone, session = moving(home)
    assert phone.post("/me/email/confirm", {"mail_session": session, "code": home.code()}).status == 204
    link, browser = home.link(), home.device()
    return lambda: browser.post("/mail/undo", {"link": link}, token=None)


@row("POST /mail/undo", "the address returns", 204)
def _(home: Home) -> Act:
    return undoing(home)


@row("POST /mail/undo", "a repetition", 204)
def _(home: Home) -> Act:
    undo = undoing(home)
    assert undo().status == 204
    return undo


@row("POST /mail/not-me", "an account that was never proved", 204)
def _(home: Home) -> Act:
    assert home.registered().post("/me/email/code", {}).status == 202
    link, browser = home.link(unproved=True), home.device()
    return lambda: browser.post("/mail/not-me", {"link": link}, token=None)


@row("GET /mail/action", "the page of a link")
def _(home: Home) -> Act:
    browser = home.device()
    return lambda: browser.get("/mail/action", token=None)


def person(home: Home) -> tuple[Device, Person]:
    """Register a phone, and enrol an authenticator app on it."""
    phone, ada = proved(home, home.registered()), Person(lambda: int(home.clock.time()))
    ada.enrol(phone)
    home.skip(30)
    return phone, ada


def asked(home: Home, device: Device) -> Said:
    """Log in until the second factor is required."""
    said = ask(device, home.email)
    assert said.code == "factor_required"
    return said


@row("POST /login", "an unknown device, asked for a code", 403)
def _(home: Home) -> Act:
    person(home)
    tablet = home.device()
    return lambda: ask(tablet, home.email)


def enrolling(home: Home) -> tuple[Device, str]:
    """Return a device whose login must enrol a factor, and its session."""
    phone = home.registered()
    account = AccountId(phone.get("/me").members["account_id"])
    (baton,) = QUEUES
    assert baton.lineage_store.set_second_factor(account, required=True) == Done()
    tablet = home.device()
    return tablet, str(ask(tablet, home.email).members["auth_session"])


@row("POST /login/email-code", "a login that must enrol", 202)
def _(home: Home) -> Act:
    tablet, session = enrolling(home)
    return lambda: tablet.post("/login/email-code", {"auth_session": session}, token=None)


@row("POST /login/factor", "the code of the mailbox", 403)
def _(home: Home) -> Act:
    tablet, session = enrolling(home)
    assert tablet.post("/login/email-code", {"auth_session": session}, token=None).status == 202
    code = home.code()
    return lambda: prove(tablet, session, email_code=code)


@row("POST /login", "a remembered device")
def _(home: Home) -> Act:
    phone, _ = person(home)
    return lambda: phone.login(home.email)


@row("POST /login/factor", "a known device, by its app")
def _(home: Home) -> Act:
    _, ada = person(home)
    tablet = home.device()
    assert prove(tablet, asked(home, tablet), totp=ada.fresh_code(), remember_device=False).status == 200
    home.skip(30)
    session = asked(home, tablet)
    return lambda: prove(tablet, session, totp=ada.fresh_code())


@row("POST /login/factor", "an unknown device, by its app")
def _(home: Home) -> Act:
    _, ada = person(home)
    tablet = home.device()
    session = asked(home, tablet)
    return lambda: prove(tablet, session, totp=ada.fresh_code())


@row("POST /login/factor", "a recovery code")
def _(home: Home) -> Act:
    _, ada = person(home)
    tablet = home.device()
    session = asked(home, tablet)
    return lambda: prove(tablet, session, recovery_code=ada.codes[0])


@row("POST /login/enrol", "refused: the account has a factor", 403)
def _(home: Home) -> Act:
    person(home)
    tablet = home.device()
    body = {"auth_session": asked(home, tablet).members["auth_session"], "kind": "totp"}
    return lambda: tablet.post("/login/enrol", body, token=None)


@row("POST /step-up", "password and app")
def _(home: Home) -> Act:
    phone, ada = person(home)
    return lambda: grant_of(phone, "DELETE", "/me", password=PASSWORD, totp=ada.fresh_code())


@row("POST /step-up", "the app alone")
def _(home: Home) -> Act:
    phone, ada = person(home)
    return lambda: grant_of(phone, "DELETE", "/me", totp=ada.fresh_code())


@row("GET /me/factors", "the factors")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.get("/me/factors")


def changing(phone: Device, method: str, path: str, body: bytes = b"", totp: str | None = None) -> Act:
    """Get a grant for a change of factors. The measured part is the change."""
    grant = grant_of(phone, method, path, body, password=PASSWORD, totp=totp)
    headers = {"baton-grant": str(grant.members["grant"])}
    return lambda: phone.request(method, path, body, (JSON if body else {}) | headers)


@row("POST /me/factors/totp", "with a grant")
def _(home: Home) -> Act:
    return changing(proved(home, home.registered()), "POST", "/me/factors/totp")


@row("POST /me/factors/totp/confirm", "the first code")
def _(home: Home) -> Act:
    phone, ada = proved(home, home.registered()), Person(lambda: int(home.clock.time()))
    begun = changing(phone, "POST", "/me/factors/totp")().members
    ada.secret = begun["secret"]
    body = {"enrolment": begun["enrolment"], "totp": ada.fresh_code()}
    return lambda: phone.post("/me/factors/totp/confirm", body)


@row("DELETE /me/factors/totp", "with a grant", 204)
def _(home: Home) -> Act:
    phone, ada = person(home)
    return changing(phone, "DELETE", "/me/factors/totp", totp=ada.fresh_code())


@row("POST /me/factors/recovery-codes", "with a grant")
def _(home: Home) -> Act:
    phone, ada = person(home)
    return changing(phone, "POST", "/me/factors/recovery-codes", totp=ada.fresh_code())


@row("PUT /me/second-factor", "with a grant")
def _(home: Home) -> Act:
    phone, ada = person(home)
    return changing(phone, "PUT", "/me/second-factor", b'{"on": false}', totp=ada.fresh_code())


ORIGIN = "http://localhost:8000"
"""The origin of client `mobile` in the demonstration."""

for _name, _status in (
    ("apple-app-site-association", 200),
    ("assetlinks.json", 200),
    ("webauthn", 200),
    ("passkey-endpoints", 200),
):
    row(f"GET /.well-known/{_name}", "warm", _status)(request_without_token(f"/.well-known/{_name}"))


def verified(home: Home) -> Device:
    """Register a phone, and prove the address of its account."""
    phone = home.registered()
    session = phone.post("/me/email/code", {}).members["mail_session"]
    proved = phone.post("/me/email/verify", {"mail_session": session, "code": home.code()})
    assert proved.status == 204
    return phone


def with_a_passkey(home: Home, *, on: bool = False) -> tuple[Device, Authenticator]:
    """Register a phone, and add a passkey. ``on``: logins need a second factor."""
    phone, mine = verified(home), Authenticator(rp_id="localhost", origin=ORIGIN)
    assert add(phone, mine).status == 201
    if on:
        switch_on(phone)
    return phone, mine


@row("POST /login/passkey/options", "any device")
def _(home: Home) -> Act:
    tablet = home.device()
    return lambda: sign_in_options(tablet)


@row("POST /login/passkey", "the first login of a day")
def _(home: Home) -> Act:
    _, mine = with_a_passkey(home)
    home.skip(86_400)
    tablet = home.device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    return lambda: send_passkey(tablet, credential)


@row("POST /login/passkey", "another login of that day")
def _(home: Home) -> Act:
    _, mine = with_a_passkey(home)
    tablet = home.device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    return lambda: send_passkey(tablet, credential)


@row("POST /login/passkey", "a forged signature", 400)
def _(home: Home) -> Act:
    _, mine = with_a_passkey(home)
    tablet = home.device()
    credential = mine.get(options_of(sign_in_options(tablet)), rp_id="evil.example")
    return lambda: send_passkey(tablet, credential)


def with_a_restore_key(home: Home) -> tuple[Device, Authenticator]:
    """Register a phone, and keep a restore key."""
    phone, platform = home.registered(), Authenticator(rp_id="localhost", origin=ORIGIN, flags=0)
    assert keep(phone, platform).status == 204
    return phone, platform


@row("POST /login/restore/options", "a new phone")
def _(home: Home) -> Act:
    new_phone = home.device()
    return lambda: restore_options(new_phone)


@row("POST /login/restore", "a new phone")
def _(home: Home) -> Act:
    _, platform = with_a_restore_key(home)
    new_phone = home.device()
    credential = platform.get(options_of(restore_options(new_phone)))
    return lambda: send_restore(new_phone, credential)


@row("POST /login/restore", "a forged signature", 400)
def _(home: Home) -> Act:
    _, platform = with_a_restore_key(home)
    new_phone = home.device()
    credential = platform.get(options_of(restore_options(new_phone)), rp_id="evil.example")
    return lambda: send_restore(new_phone, credential)


@row("POST /login/restore", "the old phone has logged out", 401)
def _(home: Home) -> Act:
    phone, platform = with_a_restore_key(home)
    assert phone.post("/logout", {}).status == 204
    new_phone = home.device()
    credential = platform.get(options_of(restore_options(new_phone)))
    return lambda: send_restore(new_phone, credential)


@row("POST /me/restore-key/options", "right after a login")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.request("POST", "/me/restore-key/options")


@row("PUT /me/restore-key", "a restore key", 204)
def _(home: Home) -> Act:
    phone, platform = home.registered(), Authenticator(rp_id="localhost", origin=ORIGIN, flags=0)
    credential = platform.create(options_of(phone.request("POST", "/me/restore-key/options")))
    return lambda: put_key(phone, credential)


@row("DELETE /me/restore-key", "the restore key", 204)
def _(home: Home) -> Act:
    phone, _ = with_a_restore_key(home)
    return lambda: phone.request("DELETE", "/me/restore-key")


@row("POST /login/factor/options", "a passkey")
def _(home: Home) -> Act:
    with_a_passkey(home, on=True)
    tablet = home.device()
    session = asked(home, tablet)
    return lambda: factor_options(tablet, session)


@row("POST /login/factor", "an unknown device, by a passkey")
def _(home: Home) -> Act:
    _, mine = with_a_passkey(home, on=True)
    tablet = home.device()
    session = asked(home, tablet)
    credential = mine.get(options_of(factor_options(tablet, session)))
    return lambda: prove(tablet, session, passkey=credential)


@row("POST /step-up/options", "a passkey")
def _(home: Home) -> Act:
    phone, _ = with_a_passkey(home)
    return lambda: step_up_options(phone, "DELETE", "/me")


@row("POST /step-up", "a passkey alone")
def _(home: Home) -> Act:
    phone, mine = with_a_passkey(home)
    credential = mine.get(options_of(step_up_options(phone, "DELETE", "/me")))
    return lambda: grant_of(phone, "DELETE", "/me", passkey=credential)


@row("POST /me/passkeys/options", "with a grant")
def _(home: Home) -> Act:
    return changing(verified(home), "POST", "/me/passkeys/options")


@row("POST /me/passkeys/upgrade-options", "right after a login")
def _(home: Home) -> Act:
    phone = verified(home)
    return lambda: phone.request("POST", "/me/passkeys/upgrade-options")


@row("POST /me/passkeys", "a new passkey", 201)
def _(home: Home) -> Act:
    phone, mine = verified(home), Authenticator(rp_id="localhost", origin=ORIGIN)
    credential = mine.create(options_of(phone.request("POST", "/me/passkeys/upgrade-options")))
    return lambda: phone.post("/me/passkeys", {"credential": credential})


@row("GET /me/passkeys", "the passkeys")
def _(home: Home) -> Act:
    phone, _ = with_a_passkey(home)
    return lambda: phone.get("/me/passkeys")


@row("PATCH /me/passkeys/{passkey_id}", "a name", 204)
def _(home: Home) -> Act:
    phone, mine = with_a_passkey(home)
    path = f"/me/passkeys/{passkey_id(mine.credential_id)}"
    return lambda: phone.request("PATCH", path, b'{"name": "Work"}', JSON)


@row("DELETE /me/passkeys/{passkey_id}", "with a grant", 204)
def _(home: Home) -> Act:
    phone, mine = with_a_passkey(home)
    return changing(phone, "DELETE", f"/me/passkeys/{passkey_id(mine.credential_id)}")


@row("POST /login/federated", "a sign-up", 201)
def _(home: Home) -> Act:
    assert home.federated(home.device()).status == 201  # the environment has the keys of the provider now
    phone, home.email = home.device(), f"new-{home.email}"
    return lambda: home.federated(phone, email=f"{home.email.partition('@')[0]}@gmail.com", email_verified=True)


@row("POST /login/federated", "an unknown device")
def _(home: Home) -> Act:
    assert home.federated(home.device()).status == 201
    phone = home.device()
    return lambda: home.federated(phone)


@row("POST /login/federated", "a refused token", 401)
def _(home: Home) -> Act:
    assert home.federated(home.device()).status == 201
    phone = home.device()
    return lambda: home.federated(phone, aud="another")


@row("POST /step-up", "an identity")
def _(home: Home) -> Act:
    (_, acme, _), phone, attempt = PROVIDERS, home.device(), secrets.token_urlsafe(16)
    assert home.federated(phone, index=1).status == 201
    operation = {"method": "DELETE", "path": "/api/me", "digest": content_digest(b"")}
    named = {"provider": "acme", "client_id": "mobile", "keyid": phone.key.thumbprint(), "attempt": attempt}
    nonce = step_up_nonce(**named, operation=tuple(operation.values()))  # type: ignore[arg-type] # three texts
    id_token = acme.token(home.email, nonce, auth_time=int(home.clock.time()))
    body = {"operation": operation, "identity": {"provider": "acme", "id_token": id_token}}
    return lambda: phone.post("/step-up", body, {"idempotency-key": attempt})


def linking(home: Home, phone: Device) -> Act:
    """Get a grant for a link; the act is the link."""
    (google, *_), attempt = PROVIDERS, secrets.token_urlsafe(16)
    nonce = login_nonce(provider="google", client_id="mobile", keyid=phone.key.thumbprint(), attempt=attempt)
    body = json.dumps({"provider": "google", "id_token": google.token(home.email, nonce)}).encode()
    grant = grant_of(phone, "POST", "/me/identities", body, password=PASSWORD).members["grant"]
    headers = JSON | {"baton-grant": str(grant), "idempotency-key": attempt}
    return lambda: phone.request("POST", "/me/identities", body, headers)


def with_keys_of_the_provider(home: Home) -> Device:
    """Register a phone. The environment has the keys of the provider."""
    address, home.email = home.email, f"other-{home.email}"
    assert home.federated(home.device()).status == 201
    home.email = address
    return proved(home, home.registered())


@row("GET /me/identities", "the identities")
def _(home: Home) -> Act:
    phone = home.registered()
    return lambda: phone.get("/me/identities")


@row("POST /me/identities", "a new identity", 201)
def _(home: Home) -> Act:
    return linking(home, with_keys_of_the_provider(home))


@row("POST /me/identities", "mine already")
def _(home: Home) -> Act:
    phone = with_keys_of_the_provider(home)
    assert linking(home, phone)().status == 201
    return linking(home, phone)


@row("POST /me/identities", "of another account", 409)
def _(home: Home) -> Act:
    phone = with_keys_of_the_provider(home)
    assert home.federated(home.device()).status == 201
    return linking(home, phone)


@row("DELETE /me/identities/{provider}", "with a grant", 204)
def _(home: Home) -> Act:
    phone = with_keys_of_the_provider(home)
    assert linking(home, phone)().status == 201
    return changing(phone, "DELETE", "/me/identities/google")


@row("POST /login/federated", "at Apple, with a code")
def _(home: Home) -> Act:
    assert home.at_apple(home.device()).status == 201
    phone = home.device()
    return lambda: home.at_apple(phone)


@row("POST /federation/apple/notifications", "the app was removed")
def _(home: Home) -> Act:
    phone, (*_, apple), now = home.device(), PROVIDERS, int(home.clock.time())
    assert home.at_apple(phone).status == 201
    events = json.dumps({"type": "consent-revoked", "sub": home.email})
    claims = {"iss": "https://appleid.apple.com", "aud": "com.example.app", "iat": now, "jti": "one", "events": events}
    body = {"payload": apple.sign(claims)}
    return lambda: phone.post("/federation/apple/notifications", body, token=None)


@row("POST /attestation-challenge", "a challenge")
def _(home: Home) -> Act:
    phone = home.make(client_id="genuine")
    return lambda: phone.post("/attestation-challenge", {"client_id": "genuine"}, token=None)


@row("POST /register", "with evidence", 201)
def _(home: Home) -> Act:
    home.genuine()  # the environment reads the list of revoked certificates once an hour
    phone, home.email = home.make(client_id="genuine"), f"genuine-{home.email}"
    evidence = home.evidence(phone)
    return lambda: phone.register(home.email, attestation=evidence)


@row("POST /login", "an unknown device, with evidence")
def _(home: Home) -> Act:
    home.genuine()
    phone = home.make(client_id="genuine")
    evidence = home.evidence(phone)
    return lambda: phone.login(home.email, attestation=evidence)


@row("POST /login", "a known device, known evidence")
def _(home: Home) -> Act:
    phone, _ = home.genuine()
    return lambda: phone.login(home.email)


@row("POST /login", "a known device, an assertion")
def _(home: Home) -> Act:
    phone, made = home.genuine("apple-attestation")
    evidence = home.evidence(phone, "apple-assertion", key_id=made["key_id"])
    return lambda: phone.login(home.email, attestation=evidence)


@row("POST /oauth/token", "exchange, an attested login")
def _(home: Home) -> Act:
    phone, _ = home.genuine()
    return phone.exchange


@row("POST /attest", "a login without evidence")
def _(home: Home) -> Act:
    home.genuine()
    phone = home.make(client_id="genuine")
    assert phone.login(home.email).status == 200
    evidence = home.evidence(phone)
    return lambda: phone.post("/attest", {"attestation": evidence})


@row("POST /attest", "bad evidence", 403)
def _(home: Home) -> Act:
    phone, _ = home.genuine()
    evidence = home.evidence(phone, defect="app")
    return lambda: phone.post("/attest", {"attestation": evidence})


def printed(costs: Mapping[tuple[str, str], Cost]) -> str:
    """Format costs as the golden table is written."""
    lines = [f"{'route':<44}{'operation':<36}{'writes':>6}{'reads':>7}{'trips':>7}{'audit':>7}"]
    for (route, operation), cost in costs.items():
        figures = f"{cost.writes:>6g}{cost.reads:>7g}{cost.trips:>7}{cost.audit:>7g}"
        lines.append(f"{route:<44}{operation:<36}{figures}")
    return "\n".join(["", *lines, ""])


@pytest.mark.prove(ci=True)
def test_every_operation_has_the_cost_of_the_golden_table(
    make_device: Callable[..., Device], clock: DevelopmentClock, meter: Meter
) -> None:
    """Each operation has exactly the cost of its row in the golden table."""
    costs = {}
    for number, ((route, operation), (status, prepare)) in enumerate(ROWS.items()):
        act = prepare(Home(make_device, clock, number))
        meter.reading()
        said = act()
        costs[route, operation] = meter.reading()
        assert said.status == status, (route, operation, said)
    assert printed(costs) == GOLDEN


def test_every_route_has_its_row() -> None:
    """If a route is added, a row must be added here."""
    routes = {f"{route.method} {route.path}" for route in load_environment().baton.routes}
    weighed = {route for route, _ in ROWS}
    assert {route for route in routes if not route.startswith("HEAD ")} <= weighed
    # HEAD uses the view of GET.
    assert {route.replace("HEAD ", "GET ") for route in routes} <= weighed


@pytest.mark.parametrize(
    ("lineages", "units"),
    [(1, 1), (LINEAGES_IN_ONE_UNIT, 1), (LINEAGES_IN_ONE_UNIT + 1, 2), (LINEAGES_MAX, 4)],
)
def test_an_exchange_costs_one_unit_with_six_lineages_and_four_with_all(
    tables: Tables, meter: Meter, lineages: int, units: int
) -> None:
    """DynamoDB charges for the size of the whole account state. The lineages have the largest possible size."""
    assert exchange_of(lineages, LineageStore(DynamoDB(tables)), meter) == Cost(writes=units, reads=0, trips=1)


@pytest.mark.parametrize(("answer_bytes", "units"), [(100, 1), (1024, 2), (10 * 1024, 11), (ONCE_ANSWER_BYTES_MAX, 65)])
def test_a_call_that_runs_once_costs_a_unit_and_one_for_each_kb_of_its_answer(
    tables: Tables, meter: Meter, answer_bytes: int, units: int
) -> None:
    """The claim replaces the nonce. The answer, or the release, is a second write.

    Each write is one round trip without a read.
    """
    calls, key, mark = OnceCalls(DynamoDB(tables)), OnceKey("O#" + 43 * "k"), bytes(16)
    calls.claim(key, digest=bytes(32), mark=mark, now=NOW)
    assert meter.reading() == Cost(writes=1, reads=0, trips=1)
    calls.store(key, mark=mark, answer=bytes(answer_bytes), now=NOW)
    assert meter.reading() == Cost(writes=units, reads=0, trips=1)
    other = OnceKey("O#another")
    calls.claim(other, digest=bytes(32), mark=mark, now=NOW)
    calls.take_over(other, old_mark=mark, mark=bytes(15) + b"1", now=NOW)
    calls.release(other, mark=bytes(15) + b"1")
    assert meter.reading() == Cost(writes=3, reads=0, trips=3)


def test_a_store_that_reads_before_it_writes_is_noticed(tables: Tables, meter: Meter) -> None:
    """The read and its round trip change the cost."""
    assert exchange_of(1, ReadThenWrite(DynamoDB(tables)), meter) == Cost(writes=1, reads=1, trips=2)


def exchange_of(lineages: int, lineage_store: LineageStore, meter: Meter) -> Cost:
    """Exchange one of several lineages, and return the cost."""
    account_state = state_of(LARGEST, lineages)
    put_state(lineage_store._database, account_state)
    meter.reading()
    mine = next(iter(account_state.lineages.values()))
    presented = PresentedToken(
        account=account_state.account,
        lineage=mine.id,
        generation=mine.generation,
        issued_at=mine.issued_at,
        client=mine.client,
        binding=mine.binding,
        attempt=b"attempt!",
    )
    assert isinstance(lineage_store.exchange(presented, now=mine.issued_at, not_before=0, idle_s=0), Exchanged)
    return meter.reading()


def shape(value: object) -> object:
    """Remove the numbers from an item, and keep only the length of its strings and bytes."""
    match value:
        case {"N": str()}:
            return "number"
        case dict():
            return {name: shape(inner) for name, inner in sorted(value.items())}
        case list():
            return [shape(inner) for inner in value]
        case str() | bytes():
            return len(value)
        case _:
            return value


@pytest.mark.prove(ci=True)
def test_a_thousand_exchanges_store_nothing(make_device: Callable[..., Device], tables: Tables, meter: Meter) -> None:
    """Every table has the same number of items as before. Each item has the same size, except for digits of numbers."""
    dynamodb = boto3.client("dynamodb")

    def stored() -> dict[str, list[object]]:
        return {
            table: sorted((shape(item) for item in dynamodb.scan(TableName=tables.name(table))["Items"]), key=repr)
            for table in KEYS
        }

    phone = make_device(client_id="simple", bound=False)
    assert phone.register("ada@example.com").status == 201
    before = stored()
    meter.reading()
    for number in range(EXCHANGES):
        assert phone.exchange().status == 200, number
    assert stored() == before
    assert len(before["lineages"]) == 1
    dynamodb.put_item(TableName=tables.ephemeral, Item={"pk": {"S": "one more"}})
    assert stored() != before, "a change in the tables is not noticed"
    assert meter.reading() == Cost(writes=EXCHANGES, reads=0, trips=EXCHANGES)
