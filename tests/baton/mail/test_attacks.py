"""Attacks on the change of an address and on its undo, by a thief who has a login and the password."""

from collections.abc import Callable
from unittest.mock import patch

import pytest

from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.policy import ADDRESSES_KEPT_MAX, DAY_S, NEW_KEY_S
from tests.baton.factors.authenticator import Authenticator
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD, Device
from tests.baton.wire.passkeys import PASSKEYS, add
from tests.baton.wire.second_factor import Person, stepped

THIEF = "thief@example.com"
THIEF_TOO = "thief@example.net"


@pytest.fixture
def with_passkeys(make_town: Callable[..., Town]) -> Town:
    """Make a deployment with mail and passkeys."""
    return make_town(clients="clients-factors.toml")


def robbed(town: Town) -> tuple[Device, Device]:
    """Return the phone of an owner, and the device of a thief who has logged in with the password."""
    phone, thief = town.verified(town.registered()), town.device()
    assert thief.login(ADA).status == 200
    town.world.clock.skip(seconds=60)
    return phone, thief


def recovers(town: Town, link: str) -> None:
    """Check that a link gives the account back to its owner."""
    assert town.undo(link).status == 204
    phone = town.reset_by_mail(town.device())
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200


def test_a_notice_in_the_second_of_a_move_does_not_free_the_old_address(town: Town) -> None:
    """The thief changes the address and, in the same second, the password.

    The link to the new mailbox must undo only the password.
    """
    _, thief = robbed(town)
    town.moved(thief, THIEF)
    assert thief.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    of_owner, of_thief = town.link(), town.link(THIEF)
    assert town.undo(of_thief).status == 204
    recovers(town, of_owner)


def test_the_second_of_two_moves_in_one_second_does_not_free_the_oldest_address(town: Town) -> None:
    """The link to the middle address undoes only the changes after it."""
    _, thief = robbed(town)
    town.moved(thief, THIEF)
    town.moved(thief, THIEF_TOO)
    of_owner, of_thief = town.link(), town.link(THIEF)
    assert town.undo(of_thief).status == 204
    recovers(town, of_owner)


def test_a_mailbox_that_the_owner_moved_back_from_pulls_nothing_back(town: Town) -> None:
    """The owner still has a login, and returns to the old address. The later address of the thief becomes void."""
    phone, thief = robbed(town)
    town.moved(thief, THIEF)
    town.world.clock.skip(seconds=60)
    town.moved(phone, ADA)
    assert "#t=" not in town.mails(THIEF)[-1].text
    town.world.clock.skip(seconds=60)
    assert thief.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    recovers(town, town.link())


@pytest.mark.parametrize("since", ["before the move back", "after another move"])
def test_no_link_of_an_address_that_was_moved_back_from_counts(with_passkeys: Town, since: str) -> None:
    """Neither an earlier notice to the thief's mailbox works, nor a later one after the next change by the owner.

    After the return of the owner, all these links are void.
    """
    town = with_passkeys
    phone, thief = robbed(town)
    town.moved(thief, THIEF)
    assert add(thief, Authenticator()).status == 201
    of_thief = town.link(THIEF)
    town.world.clock.skip(seconds=60)
    town.moved(phone, ADA)
    if since == "after another move":
        town.world.clock.skip(seconds=60)
        town.moved(phone, "ada@example.net")
    assert town.undo(of_thief).code == "invalid_code"
    assert phone.get("/me").status == 200


def test_the_way_back_to_an_old_address_is_open_when_four_are_kept(town: Town) -> None:
    """The thief has changed the address as often as an account may."""
    phone, thief = robbed(town)
    for number in range(ADDRESSES_KEPT_MAX):
        town.moved(thief, f"thief{number}@example.com")
    assert town.ask_move(thief, THIEF).code == "too_many_requests"
    town.moved(phone, ADA)
    assert town.undo(town.link("thief1@example.com")).code == "invalid_code"
    assert phone.get("/me").members["email"] == ADA


def test_a_notice_that_waits_in_the_queue_reaches_the_address_of_its_time(town: Town) -> None:
    """The thief enrols an app and changes the address before the notice is delivered. The owner still gets the link."""
    _, thief = robbed(town)
    waiting: list[str] = []
    puts = PendingOrders.put

    def put(outbox: PendingOrders, order: str, *, delay_s: int = 0) -> None:
        waiting.append(order)
        del outbox, delay_s

    eve = Person(lambda: town.world.clock.now)
    with patch.object(PendingOrders, "put", put):
        eve.enrol(thief)
    town.world.clock.skip(seconds=60)
    town.moved(thief, THIEF, totp=eve.fresh_code())
    for order in waiting:
        puts(town.world._baton.background.pending, order)
    assert thief.get("/me").status == 200
    told = [mail.subject for mail in town.mails(THIEF)]
    assert told == ["Confirm your new e-mail address for api.example.com"]
    recovers(town, town.link())


def test_the_passkey_of_a_thief_is_told_with_a_link_that_removes_it(with_passkeys: Town) -> None:
    """The notice is like that for an authenticator app."""
    town = with_passkeys
    _, thief = robbed(town)
    assert add(thief, Authenticator()).status == 201
    assert town.mails()[-1].subject == "Your api.example.com account has a new passkey"
    recovers(town, town.link())
    phone = town.device()
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200
    assert phone.get(PASSKEYS).members["passkeys"] == []


def test_the_passkey_of_a_long_used_phone_is_told_without_a_link(with_passkeys: Town) -> None:
    """A thief of the mailbox must not remove the passkey. The mail about a removed passkey always has a link."""
    town = with_passkeys
    phone = town.verified(town.registered())
    town.world.clock.skip(seconds=NEW_KEY_S + DAY_S)
    assert phone.exchange().status == 200
    mine = Authenticator()
    assert add(phone, mine).status == 201
    assert "#t=" not in town.mails()[-1].text
    assert "authenticator app" not in town.mails()[-1].text
    (passkey,) = phone.get(PASSKEYS).members["passkeys"]
    assert stepped(phone, "DELETE", f"{PASSKEYS}/{passkey['id']}").status == 204
    assert town.mails()[-1].subject == "A passkey of your api.example.com account was removed"
    assert town.link()


def test_a_device_that_the_owner_removed_is_new_when_it_comes_back(town: Town) -> None:
    """The thief logged in with this key more than a week ago. The owner ended that login, so the key counts as new."""
    phone, thief = robbed(town)
    (listed,) = [one for one in phone.get("/me/devices").members["devices"] if not one["current"]]
    assert phone.confirmed("DELETE", f"/me/devices/{listed['device_id']}").status == 204
    town.world.clock.skip(seconds=NEW_KEY_S + DAY_S)
    assert thief.login(ADA).status == 200
    Person(lambda: town.world.clock.now).enrol(thief)
    recovers(town, town.link())
