"""A change of the address: a step-up, a code from the new mailbox, and an old address that is kept for its owner.

The numbers of cases are those of docs/baton/attacks.md.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.baton.policy import (
    ADDRESS_KEPT_S,
    ADDRESSES_KEPT_MAX,
    DAY_S,
    MAIL_CODE_TRIES_MAX,
    MAIL_SESSIONS_MAX,
    MAIL_SESSIONS_WINDOW_S,
)
from tests.baton.mail.town import ADA, WRONG, Town
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD

NEW = "ada@example.net"
EVE = "eve@example.com"


def test_a_code_from_the_new_mailbox_changes_the_address(town: Town) -> None:
    """The new address is proved, and every login stays. A new login works only with the new address."""
    phone, tablet = town.verified(town.registered()), town.device()
    assert tablet.login(ADA).status == 200
    started = town.ask_move(phone, NEW)
    assert (started.status, started.members["expires_in"]) == (202, 3600)
    assert phone.get("/me").members["email"] == ADA
    assert town.confirm_move(phone, started.members["mail_session"], town.code(NEW)).status == 204
    for device in (phone, tablet):
        me = device.get("/me").members
        assert (me["email"], me["email_verified"]) == (NEW, True)
    assert town.device().login(NEW).status == 200
    assert town.device().login(ADA).code == "invalid_credentials"
    assert "address_changed" in [event.event for event in town.world.audit(town.world.account_of(NEW))]


def test_the_old_address_is_told_and_the_new_one_gets_only_its_code(town: Town) -> None:
    """The notice has the name of the device, and a link that undoes the change."""
    phone = town.verified(town.registered())
    town.moved(phone, NEW)
    assert [mail.subject for mail in town.mails(NEW)] == ["Confirm your new e-mail address for api.example.com"]
    notice = town.mails(ADA)[-1]
    assert notice.subject == "Your api.example.com account has another e-mail address"
    assert "Device: phone" in notice.text
    assert "https://api.example.com/api/mail/action#t=ml." in notice.text
    assert NEW not in notice.text + notice.html


@pytest.mark.guarantee(6)
def test_a_thief_with_a_stolen_login_changes_no_address(town: Town) -> None:
    """Case 9: without the password, the thief cannot step up.

    A code that the owner requested is valid only on the owner's login.
    """
    phone = town.registered()
    thief = town.device()
    assert thief.login(ADA).status == 200
    assert thief.post("/me/email", {"new_email": EVE}).code == "step_up_required"
    assert town.mails(EVE) == []
    session = town.ask_move(phone, NEW).members["mail_session"]
    for _ in range(MAIL_CODE_TRIES_MAX):
        assert town.confirm_move(thief, session, town.code(NEW)).code == "invalid_code"
    assert town.confirm_move(phone, session, town.code(NEW)).status == 204


def test_a_taken_address_gets_its_code_too(town: Town) -> None:
    """The answer and the calls are those of a free address. Only a person with the mailbox learns that it is taken."""
    phone, other = town.registered(), town.registered(EVE)
    seen = []
    for address in ("new@example.com", EVE):
        with town.calls() as calls:
            started = town.ask_move(phone, address)
        seen.append((started.status, len(started.body), sorted(started.headers), calls))
        assert len(town.mails(address)) == 1
    assert seen[0][0] == seen[1][0] == 202
    assert seen[0][2:] == seen[1][2:]
    assert town.mails(EVE)[0].subject == town.mails("new@example.com")[0].subject
    session = started.members["mail_session"]
    assert town.confirm_move(phone, session, WRONG).code == "invalid_code"
    said = town.confirm_move(phone, session, town.code(EVE))
    assert (said.status, said.code) == (409, "account_exists")
    assert other.get("/me").members["email"] == EVE
    assert phone.get("/me").members["email"] == ADA


def test_the_old_address_is_not_free_for_seven_days(town: Town) -> None:
    """No registration and no change of another account gets it. The account itself may return to it."""
    phone = town.moved(town.verified(town.registered()), NEW)
    other = town.registered(EVE)
    assert town.device().register(ADA).code == "account_exists"
    session = town.ask_move(other, ADA).members["mail_session"]
    assert town.confirm_move(other, session, town.code(ADA)).code == "account_exists"
    town.moved(phone, ADA)
    assert town.device().login(ADA).status == 200
    town.moved(phone, NEW)
    town.world.clock.skip(seconds=ADDRESS_KEPT_S)
    assert town.device().register(ADA).status == 201


def test_forgot_finds_no_old_address(town: Town) -> None:
    """The old mailbox gets no code, like a mailbox without an account."""
    town.moved(town.verified(town.registered()), NEW)
    before = len(town.mails(ADA))
    assert town.forgot(town.device(), ADA).status == 202
    assert len(town.mails(ADA)) == before


def test_a_squatter_who_changes_the_address_keeps_nothing(town: Town) -> None:
    """An address that was never proved is free immediately. Its notice has no link."""
    town.moved(town.registered(), EVE)
    assert "#t=" not in town.mails(ADA)[-1].text
    owner = town.device()
    assert owner.register(ADA).status == 201
    assert owner.get("/me").members["account_id"] != town.world.account_of(EVE)


def test_the_reset_of_the_owner_ends_a_change_that_a_squatter_began(town: Town) -> None:
    """Case 51: the squatter's code belongs to an earlier credentials version, which the claim has replaced."""
    squatter = town.registered()
    session = town.ask_move(squatter, EVE).members["mail_session"]
    owner = town.reset_by_mail(town.device())
    assert town.confirm_move(squatter, session, town.code(EVE)).members["reason"] == "claimed"
    assert owner.login(ADA, password=NEW_PASSWORD).status == 200
    assert town.confirm_move(owner, session, town.code(EVE)).code == "invalid_code"
    assert owner.get("/me").members["email"] == ADA


def test_a_code_from_before_another_change_of_credentials_is_void(town: Town) -> None:
    """The credentials version is part of the session."""
    phone = town.registered()
    session = town.ask_move(phone, NEW).members["mail_session"]
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    assert town.confirm_move(phone, session, town.code(NEW)).code == "invalid_code"


def test_a_lost_answer_is_repeated(town: Town) -> None:
    """The answer is 503, and the same code again gets 204."""
    phone = town.verified(town.registered())
    session = town.ask_move(phone, NEW).members["mail_session"]
    for when in ("before", "after"):
        town.world.storage.fail(when=when, verb="move_address")
        assert town.confirm_move(phone, session, town.code(NEW)).status == 503
    assert town.confirm_move(phone, session, town.code(NEW)).status == 204
    assert town.confirm_move(phone, session, town.code(NEW)).status == 204
    assert phone.get("/me").members["email"] == NEW


def test_of_many_codes_of_one_mailbox_one_account_gets_the_address(town: Town) -> None:
    """Four accounts move to the same address at the same time."""
    phones = [town.registered(f"person{number}@example.com") for number in range(4)]
    asked = [(phone, town.ask_move(phone, NEW).members["mail_session"], town.code(NEW)) for phone in phones]
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda one: town.confirm_move(*one).status, asked))
    assert sorted(statuses) == [204, 409, 409, 409]


def test_five_codes_are_judged(town: Town) -> None:
    """After five wrong codes, the right code is refused too."""
    phone = town.registered()
    session = town.ask_move(phone, NEW).members["mail_session"]
    for _ in range(MAIL_CODE_TRIES_MAX):
        assert town.confirm_move(phone, session, WRONG).code == "invalid_code"
    assert town.confirm_move(phone, session, town.code(NEW)).code == "invalid_code"


def test_many_accounts_have_five_sessions_of_one_new_address_together(make_town: Callable[..., Town]) -> None:
    """Otherwise each further account would allow more guesses, and more mails to a stranger."""
    town = make_town(rate_limits="on")
    phones = [town.registered(f"person{number}@example.com") for number in range(MAIL_SESSIONS_MAX + 1)]
    statuses = [town.ask_move(phone, NEW).status for phone in phones]
    assert statuses == [202] * MAIL_SESSIONS_MAX + [429]
    assert len(town.mails(NEW)) == MAIL_SESSIONS_MAX
    town.world.clock.skip(seconds=MAIL_SESSIONS_WINDOW_S)
    assert town.ask_move(town.registered(), NEW).status == 202


def test_an_account_keeps_four_old_addresses(town: Town) -> None:
    """The fifth change within seven days is refused with a time to wait."""
    phone = town.verified(town.registered())
    for number in range(ADDRESSES_KEPT_MAX):
        town.moved(phone, f"ada{number}@example.com")
    said = town.ask_move(phone, NEW)
    assert (said.status, said.code) == (429, "too_many_requests")
    assert said.headers["retry-after"] == str(ADDRESS_KEPT_S)
    town.world.clock.skip(seconds=ADDRESS_KEPT_S)
    assert phone.exchange().status == 200
    town.moved(phone, NEW)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"new_email": "no address"}, "invalid_email", "/new_email"),
        ({"new_email": ADA.upper()}, "invalid_email", "/new_email"),
        ({"new_email": NEW, "language": "../"}, "wrong_type", "/language"),
        ({"new_email": NEW, "email": NEW}, "unknown_field", "/email"),
    ],
)
def test_what_is_no_new_address_is_refused(town: Town, body: dict[str, str], code: str, pointer: str | None) -> None:
    """An invalid or unchanged address is refused, and no mail is sent."""
    phone = town.registered()
    said = phone.confirmed("POST", "/me/email", body)
    assert (said.code, said.members.get("pointer")) == (code, pointer)
    assert town.world.mails == []


def test_after_a_deletion_no_old_address_is_left(town: Town) -> None:
    """After an interrupted deletion, another account can get both addresses."""
    phone = town.moved(town.verified(town.registered()), NEW)
    other = town.registered(EVE)
    town.world.storage.fail(when="before", verb="forget")
    grant = phone.step_up("DELETE", "/me")
    assert phone.request("DELETE", "/me", headers={"baton-grant": grant}).status == 503
    town.moved(other, ADA)
    town.moved(other, NEW)
    town.world.clock.skip(seconds=DAY_S)
    assert town.device().login(NEW, password=PASSWORD).status == 200
