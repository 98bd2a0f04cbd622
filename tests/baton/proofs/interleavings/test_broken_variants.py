"""The explorer refutes every planted mistake, says how, and the schedule it prints can be walked again."""

import pytest

from tests.baton.proofs.interleavings.broken import MISTAKES
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_refuted(name: str) -> None:
    """Within two faults, in the scene made for it; the right deployment and client pass in that very scene."""
    mistake = MISTAKES[name]
    refuted = None
    for faults in range(3):
        try:
            explore(mistake.scene(faults=faults))
        except Refuted as refutation:
            refuted = refutation
            break
    assert refuted, "nobody noticed"
    assert mistake.refuted_by in refuted.why
    with pytest.raises(Refuted) as again:
        mistake.scene(faults=faults)(Course(given=refuted.course))
    assert again.value.steps == refuted.steps
    explore(mistake.scene(faults=faults, broken=False))
