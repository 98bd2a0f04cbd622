"""Complete copies of a device, and known devices among strangers: the reference client with the real server."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from baton_client import BatonClient, LoggedOut, MemoryStorage, NoResponse, NotLoggedIn, Offline, Record, Refused
from tests.baton.finished import finished
from tests.baton.wire.conftest import PASSWORD, Line
from tools.dev.gateway import DevelopmentClock

Make = Callable[..., tuple[BatonClient, Line]]
EMAIL = "ada@example.com"
WAYS: list[tuple[str, dict[str, str]]] = [
    ("mobile", {"key": "p256"}),
    ("mobile-opaque", {"key": "ed25519"}),
    ("mobile", {"binding": "hmac"}),
    ("simple", {"binding": "none"}),
    ("oauth", {"binding": "hmac"}),
    ("oauth", {"binding": "none"}),
]


def record_of(client: BatonClient) -> Record:
    """Read the whole storage of a client."""
    return client._storage.read()


def reasons(tablet: BatonClient) -> dict[str, Any]:
    """List the logins with their end reasons, as another device of the account sees them."""
    return {device["name"]: device["ended_reason"] for device in tablet.devices()}


@pytest.mark.guarantee(5)
@pytest.mark.parametrize("ahead", [2, 4])
@pytest.mark.parametrize(("client_id", "options"), WAYS, ids=str)
def test_a_copy_that_exchanged_before_its_owner_is_ended_when_the_owner_exchanges(
    make_client: Make, client_id: str, options: dict[str, str], ahead: int
) -> None:
    """Before client rule 8, the owner only got `superseded` and logged in again. The copy worked for 90 more days."""
    phone, line = make_client(client_id, **options)
    tablet, _ = make_client()
    phone.register(EMAIL, PASSWORD, "phone")
    tablet.login(EMAIL, PASSWORD, "tablet")
    old = record_of(phone)
    copy, _ = make_client(client_id, storage=MemoryStorage(old), **options)
    for _ in range(ahead):
        copy.exchange()
    line.carried.clear()
    with pytest.raises(LoggedOut) as ended:
        phone.exchange()
    assert (ended.value.reason, ended.value.confirmed) == ("reuse", True)
    assert [answer.status for _, answer in line.carried] == [409, 409, 200]
    bound = options.get("binding") != "none"
    assert reasons(tablet)["phone"] == ("reuse" if bound else "logout")
    for act in (copy.me, copy.exchange):
        with pytest.raises(NotLoggedIn):
            act()
    phone.login(EMAIL, PASSWORD, "phone again")
    assert phone.me()["email"] == EMAIL
    if "key" in options:
        assert record_of(phone).key != old.key
    assert reasons(tablet)["phone again"] is None


@pytest.mark.guarantee(5)
def test_a_revocation_that_could_not_be_sent_is_sent_by_the_next_login(make_client: Make) -> None:
    """Until then, the copy works."""
    phone, line = make_client()
    phone.register(EMAIL, PASSWORD, "phone")
    copy, _ = make_client(storage=MemoryStorage(record_of(phone)))
    copy.exchange()
    copy.exchange()

    def offline(request: Any, timeout_s: float) -> Any:
        if request.url.endswith("/oauth/revoke"):
            raise NoResponse("no network", sent=False)
        return line(request, timeout_s)

    flaky, _ = make_client(storage=phone._storage)
    flaky._transport = offline
    with pytest.raises(LoggedOut) as ended:
        flaky.exchange()
    assert not ended.value.confirmed
    assert copy.me()
    phone.login(EMAIL, PASSWORD, "phone again")
    with pytest.raises(LoggedOut) as told:
        copy.me()
    assert told.value.reason == "reuse"
    assert record_of(phone).revocations == ()


@pytest.mark.guarantee(5)
def test_a_copy_that_repeats_the_owners_exchange_works_for_a_minute_after_the_next_one(
    make_client: Make, clock: DevelopmentClock
) -> None:
    """Without the overlap limit of 60 seconds, the copy could use the child for 15 minutes and end all logins."""
    phone, _ = make_client()
    phone.register(EMAIL, PASSWORD, "phone")
    copy, line = make_client(storage=MemoryStorage(record_of(phone)))
    phone.exchange()
    assert copy.exchange().access_token == record_of(phone).session.access_token  # type: ignore[union-attr]
    phone.exchange()
    clock.skip(59)
    assert copy.me()
    clock.skip(3)
    line.carried.clear()
    with pytest.raises(LoggedOut):  # The copy's own exchange is reuse by another attempt, and ends the login for both.
        copy.me()
    assert [answer.members().get("code") for _, answer in line.carried] == ["token_expired", "token_reused"]


@pytest.mark.guarantee(11)
@pytest.mark.parametrize("how", ["logout", "forget", "ended"])
def test_a_stranger_cannot_lock_out_an_hmac_device(make_client: Make, how: str) -> None:
    """The device signs its next login with its last HMAC secret, so the limit for unknown devices does not apply."""
    phone, line = make_client(binding="hmac")
    tablet, _ = make_client()
    first = finished(phone.register(EMAIL, PASSWORD, "phone")).device_id
    tablet.login(EMAIL, PASSWORD, "tablet")
    if how == "ended":
        tablet.end_device(first, password=PASSWORD)
        with pytest.raises(LoggedOut):
            phone.me()
    else:
        getattr(phone, how)()
    stranger, _ = make_client(binding="hmac")
    refused = []
    for _ in range(12):
        with pytest.raises(Refused) as refusal:
            stranger.login(EMAIL, "wrong horse battery staple", "a stranger", deadline_s=0)
        refused.append(refusal.value.code)
    assert refused[-1] == "too_many_requests"
    with pytest.raises(Refused, match="too_many_requests"):
        stranger.login(EMAIL, PASSWORD, "an unknown device", deadline_s=0)
    line.carried.clear()
    phone.login(EMAIL, PASSWORD, "phone", deadline_s=0)
    assert len(line.carried) == 1
    entry = {device["device_id"]: device["ended_reason"] for device in tablet.devices()}
    assert entry[first] == {"logout": "logout", "forget": "replaced", "ended": "ended_by_owner"}[how]
    assert phone.me()["email"] == EMAIL


def test_an_hmac_login_whose_root_no_longer_exists_is_sent_unsigned(make_client: Make) -> None:
    """The server refuses a signature whose secret it can no longer derive, but accepts the login without it."""
    phone, line = make_client(binding="hmac")
    phone.register(EMAIL, PASSWORD, "phone")
    phone.logout()
    last = record_of(phone).last
    assert last
    # The first character of a lineage id identifies its root. This root never existed.
    key_id = ("z" if last.key_id[0] != "z" else "y") + last.key_id[1:]
    phone._storage.update(lambda record: replace(record, last=replace(last, key_id=key_id)))
    line.carried.clear()
    phone.login(EMAIL, PASSWORD, "phone")
    assert [answer.status for _, answer in line.carried] == [401, 200]
    assert ["signature" in request.headers for request, _ in line.carried] == [True, False]
    assert phone.me()["email"] == EMAIL


def test_a_restored_backup_without_network_ends_no_login(make_client: Make) -> None:
    """`Offline` keeps the record unchanged."""
    phone, line = make_client()
    phone.register(EMAIL, PASSWORD, "phone")
    backup = record_of(phone)
    phone.exchange()
    phone.exchange()
    phone._storage.update(lambda _: backup)
    line.lose_requests = 99
    with pytest.raises(Offline):
        phone.exchange()
    assert record_of(phone) == backup
    line.lose_requests = 0
    with pytest.raises(LoggedOut, match="reuse"):
        phone.exchange()
