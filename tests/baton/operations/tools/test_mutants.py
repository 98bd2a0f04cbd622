"""The mutants themselves: each changes what is there, and what survives is told."""

from collections import Counter
from pathlib import Path

import pytest

from tools.mutants.__main__ import Laboratory, all_mutants, copied, unchanged
from tools.mutants.generated import FILES, generated
from tools.mutants.listed import LISTED, SHORT
from tools.mutants.mutant import ROOT, TESTS, Mutant, Stale


def test_every_mutant_can_live() -> None:
    """Its text is there, once; what becomes of it is Python; no two have one name."""
    mutants = all_mutants()
    for mutant in mutants:
        source = (ROOT / mutant.file).read_text("utf-8")
        assert mutant.applied(source) != source, mutant
    assert [name for name, count in Counter(map(str, mutants)).items() if count > 1] == []


def test_there_are_as_many_as_were_asked_for() -> None:
    """Forty by hand at least, a dozen for every day, and every guard of the files of rules."""
    assert len(LISTED) >= 40
    assert len(SHORT) == 12
    assert {mutant.file for mutant in LISTED} | set(FILES) == TESTS.keys()
    for file in FILES:
        assert len(list(generated(file))) > 5


GUARDED = ("keys", "lineages", "proof", "storage/dynamodb", "storage/aws")
NOUNS = ("__init__", "attempt", "daily", "model", "ports", "refusals", "snapshot", "storage")


def test_every_file_of_rules_that_guards_something_is_mutated() -> None:
    """And the client. Left out: nouns, numbers, ports, refusals, and the audit, whose planted mistakes are tests."""
    guarded = {
        path.relative_to(ROOT).as_posix()
        for part in GUARDED
        for path in (ROOT / "chalicelib" / "baton" / part).glob("*.py")
        if path.stem not in NOUNS
    }
    assert guarded == {file for file in TESTS if file.removeprefix("chalicelib/baton/").rpartition("/")[0] in GUARDED}
    assert all((ROOT / test).is_file() for tests in TESTS.values() for test in tests)


def test_a_text_that_moved_is_noticed() -> None:
    """Gone, or there twice: a mutant that changes nothing kills nothing."""
    with pytest.raises(Stale, match="0 times"):
        Mutant("x.py", "gone", "guard()", "pass").applied("nothing")
    with pytest.raises(Stale, match="2 times"):
        Mutant("x.py", "twice", "guard()", "pass").applied("guard()\nguard()")
    with pytest.raises(Stale, match="not where it was"):
        Mutant("x.py", "moved", "guard()", "pass", at=0).applied("\nguard()")
    with pytest.raises(SyntaxError):
        Mutant("x.py", "no Python", "guard()", "(").applied("guard()")


def test_one_that_changes_nothing_survives_and_one_that_breaks_something_does_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a copy of the tree, with the file put back in between. Where tests fail without a mutant, it prints them."""
    file = "chalicelib/baton/keys/base64url.py"
    tree = copied(tmp_path / "tree")
    assert unchanged(tree, TESTS[file])
    harmless = Mutant(file, "nothing", "over = len(text) % 4", "over = len(text) % (2 + 2)")
    harmful = Mutant(file, "something", "over = len(text) % 4", "over = len(text) % 3")
    ended = dict(Laboratory([tree]).survivors([harmless, harmful, harmless]))
    assert ended == {harmless: True, harmful: False}
    assert (tree / file).read_bytes() == (ROOT / file).read_bytes()
    assert not capfd.readouterr().err
    (tree / file).write_text(harmful.applied((ROOT / file).read_text("utf-8")), "utf-8")
    assert not unchanged(tree, TESTS[file])
    assert "test_base64url.py" in capfd.readouterr().err
