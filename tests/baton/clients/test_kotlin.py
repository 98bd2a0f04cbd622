"""The Kotlin client. `make clients` runs its tests and `make mutants` its mutants: both need Maven and a JDK."""

import pytest

from tools.kotlin_mutants import HERE, Mutant, listed, path_of


@pytest.mark.parametrize("mutant", listed(), ids=lambda mutant: mutant.name)
def test_a_mutant_of_the_kotlin_client_can_be_made(mutant: Mutant) -> None:
    """Its text stands in the source once, and its tests exist. So a change of the source cannot lose a mutant."""
    assert path_of(HERE, mutant.file).read_text("utf-8").count(mutant.text) == 1
    assert mutant.text != mutant.replacement
    assert list(HERE.glob(f"*/src/test/kotlin/{mutant.tests}.kt"))
