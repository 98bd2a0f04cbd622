"""The link "this was not me" in the mail of a code: it deletes the account that a stranger registered."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from chalicelib.baton.factors.add_passkey import Enrollable
from chalicelib.baton.factors.changes import ChangeFactors
from chalicelib.baton.policy import MAIL_UNDO_S
from chalicelib.baton.testing.world import World
from tests.baton.factors.authenticator import Authenticator
from tests.baton.fixture import APP
from tests.baton.mail.town import ADA, Town, find_link
from tests.baton.wire.conversation import Device
from tests.baton.wire.passkeys import PASSKEYS
from tests.baton.wire.second_factor import Person, ask

EVE = "eve@example.com"


def squatted(town: Town) -> tuple[Device, str]:
    """Let a stranger register Ada's address, and return the device and the link in Ada's mailbox."""
    squatter = town.registered()
    assert squatter.post("/me/email/code", {}).status == 202
    return squatter, find_link(town.mails()[-1], "n")


def test_the_owner_of_the_mailbox_deletes_the_account_of_a_squatter(town: Town) -> None:
    """Every login ends, the address is free, and the mailbox gets a notice. A repetition gets 204 too."""
    squatter, link = squatted(town)
    account = town.world.account_of(ADA)
    for _ in range(2):
        assert town.not_me(link).status == 204
    said = squatter.get("/me")
    assert (said.status, said.code) == (401, "login_required")
    assert town.mails()[-1].subject == "Your api.example.com account was deleted"
    assert town.device().login(ADA).code == "invalid_credentials"
    owner = town.registered()
    assert owner.get("/me").members["account_id"] != account
    assert town.not_me(link).status == 204, "a late repetition does not concern the new account"
    assert owner.get("/me").status == 200


def test_the_team_deletes_what_it_stores_of_the_account() -> None:
    """The team's function is called as after a deletion by the owner, and the audit has the deletion."""
    town = Town(World(APP, environments=1))
    deleted: list[str] = []
    town.world._baton.on_delete(deleted.append)
    _, link = squatted(town)
    account = town.world.account_of(ADA)
    assert town.not_me(link).status == 204
    assert deleted == [account]
    assert "account_deleted" in [event.event for event in town.world.audit(account)]


def test_a_squatter_who_changes_the_password_does_not_escape(town: Town) -> None:
    """The link depends on the mailbox, not on the credentials."""
    squatter, link = squatted(town)
    assert squatter.confirmed("POST", "/me/password", {"new_password": "granite umbrella conversation"}).status == 204
    assert town.not_me(link).status == 204
    assert squatter.get("/me").status == 401


def test_after_a_proof_of_the_address_the_link_is_void(town: Town) -> None:
    """The person with the mailbox has confirmed the account. Later mails have no such link."""
    squatter, link = squatted(town)
    town.verified(squatter)
    assert town.not_me(link).code == "invalid_code"
    assert squatter.post("/me/email/code", {}).status == 202
    assert "#n=" not in town.mails()[-1].text
    assert squatter.get("/me").status == 200


def test_after_a_change_of_the_address_the_link_is_void(town: Town) -> None:
    """The account has another address, and the address of this mailbox is free."""
    squatter, link = squatted(town)
    town.moved(squatter, EVE)
    assert town.not_me(link).code == "invalid_code"
    assert squatter.get("/me").members["email"] == EVE


def test_the_claim_of_the_owner_makes_the_link_void(town: Town) -> None:
    """A reset proves the address, so an older mail can no longer delete the account."""
    _, link = squatted(town)
    owner = town.reset_by_mail(town.device())
    assert owner.login(ADA, password="granite umbrella conversation").status == 200
    assert town.not_me(link).code == "invalid_code"
    assert owner.get("/me").status == 200


def test_an_account_from_before_mail_is_not_deleted(make_town: Callable[..., Town]) -> None:
    """Its mails have no such link, because its owner had no way to prove the address. An operator decides."""
    town = make_town(mail_claims_from="9999999999")
    phone = town.registered()
    assert phone.post("/me/email/code", {}).status == 202
    assert "#n=" not in town.mails()[-1].text + town.mails()[-1].html


@pytest.mark.guarantee(14)
@pytest.mark.parametrize("factor", ["an app", "a passkey"])
def test_an_account_with_a_second_factor_is_not_deleted(
    make_town: Callable[..., Town], monkeypatch: pytest.MonkeyPatch, factor: str
) -> None:
    """Otherwise the mailbox would be a way around the factor. Here the factor is from a time without mail."""
    town = make_town(clients="clients-factors.toml")
    phone, link = squatted(town)
    # Mail was off when the factor was added: then no proved address is required.
    if factor == "an app":
        monkeypatch.setattr(ChangeFactors, "_check_verified", lambda *_: None)
        Person(lambda: town.world.clock.now).enrol(phone)
    else:
        monkeypatch.setattr(Enrollable, "is_proved", lambda *_, **__: True)
        options = phone.confirmed("POST", f"{PASSKEYS}/options").members["options"]
        assert phone.post(PASSKEYS, {"credential": Authenticator().create(options)}).status == 201
    assert town.not_me(link).code == "invalid_code"
    assert phone.post("/me/email/code", {}).status == 202
    assert "#n=" not in town.mails()[-1].text
    assert phone.get("/me").status == 200


def test_a_login_that_must_enrol_a_factor_sends_the_link_too(make_town: Callable[..., Town]) -> None:
    """At a client that requires a factor, this is the first mail that a stranger's account sends."""
    town = make_town(clients="clients-factors.toml")
    strict = town.device(client_id="strict")
    session = ask(strict, ADA, path="/register").members["auth_session"]
    assert strict.post("/login/email-code", {"auth_session": session}, token=None).status == 202
    assert town.not_me(find_link(town.mails()[-1], "n")).status == 204
    assert ask(strict, ADA).code == "invalid_credentials"


def test_a_link_counts_for_its_own_account_and_use_alone(linked: Town) -> None:
    """The link undoes, proves and resets nothing. The other links delete nothing."""
    squatter, link = squatted(linked)
    other = linked.registered(EVE)
    of_proof = linked.link()
    linked.forgot(linked.device())
    of_reset = linked.link()
    assert linked.undo(link).code == "invalid_code"
    assert squatter.post("/me/email/verify", {"link": link}).code == "invalid_code"
    body = {"link": link, "new_password": "granite umbrella conversation"}
    assert linked.device(bound=False).post("/password/reset", body, token=None).code == "invalid_code"
    altered = link[:-1] + ("A" if link[-1] != "A" else "B")
    for wrong in (of_proof, of_reset, altered, "ml.AAAA", "x"):
        assert linked.not_me(wrong).code == "invalid_code"
    assert linked.not_me(link).status == 204
    assert other.get("/me").status == 200


def test_a_link_ends_after_three_days_and_a_disabled_account_stays(town: Town) -> None:
    """Only an operator may delete a disabled account."""
    _, link = squatted(town)
    town.world.disable(ADA)
    assert town.not_me(link).code == "invalid_code"
    town.world.enable(ADA)
    town.world.clock.skip(seconds=MAIL_UNDO_S)
    assert town.not_me(link).code == "invalid_code"


def test_a_lost_answer_is_repeated(town: Town) -> None:
    """The answer is 503, and the same link again gets 204."""
    _, link = squatted(town)
    for when in ("before", "after"):
        town.world.storage.fail(when=when, verb="delete_unproved")
        assert town.not_me(link).status == 503
    assert town.not_me(link).status == 204
    assert town.device().register(ADA).status == 201


def test_of_a_proof_and_a_deletion_at_the_same_time_one_wins(town: Town) -> None:
    """The condition of each write excludes the other."""
    for number in range(5):
        email = f"ada{number}@example.com"
        phone = town.registered(email)
        session = phone.post("/me/email/code", {}).members["mail_session"]
        link, code = find_link(town.mails(email)[-1], "n"), town.code(email)
        with ThreadPoolExecutor(2) as pool:
            deleted = pool.submit(town.not_me, link)
            proved = pool.submit(phone.post, "/me/email/verify", {"mail_session": session, "code": code})
        if deleted.result().status == 204:
            assert phone.get("/me").status == 401
        else:
            assert (deleted.result().code, proved.result().status) == ("invalid_code", 204)
            assert phone.get("/me").status == 200


def test_without_mail_there_is_no_such_route(make_town: Callable[..., Town]) -> None:
    """The answer is 404, as for the undo."""
    assert make_town(mail="off").not_me("ml.x").code == "not_found"
