"""Tests of the tests: a planted mistake is noticed where it was made, and a fault that strikes nothing is too."""

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
    """Plant a mistake, fail one call of an act, and give the complaints: there were none before."""
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


def test_trouble_taken_for_an_ended_login_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """The mistake that logs everybody out when DynamoDB hiccups."""
    complained = found(
        stage,
        "GET /me",
        "throttled for good",
        "GetItem lineages",
        lambda: monkeypatch.setattr(AwsClient, "_unavailable", lambda *_, **__: errors.LoginRequired()),
    )
    assert any("our own trouble was answered" in one for one in complained)
    assert any("it ended 'logged out" in one for one in complained)


def test_trouble_taken_for_a_defect_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """500 where 503 with ``Retry-After`` is due."""
    complained = found(
        stage,
        "POST /login",
        "failing for good",
        "UpdateItem lineages",
        lambda: monkeypatch.setattr(AwsClient, "_unavailable", lambda *_, **__: KeyError()),
    )
    assert any("not 503 with Retry-After" in one for one in complained)


def test_an_answer_that_is_in_no_table_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """A code that nobody wrote down."""
    complained = found(
        stage,
        "GET /me",
        "denied for good",
        "GetItem users",
        lambda: monkeypatch.setattr(errors.Unavailable, "code", "out_of_order"),
    )
    assert any("no row of the table" in one for one in complained)


def test_a_forgotten_retry_after_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """A client would hammer, or give up."""

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


def test_a_forgotten_attempt_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """An honest client that repeats is taken for a thief."""

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


def test_a_thief_who_is_answered_before_the_end_is_written_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """Promise 3: where the end cannot be written, the verdict is not given."""
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
        nth=1,  # the first is the exchange's own
    )
    assert any("the tables hold" in one for one in complained)


def test_a_fault_that_is_never_reached_is_noticed(stage: Stage, monkeypatch: Patch) -> None:
    """No vacuous index: an act that no longer makes the call is not proved to survive its failure."""
    complained = found(
        stage,
        "GET /me",
        "request_lost for good",
        "GetItem users",
        lambda: monkeypatch.setattr(
            stage.module.baton.users, "get", lambda account: User(account, "", EmailIndex(""), b"", 1, 0)
        ),
        nth=1,  # the first is the ring's
    )
    assert any("never reached" in one for one in complained)
