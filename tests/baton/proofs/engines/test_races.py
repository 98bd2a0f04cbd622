"""Races of Baton on dynoxide, which runs as a separate program."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable

import pytest

from chalicelib.baton.factors import password_hash as passwords
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.proofs.engines.racing_baton import RACERS, only_child, patient, race
from tests.baton.proofs.engines.together import processes, threads
from tests.baton.wire.conversation import Said
from tests.baton.witness import Witness

pytestmark = pytest.mark.guarantee(1, 3)

RACES, RACES_AT_LENGTH = 50, 10_000
PROCESSES = 8


@pytest.fixture
def raced(shared_tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the small AWS client to dynoxide, and cheap password hashes, because thousands of accounts register."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", shared_tables.prefix)
    monkeypatch.setenv("BATON_AWS_CLIENT", "small")
    monkeypatch.setenv("BATON_RATE_LIMITS", "off")
    monkeypatch.setattr(passwords, "_CURRENT", (8, 1, 1))
    patient(monkeypatch)


def test_races_of_sixteen_have_one_child_each(raced: None, record_property: Callable[[str, object], None]) -> None:
    """The short form: sixteen environments in threads of this process."""
    with threads(1) as team:
        assert sum(tally["children"] for tally in race(team, 1, RACES)) == RACES
    record_property("cases", RACES)


@pytest.mark.prove
def test_ten_thousand_races_of_sixteen_have_one_child_each(
    raced: None, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str], witness: Witness
) -> None:
    """Eight processes with two environments each. Half of the races are between rivals. No answer is 5xx."""
    begun, total = time.monotonic(), Counter[str]()
    with processes(PROCESSES) as team:
        for tally in race(team, PROCESSES, RACES_AT_LENGTH):
            total += tally
            assert not witness.leaks()  # now, because the search time grows with the square of the number of races
            witness.forget()
            with capsys.disabled():
                sys.stderr.write(f"  {total['children']:>6} of {RACES_AT_LENGTH}, {time.monotonic() - begun:4.0f} s\n")
    with capsys.disabled():
        sys.stderr.writelines(f"  {count:>6} {words}\n" for words, count in sorted(total.items()))
    assert total["children"] == RACES_AT_LENGTH
    record_property("cases", RACES_AT_LENGTH)


def said(status: int, **members: str) -> Said:
    """Create an answer."""
    return Said(status, {}, json.dumps(members).encode())


CHILD, DOWN = said(200, refresh_token="child"), said(503, code="unavailable")
REUSED, ENDED = (said(400, code=code, reason="reuse") for code in ("token_reused", "login_required"))


def test_a_race_that_breaks_the_rule_is_noticed() -> None:
    """The errors are two children, two winners, no winner, an end without reuse, a refused retry, and a 5xx."""
    other, unexplained = said(200, refresh_token="another"), said(400, code="login_required")
    assert only_child([CHILD] * RACERS, rivals=False) == "child"
    assert only_child([CHILD, REUSED] + [ENDED] * (RACERS - 2), rivals=True) == "child"
    assert only_child([CHILD] + [REUSED] * (RACERS - 1), rivals=True) == "child"
    for answers, rivals in (
        ([CHILD] * (RACERS - 1) + [other], False),
        ([CHILD] * (RACERS - 1) + [ENDED], False),
        ([CHILD] * (RACERS - 1) + [DOWN], False),
        ([CHILD] * (RACERS - 1), False),
        ([CHILD, other, REUSED] + [ENDED] * (RACERS - 3), True),
        ([CHILD, CHILD, REUSED] + [ENDED] * (RACERS - 3), True),
        ([REUSED] + [ENDED] * (RACERS - 1), True),
        ([CHILD] + [ENDED] * (RACERS - 1), True),
        ([CHILD, REUSED, unexplained] + [ENDED] * (RACERS - 3), True),
        ([CHILD, REUSED, DOWN] + [ENDED] * (RACERS - 3), True),
        ([CHILD, REUSED] + [ENDED] * (RACERS - 3), True),
    ):
        with pytest.raises(AssertionError):
            only_child(answers, rivals=rivals)
