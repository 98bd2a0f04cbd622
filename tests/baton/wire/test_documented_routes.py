"""docs/baton/routes.md: its feature works as written, and its tables describe what happens."""

import inspect
import json
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from chalice.app import Chalice, CloudWatchEvent, Rate

from chalicelib import baton as public
from chalicelib.baton import Answer, Baton, Caller, Claims, errors
from chalicelib.baton.environment import EFFECTS, Effects
from chalicelib.baton.events.log import Log
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.tokens import claims as tokens_claims
from tests.baton.conftest import ENVIRONMENT
from tests.baton.wire.conversation import HOST, Device, through
from tools import openapi
from tools.dev.gateway import DevelopmentClock, Gateway

PAGE = (Path(__file__).parents[3] / "docs" / "baton" / "routes.md").read_text("utf-8")
FEATURE, APP, CLAIMS, OWN_CODE = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
ROLES = "\n[roles]\nadmin = { code = 1 }\nsupport = { code = 2 }\n"
KEY = {"idempotency-key": "note-7-abcdefghi"}


def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Collect each event with its facts."""
    events: list[tuple[str, dict[str, Any]]] = []
    stock = Log.record

    def record(log: Log, event: str, /, **facts: str | int) -> None:
        events.append((event, facts))
        stock(log, event, **facts)

    monkeypatch.setattr(Log, "record", record)
    return events


@pytest.fixture
def team(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the page's feature and the end of its ``app.py``."""
    text = Clients.from_toml
    monkeypatch.setattr(Clients, "from_toml", lambda words, file="": text(words + ROLES, file))
    settings = {**ENVIRONMENT, "BATON_TABLE_PREFIX": tables.prefix}
    begun: dict[str, Any] = {"Baton": Baton, "Claims": Claims, "Mapping": Mapping}
    given = EFFECTS.set(Effects(lambda: int(clock.time()), secrets.token_bytes, settings))
    try:
        exec(compile(CLAIMS, "docs/baton/routes.md", "exec"), begun)  # noqa: S102 - our own page
    finally:
        EFFECTS.reset(given)
    baton = begun["baton"]
    app = Chalice(app_name="notes", configure_logs=False)
    baton.install(app)
    feature = ModuleType("notes_of_the_page")
    exec(compile(FEATURE, "docs/baton/routes.md", "exec"), vars(feature))  # noqa: S102 - code of a page of this repository
    named = {"app": app, "baton": baton, "notes": vars(feature)["notes"]}
    named |= {"Rate": Rate, "CloudWatchEvent": CloudWatchEvent}
    exec(compile(APP, "docs/baton/routes.md", "exec"), named)  # noqa: S102 - code of a page of this repository
    return named


@pytest.fixture
def device(team: dict[str, Any], clock: DevelopmentClock) -> Callable[..., Device]:
    """Make devices for the page's app."""
    send = through(Gateway([team["app"]]))
    return lambda **members: Device(send, lambda: int(clock.time()), **members)


@pytest.fixture
def phone(device: Callable[..., Device]) -> Device:
    """Return a phone that is logged in."""
    phone = device()
    assert phone.register("ada@example.com").status == 201
    return phone


def test_the_claims_of_the_page_are_in_the_next_token(team: dict[str, Any], phone: Device) -> None:
    """From the next exchange on, the token has the attributes of the account."""
    baton = team["baton"]
    account = phone.get("/me").members["account_id"]

    def plan() -> object:
        return json.loads(decode_base64url(phone.tokens["access_token"].split(".")[1]))["plan"]

    assert plan() == 0
    baton.accounts.set_attributes(account, {"plan": 2})
    assert plan() == 0
    assert phone.exchange().status == 200
    assert plan() == 2


def test_a_claims_function_that_raises_is_503_and_its_place_is_logged(
    team: dict[str, Any], phone: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repeated exchange gets the child. No line has the text of the exception."""
    baton, account = team["baton"], phone.get("/me").members["account_id"]
    events = heard(monkeypatch)
    baton.accounts.set_attributes(account, {"plan": 2})
    stock, attempt = tokens_claims.decode_attributes, "attempt-of-an-exchange"
    monkeypatch.setattr(tokens_claims, "decode_attributes", lambda _: None)
    said = phone.exchange(attempt=attempt)
    assert (said.status, said.code, said.members["action"]) == (503, "unavailable", "retry")
    (defect,) = [facts for event, facts in events if event == "internal_error"]
    assert (defect["kind"], defect["where"].split(":")[0]) == ("AttributeError", "claims")
    (refused,) = [facts for event, facts in events if event == "refused"]
    assert refused["reason"] == "the claims function of the team raised AttributeError"
    monkeypatch.setattr(tokens_claims, "decode_attributes", stock)
    assert phone.exchange(attempt=attempt).status == 200


def test_a_note_is_stored_once_and_recorded(phone: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repetition gets the same answer, and one event is recorded."""
    events = heard(monkeypatch)
    first, again = (phone.post("/notes", {"text": "milk"}, KEY) for _ in range(2))
    assert (first.status, again.body, again.headers["baton-replayed"]) == (201, first.body, "1")
    assert first.headers["location"] == f"/notes/{first.members['note_id']}"
    assert [event for event, _ in events].count("app_note_created") == 1


def test_a_refusal_has_the_public_detail_and_logs_the_private_reason(phone: Device, team: dict[str, Any]) -> None:
    """The call is `raise errors.NotFound("private reason", detail="Public sentence.")`."""
    missing = phone.get("/notes/other")
    assert (missing.status, missing.code, missing.members["action"]) == (404, "not_found", "fix_request")
    assert (missing.members["detail"], missing.members["title"]) == ("There is no such note.", "Not found")
    assert b"no such note of this account" not in missing.body
    taken = phone.post("/notes", {"text": "taken"}, KEY)
    assert (taken.status, taken.code, taken.members["detail"]) == (409, "conflict", "There is already such a note.")
    replayed = phone.post("/notes", {"text": "taken"}, KEY)
    assert (replayed.status, replayed.body, replayed.headers["baton-replayed"]) == (409, taken.body, "1")


def test_query_scope_path_and_text(phone: Device) -> None:
    """A number is converted, an unknown parameter is refused, and a text has its media type."""
    assert phone.get("/notes?page=2").members["page"] == 2
    assert phone.get("/notes?pages=2").code == "unknown_field"
    assert phone.get("/notes?page=0").code == "wrong_type"
    shown = phone.get("/notes/first-note")
    assert (shown.body, shown.headers["content-type"]) == (b"Remember the milk.", "text/plain; charset=utf-8")


def test_a_deletion_requires_the_password_and_a_bound_login(phone: Device, device: Callable[..., Device]) -> None:
    """The step-up is for this exact request."""
    assert phone.request("DELETE", "/notes/first-note").code == "step_up_required"
    assert phone.confirmed("DELETE", "/notes/first-note").status == 204
    bearer = device(client_id="simple", bound=False)
    bearer.login("ada@example.com")
    assert bearer.request("DELETE", "/notes/first-note").code == "signature_required"


def test_a_view_requires_the_password_for_some_requests(phone: Device) -> None:
    """The idempotency key of a refused call is free again."""
    short = phone.post("/notes/first-note/shares", {"text": "short"}, KEY)
    assert short.members == {"shared": "first-note", "stepped_up": False}
    long = phone.post("/notes/first-note/shares", {"text": "x" * 101}, {"idempotency-key": "another-key-abcdefgh"})
    assert (long.code, long.members["max_age"]) == ("step_up_required", 120)


def test_a_report_requires_a_role(phone: Device, team: dict[str, Any]) -> None:
    """The cases are no role, one of two roles, and the role that `require_role` names."""
    account, store = phone.get("/me").members["account_id"], team["baton"].lineage_store
    assert phone.get("/reports/notes").code == "insufficient_role"
    store.set_roles(account, frozenset({2}), expected=frozenset())
    assert phone.get("/reports/notes").code == "insufficient_role"
    store.set_roles(account, frozenset({1}), expected=frozenset({2}))
    report = phone.get("/reports/notes")
    assert (report.status, report.headers["content-type"]) == (200, "text/csv")
    assert report.headers["content-language"] == "en"


def test_public_routes_need_no_login(team: dict[str, Any]) -> None:
    """One route returns a cached answer with a cookie, the other a redirect."""
    send = through(Gateway([team["app"]]))
    about = send("GET", "/api/notes/about", [("host", HOST)], b"")
    assert (about.status, about.headers["cache-control"]) == (200, "private, max-age=3600")
    assert about.headers["set-cookie"] == "seen=1; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Strict"
    there = send("GET", "/api/notes/help", [("host", HOST)], b"")
    assert (there.status, there.headers["location"]) == (303, "https://example.com/help")


def test_a_job_is_a_function_that_lambda_can_import(team: dict[str, Any]) -> None:
    """The function has its name at the top level of ``app.py``."""
    jobs = {source.name: source.handler_string for source in team["app"].event_sources}
    assert jobs["count_notes"] == "app.count_notes"
    assert PAGE.count("\n@app.schedule(") == 1
    assert team["count_notes"]({"id": "an-event", "source": "aws.events", "detail": {}, **EVENT}, None) is None


EVENT = {"version": "0", "account": "1", "time": "", "region": "", "resources": [], "detail-type": "Scheduled Event"}


def test_the_description_has_the_routes_of_the_page(team: dict[str, Any]) -> None:
    """The description has the schema of `answers=` and the refusals that a view may raise."""
    described = openapi.render(team["app"])
    for path in ("/notes", "/notes/{note_id}", "/notes/{note_id}/shares", "/reports/notes", "/notes/about"):
        assert f'"{path}"' in described
    assert '"Stored"' in described
    assert "A refusal of the route itself." in described


ROW = re.compile(r"^\| `errors\.(\w+)` \| (\d+) `(\w+)` \| `(\w+)` \|", re.MULTILINE)
RAISED = ROW.findall(PAGE)


@pytest.mark.parametrize(("name", "status", "code", "action"), RAISED, ids=[row[0] for row in RAISED])
def test_a_view_may_raise_the_refusals_that_the_page_lists(
    name: str, status: str, code: str, action: str, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a private reason and a public sentence."""
    baton = Baton.from_environment({**ENVIRONMENT, "BATON_TABLE_PREFIX": tables.prefix})
    app = Chalice(app_name="raised", configure_logs=False)
    baton.install(app)
    refusal: type[errors.Refusal] = getattr(errors, name)

    @app.route("/raised")
    @baton.public()
    def raised(_: object) -> Answer:
        raise refusal("private reason", detail="Public sentence.", limit=7)

    events = heard(monkeypatch)
    said = through(Gateway([app]))("GET", "/api/raised", [("host", HOST)], b"")
    assert (said.status, said.code, said.members["action"]) == (int(status), code, action)
    assert (said.members["detail"], said.members["limit"]) == ("Public sentence.", 7)
    assert b"private" not in said.body
    assert any("private reason" in facts.values() for _, facts in events)


def test_a_team_adds_a_code_as_a_subclass(tables: Tables) -> None:
    """The code has its own sentence in the usual format."""
    named: dict[str, Any] = {"errors": errors}
    exec(OWN_CODE, named)  # noqa: S102 - code of a page of this repository
    baton = Baton.from_environment({**ENVIRONMENT, "BATON_TABLE_PREFIX": tables.prefix})
    app = Chalice(app_name="own", configure_logs=False)
    baton.install(app)

    @app.route("/raised")
    @baton.public()
    def raised(_: object) -> Answer:
        raise named["OutOfStock"]

    said = through(Gateway([app]))("GET", "/api/raised", [("host", HOST)], b"")
    assert (said.status, said.code, said.members["type"]) == (
        409,
        "app_out_of_stock",
        "urn:baton:error:app_out_of_stock",
    )
    assert said.members["detail"] == "This item is sold out. Choose another one."


def test_the_page_names_each_public_name_argument_and_member() -> None:
    """Thus the page covers the whole public API."""
    for name in public.__all__:
        assert f"`{name}" in PAGE, name
    arguments = [name for name in inspect.signature(Baton.signed).parameters if name != "self"]
    assert [name for name in arguments if not re.search(rf"^\| `{name}=", PAGE, re.MULTILINE)] == []
    members = [name for name in Caller.__annotations__ if name[0] != "_"]
    own = {"account_state", "attempt", "attempt_sent", "demands_second_factor", "not_before", "now", "source"}
    assert [name for name in members if name not in own and f"`{name}`" not in PAGE] == []


def test_the_checks_come_in_the_order_of_the_page(phone: Device) -> None:
    """A request with several faults gets the refusal for the first fault."""
    assert phone.post("/logout", {}).status == 204
    forged = phone.request("GET", "/notes?pages=1", tamper=lambda fields: fields.update(host="other.example.com"))
    assert forged.code == "invalid_signature", "2 before 3"
    assert phone.get("/notes?pages=1").code == "unknown_field", "3 before 4"
    assert phone.post("/notes", {"words": "x"}).code == "unknown_field", "3 before 4"
    assert phone.get("/reports/notes").code == "login_required", "4 before 5"
    assert phone.request("DELETE", "/notes/first-note").code == "login_required", "4 before 6"
    assert phone.post("/notes", {"text": "x"}).code == "login_required", "4 before 7"
    assert phone.login("ada@example.com").status == 200
    assert phone.post("/notes", {"text": "taken"}).code == "idempotency_key_required", "7 before 9"
    unlocked = {"baton-grant": phone.step_up("DELETE", "/notes/first-note")}
    nonce = "a-nonce-that-is-sent-twice"
    assert phone.request("DELETE", "/notes/other", headers=unlocked, nonce=nonce).code == "grant_invalid"
    assert phone.request("DELETE", "/notes/other", headers=unlocked, nonce=nonce).code == "replayed_nonce", "7 before 8"
    assert phone.request("DELETE", "/notes/other", nonce=nonce).code == "step_up_required", "6 before 7"
