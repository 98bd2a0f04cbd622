"""Exactly-once calls over HTTP: ``@baton.signed(once=True)`` on routes of a team."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from chalice.app import Chalice

from baton_client import BatonClient, MemoryStorage
from chalicelib.baton import Answer, Baton, Body, Caller, Cookie, Once, StepUp, errors
from chalicelib.baton.policy import ASKING_MAX_S, ONCE_RUN_MAX_S
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.conftest import ENVIRONMENT
from tests.baton.fixture import load_environment
from tests.baton.wire.conftest import BASE_URL, PASSWORD, Line
from tests.baton.wire.conversation import JSON, Device, Said, through
from tools.dev.gateway import DevelopmentClock, Gateway

KEY = {"idempotency-key": "order-7-abcdefgh"}
SLOW = 3
"""An order of this item takes longer than the time budget of a request for storage calls."""
PNG = b"\x89PNG\r\n\x00\xff"


class Order(Body):
    """The body of an order."""

    item: int


@pytest.fixture
def effects() -> list[int]:
    """Return the list of executed orders."""
    return []


@pytest.fixture
def outcome() -> list[Any]:
    """Return the results of the next runs, in order: an exception or an answer. If it is empty: the usual answer."""
    return []


@pytest.fixture
def elapsed() -> list[float]:
    """Return the elapsed time in seconds."""
    return [0.0]


@pytest.fixture
def environments() -> list[Baton]:
    """Return the Baton of each environment."""
    return []


@pytest.fixture
def gateway(
    tables: Tables,
    clock: DevelopmentClock,
    monkeypatch: pytest.MonkeyPatch,
    effects: list[int],
    outcome: list[Any],
    environments: list[Baton],
    elapsed: list[float],
) -> Gateway:
    """Serve routes of a team by two environments."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)

    def ordered(caller: Caller, order: Order) -> Answer:
        if order.item > 10:
            caller.require_step_up()
        effects.append(order.item)
        if order.item == SLOW:
            elapsed[0] += 2 * ASKING_MAX_S
        if outcome and isinstance(following := outcome.pop(0), BaseException):
            raise following
        if order.item == 9:
            return Answer(200, PNG, media_type="image/png")
        if order.item == 8:
            return Answer(200, PNG, media_type="application/x-own")
        cookies = (Cookie("a", "1"), Cookie("b", "2"))
        return Answer(201, {"number": len(effects)}, headers={"Location": "/orders/1"}, cookies=cookies)

    def made() -> Chalice:
        module = load_environment(clock)
        app: Chalice = module.app
        baton: Baton = module.baton
        environments.append(baton)
        app.route("/orders", methods=["POST"])(baton.signed(body=Order, once=True)(ordered))
        app.route("/safe", methods=["POST"])(baton.signed(body=Order, once=Once(retry_safe=True))(ordered))
        app.route("/confirmed", methods=["POST"])(baton.signed(body=Order, once=True, step_up=StepUp())(ordered))
        return app

    return Gateway([made() for _ in range(2)])


@pytest.fixture
def device(gateway: Gateway, clock: DevelopmentClock) -> Callable[..., Device]:
    """Make devices that call these routes."""
    return lambda **members: Device(through(gateway), lambda: int(clock.time()), **members)


@pytest.fixture
def phone(device: Callable[..., Device]) -> Device:
    """Return a phone that is logged in."""
    phone = device()
    assert phone.register("ada@example.com").status == 201
    return phone


def order(phone: Device, item: int = 7, path: str = "/orders", **headers: str) -> Said:
    """Send an order with a key."""
    return phone.post(path, {"item": item}, KEY | headers)


def test_a_repeated_order_gets_the_same_answer_and_no_second_effect(phone: Device, effects: list[int]) -> None:
    """Status, header fields and body are the same. The replay is marked, and has its own request id."""
    first, second = order(phone), order(phone)
    assert (first.status, first.members) == (201, {"number": 1})
    assert (second.status, second.body) == (first.status, first.body)
    for name in ("location", "content-type", "cache-control"):
        assert second.headers[name] == first.headers[name]
    assert "baton-replayed" not in first.headers
    assert second.headers["baton-replayed"] == "1"
    assert second.headers["baton-request-id"] != first.headers["baton-request-id"]
    assert effects == [7]


def test_the_reference_client_covers_the_key_and_repeats_until_it_gets_the_answer(
    gateway: Gateway, effects: list[int]
) -> None:
    """Two answers are lost. The view ran once."""
    line = Line(gateway)
    phone = BatonClient(BASE_URL, "mobile", MemoryStorage(), transport=line, sleep=lambda _: None)
    phone.register("ada@example.com", PASSWORD, "Ada's phone")
    line.lose_answers = 2
    answer = phone.call("POST", "/orders", json={"item": 7}, idempotency_key="order-7-abcdefgh")
    assert (answer.status, answer.headers["baton-replayed"]) == (201, "1")
    assert effects == [7]
    sent = [request.headers for request, _ in line.carried if request.url.endswith("/orders")]
    assert all('"idempotency-key"' in headers["signature-input"] for headers in sent)
    assert len({headers["signature"] for headers in sent}) == len(sent) == 3


def test_a_replay_of_a_binary_answer_is_exact(phone: Device) -> None:
    """The replay has the same bytes as the first answer."""
    image = [order(phone, 9, accept="image/png") for _ in range(2)]
    assert [one.body for one in image] == [PNG, PNG]


def test_an_answer_that_the_gateway_cannot_send_is_not_stored(phone: Device, clock: DevelopmentClock) -> None:
    """If it were stored, each repetition within a day would get the error and the advice to repeat."""
    assert order(phone, 8).status == 500
    clock.skip(ONCE_RUN_MAX_S + 1)
    assert order(phone, 8).code == "outcome_unknown"


def test_the_key_is_required_signed_and_valid_for_one_request(phone: Device, effects: list[int]) -> None:
    """Without a key, with a changed key, or with another body, the view does not run."""
    missing = phone.post("/orders", {"item": 7})
    assert (missing.status, missing.code) == (400, "idempotency_key_required")
    added = phone.post("/orders", {"item": 7}, tamper=lambda fields: fields.update(KEY))
    assert (added.status, added.code) == (401, "insufficient_coverage")
    assert effects == []
    assert order(phone).status == 201
    other = order(phone, 8)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert effects == [7]


@pytest.mark.parametrize("path", ["/logout", "/me/password"])
def test_a_route_without_once_refuses_an_idempotency_key(phone: Device, path: str) -> None:
    """An ignored key would mean a double payment. A reading route ignores the key."""
    refused = phone.post(path, {}, KEY)
    assert (refused.status, refused.code) == (400, "idempotency_unsupported")
    assert phone.request("GET", "/me", headers=KEY).status == 200


def test_a_refusal_is_replayed_and_try_again_releases_the_key(
    phone: Device, effects: list[int], outcome: list[Any]
) -> None:
    """A final refusal is replayed byte for byte. ``TryAgain`` releases the key."""
    outcome[:] = [errors.TryAgain("nothing was done"), errors.NotFound("sold out", detail="Item 7 is sold out.")]
    assert (order(phone).status, effects) == (503, [7])
    first, second = order(phone), order(phone)
    assert (first.status, first.body) == (404, second.body)
    assert second.headers["baton-replayed"] == "1"
    assert second.headers["content-type"] == "application/problem+json"
    assert effects == [7, 7]


def test_after_a_defect_the_outcome_is_unknown(
    phone: Device, clock: DevelopmentClock, effects: list[int], outcome: list[Any]
) -> None:
    """The view may have acted. A ``retry_safe`` route runs again."""
    outcome[:] = [KeyError("a defect"), KeyError("a defect")]
    for path, later in (("/orders", (409, "outcome_unknown")), ("/safe", (201, ""))):
        failed = order(phone, path=path)
        assert (failed.status, failed.members["action"]) == (500, "retry")
        waiting = order(phone, path=path)
        assert (waiting.status, waiting.code, waiting.headers["retry-after"]) == (409, "in_progress", "1")
        clock.skip(ONCE_RUN_MAX_S + 1)
        said = order(phone, path=path)
        assert (said.status, said.members.get("code", "")) == later
    assert effects == [7, 7, 7]


def test_a_replay_needs_no_grant(phone: Device, effects: list[int]) -> None:
    """A call that is refused for a missing grant releases the key, so the confirmed call uses the same key."""
    for path, item in (("/confirmed", 5), ("/orders", 11)):
        assert order(phone, item, path).code == "step_up_required"
        body = json.dumps({"item": item}).encode()
        grant = {"baton-grant": phone.step_up("POST", path, body)}
        for replayed in (None, "1"):
            said = phone.request("POST", path, body, JSON | KEY | grant)
            assert (said.status, said.headers.get("baton-replayed")) == (201, replayed)
    assert effects == [5, 11]


@pytest.mark.parametrize("ends", ["an answer", "a try again"])
def test_a_slow_view_runs_exactly_once_too(
    ends: str,
    phone: Device,
    environments: list[Baton],
    outcome: list[Any],
    effects: list[int],
    elapsed: list[float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time of the view does not count against the time budget of the storage.

    So the answer is stored, or the key is released.
    """
    for baton in environments:  # as in production
        monkeypatch.setattr(baton.database._dynamodb, "_monotonic", lambda: elapsed[0])
        monkeypatch.setattr(baton._dispatch, "begin", baton._time_budget.begin)
    if ends == "an answer":
        assert [order(phone, SLOW).status for _ in range(2)] == [201, 201]
        assert effects == [SLOW]
    else:
        outcome[:] = [errors.TryAgain("the provider did not answer")]
        assert [order(phone, SLOW).status for _ in range(2)] == [503, 201]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_grant_that_cannot_be_used_releases_the_key(
    when: str, phone: Device, environments: list[Baton], effects: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The view has not run, so a repetition with the same key may run it."""
    body = json.dumps({"item": 5}).encode()
    for baton in environments:
        consume = baton.ephemeral.consume_grant

        def fail(*arguments: Any, consume: Any = consume, **named: Any) -> None:
            if when == "after":
                consume(*arguments, **named)
            raise errors.Unavailable("planted")

        monkeypatch.setattr(baton.ephemeral, "consume_grant", fail)
    grant = {"baton-grant": phone.step_up("POST", "/confirmed", body)}
    failed = phone.request("POST", "/confirmed", body, JSON | KEY | grant)
    assert (failed.status, failed.members["action"]) == (503, "retry")
    monkeypatch.undo()
    said = phone.request("POST", "/confirmed", body, JSON | KEY | grant)
    if when == "after":
        assert said.code == "grant_invalid"
        grant = {"baton-grant": phone.step_up("POST", "/confirmed", body)}
        said = phone.request("POST", "/confirmed", body, JSON | KEY | grant)
    assert (said.status, effects) == (201, [5])


def test_a_new_phone_of_the_account_gets_the_answer_and_another_account_does_not(
    phone: Device, device: Callable[..., Device], effects: list[int]
) -> None:
    """The key belongs to the account."""
    assert order(phone).status == 201
    new, other = device(), device()
    assert new.login("ada@example.com").status == 200
    assert order(new).headers["baton-replayed"] == "1"
    assert other.register("bob@example.com").status == 201
    assert "baton-replayed" not in order(other).headers
    assert effects == [7, 7]


def test_once_is_refused_for_safe_methods() -> None:
    """The error is raised when the route is registered."""
    app, baton = Chalice(app_name="once", configure_logs=False), Baton.from_environment(ENVIRONMENT)
    baton.install(app)

    def view(caller: Caller) -> Answer:
        return Answer()

    with pytest.raises(TypeError, match="change something"):
        app.route("/orders", methods=["GET"])(baton.signed(once=True)(view))
