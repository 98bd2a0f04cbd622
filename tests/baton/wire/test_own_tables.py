"""docs/baton/tables.md: its feature works as written, and its writes require a live login, over HTTP.

Each race is played: after the call is authorized, something ends the login before the transaction is sent.
"""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
from botocore import xform_name
from chalice.app import Blueprint, Chalice
from moto.dynamodb.exceptions import ResourceNotFoundException, TransactionCanceledException
from moto.dynamodb.responses import DynamoHandler

from chalicelib.baton import Answer, Baton, Caller
from chalicelib.baton.environment import EFFECTS, Effects
from chalicelib.baton.events.log import Log
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.conftest import ENVIRONMENT
from tests.baton.wire.conversation import NEW_PASSWORD, Device, Said, through
from tests.baton.witness import OF_THE_TEAM, POLICIES, Use, allowed, uses
from tools import template
from tools.dev.engine import client, create_own_tables
from tools.dev.gateway import DevelopmentClock, Gateway

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "baton" / "tables.md").read_text("utf-8")
ROLES = "\n[roles]\nadmin = { code = 1 }\nsupport = { code = 2 }\n"
LIVE = Caller.live
ADMIN, SUPPORT = frozenset({1}), frozenset({2})


def block(language: str) -> str:
    """Return the page's first code block in a language."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


@dataclass
class Team:
    """The feature of the page docs/baton/tables.md behind a gateway. A test can run a function while the view runs."""

    gateway: Gateway
    clock: DevelopmentClock
    baton: Baton
    table: str
    feature: ModuleType
    before: list[Callable[[], object]] = field(default_factory=list)
    """Functions that run before the condition is made."""
    after: list[Callable[[], object]] = field(default_factory=list)
    """Functions that run between the condition and the transaction."""

    def device(self, **members: Any) -> Device:
        """Make a device."""
        return Device(through(self.gateway), lambda: int(self.clock.time()), **members)

    def order(self, device: Device, path: str = "/orders", key: str = "order-7-abcdefgh") -> Said:
        """Send an order."""
        return device.post(path, {"item": 7}, {"idempotency-key": key} if path == "/orders" else {})

    def stored(self) -> int:
        """Return the number of stored orders."""
        return client().scan(TableName=self.table, ConsistentRead=True)["Count"]


@pytest.fixture
def team(tables: Tables, clock: DevelopmentClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    """Serve the page's feature and one route that requires a role, by three environments."""
    (tmp_path / "tables.yaml").write_text(block("yaml"), "utf-8")
    monkeypatch.setattr(template, "OWN", tmp_path / "tables.yaml")
    create_own_tables(tables.prefix)
    text = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda words, file="": text(words + ROLES, file))
    feature = ModuleType("orders_of_the_page")
    exec(compile(block("python"), "docs/baton/tables.md", "exec"), vars(feature))  # noqa: S102 - code of a page of this repository
    made: list[tuple[Chalice, Baton]] = [environment(feature, tables, clock) for _ in range(3)]
    gateway = Gateway([app for app, _ in made])
    team = Team(gateway, clock, made[0][1], f"{tables.prefix}-orders", feature)

    def live(caller: Caller) -> dict[str, object]:
        while team.before:
            team.before.pop()()
        condition = LIVE(caller)
        while team.after:
            team.after.pop()()
        return condition

    monkeypatch.setattr(Caller, "live", live)
    yield team
    client().delete_table(TableName=team.table)


def environment(feature: ModuleType, tables: Tables, clock: DevelopmentClock) -> tuple[Chalice, Baton]:
    """Make an application with Baton and the feature, as in the page's ``app.py``."""
    numbers = iter(range(1, 1 << 30))
    given = EFFECTS.set(Effects(lambda: int(clock.time()), secrets.token_bytes))
    try:
        baton = Baton.from_environment({**ENVIRONMENT, "BATON_TABLE_PREFIX": tables.prefix})
    finally:
        EFFECTS.reset(given)
    app = Chalice(app_name="own", configure_logs=False)
    baton.install(app)
    named = {"app": app, "baton": baton, "orders": feature.orders}
    (line,) = re.findall(r"^app\.register_blueprint.*$", PAGE, re.MULTILINE)
    exec(line, named)  # noqa: S102 - code of a page of this repository
    routes = Blueprint("roles_of_a_test")

    @routes.route("/reviews", methods=["POST"])
    @baton.signed(body=feature.Order, role=("admin", "support"))
    def review(caller: Caller, order: Any) -> Answer:
        item = {"pk": {"S": "review"}, "sk": {"S": f"{next(numbers)}"}, "item": {"N": str(order.item)}}
        feature.write(caller.live(), {"Put": {"TableName": f"{baton.deployment}-orders", "Item": item}})
        return Answer(201, {})

    app.register_blueprint(routes)
    return app, baton


def registered(team: Team, **members: Any) -> Device:
    """Register a device."""
    phone = team.device(**members)
    assert phone.register("ada@example.com").status == 201
    return phone


def second(team: Team) -> Device:
    """Log in on a second device of the account."""
    other = team.device()
    assert other.login("ada@example.com").status == 200
    return other


def account_of(device: Device) -> AccountId:
    """Return the account of a device."""
    return AccountId(device.get("/me").members["account_id"])


# --- The feature of the page ------------------------------------------------------------------------------------


def test_the_feature_of_the_page_works(team: Team) -> None:
    """An order is written once for a key, and only its owner can read it."""
    phone = registered(team)
    first, again = team.order(phone), team.order(phone)
    assert (first.status, first.members["item"]) == (201, 7)
    assert (again.body, again.headers["baton-replayed"], team.stored()) == (first.body, "1", 1)
    shown = phone.get(f"/orders/{first.members['order_id']}")
    assert (shown.status, shown.members) == (200, first.members)
    other = team.device()
    other.register("bob@example.com")
    missing = other.get(f"/orders/{first.members['order_id']}")
    assert (missing.status, missing.code, missing.members["detail"]) == (404, "not_found", "There is no such order.")


def test_the_tables_of_the_page_are_created_once(team: Team) -> None:
    """A table has a partition key and a sort key. A reload of the server creates nothing."""
    create_own_tables(team.baton.deployment)
    described = client().describe_table(TableName=team.table)["Table"]
    assert [key["AttributeName"] for key in described["KeySchema"]] == ["pk", "sk"]


def test_without_its_own_template_a_team_has_no_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new project is in this state."""
    monkeypatch.setattr(template, "OWN", tmp_path / "tables.yaml")
    assert template.own_tables("baton-dev") == {}


@pytest.mark.prove(ci=True)
def test_the_tests_of_the_page_pass_in_a_project_of_a_team(tmp_path: Path) -> None:
    """The test runs its template, feature, ``app.py`` line and tests, with warnings as errors."""
    (tmp_path / "chalicelib").mkdir()
    (tmp_path / "tests").mkdir()
    for part in ("chalicelib/baton", "tools"):
        (tmp_path / part).symlink_to(ROOT / part)
    (tmp_path / "chalicelib" / "__init__.py").write_text((ROOT / "chalicelib/__init__.py").read_text("utf-8"), "utf-8")
    registry = ROOT / "tests/baton/fixture_app/clients.toml"  # a team may have changed the other registry
    (tmp_path / "chalicelib" / "clients.toml").write_text(registry.read_text("utf-8"), "utf-8")
    feature, _, tests = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    app = (ROOT / "app.py").read_text("utf-8").replace("transfers", "orders")
    assert "app.register_blueprint(orders(baton))" in app
    plugin = 'pytest_plugins = ["chalicelib.baton.testing.plugin"]\n'
    for name, text in {
        "app.py": app,
        "chalicelib/orders.py": feature,
        "tables.yaml": block("yaml"),
        "tests/conftest.py": plugin,
        "tests/test_orders.py": tests,
    }.items():
        (tmp_path / name).write_text(text, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "tests"],
        cwd=tmp_path,
        env={
            "PATH": os.defpath,
            "PYTHONPATH": ".",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert f"{tests.count('def test_')} passed" in done.stdout, done.stdout + done.stderr


def test_the_template_of_the_page_imports_what_baton_exports() -> None:
    """The template imports the tables' key, the backup plan and the backup role.

    Its tables are protected as Baton's are.
    """
    exported = {
        one["Export"]["Name"]["Fn::Sub"] for one in template.read(template.DATA)["Outputs"].values() if "Export" in one
    }
    imported = set(re.findall(r'Fn::ImportValue: !Sub "([^"]+)"', block("yaml")))
    assert imported <= exported
    assert len(imported) == 3
    own = template.parse(block("yaml"))["Resources"]
    users = template.read(template.DATA)["Resources"]["Users"]
    key = {"Fn::ImportValue": {"Fn::Sub": "${Prefix}-key"}}
    assert own["Orders"]["Properties"]["SSESpecification"] == users["Properties"]["SSESpecification"] | {
        "KMSMasterKeyId": key
    }
    for part in ("BillingMode", "PointInTimeRecoverySpecification", "DeletionProtectionEnabled"):
        assert own["Orders"]["Properties"][part] == users["Properties"][part]
    assert own["Orders"]["DeletionPolicy"] == own["Orders"]["UpdateReplacePolicy"] == "Retain"


def test_the_policies_allow_exactly_what_the_feature_does(team: Team) -> None:
    """The page's statement allows its own table. The included policy allows the check of the login."""
    used: set[Use] = set()

    def seen(params: dict[str, Any], model: Any, **_: object) -> None:
        used.update(uses("dynamodb", xform_name(model.name), params))

    team.feature.dynamodb().meta.events.register("provide-client-params.dynamodb", seen)
    phone = registered(team)
    phone.get(f"/orders/{team.order(phone).members['order_id']}")
    statement = json.loads(block("json"))
    assert statement["Sid"].startswith(OF_THE_TEAM)
    check = Use("dynamodb:ConditionCheckItem", "lineages")
    (table,) = {resource.rpartition("-")[2] for resource in statement["Resource"]}
    assert used == {Use(action, table) for action in statement["Action"]} | {check}
    for policy in POLICIES:
        assert check in allowed(json.loads(policy.read_text("utf-8")))


# --- A login that ends while the view runs ----------------------------------------------------------------------


def by_logout(team: Team, phone: Device, other: Device) -> None:
    """Log out on the same device."""
    assert phone.post("/logout", {}).status == 204


def by_another_device(team: Team, phone: Device, other: Device) -> None:
    """End the login from the other device."""
    assert other.confirmed("DELETE", f"/me/devices/{phone.tokens['device_id']}").status == 204


def everywhere(team: Team, phone: Device, other: Device) -> None:
    """End all logins from the other device."""
    assert other.confirmed("POST", "/logout", {"everywhere": True}).status == 204


def by_a_password_change(team: Team, phone: Device, other: Device) -> None:
    """Change the password on the other device."""
    assert other.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204


def by_an_operator(team: Team, phone: Device, other: Device) -> None:
    """Disable the account."""
    team.baton.lineage_store.set_status(account_of(other), Status.DISABLED, now=int(team.clock.time()))


def by_deletion(team: Team, phone: Device, other: Device) -> None:
    """Delete the account on the other device."""
    assert other.confirmed("DELETE", "/me").status == 204


def by_reuse(team: Team, phone: Device, other: Device) -> None:
    """Exchange one token twice, as a copy of the device does."""
    token = str(phone.tokens["refresh_token"])
    assert phone.exchange(token).status == 200
    assert phone.exchange(token).code == "token_reused"


End = Callable[[Team, Device, Device], None]
ENDS: Final[dict[End, str | None]] = {
    by_logout: "logout",
    by_another_device: "ended_by_owner",
    everywhere: "ended_everywhere",
    by_a_password_change: "password_changed",
    by_an_operator: "account_disabled",
    by_deletion: None,
    by_reuse: "reuse",
}


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_nothing_is_written_for_a_login_that_ends_during_the_call(
    team: Team, end: Callable[[Team, Device, Device], None]
) -> None:
    """The login ends after authorization and before the write. The repeated call gets the end reason."""
    phone = registered(team)
    other = second(team)
    sent = dict(phone.tokens)
    team.after.append(lambda: end(team, phone, other))
    refused = team.order(phone)
    assert (refused.status, refused.code, refused.members["action"]) == (503, "unavailable", "retry")
    assert team.stored() == 0
    phone.tokens = sent
    told = team.order(phone)
    assert (told.status, told.code, told.members.get("reason")) == (401, "login_required", ENDS[end])
    assert team.stored() == 0


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_an_effect_before_the_end_of_the_login_stays(team: Team, end: End) -> None:
    """After the end there is no further effect."""
    phone = registered(team)
    other = second(team)
    assert team.order(phone).status == 201
    sent = dict(phone.tokens)
    end(team, phone, other)
    phone.tokens = sent
    assert team.order(phone, key="another-key-abcdefgh").code == "login_required"
    assert team.stored() == 1


def test_without_the_live_condition_the_write_succeeds(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control of the tests above: they fail without the condition."""
    phone = registered(team)
    plain = team.feature.write
    monkeypatch.setattr(team.feature, "write", lambda _, put: plain(put))
    team.after.append(lambda: phone.post("/logout", {}))
    assert team.order(phone).status == 201
    assert team.stored() == 1


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(("later_s", "status"), [(0, 201), (1, 503)])
def test_nothing_is_written_after_the_login_has_expired(team: Team, later_s: int, status: int) -> None:
    """The write succeeds in the last second of the login. It fails in the next second, despite the authorization."""
    bearer = registered(team, client_id="iot", bound=False)
    life = int(bearer.tokens["authorization_expires_in"])
    team.clock.skip(life - 1 - (team.clock.time() - int(bearer.tokens["server_time"])))
    left = int(bearer.tokens["server_time"]) + life - 1 - int(team.clock.time())
    team.before.append(lambda: team.clock.skip(left + later_s))
    assert team.order(bearer).status == status
    assert team.stored() == (status == 201)


# --- Roles ------------------------------------------------------------------------------------------------------


def test_nothing_is_written_if_the_role_is_removed_during_the_call(team: Team) -> None:
    """The repeated call is refused. An order requires no role and is still written."""
    phone = registered(team)
    account, store = account_of(phone), team.baton.lineage_store
    assert team.order(phone, "/reviews").code == "insufficient_role"
    store.set_roles(account, ADMIN, expected=frozenset())
    assert team.order(phone, "/reviews").status == 201
    team.after.append(lambda: store.set_roles(account, frozenset(), expected=ADMIN))
    refused = team.order(phone, "/reviews")
    assert (refused.status, refused.code) == (503, "unavailable")
    assert team.stored() == 1
    told = team.order(phone, "/reviews")
    assert (told.status, told.code) == (403, "insufficient_role")
    team.after.append(lambda: store.set_roles(account, ADMIN, expected=frozenset()))
    assert team.order(phone).status == 201


def test_a_role_that_replaces_another_one_costs_one_repetition(team: Team) -> None:
    """The login is active, so the client must not get `log_in`."""
    phone = registered(team)
    account, store = account_of(phone), team.baton.lineage_store
    store.set_roles(account, ADMIN, expected=frozenset())
    team.after.append(lambda: store.set_roles(account, SUPPORT, expected=ADMIN))
    assert team.order(phone, "/reviews").status == 503
    assert team.order(phone, "/reviews").status == 201


# --- A login that stays active ----------------------------------------------------------------------------------------


def test_a_password_change_on_the_same_device_costs_one_repetition(team: Team) -> None:
    """The login is active, so the caller is not logged out. The repetition writes, with the same key."""
    phone = registered(team)
    change = {"new_password": NEW_PASSWORD}
    team.after.append(lambda: phone.confirmed("POST", "/me/password", change))
    assert team.order(phone).status == 503
    assert (team.order(phone).status, team.stored()) == (201, 1)


def test_an_exchange_during_an_order_and_the_order_both_succeed(team: Team) -> None:
    """The login has advanced and is active."""
    phone = registered(team)
    said: list[Said] = []
    team.after.append(lambda: said.append(phone.exchange()))
    assert team.order(phone).status == 201
    assert [one.status for one in said] == [200]
    assert phone.get("/me").status == 200


def test_an_order_in_conflict_with_another_write_costs_one_repetition(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DynamoDB cancels one of the two writes. `tests/baton/storage/test_liveness.py` tests the exchange."""
    phone = registered(team)
    stock, met = DynamoHandler.call_action, [1]

    def call_action(handler: DynamoHandler) -> object:
        if met[0] and "TransactWriteItems" in handler.headers["X-Amz-Target"]:
            met[0] -= 1
            raise TransactionCanceledException([("TransactionConflict", "planted", None), (None, None, None)])
        return stock(handler)

    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    refused = team.order(phone)
    assert (refused.status, refused.code, team.stored()) == (503, "unavailable", 0)
    assert (team.order(phone).status, met) == (201, [0])


@pytest.mark.parametrize(("code", "by_caller"), [("TransactionConflict", 1), ("ValidationError", 0)])
def test_only_a_failure_without_a_callers_part_raises_the_alarm(
    team: Team, code: str, by_caller: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that DynamoDB never accepts is a defect of the team's code."""
    phone = registered(team)
    recorded: list[str] = []
    stock = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        if "TransactWriteItems" in handler.headers["X-Amz-Target"]:
            raise TransactionCanceledException([(code, "planted", None), (None, None, None)])
        return stock(handler)

    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    monkeypatch.setattr(Log, "record", lambda _, event, /, **__: recorded.append(event))
    assert team.order(phone).status == 503
    assert recorded.count("unavailable_by_caller") == by_caller


def test_an_order_that_cannot_be_read_is_a_503(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: the error of DynamoDB was an internal error of the page's second route."""
    phone = registered(team)
    path = f"/orders/{team.order(phone).members['order_id']}"
    assert phone.get(path).members["item"] == 7
    stock = DynamoHandler.call_action

    def call_action(handler: DynamoHandler) -> object:
        if "GetItem" in handler.headers["X-Amz-Target"] and team.table in handler.body:
            raise ResourceNotFoundException
        return stock(handler)

    monkeypatch.setattr(DynamoHandler, "call_action", call_action)
    refused = phone.get(path)
    assert (refused.status, refused.code) == (503, "unavailable")
