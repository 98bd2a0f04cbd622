"""Tests of the report of guarantees: it shows a guarantee without a passed test, and one with a failed test."""

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
    """Make the report of a test with guarantees."""
    properties: list[tuple[str, object]] = [("guarantee", list(promises)), *counted.items()]
    return pytest.TestReport(
        "tests/tokens/test_x.py::test", ("x", 1, "x"), {}, outcome, None, when, user_properties=properties
    )


def ledger(*reports: pytest.TestReport) -> Ledger:
    """Collect these reports, for three guarantees."""
    kept = Ledger((1, 2, 3))
    for each in reports:
        kept.pytest_runtest_logreport(each)
    return kept


def test_a_guarantee_holds_if_all_its_tests_pass() -> None:
    """The number of repetitions is added up."""
    kept = ledger(report("passed", 1, 2, 3, cases=40), report("passed", 1, cases=2))
    assert kept.broken() == []
    assert str(kept.evidence[1]).split(":")[0].split() == ["2", "tests,", "42", "cases"]


def test_a_guarantee_without_a_passed_test_is_broken() -> None:
    """No test ran, or all were skipped."""
    assert ledger(report("passed", 1), report("skipped", 2, when="setup")).broken() == [2, 3]


@pytest.mark.parametrize("when", ["setup", "call", "teardown"])
def test_one_failure_breaks_a_guarantee(when: Literal["setup", "call", "teardown"]) -> None:
    """It does not matter how many tests passed, or in which phase the test failed."""
    assert ledger(report("passed", 1, 2, 3), report("failed", 2, when=when)).broken() == [2]


def test_the_name_of_every_guarantee_fits_its_line() -> None:
    """The columns of the summary are aligned."""
    lines = Ledger(PROMISES).lines(PROMISES)
    assert [holds for _, holds in lines] == [False] * 14
    assert len({line.index(" 0 tests") for line, _ in lines}) == 1


@ours_only
def test_the_guarantees_are_those_of_the_readme() -> None:
    """Numbers and order are the same. Each name has at least two words of the README's text."""
    stated = (ROOT / "README.md").read_text("utf-8").partition("## Guarantees")[2].partition("\n## ")[0]
    texts = {int(number): text.lower() for number, text in re.findall(r"^(\d+)\. (.*)$", stated, re.MULTILINE)}
    assert list(texts) == list(PROMISES)
    for number, name in PROMISES.items():
        shared = [word for word in re.findall(r"[a-z]{4,}", name) if word in texts[number]]
        assert len(shared) >= 2, (number, name, texts[number])
