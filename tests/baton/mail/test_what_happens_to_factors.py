"""The effect of each action on factors, remembered devices, tickets and restore keys, as apps see it (`attacks.md`).

``tests/baton/accounts/test_what_happens_to_each.py`` has the same table for logins, grants, roles and attributes.
"""

import json
from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from tests.baton.factors.authenticator import Authenticator
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD
from tests.baton.wire.passkeys import add, options_of, sign_in, step_up_options
from tests.baton.wire.restore import keep, restore, silent
from tests.baton.wire.second_factor import Person, ask, grant_of, prove, stepped

pytestmark = pytest.mark.guarantee(6, 14)

BOB: Final = "bob@example.com"


class Scene:
    """Ada has all factors, a remembered tablet and unused tickets. Bob has two restore keys."""

    def __init__(self, town: Town) -> None:
        """Make everything. A test then carries out one action."""
        self.town, self.password = town, PASSWORD
        self.ada = Person(lambda: town.world.clock.now)
        self.phone = town.verified(town.registered())
        self.passkey = Authenticator()
        assert add(self.phone, self.passkey).status == 201
        self.ada.enrol(self.phone)
        self.tablet = town.device()
        self.skip()
        assert prove(self.tablet, ask(self.tablet, ADA), totp=self.ada.fresh_code()).status == 200
        self.laptop = town.device()
        self.auth_session = ask(self.laptop, ADA)
        self.reader = town.device()
        self.mail_session = town.forgot(self.reader).members["mail_session"]
        self.mail_code = town.code()
        self.step_up = options_of(step_up_options(self.phone, "DELETE", "/me"))
        self.bobs, self.bobs_other = town.verified(town.registered(BOB), BOB), town.device()
        assert self.bobs_other.login(BOB).status == 200
        self.keys = silent(), silent()
        for device, key in zip((self.bobs, self.bobs_other), self.keys, strict=True):
            assert keep(device, key).status == 204

    def skip(self) -> None:
        """Move the clock forward to a code that was not used."""
        self.town.world.clock.skip(seconds=60)

    def new_login(self, **proof: str) -> bool:
        """Log in on a new device with the password and this proof."""
        device = self.town.device()
        asked = device.post("/login", device.entry(ADA, self.password), token=None)
        return asked.status == 403 and prove(device, asked, **proof).status == 200

    def steps_up(self) -> bool:
        """Send the passkey for the challenge of a step-up, and return whether it is accepted."""
        return grant_of(self.phone, "DELETE", "/me", passkey=self.passkey.get(self.step_up)).status == 200

    def outcome(self) -> dict[str, bool]:
        """Return the things that work. The checks do not depend on each other."""
        works = {
            "step-up challenge": self.steps_up(),
            "remembered device": self.tablet.login(ADA, password=self.password).status == 200,
            "auth_session": prove(self.laptop, self.auth_session, recovery_code=self.ada.codes[0]).status == 200,
            "recovery code": self.new_login(recovery_code=self.ada.codes[1]),
            "passkey": sign_in(self.town.device(), self.passkey).status == 200,
            "restore key of this device": restore(self.town.device(), self.keys[0]).status == 200,
            "restore key of another device": restore(self.town.device(), self.keys[1]).status == 200,
        }
        self.skip()
        works["authenticator app"] = self.new_login(totp=self.ada.fresh_code())
        works["mail_session"] = self.town.reset(self.reader, self.mail_session, self.mail_code).status == 204
        return works


def change_password(scene: Scene) -> None:
    """Ada and Bob change their passwords, each from the first device."""
    body = json.dumps({"new_password": NEW_PASSWORD}).encode()
    scene.skip()
    assert stepped(scene.phone, "POST", "/me/password", body, totp=scene.ada.fresh_code()).status == 204
    assert stepped(scene.bobs, "POST", "/me/password", body).status == 204
    scene.password = NEW_PASSWORD


def reset(scene: Scene) -> None:
    """Reset the passwords by mail."""
    for email in (ADA, BOB):
        scene.town.reset_by_mail(scene.town.device(), email)
    scene.password = NEW_PASSWORD


def disable(scene: Scene) -> None:
    """Disable and enable the accounts. After that, only things that ended permanently are still unusable."""
    for email in (ADA, BOB):
        scene.town.world.disable(email)
        scene.town.world.enable(email)


def delete(scene: Scene) -> None:
    """Delete the accounts."""
    scene.skip()
    assert stepped(scene.phone, "DELETE", "/me", totp=scene.ada.fresh_code()).status == 204
    assert stepped(scene.bobs, "DELETE", "/me").status == 204


def raise_not_before(scene: Scene) -> None:
    """Raise the not-before time, as before a restored table is used."""
    key_ring, now = scene.town.world._baton.key_ring, scene.town.world.clock.now
    ring = key_ring.current(now=now)
    key_ring.replace(replace(ring, revision=ring.revision + 1, not_before=now + 1), expected_revision=ring.revision)
    scene.town.world.clock.skip(seconds=1)


FACTORS: Final = dict.fromkeys(("authenticator app", "recovery code", "passkey"), True)
TICKETS: Final = ("step-up challenge", "auth_session", "mail_session")
DEVICES: Final = ("remembered device",)
RESTORE_KEYS: Final = ("restore key of this device", "restore key of another device")
ALL: Final = (*FACTORS, *TICKETS, *DEVICES, *RESTORE_KEYS)
ACTS: Final[dict[Callable[[Scene], None], dict[str, bool]]] = {
    lambda _: None: dict.fromkeys(ALL, True),
    change_password: {**dict.fromkeys(ALL, False), **FACTORS, "restore key of this device": True},
    reset: {**dict.fromkeys(ALL, False), **FACTORS},
    # The code of a reset works again: after the account is enabled, the mailbox could get another code anyway.
    disable: {**dict.fromkeys(ALL, False), **FACTORS, "mail_session": True},
    delete: dict.fromkeys(ALL, False),
    raise_not_before: {**dict.fromkeys(ALL, False), **FACTORS},
}


@pytest.mark.parametrize("act", ACTS, ids=["nothing", "password change", "reset", "disable", "delete", "not-before"])
def test_what_happens_to_factors(make_town: Callable[..., Town], act: Callable[[Scene], None]) -> None:
    """Without an action everything works, so each thing that stops working was stopped by the action."""
    scene = Scene(make_town(clients="clients-factors.toml"))
    act(scene)
    assert scene.outcome() == ACTS[act]
