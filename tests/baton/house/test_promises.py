"""Tests of the tests: a promise without evidence is noticed, and evidence against it."""

import re
from typing import Literal

import pytest

from tests.baton.promises import PROMISES, Ledger
from tests.baton.repository import ROOT, ours_only


def report(
    outcome: Literal["passed", "failed", "skipped"],
    *promises: int,
    when: Literal["setup", "call", "teardown"] = "call",
    **counted: int,
) -> pytest.TestReport:
    """Make the report of a test that stands for promises."""
    properties: list[tuple[str, object]] = [("guarantee", list(promises)), *counted.items()]
    return pytest.TestReport(
        "tests/tokens/test_x.py::test", ("x", 1, "x"), {}, outcome, None, when, user_properties=properties
    )


def ledger(*reports: pytest.TestReport) -> Ledger:
    """Keep these reports, of three promises."""
    kept = Ledger((1, 2, 3))
    for each in reports:
        kept.pytest_runtest_logreport(each)
    return kept


def test_a_promise_holds_while_all_that_stands_for_it_passes() -> None:
    """What was played many times is counted."""
    kept = ledger(report("passed", 1, 2, 3, cases=40), report("passed", 1, cases=2))
    assert kept.broken() == []
    assert str(kept.evidence[1]).split(":")[0].split() == ["2", "tests,", "42", "cases"]


def test_a_promise_without_a_test_that_passed_is_broken() -> None:
    """Nothing ran, or it was skipped."""
    assert ledger(report("passed", 1), report("skipped", 2, when="setup")).broken() == [2, 3]


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_one_failure_breaks_a_promise(when: Literal["setup", "call", "teardown"]) -> None:
    """However many passed, and wherever it failed."""
    assert ledger(report("passed", 1, 2, 3), report("failed", 2, when=when)).broken() == [2]


def test_the_name_of_every_promise_fits_its_line() -> None:
    """The columns of the summary are straight."""
    lines = Ledger(PROMISES).lines(PROMISES)
    assert [holds for _, holds in lines] == [False] * 14
    assert len({line.index(" 0 tests") for line, _ in lines}) == 1


@ours_only
def test_the_promises_are_the_guarantees_of_the_readme() -> None:
    """The same numbers, in the same order. Each name has words of the text that it is short for."""
    stated = (ROOT / "README.md").read_text("utf-8").partition("## Guarantees")[2].partition("\n## ")[0]
    texts = {int(number): text.lower() for number, text in re.findall(r"^(\d+)\. (.*)$", stated, re.MULTILINE)}
    assert list(texts) == list(PROMISES)
    for number, name in PROMISES.items():
        shared = [word for word in re.findall(r"[a-z]{4,}", name) if word in texts[number]]
        assert len(shared) >= 2, (number, name, texts[number])
