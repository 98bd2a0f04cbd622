"""Tests of the mutants: each changes existing code, and a surviving mutant is reported."""

import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tools import kotlin_mutants, swift_mutants
from tools.mutants.__main__ import Laboratory, all_mutants, copied, unchanged
from tools.mutants.generated import FILES, generated
from tools.mutants.listed import LISTED, SHORT
from tools.mutants.mutant import ROOT, TESTS, Mutant, Stale


def test_every_mutant_is_valid() -> None:
    """Its text occurs once in the file, the changed file is valid Python, and its name is unique."""
    mutants = all_mutants()
    for mutant in mutants:
        source = (ROOT / mutant.file).read_text("utf-8")
        assert mutant.applied(source) != source, mutant
    assert [name for name, count in Counter(map(str, mutants)).items() if count > 1] == []


@pytest.mark.parametrize("tool", [kotlin_mutants, swift_mutants], ids=["kotlin", "swift"])
def test_every_mutant_of_a_client_is_valid(tool: ModuleType) -> None:
    """Its text occurs once, and its name is unique in its file. ``guards.test.js`` checks those of TypeScript."""
    mutants = tool.listed()
    for mutant in mutants:
        assert tool.path_of(tool.HERE, mutant.file).read_text("utf-8").count(mutant.text) == 1, mutant
    assert [name for name, count in Counter((one.file, one.name) for one in mutants).items() if count > 1] == []


def test_there_are_enough_mutants() -> None:
    """There are at least forty listed mutants, and twelve for ``SHORT=1``.

    Each file of ``FILES`` has more than five mutants from its syntax tree.
    """
    assert len(LISTED) >= 40
    assert len(SHORT) == 12
    assert {mutant.file for mutant in LISTED} | set(FILES) == TESTS.keys()
    for file in FILES:
        assert len(list(generated(file))) > 5


GUARDED = ("keys", "lineages", "proof", "storage/dynamodb", "storage/aws")
NOUNS = ("__init__", "daily", "model", "ports", "refusals", "snapshot", "storage")


def test_every_file_with_rules_has_mutants() -> None:
    """The exceptions are files without rules, such as models, ports and refusals."""
    guarded = {
        path.relative_to(ROOT).as_posix()
        for part in GUARDED
        for path in (ROOT / "chalicelib" / "baton" / part).glob("*.py")
        if path.stem not in NOUNS
    }
    assert guarded == {file for file in TESTS if file.removeprefix("chalicelib/baton/").rpartition("/")[0] in GUARDED}
    assert all((ROOT / test).is_file() for tests in TESTS.values() for test in tests)


def test_a_mutant_whose_text_moved_is_noticed() -> None:
    """If its text is missing or repeated, the mutant has no effect and would prove nothing."""
    with pytest.raises(Stale, match="0 times"):
        Mutant("x.py", "gone", "guard()", "pass").applied("nothing")
    with pytest.raises(Stale, match="2 times"):
        Mutant("x.py", "twice", "guard()", "pass").applied("guard()\nguard()")
    with pytest.raises(Stale, match="not where it was"):
        Mutant("x.py", "moved", "guard()", "pass", at=0).applied("\nguard()")
    with pytest.raises(SyntaxError):
        Mutant("x.py", "no Python", "guard()", "(").applied("guard()")


@pytest.mark.prove
def test_a_mutant_without_effect_survives_and_a_harmful_one_is_killed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They run in a copy of the tree, whose file is restored in between.

    A mutant does not run with the bytecode of an earlier mutant of the same size. If the tests fail without a mutant,
    the failures are printed.
    """
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = "chalicelib/baton/keys/base64url.py"
    tree = copied(tmp_path / "tree")
    assert unchanged(tree, TESTS[file])
    harmless = Mutant(file, "nothing", "over = len(text) % 4", "over = len(text) % (2 + 2)")
    harmful = Mutant(file, "something", "over = len(text) % 4", "over = len(text) % 3")
    same_size = Mutant(file, "nothing, with the size of something", "over = len(text) % 4", "over = len(text) & 3")
    ended = list(Laboratory([tree]).survivors([harmless, harmful, same_size, harmful]))
    assert ended == [(harmless, True), (harmful, False), (same_size, True), (harmful, False)]
    assert (tree / file).read_bytes() == (ROOT / file).read_bytes()
    assert not capfd.readouterr().err
    (tree / file).write_text(harmful.applied((ROOT / file).read_text("utf-8")), "utf-8")
    assert not unchanged(tree, TESTS[file])
    assert "test_base64url.py" in capfd.readouterr().err
