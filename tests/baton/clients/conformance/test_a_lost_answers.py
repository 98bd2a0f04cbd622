"""Scenarios A: answers are lost, and processes end during a request."""

import pytest

from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Scene, scenarios
from tests.baton.testing.placed import ORDERS

POINTS = ("before_send", "after_answer", "before_store", "after_store")
KEY = "0123456789abcdef"


@scenarios(1)
def test_01_the_answer_to_a_registration_is_lost(scene: Scene) -> None:
    """The client sends the request again, and only one account is made."""
    scene.line.fault("POST", "/register", "lose_answer")
    agent = scene.registered()
    assert len(scene.line.sent("/register")) == 2
    assert scene.reasons(agent) == [None]


@scenarios(2)
def test_02_the_answer_to_a_login_is_lost_and_the_app_killed(scene: Scene) -> None:
    """The new process repeats the login, and the server adds no second device."""
    scene.registered().kill()
    held = scene.line.fault("POST", "/login", "hold")
    agent = scene.agent("b")
    agent.begin("login", email=EMAIL, password=PASSWORD)
    assert held.held.wait(10)
    agent.kill()
    again = scene.agent("b")
    again("login", email=EMAIL, password=PASSWORD)
    held.release.set()  # not earlier: a tab that is closing may still take the answer
    assert scene.reasons(again) == [None, None]


@scenarios(3)
def test_03_the_request_of_a_login_is_lost(scene: Scene) -> None:
    """The client sends the request again."""
    scene.registered()
    scene.line.fault("POST", "/login", "lose_request", times=2)
    agent = scene.agent("b")
    agent("login", email=EMAIL, password=PASSWORD)
    assert scene.reasons(agent) == [None, None]


@scenarios(4)
def test_04_the_answer_to_an_exchange_is_lost_thrice(scene: Scene) -> None:
    """Each repetition gets the same child."""
    agent = scene.registered()
    scene.line.fault("POST", "/oauth/token", "lose_answer", times=3)
    scene.exchanged(agent)
    answers = [one.answer for one in scene.line.sent("/oauth/token")]
    assert len(answers) == 4
    assert len({answer.split(b'"access_token":"')[1].split(b".")[1] for answer in answers}) == 1


@scenarios(5)
def test_05_the_request_of_an_exchange_is_lost(scene: Scene) -> None:
    """The client sends the request again, with the same attempt."""
    agent = scene.registered()
    scene.line.fault("POST", "/oauth/token", "lose_request")
    scene.exchanged(agent)
    assert scene.reasons(agent) == [None]


@scenarios(6)
def test_06_the_port_is_closed_for_a_moment(scene: Scene) -> None:
    """The client also repeats a call that is not repeatable: the call did not reach the server."""
    agent = scene.registered(scale=0.2)
    scene.line.refuse_for(0.5)
    assert agent("call", method="POST", path="/drafts", json={})["status"] == 201
    assert len(ORDERS) == 1


@scenarios(7, 8, 9, 10)
@pytest.mark.parametrize("point", POINTS)
def test_07_a_crash_in_an_exchange(scene: Scene, point: str) -> None:
    """Scenarios 7 to 10: the next process is still logged in, as the only device."""
    agent = scene.registered()
    agent("expire")
    agent("set", crash={"at": point, "path": "/oauth/token"} if point[-4:] != "tore" else {"at": point})
    agent.dies("me")
    again = scene.agent()
    again("me")
    assert scene.reasons(again) == [None]


@scenarios(11)
@pytest.mark.parametrize("point", POINTS)
def test_11_a_crash_in_a_login(scene: Scene, point: str) -> None:
    """The repeated login adds no second device."""
    scene.registered().kill()
    agent = scene.agent("b")
    agent("set", crash={"at": point, "path": "/login"} if point[-4:] != "tore" else {"at": point})
    agent.dies("login", email=EMAIL, password=PASSWORD)
    again = scene.agent("b")
    if point != "after_store":
        again("login", email=EMAIL, password=PASSWORD)
    assert scene.reasons(again) == [None, None]


@scenarios(12)
def test_12_killed_while_the_answer_is_held(scene: Scene) -> None:
    """The next process is still logged in, as the only device."""
    agent = scene.registered()
    agent("expire")
    held = scene.line.fault("POST", "/oauth/token", "hold")
    agent.begin("me")
    assert held.held.wait(10)
    agent.kill()
    again = scene.agent()
    again("me")
    held.release.set()
    assert scene.reasons(again) == [None]


@scenarios(13)
def test_13_the_answer_to_a_call_is_lost(scene: Scene) -> None:
    """The client reports an unknown outcome, and keeps the session."""
    agent = scene.registered()
    scene.line.fault("POST", "/drafts", "lose_answer")
    assert agent.fails("call", method="POST", path="/drafts", json={}).kind == "answer_lost"
    assert len(ORDERS) == 1
    agent("me")


@scenarios(14)
def test_14_the_answer_to_a_call_with_a_key_is_lost(scene: Scene) -> None:
    """The repeated call has one effect, and the client gets its answer."""
    agent = scene.registered()
    scene.line.fault("POST", "/orders", "lose_answer", times=2)
    answer = agent("call", method="POST", path="/orders", json={"item": 7}, idempotency_key=KEY)
    assert (answer["status"], answer["json"], answer["replayed"]) == (201, {"number": 1}, "1")
    assert len(ORDERS) == 1


@scenarios(15)
def test_15_a_key_on_a_route_that_takes_none(scene: Scene) -> None:
    """The server refuses the key, and the call has no effect."""
    agent = scene.registered()
    refused = agent.fails("call", method="POST", path="/drafts", json={}, idempotency_key=KEY)
    assert (refused.kind, refused.code) == ("refused", "idempotency_unsupported")
    assert ORDERS == []


@scenarios(16)
def test_16_a_grant_is_spent_by_a_lost_answer(scene: Scene) -> None:
    """The client asks the person for the password only once."""
    agent = scene.registered()
    scene.line.fault("POST", "/orders", "lose_answer", skip=1)
    answer = agent(
        "call", method="POST", path="/orders", json={"item": 7, "price": 20_000}, idempotency_key=KEY, password=PASSWORD
    )
    assert (answer["status"], answer["asked"]) == (201, 1)
    assert len(ORDERS) == 1


@scenarios(17)
def test_17_a_stack_sends_a_call_twice(scene: Scene) -> None:
    """The server refuses the second request as a replay, so the client does not know the outcome of the first."""
    agent = scene.registered()
    scene.line.fault("POST", "/drafts", "twice")
    assert agent.fails("call", method="POST", path="/drafts", json={}).kind == "answer_lost"
    assert len(ORDERS) == 1


@scenarios(18)
def test_18_a_stack_sends_a_safe_call_twice(scene: Scene) -> None:
    """The client still gets the answer."""
    agent = scene.registered()
    scene.line.fault("GET", "/me", "twice")
    agent("me")
