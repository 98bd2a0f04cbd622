"""Nothing comes of what a thief can make out of all she has seen."""

import pytest

from tests.hostile.attacks import ATTACKS, Attack
from tests.hostile.scene import Scene


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nothing_comes_of_it(scene: Scene, attack: Attack) -> None:
    """Refused, in our shape, with the victim's gate as it was."""
    attack(scene)
