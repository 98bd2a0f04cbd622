"""Promise 9, and 1 to 3 beside it: whatever fails, wherever, an act that is repeated ends as it would have."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from chalicelib.baton.http.answer import status_and_error
from chalicelib.baton.routing import Dialect
from tests.baton.proofs.faults import factor_endpoints
from tests.baton.proofs.faults.endpoints import SCENARIOS, Scenario
from tests.baton.proofs.faults.line import FAULTS, Call, Fault
from tests.baton.proofs.faults.stage import Act, Answered, Stage, dumped
from tools.errors_page import leaves

pytestmark = pytest.mark.guarantee(1, 2, 3, 9)

assert factor_endpoints.KEY, "its scenarios are on the list, too"
TABLE = {(*status_and_error(leaf(), dialect), leaf.code) for leaf in leaves() for dialect in Dialect}
"""Every row of the wire's code table: (status, error, code), from the family of refusals itself."""


TELLING = {"botocore": {"answer_lost for good", "emptied for good"}, "small": {"corrupted for good"}}
"""It happened and nobody knows, and something else is said than is true: the rest are their kin.

What the small AWS client has to tell by itself is whether an answer is one.
"""


@dataclass(frozen=True)
class Undisturbed:
    """How an act goes when nothing fails."""

    calls: tuple[Call, ...]
    verdicts: tuple[str, ...]
    outcome: str
    state: list[str]
    events: set[str]


def undisturbed(stage: Stage, rewind: Callable[[], None], act: Act) -> Undisturbed:
    """Play an act and note how it goes."""
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
    """Play an act with a fault at one of its calls, and say what is not as it should be."""
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
    # An event is noted after its deed: where the deed's answer was lost, who repeats it finds it done: nothing to note.
    noted = all(answer.said.status != 503 for answer in stage.answers) and "audit" not in plain.calls[at].sending.name
    if noted and stage.events() != plain.events:
        found.append(f"the audit holds {stage.events()}, not {plain.events}")
    return [f"{fault.name}, call {at} ({plain.calls[at].sending.name}): {complaint}" for complaint in found]


def unlike_the_table(answer: Answered) -> list[str]:
    """Say what of an answer is not in the wire's table."""
    said = answer.said
    if said.status < 300:
        return []
    found = []
    if (said.status, said.members.get("error"), said.code) not in TABLE:
        found.append(f"no row of the table: {answer.route} {dumped(said)}")
    if said.status >= 500 and (said.status != 503 or int(said.headers.get("retry-after", "0")) < 1):
        found.append(f"not 503 with Retry-After: {answer.route} {dumped(said)}")
    return found


def play(stage: Stage, scenario: Scenario, every: int) -> tuple[list[str], int]:
    """Fail an act at each of its calls, and say what was not as it should be, and how many cases there were.

    ``every``: of the kinds of faults that are not `TELLING`, one in so many, another one at the next call.
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


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_fault_at_any_call_changes_nothing_in_the_end(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    """The most telling faults at every call, and the others in turn; then the client goes on as its contract says."""
    found, cases = play(stage, scenario, every=30)
    record_property("cases", cases)
    assert not found, "\n".join(found)


@pytest.mark.prove
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_every_fault_at_every_call_changes_nothing_in_the_end(
    stage: Stage, scenario: Scenario, record_property: Callable[[str, object], None]
) -> None:
    """Every kind of fault at every call, once and for good."""
    found, cases = play(stage, scenario, every=1)
    record_property("cases", cases)
    assert not found, "\n".join(found)


def test_every_route_has_its_scenario(stage: Stage) -> None:
    """A route that is added is one to be failed."""
    # HEAD runs the view of GET.
    routes = {f"{route.method} {route.path}" for route in stage.module.baton.routes if route.method != "HEAD"}
    assert {scenario.route for scenario in SCENARIOS} == routes | {"POST /transfers"}


@pytest.mark.guarantee(10)
@pytest.mark.parametrize("stage", ["botocore"], indirect=True)  # the small AWS client says nothing
@pytest.mark.parametrize(
    "name", ["POST /oauth/token by a thief", pytest.param("POST /me/password", marks=pytest.mark.prove)]
)
def test_a_fault_makes_nobody_tell_a_secret(stage: Stage, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level: the witness of every test (`tests/baton/witness.py`) listens."""
    caplog.set_level(logging.DEBUG)
    (scenario,) = [each for each in SCENARIOS if str(each) == name]
    assert play(stage, scenario, every=1000)[0] == []
    assert "botocore" in {record.name.partition(".")[0] for record in caplog.records}
