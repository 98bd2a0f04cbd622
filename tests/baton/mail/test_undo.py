"""The link in a notice undoes the changes of a thief. A thief of the mailbox cannot undo those of a long-used phone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.baton.policy import ADDRESS_KEPT_S, DAY_S, MAIL_UNDO_S, NEW_KEY_S, NOTICES_PER_DAY_MAX
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD, Device
from tests.baton.wire.second_factor import Person, ask, prove, stepped

THIEF = "thief@example.com"
NEW = "ada@example.net"


def person(town: Town) -> Person:
    """Return a person with an authenticator app."""
    return Person(lambda: town.world.clock.now)


def long_used(town: Town) -> Device:
    """Register and prove an address, and use the phone for longer than a week."""
    phone = town.verified(town.registered())
    town.world.clock.skip(seconds=NEW_KEY_S + DAY_S)
    assert phone.exchange().status == 200
    return phone


def test_an_undo_gives_the_address_back_and_ends_every_login(town: Town) -> None:
    """The devices get the reason of the end.

    The password no longer works: the owner resets it, with the old address.
    """
    phone, thief = town.verified(town.registered()), town.device()
    assert thief.login(ADA).status == 200
    town.moved(thief, THIEF)
    assert town.undo(town.link()).status == 204
    for device in (phone, thief):
        said = device.get("/me")
        assert (said.status, said.code, said.members["reason"]) == (401, "login_required", "undone")
    for email in (ADA, THIEF):
        assert thief.login(email).code == "invalid_credentials"
    town.reset_by_mail(phone)
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200
    me = phone.get("/me").members
    assert (me["email"], me["email_verified"]) == (ADA, True)
    assert "changes_undone" in [event.event for event in town.world.audit(town.world.account_of(ADA))]
    assert town.device().register(THIEF).status == 201, "the address of the thief is free"


def test_an_undo_after_the_theft_of_address_and_factor(town: Town) -> None:
    """The thief's authenticator app and recovery codes are removed. The next login needs no second factor."""
    phone, thief, eve = long_used(town), town.device(), person(town)
    assert thief.login(ADA).status == 200
    eve.enrol(thief)
    link = town.link()
    town.world.clock.skip(seconds=60)
    town.moved(thief, THIEF, totp=eve.fresh_code())
    town.world.clock.skip(seconds=60)
    assert town.undo(link).status == 204
    town.reset_by_mail(phone)
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200
    assert phone.get("/me/factors").members == {
        "second_factor": "off",
        "passkeys": 0,
        "recovery_codes": {"left": 0, "low": False},
    }


def test_an_undo_of_an_older_notice_leaves_what_a_long_used_phone_enrolled_since(town: Town) -> None:
    """The thief of the mailbox cannot remove the factor, and the login after the reset needs it."""
    phone, ada = long_used(town), person(town)
    assert phone.confirmed("POST", "/me/password", {"new_password": PASSWORD + "2"}).status == 204
    older = town.link()
    town.world.clock.skip(seconds=60)
    begun = stepped(phone, "POST", "/me/factors/totp", password=PASSWORD + "2")
    ada.secret = begun.members["secret"]
    confirmed = {"enrolment": begun.members["enrolment"], "totp": ada.fresh_code()}
    assert phone.post("/me/factors/totp/confirm", confirmed).status == 200
    assert "#t=" not in town.mails()[-1].text, "the notice of this factor has no link"
    assert town.undo(older).status == 204
    thief = town.reset_by_mail(town.device())
    said = thief.post("/login", thief.entry(ADA, NEW_PASSWORD), token=None)
    assert (said.status, said.code) == (403, "factor_required")
    town.world.clock.skip(seconds=60)
    assert prove(thief, said, totp=ada.fresh_code()).status == 200


def test_a_factor_from_before_the_notice_stays(town: Town) -> None:
    """A new phone enrolled the factor, but before the change that is undone."""
    phone, ada = town.verified(town.registered()), person(town)
    ada.enrol(phone)
    town.world.clock.skip(seconds=60)
    town.moved(phone, NEW, totp=ada.fresh_code())
    assert town.undo(town.link()).status == 204
    town.reset_by_mail(phone)
    assert phone.post("/login", phone.entry(ADA, NEW_PASSWORD), token=None).code == "factor_required"


def test_a_renewed_set_of_recovery_codes_of_a_new_device_is_removed(town: Town) -> None:
    """The thief has these codes. The owner still has the app."""
    phone, ada = town.verified(town.registered()), person(town)
    ada.enrol(phone)
    town.world.clock.skip(seconds=60)
    said = stepped(phone, "POST", "/me/factors/recovery-codes", totp=ada.fresh_code())
    assert said.status == 200, said
    town.world.clock.skip(seconds=60)
    town.moved(phone, NEW, totp=ada.fresh_code())
    link_of_enrolment = town.link(mail=-2)
    assert town.undo(link_of_enrolment).status == 204
    town.reset_by_mail(phone)
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200


def test_the_link_of_the_thiefs_mailbox_is_void_after_the_undo_of_the_owner(town: Town) -> None:
    """The thief changed the address twice, and has the notice of the second change."""
    town.verified(town.registered())
    thief = town.device()
    assert thief.login(ADA).status == 200
    town.moved(thief, THIEF)
    town.moved(thief, "thief@example.net")
    of_owner, of_thief = town.link(), town.link(THIEF)
    assert town.undo(of_owner).status == 204
    for _ in range(2):
        assert town.undo(of_thief).code == "invalid_code"
    assert town.forgot(town.device(), THIEF).status == 202
    assert town.world.account_of(ADA)
    assert town.device().register(THIEF).status == 201


def test_a_thief_cannot_undo_what_the_owner_did_after_an_undo(town: Town) -> None:
    """The thief's mailbox got a notice with a link. After the undo by the owner, that link is void."""
    phone, thief = town.verified(town.registered()), town.device()
    assert thief.login(ADA).status == 200
    town.moved(thief, THIEF)
    assert thief.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    of_owner, of_thief = town.link(), town.link(THIEF)
    assert town.undo(of_owner).status == 204
    town.reset_by_mail(phone)
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200
    assert town.undo(of_thief).code == "invalid_code"
    assert phone.get("/me").status == 200


def test_an_owner_who_flees_a_stolen_mailbox_is_not_pulled_back(town: Town) -> None:
    """A long-used phone changes the address with its second factor.

    No link is sent, and no earlier notice gives the old address back.
    """
    phone, ada = long_used(town), person(town)
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    older = town.link()
    begun = stepped(phone, "POST", "/me/factors/totp", password=NEW_PASSWORD)
    ada.secret = begun.members["secret"]
    confirmed = {"enrolment": begun.members["enrolment"], "totp": ada.fresh_code()}
    assert phone.post("/me/factors/totp/confirm", confirmed).status == 200
    town.world.clock.skip(seconds=60)
    body = b'{"new_email": "ada@example.net"}'
    started = stepped(phone, "POST", "/me/email", body, password=NEW_PASSWORD, totp=ada.fresh_code())
    assert town.confirm_move(phone, started.members["mail_session"], town.code(NEW)).status == 204
    assert town.mails()[-1].subject == "Your api.example.com account has another e-mail address"
    assert "#t=" not in town.mails()[-1].text
    assert town.undo(older).code == "invalid_code"
    assert phone.get("/me").members["email"] == NEW


@pytest.mark.parametrize("case", ["new phone with a factor", "long-used phone without one"])
def test_every_other_change_of_the_address_has_a_link(town: Town, case: str) -> None:
    """Only a long-used phone together with a second factor causes no link."""
    phone, totp = long_used(town), None
    if case == "new phone with a factor":
        ada = person(town)
        ada.enrol(phone)
        phone = town.device()
        town.world.clock.skip(seconds=60)
        assert prove(phone, ask(phone), totp=ada.fresh_code()).status == 200
        town.world.clock.skip(seconds=60)
        totp = ada.fresh_code()
    town.moved(phone, NEW, totp=totp)
    assert town.undo(town.link()).status == 204


def test_a_link_works_once(town: Town) -> None:
    """A repetition after a lost answer gets 204 too, until the owner has set a new password. Then the link is void."""
    phone = town.verified(town.registered())
    town.moved(phone, THIEF)
    link = town.link()
    for when in ("before", "after"):
        town.world.storage.fail(when=when, verb="undo_changes")
        assert town.undo(link).status == 503
    assert town.undo(link).status == 204
    assert town.undo(link).status == 204
    town.reset_by_mail(phone)
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200
    assert town.undo(link).code == "invalid_code"
    assert phone.get("/me").status == 200


def test_of_sixteen_taps_at_once_one_undoes(town: Town) -> None:
    """Each request gets 204, or is refused or must be repeated. The changes are undone once."""
    phone = town.verified(town.registered())
    town.moved(phone, THIEF)
    link, start = town.link(), threading.Barrier(16)

    def tap(_: int) -> int:
        start.wait()
        return town.undo(link).status

    with ThreadPoolExecutor(16) as pool:
        statuses = set(pool.map(tap, range(16)))
    assert statuses <= {204, 401, 503}
    assert town.world.events.count("changes_undone") == 1
    assert town.undo(link).status == 204


@pytest.mark.parametrize(("change", "life_s"), [("address", ADDRESS_KEPT_S), ("password", MAIL_UNDO_S)])
def test_a_link_ends_after_three_days_and_that_of_an_address_after_seven(town: Town, change: str, life_s: int) -> None:
    """Late, altered and foreign links get the same answer."""
    phones = [town.verified(town.registered(email), email) for email in (ADA, "eve@example.com")]
    for phone in phones:
        if change == "address":
            town.moved(phone, f"moved-{phones.index(phone)}@example.com")
        else:
            assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    early, late = town.link(ADA), town.link("eve@example.com")
    altered = late[:-1] + ("A" if late[-1] != "A" else "B")
    for wrong in (altered, "ml.AAAA", "ms." + late[3:], "x"):
        said = town.undo(wrong)
        assert (said.status, said.code, said.members["action"]) == (401, "invalid_code", "fix_request")
    town.world.clock.skip(seconds=life_s - 1)
    assert town.undo(early).status == 204
    town.world.clock.skip(seconds=1)
    assert town.undo(late).code == "invalid_code"


def test_a_disabled_account_is_not_undone(town: Town) -> None:
    """An operator decides about the account. After it is enabled, the link works."""
    phone = town.verified(town.registered())
    town.moved(phone, THIEF)
    link = town.link()
    town.world.disable(THIEF)
    assert town.undo(link).code == "invalid_code"
    town.world.enable(THIEF)
    assert town.undo(link).status == 204


def test_the_21st_notice_with_a_link_is_sent(town: Town) -> None:
    """A thief cannot use up the notices of a day to prevent this mail."""
    phone = town.verified(town.registered())
    before = len(town.mails())
    for _ in range(NOTICES_PER_DAY_MAX + 1):
        assert town.device(bound=False, client_id="simple").login(ADA).status == 200
        town.world.clock.skip(seconds=700)
    assert len(town.mails()) - before == NOTICES_PER_DAY_MAX
    assert phone.login(ADA).status == 200
    town.moved(phone, THIEF)
    assert town.undo(town.link()).status == 204


def test_which_notices_have_a_link(town: Town) -> None:
    """The notices of changes of the password or a factor have a link. Those of a login or a recovery code have none."""
    phone, tablet, ada = town.verified(town.registered()), town.device(), person(town)
    assert tablet.login(ADA).status == 200
    assert "#t=" not in town.mails()[-1].text
    ada.enrol(phone)
    assert town.link()
    said = ask(tablet)
    assert prove(tablet, said, recovery_code=ada.codes[0]).status == 200
    assert "#t=" not in town.mails()[-1].text
    town.world.clock.skip(seconds=60)
    assert stepped(phone, "DELETE", "/me/factors/totp", totp=ada.fresh_code()).status == 204
    assert town.link()
    town.reset_by_mail(phone)
    assert town.link()


def test_without_mail_there_is_no_undo(make_town: object) -> None:
    """Neither the page nor the route exists."""
    town: Town = make_town(mail="off")  # type: ignore[operator] # the fixture
    assert town.undo("ml.x").code == "not_found"
    assert town.device().request("GET", "/mail/action", token=None).code == "not_found"
