"""Every interleaving of a restore and the end of the old phone's login: after that end, no login begins.

As in `test_factors`, each call of a store is a step, and one write of each schedule may be sent twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from chalicelib.baton.factors.password_hash import TEST_COST
from chalicelib.baton.storage.memory import lineages
from tests.baton.factors.authenticator import Authenticator
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore
from tests.baton.proofs.interleavings.test_factors import ADMIT, END, Deployment, refute
from tests.baton.wire.conversation import Device, Said, through
from tests.baton.wire.passkeys import options_of
from tests.baton.wire.restore import OPTIONS, keep, put_key, restore_options, send_restore, silent
from tests.baton.wire.second_factor import EMAIL, attempt

pytestmark = pytest.mark.guarantee(2, 6, 7, 8)

KEEP = "factors.keep_restore_key"


@dataclass
class Scene:
    """Ada's old phone, its restore key, and her new phone."""

    deployment: Deployment
    old: Device
    new: Device
    platform: Authenticator

    def restoring(self) -> Callable[[], Said]:
        """Return the request that restores the login."""
        credential, key = self.platform.get(options_of(restore_options(self.new))), attempt()
        return lambda: send_restore(self.new, credential, attempt=key)

    def ending(self) -> Callable[[], Said]:
        """Return the request that logs the old phone out."""
        return lambda: self.old.post("/logout", {})


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Make the scene."""
    token = TEST_COST.set((8, 1, 1))
    deployment, platform = Deployment(), silent()
    old, new = (Device(through(deployment.gateway), lambda: deployment.now) for _ in range(2))
    assert old.register(EMAIL).status == 201
    assert keep(old, platform).status == 204
    yield Scene(deployment, old, new, platform)
    TEST_COST.reset(token)


def after_the_end(scene: Scene, course: Course, said: dict[str, Said], write: str) -> None:
    """Refute a write after the end of the login that it needs, and an answer that hides this end."""
    written = scene.deployment.written
    if write in written and END in written and written.index(write) > written.index(END):
        refute(course, "written after the logout", scene.deployment)
    done = next(each.status for name, each in said.items() if name != "logout") in {200, 204}
    # A write that is sent a second time, after the logout, is refused, although the first one happened.
    told = done or (write in written and END not in written)
    if said["logout"].status != 204 or (done and write not in written) or (told and not done):
        refute(course, f"answered {said}", scene.deployment)


def restore_against_a_logout(scene: Scene) -> Callable[[Course], None]:
    """Restore while the old phone logs out."""
    acts = {"restore": scene.restoring(), "logout": scene.ending()}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        after_the_end(scene, course, scene.deployment.played(course, acts), ADMIT)

    return against


def test_no_login_is_restored_after_the_end_of_the_old_one(
    scene: Scene, record_property: Callable[[str, object], None]
) -> None:
    """The logout may come after the restore is verified, and before the new login is admitted."""
    record_property("schedules", explore(restore_against_a_logout(scene)).schedules)


def test_no_restore_key_is_kept_after_a_logout(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """The login was still live when the request was read."""
    credential = silent().create(options_of(scene.old.post(OPTIONS, {})))
    acts = {"keep": lambda: put_key(scene.old, credential), "logout": scene.ending()}
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        after_the_end(scene, course, scene.deployment.played(course, acts), KEEP)

    record_property("schedules", explore(against).schedules)


def test_an_assertion_restores_one_login(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    """The assertion is sent twice at the same time, with two attempts."""
    credential = scene.platform.get(options_of(restore_options(scene.new)))
    keys = (attempt(), attempt())
    acts: dict[str, Callable[[], Said]] = {
        key: partial(send_restore, scene.new, credential, attempt=key) for key in keys
    }
    rewind = scene.deployment.remember()

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        ((_account, state),) = scene.deployment.tables.lineages.items()
        if sorted(each.status for each in said.values()) != [200, 409] or len(state.lineages) != 2:
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(one).schedules)


def test_a_store_that_forgets_the_parent_is_noticed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeded fault admits a login without checking the old phone, and the scene must fail."""

    def always(*_: Any) -> bool:
        return True

    monkeypatch.setattr(lineages, "_parent_lives", always)
    with pytest.raises(Refuted, match="written after the logout"):
        explore(restore_against_a_logout(scene))
