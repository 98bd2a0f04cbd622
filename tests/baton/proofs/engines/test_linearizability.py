"""Tests of the linearizability check: on histories written by hand, and against a check of every order."""

import dataclasses
import itertools
import random
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import Actor, EndReason, PresentedToken
from chalicelib.baton.lineages.rules import Exchanged, Inactive, ProofOutdated, Retry, Reused, exchange
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    IDLE_S,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_ATTEMPT,
    USER,
    presented,
    state_with,
)
from tests.baton.proofs.engines.history import FOREVER, UNANSWERED, History, Operation, State
from tests.baton.proofs.engines.linearizability import Contradiction, Explained, Refuted, explain
from tests.baton.proofs.engines.recording import FIRST, START
from tests.baton.proofs.engines.sequential import apply

UNHEARD_SHARE = 0.25

OWNER, THIEF = presented(lineage=FIRST), presented(lineage=FIRST, attempt=OTHER_ATTEMPT)
CHILD, THIEFS_CHILD = exchange(FIRST, OWNER, now=NOW), exchange(FIRST, THIEF, now=NOW)
UNTOUCHED, MOVED_ON = START.account_state, replace(START.account_state, lineages={FIRST.id: CHILD})


def exchanging(who: PresentedToken, sent: int, heard: int, answer: object) -> Operation:
    """Make the record of an exchange between two times."""
    arguments = {"presented": who, "now": NOW, "not_before": NOT_BEFORE, "idle_s": IDLE_S}
    return Operation(who.attempt.decode(), "exchange", arguments, sent, heard, answer)


def looking(sent: int, heard: int, answer: object) -> Operation:
    """Make the record of a read of the account state."""
    return Operation("reader", "get", {"account": ACCOUNT}, sent, heard, answer)


def ending(sent: int, heard: int, answer: object = Done(), *, reason: EndReason = EndReason.LOGOUT) -> Operation:
    """Make the record of an end of the lineage."""
    arguments = {"account": ACCOUNT, "lineage": FIRST.id, "reason": reason, "now": NOW}
    return Operation("owner", "end", arguments, sent, heard, answer)


def ending_all(sent: int, heard: int, answer: object = Done()) -> Operation:
    """Make the record of a call in which the first login ends all logins."""
    return Operation("owner", "end_all", {"actor": ACTOR, "now": NOW}, sent, heard, answer)


def ending_device(actor: Actor, lineage: LineageId, sent: int, heard: int, answer: object = Done()) -> Operation:
    """Make the record of a call in which the login ``actor`` ends the login ``lineage``."""
    arguments = {"actor": actor, "lineage": lineage, "now": NOW}
    return Operation(actor.lineage, "end_device", arguments, sent, heard, answer)


def changing_password(actor: Actor, sent: int, heard: int, answer: object = Done()) -> Operation:
    """Make the record of a password change on behalf of a lineage."""
    arguments = {"actor": actor, "password_hash": actor.lineage.encode(), "expected": TWO.account_state, "now": NOW}
    return Operation(actor.lineage, "change_password", arguments, sent, heard, answer)


def deleting(actor: Actor, sent: int, heard: int, answer: object = Done()) -> Operation:
    """Make the record of a deletion of the account on behalf of a lineage."""
    return Operation(actor.lineage, "delete", {"actor": actor, "now": NOW}, sent, heard, answer)


POSSIBLE = {
    "one after the other": (
        exchanging(OWNER, 0, 1, Exchanged(CHILD)),
        exchanging(OWNER, 2, 3, Retry(CHILD)),
        exchanging(THIEF, 4, 5, Reused(CHILD)),
        looking(6, 7, MOVED_ON),
    ),
    "side by side, the first to send is the last to happen": (
        exchanging(OWNER, 0, 9, Retry(CHILD)),
        exchanging(OWNER, 1, 5, Exchanged(CHILD)),
        looking(2, 8, UNTOUCHED),
    ),
    "the unheard happened": (
        exchanging(OWNER, 0, 1, UNANSWERED),
        exchanging(OWNER, 2, 3, Retry(CHILD)),
    ),
    "the unheard never happened": (
        exchanging(OWNER, 0, 1, UNANSWERED),
        exchanging(THIEF, 2, 3, Exchanged(THIEFS_CHILD)),
        exchanging(OWNER, 4, 5, Reused(THIEFS_CHILD)),
    ),
    "the unheard happened long after": (
        exchanging(OWNER, 0, FOREVER, UNANSWERED),
        looking(2, 3, UNTOUCHED),
        looking(4, 5, MOVED_ON),
    ),
    "one of two unheard happened": (
        ending(0, 1, UNANSWERED),
        ending_all(0, 1, UNANSWERED),
        exchanging(OWNER, 2, 3, Inactive(EndReason.LOGOUT)),
    ),
    "of two ends side by side, the one came first": (
        ending(0, 8),
        ending(0, 9, Refused(), reason=EndReason.REUSE),
        exchanging(OWNER, 10, 11, Inactive(EndReason.LOGOUT)),
    ),
    "of two ends side by side, the other came first": (
        ending(0, 8, Refused()),
        ending(0, 9, reason=EndReason.REUSE),
        exchanging(OWNER, 10, 11, Inactive(EndReason.REUSE)),
    ),
}

IMPOSSIBLE = {
    "two children of one generation": (
        exchanging(OWNER, 0, 9, Exchanged(CHILD)),
        exchanging(THIEF, 0, 9, Exchanged(THIEFS_CHILD)),
    ),
    "a write that was lost": (exchanging(OWNER, 0, 1, Exchanged(CHILD)), looking(2, 3, UNTOUCHED)),
    "a write that came and went": (
        exchanging(OWNER, 0, 9, Exchanged(CHILD)),
        looking(1, 2, MOVED_ON),
        looking(3, 4, UNTOUCHED),
    ),
    "an ended login that lives": (ending(0, 1), exchanging(OWNER, 2, 3, Exchanged(CHILD))),
    "an exchange after the end of all": (ending_all(0, 1), exchanging(OWNER, 2, 3, Exchanged(CHILD))),
    "an end that nobody asked for": (exchanging(OWNER, 0, 1, Inactive(EndReason.LOGOUT)),),
    "a retry of what was not sent yet": (exchanging(OWNER, 0, 1, Retry(CHILD)), exchanging(OWNER, 2, 3, UNANSWERED)),
    "the unheard happened after its line was seen to break": (
        exchanging(OWNER, 0, 1, UNANSWERED),
        looking(2, 3, UNTOUCHED),
        looking(4, 5, MOVED_ON),
    ),
    "a retry taken for a thief": (exchanging(OWNER, 0, 1, Exchanged(CHILD)), exchanging(OWNER, 2, 3, Reused(CHILD))),
    "a thief taken for a retry": (exchanging(OWNER, 0, 1, Exchanged(CHILD)), exchanging(THIEF, 2, 3, Retry(CHILD))),
    "another child for the retry": (
        exchanging(OWNER, 0, 1, Exchanged(CHILD)),
        exchanging(OWNER, 2, 3, Retry(replace(CHILD, issued_at=NOW + 1))),
    ),
}


TWO = State(USER, state_with(FIRST, replace(FIRST, id=OTHER)))
THEIRS = replace(ACTOR, lineage=OTHER)
"""The second device of the same account."""

POSSIBLE_OF_TWO = {
    "one ends the other, who comes too late": (
        ending_device(ACTOR, OTHER, 0, 9),
        ending_device(THEIRS, FIRST.id, 0, 9, Inactive(EndReason.ENDED_BY_OWNER)),
    ),
    "the account is deleted, and no password changed": (
        changing_password(ACTOR, 0, 9, Moved()),
        deleting(THEIRS, 0, 9),
    ),
    "the password is changed, and the account not deleted": (
        changing_password(ACTOR, 0, 9),
        deleting(THEIRS, 0, 9, Inactive(EndReason.PASSWORD_CHANGED)),
    ),
    "the one whose password is void keeps its login": (
        changing_password(ACTOR, 0, 1),
        deleting(ACTOR, 2, 3, ProofOutdated()),
    ),
    "all are ended, then one": (
        ending_device(THEIRS, FIRST.id, 0, 9),
        ending_all(0, 9, Inactive(EndReason.ENDED_BY_OWNER)),
    ),
}
IMPOSSIBLE_OF_TWO = {
    "each ends the other": (ending_device(ACTOR, OTHER, 0, 9), ending_device(THEIRS, FIRST.id, 0, 9)),
    "a password is changed by a deleted account's login, or it is deleted by an ended one": (
        changing_password(ACTOR, 0, 9),
        deleting(THEIRS, 0, 9),
    ),
    "both change the password": (changing_password(ACTOR, 0, 9), changing_password(THEIRS, 0, 9)),
    "an ended one ends all": (ending_device(THEIRS, FIRST.id, 0, 1), ending_all(2, 3)),
    "an outdated proof deletes": (changing_password(ACTOR, 0, 1), deleting(ACTOR, 2, 3)),
}


@pytest.mark.parametrize("name", POSSIBLE_OF_TWO)
def test_a_possible_history_of_two_devices_is_explained(name: str) -> None:
    """One of the two comes first, and the other gets the answer for the state after it."""
    assert isinstance(explain(History(TWO, POSSIBLE_OF_TWO[name]), apply), Explained)


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("name", IMPOSSIBLE_OF_TWO)
def test_an_impossible_history_of_two_devices_is_refuted(name: str) -> None:
    """In each order, the second login is not active any more, or its grant is outdated."""
    assert isinstance(explain(History(TWO, IMPOSSIBLE_OF_TWO[name]), apply), Refuted)


@pytest.mark.parametrize("name", POSSIBLE)
def test_a_possible_history_is_explained(name: str) -> None:
    """In the found order, every answer is the answer of the rule."""
    verdict = explain(History(START, POSSIBLE[name]), apply)
    assert isinstance(verdict, Explained)
    state = START
    for operation in verdict.order:
        state, answer = apply(state, operation)
        assert operation.answer in (answer, UNANSWERED)


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_history_is_refuted(name: str) -> None:
    """No order gives the recorded answers."""
    assert isinstance(explain(History(START, IMPOSSIBLE[name]), apply), Refuted)


def test_a_refutation_has_the_longest_order_and_the_expected_answer() -> None:
    """A reader of the failure can see the contradiction."""
    first, second = IMPOSSIBLE["an ended login that lives"]
    verdict = explain(History(START, (first, second)), apply)
    assert verdict == Refuted((first,), (Contradiction(second, Inactive(EndReason.LOGOUT)),))


def explained_by_some_order(history: History) -> bool:
    """Try every order of every choice of unanswered operations: the definition of linearizability."""
    heard = [operation for operation in history.operations if operation.answer != UNANSWERED]
    unheard = [operation for operation in history.operations if operation.answer == UNANSWERED]
    return any(
        _fits(order)
        for happened in range(len(unheard) + 1)
        for chosen in itertools.combinations(unheard, happened)
        for order in itertools.permutations([*heard, *chosen])
    )


def _fits(order: Sequence[Operation]) -> bool:
    state = START
    for place, operation in enumerate(order):
        if any(later.heard < operation.sent for later in order[place + 1 :]):
            return False
        state, answer = apply(state, operation)
        if operation.answer not in (answer, UNANSWERED):
            return False
    return True


def any_history(chance: random.Random) -> History:
    """Generate a small history from real behaviour, in which times or answers may be exchanged."""
    state, operations = START, []
    for number in range(chance.choice([3, 4, 5, 5])):
        sent = 10 * number
        heard = sent + chance.choice([3, 5, 15, 25])
        unheard = chance.random() < UNHEARD_SHARE
        operation = chance.choice(
            [
                exchanging(OWNER, sent, heard, None),
                exchanging(THIEF, sent, heard, None),
                looking(sent, heard, None),
                ending(sent, heard),
                ending(sent, heard, reason=EndReason.REUSE),
            ]
        )
        after, answer = apply(state, operation)
        if unheard:
            operation = dataclasses.replace(operation, heard=chance.choice([heard, FOREVER]))
        operations.append(dataclasses.replace(operation, answer=UNANSWERED if unheard else answer))
        state = chance.choice([after, after, state])
    return History(START, tuple(operations))


def test_the_search_agrees_with_a_check_of_every_order() -> None:
    """The test compares a thousand small histories. Many are explained, and many are refuted."""
    chance = random.Random(9)
    drawn = [any_history(chance) for _ in range(1000)]
    verdicts = [isinstance(explain(history, apply), Explained) for history in drawn]
    assert verdicts == [explained_by_some_order(history) for history in drawn]
    assert 100 < sum(verdicts) < 900
