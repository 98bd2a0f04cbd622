"""The page about attacks: each test that it names exists, and no number is missing."""

import re

from tests.baton.repository import ROOT

PAGE = (ROOT / "docs/baton/attacks.md").read_text("utf-8")
FOLDERS = ("tests/baton", "chalicelib/baton/testing/contract")


def test_each_named_test_exists() -> None:
    """A test that is renamed or removed would leave a claim without its proof."""
    found = {
        name
        for folder in FOLDERS
        for file in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"^ *def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 90
    assert named - found == set()


def test_the_cases_are_numbered() -> None:
    """The numbers run from 1 to 80, in order, and each case has a test."""
    rows = re.findall(r"^\| ([0-9]+) \|.*\| (.*) \|$", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 81))
    assert all("`test_" in tests for _, tests in rows)


def test_every_row_about_browsers_has_a_test() -> None:
    """The numbers run from T1 to T40, in order. Some tests cover more than their row.

    T35 to T40 are about the console.
    """
    rows = re.findall(r"^\| (T[0-9]+) \|.*\| (.*) \|$", PAGE, re.MULTILINE)
    assert [row for row, _ in rows] == [f"T{number}" for number in range(1, 41)]
    assert all("`test_" in tests for _, tests in rows)


def test_a_test_names_the_case_whose_row_names_the_test() -> None:
    """A docstring that begins with "Case 9:" is of a test in row 9. Eleven had an earlier number."""
    rows = dict(re.findall(r"^\| ([0-9]+) \|.*\| (.*) \|$", PAGE, re.MULTILINE))
    said = [
        (number, name)
        for file in (ROOT / "tests/baton").rglob("test_*.py")
        for name, number in re.findall(r'def (test_\w+)\([^"]*"""Case ([0-9]+):', file.read_text("utf-8"))
    ]
    assert len(said) > 30
    assert [(number, name) for number, name in said if f"`{name}`" not in rows[number]] == []
