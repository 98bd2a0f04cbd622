"""The explorer refutes every seeded fault, reports the reason, and its printed schedule can be repeated."""

import pytest

from tests.baton.proofs.interleavings.broken import MISTAKES
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore


@pytest.mark.parametrize("name", MISTAKES)
def test_a_seeded_fault_is_refuted(name: str) -> None:
    """The explorer needs at most two injected faults, in the scene for this seeded fault.

    Without the seeded fault, the scene passes.
    """
    mistake = MISTAKES[name]
    refuted = None
    for faults in range(3):
        try:
            explore(mistake.scene(faults=faults))
        except Refuted as refutation:
            refuted = refutation
            break
    assert refuted, "no schedule refuted the seeded fault"
    assert mistake.refuted_by in refuted.why
    with pytest.raises(Refuted) as again:
        mistake.scene(faults=faults)(Course(given=refuted.course))
    assert again.value.steps == refuted.steps
    explore(mistake.scene(faults=faults, broken=False))
