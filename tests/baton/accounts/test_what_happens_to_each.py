"""What a password change, a disable, a delete and a raised not-before time do to each thing that an account has.

There is one row for each thing, and one column for each action. ``True``: the thing still works after the action.
"""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.effects import Done
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.proof.signature import content_digest
from chalicelib.baton.routing import StepUp
from chalicelib.baton.tokens.caller import Operation
from tests.baton.world import EMAIL, PASSWORD, Phone, World

NEW_PASSWORD: Final = "granite umbrella conversation"


class Scene:
    """An account with two logins, a role, an attribute, a required factor, and a step-up grant of each login."""

    def __init__(self, world: World) -> None:
        """Store everything. A test then carries out one action."""
        self.world, self.mine, self.other = world, world.phone(), world.phone()
        self.token = world.register(self.mine).access_token
        self.others_token = world.login(self.other).access_token
        self.account = world.set_roles(EMAIL, ["admin"])
        assert world.stores.lineage_store.set_attributes(self.account, b"\x81\xa4plan\x02") == Done()
        assert world.stores.lineage_store.set_second_factor(self.account, required=True) == Done()
        self.grant = self.granted(self.mine, self.token)

    def granted(self, phone: Phone, token: str) -> str:
        """Step up for the deletion of the account."""
        operation = Operation("DELETE", "/api/me", content_digest(b""))
        caller = self.world.use(phone, token, "POST", "/api/step-up")
        return self.world.grant_step_up(caller, operation=operation, password=PASSWORD).grant


def change_password(scene: Scene) -> None:
    """Change the password from the first device."""
    scene.world.change_password(scene.world.use(scene.mine, scene.token), NEW_PASSWORD)


def disable(scene: Scene) -> None:
    """Disable and enable the account. After that, only things that ended permanently are still unusable."""
    scene.world.set_status(EMAIL, Status.DISABLED)
    scene.world.set_status(EMAIL, Status.ACTIVE)


def delete(scene: Scene) -> None:
    """Delete the account."""
    scene.world.set_status(EMAIL, Status.DELETED)


def raise_not_before(scene: Scene) -> None:
    """Raise the not-before time, as before a restored table is used."""
    scene.world.clock.skip(1)
    ring = scene.world.key_ring.ring
    scene.world.key_ring.ring = replace(ring, not_before=scene.world.clock())


def works(act: Callable[[], object]) -> bool:
    """Check whether an action is accepted."""
    try:
        act()
    except errors.Refusal:
        return False
    return True


THINGS: Final[dict[str, Callable[[Scene], bool]]] = {
    "this login": lambda scene: works(lambda: scene.world.use(scene.mine, scene.token)),
    "other logins": lambda scene: works(lambda: scene.world.use(scene.other, scene.others_token)),
    "grants": lambda scene: works(
        lambda: scene.world.use(scene.mine, scene.token, "DELETE", grant=scene.grant, step_up=StepUp(acr="aal1"))
    ),
    "roles": lambda scene: scene.world.stores.tables.lineages[scene.account].roles == {1},
    "attributes": lambda scene: scene.world.stores.tables.lineages[scene.account].attributes != b"",
    "required factor": lambda scene: scene.world.stores.tables.lineages[scene.account].second_factor_required,
}
ACTS: Final[dict[Callable[[Scene], None], dict[str, bool]]] = {
    lambda _: None: dict.fromkeys(THINGS, True),
    change_password: {**dict.fromkeys(THINGS, True), "other logins": False, "grants": False},
    disable: {**dict.fromkeys(THINGS, True), "this login": False, "other logins": False, "grants": False},
    delete: dict.fromkeys(THINGS, False),
    raise_not_before: {**dict.fromkeys(THINGS, True), "this login": False, "other logins": False, "grants": False},
}


@pytest.mark.parametrize("act", ACTS, ids=["nothing", "password change", "disable", "delete", "not-before"])
@pytest.mark.parametrize("thing", THINGS)
def test_what_happens_to_each(world: World, act: Callable[[Scene], None], thing: str) -> None:
    """Without an action everything works, so each thing that stops working was stopped by the action."""
    scene = Scene(world)
    act(scene)
    assert THINGS[thing](scene) is ACTS[act][thing]
