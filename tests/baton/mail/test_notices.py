"""Notices to the owner. If a notice fails, the request that causes it succeeds."""

import ast
from pathlib import Path

import pytest

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.mail.templates import NAMES
from chalicelib.baton.policy import DAY_S, NOTICES_PER_DAY_MAX, SECOND_FACTOR_FAILING_AT
from tests.baton.mail.town import ADA, Town
from tests.baton.wire.conversation import NEW_PASSWORD
from tests.baton.wire.second_factor import Person, prove, stepped, wrong

BATON = Path(__file__).parents[3] / "chalicelib" / "baton"


def subjects(town: Town, to: str = ADA) -> list[str]:
    """List the subjects of the mails to an address."""
    return [mail.subject for mail in town.mails(to)]


def test_a_login_of_a_device_that_the_account_did_not_have_is_told(town: Town) -> None:
    """The notice has the name of the device. The first device, and a second login of a key, cause no notice."""
    phone, tablet = town.registered(), town.device()
    assert phone.login(ADA).status == 200
    assert subjects(town) == []
    assert tablet.post("/login", tablet.entry(ADA, name="Ada's tablet 15.2"), token=None).status == 200
    assert tablet.login(ADA).status == 200
    assert subjects(town) == ["New login to your api.example.com account"]
    assert "Ada's tablet 15.2" in town.mails()[0].text
    assert "Ada&#x27;s tablet 15.2" in town.mails()[0].html


def test_a_change_of_the_password_and_a_deletion_are_told(town: Town) -> None:
    """A deletion causes a notice too, although the address is deleted when the mail is sent."""
    phone = town.registered()
    assert phone.confirmed("POST", "/me/password", {"new_password": NEW_PASSWORD}).status == 204
    grant = phone.step_up("DELETE", "/me", password=NEW_PASSWORD)
    assert phone.request("DELETE", "/me", headers={"baton-grant": grant}).status == 204
    assert subjects(town) == [
        "Your api.example.com password was changed",
        "Your api.example.com account was deleted",
    ]


def test_a_reuse_is_told(town: Town) -> None:
    """The notice tells the owner that a login was ended."""
    phone = town.registered()
    used = str(phone.tokens["refresh_token"])
    assert phone.exchange().status == 200
    assert phone.exchange(used).code == "token_reused"
    assert subjects(town) == ["A login to your api.example.com account was ended"]


def test_changes_and_trouble_of_the_second_factor_are_told(town: Town) -> None:
    """A notice has the name of the device that added the app, or used a recovery code."""
    phone, ada = town.verified(town.registered()), Person(lambda: town.world.clock.now)
    ada.enrol(phone)
    tablet = town.device()
    said = tablet.post("/login", tablet.entry(ADA, name="Ada's tablet"), token=None)
    for _ in range(SECOND_FACTOR_FAILING_AT):
        assert prove(tablet, said, totp=wrong(ada.code())).code == "invalid_factor"
    assert prove(tablet, said, recovery_code=ada.codes[0]).status == 200
    town.world.clock.skip(seconds=30)
    assert stepped(phone, "DELETE", "/me/factors/totp", totp=ada.fresh_code()).status == 204
    assert subjects(town)[1:] == [
        "Your api.example.com account has an authenticator app",
        "Somebody has the password of your api.example.com account",
        "A recovery code of your api.example.com account was used",
        "New login to your api.example.com account",
        "Your api.example.com account has no authenticator app any more",
    ]
    assert "Device: phone" in town.mails()[1].text
    assert "Device: Ada's tablet" in town.mails()[3].text


def test_an_account_has_twenty_notices_a_day_and_a_reuse_is_told_always(town: Town) -> None:
    """A thief cannot use up the notices to hide a theft. The next day, the count starts at zero."""
    phone = town.registered()
    for _ in range(NOTICES_PER_DAY_MAX + 3):
        assert town.device(bound=False, client_id="simple").login(ADA).status == 200
        town.world.clock.skip(seconds=700)
    assert len(subjects(town)) == NOTICES_PER_DAY_MAX
    assert town.world.events.count("mail_dropped") == 3
    assert phone.login(ADA).status == 200
    used = str(phone.tokens["refresh_token"])
    assert phone.exchange().status == 200
    assert phone.exchange(used).code == "token_reused"
    assert subjects(town)[-1] == "A login to your api.example.com account was ended"
    town.world.clock.skip(seconds=DAY_S)
    assert town.device(bound=False, client_id="simple").login(ADA).status == 200
    assert subjects(town)[-1] == "New login to your api.example.com account"


@pytest.mark.parametrize("error", [Unavailable("planted"), RuntimeError("planted")])
def test_a_notice_that_cannot_be_queued_fails_nothing(
    town: Town, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The login succeeds. A log line and a metric report the lost notice."""
    town.registered()

    def put(*_: object) -> None:
        raise error

    monkeypatch.setattr(PendingOrders, "put", put)
    assert town.device().login(ADA).status == 200
    assert town.world.events.count("notice_lost") == 1


def test_a_code_that_cannot_be_queued_is_503(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request needs this mail, so it fails."""

    def put(*_: object) -> None:
        raise Unavailable("planted")

    monkeypatch.setattr(PendingOrders, "put", put)
    assert town.forgot(town.device()).status == 503


def test_a_mail_that_cannot_be_sent_fails_no_request(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """In development, the mail is sent after the answer."""

    def fail(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(type(town.world._mailbox), "__call__", fail)
    town.registered()
    assert town.forgot(town.device()).status == 202
    assert "internal_error" in town.world.events


def test_every_event_with_a_notice_has_its_text() -> None:
    """Every event with a notice is in the audit."""
    notices = {kind.notice for kind in EVENTS.values() if kind.notice}
    assert notices <= set(NAMES)
    assert all(kind.audited for kind in EVENTS.values() if kind.notice)


def test_every_record_of_an_event_with_a_notice_tells() -> None:
    """The table lists the events with a notice. A call that records such an event passes `told`."""
    silent = []
    for path in sorted(BATON.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.record" and node.args:
                event = str(ast.literal_eval(node.args[0])) if isinstance(node.args[0], ast.Constant) else ""
                told = any(keyword.arg == "told" for keyword in node.keywords)
                if event in EVENTS and bool(EVENTS[event].notice) != told:
                    silent.append(f"{path.name}: {event}")
    assert silent == []
