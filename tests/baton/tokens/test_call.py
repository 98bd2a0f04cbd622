"""Signed calls: authorization, consumed nonces and grants, and the end of a login.

Rows such as E1b are those of docs/baton/exchange.md.
"""

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.factors.refusals import InvalidCredentials, TooShort
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import Assurance, Status
from chalicelib.baton.lineages.rules import attempt_digest
from chalicelib.baton.policy import DAY_S, FAILURES_PER_KNOWN_DEVICE_MAX, GRANT_S, MINUTE_S
from chalicelib.baton.proof.refusals import InvalidDigest, SignatureRequired, WrongKey
from chalicelib.baton.proof.signature import content_digest
from chalicelib.baton.routing import Message, StepUp
from chalicelib.baton.tokens.caller import GrantUsed, Operation
from chalicelib.baton.tokens.exchange import TokenRequest
from chalicelib.baton.tokens.issue import TokenResponse
from chalicelib.baton.tokens.refusals import (
    GrantInvalid,
    InvalidClient,
    ReplayedNonce,
    StepUpRequired,
    TokenExpired,
    TokenInvalid,
    TokenReused,
    UnauthorizedClient,
)
from tests.baton.world import PASSWORD, RESOURCE_SERVER_SECRET, Phone, World

BODY = b'{"to":"Bob","amount":10}'
RULE = StepUp(max_age=120)
ALL_CLIENTS = {
    "mobile": "P-256",
    "mobile-opaque": "hmac",
    "simple": "none",
    "session-api": "none",
    "legacy": "none",
} | {
    "oauth": "none",
    "iot": "none",
}


def granted(
    world: World, phone: Phone, issued: TokenResponse, *, path: str = "/api/transfers", body: bytes = BODY
) -> str:
    """Get a step-up grant for one operation."""
    caller = world.use(phone, issued.access_token, "POST", "/api/step-up", body=b"{}")
    return world.grant_step_up(caller, Operation("POST", path, content_digest(body)), PASSWORD).grant


def transfer(
    world: World, phone: Phone, issued: TokenResponse, grant: str | None, *, body: bytes = BODY
) -> GrantUsed | None:
    """Call an operation that requires a step-up."""
    return world.use(
        phone, issued.access_token, "POST", "/api/transfers", body=body, grant=grant, step_up=RULE
    ).stepped_up


@pytest.mark.parametrize(("client_id", "kind"), ALL_CLIENTS.items())
def test_a_token_of_every_mechanism_authenticates_its_caller(world: World, client_id: str, kind: str) -> None:
    """The `Caller` has account, device, client, scope and the assurance of the login."""
    phone = world.phone(kind)
    issued = world.register(phone, client_id=client_id)
    caller = world.use(phone, issued.access_token)
    assert (caller.device_id, caller.client_id) == (issued.device_id, client_id)
    assert caller.scope == {"account"}
    assert caller.bound == (kind != "none")
    assert caller.acr == "aal1"
    assert caller.stepped_up is None


@pytest.mark.guarantee(4)
def test_a_bound_token_without_its_signature_is_refused(world: World) -> None:
    """Guarantee 4: the token alone is useless."""
    phone = world.phone()
    token = world.register(phone).access_token
    with pytest.raises(SignatureRequired):
        world.use(world.phone("none"), token)
    with pytest.raises(WrongKey):
        world.use(world.phone(), token)


@pytest.mark.guarantee(4)
def test_a_route_may_refuse_bearer_tokens(world: World) -> None:
    """``bound=True`` accepts only bound logins."""
    phone = world.phone("none")
    token = world.register(phone, client_id="simple").access_token
    with pytest.raises(SignatureRequired):
        world.use(phone, token, bound=True)


@pytest.mark.guarantee(12)
def test_a_state_changing_call_works_once_and_a_safe_one_may_be_repeated(world: World) -> None:
    """Guarantee 12: the same signed bytes change something only once."""
    phone = world.phone()
    token = world.register(phone).access_token
    for _ in range(2):
        assert world.use(phone, token, nonce="the same nonce".replace(" ", "-"))
    assert world.use(phone, token, "POST", "/api/logout", nonce="one-nonce")
    with pytest.raises(ReplayedNonce):
        world.use(phone, token, "POST", "/api/logout", nonce="one-nonce")


def test_a_token_is_valid_until_it_expires_and_so_is_the_previous_one(world: World) -> None:
    """Calls in flight survive an exchange. Older tokens get ``token_expired``, never ``login_required``."""
    phone = world.phone()
    first = world.register(phone).access_token
    second = world.exchange(phone, first, attempt=world.attempt()).access_token
    assert world.use(phone, first)
    third = world.exchange(phone, second, attempt=world.attempt()).access_token
    with pytest.raises(TokenExpired):
        world.use(phone, first)
    assert world.use(phone, second)
    world.clock.skip(15 * MINUTE_S)
    for token in (second, third):
        with pytest.raises(TokenExpired):
            world.use(phone, token)


def test_a_refresh_token_is_refused_on_calls(world: World) -> None:
    """A refresh token is only for ``/oauth/token``."""
    phone = world.phone("none")
    refresh_token = world.register(phone, client_id="oauth").refresh_token
    assert refresh_token
    with pytest.raises(TokenInvalid):
        world.use(phone, refresh_token)


@pytest.mark.parametrize("client_id", ["mobile", "mobile-opaque"])
def test_a_client_that_is_missing_in_the_registry_is_a_server_error(world: World, client_id: str) -> None:
    """The tokens of this client are genuine, and a wrong deployment logs no user out (E1b).

    The answer was 401 before the fix.
    """
    phone = world.phone()
    token = world.register(phone, client_id=client_id).access_token
    others = Clients({client.id: client for client in world.clients if client.id != client_id})
    proof = replace(world.call.proof, clients=others)
    assert world.call.proof.token(token, now=world.clock())
    with pytest.raises(errors.Unavailable):
        proof.token(token, now=world.clock())


def test_an_expired_long_lived_token_is_answered_with_log_in(world: World) -> None:
    """The token cannot be renewed, so the action ``exchange`` would be wrong."""
    phone = world.phone("none")
    token = world.register(phone, client_id="iot").access_token
    world.clock.skip(180 * DAY_S)
    with pytest.raises(errors.LoginRequired) as refusal:
        world.use(phone, token)
    assert refusal.value.members == {"reason": "expired"}


def test_a_session_slides_with_use_and_its_refresh_token_lasts_longer(world: World) -> None:
    """After 30 minutes without use the session id expires, but the login stays active.

    The refresh token does not change.
    """
    phone = world.phone("none")
    issued = world.register(phone, client_id="session-api")
    assert issued.refresh_token
    for _ in range(6):
        world.clock.skip(25 * MINUTE_S)
        assert world.use(phone, issued.access_token)
    world.clock.skip(30 * MINUTE_S)
    with pytest.raises(TokenExpired):
        world.use(phone, issued.access_token)
    world.clock.skip(29 * DAY_S)
    renewed = world.exchange(phone, issued.refresh_token)
    assert renewed.refresh_token == issued.refresh_token
    assert world.use(phone, renewed.access_token)
    with pytest.raises(TokenExpired):
        world.use(phone, issued.access_token)


def test_renewing_a_session_does_not_end_the_earlier_id(world: World) -> None:
    """Two tabs can have two ids of one login. The earlier id is valid until its own expiry."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="session-api")
    assert issued.refresh_token
    world.clock.skip(MINUTE_S)
    renewed = world.exchange(phone, issued.refresh_token)
    world.clock.skip(29 * MINUTE_S - 1)
    assert world.use(phone, renewed.access_token)
    assert world.use(phone, issued.access_token)


@pytest.mark.guarantee(8)
def test_a_grant_is_valid_once_for_exactly_its_operation(world: World) -> None:
    """A grant for ``transfer 10 to Bob`` does not authorize ``transfer 1000 to Eve``, nor a second transfer."""
    phone = world.phone()
    issued = world.register(phone)
    grant = granted(world, phone, issued)
    with pytest.raises(GrantInvalid):
        transfer(world, phone, issued, grant, body=b'{"to":"Eve","amount":1000}')
    spent = transfer(world, phone, issued, grant)
    assert spent is not None
    assert spent.at == world.clock()
    with pytest.raises(GrantInvalid):
        transfer(world, phone, issued, grant)


def test_a_route_with_step_up_always_requires_a_grant(world: World) -> None:
    """A fresh login does not replace it. A refusal for a missing grant does not consume the nonce."""
    phone = world.phone()
    issued = world.register(phone)
    with pytest.raises(StepUpRequired) as refusal:
        transfer(world, phone, issued, None)
    assert refusal.value.members == {"max_age": 120, "acr_values": "aal1", "factors": ["password"]}
    assert not world.stores.tables.nonces


@pytest.mark.guarantee(8)
def test_a_grant_expires_and_belongs_to_one_device(world: World) -> None:
    """A grant is valid for five minutes and one lineage.

    A route can require a shorter ``max_age`` or a stronger ``acr``.
    """
    phone, tablet = world.phone(), world.phone()
    issued, other = world.register(phone), world.login(tablet)
    with pytest.raises(GrantInvalid):
        transfer(world, tablet, other, granted(world, phone, issued))
    late = granted(world, phone, issued)
    world.clock.skip(GRANT_S)
    with pytest.raises(GrantInvalid):
        transfer(world, phone, issued, late)
    stale = granted(world, phone, issued)
    world.clock.skip(121)
    with pytest.raises(StepUpRequired):
        transfer(world, phone, issued, stale)
    world.stores.ephemeral.store_grant(
        "weak",
        lineage=issued.device_id,
        operation=Operation("POST", "/api/transfers", content_digest(BODY)),
        step_up=GrantUsed(at=world.clock(), assurance=Assurance("0", ("pop",))),
        credentials_version=1,
        expires_at=world.clock() + GRANT_S,
    )
    with pytest.raises(StepUpRequired):
        transfer(world, phone, issued, "weak")


@pytest.mark.guarantee(11)
def test_wrong_passwords_at_step_up_have_a_rate_limit(world: World) -> None:
    """A thief with an unlocked phone has a limited number of guesses here too."""
    phone = world.phone()
    issued = world.register(phone)
    caller = world.use(phone, issued.access_token)
    operation = Operation("POST", "/api/transfers", content_digest(BODY))
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX):
        with pytest.raises(InvalidCredentials):
            world.grant_step_up(caller, operation, "not the password")
    with pytest.raises(errors.TooManyRequests):
        world.grant_step_up(caller, operation, PASSWORD)


def test_a_password_change_during_a_step_up_grants_nothing(world: World) -> None:
    """The account state was read before the change, so the login can have been made with the old password."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    operation = Operation("POST", "/api/transfers", content_digest(BODY))
    world.change_password(caller, "granite umbrella conversation")
    with pytest.raises(errors.Unavailable):
        world.grant_step_up(caller, operation, "granite umbrella conversation")
    assert not world.stores.tables.grants


@pytest.mark.guarantee(6, 7)
@pytest.mark.parametrize("ending", ["logout", "everywhere", "end_device", "revoke", "password", "disable", "delete"])
def test_an_ended_login_stays_ended(world: World, ending: str) -> None:
    """Guarantee 6: after the answer, no call and no exchange of the ended login succeeds.

    The refusal has the end reason.
    """
    phone, tablet = world.phone(), world.phone()
    victim, mine = world.register(phone), world.login(tablet)
    caller = world.use(tablet, mine.access_token)
    match ending:
        case "logout":
            world.logout(world.use(phone, victim.access_token), everywhere=False)
        case "everywhere":
            world.logout(caller, everywhere=True)
        case "end_device":
            world.end_device(caller, victim.device_id)
        case "revoke":
            message = phone.message("POST", "/api/oauth/revoke", body=b"form")
            world.revoke(message, token=victim.access_token, client_id=None)
        case "password":
            world.change_password(caller, "granite umbrella conversation")
        case "disable":
            world.set_status("ada@example.com", Status.DISABLED)
            world.set_status("ada@example.com", Status.ACTIVE)
        case _:
            world.delete(caller)
    reasons = {"logout": "logout", "revoke": "logout", "end_device": "ended_by_owner", "password": "password_changed"}
    for attempt in (world.attempt(), world.attempt()):
        with pytest.raises(errors.LoginRequired) as refusal:
            world.exchange(phone, victim.access_token, attempt=attempt)
        with pytest.raises(errors.LoginRequired):
            world.use(phone, victim.access_token)
        if ending in reasons:
            assert refusal.value.members == {"reason": reasons[ending]}
    if ending in {"logout", "end_device", "revoke", "password"}:
        assert world.use(tablet, mine.access_token)
        assert world.exchange(tablet, mine.access_token, attempt=world.attempt())
    else:
        with pytest.raises(errors.LoginRequired):
            world.use(tablet, mine.access_token)


@pytest.mark.guarantee(6)
def test_only_the_new_password_is_valid_after_a_change(world: World) -> None:
    """The old password is wrong immediately, at login and at step-up."""
    phone = world.phone()
    issued = world.register(phone)
    world.change_password(world.use(phone, issued.access_token), "granite umbrella conversation")
    with pytest.raises(InvalidCredentials):
        world.login(phone)
    assert world.login(phone, password="granite umbrella conversation")


def test_the_list_of_devices_has_active_and_ended_logins(world: World) -> None:
    """The newest login is first, and the caller's own login is marked. An ended login has its end reason."""
    phone, tablet = world.phone(), world.phone()
    issued = world.register(phone)
    world.clock.skip(5)
    other = world.login(tablet)
    world.end_device(world.use(phone, issued.access_token), other.device_id)
    listed = world.list_devices(world.use(phone, issued.access_token))
    assert [entry.device_id for entry in listed] == [other.device_id, issued.device_id]
    assert [entry.current for entry in listed] == [False, True]
    assert listed[0].ended_at is not None
    assert listed[0].ended_reason == "ended_by_owner"
    assert listed[1].ended_at is None
    assert listed[1].name == "Ada's phone"
    assert [entry.last_exchange_at for entry in listed] == [None, None]
    bearer = world.login(world.phone("none"), client_id="simple")
    world.clock.skip(5)
    child = world.exchange(phone, issued.access_token, attempt=world.attempt())
    listed = world.list_devices(world.use(phone, child.access_token))
    told = {entry.device_id: (entry.bound, entry.client_id, entry.last_exchange_at) for entry in listed}
    assert told[bearer.device_id] == (False, "simple", None)
    assert told[issued.device_id] == (True, "mobile", world.clock())


def test_the_device_of_another_account_is_answered_like_a_missing_one(world: World) -> None:
    """Both answers are 404, and the device is not affected."""
    phone, stranger = world.phone(), world.phone()
    mine = world.register(phone)
    theirs = world.register(stranger, email="eve@example.com")
    for device_id in (theirs.device_id, "AAAAAAAAAAAAAAAA", "", "x" * 500):
        with pytest.raises(errors.NotFound):
            world.end_device(world.use(phone, mine.access_token), device_id)
    assert world.use(stranger, theirs.access_token)


@pytest.mark.guarantee(4)
def test_revoking_a_bound_login_requires_its_key(world: World) -> None:
    """A token alone cannot end a session. A wrong client id is refused. An invalid token has no effect."""
    phone = world.phone()
    token = world.register(phone).access_token
    bare = Message("POST", "api.example.com", "/api/oauth/revoke", (), {"host": ("api.example.com",)}, b"")
    with pytest.raises(SignatureRequired):
        world.revoke(bare, token=token, client_id=None)
    with pytest.raises(WrongKey):
        world.revoke(world.phone().message("POST", "/api/oauth/revoke"), token=token, client_id=None)
    world.revoke(bare, token="garbage", client_id=None)
    with pytest.raises(UnauthorizedClient):
        world.revoke(phone.message("POST", "/api/oauth/revoke"), token=token, client_id="oauth")
    assert world.use(phone, token)
    world.revoke(phone.message("POST", "/api/oauth/revoke"), token=token, client_id="mobile")
    with pytest.raises(errors.LoginRequired):
        world.use(phone, token)


def test_introspection_returns_the_present_state_of_a_token(world: World) -> None:
    """After its login has ended, a token is inactive. A refresh token is never active.

    An unknown resource server gets an error.
    """
    phone = world.phone("none")
    issued = world.register(phone, client_id="oauth")
    assert issued.refresh_token

    def ask(token: str, secret: str = RESOURCE_SERVER_SECRET, server: str = "billing") -> bool:
        return world.introspect(token=token, resource_server=server, secret=secret).active

    assert ask(issued.access_token)
    assert not ask(issued.refresh_token)
    assert not ask("garbage")
    for secret, server in (("wrong", "billing"), (RESOURCE_SERVER_SECRET, "nobody")):
        with pytest.raises(InvalidClient):
            ask(issued.access_token, secret, server)
    world.logout(world.use(phone, issued.access_token), everywhere=False)
    assert not ask(issued.access_token)


def test_introspection_of_a_session_slides_with_its_use(world: World) -> None:
    """The session is active after its first lifetime if it was used without a gap. After a gap it is inactive."""
    phone = world.phone("none")
    token = world.register(phone, client_id="session-api").access_token

    def ask() -> object:
        found = world.introspect(token=token, resource_server="billing", secret=RESOURCE_SERVER_SECRET)
        return found.exp if found.active else None

    world.clock.skip(20 * MINUTE_S)
    assert world.use(phone, token)
    world.clock.skip(20 * MINUTE_S)
    assert ask() == world.clock() + 10 * MINUTE_S
    world.clock.skip(10 * MINUTE_S)
    assert ask() is None


def test_an_expired_token_is_refused_without_reading_the_account_state(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token contains its expiry."""
    phone = world.phone()
    token = world.register(phone).access_token
    world.clock.skip(15 * MINUTE_S)

    def ask(*_: object) -> None:
        raise AssertionError("the account state was read")

    monkeypatch.setattr(world.stores.lineage_store, "get", ask, raising=False)
    with pytest.raises(TokenExpired):
        world.use(phone, token)
    assert not world.introspect(token=token, resource_server="billing", secret=RESOURCE_SERVER_SECRET).active


def test_a_digest_must_match_also_without_a_signature(world: World) -> None:
    """A changed body of a bearer call is detected if the app sent a digest."""
    phone = world.phone("none")
    token = world.register(phone, client_id="simple").access_token
    sent = phone.message("POST", "/api/logout", body=b"{}", token=token)
    changed = Message(sent.method, sent.authority, sent.path, sent.query, sent.fields, b"[]")
    with pytest.raises(InvalidDigest):
        world.call.authenticate(changed)


def test_a_weak_new_password_is_refused_and_changes_nothing(world: World) -> None:
    """The rules are those of a registration."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    with pytest.raises(TooShort):
        world.change_password(caller, "short")
    assert world.login(phone)


@pytest.mark.guarantee(6)
def test_a_login_that_ended_during_the_call_cannot_change_the_password(world: World) -> None:
    """Another device ends the login after the call is authorized. The refusal has the end reason."""
    phone, tablet = world.phone(), world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    world.end_device(world.use(tablet, world.login(tablet).access_token), caller.device_id)
    with pytest.raises(errors.LoginRequired) as refusal:
        world.change_password(caller, "granite umbrella conversation")
    assert refusal.value.members == {"reason": "ended_by_owner"}
    assert world.login(phone)


@pytest.mark.guarantee(10)
def test_the_data_of_a_deleted_account_are_deleted(world: World) -> None:
    """User and e-mail index entry are deleted. The account state stays as deleted, so that nothing can be restored."""
    phone = world.phone()
    world.delete(world.use(phone, world.register(phone).access_token))
    tables = world.stores.tables
    assert (len(tables.users), len(tables.claims), len(tables.lineages)) == (0, 0, 1)


@pytest.mark.parametrize("own", [False, True])
def test_every_event_of_an_account_is_in_its_audit(world: World, *, own: bool) -> None:
    """Each event is recorded once. Before the fix, login, registration, logout and revocation were missing."""
    phone, tablet = world.phone(), world.phone()
    mine, other = world.register(phone), world.login(tablet)
    world.end_device(world.use(phone, mine.access_token), other.device_id)
    world.change_password(world.use(phone, mine.access_token), "granite umbrella conversation")
    world.logout(world.use(phone, mine.access_token), everywhere=not own)
    world.set_status("ada@example.com", Status.DISABLED)
    world.set_status("ada@example.com", Status.ACTIVE)
    world.set_roles("ada@example.com", ["support", "admin"])
    world.set_roles("ada@example.com", [])
    again = world.login(phone, password="granite umbrella conversation")
    replacing = world.login(phone, password="granite umbrella conversation")
    revoking = world.login(tablet, password="granite umbrella conversation")
    world.revoke(tablet.message("POST", "/api/oauth/revoke", body=b"form"), token=revoking.access_token, client_id=None)
    world.delete(world.use(phone, replacing.access_token))
    client = {"client": "mobile"}
    noted = [(event.event, event.lineage, dict(event.details)) for event in world.stores.audit.events]
    assert noted == [
        ("registered", mine.device_id, client),
        ("logged_in", other.device_id, client),
        ("device_ended", other.device_id, {"by": mine.device_id}),
        ("password_changed", mine.device_id, {}),
        ("logged_out" if own else "logged_out_everywhere", mine.device_id, {}),
        ("account_disabled", None, {}),
        ("account_enabled", None, {}),
        ("roles_changed", None, {"roles": "admin support"}),
        ("roles_changed", None, {"roles": ""}),
        ("logged_in", again.device_id, client),
        ("login_replaced", again.device_id, {}),
        ("logged_in", replacing.device_id, client),
        ("logged_in", revoking.device_id, client),
        ("revoked", revoking.device_id, client),
        ("account_deleted", replacing.device_id, {}),
    ]
    [account] = {event.account for event in world.stores.audit.events}
    assert {event.at for event in world.stores.audit.events} == {world.clock()}
    lines = [(name, facts["account"]) for name, facts in world.log.recorded if EVENTS[name].audited]
    assert lines == [(name, account) for name, _, _ in noted]


def test_a_repeated_event_is_in_the_audit_once(world: World) -> None:
    """The cases are a repetition with the same attempt, a second end, and a second revocation."""
    phone, tablet = world.phone(), world.phone()
    attempt = world.attempt()
    mine = world.register(phone, attempt=attempt)
    world.register(phone, attempt=attempt)
    attempt = world.attempt()
    other = world.login(tablet, attempt=attempt)
    world.login(tablet, attempt=attempt)
    for _ in range(2):
        world.clock.skip(1)
        world.end_device(world.use(phone, mine.access_token), other.device_id)
        world.revoke(
            tablet.message("POST", "/api/oauth/revoke", body=b"form"), token=other.access_token, client_id=None
        )
    assert [event.event for event in world.stores.audit.events] == ["registered", "logged_in", "device_ended"]


def test_the_audit_has_both_presentations_of_a_reused_token(world: World) -> None:
    """The owner can distinguish a thief from a restored backup. No secret is stored, and the caller's text is cut."""
    phone = world.phone()
    issued = world.register(phone)
    first, second = world.attempt(), world.attempt()
    world.clock.skip(60)
    world.exchange(phone, issued.access_token, attempt=first)
    world.clock.skip(60)
    message = phone.message("POST", "/api/oauth/token", body=b"form", attempt=second)
    agent = "\x1bExample/1.0 " + "x" * 500
    message = replace(message, fields={**message.fields, "user-agent": (agent,)}, source="2001:db8::1")
    with pytest.raises(TokenReused):
        world._exchange(message, TokenRequest(issued.access_token))
    event = world.stores.audit.events[-1]
    assert (event.event, event.at, event.lineage) == ("token_reused", world.clock(), issued.device_id)
    assert dict(event.details) == {
        "client": "mobile",
        "generation": "0",
        "key": "own",
        "network": "2001:db8::/64",
        "user_agent": "Example/1.0 " + "x" * 188,
        "attempt": attempt_digest(second).hex(),
        "first_attempt": attempt_digest(first).hex(),
        "current_generation": "1",
        "last_exchange_at": str(world.clock() - 60),
    }
