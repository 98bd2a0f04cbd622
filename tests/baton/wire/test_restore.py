"""A login on a new phone through the gateway: the restore key, its end, and attempts to misuse it.

The numbers of cases are those of docs/baton/attacks.md.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from msgspec.structs import replace

from chalicelib.baton import settings
from chalicelib.baton.factors.model import key_id
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Ended, EndReason, KeyBinding, Lineage, Status
from chalicelib.baton.policy import DAY_S, ISSUED_AHEAD_MAX_S, KEY_RING_REFRESH_S, LINEAGE_KEPT_S, LINEAGES_MAX
from chalicelib.baton.testing.world import World
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES
from tests.baton.factors.authenticator import BS, Authenticator
from tests.baton.fixture import APP, FOLDER, description
from tests.baton.wire.contract import Contract
from tests.baton.wire.conversation import JSON, NEW_PASSWORD, PASSWORD, Device, Send, through
from tests.baton.wire.passkeys import OPTIONS as PASSKEY_OPTIONS
from tests.baton.wire.passkeys import (
    UPGRADE,
    add,
    options_of,
    send_passkey,
    sign_in_options,
    step_up_options,
    switch_on,
)
from tests.baton.wire.restore import (
    OPTIONS,
    RESTORE_KEY,
    keep,
    put_key,
    restore,
    restore_options,
    send_restore,
    silent,
)
from tests.baton.wire.second_factor import EMAIL, Deployment, ask, attempt, grant_of, set_roles, set_status, stepped
from tools.dev.gateway import DevelopmentClock, Gateway

pytestmark = pytest.mark.guarantee(7, 14)

RACERS: Final = 8
MINUTES_5: Final = 300
MakeDevice = Callable[..., Device]


@pytest.fixture(scope="module")
def judge() -> Contract:
    """Return the OpenAPI description, to compare answers with."""
    return Contract()


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    """Load the environments once for all tests."""
    return Deployment.load()


@pytest.fixture
def clock(deployment: Deployment) -> DevelopmentClock:
    """Return the clock of the environments, and empty the tables."""
    return deployment.begin()


@pytest.fixture
def send(deployment: Deployment, judge: Contract) -> Send:
    """Send a request through the gateway, and compare the answer with the description."""
    return judge.judged(through(Gateway([environment.app for environment in deployment.environments])))


@pytest.fixture
def baton(deployment: Deployment) -> Any:
    """Return the Baton of one environment, for the actions of an operator."""
    return deployment.environments[0].baton


@pytest.fixture
def phone(make_device: MakeDevice) -> Device:
    """Return Ada's phone, which has registered."""
    phone = make_device()
    assert phone.register(EMAIL).status == 201
    return phone


@pytest.fixture
def platform(phone: Device) -> Authenticator:
    """Return the restore key of Ada's phone, which the platform copies to the new phone."""
    platform = silent()
    assert keep(phone, platform).status == 204
    return platform


@pytest.fixture
def new_phone(make_device: MakeDevice) -> Device:
    """Return Ada's new phone, with its own key."""
    return make_device()


def device_of(phone: Device) -> str:
    """Return the id of the phone's login."""
    return str(phone.tokens["device_id"])


def events(phone: Device) -> list[dict[str, Any]]:
    """List the events of the account, the newest first."""
    listed: list[dict[str, Any]] = phone.get("/me/activity").members["events"]
    return listed


def account_of(deployment: Deployment) -> tuple[AccountId, AccountState]:
    """Return the only account and its state."""
    ((account, state),) = deployment.tables.lineages.items()
    return account, state


def change_lineage(deployment: Deployment, lineage: Lineage) -> None:
    """Store a lineage as it is."""
    account, state = account_of(deployment)
    deployment.tables.lineages[account] = replace(state, lineages={**state.lineages, lineage.id: lineage})


# --- Keeping ------------------------------------------------------------------------------------------------------


def test_a_restore_key_is_kept_without_asking_the_person(phone: Device) -> None:
    """The options have the form that Credential Manager reads. The key is neither a passkey nor a factor."""
    options = options_of(phone.post(OPTIONS, {}))
    account = phone.get("/me").members["account_id"]
    assert options["user"] == {"id": account, "name": EMAIL, "displayName": EMAIL}
    assert options["excludeCredentials"] == []
    assert options["authenticatorSelection"]["userVerification"] == "discouraged"
    platform = silent()
    credential = platform.create(options)
    for _ in range(2):
        assert put_key(phone, credential).status == 204
    assert phone.get("/me/passkeys").members["passkeys"] == []
    assert phone.get("/me/factors").members["passkeys"] == 0
    export = stepped(phone, "GET", "/me/export").members
    (kept,) = [one for one in export["factors"] if one["kind"] == "restore_key"]
    assert kept.keys() == {"kind", "added_at", "key_id", "credential_id", "public_key"}
    assert kept["credential_id"] == credential["id"]


def test_a_new_restore_key_replaces_the_one_of_the_device(
    phone: Device, new_phone: Device, platform: Authenticator
) -> None:
    """An account has one restore key for each device key."""
    newer = silent()
    assert keep(phone, newer).status == 204
    assert restore(new_phone, platform).code == "unknown_passkey"
    assert restore(new_phone, newer).status == 200


def test_each_device_keeps_its_own(make_device: MakeDevice, new_phone: Device, platform: Authenticator) -> None:
    """A second phone of the account has another restore key. Both work."""
    second, other = make_device(), silent()
    assert second.login(EMAIL).status == 200
    assert keep(second, other).status == 204
    assert restore(new_phone, platform).status == 200
    assert restore(make_device(), other).status == 200


def test_a_deleted_restore_key_restores_nothing(phone: Device, new_phone: Device, platform: Authenticator) -> None:
    """Deleting needs no step-up, and can be repeated."""
    for _ in range(2):
        assert phone.request("DELETE", RESTORE_KEY).status == 204
    assert restore(new_phone, platform).code == "unknown_passkey"


def test_the_keys_of_forgotten_logins_are_removed(
    deployment: Deployment, make_device: MakeDevice, phone: Device, platform: Authenticator
) -> None:
    """The account state no longer has a login of the device.

    The next stored restore key removes the old restore key.
    """
    del platform
    second = make_device()
    second.login(EMAIL)
    account, state = account_of(deployment)
    gone = {one: lineage for one, lineage in state.lineages.items() if one != device_of(phone)}
    deployment.tables.lineages[account] = replace(state, lineages=gone)
    assert keep(second, silent()).status == 204
    assert len(deployment.tables.users[account].restore) == 1


def test_a_login_older_than_five_minutes_keeps_no_key_without_a_step_up(phone: Device, clock: DevelopmentClock) -> None:
    """Case 43: a copy of the phone must not store a key that outlives the copy.

    The options and the PUT have the same rule.
    """
    early = silent().create(options_of(phone.post(OPTIONS, {})))
    clock.skip(MINUTES_5 - 1)
    in_time = silent().create(options_of(phone.post(OPTIONS, {})))
    clock.skip(2)
    for said in (phone.request("POST", OPTIONS), put_key(phone, in_time)):
        assert (said.status, said.code) == (401, "step_up_required")
    assert put_key(phone, early).code == "challenge_invalid"
    body = json.dumps({"credential": in_time}).encode()
    assert stepped(phone, "PUT", RESTORE_KEY, body).status == 204
    with_options = silent().create(options_of(stepped(phone, "POST", OPTIONS)))
    assert put_key(phone, with_options).status == 204


def test_only_a_login_that_is_bound_to_a_key_keeps_one(make_device: MakeDevice, phone: Device) -> None:
    """The restore key is stored under the device key."""
    del phone
    unbound = make_device(client_id="tablet", bound=False)
    assert unbound.login(EMAIL).status == 200
    for method, path in (("POST", OPTIONS), ("PUT", RESTORE_KEY), ("DELETE", RESTORE_KEY)):
        said = unbound.request(method, path, b'{"credential":{}}' if method == "PUT" else b"", JSON)
        assert (said.status, said.code) == (401, "signature_required")


@pytest.mark.parametrize(
    ("lies", "code"),
    [
        pytest.param({"origin": "https://evil.example"}, "invalid_passkey", id="foreign origin"),
        pytest.param({"rp_id": "evil.example"}, "invalid_passkey", id="for another RP ID"),
        pytest.param({"flags": BS}, "invalid_passkey", id="backed up, but not eligible"),
        pytest.param({"client": {"challenge": "A" * 100}}, "challenge_invalid", id="a challenge of nobody"),
    ],
)
def test_a_lie_keeps_no_key(phone: Device, lies: dict[str, Any], code: str) -> None:
    """The checks are those of a passkey, but no person need be present."""
    assert put_key(phone, silent().create(options_of(phone.post(OPTIONS, {})), **lies)).code == code


def test_a_challenge_of_another_ceremony_or_login_keeps_no_key(make_device: MakeDevice, phone: Device) -> None:
    """The challenge is for a passkey, an upgrade, or another device.

    A challenge for a restore key adds no passkey either.
    """
    second = make_device()
    second.login(EMAIL)
    for options in (
        options_of(stepped(phone, "POST", PASSKEY_OPTIONS)),
        options_of(phone.post(UPGRADE, {})),
        options_of(second.post(OPTIONS, {})),
    ):
        assert put_key(phone, silent().create(options)).code == "challenge_invalid"
    credential = silent().create(options_of(phone.post(OPTIONS, {})))
    assert phone.post("/me/passkeys", {"credential": credential}).code == "challenge_invalid"


def test_a_challenge_of_earlier_credentials_keeps_no_key(phone: Device) -> None:
    """The password changed after the options were fetched."""
    credential = silent().create(options_of(phone.post(OPTIONS, {})))
    body = json.dumps({"new_password": NEW_PASSWORD}).encode()
    assert stepped(phone, "POST", "/me/password", body).status == 204
    assert put_key(phone, credential).code == "challenge_invalid"


# --- Restoring ----------------------------------------------------------------------------------------------------


def test_a_login_is_restored_on_a_new_phone(
    deployment: Deployment, phone: Device, new_phone: Device, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """The new login has the lowest level, the old phone stays logged in, and the owner sees the source of the login."""
    clock.skip(DAY_S)
    assert phone.exchange().status == 200
    options = options_of(restore_options(new_phone))
    assert (options["allowCredentials"], options["userVerification"]) == ([], "discouraged")
    said = send_restore(new_phone, platform.get(options))
    assert said.status == 200
    shown = new_phone.get("/me").members
    assert (shown["acr"], shown["amr"]) == ("0", ["pop"])
    assert phone.get("/me").members["acr"] == "aal1"
    devices = {one["device_id"]: one for one in new_phone.get("/me/devices").members["devices"]}
    assert devices[device_of(new_phone)]["restored_from"] == device_of(phone)
    assert devices[device_of(phone)]["restored_from"] is None
    newest = events(phone)[0]
    assert (newest["event"], newest["details"]) == (
        "restored_on_new_device",
        {"client": "mobile", "restored_from": device_of(phone)},
    )
    _account, state = account_of(deployment)
    restored, parent = (state.lineages[LineageId(device_of(one))] for one in (new_phone, phone))
    assert restored.expires_at == parent.expires_at
    assert new_phone.exchange().status == 200


def test_a_restored_login_has_itself_restored_and_lengthens_nothing(
    make_device: MakeDevice,
    deployment: Deployment,
    phone: Device,
    new_phone: Device,
    platform: Authenticator,
    clock: DevelopmentClock,
) -> None:
    """The expiry is inherited, also over several restores."""
    assert restore(new_phone, platform).status == 200
    clock.skip(DAY_S)
    assert phone.exchange().status == 200
    second, again = make_device(), silent()
    assert restore(second, platform).status == 200
    assert keep(second, again).status == 204
    third = make_device()
    assert restore(third, again).status == 200
    _account, state = account_of(deployment)
    assert len({one.expires_at for one in state.lineages.values()}) == 1


def test_a_repeated_restore_gets_the_same_tokens(new_phone: Device, platform: Authenticator) -> None:
    """The answer was lost. The repetition has the same attempt and signature, and counts as one restore."""
    key = attempt()
    credential = platform.get(options_of(restore_options(new_phone)))
    said = [send_restore(new_phone, credential, attempt=key) for _ in range(7)]
    assert {one.status for one in said} == {200}
    assert len({one.members["device_id"] for one in said}) == 1
    assert [one["event"] for one in events(new_phone)].count("restored_on_new_device") == 1


def test_an_assertion_restores_once(make_device: MakeDevice, new_phone: Device, platform: Authenticator) -> None:
    """Case 39: it is replayed with another attempt, by another key, and by many phones at the same time."""
    thief = make_device()
    credential = platform.get(options_of(restore_options(new_phone)))
    assert send_restore(thief, credential).code == "challenge_invalid"
    assert send_restore(new_phone, credential, attempt=attempt()).status == 200
    assert send_restore(new_phone, credential, attempt=attempt()).code == "challenge_invalid"
    credential = platform.get(options_of(restore_options(new_phone)))
    with ThreadPoolExecutor(RACERS) as pool:
        said = list(pool.map(lambda _: send_restore(new_phone, credential, attempt=attempt()), range(RACERS)))
    assert sorted(one.status for one in said) == [200] + [409] * (RACERS - 1)


def test_a_challenge_of_another_ceremony_restores_nothing(
    make_device: MakeDevice, phone: Device, new_phone: Device, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """The challenge is late, or for a passkey login, a step-up or a restore key.

    A restore challenge does not log in with a passkey either.
    """
    mine = Authenticator()
    assert add(phone, mine).status == 201
    for options in (
        options_of(sign_in_options(new_phone)),
        options_of(step_up_options(phone, "DELETE", "/me")),
        options_of(phone.post(OPTIONS, {})),
    ):
        assert send_restore(new_phone, platform.get(options)).code == "challenge_invalid"
    assert send_passkey(new_phone, mine.get(options_of(restore_options(new_phone)))).code == "challenge_invalid"
    late = platform.get(options_of(restore_options(make_device())))
    clock.skip(TICKET_PURPOSES["challenge"].life_s)
    assert send_restore(new_phone, late).code == "challenge_invalid"


def logged_out(phone: Device, other: Device) -> None:
    """Log the old phone out."""
    del other
    assert phone.post("/logout", {}).status == 204


def stolen(phone: Device, other: Device) -> None:
    """Use a token of the old phone twice."""
    del other
    first = str(phone.tokens["refresh_token"])
    phone.exchange(first)
    assert phone.exchange(first).code == "token_reused"


def removed(phone: Device, other: Device) -> None:
    """Remove the old phone by another device of the account."""
    assert stepped(other, "DELETE", f"/me/devices/{device_of(phone)}").status == 204


def everywhere(phone: Device, other: Device) -> None:
    """Log out everywhere."""
    del phone
    assert stepped(other, "POST", "/logout", b'{"everywhere":true}').status == 204


def password_elsewhere(phone: Device, other: Device) -> None:
    """Change the password by another device."""
    del phone
    body = json.dumps({"new_password": NEW_PASSWORD}).encode()
    assert stepped(other, "POST", "/me/password", body).status == 204


def deleted(phone: Device, other: Device) -> None:
    """Delete the account."""
    del phone
    assert stepped(other, "DELETE", "/me").status == 204


KILLED_BY: Final = [logged_out, stolen, removed, everywhere, password_elsewhere, deleted]


@pytest.mark.parametrize("kill", KILLED_BY)
@pytest.mark.parametrize("fetched", ["before", "after"])
def test_a_restore_key_dies_with_its_login(
    make_device: MakeDevice,
    phone: Device,
    new_phone: Device,
    platform: Authenticator,
    kill: Callable[[Device, Device], None],
    fetched: str,
) -> None:
    """Case 40: no restore key has to be deleted. The answer tells the phone that the key no longer works."""
    other = make_device()
    assert other.login(EMAIL).status == 200
    early = options_of(restore_options(new_phone))
    kill(phone, other)
    options = early if fetched == "before" else options_of(restore_options(new_phone))
    said = send_restore(new_phone, platform.get(options))
    assert (said.status, said.code, said.members["action"]) == (401, "unknown_passkey", "log_in")
    assert said.members["rp_id"] == "example.com"


@pytest.mark.parametrize("kill", [logged_out, stolen, removed, everywhere])
def test_a_later_login_does_not_revive_a_restore_key(
    make_device: MakeDevice,
    phone: Device,
    new_phone: Device,
    platform: Authenticator,
    kill: Callable[[Device, Device], None],
    clock: DevelopmentClock,
) -> None:
    """Bug: after a login with the same device key, a copy of the old restore key worked again."""
    other = make_device()
    assert other.login(EMAIL).status == 200
    kill(phone, other)
    clock.skip(ISSUED_AHEAD_MAX_S + 1)
    assert phone.login(EMAIL).status == 200
    assert restore(new_phone, platform).code == "unknown_passkey"
    assert keep(phone, platform).status == 204
    assert restore(new_phone, platform).status == 200


def test_a_password_change_keeps_the_restore_key_of_its_own_device(
    phone: Device, new_phone: Device, platform: Authenticator
) -> None:
    """The restore keys of the other devices no longer work."""
    password_elsewhere(phone, phone)
    assert restore(new_phone, platform).status == 200


def test_a_disabled_account_restores_nothing(
    deployment: Deployment, baton: Any, phone: Device, new_phone: Device, platform: Authenticator
) -> None:
    """Enabling the account revives no login, so its restore keys stay useless."""
    del phone
    for status in (Status.DISABLED, Status.ACTIVE):
        set_status(baton, status)
        assert restore(new_phone, platform).code == "unknown_passkey"


def test_a_raised_not_before_time_ends_every_restore_key(
    deployment: Deployment, phone: Device, new_phone: Device, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """An operator raises this time after the restore of a backup."""
    del phone
    ring = deployment.tables.ring
    assert ring is not None
    deployment.tables.ring = replace(ring, not_before=int(clock.time()) + 1)
    clock.skip(KEY_RING_REFRESH_S + 1)
    try:
        assert restore(new_phone, platform).code == "unknown_passkey"
    finally:  # the environments keep the ring for the next tests
        deployment.tables.ring = ring
        clock.skip(KEY_RING_REFRESH_S + 1)
        assert restore(new_phone, platform).status == 200


def test_an_idle_or_expired_login_restores_nothing(
    phone: Device, new_phone: Device, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """The idle limit is 30 days."""
    del phone
    clock.skip(31 * DAY_S)
    assert restore(new_phone, platform).code == "unknown_passkey"


def test_a_login_that_ends_between_the_read_and_the_write_is_not_restored(
    deployment: Deployment, phone: Device, new_phone: Device, platform: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 41: the condition of the admission includes the login of the old phone."""
    store = type(deployment.environments[0].baton.ephemeral)
    consume = store.consume_ticket

    def ending(self: Any, *given: Any, **named: Any) -> Any:
        _account, state = account_of(deployment)
        parent = state.lineages[LineageId(device_of(phone))]
        ended = Ended(parent.issued_at, EndReason.REUSE)
        change_lineage(deployment, replace(parent, ended=ended, attempts=(bytes(8),) * 4))
        return consume(self, *given, **named)

    credential = platform.get(options_of(restore_options(new_phone)))
    monkeypatch.setattr(store, "consume_ticket", ending)
    assert send_restore(new_phone, credential).code == "unknown_passkey"
    _account, state = account_of(deployment)
    assert len(state.lineages) == 1


def test_five_restores_a_day(make_device: MakeDevice, platform: Authenticator, clock: DevelopmentClock) -> None:
    """Case 42: the sixth restore must wait until the next day."""
    for _ in range(5):
        assert restore(make_device(), platform).status == 200
    said = restore(make_device(), platform)
    assert (said.status, said.code) == (429, "too_many_requests")
    assert int(said.headers["retry-after"]) == DAY_S - int(clock.time()) % DAY_S
    clock.skip(int(said.headers["retry-after"]))
    assert restore(make_device(), platform).status == 200


def test_a_restore_leaves_the_login_of_the_old_phone_in_a_full_account(
    deployment: Deployment, phone: Device, new_phone: Device, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """The account is full, and the old phone's login was used least recently. Another login is removed instead."""
    clock.skip(LINEAGE_KEPT_S + 1)
    _account, state = account_of(deployment)
    parent = state.lineages[LineageId(device_of(phone))]
    for number in range(LINEAGES_MAX - 1):
        binding = KeyBinding(bytes([number]) * 32)
        one = LineageId(f"AQAAAAAAAAAAAA{number:02}")
        change_lineage(deployment, replace(parent, id=one, binding=binding, issued_at=parent.issued_at + 60))
    assert restore(new_phone, platform).status == 200
    _account, state = account_of(deployment)
    assert len(state.lineages) == LINEAGES_MAX
    assert parent.id in state.lineages


@pytest.mark.parametrize(
    "lies",
    [
        pytest.param({"origin": "https://evil.example"}, id="foreign origin"),
        pytest.param({"origin": "https://example.co.uk"}, id="of another client"),
        pytest.param({"client": {"crossOrigin": True}}, id="in a frame of another origin"),
        pytest.param({"client": {"type": "webauthn.create"}}, id="a registration"),
        pytest.param({"flags": BS}, id="backed up, but not eligible"),
        pytest.param({"rp_id": "evil.example"}, id="for another RP ID"),
        pytest.param({"after": b"x"}, id="a byte that follows"),
        pytest.param({"user_handle": None}, id="without an account"),
        pytest.param({"user_handle": b"x"}, id="a short account"),
    ],
)
def test_a_lie_restores_nothing(new_phone: Device, platform: Authenticator, lies: dict[str, Any]) -> None:
    """The hint names the failed check, and the challenge can still be used. No person need be present."""
    options = options_of(restore_options(new_phone))
    said = send_restore(new_phone, platform.get(options, **lies))
    assert (said.status, said.code) == (400, "invalid_passkey")
    assert said.members["hint"]
    assert send_restore(new_phone, platform.get(options)).status == 200


def test_a_signature_of_another_key_restores_nothing(new_phone: Device, platform: Authenticator) -> None:
    """The credential id and the account are public. Only a signature by the restore key restores the login."""
    forged = Authenticator(flags=0, credential_id=platform.credential_id, user_handle=platform.user_handle)
    said = restore(new_phone, forged)
    assert (said.status, said.code) == (400, "invalid_passkey")
    assert "signature" in said.members["hint"]
    credential = platform.get(options_of(restore_options(new_phone)))
    credential["response"]["authenticatorData"] = forged.get({"challenge": ""}, counter=1)["response"][
        "authenticatorData"
    ]
    assert send_restore(new_phone, credential).code == "invalid_passkey"


def test_an_unknown_key_or_account_restores_nothing(new_phone: Device, platform: Authenticator) -> None:
    """The request has an unknown key, or an account that does not exist."""
    assert restore(new_phone, silent(), user_handle=platform.user_handle).code == "unknown_passkey"
    assert restore(new_phone, platform, user_handle=b"x" * 12).code == "unknown_passkey"


def test_a_passkey_is_no_restore_key_and_a_restore_key_is_no_passkey(
    phone: Device, new_phone: Device, platform: Authenticator
) -> None:
    """Case 42: neither is accepted in place of the other. A restore key cannot step up either."""
    mine = Authenticator()
    assert add(phone, mine).status == 201
    assert restore(new_phone, mine).code == "unknown_passkey"
    for flags in (0, 5):
        said = send_passkey(new_phone, platform.get(options_of(sign_in_options(new_phone)), flags=flags))
        assert said.code == "unknown_passkey"
        credential = platform.get(options_of(step_up_options(phone, "DELETE", "/me")), flags=flags)
        assert grant_of(phone, "DELETE", "/me", passkey=credential).code == "unknown_passkey"


def test_a_new_phone_restores_with_its_own_key(make_device: MakeDevice, phone: Device, platform: Authenticator) -> None:
    """A restored login is always bound to a key, even if the client does not require it."""
    del phone, platform
    unbound = make_device(client_id="tablet", bound=False)
    assert restore_options(unbound).code == "signature_required"


# --- What a restored login may not do, and who is not restored ------------------------------------------------------


def test_a_restored_login_steps_up_with_the_password(new_phone: Device, platform: Authenticator) -> None:
    """Even right after the restore, it cannot add a passkey without a step-up."""
    assert restore(new_phone, platform).status == 200
    assert new_phone.post(UPGRADE, {}).code == "step_up_required"
    assert new_phone.request("POST", PASSKEY_OPTIONS).code == "step_up_required"
    assert stepped(new_phone, "POST", PASSKEY_OPTIONS).status == 200
    assert stepped(new_phone, "POST", PASSKEY_OPTIONS, password="wrong " + PASSWORD).code == "invalid_credentials"


def test_a_login_by_password_replaces_a_restored_one(
    deployment: Deployment, new_phone: Device, platform: Authenticator
) -> None:
    """The key is the same. Afterwards the level is that of the password."""
    assert restore(new_phone, platform).status == 200
    restored = device_of(new_phone)
    assert new_phone.login(EMAIL).status == 200
    assert new_phone.get("/me").members["acr"] == "aal1"
    _account, state = account_of(deployment)
    assert state.lineages[LineageId(restored)].ended is not None


def test_an_account_that_is_asked_for_a_second_factor_is_not_restored(
    phone: Device, new_phone: Device, platform: Authenticator
) -> None:
    """Case 43: the owner switched the second factor on after the restore key was stored. The key then fails."""
    assert add(phone, Authenticator()).status == 201
    switch_on(phone)
    for said in (restore(new_phone, platform), keep(phone, silent())):
        assert (said.status, said.code, said.members["action"]) == (403, "restore_refused", "log_in")


@pytest.mark.parametrize("role", ["admin", "support"])
def test_a_role_that_requires_a_second_factor_refuses_a_restore(
    baton: Any, phone: Device, new_phone: Device, platform: Authenticator, role: str
) -> None:
    """Case 43: the account then needs a second factor.

    With another role the login is restored, and the tokens have the role.
    """
    del phone
    set_roles(baton, role)
    said = restore(new_phone, platform)
    if role == "admin":
        assert said.code == "restore_refused"
        set_roles(baton)
        assert restore(new_phone, platform).status == 200
        set_roles(baton, role)
        assert new_phone.get("/me").members["roles"] == []
    else:
        assert new_phone.get("/me").members["roles"] == ["support"]


def test_a_restored_login_does_not_keep_its_key_remembered(
    deployment: Deployment, phone: Device, new_phone: Device, platform: Authenticator, clock: DevelopmentClock
) -> None:
    """Case 28: the device key was remembered, but the only login with this key is a restored login.

    So a login with the key needs the second factor.
    """
    assert restore(new_phone, platform).status == 200
    assert add(phone, Authenticator()).status == 201
    switch_on(phone)
    account, _state = account_of(deployment)
    user = deployment.tables.users[account]
    key = next(one.binding for one in _state.lineages.values() if one.id == device_of(new_phone))
    name = key_id(key)
    assert name is not None
    factors = replace(user.factors, remembered={name: int(clock.time())})
    deployment.tables.users[account] = replace(user, factors=factors)
    assert ask(new_phone).code == "factor_required"


def test_a_client_that_does_not_offer_it_restores_nothing(
    make_device: MakeDevice, phone: Device, new_phone: Device
) -> None:
    """It can neither store a key nor restore a login. A client without passkeys gets 404."""
    del phone, new_phone
    other = make_device(client_id="simple")
    assert other.login(EMAIL).status == 200
    for said in (keep(other, silent()), restore_options(other)):
        assert (said.status, said.code) == (403, "restore_refused")
    body = {"client_id": "simple", "device": other.entry("")["device"], "credential": silent().get({"challenge": "A"})}
    assert other.post("/login/restore", body, token=None).code == "restore_refused"
    without = make_device(client_id="forgetful")
    assert without.login(EMAIL).status == 200
    assert keep(without, silent()).status == restore_options(without).status == 404


def test_a_login_is_restored_in_its_own_client(make_device: MakeDevice, phone: Device, platform: Authenticator) -> None:
    """Another client may have other rights."""
    del phone
    other = make_device(client_id="tablet")
    said = restore(other, platform)
    assert (said.status, said.code) == (403, "restore_refused")


def test_a_login_with_an_hmac_secret_has_no_restore_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: an assertion failed, so the answer was 500. The request of the options is refused too."""
    monkeypatch.setattr(settings, "_FOLDER", FOLDER)
    world = World(APP, settings={"BATON_CLIENTS": "clients-factors.toml"})
    phone = world.phone(binding="hmac")
    for method, path in (("POST", f"{RESTORE_KEY}/options"), ("PUT", RESTORE_KEY), ("DELETE", RESTORE_KEY)):
        refused = phone.request(method, path, json={"credential": {}} if method == "PUT" else None)
        assert (refused.status, refused.code) == (403, "restore_refused")
        assert "restore_refused" in str(description()["paths"][path][method.lower()]["responses"]["403"])
    bound = world.phone()
    assert bound.request("POST", f"{RESTORE_KEY}/options").status == 200
    assert bound.request("DELETE", RESTORE_KEY).status == 204
    world.close()
