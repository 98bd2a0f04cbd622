"""A login that an app handed over has no more rights than the login of the app."""

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from baton_client import content_digest
from chalicelib.baton.effects import Done
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PASSWORD_AND_RECOVERY_CODE, PASSWORD_AND_TOTP
from chalicelib.baton.lineages.model import Assurance
from chalicelib.baton.policy import FAILURES_PER_KNOWN_DEVICE_MAX, RECOVERED_LOGIN_S, WRONG_TOTP_PER_DAY_MAX
from chalicelib.baton.testing.phone import PHONE_PASSWORD, Phone
from chalicelib.baton.testing.world import World
from tests.baton.browser.browser import EMAIL, Browser
from tests.baton.browser.test_handover import baton_of, handed_over
from tests.baton.wire.conversation import NEW_PASSWORD
from tests.baton.wire.second_factor import totp

UPGRADE = "/me/passkeys/upgrade-options"


def guess(browser: Browser, **proof: str) -> str:
    """Try to prove a factor, and return the code of the refusal."""
    operation = {"method": "POST", "path": "/api/me/password", "digest": content_digest(b"{}")}
    return browser.request("POST", "/step-up", {"operation": operation, **proof}).code


def strengthen(world: World, phone: Phone, assurance: Assurance) -> None:
    """Give the login of a phone another assurance."""
    store = baton_of(world).storage.lineages
    account_state = store.get(phone.account)
    assert account_state is not None
    login = account_state.lineages[LineageId(phone.device_id)]
    changed = replace(login, assurance=assurance)
    stored = store.record_use(changed, account=phone.account, expected=login, now=world.clock.now, not_before=0)
    assert stored == Done()


def enrol(world: World, phone: Phone) -> None:
    """Enrol an authenticator app."""
    begun = phone.post("/me/factors/totp", password=PHONE_PASSWORD).json
    proof = {"enrolment": begun["enrolment"], "totp": totp(begun["secret"], world.clock.now // 30)}
    assert phone.post("/me/factors/totp/confirm", json=proof, password=PHONE_PASSWORD).status == 200


def grant(browser: Browser, method: str, path: str, body: bytes = b"") -> list[tuple[str, str]]:
    """Prove the password for a request, and return the header with the grant."""
    operation = {"method": method, "path": f"/api{path}", "digest": content_digest(body)}
    answer = browser.request("POST", "/step-up", {"operation": operation, "password": PHONE_PASSWORD})
    assert answer.status == 200, answer
    return [("baton-grant", str(answer.members["grant"]))]


def test_a_handover_makes_no_old_login_new(make_world: Callable[..., World]) -> None:
    """Only a new login adds a passkey without a step-up.

    The thief of a device has an old login, and a handover must not make it new.
    """
    world = make_world(mail="off")
    phone, browser, thief = world.phone(EMAIL), Browser(world), Browser(world)
    began = world.clock.now
    handed_over(phone, browser)
    assert browser.request("POST", UPGRADE).status == 200
    world.clock.skip(seconds=600)
    handed_over(phone, thief)
    assert thief.request("POST", UPGRADE).code == "step_up_required"
    assert thief.request("GET", "/me").members["auth_time"] == began


@pytest.mark.parametrize(("late", "code"), [(0, ""), (1, "step_up_required")])
def test_a_handover_prolongs_no_recovery(make_world: Callable[..., World], late: int, code: str) -> None:
    """For 15 minutes after a login by recovery code, the password is enough to change factors.

    A handover does not extend this time.
    """
    world = make_world(mail="off")
    phone, browser = world.phone(EMAIL), Browser(world)
    began = world.clock.now
    enrol(world, phone)
    strengthen(world, phone, PASSWORD_AND_RECOVERY_CODE)
    world.clock.skip(seconds=RECOVERED_LOGIN_S + late - (world.clock.now - began))
    handed_over(phone, browser)
    shown = grant(browser, "DELETE", "/me/factors/totp")
    assert browser.request("DELETE", "/me/factors/totp", extra=shown).code == code


def test_a_handover_gives_no_more_guesses_of_the_password(make_world: Callable[..., World]) -> None:
    """The browser shares the rate limit of the app. Otherwise the thief of an app could try a list of passwords."""
    world = make_world(mail="off", rate_limits="on")
    phone = world.phone(EMAIL)
    refusals = []
    for _ in range(2):
        browser = Browser(world)
        handed_over(phone, browser)
        refusals += [guess(browser, password="a wrong password") for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX)]
    assert refusals == [*["invalid_credentials"] * FAILURES_PER_KNOWN_DEVICE_MAX, *["too_many_requests"] * 10]


def test_a_handover_gives_no_more_guesses_of_the_code(make_world: Callable[..., World]) -> None:
    """The browser counts as the device of the app: both together have 30 wrong codes a day."""
    world = make_world(mail="off", rate_limits="on")
    phone = world.phone(EMAIL)
    enrol(world, phone)
    strengthen(world, phone, PASSWORD_AND_TOTP)
    refusals = []
    for _ in range(2):
        browser = Browser(world)
        handed_over(phone, browser)
        refusals += [guess(browser, totp="000000") for _ in range(WRONG_TOTP_PER_DAY_MAX)]
    assert refusals == [*["invalid_factor"] * WRONG_TOTP_PER_DAY_MAX, *["too_many_requests"] * WRONG_TOTP_PER_DAY_MAX]


def test_a_password_that_a_browser_changes_ends_its_app_and_so_the_browser(make_world: Callable[..., World]) -> None:
    """Every other login ends, also that of the app: its device may be the reason for the new password."""
    world = make_world(mail="off")
    phone, browser = world.phone(EMAIL), Browser(world)
    handed_over(phone, browser)
    members = {"new_password": NEW_PASSWORD}
    shown = grant(browser, "POST", "/me/password", json.dumps(members).encode())
    assert browser.request("POST", "/me/password", members, extra=shown).status == 204
    assert phone.get("/me").code == "login_required"
    ended = browser.request("GET", "/me")
    assert (ended.code, ended.members["reason"]) == ("login_required", "password_changed")
    assert not browser.cookies
