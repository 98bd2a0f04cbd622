"""How ``make bench-count`` reads the counts of cachegrind, and when it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import instructions
from bench.instructions import (
    FEW,
    HMAC_UNASKED,
    MANY,
    P256_CALL,
    P256_CHECKS,
    P256_UNASKED,
    ROOT,
    STORED,
    TRIVIAL,
    counts,
    elsewhere,
    moved,
    ratios,
    wanted,
)
from tests.baton.repository import ours_only

TOLD = f"""["{TRIVIAL}", {FEW}, 21]
["{TRIVIAL}", {MANY}, 22]
["{P256_CALL}", {FEW}, 23]
["{P256_CALL}", {MANY}, 24]
"""
LOG = """==21== I   refs:      700,000,000
==22== Cachegrind, a cache and branch-prediction profiler
==24==
==24== I   refs:      960,000,000
==22== I   refs:      720,000,000
{"message": "==23== I   refs:      1"}
==23== I   refs:      710,000,000
==20== I   refs:      999,999,999
"""
HERE = {"Python": "CPython 3.11.7", "architecture": "x86_64"}
COUNTED = {TRIVIAL: 100.0, HMAC_UNASKED: 170.0, P256_CALL: 1301.0, P256_UNASKED: 1200.0, P256_CHECKS: 900.0}


def test_the_cost_of_a_call_is_the_difference_of_two_processes() -> None:
    """The order of the processes does not matter. The parent process and the set-up do not count."""
    assert counts(TOLD, LOG) == {TRIVIAL: 200_000, P256_CALL: 2_500_000}
    assert ratios(counts(TOLD, LOG)) == {TRIVIAL: 1, P256_CALL: 12.5}


@pytest.mark.parametrize(
    ("told", "log"),
    [(TOLD, LOG.replace("==23== I ", "==23== ")), ("\n".join(TOLD.splitlines()[1:]), LOG)],
    ids=["not counted", "not told"],
)
def test_a_missing_process_gives_no_result(told: str, log: str) -> None:
    """Without one of the two counts, the difference would be the whole set-up."""
    with pytest.raises(ValueError, match=TRIVIAL if log == LOG else P256_CALL):
        counts(told, log)


@pytest.mark.parametrize(
    ("now", "within"),
    [(1.0, True), (1.049, True), (0.951, True), (1.051, False), (0.949, False)],
)
def test_the_limit_is_five_percent_in_both_directions(now: float, within: bool) -> None:  # noqa: FBT001 - a column of the table
    """An improvement is reported as well: an old stored value would hide the next regression."""
    complaints = moved({TRIVIAL: 1.0, "call": 2 * now}, {TRIVIAL: 1.0, "call": 2.0})
    assert (complaints == []) is within
    assert all(complaint.startswith("call: ") for complaint in complaints)


def test_a_case_on_one_side_only_is_reported() -> None:
    """A removed case must not count as unchanged."""
    assert moved({"new": 1.0}, {"old": 1.0}) == [
        "new: counted, but not stored",
        "old: stored, but not counted",
    ]


def test_another_build_is_reported() -> None:
    """Each difference is listed, even if one build lacks the value."""
    assert elsewhere(HERE, HERE) == []
    assert elsewhere(HERE, HERE | {"Python": "CPython 3.13.1", "valgrind": "3.19.0"}) == [
        "Python is CPython 3.11.7, and was CPython 3.13.1",
        "valgrind is unknown, and was 3.19.0",
    ]


def test_a_target_is_reported_as_met_or_not_met() -> None:
    """The comparison uses the value before rounding."""
    hmac, p256, unasked = wanted(COUNTED)
    assert "1.700 trivial routes (wanted: at most 1.7; met)" in hmac
    assert "1.301" in p256
    assert "not met" in p256
    assert "1.200" in unasked


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the counting by fixed counts, and store them outside the repository."""
    path = tmp_path / "instructions.json"
    path.write_text(json.dumps({"taken with": HERE, "ratios": ratios(COUNTED)}), "utf-8")
    replacements: dict[str, Any] = {
        "STORED": path,
        "ROOT": tmp_path,
        "build": lambda _: HERE,
        "count": lambda _: COUNTED,
    }
    for name, replacement in replacements.items():
        monkeypatch.setattr(instructions, name, replacement)
    monkeypatch.setattr("shutil.which", lambda _: "valgrind")
    return path


def test_without_valgrind_the_command_compares_nothing(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes nothing either."""
    monkeypatch.setattr("shutil.which", lambda _: None)
    before = stored.read_bytes()
    assert instructions.main(["--update"]) == 0
    assert "valgrind is not installed" in capsys.readouterr().out
    assert stored.read_bytes() == before


def test_unchanged_ratios_pass(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A control of the other tests of ``main``."""
    assert instructions.main([]) == 0
    assert "within 5% of the stored ratios" in capsys.readouterr().out


def test_a_changed_ratio_fails_and_prints_the_remedy(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It fails until the new ratio is stored."""
    monkeypatch.setattr(instructions, "count", lambda _: COUNTED | {P256_CALL: 1400.0})
    assert instructions.main([]) == 1
    assert "make bench-count UPDATE=1" in capsys.readouterr().out
    assert instructions.main(["--update"]) == 0
    assert instructions.main([]) == 0
    assert json.loads(stored.read_text("utf-8"))["ratios"][P256_CALL] == pytest.approx(14)


def test_with_another_python_the_command_compares_nothing(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The size of the difference does not matter."""
    monkeypatch.setattr(instructions, "build", lambda _: HERE | {"Python": "CPython 3.13.1"})
    monkeypatch.setattr(instructions, "count", lambda _: COUNTED | {P256_CALL: 1400.0})
    assert instructions.main([]) == 0
    said = capsys.readouterr().out
    assert "not compared with the stored ratios" in said
    assert "within" not in said


@ours_only
def test_the_counted_cases_are_the_stored_cases() -> None:
    """The program runs without valgrind too. Every call succeeds, and the names are those of the stored table."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.counted"],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": f".{os.pathsep}clients/python"},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = [json.loads(line) for line in done.stdout.splitlines()]
    names = list(json.loads(STORED.read_text("utf-8"))["ratios"])
    assert [(name, calls) for name, calls, _ in told] == [(name, calls) for name in names for calls in (FEW, MANY)]
