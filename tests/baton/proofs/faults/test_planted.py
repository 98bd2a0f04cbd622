"""Tests of the fault tests: a seeded fault in Baton is noticed, and so is a fault that strikes no call."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.baton import errors
from chalicelib.baton.factors.model import User
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.tokens import exchange
from tests.baton.proofs.faults.endpoints import SCENARIOS
from tests.baton.proofs.faults.line import FAULTS
from tests.baton.proofs.faults.stage import Stage
from tests.baton.proofs.faults.test_faults import complaints, undisturbed

pytestmark = [pytest.mark.guarantee(9), pytest.mark.parametrize("stage", ["botocore"], indirect=True)]

Patch = pytest.MonkeyPatch


def found(stage: Stage, scenario: str, fault: str, call: str, plant: Callable[[], None], *, nth: int = 0) -> list[str]:
    """Seed a fault, fail one call of a scenario, and return the complaints. Without the fault there are none."""
    (one,) = [each for each in SCENARIOS if str(each) == scenario]
    (struck,) = [each for each in FAULTS if each.name == fault]
    stage.clear()
    act = one.prepare(stage)
    rewind = stage.remember()
    plain = undisturbed(stage, rewind, act)
    at = [place for place, each in enumerate(plain.calls) if each.sending.name == call][nth]
    assert complaints(stage, rewind, act, struck, at, plain, one) == []
    plant()
    return complaints(stage, rewind, act, struck, at, plain, one)


def test_an_unavailable_store_treated_as_an_ended_login_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """Such an error would log out every user when DynamoDB is slow."""
    complained = found(
        stage,
        "GET /me",
        "throttled for good",
        "GetItem lineages",
        lambda: monkeypatch.setattr(AwsClient, "_unavailable", lambda *_, **__: errors.LoginRequired()),
    )
    assert any("our own trouble was answered" in one for one in complained)
    assert any("it ended 'logged out" in one for one in complained)


def test_an_unavailable_store_reported_as_internal_error_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """The seeded fault answers 500 where 503 with ``Retry-After`` is correct."""
    complained = found(
        stage,
        "POST /login",
        "failing for good",
        "UpdateItem lineages",
        lambda: monkeypatch.setattr(AwsClient, "_unavailable", lambda *_, **__: KeyError()),
    )
    assert any("not 503 with Retry-After" in one for one in complained)


def test_an_undocumented_error_code_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """The seeded fault answers with a code that is not in the code table."""
    complained = found(
        stage,
        "GET /me",
        "denied for good",
        "GetItem users",
        lambda: monkeypatch.setattr(errors.Unavailable, "code", "out_of_order"),
    )
    assert any("no row of the table" in one for one in complained)


def test_a_missing_retry_after_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """Without it, a client would retry too fast, or give up."""

    def without(self: errors.Unavailable, reason: str = "", /) -> None:
        errors.Refusal.__init__(self, reason)

    complained = found(
        stage,
        "GET /health",
        "timed_out for good",
        "GetItem lineages",
        lambda: monkeypatch.setattr(errors.Unavailable, "__init__", without),
    )
    assert any("not 503 with Retry-After" in one for one in complained)


def test_a_lost_attempt_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """An honest client that repeats its request would be treated as a thief."""

    def forgetful(_message: object, _signature: object, entropy: Callable[[int], bytes]) -> str:
        return entropy(16).hex()

    complained = found(
        stage,
        "POST /oauth/token",
        "answer_lost for good",
        "UpdateItem lineages",
        lambda: monkeypatch.setattr(exchange, "attempt_of", forgetful),
    )
    assert any("logged out (reuse)" in one for one in complained)


def test_an_answer_to_a_thief_before_the_end_is_written_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """Guarantee 3: if the end cannot be written, the server does not answer with reuse."""
    end = LineageStore.end

    def carelessly(*given: Any, **named: Any) -> None:
        with contextlib.suppress(errors.Unavailable):
            end(*given, **named)

    complained = found(
        stage,
        "POST /oauth/token by a thief",
        "request_lost for good",
        "UpdateItem lineages",
        lambda: monkeypatch.setattr(LineageStore, "end", carelessly),
        nth=1,  # the first one belongs to the exchange
    )
    assert any("the tables hold" in one for one in complained)


def test_a_fault_that_is_never_reached_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """The scenario fails if the call with the fault does not happen."""
    complained = found(
        stage,
        "GET /me",
        "request_lost for good",
        "GetItem users",
        lambda: monkeypatch.setattr(
            stage.module.baton.users, "get", lambda account: User(account, "", EmailIndex(""), b"", 1, 0)
        ),
        nth=-1,  # the first one loads the key ring, and the last one reads whether mails bounce
    )
    assert any("never reached" in one for one in complained)
