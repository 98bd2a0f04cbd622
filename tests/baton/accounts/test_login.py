"""Registration and login: equal answers, equal work, safe repetition, and rate limits before the password hash."""

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
    """Record each Argon2 computation."""
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
    """Record each method call of the stores."""
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
    """Send a login that must be refused."""
    with pytest.raises(errors.Refusal) as refused:
        world.login(phone, **arguments)
    return refused.value.code, refused.value.members


@pytest.mark.guarantee(11)
def test_wrong_unknown_and_disabled_get_the_same_answer_at_the_same_cost(
    world: World, hashed: list[str], asked: list[str]
) -> None:
    """Guarantee 11: one answer, one Argon2 computation, the same reads and writes."""
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
def test_the_correct_password_of_a_disabled_account_counts_as_a_wrong_one(world: World) -> None:
    """If it did not count, an attacker could distinguish it from a wrong password by the rate limit."""
    world.register(world.phone())
    world.set_status(EMAIL, Status.DISABLED)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        assert refusal_of(world, world.phone())[0] == "invalid_credentials"
    assert refusal_of(world, world.phone())[0] == "too_many_requests"


@pytest.mark.guarantee(11)
def test_a_rate_limited_login_is_refused_before_the_password_hash(world: World, hashed: list[str]) -> None:
    """The answer is 429 without Argon2, for right and wrong passwords and for known and unknown addresses."""
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


def test_the_rate_limit_of_a_source_is_no_event_of_an_account(world: World) -> None:
    """Refused logins of one stranger must not raise the alarm. The wrong passwords of one account count once."""
    world.register(world.phone())
    for number in range(FAILURES_PER_SOURCE_MAX + 20):
        refusal_of(world, world.phone(), email=f"x{number}@example.com", password=WRONG, source="203.0.113.9")
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 20):
        refusal_of(world, world.phone(), password=WRONG, source="198.51.100.1")
    throttled = [facts for event, facts in world.log.recorded if event == "throttled"]
    assert [facts["limit"] for facts in throttled] == ["source"] * 20 + ["account"] * 20
    assert [facts.get("first_of_account") for facts in throttled] == [None] * 20 + [1] + [0] * 19


def test_parallel_logins_of_one_account_are_503_by_the_caller(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many parallel logins get 503. They must not raise the alarm for server errors."""
    world.register(world.phone())
    monkeypatch.setattr(world.stores.lineage_store, "add_lineage", lambda *_, **__: Moved())
    with pytest.raises(errors.Unavailable, match="kept changing") as refused:
        world.login(world.phone())
    assert refused.value.by_caller


@pytest.mark.guarantee(11)
def test_strangers_cannot_lock_out_a_known_device(world: World) -> None:
    """A known device has its own rate limit. Failures elsewhere, or from the same address, do not count against it."""
    phone = world.phone()
    world.register(phone)
    for number in range(FAILURES_PER_SOURCE_MAX):
        refusal_of(world, world.phone(), email=f"x{number}@example.com", password=WRONG)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        refusal_of(world, world.phone(), password=WRONG, source="198.51.100.1")
    assert refusal_of(world, world.phone())[0] == "too_many_requests"
    assert world.login(phone)


@pytest.mark.guarantee(11)
def test_a_known_device_has_a_rate_limit_too(world: World) -> None:
    """A thief with an unlocked phone has a limited number of guesses."""
    phone = world.phone()
    world.register(phone)
    for _ in range(FAILURES_PER_KNOWN_DEVICE_MAX):
        assert refusal_of(world, phone, password=WRONG)[0] == "invalid_credentials"
    assert refusal_of(world, phone)[0] == "too_many_requests"


def test_without_rate_limits_nothing_is_counted(asked: list[str], world: World) -> None:
    """Only the development server allows this setting."""
    free = World(limits=False, stores=world.stores)
    free.register(free.phone())
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 1):
        assert refusal_of(free, free.phone(), password=WRONG)[0] == "invalid_credentials"
    assert free.login(free.phone())
    assert not {"count", "uncount"} & set(asked)


def test_a_successful_login_does_not_count_as_a_failure(world: World) -> None:
    """A person may log in more often than the limit of failures."""
    world.register(world.phone())
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 2):
        assert world.login(world.phone())


@pytest.mark.guarantee(11)
def test_a_login_refused_by_the_account_limit_does_not_count_for_its_source(world: World) -> None:
    """The password was not checked, so the count of the source is restored."""
    world.register(world.phone())
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        refusal_of(world, world.phone(), password=WRONG, source="198.51.100.1")
    for _ in range(FAILURES_PER_SOURCE_MAX + 5):
        refusal_of(world, world.phone(), source="203.0.113.9")
    assert refusal_of(world, world.phone(), email="x@example.com", source="203.0.113.9")[0] == "invalid_credentials"


@pytest.mark.parametrize("broken", [("users", "get", 1), ("ephemeral", "count", 2)], ids=["a read", "a rate limit"])
def test_a_login_during_a_database_failure_is_not_counted(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: tuple[str, str, int]
) -> None:
    """No password was checked, so the limits neither rise nor fall."""
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


def test_one_count_that_cannot_be_restored_does_not_block_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of the source cannot be written. The limit of the account is restored."""
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


def test_a_database_failure_is_503_even_if_the_count_cannot_be_restored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count stays, and the first failure is returned."""
    world.register(world.phone())

    def failing(*_: Any, **named: Any) -> Any:
        raise errors.Unavailable("the throttle" if named else "the users")

    monkeypatch.setattr(world.stores.users, "get", failing)
    monkeypatch.setattr(world.stores.ephemeral, "uncount", failing)
    with pytest.raises(errors.Unavailable, match="the users"):
        world.login(world.phone())


@pytest.mark.guarantee(11)
def test_registrations_of_one_source_are_limited_and_successes_count(world: World, hashed: list[str]) -> None:
    """Registration reveals registered addresses, so one source may send a hundred an hour."""
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
def test_a_login_with_a_lost_answer_is_repeated_with_its_attempt(world: World, journey: str, kind: str) -> None:
    """The same attempt gets the same tokens and the same secret. No second lineage is added."""
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


def test_a_registration_whose_lineage_was_removed_is_superseded(world: World) -> None:
    """The account exists, but its first login does not. The client must log in."""
    phone, attempt = world.phone(), world.attempt()
    world.register(phone, attempt=attempt)
    for _ in range(LINEAGES_MAX):
        world.clock.skip(30)
        world.login(world.phone())
    with pytest.raises(errors.Superseded):
        world.register(phone, attempt=attempt)


def test_a_weak_password_registers_no_account(world: World, asked: list[str]) -> None:
    """The password is refused before any store is called."""
    for password, refusal in (("short", TooShort), ("passwordpassword", TooCommon)):
        with pytest.raises(refusal):
            world.register(world.phone(), password=password)
    assert not asked


@pytest.mark.parametrize("journey", ["register", "login"])
def test_an_attempt_whose_lineage_has_advanced_or_ended_is_superseded(world: World, journey: str) -> None:
    """A login that is repeated after an exchange or after its end gets no second child token."""
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


def test_the_password_is_verified_before_a_repetition_is_answered(world: World) -> None:
    """A correct attempt, or the same request bytes, do not replace the password."""
    phone, attempt = world.phone(), world.attempt()
    world.register(phone, attempt=attempt)
    with pytest.raises(AccountExists):
        world.register(phone, attempt=attempt, password=WRONG + " one")
    login_attempt = world.attempt()
    world.login(phone, attempt=login_attempt)
    with pytest.raises(InvalidCredentials):
        world.login(phone, attempt=login_attempt, password=WRONG)


def test_a_repetition_with_another_key_is_not_answered(world: World) -> None:
    """An attempt belongs to the binding of its first request."""
    attempt = world.attempt()
    world.register(world.phone())
    world.login(world.phone(), attempt=attempt)
    with pytest.raises(errors.Superseded):
        world.login(world.phone(), attempt=attempt)


def test_an_address_can_be_registered_once_in_any_spelling(world: World) -> None:
    """The canonical form is NFKC, trimmed and completely in lower case."""
    world.register(world.phone(), email="Ada@Example.COM")
    with pytest.raises(AccountExists):
        world.register(world.phone(), email="  ada@example.com ")
    assert world.login(world.phone(), email="ADA@example.com")


def test_a_client_that_requires_a_binding_refuses_a_login_without_one(world: World) -> None:
    """``mobile`` without a key or HMAC secret is ``signature_required``. An unknown client is refused too."""
    with pytest.raises(SignatureRequired):
        world.register(world.phone("none"))
    with pytest.raises(UnknownClient):
        world.register(world.phone(), client_id="nobody")


@pytest.mark.guarantee(4)
def test_a_new_key_must_sign_the_request_that_contains_it(world: World) -> None:
    """The public key of another device cannot be registered: the request is unsigned, or signed with another key."""
    phone, thief = world.phone(), world.phone()
    unsigned = phone.message("POST", "/api/register", body=b"{}", attempt=world.attempt(), signed=False)
    foreign = thief.message("POST", "/api/register", body=b"{}", attempt=world.attempt())
    for message, refusal in ((unsigned, SignatureRequired), (foreign, WrongKey)):
        with pytest.raises(refusal):
            world._register(message, email=EMAIL, password=PASSWORD, client_id="mobile", device=phone.device)
    assert not world.stores.tables.lineages


def test_a_login_above_the_limit_removes_ended_lineages_then_the_least_recently_used(world: World) -> None:
    """The number of lineages never exceeds the limit."""
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
def test_a_password_hash_copied_to_another_account_does_not_work_there(world: World) -> None:
    """Guarantee 10: write access to the users table does not give access to another account."""
    from msgspec.structs import replace

    world.register(world.phone(), email="mallory@example.com")
    world.register(world.phone(), email="victim@example.com", password="granite umbrella conversation")
    users = world.stores.tables.users
    mallory, victim = sorted(users.values(), key=lambda user: user.email)
    users[victim.account] = replace(victim, password_hash=mallory.password_hash)
    with pytest.raises(errors.Unavailable):
        world.login(world.phone(), email="victim@example.com")


def test_a_deleted_address_can_be_registered_again_and_its_old_attempt_cannot(world: World) -> None:
    """A complete and an interrupted deletion are tested. The old attempt restores nothing."""
    phone, attempt = world.phone(), world.attempt()
    first = world.register(phone, attempt=attempt)
    claims = dict(world.stores.tables.claims)
    world.delete(world.use(phone, first.access_token))
    # A crash between the two deletions leaves the e-mail index entry.
    world.stores.tables.claims.update(claims)
    with pytest.raises(errors.Superseded):
        world.register(phone, attempt=attempt)
    world.stores.tables.claims.update(claims)
    second = world.register(phone)
    assert world.use(phone, second.access_token).account != next(iter(claims.values()))
    with pytest.raises(errors.LoginRequired):
        world.use(phone, first.access_token)


def test_a_login_starts_again_if_the_account_state_changes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process ends all logins between the read and the write. The login is added with the new epoch."""
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


def test_a_device_cannot_have_a_key_and_an_hmac_secret(world: World) -> None:
    """The binding of the login would be ambiguous."""
    phone = world.phone()
    message = phone.message("POST", "/api/register", body=b"{}", attempt=world.attempt())
    both = Device(name="x", public_key=phone.public_key, hmac=True)
    with pytest.raises(errors.Malformed):
        world._register(message, email=EMAIL, password=PASSWORD, client_id="mobile", device=both)


def test_a_repetition_through_another_client_is_superseded(world: World) -> None:
    """The lineage of an attempt belongs to the client of its first request."""
    phone, attempt = world.phone(), world.attempt()
    world.register(world.phone())
    world.login(phone, attempt=attempt, client_id="mobile")
    with pytest.raises(errors.Superseded):
        world.login(phone, attempt=attempt, client_id="mobile-opaque")


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("moment", ["while it is checked", "before it is admitted"])
def test_a_password_change_during_a_login_refuses_the_old_password(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Guarantee 6: the account state changed after it was read. The answer is 503, and no login is added."""
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


def test_a_password_hash_with_old_parameters_is_replaced_at_login(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost can be raised later. Each hash is replaced at the next login of its account."""
    world.register(world.phone())
    (before,) = [user.password_hash for user in world.stores.tables.users.values()]
    monkeypatch.setattr(password_hash, "_CURRENT", (password_hash._CURRENT[0], password_hash._CURRENT[1] + 1, 1))
    world.login(world.phone())
    (after,) = [user.password_hash for user in world.stores.tables.users.values()]
    assert after != before
    world.login(world.phone())
    assert [user.password_hash for user in world.stores.tables.users.values()] == [after]
