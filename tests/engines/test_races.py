"""Baton itself, raced by processes on an engine they share."""

import json
import sys
import time

import pytest

from chalicelib.stores.engine import Tables
from tests.engines.racing_baton import PROCESSES, RACERS, only_child, race
from tests.engines.together import processes
from tests.web.conversation import Said

RACES = 10_000
TOLD_EVERY = 250


@pytest.mark.prove
def test_ten_thousand_races_of_sixteen_have_one_child_each(
    shared_tables: Tables, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixteen exchanges of one token from eight processes: exactly one child, and no 5xx. Every tenth is of rivals."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", shared_tables.prefix)
    begun = time.monotonic()
    with processes(PROCESSES) as team:
        for number in race(team, RACES, "ada@example.com"):
            if number % TOLD_EVERY == 0:
                with capsys.disabled():
                    sys.stderr.write(f"  {number:>6} of {RACES} races, {time.monotonic() - begun:4.0f} s\n")


def said(status: int, **members: str) -> Said:
    """Make an answer."""
    return Said(status, {}, json.dumps(members).encode())


CHILD, REUSED, DOWN = said(200, refresh_token="child"), said(400, code="token_reused"), said(503, code="unavailable")


def test_a_race_that_breaks_the_promise_is_noticed() -> None:
    """Two children, two winners among rivals, none at all, a refused retry, a 5xx."""
    other = said(200, refresh_token="another")
    assert only_child([CHILD] * RACERS, rivals=False) == "child"
    assert only_child([CHILD, *[REUSED] * (RACERS - 1)], rivals=True) == "child"
    for answers, rivals in (
        ([CHILD] * (RACERS - 1) + [other], False),
        ([CHILD, other] + [REUSED] * (RACERS - 2), True),
        ([CHILD, CHILD] + [REUSED] * (RACERS - 2), True),
        ([REUSED] * RACERS, True),
        ([CHILD] * (RACERS - 1) + [REUSED], False),
        ([CHILD] * (RACERS - 1) + [DOWN], False),
        ([CHILD] + [REUSED] * (RACERS - 2) + [DOWN], True),
    ):
        with pytest.raises(AssertionError):
            only_child(answers, rivals=rivals)
