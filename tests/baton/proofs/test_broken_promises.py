"""Regression tests: one for each attack that broke a guarantee. The name states the correct behaviour."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import NO_RIGHTS, Ended, EndReason, Status
from chalicelib.baton.policy import FAILURES_PER_ACCOUNT_MAX, LINEAGES_MAX
from chalicelib.baton.proof.refusals import SignatureDefective, WrongKey
from chalicelib.baton.proof.signature import content_digest
from chalicelib.baton.routing import StepUp
from chalicelib.baton.tokens.caller import Caller, Operation
from chalicelib.baton.tokens.refusals import GrantInvalid, TokenExpired, UnknownClient
from tests.baton.world import EMAIL, PASSWORD, Phone, World

NEW_PASSWORD = "granite umbrella conversation"


def reason_of(world: World, device: LineageId) -> EndReason | None:
    """Read the reason for the end of a lineage."""
    [account_state] = world.stores.tables.lineages.values()
    ended = account_state.lineages[device].ended
    return ended.reason if ended else None


def grant_for(world: World, phone: Phone, token: str, method: str, path: str, body: bytes = b"") -> str:
    """Prove the password for one operation."""
    caller = world.use(phone, token, "POST", "/api/step-up")
    return world.grant_step_up(caller, Operation(method, path, content_digest(body)), PASSWORD).grant


# --- 1, 2: a complete copy of a device ---------------------------------------------------------------------------


@pytest.mark.guarantee(5)
@pytest.mark.parametrize("kind", ["P-256", "hmac"])
def test_a_copy_that_exchanged_twice_ends_at_its_owners_next_login(world: World, kind: str) -> None:
    """Bug: the owner got `superseded` and logged in again with the same key, and the copy worked for 90 days."""
    phone = world.phone(kind)
    stolen = world.register(phone, client_id="mobile")
    copy = world.phone(kind)
    copy.private, copy.key_id, copy.secret = phone.private, phone.key_id, phone.secret
    attempt = world.attempt()
    first = world.exchange(copy, stolen.access_token, attempt=attempt)
    second = world.exchange(copy, first.access_token, attempt=world.attempt())
    with pytest.raises(errors.Superseded):
        world.exchange(phone, stolen.access_token, attempt=attempt)
    own = world.login(phone)
    for act in (
        lambda: world.use(copy, second.access_token),
        lambda: world.exchange(copy, second.access_token, attempt=world.attempt()),
    ):
        with pytest.raises(errors.LoginRequired) as refused:
            act()
        assert refused.value.members["reason"] == "replaced"
    assert world.use(phone, own.access_token)
    assert [(event, facts["lineage"]) for event, facts in world.log.recorded if event == "login_replaced"] == [
        ("login_replaced", stolen.device_id)
    ]


@pytest.mark.guarantee(5)
def test_a_login_does_not_end_the_logins_of_other_keys(world: World) -> None:
    """Only the logins of the same key end."""
    phone, tablet, bearer = world.phone(), world.phone(), world.phone("none")
    world.register(phone)
    others = [(tablet, world.login(tablet)), (bearer, world.login(bearer, client_id="simple"))]
    world.login(phone)
    world.login(world.phone("none"), client_id="simple")
    for device, issued in others:
        assert world.use(device, issued.access_token)


@pytest.mark.guarantee(5)
def test_a_copy_cannot_use_the_previous_token_until_it_expires(world: World) -> None:
    """Bug: a copy repeated the owner's exchange, and used that child for 15 minutes after the owner's next exchange."""
    phone = world.phone()
    stolen = world.register(phone)
    attempt = world.attempt()
    first = world.exchange(phone, stolen.access_token, attempt=attempt)
    copied = world.exchange(phone, stolen.access_token, attempt=attempt)
    assert copied.access_token == first.access_token
    world.exchange(phone, first.access_token, attempt=world.attempt())
    world.clock.skip(60)
    assert world.use(phone, copied.access_token)
    world.clock.skip(1)
    with pytest.raises(TokenExpired):
        world.use(phone, copied.access_token)


# --- 3: writes on behalf of a caller ------------------------------------------------------------------------------

Act = Callable[[World, Caller, LineageId], object]
ACTS: dict[str, Act] = {
    "delete": lambda world, caller, _: world.delete(caller),
    "end a device": lambda world, caller, other: world.end_device(caller, other),
    "log out everywhere": lambda world, caller, _: world.logout(caller, everywhere=True),
    "change the password": lambda world, caller, _: world.change_password(caller, NEW_PASSWORD),
}
ENDS: dict[str, Act] = {
    "a new password": lambda world, caller, _: world.change_password(caller, "marble octopus dictionary"),
    "its end by the owner": lambda world, caller, other: world.end_device(caller, other),
    "an end of all": lambda world, caller, _: world.logout(caller, everywhere=True),
    "the operator": lambda world, _caller, _: world.set_status(EMAIL, Status.DISABLED),
}


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("act", ACTS)
def test_a_login_that_ended_after_its_request_was_accepted_changes_nothing(world: World, act: str, end: str) -> None:
    """Bug: a password change and a deletion by another device overlapped.

    Both succeeded, and the account was deleted.
    """
    phone, tablet = world.phone(), world.phone()
    mine, theirs = world.register(phone), world.login(tablet)
    owner, other = world.use(phone, mine.access_token), world.use(tablet, theirs.access_token)
    ENDS[end](world, owner, theirs.device_id)
    [before] = world.stores.tables.lineages.values()
    users = dict(world.stores.tables.users)
    noted = len(world.stores.audit.events)
    with pytest.raises(errors.LoginRequired):
        ACTS[act](world, other, mine.device_id)
    assert [*world.stores.tables.lineages.values()] == [before]
    assert world.stores.tables.users == users
    assert len(world.stores.audit.events) == noted


# --- 4: a grant proved with the old password ---------------------------------------------------------------------


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/me/password", b'{"new_password":"..."}'),
        ("DELETE", "/api/me", b""),
        ("POST", "/api/transfers", b'{"to":"bob"}'),
    ],
)
def test_a_grant_proved_with_the_old_password_is_refused_after_a_password_change(
    world: World, method: str, path: str, body: bytes
) -> None:
    """The login that changed the password stays active, but its grant is refused too."""
    phone = world.phone()
    issued = world.register(phone)
    grant = grant_for(world, phone, issued.access_token, method, path, body)
    world.change_password(world.use(phone, issued.access_token), NEW_PASSWORD)
    with pytest.raises(GrantInvalid):
        world.use(phone, issued.access_token, method, path, body=body, grant=grant, step_up=StepUp())


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("act", ACTS)
def test_a_caller_accepted_before_a_password_change_cannot_use_the_old_password(world: World, act: str) -> None:
    """Two requests of one device, each with a grant: the second request was accepted before the write of the first."""
    phone, tablet = world.phone(), world.phone()
    mine = world.register(phone)
    other = world.login(tablet).device_id
    first, second = (world.use(phone, mine.access_token) for _ in range(2))
    world.change_password(first, "marble octopus dictionary")
    [before] = world.stores.tables.lineages.values()
    with pytest.raises(GrantInvalid):
        ACTS[act](world, second, other)
    assert [*world.stores.tables.lineages.values()] == [before]


# --- 5: ended never becomes active again -------------------------------------------------------------------------


@pytest.mark.guarantee(7)
def test_a_logged_out_token_does_not_work_after_its_login_is_repeated(world: World) -> None:
    """Bug: the token worked after login, logout, six more logins and the first login again within one second."""
    world.register(world.phone())
    phone = world.phone("none")
    attempt = world.attempt()
    issued = world.login(phone, client_id="simple", attempt=attempt)
    world.logout(world.use(phone, issued.access_token), everywhere=False)
    for _ in range(LINEAGES_MAX - 2):
        world.login(world.phone("none"), client_id="simple")
    with pytest.raises(errors.TooManyRequests) as full:
        world.login(world.phone("none"), client_id="simple")
    assert full.value.retry_after == 660
    with pytest.raises(errors.Superseded):
        world.login(phone, client_id="simple", attempt=attempt)
    with pytest.raises(errors.LoginRequired):
        world.use(phone, issued.access_token)


@pytest.mark.guarantee(11)
def test_a_thief_who_fills_the_account_with_logins_does_not_block_its_owner(world: World) -> None:
    """After the owner's password change, the thief's lineages can be removed at any age."""
    phone = world.phone()
    mine = world.register(phone)
    for _ in range(LINEAGES_MAX - 1):
        world.login(world.phone("none"), client_id="simple")
    world.change_password(world.use(phone, mine.access_token), NEW_PASSWORD)
    assert world.login(world.phone(), password=NEW_PASSWORD)
    assert world.use(phone, mine.access_token)


# --- 8: wrong passwords of strangers and an HMAC device -----------------------------------------------------------


@pytest.mark.guarantee(11)
def test_wrong_passwords_of_strangers_do_not_delay_the_login_of_an_hmac_device(world: World) -> None:
    """Ten wrong guesses reach the account's limit. The device signs with its last login and has its own limit."""
    phone = world.phone("hmac")
    first = world.register(phone)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        with pytest.raises(InvalidCredentials):
            world.login(world.phone("hmac"), password="a stranger guesses")
    with pytest.raises(errors.TooManyRequests):
        world.login(world.phone("hmac"))
    again = world.login(phone)
    assert again.device_id != first.device_id
    assert reason_of(world, first.device_id) is EndReason.REPLACED


@pytest.mark.guarantee(11)
@pytest.mark.parametrize("known", [False, True], ids=["of another account", "removed"])
def test_an_hmac_secret_identifies_a_device_to_its_own_account_only(world: World, *, known: bool) -> None:
    """A stranger with another account is not a known device of this account."""
    owner, stranger = world.phone("hmac"), world.phone("hmac")
    world.register(owner)
    world.register(stranger, email="eve@example.com")
    if known:
        [account_state] = [one for one in world.stores.tables.lineages.values() if stranger.key_id in one.lineages]
        world.stores.tables.lineages[account_state.account] = replace(account_state, lineages={})
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        with pytest.raises(InvalidCredentials):
            world.login(stranger, password="a stranger guesses")
    with pytest.raises(errors.TooManyRequests):
        world.login(stranger)


def test_an_hmac_login_signed_with_another_secret_is_refused(world: World) -> None:
    """A signature is verified or refused, never ignored."""
    phone = world.phone("hmac")
    world.register(phone)
    phone.secret = bytes(32)
    with pytest.raises(SignatureDefective):
        world.login(phone)
    phone.key_id = "no lineage id"
    with pytest.raises(WrongKey):
        world.login(phone)


# --- 1: the owner reports the copy (client rule 8) ---------------------------------------------------------------


@pytest.mark.guarantee(5)
@pytest.mark.parametrize(("exchanges", "reason"), [(0, "logout"), (1, "logout"), (2, "reuse"), (5, "reuse")])
def test_a_revocation_by_the_own_key_with_an_old_token_reports_a_copy(
    world: World, exchanges: int, reason: str
) -> None:
    """The owner never stored generation g + 1, so only a copy could have exchanged it."""
    phone = world.phone()
    issued = world.register(phone)
    token = issued.access_token
    for _ in range(exchanges):
        token = world.exchange(phone, token, attempt=world.attempt()).access_token
    message = phone.message("POST", "/api/oauth/revoke", body=b"form")
    world.revoke(message, token=issued.access_token, client_id=None)
    assert reason_of(world, issued.device_id) == reason
    noted = [event.event for event in world.stores.audit.events if event.lineage == issued.device_id]
    assert noted[-1:] == ["token_reused" if reason == "reuse" else "revoked"]


# --- 2, list of devices: active logins stay ----------------------------------------------------------------------


@pytest.mark.parametrize("client_id", ["legacy", "iot"])
def test_a_login_in_daily_use_is_removed_after_an_unused_login(world: World, client_id: str) -> None:
    """Bug: the iat of a session never changes, so the most active login was removed first."""
    old = world.phone("none")
    used = world.register(old, client_id=client_id)
    idle = world.phone()
    world.clock.skip(60)
    forgotten = world.login(idle)
    for _ in range(LINEAGES_MAX - 2):
        world.clock.skip(3600)
        world.login(world.phone())
    if client_id == "legacy":
        world.exchange(old, str(used.refresh_token))
    else:
        world.use(old, used.access_token)
    world.login(world.phone())
    [account_state] = world.stores.tables.lineages.values()
    assert used.device_id in account_state.lineages
    assert forgotten.device_id not in account_state.lineages


# --- 13: data of a deleted account -------------------------------------------------------------------------------


@pytest.mark.guarantee(10)
def test_a_deleted_account_keeps_no_device_name(world: World) -> None:
    """Its state stays so that the id is not used again. Bug: the state kept device names permanently."""
    phone = world.phone()
    world.delete(world.use(phone, world.register(phone).access_token))
    [account_state] = world.stores.tables.lineages.values()
    assert (account_state.status, dict(account_state.lineages)) == (Status.DELETED, {})
    assert "Ada" not in repr(world.stores.tables.lineages)


@pytest.mark.guarantee(7)
def test_a_forged_token_of_an_active_login_is_refused(world: World) -> None:
    """A leaked key can sign any claims, but only the account state has the iat of the current generation."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="simple")
    proved = world.call.proof.token(issued.access_token, now=world.clock())
    forged = replace(proved.presented("x"), issued_at=world.clock() - 1)
    lineage_store = world.stores.lineage_store
    verdict = lineage_store.exchange(forged, now=world.clock(), not_before=0, idle_s=10**9)
    assert type(verdict).__name__ == "Inactive"


def test_a_disabled_account_gives_the_reason(world: World) -> None:
    """The reason is `account_disabled`. It stays after the account is enabled again."""
    phone = world.phone()
    issued = world.register(phone)
    for status in (Status.DISABLED, Status.ACTIVE):
        world.set_status(EMAIL, status)
        with pytest.raises(errors.LoginRequired) as refused:
            world.use(phone, issued.access_token)
        assert refused.value.members["reason"] == "account_disabled"
    [account_state] = world.stores.tables.lineages.values()
    assert account_state.raised == Ended(world.clock(), EndReason.ACCOUNT_DISABLED)


# --- Found by a second attack ------------------------------------------------------------------------------------


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("client_id", ["simple", "session-api", "legacy", "oauth"])
def test_a_login_request_repeated_late_does_not_restore_a_logged_out_token(world: World, client_id: str) -> None:
    """Eleven minutes after the login, the test renews, logs out and evicts.

    In the same second it repeats the unsigned login.
    """
    world.register(world.phone())
    phone = world.phone("none")
    attempt = world.attempt()
    issued = world.login(phone, client_id=client_id, attempt=attempt)
    for _ in range(LINEAGES_MAX - 2):
        world.login(world.phone())
    world.clock.skip(700)
    renewed = world.exchange(phone, str(issued.refresh_token), attempt=world.attempt())
    world.logout(world.use(phone, renewed.access_token), everywhere=False)
    world.login(world.phone())
    with pytest.raises(errors.Superseded):
        world.login(phone, client_id=client_id, attempt=attempt)
    with pytest.raises(errors.LoginRequired):
        world.use(phone, renewed.access_token)


@pytest.mark.guarantee(4)
def test_a_token_of_another_binding_ends_no_login(world: World) -> None:
    """A leaked key signs a token without a key for a bound login, and sends it unsigned to the revocation route."""
    phone, bearer = world.phone(), world.phone("none")
    bound = world.register(phone)
    unbound = world.register(bearer, email="eve@example.com", client_id="simple")
    mine = world.call.proof.token(bound.access_token, now=world.clock()).token
    theirs = world.call.proof.token(unbound.access_token, now=world.clock())
    forged = replace(theirs.token, account=mine.account, lineage=mine.lineage)
    key_ring = world.key_ring.ring
    text = world.issue._mint(
        forged,
        world.stores.tables.lineages[mine.account].lineages[mine.lineage],
        client=theirs.client,
        ring=key_ring,
        now=world.clock(),
        rights=NO_RIGHTS,
    )
    world.revoke(bearer.message("POST", "/api/oauth/revoke", body=b"form"), token=text, client_id=None)
    assert world.use(phone, bound.access_token)


@pytest.mark.guarantee(5)
def test_two_logins_by_one_key_at_a_full_account_leave_one_login(world: World) -> None:
    """Each login adds one lineage and removes one, so the number of lineages does not reveal the other login."""
    world.register(world.phone())
    for _ in range(LINEAGES_MAX - 1):
        world.login(world.phone("none"), client_id="simple")
    world.clock.skip(700)
    phone, add_lineage, lineage_store = (
        world.phone(),
        world.stores.lineage_store.add_lineage,
        world.stores.lineage_store,
    )
    [before] = world.stores.tables.lineages.values()

    def admit_after_another(*arguments: object, **named: object) -> object:
        lineage_store.add_lineage = add_lineage  # type: ignore[method-assign]
        victim = next(one for one in before.lineages if before.lineages[one] not in named["removed"])  # type: ignore[operator]
        lineage_store.end(before.account, victim, EndReason.LOGOUT, now=world.clock() - 690)
        world.login(phone)
        return add_lineage(*arguments, **named)  # type: ignore[arg-type]

    lineage_store.add_lineage = admit_after_another  # type: ignore[assignment, method-assign]
    world.login(phone)
    [account_state] = world.stores.tables.lineages.values()
    key = phone.public_key.thumbprint
    live = [
        one
        for one in account_state.lineages.values()
        if getattr(one.binding, "thumbprint", b"") == key and not one.ended
    ]
    assert len(live) == 1


@pytest.mark.guarantee(9)
def test_a_wrong_deployment_answers_503_to_a_client_that_sends_its_id(world: World) -> None:
    """Bug: standard clients send `client_id`, which was refused as unknown before the token was read."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="oauth")
    del world.clients._by_id["oauth"]
    del world.clients._by_code[6]
    with pytest.raises(errors.Unavailable):
        world.exchange(phone, str(issued.refresh_token), client_id="oauth")
    with pytest.raises(UnknownClient):
        world.exchange(phone, "garbage", client_id="oauth")
