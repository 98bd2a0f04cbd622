"""Nothing comes of what a thief can make out of all she has seen."""

import pytest

from tests.baton.proofs.hostile.attacks import ATTACKS, Attack, forgeries
from tests.baton.proofs.hostile.scene import Scene


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_nothing_comes_of_it(scene: Scene, attack: Attack) -> None:
    """Refused, in our shape, with the victim's account state as it was."""
    attack(scene)


def test_a_forged_token_costs_no_call_to_the_engine(scene: Scene, broken_engine: list[bool]) -> None:
    """The engine is down, and the answer is the same; a genuine token is answered with 503."""
    forged = [forgery for what, forgery in forgeries(scene) if "kid" not in what]
    broken_engine.append(True)
    assert scene.doors(scene.bearer.token)["call"].by(scene.bearer).status == 503
    for forgery in forged:
        doors = scene.doors(forgery)
        assert doors["exchange"].by(scene.thief).code == "token_invalid", forgery
        assert doors["revoke"].by(scene.thief).status == 200, forgery
