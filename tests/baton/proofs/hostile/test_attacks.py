"""Attacks with everything that a thief can build from captured traffic."""

import pytest

from tests.baton.proofs.hostile.attacks import ATTACKS, Attack, forgeries
from tests.baton.proofs.hostile.scene import Scene


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_an_attack_has_no_effect(scene: Scene, attack: Attack) -> None:
    """Each attack checks its answers. Most of them also check that the victim's account state is unchanged."""
    attack(scene)


def test_a_forged_token_causes_no_database_call(scene: Scene, broken_engine: list[bool]) -> None:
    """With DynamoDB down, the answer is the same. A genuine token gets 503."""
    forged = [forgery for what, forgery in forgeries(scene) if "kid" not in what]
    broken_engine.append(True)
    assert scene.doors(scene.bearer.token)["call"].by(scene.bearer).status == 503
    for forgery in forged:
        doors = scene.doors(forgery)
        assert doors["exchange"].by(scene.thief).code == "token_invalid", forgery
        assert doors["revoke"].by(scene.thief).status == 200, forgery
