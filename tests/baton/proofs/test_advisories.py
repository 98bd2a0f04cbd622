"""Every bug of security that was found has a test of its name, so that it stays mended."""

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
    """Write down each time a verb of a store is asked."""
    done = getattr(store, verb)

    def watched(*given: object, **named: object) -> object:
        seen.append(verb)
        return done(*given, **named)

    monkeypatch.setattr(store, verb, watched)


def _with(message: Message, name: str, value: str) -> Message:
    """Put a field into a request, and take its signature away."""
    fields = {name: values for name, values in message.fields.items() if not name.startswith("signature")}
    return replace(message, fields={**fields, name: (value,)})


@pytest.mark.parametrize("grant", ["", " ", "\t"])
def test_an_empty_grant_is_no_grant(world: World, grant: str) -> None:
    """A blank Baton-Grant passed for one that was there, and was then not spent: step-up was left out."""
    phone = world.phone()
    issued = world.register(phone)
    message = phone.message("POST", "/api/transfers", body=BODY, token=issued.access_token)
    blank = phone.signed(_with(message, "baton-grant", grant))
    with pytest.raises(StepUpRequired):
        world.call.authorize(world.call.authenticate(blank), spec=RouteSpec(step_up=StepUp()))
    assert not world.stores.tables.nonces


@pytest.mark.parametrize("client_id", ["simple", "iot", "oauth", "web"])
def test_an_evicted_lineage_does_not_come_back_with_its_attempt(world: World, client_id: str) -> None:
    """Its id derives from the attempt: a login with the same one makes it anew, and must not revive its first life."""
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


def test_a_renewal_by_a_slower_clock_is_still_of_its_lineage(world: World) -> None:
    """Two environments differ by a second: what one began, the other renews."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="legacy")
    assert issued.refresh_token
    world.clock.skip(-1)
    renewed = world.exchange(phone, issued.refresh_token)
    assert world.use(phone, renewed.access_token)


def test_a_session_renewed_by_a_slower_clock_still_slides(world: World) -> None:
    """Its id must not seem older than the use that was written down a second ago, by the other environment's clock."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="web")
    assert issued.refresh_token
    world.clock.skip(MINUTE_S)
    world.exchange(phone, issued.refresh_token)
    world.clock.skip(-1)
    renewed = world.exchange(phone, issued.refresh_token)
    for _ in range(3):
        world.clock.skip(20 * MINUTE_S)
        assert world.use(phone, renewed.access_token)


def test_an_interrupted_deletion_is_noted_and_the_operator_can_finish_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state closed, and forgetting failed: the account is gone for its owner, so it must not stay for us."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    forget = world.stores.users.forget

    def fail(*_: object) -> None:
        raise errors.Unavailable("planted")

    monkeypatch.setattr(world.stores.users, "forget", fail)
    with pytest.raises(errors.Unavailable):
        world.delete(caller)
    assert [event.event for event in world.stores.audit.events] == ["registered", "account_deleted"]
    monkeypatch.setattr(world.stores.users, "forget", forget)
    world.set_status(EMAIL, Status.DELETED)
    assert not world.stores.tables.users
    assert not world.stores.tables.claims


def test_a_deleted_account_is_not_said_to_be_enabled(world: World) -> None:
    """Deleted is absorbing, and the operator is told so."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    world.stores.lineage_store.set_status(caller.account, Status.DELETED, now=world.clock())
    with pytest.raises(errors.NotFound):
        world.set_status(EMAIL, Status.ACTIVE)
    assert [event.event for event in world.stores.audit.events] == ["registered"]


def test_a_sessions_earlier_id_dies_in_its_own_time(world: World) -> None:
    """It slid along with the use of the id that renewal had put in its place, and lived as long as that."""
    phone = world.phone("none")
    issued = world.register(phone, client_id="web")
    assert issued.refresh_token
    world.clock.skip(MINUTE_S)
    renewed = world.exchange(phone, issued.refresh_token)
    for _ in range(3):
        world.clock.skip(20 * MINUTE_S)
        assert world.use(phone, renewed.access_token)
    with pytest.raises(TokenExpired):
        world.use(phone, issued.access_token)


def test_ending_by_a_foreign_key_says_what_it_did_and_notes_it_once() -> None:
    """It answered "nothing was ended", and wrote an audit item for every further request."""
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


def test_a_missing_or_broken_signature_is_no_foreign_key() -> None:
    """``revoke_on_wrong_key`` ends for another's key alone: an app that signs badly is not a thief."""
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


def test_a_repeated_registration_is_throttled_like_a_login(world: World) -> None:
    """Whoever knew the attempt could try passwords without the account's limit."""
    world.register(world.phone(), attempt="an-attempt-seen-in-a-log")
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        with pytest.raises(AccountExists):
            world.register(world.phone(), password="another long and unused phrase", attempt="an-attempt-seen-in-a-log")
    with pytest.raises(errors.TooManyRequests):
        world.register(world.phone(), attempt="an-attempt-seen-in-a-log")


def test_the_addresses_of_one_ipv6_network_are_one_source(world: World) -> None:
    """One line at home has 2^64 addresses."""
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
def test_a_source_that_is_no_address_does_not_stop_a_login(world: World, source: str) -> None:
    """With a colon in it, it was a defect of ours: every login and registration through that gateway was a 500."""
    assert source_network(source) == source
    world.register(world.phone(), source=source)
    assert world.login(world.phone(), source=source)


def test_guesses_at_step_up_and_at_login_are_counted_together(world: World) -> None:
    """A device had ten guesses at each."""
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


def test_a_torn_account_is_our_own_trouble(world: World) -> None:
    """A verifier that does not open, a user without an state, an state without its user: never "wrong password"."""
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
    assert world.login(phone), "what was our own trouble has not filled the bucket"


def test_a_lineage_whose_root_this_ring_lacks_is_read_again_and_then_our_own_trouble(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An HMAC lineage was told to log in because a cache was old."""
    phone = world.phone("hmac")
    issued = world.register(phone)
    ring = world.key_ring.ring
    world.key_ring.ring = replace(ring, roots=(replace(ring.roots[0], version=9),))
    with pytest.raises(errors.Unavailable):
        world.use(phone, issued.access_token)
    monkeypatch.setattr(world.key_ring, "refreshed", lambda *, now: ring)
    assert world.use(phone, issued.access_token)


def test_what_holds_secrets_masks_itself(world: World) -> None:
    """A request printed in a log held token, password and body."""
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


def test_a_digest_that_came_must_match_at_an_unsigned_login_too(world: World) -> None:
    """Every one given must match, wherever it is given."""
    phone = world.phone("none")
    world.register(world.phone())
    message = phone.message("POST", "/api/login", body=b"{}", attempt=world.attempt())
    wrong = _with(message, "content-digest", content_digest(b"other"))
    with pytest.raises(InvalidDigest):
        world._login(wrong, source="192.0.2.1", email=EMAIL, password=PASSWORD, client_id="simple", device=phone.device)


def test_a_login_that_meets_a_disabled_account_half_way_is_refused_as_any(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It started over against an account state that could not admit it, and answered 503."""
    phone = world.phone()
    account = world.use(phone, world.register(phone).access_token).account
    verify = world.stores.users.get

    def disable(asked: AccountId) -> object:
        world.stores.lineage_store.set_status(account, Status.DISABLED, now=world.clock())
        return verify(asked)

    monkeypatch.setattr(world.stores.users, "get", disable)
    with pytest.raises(InvalidCredentials):
        world.login(world.phone())


# Guards that no test noticed.


def test_the_account_state_closes_before_anything_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise 6 rests on that order: a crash in between must leave a closed account state."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    order: list[str] = []
    watch(monkeypatch, world.stores.lineage_store, "set_status", order)
    watch(monkeypatch, world.stores.users, "forget", order)
    world.delete(caller)
    assert order == ["set_status", "forget"]


def test_an_unknown_address_costs_the_same_reads_as_a_known_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, read by read."""
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


def test_a_step_up_of_exactly_the_greatest_age_is_good(world: World) -> None:
    """``max_age`` is the last second that counts."""
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
    """The nonce comes first: a captured request, replayed, costs the owner no grant."""
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


def test_one_key_on_two_accounts_has_two_buckets(world: World) -> None:
    """A person's wrong guesses at one account must not lock the device out of the other."""
    phone = world.phone()
    world.register(phone)
    world.register(phone, email="eve@example.com")
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX):
        with pytest.raises(InvalidCredentials):
            world.login(phone, password="not the password at all")
    with pytest.raises(errors.TooManyRequests):
        world.login(phone)
    assert world.login(phone, email="eve@example.com")


def test_what_only_renews_is_always_opaque_and_reuse_is_signalled(world: World) -> None:
    """The registry names the form of tokens for calls; the operator's alarm hangs on the signal."""
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
