"""The guarantees and their evidence: the tests of each guarantee, counted from the results of a run.

A test names its guarantees with `@pytest.mark.guarantee(1, 2)`, or its module does this in `pytestmark`. A test with
many cases reports the number of cases, for example `record_property("cases", 300)`. Other names are schedules, rounds,
histories and requests. A complete run ends with a line for each guarantee, and fails if a guarantee has no passed test.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

COUNTED = ("cases", "schedules", "rounds", "histories", "requests", "lives", "mutants")
"""The kinds of cases that a test may count with ``record_property``."""

PROMISES: Final = {
    1: "a token has at most one child",
    2: "a lost answer never logs out an honest app",
    3: "a used token with another attempt ends its login",
    4: "a token without the key of its login is useless",
    5: "a complete copy of a device loses access",
    6: "after a logout, no call of its login succeeds",
    7: "an ended login never becomes active again",
    8: "one conditional write for each one-time value",
    9: "if DynamoDB or KMS fails, the answer is 5xx",
    10: "no plaintext secret is stored or logged",
    11: "wrong user, password or status: the same answer",
    12: "a signature covers the request; one call, once",
    13: "an exactly-once call has at most one effect",
    14: "no client is a way around a second factor",
}
"""Short names of the guarantees. README.md has their exact conditions, and ``test_promises.py`` compares the two."""
_WORDS = 48


@dataclass
class Evidence:
    """The test results for one guarantee."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    suites: set[str] = field(default_factory=set)

    @property
    def holds(self) -> bool:
        """Return whether a test passed and no test failed."""
        return self.passed > 0 and not self.failed

    def __str__(self) -> str:
        """Format the results as one line."""
        played = "".join(f", {self.counts[word]:,} {word}" for word in COUNTED if self.counts[word])
        less = "".join(
            f", {count} {word}" for word, count in (("failed", self.failed), ("skipped", self.skipped)) if count
        )
        return f"{self.passed:>5} tests{played}{less}: {' '.join(sorted(self.suites)) or 'nothing ran'}"


def promised(item: pytest.Item) -> list[int]:
    """Return the numbers of the guarantees of a test."""
    return sorted({int(number) for mark in item.iter_markers("guarantee") for number in mark.args})


class Ledger:
    """The evidence of a run."""

    def __init__(self, promises: Iterable[int]) -> None:
        """Start without evidence."""
        self.evidence = {number: Evidence() for number in promises}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the result of a test."""
        numbers = [number for name, numbers in report.user_properties if name == "guarantee" for number in numbers]  # type: ignore[attr-defined] # a list that conftest adds
        for number in numbers:
            self._note(self.evidence[number], report)

    def _note(self, evidence: Evidence, report: pytest.TestReport) -> None:
        if report.failed:
            evidence.failed += 1
        elif report.skipped:
            evidence.skipped += not hasattr(report, "wasxfail")
        elif report.when == "call":
            evidence.passed += 1
            evidence.suites.add(suite(report.nodeid))
            for name, value in report.user_properties:
                if name in COUNTED and isinstance(value, int):
                    evidence.counts[name] += value

    def broken(self) -> list[int]:
        """Return the guarantees without a passed test, or with a failed test."""
        return [number for number, evidence in self.evidence.items() if not evidence.holds]

    def lines(self, promises: dict[int, str]) -> Sequence[tuple[str, bool]]:
        """Format a line for each guarantee, and return whether it holds."""
        return [
            (f"{number:>3}  {promises[number]:<{_WORDS}} {evidence}", evidence.holds)
            for number, evidence in self.evidence.items()
        ]


def suite(nodeid: str) -> str:
    """Return the suite of a test: its folder, or its file if the file is not in a folder."""
    path = Path(nodeid.partition("::")[0])
    return path.parent.name if path.parent.name != "baton" else path.stem.removeprefix("test_")
