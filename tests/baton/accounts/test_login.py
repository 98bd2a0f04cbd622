"""Register and log in: the same to the eye, the same work, repeated safely, throttled before hashing."""

from typing import Any

import argon2.low_level
import pytest

from chalicelib.baton import errors
from chalicelib.baton.accounts.login_request import Device
from chalicelib.baton.accounts.refusals import AccountExists
from chalicelib.baton.effects import Moved
from chalicelib.baton.factors import password_hash
from chalicelib.baton.factors.refusals import InvalidCredentials, TooCommon, TooShort
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import (
    FAILURES_PER_ACCOUNT_MAX,
    FAILURES_PER_KNOWN_DEVICE_MAX,
    FAILURES_PER_SOURCE_MAX,
    LINEAGES_MAX,
    REGISTRATIONS_PER_SOURCE_MAX,
    THROTTLE_WINDOW_S,
)
from chalicelib.baton.proof.refusals import SignatureRequired, WrongKey
from chalicelib.baton.tokens.refusals import UnknownClient
from tests.baton.world import EMAIL, PASSWORD, Phone, World

WRONG = "another long and wrong one"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Count every Argon2 computation."""
    computed: list[str] = []
    for name in ("hash_secret", "verify_secret"):
        real = getattr(argon2.low_level, name)

        def counted(*arguments: Any, name: str = name, real: Any = real, **named: Any) -> Any:
            computed.append(name)
            return real(*arguments, **named)

        monkeypatch.setattr(argon2.low_level, name, counted)
    return computed


@pytest.fixture
def asked(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write down every verb that a store is asked."""
    verbs: list[str] = []
    for store in (world.stores.users, world.stores.lineage_store, world.stores.ephemeral):
        for verb in [name for name in vars(type(store)) if not name.startswith("_")]:
            real = getattr(store, verb)

            def watched(*given: Any, verb: str = verb, real: Any = real, **named: Any) -> Any:
                verbs.append(verb)
                return real(*given, **named)

            monkeypatch.setattr(store, verb, watched)
    return verbs


def refusal_of(world: World, phone: Phone, **arguments: str) -> tuple[str, dict[str, object]]:
    """Log in in vain."""
    with pytest.raises(errors.Refusal) as refused:
        world.login(phone, **arguments)
    return refused.value.code, refused.value.members


@pytest.mark.guarantee(11)
def test_wrong_unknown_and_disabled_are_the_same_to_the_eye_and_cost_the_same(
    world: World, hashed: list[str], asked: list[str]
) -> None:
    """Promise 11: one answer, one Argon2 computation, the same reads and writes."""
    world.register(world.phone())
    world.register(world.phone(), email="off@example.com")
    world.set_status("off@example.com", Status.DISABLED)
    seen, work = [], []
    for email, password in ((EMAIL, WRONG), ("nobody@example.com", PASSWORD), ("off@example.com", PASSWORD)):
        hashed.clear()
        asked.clear()
        seen.append(refusal_of(world, world.phone(), email=email, password=password))
        work.append((list(hashed), list(asked)))
    assert seen == [("invalid_credentials", {})] * 3
    assert work == [(["verify_secret"], ["find", "get", "count", "count", "get"])] * 3


@pytest.mark.guarantee(11)
def test_the_right_password_of_a_disabled_account_counts_as_a_wrong_one(world: World) -> None:
    """Given back, its slots would tell it from the wrong ones that fill the bucket."""
    world.register(world.phone())
    world.set_status(EMAIL, Status.DISABLED)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        assert refusal_of(world, world.phone())[0] == "invalid_credentials"
    assert refusal_of(world, world.phone())[0] == "too_many_requests"


@pytest.mark.guarantee(11)
def test_a_throttled_login_is_refused_before_any_hashing(world: World, hashed: list[str]) -> None:
    """Right password or wrong, known address or not: 429, and no Argon2."""
    world.register(world.phone())
    for email in (EMAIL, "nobody@example.com"):
        for number in range(FAILURES_PER_ACCOUNT_MAX):
            code, _ = refusal_of(world, world.phone(), email=email, password=WRONG, source=f"198.51.100.{number}")
            assert code == "invalid_credentials"
        hashed.clear()
        for password in (PASSWORD, WRONG):
            with pytest.raises(errors.TooManyRequests) as refused:
                world.login(world.phone(), email=email, password=password, source="203.0.113.9")
            assert refused.value.retry_after == THROTTLE_WINDOW_S - world.clock() % THROTTLE_WINDOW_S
        assert hashed == []
    world.clock.skip(THROTTLE_WINDOW_S)
    assert world.login(world.phone())


def test_a_stranger_who_fills_his_own_bucket_is_no_accounts_trouble(world: World) -> None:
    """A hundred of his refused logins in five minutes rang the alarm. Guesses at an account count it once."""
    world.register(world.phone())
    for number in range(FAILURES_PER_SOURCE_MAX + 20):
        refusal_of(world, world.phone(), email=f"x{number}@example.com", password=WRONG, source="203.0.113.9")
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 20):
        refusal_of(world, world.phone(), password=WRONG, source="198.51.100.1")
    throttled = [facts for event, facts in world.log.recorded if event == "throttled"]
    assert [facts["limit"] for facts in throttled] == ["source"] * 20 + ["account"] * 20
    assert [facts.get("first_of_account") for facts in throttled] == [None] * 20 + [1] + [0] * 19


def test_requests_in_each_others_way_are_their_callers_doing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs in often enough at once gets 503, and rings no alarm by it."""
    world.register(world.phone())
    monkeypatch.setattr(world.stores.lineage_store, "add_lineage", lambda *_, **__: Moved())
    with pytest.raises(errors.Unavailable, match="kept changing") as refused:
        world.login(world.phone())
    assert refused.value.by_caller


@pytest.mark.guarantee(11)
def test_strangers_cannot_lock_out_a_known_device(world: World) -> None:
    """A device that proved itself has a bucket of its own, whatever is tried elsewhere or from its own address."""
    phone = world.phone()
    world.register(phone)
    for number in range(FAILURES_PER_SOURCE_MAX):
        refusal_of(world, world.phone(), email=f"x{number}@example.com", password=WRONG)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        refusal_of(world, world.phone(), password=WRONG, source="198.51.100.1")
    assert refusal_of(world, world.phone())[0] == "too_many_requests"
    assert world.login(phone)


@pytest.mark.guarantee(11)
def test_a_known_device_has_a_limit_too(world: World) -> None:
    """A stolen, unlocked phone may not guess for ever."""
    phone = world.phone()
    world.register(phone)
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX):
        assert refusal_of(world, phone, password=WRONG)[0] == "invalid_credentials"
    assert refusal_of(world, phone)[0] == "too_many_requests"


def test_without_limits_nothing_is_counted(asked: list[str], world: World) -> None:
    """The development server alone may be told so."""
    free = World(limits=False, stores=world.stores)
    free.register(free.phone())
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 1):
        assert refusal_of(free, free.phone(), password=WRONG)[0] == "invalid_credentials"
    assert free.login(free.phone())
    assert not {"count", "uncount"} & set(asked)


def test_success_gives_its_slots_back(world: World) -> None:
    """An honest person may log in more often than the limit of failures."""
    world.register(world.phone())
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 2):
        assert world.login(world.phone())


@pytest.mark.guarantee(11)
def test_a_full_account_bucket_costs_its_source_nothing(world: World) -> None:
    """A login stopped by one bucket gives back what it took from another: it never reached the password."""
    world.register(world.phone())
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        refusal_of(world, world.phone(), password=WRONG, source="198.51.100.1")
    for _ in range(FAILURES_PER_SOURCE_MAX + 5):
        refusal_of(world, world.phone(), source="203.0.113.9")
    assert refusal_of(world, world.phone(), email="x@example.com", source="203.0.113.9")[0] == "invalid_credentials"


@pytest.mark.parametrize("broken", [("users", "get", 1), ("ephemeral", "count", 2)], ids=["a read", "a throttle"])
def test_a_brown_out_fills_nobodys_throttle(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, str, int]
) -> None:
    """Who tried a hundred times while a table did not answer was not wrong a hundred times; nor less wrong before."""
    world.register(world.phone())
    for _ in range(3):
        refusal_of(world, world.phone(), password=WRONG)
    counted = dict(world.stores.tables.windows)
    store, verb, fails_at = getattr(world.stores, broken[0]), *broken[1:]
    real, calls = getattr(store, verb), 0

    def failing(*given: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % fails_at == 0:
            raise errors.Unavailable("planted")
        return real(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(store, verb, failing)
        for _ in range(FAILURES_PER_SOURCE_MAX + 1):
            assert refusal_of(world, world.phone())[0] == "unavailable"
    assert world.stores.tables.windows == counted
    assert world.login(world.phone())


def test_a_slot_that_cannot_be_given_back_holds_up_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's bucket does not answer; the account's is given back all the same."""
    world.register(world.phone())
    give_back = world.stores.ephemeral.uncount

    def failing(bucket: str, **named: Any) -> None:
        if bucket.startswith("source:"):
            raise errors.Unavailable("planted")
        give_back(bucket, **named)

    def gone(_: Any) -> None:
        raise errors.Unavailable("planted")

    with monkeypatch.context() as patched:
        patched.setattr(world.stores.ephemeral, "uncount", failing)
        patched.setattr(world.stores.users, "get", gone)
        for number in range(FAILURES_PER_ACCOUNT_MAX):
            assert refusal_of(world, world.phone(), source=f"198.51.100.{number}")[0] == "unavailable"
    assert world.login(world.phone(), source="203.0.113.9")


def test_a_brown_out_is_told_though_the_throttle_does_not_answer_either(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be given back stays taken, and the answer is the 503 that came first."""
    world.register(world.phone())

    def failing(*_: Any, **named: Any) -> Any:
        raise errors.Unavailable("the throttle" if named else "the users")

    monkeypatch.setattr(world.stores.users, "get", failing)
    monkeypatch.setattr(world.stores.ephemeral, "uncount", failing)
    with pytest.raises(errors.Unavailable, match="the users"):
        world.login(world.phone())


@pytest.mark.guarantee(11)
def test_registrations_are_throttled_per_source_successes_counted(world: World, hashed: list[str]) -> None:
    """Registration tells that an address is taken: a hundred an hour from one source."""
    world.register(world.phone("none"), client_id="simple")
    for _ in range(REGISTRATIONS_PER_SOURCE_MAX - 1):
        world.stores.ephemeral.count(
            "register:192.0.2.1", limit=REGISTRATIONS_PER_SOURCE_MAX, window_s=3600, now=world.clock()
        )
    hashed.clear()
    with pytest.raises(errors.TooManyRequests):
        world.register(world.phone(), email="bob@example.com")
    assert hashed == []


@pytest.mark.guarantee(2)
@pytest.mark.parametrize("kind", ["P-256", "hmac", "none"])
@pytest.mark.parametrize("journey", ["register", "login"])
def test_a_lost_answer_is_repeated_with_its_attempt(world: World, journey: str, kind: str) -> None:
    """The same attempt gets the same tokens and the same secret, and no second lineage."""
    client_id = "simple" if kind == "none" else "mobile"
    phone, attempt = world.phone(kind), world.attempt()
    if journey == "login":
        world.register(world.phone())
    enter = getattr(world, journey)
    first = enter(phone, client_id=client_id, attempt=attempt)
    world.clock.skip(2)
    again = enter(phone, client_id=client_id, attempt=attempt)
    assert (again.access_token, again.secret, again.device_id) == (first.access_token, first.secret, first.device_id)
    assert again.expires_in == first.expires_in - 2
    assert bool(first.secret) == bool(first.key_id) == (kind == "hmac")
    (account_state,) = world.stores.tables.lineages.values()
    assert len(account_state.lineages) == (1 if journey == "register" else 2)


def test_a_registration_whose_lineage_was_replaced_is_superseded(world: World) -> None:
    """Its account is there, its login is not: whoever repeats it has to log in."""
    phone, attempt = world.phone(), world.attempt()
    world.register(phone, attempt=attempt)
    for _ in range(LINEAGES_MAX):
        world.clock.skip(30)
        world.login(world.phone())
    with pytest.raises(errors.Superseded):
        world.register(phone, attempt=attempt)


def test_a_weak_password_opens_no_account(world: World, asked: list[str]) -> None:
    """It is refused before anything is asked, at registration as at a change."""
    for password, refusal in (("short", TooShort), ("passwordpassword", TooCommon)):
        with pytest.raises(refusal):
            world.register(world.phone(), password=password)
    assert not asked


@pytest.mark.parametrize("journey", ["register", "login"])
def test_an_attempt_whose_lineage_went_on_or_ended_is_superseded(world: World, journey: str) -> None:
    """A login repeated after its token was exchanged, or its lineage ended, gets no second child."""
    phone, other, attempt, another = world.phone(), world.phone(), world.attempt(), world.attempt()
    if journey == "login":
        world.register(world.phone())
    enter = getattr(world, journey)
    world.exchange(phone, enter(phone, attempt=attempt).access_token, attempt=world.attempt())
    with pytest.raises(errors.Superseded):
        enter(phone, attempt=attempt)
    email = EMAIL if journey == "login" else "bob@example.com"
    ended = enter(other, attempt=another, email=email)
    world.logout(world.use(other, ended.access_token), everywhere=False)
    with pytest.raises(errors.Superseded):
        enter(other, attempt=another, email=email)


def test_the_password_is_verified_before_a_retry_is_answered(world: World) -> None:
    """Knowing an attempt, or replaying its bytes, is not knowing the password."""
    phone, attempt = world.phone(), world.attempt()
    world.register(phone, attempt=attempt)
    with pytest.raises(AccountExists):
        world.register(phone, attempt=attempt, password=WRONG + " one")
    login_attempt = world.attempt()
    world.login(phone, attempt=login_attempt)
    with pytest.raises(InvalidCredentials):
        world.login(phone, attempt=login_attempt, password=WRONG)


def test_a_retry_with_another_key_is_not_answered(world: World) -> None:
    """An attempt is bound to the binding it introduced."""
    attempt = world.attempt()
    world.register(world.phone())
    world.login(world.phone(), attempt=attempt)
    with pytest.raises(errors.Superseded):
        world.login(world.phone(), attempt=attempt)


def test_an_address_is_claimed_once_however_it_is_written(world: World) -> None:
    """NFKC, trimmed, lower-cased whole."""
    world.register(world.phone(), email="Ada@Example.COM")
    with pytest.raises(AccountExists):
        world.register(world.phone(), email="  ada@example.com ")
    assert world.login(world.phone(), email="ADA@example.com")


def test_a_client_that_requires_a_binding_gets_none_without(world: World) -> None:
    """``mobile`` without a key or an HMAC secret is ``signature_required``; an unknown client is refused."""
    with pytest.raises(SignatureRequired):
        world.register(world.phone("none"))
    with pytest.raises(UnknownClient):
        world.register(world.phone(), client_id="nobody")


@pytest.mark.guarantee(4)
def test_a_key_must_sign_the_request_that_introduces_it(world: World) -> None:
    """Somebody else's public key cannot be registered: unsigned, or signed by another key."""
    phone, thief = world.phone(), world.phone()
    unsigned = phone.message("POST", "/api/register", body=b"{}", attempt=world.attempt(), signed=False)
    foreign = thief.message("POST", "/api/register", body=b"{}", attempt=world.attempt())
    for message, refusal in ((unsigned, SignatureRequired), (foreign, WrongKey)):
        with pytest.raises(refusal):
            world._register(message, source="", email=EMAIL, password=PASSWORD, client_id="mobile", device=phone.device)
    assert not world.stores.tables.lineages


def test_one_device_too_many_removes_an_ended_one_first_then_the_least_recently_used(world: World) -> None:
    """The cap holds; ended ones go first, then the longest idle."""
    phones = [world.phone() for _ in range(LINEAGES_MAX)]
    issued = [world.register(phones[0])]
    for phone in phones[1:]:
        world.clock.skip(30)
        issued.append(world.login(phone))
    world.logout(world.use(phones[3], issued[3].access_token), everywhere=False)
    world.clock.skip(660)
    world.login(world.phone())
    (account_state,) = world.stores.tables.lineages.values()
    assert issued[3].device_id not in account_state.lineages
    assert issued[0].device_id in account_state.lineages
    world.login(world.phone())
    (account_state,) = world.stores.tables.lineages.values()
    assert issued[0].device_id not in account_state.lineages
    assert len(account_state.lineages) == LINEAGES_MAX
    with pytest.raises(errors.LoginRequired):
        world.exchange(phones[0], issued[0].access_token, attempt=world.attempt())


@pytest.mark.guarantee(10)
def test_a_password_hash_copied_to_another_accounts_row_does_not_work_there(world: World) -> None:
    """Promise 10: whoever can write the users table still cannot log in as somebody else with their own password."""
    from msgspec.structs import replace

    world.register(world.phone(), email="mallory@example.com")
    world.register(world.phone(), email="victim@example.com", password="granite umbrella conversation")
    users = world.stores.tables.users
    mallory, victim = sorted(users.values(), key=lambda user: user.email)
    users[victim.account] = replace(victim, password_hash=mallory.password_hash)
    with pytest.raises(errors.Unavailable):
        world.login(world.phone(), email="victim@example.com")


def test_a_deleted_address_is_free_and_its_old_attempt_is_dead(world: World) -> None:
    """After a deletion, complete or half-way, the address can be registered anew; the old attempt revives nothing."""
    phone, attempt = world.phone(), world.attempt()
    first = world.register(phone, attempt=attempt)
    claims = dict(world.stores.tables.claims)
    world.delete(world.use(phone, first.access_token))
    # A crash between user and claim leaves the claim.
    world.stores.tables.claims.update(claims)
    with pytest.raises(errors.Superseded):
        world.register(phone, attempt=attempt)
    world.stores.tables.claims.update(claims)
    second = world.register(phone)
    assert world.use(phone, second.access_token).account != next(iter(claims.values()))
    with pytest.raises(errors.LoginRequired):
        world.use(phone, first.access_token)


def test_an_account_state_that_moves_under_a_login_starts_it_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody logs everybody out between reading and admitting: the login is admitted to the new epoch."""
    phone = world.phone()
    world.register(phone)
    real, lineage_store = world.stores.lineage_store.add_lineage, world.stores.lineage_store
    moved: list[bool] = []

    def add_lineage(*arguments: Any, **named: Any) -> Any:
        if not moved:
            moved.append(True)
            (account,) = world.stores.tables.lineages
            lineage_store.set_status(account, Status.DISABLED, now=world.clock())
            lineage_store.set_status(account, Status.ACTIVE, now=world.clock())
        return real(*arguments, **named)

    monkeypatch.setattr(lineage_store, "add_lineage", add_lineage, raising=False)
    issued = world.login(world.phone("none"), client_id="simple")
    assert world.use(world.phone("none"), issued.access_token)


def test_a_device_brings_a_key_or_asks_for_a_secret_not_both(world: World) -> None:
    """Otherwise nobody could say which of the two binds the login."""
    phone = world.phone()
    message = phone.message("POST", "/api/register", body=b"{}", attempt=world.attempt())
    both = Device(name="x", public_key=phone.public_key, hmac=True)
    with pytest.raises(errors.Malformed):
        world._register(message, source="", email=EMAIL, password=PASSWORD, client_id="mobile", device=both)


def test_a_retry_through_another_client_is_not_answered(world: World) -> None:
    """The lineage of an attempt belongs to the client it was begun for."""
    phone, attempt = world.phone(), world.attempt()
    world.register(world.phone())
    world.login(phone, attempt=attempt, client_id="mobile")
    with pytest.raises(errors.Superseded):
        world.login(phone, attempt=attempt, client_id="mobile-opaque")


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("moment", ["while it is checked", "before it is admitted"])
def test_a_password_changed_during_a_login_admits_nobody_by_the_old_one(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Promise 6: what the state said before the password was read no longer holds; 503, and nobody is let in."""
    phone = world.phone()
    issued = world.register(phone)
    caller = world.use(phone, issued.access_token)
    store, name = (
        (world.stores.users, "get") if moment == "while it is checked" else (world.stores.lineage_store, "add_lineage")
    )
    real = getattr(store, name)
    changed: list[bool] = []

    def meanwhile(*arguments: Any, **named: Any) -> Any:
        found = real(*arguments, **named) if name == "get" else None
        if not changed:
            changed.append(True)
            world.change_password(caller, "granite umbrella conversation")
        return found if name == "get" else real(*arguments, **named)

    monkeypatch.setattr(store, name, meanwhile, raising=False)
    with pytest.raises(errors.Unavailable):
        world.login(world.phone())
    (account_state,) = world.stores.tables.lineages.values()
    assert list(account_state.lineages) == [issued.device_id]


def test_a_password_hash_of_other_parameters_is_made_anew_at_login(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost may be raised; people's verifiers follow as they log in."""
    world.register(world.phone())
    (before,) = [user.password_hash for user in world.stores.tables.users.values()]
    monkeypatch.setattr(password_hash, "_CURRENT", (password_hash._CURRENT[0], password_hash._CURRENT[1] + 1, 1))
    world.login(world.phone())
    (after,) = [user.password_hash for user in world.stores.tables.users.values()]
    assert after != before
    world.login(world.phone())
    assert [user.password_hash for user in world.stores.tables.users.values()] == [after]
