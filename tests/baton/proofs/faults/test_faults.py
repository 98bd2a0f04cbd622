"""Guarantees 1 to 3 and 9: after a fault at any call, a repeated request has the same result as without the fault."""

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from chalicelib.baton.http.answer import status_and_error
from chalicelib.baton.routing import Dialect
from chalicelib.baton.storage.aws.service import AwsClient
from tests.baton.proofs.faults import (
    attestation_endpoints,
    browser_endpoints,
    factor_endpoints,
    federation_endpoints,
    moving_endpoints,
    passkey_endpoints,
    restore_endpoints,
)
from tests.baton.proofs.faults.endpoints import SCENARIOS, Scenario
from tests.baton.proofs.faults.line import FAULTS, Call, Fault
from tests.baton.proofs.faults.stage import Act, Answered, Stage, dumped
from tools.errors_page import leaves

pytestmark = pytest.mark.guarantee(1, 2, 3, 9)

# The import of each module adds its scenarios to `SCENARIOS`.
assert factor_endpoints.KEY == restore_endpoints.KEY, "no scenarios of second factors and restore keys"
assert passkey_endpoints.RP_ID, "no scenarios of passkeys"
assert federation_endpoints.PROVIDER, "no scenarios of identity providers"
assert attestation_endpoints.CLIENT, "no scenarios of attestation"
assert browser_endpoints.PAGE, "no scenarios of browsers"
assert moving_endpoints.HASH, "no scenarios of people from another system"
TABLE = {(*status_and_error(leaf(), dialect), leaf.code) for leaf in leaves() for dialect in Dialect}
"""Every row of the code table of the wire format: (status, error, code), from the refusal classes."""


TELLING = {"botocore": {"answer_lost for good", "emptied for good"}, "small": {"corrupted for good"}}
"""The most important faults of each AWS client: an executed request without an answer, and a false answer.

The other faults are similar."""


@dataclass(frozen=True)
class Undisturbed:
    """The result of a scenario without a fault."""

    calls: tuple[Call, ...]
    verdicts: tuple[str, ...]
    outcome: str
    state: list[str]
    events: set[str]


def undisturbed(stage: Stage, rewind: Callable[[], None], act: Act) -> Undisturbed:
    """Run a scenario without a fault, and record its result."""
    rewind()
    stage.line.record()
    outcome = act()
    return Undisturbed(
        tuple(stage.line.calls),
        tuple(answer.verdict for answer in stage.answers),
        outcome,
        stage.state(),
        stage.events(),
    )


def complaints(
    stage: Stage, rewind: Callable[[], None], act: Act, fault: Fault, at: int, plain: Undisturbed, scenario: Scenario
) -> list[str]:
    """Run a scenario with a fault at one of its calls, and list the differences from the expected result."""
    rewind()
    stage.line.fail(fault, at=at)
    outcome = act()
    found = []
    if not stage.line.struck:
        found.append("the fault was never reached")
    for place, answer in enumerate(stage.answers):
        found += unlike_the_table(answer)
        expected = plain.verdicts[place] if place < len(plain.verdicts) else ""
        if answer.struck and answer.verdict not in {expected, "503 unavailable"}:
            found.append(f"our own trouble was answered {dumped(answer.said)}")
    if outcome not in {plain.outcome, *scenario.outcomes}:
        found.append(f"it ended '{outcome}', not '{plain.outcome}'")
    if (state := [fact for fact in stage.state() if fact not in scenario.may_leave]) != plain.state:
        found.append(f"the tables hold {state}, not {plain.state}")
    # An audit event is written after its action. If that answer was lost, a repeated request finds the action done and
    # writes no event.
    noted = all(answer.said.status != 503 for answer in stage.answers) and "audit" not in plain.calls[at].sending.name
    if noted and stage.events() != plain.events:
        found.append(f"the audit holds {stage.events()}, not {plain.events}")
    return [f"{fault.name}, call {at} ({plain.calls[at].sending.name}): {complaint}" for complaint in found]


def unlike_the_table(answer: Answered) -> list[str]:
    """Return the part of an answer that is not in the code table of the wire format."""
    said = answer.said
    if said.status < 400 or "secure-session-challenge" in said.headers:  # a challenge is no refusal
        return []
    found = []
    if (said.status, said.members.get("error"), said.code) not in TABLE:
        found.append(f"no row of the table: {answer.route} {dumped(said)}")
    if said.status >= 500 and (said.status != 503 or int(said.headers.get("retry-after", "0")) < 1):
        found.append(f"not 503 with Retry-After: {answer.route} {dumped(said)}")
    return found


def play(stage: Stage, scenario: Scenario, every: int) -> tuple[list[str], int]:
    """Inject faults at each call of a scenario. Return the complaints and the number of cases.

    Each call gets every fault of `TELLING`, and one in ``every`` of the other faults: other calls get others.
    """
    stage.clear()
    act = scenario.prepare(stage)
    rewind = stage.remember()
    plain = undisturbed(stage, rewind, act)
    assert bool(plain.calls) is not scenario.asks_nobody
    cases = [
        (fault, at)
        for at, call in enumerate(plain.calls)
        for place, fault in enumerate(FAULTS)
        if fault.strikes(call)
        and (fault.name in TELLING[stage.transport] or (place + at + SCENARIOS.index(scenario)) % every == 0)
    ]
    found = [
        complaint for fault, at in cases for complaint in complaints(stage, rewind, act, fault, at, plain, scenario)
    ]
    return found, len(cases)


OFTEN = {
    "POST /register",
    "POST /login",
    "POST /oauth/token",
    "GET /me",
    "POST /step-up",
    "POST /transfers",
    "POST /logout",
}
"""``make test`` runs the scenarios of these routes, CI all of them."""


@pytest.mark.parametrize("stage", ["small"], indirect=True)
@pytest.mark.parametrize(
    "scenario",
    [one if one.route in OFTEN else pytest.param(one, marks=pytest.mark.prove(ci=True)) for one in SCENARIOS],
    ids=str,
)
def test_a_fault_at_any_call_does_not_change_the_result(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    """Each call gets the most important faults, and one other fault, which changes from call to call.

    Then the client continues by its contract.
    """
    found, cases = play(stage, scenario, every=30)
    record_property("cases", cases)
    assert not found, "\n".join(found)


@pytest.mark.prove
@pytest.mark.parametrize("stage", ["botocore"], indirect=True)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_fault_at_any_call_does_not_change_the_result_with_botocore(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    """As the test above, with botocore, the AWS client of the tools."""
    found, cases = play(stage, scenario, every=30)
    record_property("cases", cases)
    assert not found, "\n".join(found)


@pytest.mark.prove
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_every_fault_at_every_call_does_not_change_the_result(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    """Each call gets every kind of fault, once and permanently."""
    found, cases = play(stage, scenario, every=1)
    record_property("cases", cases)
    assert not found, "\n".join(found)


def test_a_machine_that_pauses_is_no_fault(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenario: ten seconds pass at each look at the clock, as on a busy machine. Each call is still in time."""
    (scenario,) = [each for each in SCENARIOS if str(each) == "POST /login again, after it was answered"]
    stage.clear()
    act = scenario.prepare(stage)
    with monkeypatch.context() as slow:
        slow.setattr(time, "monotonic", itertools.count(step=10).__next__)
        plain = undisturbed(stage, stage.remember(), act)
        assert plain.verdicts == ("200",)
        assert AwsClient("dynamodb")._monotonic() == 0, "the clock of the AWS clients runs in the fault tests"


def test_every_route_has_its_scenario(stage: Stage) -> None:
    """If a route is added, a scenario must be added here."""
    # HEAD uses the view of GET.
    routes = {f"{route.method} {route.path}" for route in stage.module.baton.routes if route.method != "HEAD"}
    assert {scenario.route for scenario in SCENARIOS} == routes | {"POST /transfers"}


@pytest.mark.guarantee(10)
@pytest.mark.parametrize("stage", ["botocore"], indirect=True)  # the small AWS client writes no log
@pytest.mark.parametrize(
    "name", ["POST /oauth/token by a thief", pytest.param("POST /me/password", marks=pytest.mark.prove)]
)
def test_a_fault_causes_no_secret_in_the_log(stage: Stage, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """The log level is DEBUG. The secret scan of every test (`tests/baton/witness.py`) checks the log."""
    caplog.set_level(logging.DEBUG)
    (scenario,) = [each for each in SCENARIOS if str(each) == name]
    assert play(stage, scenario, every=1000)[0] == []
    assert "botocore" in {record.name.partition(".")[0] for record in caplog.records}
