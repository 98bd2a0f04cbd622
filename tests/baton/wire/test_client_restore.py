"""The Python client and restore keys: it keeps a key after a login, and logs the owner in on the next phone."""

from collections.abc import Callable
from typing import Any

import pytest

from baton_client import BatonClient, MemoryStorage, Offline, Refused
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.factors.authenticator import Authenticator
from tests.baton.wire.conftest import PASSWORD, Line
from tests.baton.wire.restore import silent
from tests.baton.wire.second_factor import EMAIL, factors_gateway
from tools.dev.gateway import DevelopmentClock, Gateway

pytestmark = pytest.mark.guarantee(7)

MakeClient = Callable[..., tuple[BatonClient, Line]]


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Put the gateway in front of an environment whose registry has restore keys, over tables in DynamoDB."""
    return factors_gateway(tables, clock, monkeypatch)


@pytest.fixture
def platform() -> Authenticator:
    """Return the authenticator data that the platform copies to the new phone."""
    return silent()


@pytest.fixture
def phone(make_client: MakeClient, platform: Authenticator) -> BatonClient:
    """Return Ada's phone, which registered and kept a restore key. The answer to the PUT was lost once."""
    phone, line = make_client()
    phone.register(EMAIL, PASSWORD, "Ada's phone")

    def create(options: dict[str, Any]) -> dict[str, Any]:
        line.lose_answers = 1
        return platform.create(options)

    phone.keep_restore_key(create)
    return phone


def test_a_login_is_restored_on_a_new_phone(
    make_client: MakeClient, phone: BatonClient, platform: Authenticator
) -> None:
    """An answer is lost, and the repetition has the same attempt. Both phones stay logged in."""
    new_phone, line = make_client()

    def get(options: dict[str, Any]) -> dict[str, Any]:
        line.lose_answers = 1
        return platform.get(options)

    session = new_phone.restore(get, "Ada's new phone")
    assert (new_phone.me()["acr"], phone.me()["acr"]) == ("0", "aal1")
    new_phone.exchange()
    devices = {one["device_id"]: one for one in new_phone.devices()}
    assert devices[session.device_id]["restored_from"] == phone.me()["device_id"]
    assert len(devices) == 2


def test_a_restore_that_was_interrupted_goes_on_with_its_attempt(
    make_client: MakeClient, phone: BatonClient, platform: Authenticator
) -> None:
    """The app was killed after the answer was lost.

    At the next start it fetches new options, and gets the same login.
    """
    storage = MemoryStorage()
    new_phone, line = make_client(storage=storage)

    def get(options: dict[str, Any]) -> dict[str, Any]:
        line.lose_answers = 99
        return platform.get(options)

    with pytest.raises(Offline):
        new_phone.restore(get, "Ada's new phone", deadline_s=0)
    again, _ = make_client(storage=storage)
    session = again.restore(platform.get, "Ada's new phone")
    assert again.me()["device_id"] == session.device_id
    assert len(phone.devices()) == 2


def test_a_key_of_an_ended_login_is_refused(
    make_client: MakeClient, phone: BatonClient, platform: Authenticator
) -> None:
    """After a logout, the restore key does not work.

    The app shows the login screen, and the next login keeps another key.
    """
    phone.logout()
    new_phone, _ = make_client()
    with pytest.raises(Refused) as refused:
        new_phone.restore(platform.get, "Ada's new phone")
    assert (refused.value.code, refused.value.problem["rp_id"]) == ("unknown_passkey", "example.com")
    new_phone.login(EMAIL, PASSWORD, "Ada's new phone")
    new_phone.keep_restore_key(silent().create)
    assert new_phone.me()["acr"] == "aal1"


def test_a_forgotten_key_restores_nothing(make_client: MakeClient, phone: BatonClient, platform: Authenticator) -> None:
    """The person switched the restore off in the app."""
    phone.forget_restore_key()
    new_phone, _ = make_client()
    with pytest.raises(Refused, match=r"unknown_passkey|registered"):
        new_phone.restore(platform.get, "Ada's new phone")


def test_an_older_login_keeps_a_key_with_the_password(
    make_client: MakeClient, phone: BatonClient, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """The client asks once: the step-up for the options is also valid for the new key."""
    clock.skip(301)
    newer = silent()
    with pytest.raises(Refused) as refused:
        phone.keep_restore_key(newer.create)
    assert refused.value.code == "step_up_required"
    asked: list[str] = []

    def confirm(refusal: Refused) -> str:
        asked.append(refusal.code)
        return PASSWORD

    phone.keep_restore_key(newer.create, confirm=confirm)
    assert asked == ["step_up_required"]
    new_phone, _ = make_client()
    with pytest.raises(Refused):
        new_phone.restore(platform.get, "Ada's new phone")
    new_phone.restore(newer.get, "Ada's new phone")
