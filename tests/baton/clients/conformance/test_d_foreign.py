"""Scenarios D and E: answers that are not from Baton, and errors of Baton."""

import json
from typing import Any

import pytest

from tests.baton.clients.conformance.line import Headers
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Agent, Scene, scenarios

pytestmark = pytest.mark.prove(ci=True)

BATON = [("Baton-Request-Id", "0123abcd-ef"), ("Cache-Control", "no-store")]
PROBLEM = [*BATON, ("Content-Type", "application/problem+json")]
HTML = [("Content-Type", "text/html")]
NEW = "another lantern drifting sideways"
PORTAL = (200, HTML, b"<html>Welcome to the hotel</html>")
SHORT = {"deadline_s": 3}


def refusal(status: int, code: str, action: str, error: str = "x", **fields: str) -> tuple[int, Headers, bytes]:
    """Make a refusal with the header fields of Baton."""
    body = json.dumps({"error": error, "code": code, "action": action, "request_id": "id-7"}).encode()
    return status, [*PROBLEM, *((name.replace("_", "-"), value) for name, value in fields.items())], body


VERBS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "me": ("GET", "/me", {}, "offline"),
    "devices": ("GET", "/me/devices", {}, "offline"),
    "change_password": ("POST", "/me/password", {"password": PASSWORD, "new_password": NEW}, "answer_lost"),
    "delete_account": ("DELETE", "/me", {"password": PASSWORD}, "answer_lost"),
    "logout_everywhere": ("POST", "/logout", {"password": PASSWORD}, "offline"),
    "login": ("POST", "/login", {"email": EMAIL, "password": PASSWORD}, "offline"),
}


@scenarios(36)
@pytest.mark.parametrize("verb", VERBS)
def test_36_a_portal(scene: Scene, verb: str) -> None:
    """The answer of a captive portal is not a success, and the client keeps the session."""
    method, path, named, kind = VERBS[verb]
    agent = scene.registered()
    before = agent("record")["token"]
    scene.line.fault(method, path, "replace", times=999, answer=PORTAL)
    assert agent.fails(verb, **named).kind == kind
    assert agent("record")["token"] == before


@scenarios(36)
def test_36_a_portal_at_the_logout(scene: Scene) -> None:
    """The logout is not confirmed. The person is logged out on this device, and the server is informed later."""
    agent = scene.registered()
    portal = scene.line.fault("POST", "/oauth/revoke", "replace", times=999, answer=PORTAL)
    assert agent("logout") == {"confirmed": False}
    assert not agent("state")["signed_in"]
    assert agent("record")["revocations"] == 1
    portal.times = 0
    assert agent("logout") == {"confirmed": True}


@scenarios(40)
def test_40_a_bare_204_to_a_logout(scene: Scene) -> None:
    """The answer has no header of Baton, so it does not confirm the logout."""
    agent = scene.registered()
    scene.line.fault("POST", "/oauth/revoke", "replace", times=999, answer=(204, [], b""))
    assert agent("logout") == {"confirmed": False}


@scenarios(36)
def test_36_a_portal_at_the_exchange(scene: Scene) -> None:
    """The call fails as offline, and the next call works."""
    agent = scene.registered()
    agent("expire")
    portal = scene.line.fault("POST", "/oauth/token", "replace", times=999, answer=PORTAL)
    assert agent.fails("me").kind == "offline"
    portal.times = 0
    agent("me")
    assert scene.reasons(agent) == [None]


@scenarios(37, 38, 41, 43, 44, 47, 48)
@pytest.mark.parametrize(
    "answer",
    [
        (202, [("x-amzn-waf-action", "challenge")], b""),
        (403, HTML, b"Request blocked."),
        (200, [("Content-Type", "application/json")], b"{}"),
        (200, [*BATON, ("Content-Type", "application/json")], b"[]"),
        (200, [*BATON, ("Content-Type", "application/json")], b'{"device_id":"\xff"}'),
        (200, [("Baton-Request-Id", "0123abcd-ef"), *BATON, ("Content-Type", "application/json")], b"{}"),
        (403, [("Content-Type", "application/json")], b'{"message":"Forbidden"}'),
        (502, HTML, b"Bad Gateway"),
    ],
    ids=[
        *("37 a WAF's 202", "38 a WAF's 403", "41 no request id", "43 a list", "44 no UTF-8"),
        *("47 the request id twice", "48 the gateway", "a proxy's 502"),
    ],
)
def test_37_to_48_an_answer_that_is_none(scene: Scene, answer: tuple[int, Headers, bytes]) -> None:
    """The client sends the request again, and keeps the session."""
    agent = scene.registered()
    scene.line.fault("GET", "/me", "replace", times=2, answer=answer)
    agent("me")
    assert len(scene.line.sent("/me", "GET")) == 3


@scenarios(39)
def test_39_a_redirect(scene: Scene) -> None:
    """The client never follows a redirect: no request arrives at its target."""
    agent = scene.registered()
    scene.line.fault(
        "POST",
        "/drafts",
        "replace",
        answer=(307, [*BATON, ("Location", f"http://127.0.0.1:{scene.line.other_port}/x")], b""),
    )
    assert agent.fails("call", method="POST", path="/drafts", json={}).kind == "answer_lost"
    assert scene.line.strays() == 0


@scenarios(42, 45)
@pytest.mark.parametrize("kind", ["cut", "half", "huge"])
def test_42_and_45_an_answer_of_the_wrong_length(scene: Scene, kind: str) -> None:
    """The client sends the request again."""
    agent = scene.registered()
    scene.line.fault("GET", "/me", kind)
    agent("me")
    assert len(scene.line.sent("/me", "GET")) == 2


@scenarios(46)
def test_46_an_answer_that_drips(scene: Scene) -> None:
    """The call fails as offline at the deadline of the caller."""
    agent = scene.registered()
    scene.line.fault("GET", "/me", "drip")
    assert agent.fails("me", deadline_s=0.5).kind == "offline"


# E: errors of Baton


def answered_by(scene: Scene, agent: Agent, *answers: tuple[int, Headers, bytes], **named: Any) -> tuple[Any, int]:
    """Let the server answer ``GET /me`` with this answer.

    Return the result of the client, and the number of requests.
    """
    for answer in answers:
        scene.line.fault("GET", "/me", "replace", answer=answer)
    try:
        said = agent("me", **named)
    except Exception as failed:  # noqa: BLE001 - the error of the client is the result
        said = failed
    return said, len(scene.line.sent("/me", "GET"))


@scenarios(49)
def test_49_busy(scene: Scene) -> None:
    """After 503 with `Retry-After`, the client pauses and sends the request again."""
    agent = scene.registered()
    said, sendings = answered_by(scene, agent, refusal(503, "unavailable", "retry", Retry_After="2"))
    assert (said["email"], sendings) == (EMAIL, 2)


@scenarios(50)
def test_50_a_short_limit(scene: Scene) -> None:
    """After 429 with a short pause, the client repeats every call, also a call that is not repeatable."""
    agent = scene.registered()
    scene.line.fault("POST", "/drafts", "replace", answer=refusal(429, "too_many_requests", "retry", Retry_After="1"))
    assert agent("call", method="POST", path="/drafts", json={})["status"] == 201


@scenarios(51)
def test_51_a_long_limit(scene: Scene) -> None:
    """After 429 with a pause longer than the deadline, the client reports the refusal immediately."""
    agent = scene.registered()
    said, sendings = answered_by(scene, agent, refusal(429, "too_many_requests", "retry", Retry_After="900"))
    assert (said.kind, said.code, sendings) == ("refused", "too_many_requests", 1)


@scenarios(52)
def test_52_a_defect(scene: Scene) -> None:
    """After the third error 500, the client reports the refusal, with its request id."""
    agent = scene.registered()
    said, sendings = answered_by(scene, agent, *[refusal(500, "server_error", "retry")] * 3)
    assert (said.kind, said.code, sendings, "id-7" in said.text) == ("refused", "server_error", 3, True)


@scenarios(53)
def test_53_an_unknown_outcome(scene: Scene) -> None:
    """The client does not repeat the call."""
    agent = scene.registered()
    scene.line.fault("POST", "/drafts", "replace", answer=refusal(500, "server_error", "check_outcome"))
    assert agent.fails("call", method="POST", path="/drafts", json={}).kind == "answer_lost"
    assert len(scene.line.sent("/drafts")) == 1


@scenarios(54, 55)
@pytest.mark.parametrize(("action", "sendings"), [("retry", 2), ("fix_request", 1), ("dance", 1)])
def test_54_and_55_an_unknown_code(scene: Scene, action: str, sendings: int) -> None:
    """The client follows the action of the error. An unknown action is treated as a refusal."""
    agent = scene.registered()
    said, found = answered_by(scene, agent, refusal(409, "of_the_future", action))
    assert found == sendings
    assert isinstance(said, dict) if sendings == 2 else (said.kind, said.code) == ("refused", "of_the_future")


@scenarios(56)
def test_56_a_wrong_deployment(scene: Scene) -> None:
    """The answer to a genuine token is 503, and the client keeps the session."""
    agent = scene.registered()
    said, _ = answered_by(scene, agent, *[refusal(503, "unavailable", "retry")] * 60, **SHORT)
    assert said.kind == "offline"
    assert agent("state")["signed_in"]
