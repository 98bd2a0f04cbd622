"""The promises and their evidence: which tests stand for each, counted from what really ran.

A test says which promises it stands for, `@pytest.mark.guarantee(1, 2)`, or its module does, in `pytestmark`. One that
plays many cases says how many: `record_property("cases", 300)`, or schedules, rounds, histories, requests. A whole run
ends with a line for each promise, and fails where one has no test that passed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

COUNTED = ("cases", "schedules", "rounds", "histories", "requests", "lives", "mutants")
"""What a test may have played many of, and says so by ``record_property``."""

PROMISES: Final = {
    1: "a token has at most one child",
    2: "a lost answer never logs out an honest app",
    3: "a used token with another attempt ends its login",
    4: "a token without the key of its login is useless",
    5: "a complete copy of a device ends in 60 seconds",
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
    """What stands for one promise."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    suites: set[str] = field(default_factory=set)

    @property
    def holds(self) -> bool:
        """Tell whether something passed and nothing failed."""
        return self.passed > 0 and not self.failed

    def __str__(self) -> str:
        """Say it in a line."""
        played = "".join(f", {self.counts[word]:,} {word}" for word in COUNTED if self.counts[word])
        less = "".join(
            f", {count} {word}" for word, count in (("failed", self.failed), ("skipped", self.skipped)) if count
        )
        return f"{self.passed:>5} tests{played}{less}: {' '.join(sorted(self.suites)) or 'nothing ran'}"


def promised(item: pytest.Item) -> list[int]:
    """Name the promises that a test stands for."""
    return sorted({int(number) for mark in item.iter_markers("guarantee") for number in mark.args})


class Ledger:
    """Keep the evidence of a run."""

    def __init__(self, promises: Iterable[int]) -> None:
        """Begin without any."""
        self.evidence = {number: Evidence() for number in promises}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended."""
        numbers = [number for name, numbers in report.user_properties if name == "guarantee" for number in numbers]  # type: ignore[attr-defined] # a list, put there by conftest
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
        """Name the promises that have no evidence, or evidence against them."""
        return [number for number, evidence in self.evidence.items() if not evidence.holds]

    def lines(self, promises: dict[int, str]) -> Sequence[tuple[str, bool]]:
        """Write a line for each promise, and whether it holds."""
        return [
            (f"{number:>3}  {promises[number]:<{_WORDS}} {evidence}", evidence.holds)
            for number, evidence in self.evidence.items()
        ]


def suite(nodeid: str) -> str:
    """Name the suite of a test: its folder, or its file where that stands alone."""
    path = Path(nodeid.partition("::")[0])
    return path.parent.name if path.parent.name != "baton" else path.stem.removeprefix("test_")
