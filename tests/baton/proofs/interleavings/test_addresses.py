"""Every interleaving of two requests about an address.

The address belongs to one account, and no outdated request changes it. As in `test_factors`, each call of a store is a
step, and one write of each schedule may be sent twice.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from chalicelib.baton.factors.password_hash import TEST_COST
from chalicelib.baton.mail.outbox import OF_THIS_PROCESS, PendingOrders
from chalicelib.baton.storage.memory.mail_users import MemoryMailUsers
from tests.baton.mail.town import find_code, find_link
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore
from tests.baton.proofs.interleavings.test_factors import END, Deployment, refute
from tests.baton.wire.conversation import Device, Said
from tests.baton.wire.second_factor import EMAIL

pytestmark = pytest.mark.guarantee(2, 6, 8)

NEW, EVE = "ada@example.net", "eve@example.com"
MOVE, UNDO = "accounts.move_address", "accounts.undo_changes"


@dataclass
class Scene:
    """Ada's and Eve's accounts, both with a proved address."""

    deployment: Deployment
    ada: Device
    eve: Device

    def asked(self, device: Device, to: str) -> Callable[[], Said]:
        """Request the code for another address, and return the request that sends it."""
        session = device.confirmed("POST", "/me/email", {"new_email": to}).members["mail_session"]
        body = {"mail_session": session, "code": find_code(OF_THIS_PROCESS.mails[-1])}
        return lambda: device.post("/me/email/confirm", body)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    """Make the scene. Mails are not delivered during a schedule: the job that sends them is another process."""
    token = TEST_COST.set((8, 1, 1))
    monkeypatch.setenv("BATON_MAIL", "mailbox")
    deployment = Deployment()
    devices = []
    for email in (EMAIL, EVE):
        device = deployment.device()
        assert device.register(email).status == 201
        session = device.post("/me/email/code", {}).members["mail_session"]
        body = {"mail_session": session, "code": find_code(OF_THIS_PROCESS.mails[-1])}
        assert device.post("/me/email/verify", body).status == 204
        devices.append(device)
    yield Scene(deployment, *devices)
    TEST_COST.reset(token)


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on, leave the mails in the queue."""
    return lambda: monkeypatch.setattr(PendingOrders, "put", lambda *_: None)


def test_an_address_goes_to_one_account(
    scene: Scene, queued: Callable[[], None], record_property: Callable[[str, object], None]
) -> None:
    """Two accounts send right codes from the same mailbox. One account gets the address."""
    acts = {"ada": scene.asked(scene.ada, NEW), "eve": scene.asked(scene.eve, NEW)}
    queued()
    rewind = scene.deployment.remember()

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        if sorted(each.status for each in said.values()) != [204, 409]:
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(one).schedules)


def test_a_login_that_has_ended_moves_no_address(
    scene: Scene, queued: Callable[[], None], record_property: Callable[[str, object], None]
) -> None:
    """The logout may come after the authorization of the change, and before its write."""
    acts = {"move": scene.asked(scene.ada, NEW), "logout": lambda: scene.ada.post("/logout", {})}
    queued()
    rewind = scene.deployment.remember()

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        written = scene.deployment.written
        if MOVE in written and END in written and written.index(MOVE) > written.index(END):
            refute(course, "moved after the logout", scene.deployment)
        if said["logout"].status != 204 or (said["move"].status == 204) is not (MOVE in written):
            refute(course, f"answered {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def undoing(scene: Scene) -> dict[str, Callable[[], Said]]:
    """Change Ada's address to the mailbox of a thief. The thief changes it again while Ada presses the button."""
    assert scene.asked(scene.ada, NEW)().status == 204
    link = find_link(next(mail for mail in reversed(OF_THIS_PROCESS.mails) if mail.to == EMAIL))
    on = scene.asked(scene.ada, "thief@example.org")
    browser = scene.deployment.device()
    return {"thief": on, "undo": lambda: browser.post("/mail/undo", {"link": link}, token=None)}


def test_an_undo_wins_against_a_thief_who_moves_on(
    scene: Scene, queued: Callable[[], None], record_property: Callable[[str, object], None]
) -> None:
    """In every order the old address is Ada's, or she must repeat the undo.

    After the undo, the thief can change nothing.
    """
    acts = undoing(scene)
    queued()
    rewind, tables = scene.deployment.remember(), scene.deployment.tables

    def against(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        written = scene.deployment.written
        if UNDO in written and MOVE in written and written.index(MOVE) > written.index(UNDO):
            refute(course, "moved after the undo", scene.deployment)
        emails = {user.email for user in tables.users.values()}
        if said["undo"].status not in {204, 503} or (said["undo"].status == 204 and emails != {EMAIL, EVE}):
            refute(course, f"answered {json.dumps(sorted(emails))} {said}", scene.deployment)

    record_property("schedules", explore(against).schedules)


def test_a_store_that_forgets_the_condition_is_noticed(
    scene: Scene, queued: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seeded fault makes a taken address look free, and the scene must fail."""
    acts = {"ada": scene.asked(scene.ada, NEW), "eve": scene.asked(scene.eve, NEW)}
    queued()
    monkeypatch.setattr(MemoryMailUsers, "_taken_by", lambda *_, **__: None)
    rewind = scene.deployment.remember()

    def one(course: Course) -> None:
        rewind()
        said = scene.deployment.played(course, acts)
        if sorted(each.status for each in said.values()) != [204, 409]:
            refute(course, "two accounts", scene.deployment)

    with pytest.raises(Refuted, match="two accounts"):
        explore(one)
