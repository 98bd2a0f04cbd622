"""Passkeys in Chromium with its virtual authenticator.

Chromium gets the options of Baton unchanged, and Baton gets the answers of Chromium unchanged.
"""

from collections.abc import Callable

import pytest

from baton_client import BatonClient, LoginStep, Proof, Refused
from tests.baton.chromium.chromium import Chromium, Platform, PlatformError
from tests.baton.wire.conftest import PASSWORD, Line
from tests.baton.wire.second_factor import EMAIL

pytestmark = pytest.mark.guarantee(14)

MakeClient = Callable[..., tuple[BatonClient, Line]]


@pytest.fixture
def phone(make_client: MakeClient, platform: Platform) -> BatonClient:
    """Give Ada's phone, which registered and added a passkey."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")
    assert phone.add_passkey(platform.create, "Ada's phone", confirm=lambda _: PASSWORD)["name"] == "Ada's phone"
    return phone


def test_a_passkey_is_registered(phone: BatonClient, platform: Platform) -> None:
    """The authenticator stores Baton's RP ID and user handle. The browser refuses a second passkey for the account."""
    (stored,) = platform.passkeys()
    shown = phone.passkeys()
    assert stored["rpId"] == shown["rp_id"] == "example.com"
    with pytest.raises(PlatformError, match="InvalidStateError"):
        phone.add_passkey(platform.create, "again", confirm=lambda _: PASSWORD)
    assert phone.passkeys() == shown


def test_a_login_with_a_passkey_alone(make_client: MakeClient, phone: BatonClient, platform: Platform) -> None:
    """The authenticator verified the person and named the account. A second login has another challenge."""
    tablet, _ = make_client()
    first = tablet.login_with_passkey(platform.get, "Ada's tablet")
    me = tablet.me()
    assert (me["account_id"], me["acr"], me["amr"]) == (phone.me()["account_id"], "phr", ["pop", "user", "mfa"])
    assert tablet.login_with_passkey(platform.get, "Ada's tablet").device_id != first.device_id


def test_an_answer_of_the_browser_counts_once(make_client: MakeClient, phone: BatonClient, platform: Platform) -> None:
    """A copied answer logs no thief in: another device has another key, and a second login has another challenge."""
    del phone
    tablet, _ = make_client()
    copied = []

    def get(options: dict[str, object]) -> dict[str, object]:
        copied.append(platform.get(options))
        return copied[0]

    tablet.login_with_passkey(get, "Ada's tablet")
    for thief in (make_client()[0], tablet):
        with pytest.raises(Refused) as refused:
            thief.login_with_passkey(lambda _: copied[0], "a thief")
        assert refused.value.code == "challenge_invalid"


def test_a_second_factor_and_a_step_up(make_client: MakeClient, phone: BatonClient, platform: Platform) -> None:
    """A passkey is the second factor of a login after the password, and signs one operation for a step-up."""
    phone.call("PUT", "/me/second-factor", json={"on": True}, confirm=lambda _: PASSWORD)
    tablet, _ = make_client()
    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: Proof(passkey=platform.get))
    assert tablet.me()["amr"] == ["pwd", "pop", "user", "mfa"]
    (passkey,) = tablet.passkeys()["passkeys"]
    tablet.remove_passkey(passkey["id"], confirm=lambda _: Proof(passkey=platform.get))
    assert tablet.passkeys()["passkeys"] == []


def test_an_authenticator_without_verification_is_no_login(make_client: MakeClient, browser: Chromium) -> None:
    """It can be a second factor, which needs only presence. For a login without a password the browser refuses it."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")
    key = browser.platform(user_verification=False)
    phone.add_passkey(key.create, "a security key", confirm=lambda _: PASSWORD)
    phone.call("PUT", "/me/second-factor", json={"on": True}, confirm=lambda _: PASSWORD)
    tablet, _ = make_client()
    tablet.login(EMAIL, PASSWORD, "Ada's tablet", second_factor=lambda _: Proof(passkey=key.get))
    with pytest.raises(PlatformError, match="NotAllowedError"):
        make_client()[0].login_with_passkey(key.get, "Ada's laptop")


def test_a_login_enrols_a_passkey(make_client: MakeClient, platform: Platform) -> None:
    """The client requires a second factor, so the registration enrols one."""
    strict, _ = make_client("strict")
    step = strict.register(EMAIL, PASSWORD, "Ada's phone")
    assert isinstance(step, LoginStep)
    step.enrol_passkey(platform.create)
    assert strict.me()["acr"] == "phr"


def test_the_browser_forgets_what_the_server_does_not_know(
    make_client: MakeClient, phone: BatonClient, platform: Platform
) -> None:
    """The refusal of an unknown passkey has what `signalUnknownCredential` takes."""
    (passkey,) = phone.passkeys()["passkeys"]
    phone.remove_passkey(passkey["id"], confirm=lambda _: PASSWORD)
    with pytest.raises(Refused) as refused:
        make_client()[0].login_with_passkey(platform.get, "Ada's tablet")
    assert refused.value.code == "unknown_passkey"
    platform.forget_unknown(dict(refused.value.problem))
    assert platform.passkeys() == []


def test_the_browser_keeps_what_the_server_accepts(phone: BatonClient, platform: Platform) -> None:
    """`GET /me/passkeys` has what `signalAllAcceptedCredentials` takes."""
    platform.keep_accepted(phone.passkeys())
    assert len(platform.passkeys()) == 1
    (passkey,) = phone.passkeys()["passkeys"]
    phone.remove_passkey(passkey["id"], confirm=lambda _: PASSWORD)
    platform.keep_accepted(phone.passkeys())
    assert platform.passkeys() == []


def test_a_page_of_another_origin_is_refused(make_client: MakeClient, browser: Chromium) -> None:
    """The browser does not call the authenticator, because the RP ID does not belong to the origin."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")
    foreign = browser.platform(origin="https://example.net")
    with pytest.raises(PlatformError, match="SecurityError"):
        phone.add_passkey(foreign.create, "foreign", confirm=lambda _: PASSWORD)
    assert phone.passkeys()["passkeys"] == []
