"""The Swift client. `make clients` runs its tests and `make mutants` its mutants: both need Swift 6."""

import pytest

from tools.client_vectors.__main__ import FILES
from tools.kotlin_mutants import Mutant
from tools.swift_mutants import HERE, listed, path_of


@pytest.mark.parametrize("mutant", listed(), ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_swift_client_can_be_made(mutant: Mutant) -> None:
    """The text of each mutant is in the source exactly once, and its tests exist.

    So a change of the source cannot lose a mutant.
    """
    assert path_of(HERE, mutant.file).read_text("utf-8").count(mutant.text) == 1
    assert mutant.text != mutant.replacement
    assert (HERE / "Tests" / "BatonTests" / f"{mutant.tests}.swift").exists()


def test_every_file_of_vectors_is_read() -> None:
    """The Swift tests name every file of vectors."""
    sources = "".join(path.read_text("utf-8") for path in (HERE / "Tests").rglob("*.swift"))
    assert [name for name in FILES if f'vectors("{name}")' not in sources] == []


def test_code_for_apple_is_in_three_files() -> None:
    """Only the files of the folder ``Apple`` use CryptoKit, Security or Combine."""
    guarded = ("canImport(CryptoKit)", "canImport(Security)", "canImport(Combine)")
    found = {
        path.parent.name
        for path in (HERE / "Sources").rglob("*.swift")
        if any(word in path.read_text("utf-8") for word in guarded)
    }
    assert found == {"Apple"}
    assert len(list((HERE / "Sources" / "Baton" / "Apple").iterdir())) == 3
