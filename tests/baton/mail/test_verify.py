"""Prove an address: a live login of the account, and a code from the mailbox."""

from collections.abc import Callable

import pytest

from chalicelib.baton.policy import (
    HOUR_S,
    MAIL_CODE_TRIES_MAX,
    MAIL_SESSIONS_MAX,
    MAIL_SESSIONS_PER_ADDRESS_MAX,
    MAIL_SESSIONS_WINDOW_S,
)
from tests.baton.mail.town import ADA, WRONG, Town
from tests.baton.wire.conversation import NEW_PASSWORD, Device


def test_a_code_proves_the_address(town: Town) -> None:
    """`GET /me` shows the proof, and the audit has a row."""
    phone = town.registered()
    assert phone.get("/me").members["email_verified"] is False
    started = phone.post("/me/email/code", {})
    assert (started.status, started.members["expires_in"]) == (202, 3600)
    session, code = started.members["mail_session"], town.code()
    assert phone.post("/me/email/verify", {"mail_session": session, "code": code}).status == 204
    assert phone.get("/me").members["email_verified"] is True
    assert town.world.audit(town.world.account_of(ADA))[-1].event == "address_verified"


def test_a_lost_answer_is_repeated(town: Town) -> None:
    """The time of the first proof stays."""
    phone = town.registered()
    session, code = phone.post("/me/email/code", {}).members["mail_session"], town.code()
    body = {"mail_session": session, "code": code}
    assert phone.post("/me/email/verify", body).status == 204
    town.world.clock.skip(seconds=60)
    assert phone.post("/me/email/verify", body).status == 204
    user = town.world._stores.accounts.get(town.world.account_of(ADA))
    assert user is not None
    assert user.verified_at == town.world.clock.now - 60


def test_a_code_counts_on_the_login_that_asked_for_it(town: Town) -> None:
    """Another login of the same account, and another account, get `invalid_code`. This is not counted as a try."""
    phone, tablet, stranger = town.registered(), town.device(), town.registered("eve@example.com")
    assert tablet.login(ADA).status == 200
    session, code = phone.post("/me/email/code", {}).members["mail_session"], town.code()
    body = {"mail_session": session, "code": code}
    for device in (tablet, stranger):
        for _ in range(MAIL_CODE_TRIES_MAX):
            assert device.post("/me/email/verify", body).code == "invalid_code"
    assert phone.post("/me/email/verify", body).status == 204


def test_five_codes_are_judged(town: Town) -> None:
    """After five wrong codes, the right code is refused too."""
    phone = town.registered()
    session, code = phone.post("/me/email/code", {}).members["mail_session"], town.code()
    for _ in range(MAIL_CODE_TRIES_MAX):
        assert phone.post("/me/email/verify", {"mail_session": session, "code": WRONG}).code == "invalid_code"
    assert phone.post("/me/email/verify", {"mail_session": session, "code": code}).code == "invalid_code"


def test_many_devices_of_an_account_have_twenty_sessions_together(make_town: Callable[..., Town]) -> None:
    """A stranger with the password can add any number of devices. Each session allows five guesses."""
    town = make_town(rate_limits="on")
    town.registered()
    started = 0
    for _ in range(MAIL_SESSIONS_PER_ADDRESS_MAX // MAIL_SESSIONS_MAX):
        device = town.device()
        assert device.login(ADA).status == 200
        started += [town.forgot(device).status for _ in range(MAIL_SESSIONS_MAX + 1)].count(202)
    assert started == MAIL_SESSIONS_PER_ADDRESS_MAX, "a refused session of a device does not count"
    device = town.device()
    assert device.login(ADA).status == 200
    assert town.forgot(device).status == 429
    town.world.clock.skip(seconds=MAIL_SESSIONS_WINDOW_S)
    assert town.forgot(device).status == 202


def test_an_address_has_five_proofs_and_twenty_resets_also_over_many_accounts(make_town: Callable[..., Town]) -> None:
    """Bug: a stranger registered an address, guessed, deleted the account, and began again with new limits."""
    town = make_town(rate_limits="on")
    proofs = resets = 0
    for _ in range(MAIL_SESSIONS_PER_ADDRESS_MAX // MAIL_SESSIONS_MAX + 1):
        phone = town.registered()
        proofs += [phone.post("/me/email/code", {}).status for _ in range(MAIL_SESSIONS_MAX)].count(202)
        resets += [town.forgot(phone).status for _ in range(MAIL_SESSIONS_MAX)].count(202)
        assert phone.confirmed("DELETE", "/me", {}).status == 204
        town.world.clock.skip(seconds=HOUR_S)  # the limit of the source begins again, but not that of the address
    assert (proofs, resets) == (MAIL_SESSIONS_MAX, MAIL_SESSIONS_PER_ADDRESS_MAX)
    phone = town.registered()
    assert town.forgot(town.device()).status == 202, "other devices have a limit of their own"
    town.world.clock.skip(seconds=MAIL_SESSIONS_WINDOW_S)
    assert phone.exchange().status == 200
    assert (phone.post("/me/email/code", {}).status, town.forgot(phone).status) == (202, 202)


def test_refused_proofs_block_no_reset_of_the_same_phone(make_town: Callable[..., Town]) -> None:
    """A stranger can use up the proofs of an address that has no account yet, but not the resets of its later owner."""
    town = make_town(rate_limits="on")
    stranger = town.registered()
    assert [stranger.post("/me/email/code", {}).status for _ in range(MAIL_SESSIONS_MAX)] == [202] * MAIL_SESSIONS_MAX
    assert stranger.confirmed("DELETE", "/me", {}).status == 204
    owner = town.registered()
    for _ in range(MAIL_SESSIONS_MAX):
        assert owner.post("/me/email/code", {}).status == 429
    assert town.forgot(owner).status == 202


def test_devices_from_before_a_reset_are_unknown(make_town: Callable[..., Town]) -> None:
    """Bug: a stranger who had the password used up the resets on the known devices of the owner, again and again."""
    town = make_town(rate_limits="on")
    strangers = [town.registered()]
    for _ in range(MAIL_SESSIONS_PER_ADDRESS_MAX // MAIL_SESSIONS_MAX):
        strangers.append(town.device())
        assert strangers[-1].login(ADA).status == 200
    owner = town.reset_by_mail(town.device())
    assert owner.login(ADA, password=NEW_PASSWORD).status == 200
    started = [town.forgot(one).status for one in strangers for _ in range(MAIL_SESSIONS_MAX)].count(202)
    assert started < MAIL_SESSIONS_MAX, "they share the limit of all unknown devices"
    assert town.forgot(owner).status == 202


def test_all_logins_of_a_device_have_five_sessions_together(make_town: Callable[..., Town]) -> None:
    """Bug: each login counted for itself, so a copy of one phone used up the twenty sessions of the account."""
    town = make_town(rate_limits="on")
    phone = town.registered()
    assert [town.forgot(phone).status for _ in range(MAIL_SESSIONS_MAX)] == [202] * MAIL_SESSIONS_MAX
    again = Device(phone.send, phone.clock, key=phone.key)
    assert again.login(ADA).status == 200
    assert (town.forgot(again).status, town.ask_move(again, "new@example.com").status) == (429, 429)
    assert town.forgot(town.device()).status == 202


def test_a_session_of_a_reset_proves_no_address(town: Town) -> None:
    """A session of a proof resets no password either. The use is part of the session and of its code."""
    phone = town.registered()
    of_reset, code = town.forgot(phone).members["mail_session"], town.code()
    assert phone.post("/me/email/verify", {"mail_session": of_reset, "code": code}).code == "invalid_code"
    of_proof, code = phone.post("/me/email/code", {}).members["mail_session"], town.code()
    assert town.reset(phone, of_proof, code).code == "invalid_code"


def test_a_code_from_before_a_change_of_the_password_is_void(town: Town) -> None:
    """The credentials version is part of the session."""
    phone = town.registered()
    session, code = phone.post("/me/email/code", {}).members["mail_session"], town.code()
    assert phone.confirmed("POST", "/me/password", {"new_password": "granite umbrella sentences"}).status == 204
    assert phone.post("/me/email/verify", {"mail_session": session, "code": code}).code == "invalid_code"


@pytest.mark.parametrize(
    ("language", "stored"), [("", None), ("en-GB", "en"), ("zh-Hans-CN", "zh"), ("ZH", "zh"), ("de", "en")]
)
def test_the_language_of_the_request_is_kept_with_the_proof(town: Town, language: str, stored: str | None) -> None:
    """Notices are written in this language. A language without texts becomes English."""
    phone = town.registered()
    session = phone.post("/me/email/code", {"language": language}).members["mail_session"]
    assert phone.post("/me/email/verify", {"mail_session": session, "code": town.code()}).status == 204
    user = town.world._stores.accounts.get(town.world.account_of(ADA))
    assert user is not None
    assert user.language == stored
    assert ("验证码" in town.mails()[0].text) is (stored == "zh")


def test_a_language_that_is_no_tag_is_refused(town: Town) -> None:
    """The answer is 422, and no mail is sent."""
    phone = town.registered()
    assert phone.post("/me/email/code", {"language": "../../etc"}).code == "wrong_type"
    assert town.mails() == []


def test_without_mail_the_routes_are_not_found(make_town: object) -> None:
    """The answer is 404. Registration and login still work."""
    town: Town = make_town(mail="off")  # type: ignore[operator] # the fixture
    phone = town.registered()
    assert phone.post("/me/email/code", {}).code == "not_found"
    assert town.forgot(phone).code == "not_found"
    assert town.reset(phone, "ms.x", "1234 5678").code == "not_found"
    assert phone.post("/me/email/verify", {"mail_session": "x", "code": "12345678"}).code == "not_found"
    assert town.device().login(ADA).status == 200
    assert town.world.mails == []
