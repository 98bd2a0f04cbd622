"""A forgotten password: a code from the mailbox sets a new password and ends every login.

The code is valid on the device that requested it.

The numbers of cases are those of docs/baton/attacks.md.
"""

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace

from chalicelib.baton.factors.changes import ChangeFactors
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.refusals import Breached
from chalicelib.baton.policy import MAIL_CODE_TRIES_MAX, MAIL_RESET_S, MAIL_SESSIONS_MAX, MAIL_SESSIONS_WINDOW_S
from tests.baton.mail.town import ADA, WRONG, Town
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD
from tests.baton.wire.second_factor import Person, prove

BOB = "bob@example.com"


def test_a_code_from_the_mailbox_sets_a_new_password_and_ends_every_login(town: Town) -> None:
    """The device that was logged in gets the reason. The next login works only with the new password."""
    phone = town.registered()
    tablet = town.device()
    assert tablet.login(ADA).status == 200
    town.verified(phone)
    lost = town.device()
    started = town.forgot(lost)
    assert (started.status, started.members["expires_in"]) == (202, MAIL_RESET_S)
    assert town.reset(lost, started.members["mail_session"], town.code()).status == 204
    for device in (phone, tablet):
        said = device.get("/me")
        assert (said.status, said.code, said.members["reason"]) == (401, "login_required", "password_reset")
    assert lost.login(ADA).code == "invalid_credentials"
    assert lost.login(ADA, password=NEW_PASSWORD).status == 200
    assert town.mails()[-2].subject.endswith("was reset")


def test_a_reset_gives_no_token_and_has_an_audit_row(town: Town) -> None:
    """The next login checks the other requirements of the account."""
    town.verified(town.registered())
    account = town.world.account_of(ADA)
    phone = town.device()
    session = town.forgot(phone).members["mail_session"]
    said = town.reset(phone, session, town.code())
    assert (said.status, said.body) == (204, b"")
    assert [event.event for event in town.world.audit(account)][-1] == "password_reset"


def test_a_lost_answer_is_repeated_and_another_password_is_not(town: Town) -> None:
    """Case 48: the same request gets 204 again. The code sets no second password."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    assert town.reset(phone, session, code).status == 204
    assert town.reset(phone, session, code).status == 204
    said = town.reset(phone, session, code, "another passphrase entirely")
    assert (said.status, said.code, said.members["action"]) == (401, "invalid_code", "fix_request")
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200


def test_of_sixteen_guesses_at_once_five_are_judged(make_town: Callable[..., Town]) -> None:
    """Case 44: each try is counted before the code is compared, and never uncounted, even if rate limits are off."""
    town = make_town(rate_limits="off")
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    start = threading.Barrier(16)

    def guess(_: int) -> str:
        start.wait()
        return town.reset(phone, session, WRONG).code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(guess, range(16))) == {"invalid_code"}
    assert town.world.events.count("mail_codes_guessed") == MAIL_CODE_TRIES_MAX
    assert town.reset(phone, session, code).code == "invalid_code"


def test_the_tries_of_a_session_are_five_over_its_whole_life(town: Town) -> None:
    """A new window of a rate limit gives no new tries."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    for _ in range(MAIL_CODE_TRIES_MAX):
        assert town.reset(phone, session, WRONG).code == "invalid_code"
        town.world.clock.skip(seconds=(MAIL_RESET_S - 10) // MAIL_CODE_TRIES_MAX)
    assert town.reset(phone, session, code).code == "invalid_code"
    assert town.world.events.count("mail_codes_guessed") == MAIL_CODE_TRIES_MAX


def test_a_code_of_another_session_is_invalid(town: Town) -> None:
    """Case 45: two sessions have different codes."""
    town.registered()
    phone = town.device()
    first, first_code = town.forgot(phone).members["mail_session"], town.code()
    second, second_code = town.forgot(phone).members["mail_session"], town.code()
    assert town.reset(phone, second, first_code).code == "invalid_code"
    assert town.reset(phone, first, second_code).code == "invalid_code"
    assert town.reset(phone, second, second_code).status == 204


def test_a_session_counts_only_with_its_key_and_a_thief_of_it_takes_no_try(town: Town) -> None:
    """Case 45: with another key, the code is invalid. The owner of the session still has all five tries."""
    town.registered()
    phone, thief = town.device(), town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    for _ in range(MAIL_CODE_TRIES_MAX + 1):
        assert town.reset(thief, session, code).code == "invalid_code"
    unsigned = town.device(bound=False)
    assert town.reset(unsigned, session, code).status == 401
    assert town.reset(phone, session, code).status == 204


def test_a_client_without_keys_can_reset(town: Town) -> None:
    """The code is then bound only to the session."""
    town.registered()
    curl = town.device(bound=False, client_id="simple")
    session, code = town.forgot(curl).members["mail_session"], town.code()
    assert town.reset(curl, session, code).status == 204


@pytest.mark.parametrize("typed", ["{}{}", "{} {}", "  {} {}  "])
def test_the_blank_in_a_code_is_optional(town: Town, typed: str) -> None:
    """People copy the code with its blank, or type the digits."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    assert town.reset(phone, session, typed.format(*code.split())).status == 204


@pytest.mark.parametrize("typed", ["1234", "1234-5678", "abcdefgh", "١٢٣٤٥٦٧٨", ""])
def test_what_is_no_code_takes_no_try(town: Town, typed: str) -> None:
    """The answer is 422, as for a TOTP code that does not have six digits."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    for _ in range(MAIL_CODE_TRIES_MAX):
        said = town.reset(phone, session, typed)
        assert (said.status, said.code) == (422, "wrong_type")
    assert town.reset(phone, session, code).status == 204


def test_a_weak_password_takes_no_try(town: Town) -> None:
    """The person chooses another password, and can use the same code."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    for _ in range(MAIL_CODE_TRIES_MAX):
        assert town.reset(phone, session, code, "short").code == "too_short"
    assert town.reset(phone, session, code).status == 204


def test_a_code_ends_after_twenty_minutes(town: Town) -> None:
    """Late, altered and foreign sessions get the same answer."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    altered = session[:-1] + ("A" if session[-1] != "A" else "B")
    for wrong in (altered, "ms.AAAA", "as." + session[3:], "x"):
        assert town.reset(phone, wrong, code).code == "invalid_code"
    town.world.clock.skip(seconds=MAIL_RESET_S - 1)
    assert town.reset(phone, session, WRONG).code == "invalid_code"
    town.world.clock.skip(seconds=1)
    assert town.reset(phone, session, code).code == "invalid_code"


def test_a_code_is_void_once_the_credentials_changed(town: Town) -> None:
    """The owner changes the password after the code was sent."""
    owner = town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    assert owner.confirmed("POST", "/me/password", {"new_password": "granite umbrella sentences"}).status == 204
    assert town.reset(phone, session, code).code == "invalid_code"


def test_a_disabled_account_is_not_reset(town: Town) -> None:
    """No mail is sent, and an earlier code does nothing."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    town.world.disable(ADA)
    assert town.reset(phone, session, code).code == "invalid_code"
    before = len(town.mails())
    assert town.forgot(phone).status == 202
    assert len(town.mails()) == before
    assert town.world.lines[-1]["message"] == "mail_dropped"


# --- The same for every address --------------------------------------------------------------------------------------


def test_forgot_answers_and_calls_the_same_for_known_unknown_and_disabled(make_town: Callable[..., Town]) -> None:
    """Case 55: status, header names and expiry are the same. So are the calls of the stores and of the queue."""
    town = make_town(rate_limits="on")
    for email in (ADA, BOB):
        town.registered(email)
    town.world.disable(BOB)
    seen = []
    for email in (ADA, "eve@example.com", BOB):
        phone = town.device()
        with town.calls() as calls:
            said = town.forgot(phone, email)
        assert calls == ["find", "get", "count", "count", "put"]
        seen.append((said.status, said.members["expires_in"], sorted(said.headers)))
    assert seen == [seen[0]] * 3
    assert seen[0][0] == 202


def test_the_answers_of_forgot_have_the_same_length(town: Town) -> None:
    """The addresses have equal length, and one of them has an account."""
    town.registered("ada@example.com")
    owner = town.device()
    assert owner.login("ada@example.com").status == 200
    said = {
        email: town.forgot(town.device(), email) for email in ("ada@example.com", "bob@example.com", "eve@example.com")
    }
    assert len({len(answer.body) for answer in said.values()}) == 1
    assert {answer.status for answer in said.values()} == {202}


def test_strangers_use_up_five_sessions_and_a_known_device_has_its_own(make_town: Callable[..., Town]) -> None:
    """The limit is the same for an address without an account. A device of the account is not affected."""
    town = make_town(rate_limits="on")
    owner = town.registered()
    for email in (ADA, "nil@example.com"):
        stranger = town.device()
        for _ in range(MAIL_SESSIONS_MAX):
            assert town.forgot(stranger, email).status == 202
        said = town.forgot(stranger, email)
        assert (said.status, said.code) == (429, "too_many_requests")
        assert 0 < int(said.headers["retry-after"]) <= MAIL_SESSIONS_WINDOW_S
    assert town.forgot(owner).status == 202


def test_registrations_of_strangers_do_not_use_up_the_resets_of_an_address(make_town: Callable[..., Town]) -> None:
    """Bug: both had one count. Mails of a registration have no reset link, so the owner got no code."""
    town = make_town(rate_limits="on", registration="verify_first")
    owner, stranger = town.device(), town.device()
    session = town.start(owner).members["mail_session"]
    assert owner.register(ADA, mail_session=session, code=town.code()).status == 201
    statuses = [town.start(stranger).status for _ in range(MAIL_SESSIONS_MAX)]
    assert statuses == [202] * (MAIL_SESSIONS_MAX - 1) + [429]
    new_phone = town.device()
    assert town.forgot(new_phone).status == 202
    assert town.start(new_phone).status == 429


def test_one_source_starts_thirty_sessions_an_hour(make_town: Callable[..., Town]) -> None:
    """The number of addresses does not matter."""
    town = make_town(rate_limits="on")
    stranger = town.device()
    statuses = [town.forgot(stranger, f"person{number}@example.com").status for number in range(31)]
    assert statuses == [202] * 30 + [429]


# --- Claims ----------------------------------------------------------------------------------------------------------


def test_a_reset_claims_an_account_whose_address_was_never_proved(town: Town) -> None:
    """Cases 51 and 52: a squatter registered the address. The owner's reset removes all access of the squatter."""
    squatter = town.registered()
    owner = town.device()
    session = town.forgot(owner).members["mail_session"]
    assert town.reset(owner, session, town.code()).status == 204
    said = squatter.get("/me")
    assert (said.code, said.members["reason"]) == ("login_required", "claimed")
    assert squatter.login(ADA).code == "invalid_credentials"
    assert owner.login(ADA, password=NEW_PASSWORD).status == 200
    assert owner.get("/me").members["email_verified"] is True


def test_an_account_from_before_mail_is_reset_and_never_claimed(make_town: Callable[..., Town]) -> None:
    """The setting BATON_MAIL_CLAIMS_FROM excludes such accounts, and an operator decides about them."""
    town = make_town(mail_claims_from=str(2**33))
    phone = town.registered()
    lost = town.device()
    session = town.forgot(lost).members["mail_session"]
    assert town.reset(lost, session, town.code()).status == 204
    assert phone.get("/me").members["reason"] == "password_reset"
    assert lost.login(ADA, password=NEW_PASSWORD).status == 200
    assert lost.get("/me").members["email_verified"] is False


# --- Faults ----------------------------------------------------------------------------------------------------------


def test_a_reset_whose_write_was_lost_is_finished_by_a_repetition(town: Town) -> None:
    """The answer is 503, and the same request finds the mark of its own write."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    for when in ("before", "after"):
        town.world.storage.fail(when=when, verb="reset_password")
        assert town.reset(phone, session, code).status == 503
    assert town.reset(phone, session, code).status == 204
    assert phone.login(ADA, password=NEW_PASSWORD).status == 200
    assert phone.login(ADA, password=PASSWORD).code == "invalid_credentials"


def test_no_code_stands_in_any_log_line(town: Town) -> None:
    """No line has the code, the address or the session."""
    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    town.reset(phone, session, code)
    written = str(town.world.lines)
    assert ADA not in written
    assert session not in written
    assert not re.search(rf"{code}|{code.replace(' ', '')}", written)
    assert replace(town.mails()[0], to="") != town.mails()[0]
    assert repr(town.mails()[0]) == "Mail('**********')"


def test_the_login_after_a_reset_asks_for_the_second_factor(town: Town) -> None:
    """The mailbox replaces only the password. A device that was remembered needs the factor too."""
    phone, ada = town.verified(town.registered()), Person(lambda: town.world.clock.now)
    ada.enrol(phone)
    assert phone.login(ADA).status == 200
    lost = town.device()
    session = town.forgot(lost).members["mail_session"]
    assert town.reset(lost, session, town.code()).status == 204
    for device in (phone, lost):
        town.world.clock.skip(seconds=30)
        said = device.post("/login", device.entry(ADA, NEW_PASSWORD), token=None)
        assert (said.status, said.code) == (403, "factor_required")
        assert prove(device, said, totp=ada.fresh_code()).status == 200


def test_a_mailbox_is_no_way_around_a_second_factor_although_the_address_was_never_proved(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The factor is from a time without mail.

    A claim would remove the factor, so this reset does not claim the account.
    """
    phone, ada = town.registered(), Person(lambda: town.world.clock.now)
    with monkeypatch.context() as without_mail:
        without_mail.setattr(ChangeFactors, "_check_verified", lambda *_: None)
        ada.enrol(phone)
    thief = town.device()
    session = town.forgot(thief).members["mail_session"]
    assert town.reset(thief, session, town.code()).status == 204
    assert phone.get("/me").members["reason"] == "password_reset"
    said = thief.post("/login", thief.entry(ADA, NEW_PASSWORD), token=None)
    assert (said.status, said.code) == (403, "factor_required")


def test_a_breached_password_is_refused_after_the_code(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Baton sends the request to the service only after a right code.

    A repetition of a successful reset still gets 204.
    """
    checked: list[bytes] = []

    def refuse(_: NewPassword, secret: bytes) -> None:
        checked.append(secret)
        raise Breached

    town.registered()
    phone = town.device()
    session, code = town.forgot(phone).members["mail_session"], town.code()
    with monkeypatch.context() as breached:
        breached.setattr(NewPassword, "check_breach", refuse)
        assert town.reset(phone, session, WRONG).code == "invalid_code"
        assert checked == []
        assert (said := town.reset(phone, session, code)).status == 422, said
        assert checked == [NEW_PASSWORD.encode()]
    assert town.reset(phone, session, code).status == 204
    monkeypatch.setattr(NewPassword, "check_breach", refuse)
    assert town.reset(phone, session, code).status == 204
    assert len(checked) == 1
