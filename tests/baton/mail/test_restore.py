"""Restore on a new phone where mail is on: the notice, its undo, and a reset.

The numbers of cases are those of docs/baton/attacks.md.
"""

from collections.abc import Callable

import pytest

from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD
from tests.baton.wire.restore import keep, restore, silent

pytestmark = pytest.mark.guarantee(7, 14)


@pytest.fixture
def town(make_town: Callable[..., Town]) -> Town:
    """Make a deployment with mail and restore keys."""
    return make_town(clients="clients-factors.toml")


def test_a_restored_login_is_told_with_an_undo(town: Town) -> None:
    """One mail reports the restore. Its link ends every login, and so makes every restore key void."""
    phone, platform, new_phone = town.verified(town.registered()), silent(), town.device()
    assert keep(phone, platform).status == 204
    before = len(town.mails())
    assert restore(new_phone, platform).status == 200
    assert len(town.mails()) == before + 1
    assert "new phone" in town.mails()[-1].subject
    assert town.undo(town.link()).status == 204
    for one in (phone, new_phone):
        assert one.get("/me").members["reason"] == "undone"
    assert restore(town.device(), platform).code == "unknown_passkey"


def test_a_new_phone_that_is_known_is_told_too(town: Town) -> None:
    """The thief of a backup may restore a second time on the same phone, which the account then already has."""
    phone, platform, new_phone = town.verified(town.registered()), silent(), town.device()
    assert keep(phone, platform).status == 204
    for number in range(2):
        before = len(town.mails())
        assert restore(new_phone, platform).status == 200
        assert len(town.mails()) == before + 1, number


def test_the_notice_is_in_the_language_of_the_account(town: Town) -> None:
    """The notice is in Chinese, and has the link."""
    phone, platform = town.registered(), silent()
    session = phone.post("/me/email/code", {"language": "zh"}).members["mail_session"]
    assert phone.post("/me/email/verify", {"mail_session": session, "code": town.code()}).status == 204
    assert keep(phone, platform).status == 204
    assert restore(town.device(), platform).status == 200
    assert "新手机" in town.mails()[-1].subject
    assert town.link()


@pytest.mark.parametrize("verified", [True, False], ids=["reset", "claimed"])
def test_a_reset_ends_every_restore_key(town: Town, *, verified: bool) -> None:
    """Case 40: the squatter of an address keeps a restore key. After the owner's reset, the key does not work."""
    squatter, platform = town.registered(), silent()
    if verified:
        town.verified(squatter)
    assert keep(squatter, platform).status == 204
    owner = town.reset_by_mail(town.device())
    assert restore(town.device(), platform).code == "unknown_passkey"
    assert owner.login(ADA, password=NEW_PASSWORD).status == 200
    assert restore(town.device(), platform).code == "unknown_passkey"
