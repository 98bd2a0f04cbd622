"""Each invariant fails for its own mistake, so that a scenario without a failure is a proof."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.baton.clients.conformance import invariants
from tests.baton.clients.conformance.line import Exchanged
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, WORDS, Scene


@pytest.fixture
def client() -> str:
    """Return the client for the honest requests."""
    return "python"


@pytest.fixture
def honest(scene: Scene) -> Scene:
    """Register and exchange, with lost answers."""
    agent = scene.registered()
    scene.line.fault("POST", "/oauth/token", "lose_answer")
    scene.exchanged(agent)
    scene.check()
    return scene


def changed(one: Exchanged, **fields: str) -> Exchanged:
    """Return the request with other header fields."""
    names = {name.replace("_", "-") for name in fields}
    kept = [(name, value) for name, value in one.headers if name.lower() not in names]
    return replace(one, headers=[*kept, *((name.replace("_", "-"), value) for name, value in fields.items())])


def test_a_token_with_two_attempts(honest: Scene) -> None:
    """The mistake is that of a client that draws a new attempt for each request."""
    first, second = honest.line.sent("/oauth/token")
    invariants.one_attempt_a_token([first, second])
    with pytest.raises(AssertionError, match="two attempts"):
        invariants.one_attempt_a_token([first, changed(second, idempotency_key=f'"{"b" * 22}"')])


def test_a_nonce_twice(honest: Scene) -> None:
    """The mistake is that of a client that sends the same bytes again."""
    log = list(honest.line.log)
    with pytest.raises(AssertionError, match="a nonce was sent twice"):
        invariants.signatures([*log, replace(log[-1])])
    with pytest.raises(AssertionError, match="a nonce was sent twice"):
        invariants.signatures([*log, changed(log[-1], accept="*/*")], resends=True)
    invariants.signatures([*log, replace(log[-1])], resends=True)


@pytest.mark.parametrize("how", ["body", "path", "key"])
def test_a_wrong_signature(honest: Scene, how: str) -> None:
    """The mistake is that of a client that changes a request after it was signed, or signs with another key."""
    log = list(honest.line.log)
    last = log[-1] if how != "body" else honest.line.sent("/oauth/token")[-1]
    wrong: dict[str, Any] = {
        "body": replace(last, body=last.body + b" "),
        "path": replace(last, target=f"{last.target}/devices"),
        "key": changed(last, signature_input=last.header("signature-input").replace('keyid="', 'keyid="x')),
    }
    with pytest.raises(AssertionError, match=r"unknown key|does not verify"):
        invariants.signatures([*(one for one in log if one is not last), wrong[how]])


def test_a_token_that_no_record_had(honest: Scene) -> None:
    """The mistake is that of a client that uses a child before it is stored (rule 4)."""
    last = honest.line.log[-1]
    honest.stored.arrived(last)
    honest.stored.check()
    honest.stored.arrived(changed(last, authorization="Bearer another-token"))
    with pytest.raises(AssertionError, match="was not stored"):
        honest.stored.check()
    honest.stored.unstored.clear()


@pytest.mark.parametrize("where", ["body", "query", "header"])
def test_a_password_in_another_request(honest: Scene, where: str) -> None:
    """The mistake is that of a client that sends the password with each request."""
    last = honest.line.log[-1]
    wrong = {
        "body": replace(last, body=json.dumps({"password": PASSWORD}).encode()),
        "query": replace(last, target=f"{last.target}?word={PASSWORD}"),
        "header": changed(last, x_word=PASSWORD),
    }
    with pytest.raises(AssertionError, match="a password"):
        invariants.passwords([wrong[where]], WORDS)


def test_a_request_to_another_host(honest: Scene) -> None:
    """The mistake is that of a client that follows a redirect."""
    last = honest.line.log[-1]
    with pytest.raises(AssertionError, match=r"a request to api\.example\.com"):
        invariants.own_host([changed(last, host="api.example.com")], honest.line.port, 0)
    with pytest.raises(AssertionError, match="another port"):
        invariants.own_host([last], honest.line.port, 1)


def test_a_secret_that_is_printed(honest: Scene) -> None:
    """The mistake is that of a client that prints its session, or an error with its stack."""
    log = list(honest.line.log)
    token = json.loads(honest.line.sent("/oauth/token")[-1].answer)["access_token"]
    for printed in (f"log in with {PASSWORD}", f"Session({token})"):
        with pytest.raises(AssertionError, match="a secret was printed"):
            invariants.secrets_printed(printed, log, WORDS)
    with pytest.raises(AssertionError, match="Traceback"):
        invariants.secrets_printed("Traceback (most recent call last):", log, WORDS)
    invariants.secrets_printed(f"{EMAIL} is logged in", log, WORDS)


def test_a_scenario_checks_all_of_them(honest: Scene) -> None:
    """The check at the end of a scenario names the mistake."""
    honest.line.log.append(changed(honest.line.log[-1], host="api.example.com", signature_input=""))
    with pytest.raises(AssertionError, match=r"a request to api\.example\.com"):
        honest.check()
    honest.line.log.pop()
