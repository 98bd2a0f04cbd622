"""What each operation costs, on an engine that keeps DynamoDB's books. moto's figures are wrong; these need dynoxide.

A condition that fails is charged too, though its answer carries no figure: it is counted by DynamoDB's rule, one unit
for an item under 1 KB, two in a transaction.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

import base64
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest

from baton_client import content_digest
from chalicelib.baton.lineages.model import PresentedToken
from chalicelib.baton.lineages.rules import Exchanged
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
from chalicelib.baton.testing.contract.values import NOW
from chalicelib.baton.tokens.caller import Caller
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.fixture import load_environment
from tests.baton.proofs.engines.recording import ReadThenWrite
from tests.baton.storage.test_dynamodb import put_state
from tests.baton.storage.test_state_size import LARGEST, state_of
from tests.baton.wire.conversation import FORM, HOST, NEW_PASSWORD, PASSWORD, Device, Said
from tools.dev.gateway import DevelopmentClock, Gateway

# Write units, read units and round trips of all that an answer waits for, and, apart, the units of the audit entry it
# leaves (`events/names.py` says of what). The design's rows: exchange, login, register, the two signed calls.
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
POST /nothing                               a signed state-changing call             1      1      2      0
POST /nothing                               the same, replayed                       1      1      2      0
POST /nothing                               the same, unbound                        0      1      1      0
GET /me                                     the account                              0      2      2      0
GET /me/activity                            the newest page                          0      1      1      1
GET /me/export                              with a grant                             1      2      3      2
DELETE /me/devices/{device_id}              another device                           3      1      4      1
POST /logout                                here                                     2      1      3      1
POST /logout                                everywhere                               3      1      4      1
POST /step-up                               the password is right                    4      2      6      0
POST /transfers                             without a grant                          1      1      2      0
POST /transfers                             with a grant                             2      1      3      0
POST /me/password                           with a grant                             6      2      5      1
DELETE /me                                  with a grant                             5      2      7      1
"""

EXCHANGES = 1000
READS = {"GetItem", "BatchGetItem", "Query", "Scan"}


@dataclass(frozen=True, slots=True)
class Cost:
    """Capacity units and calls. The audit, which no verdict waits for, is counted apart."""

    writes: float
    reads: float
    trips: int
    audit: float = 0


@dataclass(slots=True)
class Meter:
    """Hears every call of every client that Baton makes."""

    units: Counter[str] = field(default_factory=Counter)

    def attach(self, client: Any) -> None:
        """Listen to a client."""
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
        # Once for each attempt: what botocore sends again is a round trip too.
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
        """Read the meter, and set it back."""
        cost = Cost(self.units["writes"], self.units["reads"], self.units["trips"], self.units["audit"])
        self.units.clear()
        return cost


@pytest.fixture
def tables(shared_tables: Tables) -> Tables:
    """Keep everything on dynoxide."""
    return shared_tables


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """Attach a meter to every client that Baton will make."""
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
    """Put one environment behind the gateway, with a signed route that does nothing, as a team would add its own."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    environment = load_environment(clock)

    @environment.app.route("/nothing", methods=["POST"])  # type: ignore[untyped-decorator]
    @environment.baton.signed()  # type: ignore[untyped-decorator]
    def nothing(caller: Caller) -> Answer:
        return Answer(204)

    gateway = Gateway([environment.app])
    gateway.call("GET", "/api/.well-known/jwks.json", [("host", HOST)])  # warm: it has its key ring
    return gateway


Act = Callable[[], Said]
Prepare = Callable[["Home"], Act]
ROWS: dict[tuple[str, str], tuple[int, Prepare]] = {}


class Home:
    """Where the devices of one row live: an account of their own."""

    def __init__(self, make_device: Callable[..., Device], clock: DevelopmentClock, number: int) -> None:
        """Name the account."""
        self.make, self.clock, self.email = make_device, clock, f"ada{number}@example.com"

    def device(self, client_id: str = "mobile") -> Device:
        """Make a device: bound, where its client demands that."""
        return self.make(client_id=client_id, bound=client_id == "mobile")

    def registered(self, client_id: str = "mobile") -> Device:
        """Register a device."""
        device = self.device(client_id)
        assert device.register(self.email).status == 201
        return device

    def skip(self, seconds: int) -> None:
        """Let time pass, after which the environment has looked at its key ring again."""
        self.clock.skip(seconds)
        anybody("/.well-known/jwks.json")(self)()


def row(route: str, operation: str, status: int = 200) -> Callable[[Prepare], Prepare]:
    """Claim a row: what it prepares is not counted, what it returns is."""

    def claim(prepare: Prepare) -> Prepare:
        assert (route, operation) not in ROWS
        ROWS[route, operation] = (status, prepare)
        return prepare

    return claim


def anybody(path: str, method: str = "GET") -> Prepare:
    """Ask, without a token."""
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
    row(f"GET {_path}", "warm")(anybody(_path))
for _method in ("GET", "POST"):
    row(f"{_method} /oauth/authorize", "warm", 400)(anybody("/oauth/authorize", _method))


@row("GET /.well-known/jwks.json", "the key ring is due: any request")
def _(home: Home) -> Act:
    home.clock.skip(KEY_RING_REFRESH_S)
    return anybody("/.well-known/jwks.json")(home)


def again(device: Device, path: str, email: str) -> Act:
    """Enter, and enter again under the same attempt."""
    attempt = {"idempotency-key": secrets.token_urlsafe(16)}
    assert device.post(path, device.entry(email), attempt, token=None).status in {200, 201}
    return lambda: device.post(path, device.entry(email), attempt, token=None)


@row("POST /register", "a new account", 201)
def _(home: Home) -> Act:
    return lambda: home.device().register(home.email)


@row("POST /register", "a retry", 201)
def _(home: Home) -> Act:
    return again(home.device(), "/register", home.email)


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
    return again(home.registered(), "/login", home.email)


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


@row("POST /oauth/token", "exchange")
def _(home: Home) -> Act:
    phone = home.registered()
    return phone.exchange


def exchanged(phone: Device, times: int) -> tuple[str, str]:
    """Exchange so often; give the first token of these, and its attempt."""
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
    phone = home.registered("web")
    return phone.exchange


@row("POST /oauth/token", "a forged token", 400)
def _(home: Home) -> Act:
    phone = home.registered()
    header, payload, _ = phone.token.split(".")
    return lambda: phone.exchange(f"{header}.{payload}.{'A' * 86}")


def revoking(phone: Device) -> Act:
    """Revoke a device's token."""
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
    phone = home.registered("web")
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


def printed(costs: Mapping[tuple[str, str], Cost]) -> str:
    """Print costs as the golden table is written."""
    lines = [f"{'route':<44}{'operation':<36}{'writes':>6}{'reads':>7}{'trips':>7}{'audit':>7}"]
    for (route, operation), cost in costs.items():
        figures = f"{cost.writes:>6g}{cost.reads:>7g}{cost.trips:>7}{cost.audit:>7g}"
        lines.append(f"{route:<44}{operation:<36}{figures}")
    return "\n".join(["", *lines, ""])


def test_every_operation_costs_what_is_promised(
    make_device: Callable[..., Device], clock: DevelopmentClock, meter: Meter
) -> None:
    """The golden table, line by line."""
    costs = {}
    for number, ((route, operation), (status, prepare)) in enumerate(ROWS.items()):
        act = prepare(Home(make_device, clock, number))
        meter.reading()
        said = act()
        costs[route, operation] = meter.reading()
        assert said.status == status, (route, operation, said)
    assert printed(costs) == GOLDEN


def test_every_route_has_its_row() -> None:
    """A route that is added is weighed."""
    routes = {f"{route.method} {route.path}" for route in load_environment().baton.routes}
    weighed = {route for route, _ in ROWS}
    assert {route for route in routes if not route.startswith("HEAD ")} <= weighed
    # HEAD runs the view of GET.
    assert {route.replace("HEAD ", "GET ") for route in routes} <= weighed


@pytest.mark.parametrize(
    ("lineages", "units"),
    [(1, 1), (LINEAGES_IN_ONE_UNIT, 1), (LINEAGES_IN_ONE_UNIT + 1, 2), (LINEAGES_MAX, 4)],
)
def test_an_exchange_costs_one_unit_with_six_lineages_and_four_with_all(
    tables: Tables, meter: Meter, lineages: int, units: int
) -> None:
    """However large each has grown."""
    assert exchange_of(lineages, LineageStore(DynamoDB(tables)), meter) == Cost(writes=units, reads=0, trips=1)


@pytest.mark.parametrize(("answer_bytes", "units"), [(100, 1), (1024, 2), (10 * 1024, 11), (ONCE_ANSWER_BYTES_MAX, 65)])
def test_a_call_that_runs_once_costs_a_unit_and_one_for_each_kb_of_its_answer(
    tables: Tables, meter: Meter, answer_bytes: int, units: int
) -> None:
    """The claim, which takes the place of the nonce; the answer; a release. No read, and one round trip each."""
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
    """By its read, and its second round trip."""
    assert exchange_of(1, ReadThenWrite(DynamoDB(tables)), meter) == Cost(writes=1, reads=1, trips=2)


def exchange_of(lineages: int, lineage_store: LineageStore, meter: Meter) -> Cost:
    """Exchange one of so many lineages, and say what that cost."""
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
    """Take the numbers out of an item, and all but the length out of its strings and bytes."""
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


def test_a_thousand_exchanges_store_nothing(make_device: Callable[..., Device], tables: Tables, meter: Meter) -> None:
    """Every table has as many items as before, and each as many bytes, but for its numbers' digits."""
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
    assert stored() != before, "nor would anything else be noticed"
    assert meter.reading() == Cost(writes=EXCHANGES, reads=0, trips=EXCHANGES)
