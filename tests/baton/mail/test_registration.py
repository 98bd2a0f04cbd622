"""Registration with a code: only the mailbox learns whether its address has an account.

The numbers of cases are those of docs/baton/attacks.md.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.baton.policy import MAIL_CODE_TRIES_MAX
from tests.baton.mail.test_client import client
from tests.baton.mail.town import ADA, WRONG, Town
from tests.baton.wire.conversation import PASSWORD

EVE = "eve@example.com"


@pytest.fixture
def strict(make_town: Callable[..., Town]) -> Town:
    """Make a deployment where a registration needs a code."""
    return make_town(registration="verify_first")


def test_without_a_code_nothing_is_registered(strict: Town) -> None:
    """The answer is the same for a free and for a taken address."""
    for _ in range(2):
        phone = strict.device()
        said = phone.register(ADA)
        assert (said.status, said.code, said.members["action"]) == (403, "verification_required", "verify_email")
        assert said.members["error"] == "insufficient_authorization"
        if not strict.world.mails:
            session = strict.start(phone).members["mail_session"]
            assert phone.register(ADA, mail_session=session, code=strict.code()).status == 201


def test_with_a_code_the_account_begins_with_a_proved_address(strict: Town) -> None:
    """The language of the request is kept for later mails."""
    phone = strict.device()
    entry = phone.entry(ADA) | {"language": "zh"}
    del entry["password"]
    session = phone.post("/register/start", entry, token=None).members["mail_session"]
    assert phone.register(ADA, mail_session=session, code=strict.code()).status == 201
    assert phone.get("/me").members["email_verified"] is True
    user = strict.world._stores.accounts.get(strict.world.account_of(ADA))
    assert user is not None
    assert user.language == "zh"


def test_a_taken_address_looks_like_a_wrong_code(strict: Town) -> None:
    """Case 56: the answer and the calls are the same.

    The mailbox gets a mail about the existing account, without a code.
    """
    phone = strict.device()
    session = strict.start(phone).members["mail_session"]
    assert phone.register(ADA, mail_session=session, code=strict.code()).status == 201
    seen = []
    for email in (ADA, EVE):
        stranger = strict.device()
        with strict.calls() as calls:
            said = strict.start(stranger, email)
        assert calls == ["put"], "with rate limits off"
        guess = stranger.register(email, mail_session=said.members["mail_session"], code=WRONG)
        seen.append((said.status, said.members["expires_in"], guess.status, guess.code, guess.members["detail"]))
    assert seen[0] == seen[1]
    assert seen[0][3] == "invalid_code"
    mail = strict.mails()[-1]
    assert mail.subject == "You already have a api.example.com account"
    assert not re.search("[0-9]{4} [0-9]{4}", mail.text.replace("2026", ""))


def test_an_address_that_was_registered_meanwhile_looks_like_a_wrong_code(strict: Town) -> None:
    """Two devices have right codes. One of them registers the address."""
    first, second = strict.device(), strict.device()
    sessions = [(device, strict.start(device).members["mail_session"], strict.code()) for device in (first, second)]
    answers = [device.register(ADA, mail_session=session, code=code) for device, session, code in sessions]
    assert [answer.status for answer in answers] == [201, 401]
    assert answers[1].code == "invalid_code"


def test_a_code_counts_for_its_address_and_its_key(strict: Town) -> None:
    """With another address or another device, the code is wrong."""
    phone, thief = strict.device(), strict.device()
    session = strict.start(phone).members["mail_session"]
    code = strict.code()
    assert phone.register(EVE, mail_session=session, code=code).code == "invalid_code"
    assert thief.register(ADA, mail_session=session, code=code).code == "invalid_code"
    of_reset = strict.forgot(phone).members["mail_session"]
    assert phone.register(ADA, mail_session=of_reset, code=code).code == "invalid_code"
    assert phone.register(ADA, mail_session=session, code=code).status == 201


def test_a_registration_is_repeated_with_its_attempt(strict: Town) -> None:
    """After a lost answer, the app gets the same login."""
    phone = strict.device()
    session, attempt = strict.start(phone).members["mail_session"], {"idempotency-key": "an-attempt-to-keep"}
    body = phone.entry(ADA) | {"mail_session": session, "code": strict.code()}
    first, second = (phone.post("/register", body, attempt, token=None) for _ in range(2))
    assert (first.status, second.status) == (201, 201)
    assert first.members["device_id"] == second.members["device_id"]


def test_five_codes_are_judged(strict: Town) -> None:
    """After five wrong codes, the right code is refused too."""
    phone = strict.device()
    session, code = strict.start(phone).members["mail_session"], strict.code()
    for _ in range(MAIL_CODE_TRIES_MAX):
        assert phone.register(ADA, mail_session=session, code=WRONG).code == "invalid_code"
    assert phone.register(ADA, mail_session=session, code=code).code == "invalid_code"


def test_an_open_registration_may_have_a_code_too(town: Town) -> None:
    """The code proves the address. A registration without a code still reveals that an address is taken."""
    phone = town.device()
    session = town.start(phone).members["mail_session"]
    assert phone.register(ADA, mail_session=session, code=town.code()).status == 201
    assert phone.get("/me").members["email_verified"] is True
    stranger = town.device()
    assert stranger.register(ADA).code == "account_exists"
    assert town.device().register(EVE, mail_session=session, code="1234 5678").code == "invalid_code"


def test_the_reference_client_registers_with_a_code(strict: Town) -> None:
    """The client also succeeds if an answer is lost."""
    phone, line = client(strict)
    line.lose = True
    session = phone.start_registration(ADA, language="en")
    line.lose = True
    phone.register(ADA, PASSWORD, "phone", mail_session=session, code=strict.code())
    assert phone.me()["email_verified"] is True


def test_without_mail_a_code_is_not_taken(make_town: Callable[..., Any]) -> None:
    """The answer to a code is 404, and an open registration still works."""
    town = make_town(mail="off")
    phone = town.device()
    assert town.start(phone).code == "not_found"
    assert phone.register(ADA, mail_session="ms.x", code="1234 5678").code == "not_found"
    assert phone.register(ADA).status == 201
