"""The first second factor of an account needs a proved mailbox.

The rule holds for a login that must enrol a factor, and for an existing login.

The numbers of cases are those of docs/baton/attacks.md.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.baton.effects import Done
from chalicelib.baton.policy import (
    MAIL_CODE_TRIES_MAX,
    MAIL_SESSIONS_MAX,
    MAIL_SESSIONS_PER_ADDRESS_MAX,
    MAIL_SESSIONS_WINDOW_S,
)
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES
from tests.baton.mail.town import ADA, WRONG, Town
from tests.baton.wire.conversation import Device, Said
from tests.baton.wire.second_factor import Person, ask, prove, stepped

LIFE_S = TICKET_PURPOSES["auth_session"].life_s


@pytest.fixture
def town(linked: Town) -> Town:
    """Make a deployment with mail, and a client that requires a second factor."""
    return linked


def strict(town: Town) -> tuple[Device, Said]:
    """Return a device of the client that requires a factor, and its unfinished login."""
    device = town.device(client_id="strict")
    said = ask(device, ADA)
    assert (said.status, said.code) == (403, "enrolment_required"), said
    return device, said


def send(device: Device, session: Said) -> Said:
    """Request the code of an unfinished login."""
    return device.post("/login/email-code", {"auth_session": session.members["auth_session"]}, token=None)


def enrol(device: Device, session: Said) -> Said:
    """Request the secret of an authenticator app."""
    body = {"auth_session": session.members["auth_session"], "kind": "totp"}
    return device.post("/login/enrol", body, token=None)


def finish(town: Town, device: Device, session: Said, begun: Said) -> Said:
    """Send the first code of the app."""
    ada = Person(lambda: town.world.clock.now, begun.members["secret"])
    return prove(device, session, enrolment=begun.members["enrolment"], totp=ada.fresh_code())


def test_a_login_that_must_enrol_proves_the_mailbox_first(town: Town) -> None:
    """The code sets the time of proof, and the new session may enrol. The first code of the app gets the tokens."""
    town.registered()
    device, said = strict(town)
    assert said.members["factors"] == ["email_code"]
    assert said.members["enrol"] == ["totp"]
    sent = send(device, said)
    assert (sent.status, sent.members) == (202, {"expires_in": LIFE_S})
    assert town.mails()[-1].subject == "Confirm your login to Example"
    said = prove(device, said, email_code=town.code())
    assert (said.status, said.code) == (403, "enrolment_required")
    assert "factors" not in said.members
    done = finish(town, device, said, enrol(device, said))
    assert (done.status, len(done.members["recovery_codes"])) == (200, 10)
    me = device.get("/me").members
    assert (me["email_verified"], me["acr"]) == (True, "aal2")
    assert "address_verified" in [event.event for event in town.world.audit(town.world.account_of(ADA))]


@pytest.mark.guarantee(14)
def test_required_enrolment_without_the_mail_code(town: Town) -> None:
    """With only a stolen password, nothing can be enrolled, whether or not the address was proved before."""
    phone = town.registered()
    for _ in range(2):
        thief, said = strict(town)
        refused = enrol(thief, said)
        assert (refused.status, refused.code) == (403, "enrolment_required")
        assert refused.members["factors"] == ["email_code"]
        assert prove(thief, refused, email_code=WRONG).code == "invalid_code"
        assert enrol(thief, refused).code == "enrolment_required"
        town.verified(phone)
    device, said = strict(town)
    send(device, said)
    proved = prove(device, said, email_code=town.code())
    begun = enrol(device, proved)
    assert begun.status == 200
    assert finish(town, device, said, begun).code == "enrolment_required", "the first session has no proof"


def test_a_code_counts_with_its_session_and_its_key(town: Town) -> None:
    """Another session of the same device has another code. Another device cannot use either of them."""
    town.registered()
    device, first = strict(town)
    send(device, first)
    code = town.code()
    second = ask(device, ADA)
    assert prove(device, second, email_code=code).code == "invalid_code"
    thief = town.device(client_id="strict")
    assert prove(thief, first, email_code=code).code == "invalid_session"
    assert prove(device, first, email_code=code).code == "enrolment_required"


def test_a_lost_answer_is_repeated(town: Town) -> None:
    """The mail and the proof are each repeated safely."""
    town.registered()
    device, said = strict(town)
    for _ in range(2):
        assert send(device, said).status == 202
    first, second = (mail.text.partition("#n=")[0] for mail in town.mails()[-2:])
    assert first == second, "the same code"
    for when in ("before", "after"):
        town.world.storage.fail(when=when, verb="verify_address")
        assert prove(device, said, email_code=town.code()).status == 503
    said = prove(device, said, email_code=town.code())
    assert enrol(device, said).status == 200


def test_of_sixteen_guesses_at_once_five_are_judged(make_town: Callable[..., Town]) -> None:
    """A session allows five guesses, even if rate limits are off."""
    town = make_town(clients="clients-mail.toml", rate_limits="off")
    town.registered()
    device, said = strict(town)
    send(device, said)
    with ThreadPoolExecutor(16) as pool:
        codes = set(pool.map(lambda _: prove(device, said, email_code=WRONG).code, range(16)))
    assert codes == {"invalid_code"}
    assert town.world.events.count("mail_codes_guessed") == MAIL_CODE_TRIES_MAX
    assert prove(device, said, email_code=town.code()).code == "invalid_code"


def test_further_sessions_bring_no_further_guesses(town: Town) -> None:
    """A thief with the password can begin any number of sessions, on any device. A known device keeps its own tries."""
    town.registered(client_id="mobile")
    known = town.device(client_id="mobile")
    assert known.login(ADA).status == 200
    for _ in range(MAIL_SESSIONS_MAX):
        thief, said = strict(town)
        for _ in range(MAIL_CODE_TRIES_MAX):
            assert prove(thief, said, email_code=WRONG).code == "invalid_code"
    thief, said = strict(town)
    refused = prove(thief, said, email_code=WRONG)
    assert (refused.status, refused.code) == (429, "too_many_requests")
    owner = Device(known.send, known.clock, "strict", key=known.key)
    said = ask(owner, ADA)
    assert send(owner, said).status == 202
    assert prove(owner, said, email_code=town.code()).code == "enrolment_required"
    town.world.clock.skip(seconds=MAIL_SESSIONS_WINDOW_S)
    thief, said = strict(town)
    assert prove(thief, said, email_code=WRONG).code == "invalid_code"


def test_many_known_devices_bring_no_further_guesses(town: Town) -> None:
    """Bug: with the password, a thief logs in with any number of keys at another client. Each had tries of its own."""
    town.registered(client_id="mobile")
    tries = 0
    for _ in range(MAIL_SESSIONS_PER_ADDRESS_MAX // MAIL_SESSIONS_MAX + 1):
        known = town.device(client_id="mobile")
        assert known.login(ADA).status == 200
        thief = Device(known.send, known.clock, "strict", key=known.key)
        for _ in range(MAIL_SESSIONS_MAX):
            said = ask(thief, ADA)
            for _ in range(MAIL_CODE_TRIES_MAX):
                guess = prove(thief, said, email_code=WRONG)
                tries += guess.code == "invalid_code"
    assert (guess.status, guess.code) == (429, "too_many_requests")
    assert tries == MAIL_SESSIONS_PER_ADDRESS_MAX * MAIL_CODE_TRIES_MAX


def test_many_accounts_of_an_address_bring_no_further_guesses(town: Town) -> None:
    """Bug: a stranger registered an address, guessed, deleted the account, and began again with new limits."""
    tries = 0
    for _ in range(2):
        owner = town.registered(client_id="mobile")
        for _ in range(MAIL_SESSIONS_MAX + 1):
            thief, said = strict(town)
            for _ in range(MAIL_CODE_TRIES_MAX):
                guess = prove(thief, said, email_code=WRONG)
                tries += guess.code == "invalid_code"
        assert owner.confirmed("DELETE", "/me", {}).status == 204
    assert (guess.status, guess.code) == (429, "too_many_requests")
    assert tries == MAIL_SESSIONS_MAX * MAIL_CODE_TRIES_MAX


def test_the_code_ends_with_its_session_and_with_the_credentials(town: Town) -> None:
    """The session is then void, and no code is sent for it."""
    phone = town.registered()
    device, said = strict(town)
    send(device, said)
    town.world.clock.skip(seconds=LIFE_S)
    assert prove(device, said, email_code=town.code()).code == "invalid_session"
    device, said = strict(town)
    send(device, said)
    code = town.code()
    town.moved(phone, "ada@example.net")
    assert prove(device, said, email_code=code).code == "invalid_session"
    before = len(town.world.mails)
    assert send(device, said).code == "invalid_session"
    assert len(town.world.mails) == before


def test_a_factor_that_is_required_no_more_is_not_enrolled_by_a_password_alone(town: Town) -> None:
    """An operator ended the requirement during the login. Otherwise a thief with the password would keep a factor."""
    phone = town.registered()
    account, lineages = phone.get("/me").members["account_id"], town.world._stores.lineages
    assert lineages.set_second_factor(account, required=True) == Done()
    thief = town.device()
    asked = ask(thief, ADA)
    assert asked.members["factors"] == ["email_code"]
    assert lineages.set_second_factor(account, required=False) == Done()
    for kind in ("totp", "passkey"):
        enrol = {"auth_session": asked.members["auth_session"], "kind": kind}
        assert thief.post("/login/enrol", enrol, token=None).code == "invalid_session"
    assert phone.get("/me/factors").members["second_factor"] == "off"


def test_an_account_with_a_factor_gets_no_code(town: Town) -> None:
    """A mailbox does not count as a second factor (NIST SP 800-63B)."""
    phone, ada = town.verified(town.registered()), Person(lambda: town.world.clock.now)
    ada.enrol(phone)
    device = town.device(client_id="strict")
    said = ask(device, ADA)
    assert said.code == "factor_required"
    before = len(town.mails())
    assert send(device, said).code == "factor_required"
    assert prove(device, said, email_code=WRONG).code == "factor_required"
    assert len(town.mails()) == before


def with_a_code(make_town: Callable[..., Town]) -> tuple[Town, Device, dict[str, str]]:
    """Return a device of the client that requires a factor, and the members that prove the mailbox."""
    town = make_town(clients="clients-mail.toml", registration="verify_first")
    device = town.device(client_id="strict")
    entry = device.entry(ADA)
    del entry["password"]
    session = device.post("/register/start", entry, token=None).members["mail_session"]
    return town, device, {"mail_session": session, "code": town.code()}


def test_a_registration_with_a_code_has_proved_the_mailbox(make_town: Callable[..., Town]) -> None:
    """At a client that requires a factor, the app enrols it next, without another mail code."""
    town, device, proof = with_a_code(make_town)
    said = device.register(ADA, **proof)
    assert (said.status, said.code) == (403, "enrolment_required")
    assert "factors" not in said.members
    assert finish(town, device, said, enrol(device, said)).status == 200


def test_a_repeated_registration_with_a_code_needs_no_second_code(make_town: Callable[..., Town]) -> None:
    """Bug: after a lost answer, the repetition with the same code was asked for another mail code."""
    _, device, proof = with_a_code(make_town)
    body = {**device.entry(ADA), **proof}
    attempt = {"idempotency-key": "the-same-attempt-1"}
    for _ in range(2):
        said = device.post("/register", body, attempt, token=None)
        assert (said.status, said.code) == (403, "enrolment_required")
        assert "factors" not in said.members


def test_without_mail_a_login_enrols_immediately(make_town: Callable[..., Town]) -> None:
    """There is no proof except for the password, and no route for codes."""
    town = make_town(clients="clients-mail.toml", mail="off")
    town.registered()
    device, said = strict(town)
    assert "factors" not in said.members
    assert send(device, said).code == "not_found"
    assert prove(device, said, email_code=WRONG).code == "not_found"
    assert finish(town, device, said, enrol(device, said)).status == 200


def test_a_code_is_sent_alone(town: Town) -> None:
    """A code together with another proof or an enrolment is refused."""
    town.registered()
    device, said = strict(town)
    for more in ({"totp": "123456"}, {"recovery_code": "x"}, {"enrolment": "en.x"}):
        refused = prove(device, said, email_code=WRONG, **more)
        assert (refused.status, refused.code) == (400, "malformed")


# --- On a login that is there --------------------------------------------------------------------------------------


def test_a_factor_needs_a_proved_address(town: Town) -> None:
    """Case 51: a squatter can enrol nothing. With mail off, this rule does not apply."""
    squatter = town.registered()
    said = stepped(squatter, "POST", "/me/factors/totp")
    assert (said.status, said.code, said.members["action"]) == (403, "email_unverified", "verify_email")
    assert said.members["error"] == "insufficient_authorization"
    town.verified(squatter)
    Person(lambda: town.world.clock.now).enrol(squatter)


def test_an_enrolment_that_began_without_mail_ends_with_a_proved_address(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule is checked at the beginning and at the end of an enrolment."""
    from chalicelib.baton.factors.changes import ChangeFactors

    phone = town.registered()
    with monkeypatch.context() as without_mail:
        without_mail.setattr(ChangeFactors, "_check_verified", lambda *_: None)
        begun = stepped(phone, "POST", "/me/factors/totp").members
    ada = Person(lambda: town.world.clock.now, begun["secret"])
    body = {"enrolment": begun["enrolment"], "totp": ada.fresh_code()}
    assert phone.post("/me/factors/totp/confirm", body).code == "email_unverified"
    town.verified(phone)
    town.world.clock.skip(seconds=30)
    body = {"enrolment": begun["enrolment"], "totp": ada.fresh_code()}
    assert phone.post("/me/factors/totp/confirm", body).status == 200
