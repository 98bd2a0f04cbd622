"""Regression tests: one for each security bug that was found."""

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.refusals import AccountExists
from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import (
    DAY_S,
    FAILURES_PER_ACCOUNT_MAX,
    FAILURES_PER_KNOWN_DEVICE_MAX,
    FAILURES_PER_SOURCE_MAX,
    LINEAGES_MAX,
    MINUTE_S,
)
from chalicelib.baton.proof.refusals import InsufficientCoverage, InvalidDigest, SignatureDefective, SignatureRequired
from chalicelib.baton.proof.signature import content_digest
from chalicelib.baton.routing import Message, RouteSpec, StepUp, source_network
from chalicelib.baton.tokens.caller import Operation
from chalicelib.baton.tokens.exchange import TokenRequest
from chalicelib.baton.tokens.refusals import ReplayedNonce, StepUpRequired, TokenExpired, TokenReused
from tests.baton.world import EMAIL, PASSWORD, World

BODY = b'{"to":"Bob","amount":10}'


def watch(monkeypatch: pytest.MonkeyPatch, store: object, verb: str, seen: list[str]) -> None:
    """Record each call of a store verb."""
    done = getattr(store, verb)

    def watched(*given: object, **named: object) -> object:
        seen.append(verb)
        return done(*given, **named)

    monkeypatch.setattr(store, verb, watched)


def _with(message: Message, name: str, value: str) -> Message:
    """Add a header field to a request, and remove its signature."""
    fields = {name: values for name, values in message.fields.items() if not name.startswith("signature")}
    return replace(message, fields={**fields, name: (value,)})


@pytest.mark.parametrize("grant", ["", " ", "\t"])
def test_an_empty_grant_is_refused(world: World, grant: str) -> None:
    """Bug: an empty Baton-Grant counted as present and was then not consumed, so step-up was skipped."""
    phone = world.phone()
    issued = world.register(phone)
    message = phone.message("POST", "/api/transfers", body=BODY, token=issued.access_token)
    blank = phone.signed(_with(message, "baton-grant", grant))
    with pytest.raises(StepUpRequired):
        world.call.authorize(world.call.authenticate(blank), spec=RouteSpec(step_up=StepUp()))
    assert not world.stores.tables.nonces


@pytest.mark.parametrize("client_id", ["simple", "iot", "oauth", "session-api"])
def test_an_evicted_lineage_does_not_return_with_its_attempt(world: World, client_id: str) -> None:
    """The lineage id derives from the attempt.

    A login with the same attempt creates the id again: old tokens stay invalid.
    """
    phone = world.phone("none")
    world.register(world.phone())
    first = world.login(phone, client_id=client_id, attempt="the-attempt-of-old")
    for _ in range(LINEAGES_MAX):
        world.clock.skip(30)
        world.login(world.phone(), attempt=world.attempt())
    with pytest.raises(errors.LoginRequired):
        world.use(phone, first.access_token)
    second = world.login(phone, client_id=client_id, attempt="the-attempt-of-old")
    assert second.device_id == first.device_id
    with pytest.raises(errors.LoginRequired):
        world.use(phone, first.access_token)
    if first.refresh_token:
        with pytest.raises(errors.LoginRequired):
            world.exchange(phone, first.refresh_token, attempt=world.attempt())
    assert world.use(phone, second.access_token)


def test_a_renewal_by_a_slower_clock_belongs_to_its_lineage(world: World) -> None:
    """The clocks of two environments differ by one second: one starts the login, the other renews it."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="legacy")
    assert issued.refresh_token
    world.clock.skip(-1)
    renewed = world.exchange(phone, issued.refresh_token)
    assert world.use(phone, renewed.access_token)


def test_a_session_renewed_by_a_slower_clock_still_slides(world: World) -> None:
    """The session id must not look older than a use that a faster clock recorded one second ago."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="session-api")
    assert issued.refresh_token
    world.clock.skip(MINUTE_S)
    world.exchange(phone, issued.refresh_token)
    world.clock.skip(-1)
    renewed = world.exchange(phone, issued.refresh_token)
    for _ in range(3):
        world.clock.skip(20 * MINUTE_S)
        assert world.use(phone, renewed.access_token)


def test_an_interrupted_deletion_is_logged_and_the_operator_can_finish_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The account state was deleted, but the user data was not. Only the operator can finish the deletion."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    forget = world.stores.users.forget

    def fail(*_: object, now: int) -> None:
        raise errors.Unavailable(f"planted at {now}")

    monkeypatch.setattr(world.stores.users, "forget", fail)
    with pytest.raises(errors.Unavailable):
        world.delete(caller)
    assert [event.event for event in world.stores.audit.events] == ["registered", "account_deleted"]
    monkeypatch.setattr(world.stores.users, "forget", forget)
    world.set_status(EMAIL, Status.DELETED)
    assert not world.stores.tables.users
    assert not world.stores.tables.claims


def test_enabling_a_deleted_account_is_refused(world: World) -> None:
    """A deletion is final, and the command reports it."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    world.stores.lineage_store.set_status(caller.account, Status.DELETED, now=world.clock())
    with pytest.raises(errors.NotFound):
        world.set_status(EMAIL, Status.ACTIVE)
    assert [event.event for event in world.stores.audit.events] == ["registered"]


def test_the_earlier_id_of_a_session_expires_at_its_own_time(world: World) -> None:
    """Bug: use of the new id after a renewal extended the old id as well."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="session-api")
    assert issued.refresh_token
    world.clock.skip(MINUTE_S)
    renewed = world.exchange(phone, issued.refresh_token)
    for _ in range(3):
        world.clock.skip(20 * MINUTE_S)
        assert world.use(phone, renewed.access_token)
    with pytest.raises(TokenExpired):
        world.use(phone, issued.access_token)


def test_an_end_by_another_key_is_reported_and_logged_once() -> None:
    """Bug: the answer was "nothing was ended", and every further request wrote an audit item."""
    world = World(revoke_on_wrong_key=True)
    phone, thief = world.phone(), world.phone()
    issued = world.register(phone)
    for expected in (TokenReused, errors.LoginRequired, errors.LoginRequired):
        with pytest.raises(expected) as refusal:
            world.exchange(thief, issued.access_token, attempt=world.attempt())
        assert "Nothing was ended" not in refusal.value.detail
        world.clock.skip(1)
    assert [event.event for event in world.stores.audit.events] == ["registered", "token_reused"]
    with pytest.raises(errors.LoginRequired):
        world.use(phone, issued.access_token)


def test_a_missing_or_broken_signature_is_not_another_key() -> None:
    """``revoke_on_wrong_key`` ends a login only for a signature by another key.

    An app with broken signatures is no thief.
    """
    world = World(revoke_on_wrong_key=True)
    phone = world.phone()
    token = world.register(phone).access_token
    sent = phone.message("POST", "/api/oauth/token", body=b"form", attempt=world.attempt())
    unsigned = phone.message("POST", "/api/oauth/token", body=b"form", attempt=world.attempt(), signed=False)
    for message, refusal in (
        (unsigned, SignatureRequired),
        (replace(sent, path="/api/oauth/tokens"), SignatureDefective),
        (replace(sent, fields={**sent.fields, "baton-grant": ("uncovered",)}), InsufficientCoverage),
    ):
        with pytest.raises(refusal):
            world._exchange(message, TokenRequest(token))
    assert world.use(phone, token)


def test_a_repeated_registration_is_rate_limited_like_a_login(world: World) -> None:
    """Bug: a client with the attempt could try passwords without the limit of the account."""
    world.register(world.phone(), attempt="an-attempt-seen-in-a-log")
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        with pytest.raises(AccountExists):
            world.register(world.phone(), password="another long and unused phrase", attempt="an-attempt-seen-in-a-log")
    with pytest.raises(errors.TooManyRequests):
        world.register(world.phone(), attempt="an-attempt-seen-in-a-log")


def test_the_addresses_of_one_ipv6_network_are_one_source(world: World) -> None:
    """A home connection has 2^64 addresses."""
    assert (
        source_network("2001:db8:1:2:aaaa::1") == source_network("2001:db8:1:2::ffff") != source_network("2001:db8::1")
    )
    assert source_network("::ffff:192.0.2.1") == source_network("192.0.2.1") == "192.0.2.1"
    assert source_network("") == ""
    assert source_network("not an address") == "not an address"
    for number in range(FAILURES_PER_SOURCE_MAX):
        with pytest.raises(InvalidCredentials):
            world.login(world.phone(), email=f"nobody{number}@example.com", source=f"2001:db8:1:2::{number:x}")
    with pytest.raises(errors.TooManyRequests):
        world.login(world.phone(), email="nobody@example.com", source="2001:db8:1:2:ffff::")
    with pytest.raises(InvalidCredentials):
        world.login(world.phone(), email="nobody@example.com", source="2001:db8:1:3::")


@pytest.mark.parametrize("source", ["192.0.2.1:4711", "[2001:db8::1]", "2001:db8::1, 192.0.2.1", "none:of:these"])
def test_a_source_that_is_not_an_address_does_not_prevent_a_login(world: World, source: str) -> None:
    """Bug: a source with a colon caused a 500 at every login and registration through that gateway."""
    assert source_network(source) == source
    world.register(world.phone(), source=source)
    assert world.login(world.phone(), source=source)


def test_guesses_at_step_up_and_at_login_are_counted_together(world: World) -> None:
    """Bug: a device had ten guesses at each of them."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    operation = Operation("POST", "/api/transfers", content_digest(BODY))
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX // 2):
        with pytest.raises(InvalidCredentials):
            world.grant_step_up(caller, operation, "not the password")
        with pytest.raises(InvalidCredentials):
            world.login(phone, password="not the password at all")
    with pytest.raises(errors.TooManyRequests):
        world.login(phone)
    with pytest.raises(errors.TooManyRequests):
        world.grant_step_up(caller, operation, PASSWORD)


def test_an_inconsistent_account_is_a_server_error(world: World) -> None:
    """A password hash cannot be decrypted, or a user has no account state.

    The answer must never be "wrong password".
    """
    phone = world.phone()
    issued = world.register(phone, attempt="the-attempt-of-old")
    caller = world.use(phone, issued.access_token)
    tables = world.stores.tables
    user, account_state = tables.users[caller.account], tables.lineages[caller.account]
    del tables.lineages[caller.account]
    with pytest.raises(errors.Unavailable):
        world.login(phone)
    with pytest.raises(errors.Unavailable):
        world.register(phone, attempt="the-attempt-of-old")
    tables.lineages[caller.account] = account_state
    del tables.users[caller.account]
    for act in (lambda: world.login(phone), lambda: world.show(caller)):
        with pytest.raises(errors.Unavailable):
            act()
    with pytest.raises(errors.Unavailable):
        world.change_password(caller, "granite umbrella conversation")
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX):
        with pytest.raises(errors.Unavailable):
            world.login(phone)
    tables.users[caller.account] = user
    assert world.login(phone), "a server error counted as a wrong password"


def test_a_lineage_with_an_unknown_root_reloads_the_key_ring_and_is_then_a_server_error(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: an HMAC client was told to log in because a cached key ring was old."""
    phone = world.phone("hmac")
    issued = world.register(phone)
    ring = world.key_ring.ring
    world.key_ring.ring = replace(ring, roots=(replace(ring.roots[0], version=9),))
    with pytest.raises(errors.Unavailable):
        world.use(phone, issued.access_token)
    monkeypatch.setattr(world.key_ring, "refreshed", lambda *, now: ring)
    assert world.use(phone, issued.access_token)


def test_values_with_secrets_mask_themselves(world: World) -> None:
    """Bug: a request printed in a log contained token, password and body."""
    phone = world.phone()
    issued = world.register(phone)
    message = phone.message("POST", "/api/login", body=PASSWORD.encode(), token=issued.access_token)
    from chalicelib.baton.accounts.shapes import Entry, PasswordShape

    proved = world.call.authenticate(message)
    said = repr(
        (
            message,
            proved,
            TokenRequest(issued.access_token),
            issued,
            Entry(EMAIL, PASSWORD, "m"),
            PasswordShape(PASSWORD),
        )
    )
    assert issued.access_token not in said
    assert PASSWORD not in said


def test_a_digest_of_an_unsigned_login_must_match(world: World) -> None:
    """Every given digest must match, with or without a signature."""
    phone = world.phone("none")
    world.register(world.phone())
    message = phone.message("POST", "/api/login", body=b"{}", attempt=world.attempt())
    wrong = _with(message, "content-digest", content_digest(b"other"))
    with pytest.raises(InvalidDigest):
        world._login(wrong, email=EMAIL, password=PASSWORD, client_id="simple", device=phone.device)


def test_a_login_during_a_disable_is_refused_as_usual(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug: the login started again with an account state that could not accept it, and the answer was 503."""
    phone = world.phone()
    account = world.use(phone, world.register(phone).access_token).account
    verify = world.stores.users.get

    def disable(asked: AccountId) -> object:
        world.stores.lineage_store.set_status(account, Status.DISABLED, now=world.clock())
        return verify(asked)

    monkeypatch.setattr(world.stores.users, "get", disable)
    with pytest.raises(InvalidCredentials):
        world.login(world.phone())


# Security checks that no test covered.


def test_the_account_state_closes_before_user_data_is_deleted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guarantee 6: after a crash between the two, the account state must be closed."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    order: list[str] = []
    watch(monkeypatch, world.stores.lineage_store, "set_status", order)
    watch(monkeypatch, world.stores.users, "forget", order)
    world.delete(caller)
    assert order == ["set_status", "forget"]


def test_an_unknown_address_costs_the_same_reads_as_a_known_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test counts every read."""
    world.register(world.phone())
    reads: list[str] = []
    watch(monkeypatch, world.stores.lineage_store, "get", reads)
    watch(monkeypatch, world.stores.users, "find", reads)
    watch(monkeypatch, world.stores.users, "get", reads)
    seen = []
    for email in (EMAIL, "nobody@example.com"):
        reads.clear()
        with pytest.raises(InvalidCredentials):
            world.login(world.phone(), email=email, password="not the password at all")
        seen.append(list(reads))
    assert seen[0] == seen[1] == ["find", "get", "get"]


def test_a_step_up_of_exactly_the_maximum_age_is_accepted(world: World) -> None:
    """``max_age`` is the last accepted second."""
    phone = world.phone()
    issued = world.register(phone)
    caller = world.use(phone, issued.access_token)
    for age, passes in ((120, True), (121, False)):
        grant = world.grant_step_up(caller, Operation("POST", "/api/transfers", content_digest(BODY)), PASSWORD).grant
        world.clock.skip(age)
        message = phone.message("POST", "/api/transfers", body=BODY, token=issued.access_token, grant=grant)
        proved = world.call.authenticate(message)
        if passes:
            assert world.call.authorize(proved, spec=RouteSpec(step_up=StepUp(max_age=120))).stepped_up
        else:
            with pytest.raises(StepUpRequired):
                world.call.authorize(proved, spec=RouteSpec(step_up=StepUp(max_age=120)))


def test_a_replay_does_not_consume_the_grant(world: World) -> None:
    """The nonce is checked first: a replay of a captured request does not consume the owner's grant."""
    phone = world.phone()
    issued = world.register(phone)
    caller = world.use(phone, issued.access_token)
    world.use(phone, issued.access_token, "POST", "/api/logout", nonce="seen-before")
    grant = world.grant_step_up(caller, Operation("POST", "/api/transfers", content_digest(BODY)), PASSWORD).grant
    with pytest.raises(ReplayedNonce):
        world.use(
            phone,
            issued.access_token,
            "POST",
            "/api/transfers",
            body=BODY,
            grant=grant,
            step_up=StepUp(),
            nonce="seen-before",
        )
    assert world.use(
        phone, issued.access_token, "POST", "/api/transfers", body=BODY, grant=grant, step_up=StepUp()
    ).stepped_up


def test_one_key_on_two_accounts_has_two_rate_limits(world: World) -> None:
    """Wrong guesses at one account must not block the device at the other."""
    phone = world.phone()
    world.register(phone)
    world.register(phone, email="eve@example.com")
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX):
        with pytest.raises(InvalidCredentials):
            world.login(phone, password="not the password at all")
    with pytest.raises(errors.TooManyRequests):
        world.login(phone)
    assert world.login(phone, email="eve@example.com")


def test_a_refresh_token_is_always_opaque_and_reuse_emits_an_event(world: World) -> None:
    """The registry sets the format of access tokens. The operator's alarm depends on the event."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="oauth")
    assert issued.refresh_token
    assert issued.refresh_token.startswith("baton_")
    assert not issued.access_token.startswith("baton_")
    world.exchange(phone, issued.refresh_token, attempt=world.attempt())
    with pytest.raises(TokenReused):
        world.exchange(phone, issued.refresh_token, attempt=world.attempt())
    assert [name for name, _ in world.log.recorded].count("token_reused") == 1
    [_registered, event] = world.stores.audit.events
    assert isinstance(event, AuditEvent)
    assert event.at <= world.clock() < event.at + DAY_S
