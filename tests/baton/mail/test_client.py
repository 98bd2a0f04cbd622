"""The reference client resets a password and proves an address."""

from typing import Any

import pytest

from baton_client import (
    Answer,
    BatonClient,
    LoggedOut,
    LoginStep,
    MemoryStorage,
    NoResponse,
    Proof,
    Refused,
    Request,
)
from chalicelib.baton.lineages.model import EndReason
from tests.baton.finished import finished
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD, PASSWORD
from tests.baton.wire.second_factor import Person


class Line:
    """A transport of a client that may lose the next answer."""

    def __init__(self, town: Town) -> None:
        """Send requests to the gateway of a town."""
        self.gateway, self.lose = town.world.gateway, False

    def __call__(self, request: Request, _: float, /) -> Answer:
        """Send a request."""
        target = "/" + request.url.split("/", 3)[3]
        said = self.gateway.call(request.method, target, list(request.headers.items()), request.body)
        if self.lose:
            self.lose = False
            raise NoResponse("lost")
        return Answer(said.status, {name.lower(): value for name, value in said.headers}, said.body)


def client(town: Town, client_id: str = "mobile", **named: Any) -> tuple[BatonClient, Line]:
    """Make a client and its line."""
    line = Line(town)
    url = "https://api.example.com/api"
    made = BatonClient(
        url,
        client_id,
        MemoryStorage(),
        clock=lambda: town.world.clock.now,
        transport=line,
        sleep=lambda _: None,
        **named,
    )
    return made, line


@pytest.mark.parametrize(("client_id", "binding"), [("mobile", "key"), ("mobile", "hmac"), ("simple", "none")])
def test_a_password_is_reset_though_answers_are_lost(town: Town, client_id: str, binding: Any) -> None:
    """On the device that was logged in, the session ends with the reason, and the new password logs in."""
    phone, line = client(town, client_id, binding=binding)
    phone.register(ADA, PASSWORD, "phone")
    phone.verify_address(phone.request_address_code(), town.code())
    line.lose = True
    session = phone.forgot_password(ADA, language="zh")
    assert "验证码" in town.mails()[-1].text
    with pytest.raises(Refused) as refused:
        phone.reset_password(session, "0000 0000", NEW_PASSWORD)
    assert refused.value.code == "invalid_code"
    line.lose = True
    phone.reset_password(session, town.code(), NEW_PASSWORD)
    with pytest.raises(LoggedOut) as ended:
        phone.me()
    assert ended.value.reason == EndReason.PASSWORD_RESET
    phone.login(ADA, NEW_PASSWORD, "phone")
    assert phone.me()["email_verified"] is True


def test_a_device_that_has_no_key_yet_makes_one_and_keeps_it(town: Town) -> None:
    """The same key signs the reset and the next login."""
    phone, _ = client(town)
    phone.register(ADA, PASSWORD, "phone")
    lost, _ = client(town)
    session = lost.forgot_password(ADA)
    key = lost._storage.read().key
    assert key is not None
    lost.reset_password(session, town.code(), NEW_PASSWORD)
    assert finished(lost.login(ADA, NEW_PASSWORD, "new phone")).key_id == key.thumbprint()


def test_an_address_is_changed_though_answers_are_lost(town: Town) -> None:
    """The password is given as a text, and by a function. The session of the code belongs to this login."""
    phone, line = client(town)
    phone.register(ADA, PASSWORD, "phone")
    phone.verify_address(phone.request_address_code(), town.code())
    session = phone.request_new_address("ada@example.net", password=PASSWORD, language="zh")
    assert "验证码" in town.mails("ada@example.net")[-1].text
    line.lose = True
    phone.change_address(session, town.code("ada@example.net"))
    assert phone.me()["email"] == "ada@example.net"
    session = phone.request_new_address(ADA, confirm=lambda _: PASSWORD)
    phone.change_address(session, town.code())
    assert phone.me()["email"] == ADA


def test_links_prove_the_address_and_reset_the_password(linked: Town) -> None:
    """The client accepts the whole URL or only its ticket. A device that was never used can reset the password."""
    phone, line = client(linked)
    phone.register(ADA, PASSWORD, "phone")
    phone.request_address_code()
    line.lose = True
    phone.use_link(f"https://app.example.com/baton/verify#t={linked.link()}")
    assert phone.me()["email_verified"] is True
    phone.forgot_password(ADA)
    other, line = client(linked)
    line.lose = True
    other.use_link(linked.link(), new_password=NEW_PASSWORD)
    other.login(ADA, NEW_PASSWORD, "other")
    undo = linked.link(mail=-2)
    assert linked.undo(undo).status == 204
    with pytest.raises(LoggedOut) as ended:
        other.me()
    assert ended.value.reason == EndReason.UNDONE


def test_a_login_that_must_enrol_proves_the_mailbox_first(linked: Town) -> None:
    """Answers are lost during the login, and a wrong code can be corrected."""
    client(linked)[0].register(ADA, PASSWORD, "phone")
    phone, line = client(linked, "strict")
    step = phone.login(ADA, PASSWORD, "phone")
    assert isinstance(step, LoginStep)
    assert (step.factors, step.enrol) == (("email_code",), ("totp",))
    line.lose = True
    assert step.send_email_code() == 600
    with pytest.raises(Refused) as refused:
        step.prove_email("0000 0000")
    assert refused.value.code == "invalid_code"
    line.lose = True
    step.prove_email(linked.code())
    assert step.factors == ()
    begun = step.enrolment()
    ada = Person(lambda: linked.world.clock.now, begun["secret"])
    step.prove(Proof(totp=ada.code(), enrolment=begun["enrolment"]))
    assert len(step.recovery_codes) == 10
    assert phone.me()["acr"] == "aal2"
