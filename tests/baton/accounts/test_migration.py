"""The first login of people of another system: `Baton.migrate_with`."""

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts import migration as migrating
from chalicelib.baton.accounts.arriving import Arrival, account_of
from chalicelib.baton.accounts.migration import MIGRATION_DAYS_MAX, Migrated, Migration
from chalicelib.baton.effects import Done
from chalicelib.baton.factors.refusals import EnrolmentRequired, InvalidCredentials
from chalicelib.baton.lineages.model import AccountState, Status
from chalicelib.baton.policy import FAILURES_PER_ACCOUNT_MAX
from tests.baton.fixture import load_environment
from tests.baton.world import EMAIL, PASSWORD, START, World

WRONG = "another long and wrong one"
OLD = "short"  # passwords of other systems may be shorter than Baton's limit for new ones


class Elsewhere:
    """Another system: its addresses with their passwords, and its answer. ``asked`` records its calls."""

    def __init__(self, world: World, *, answer: Migrated | None = None, until: int = START + 1000) -> None:
        """Serve one person."""
        self.asked: list[tuple[str, str]] = []
        self.answer = answer or Migrated(email_verified=True, source_id="old|1")
        world.migration = Migration(self, until)

    def __call__(self, email: str, password: str) -> Migrated | None:
        """Compare the password."""
        self.asked.append((email, password))
        return self.answer if (email, password) == (EMAIL, OLD) else None


def imported(world: World, **members: object) -> AccountState:
    """Import a person who has no password here yet (``migrate``)."""
    arrival = Arrival(email=EMAIL, source_id="old|1", migrate=True, **members)  # type: ignore[arg-type] # its members
    user, account_state = account_of(arrival, world.key_ring.ring, entropy=world.entropy, now=START - 100)
    assert world.stores.users.register(user, account_state) == Done()
    return account_state


def refused(world: World, **arguments: str) -> str:
    """Send a login that must be refused, and return its code."""
    with pytest.raises(errors.Refusal) as refusal:
        world.login(world.phone(), **arguments)
    return refusal.value.code


def test_an_unknown_person_moves_at_the_first_login_and_is_known_afterwards(world: World) -> None:
    """The password of the other system is hashed here. The other system is not asked again."""
    elsewhere = Elsewhere(world)
    assert refused(world, password=WRONG) == "invalid_credentials"
    assert world.login(world.phone(), password=OLD)
    assert world.login(world.phone(), password=OLD)
    assert refused(world, password=WRONG) == "invalid_credentials"
    assert elsewhere.asked == [(EMAIL, WRONG), (EMAIL, OLD)]
    account = world.stores.users.find(world.key_ring.ring.email_index(EMAIL))
    assert account is not None
    user = world.stores.users.get(account)
    assert user is not None
    assert user.verified_at is not None
    stored = world.stores.audit.newest(account, before=None, limit=9, now=START)
    moves = [one.event.details for one in stored if one.event.event == "account_migrated"]
    assert moves == [{"source_id": "old|1"}]


def test_an_imported_person_who_waits_gets_the_first_password(world: World) -> None:
    """The person gets the imported account, not a new account.

    Its credentials version rises, as with any new password.
    """
    account_state = imported(world)
    elsewhere = Elsewhere(world)
    assert world.login(world.phone(), password=OLD)
    user, after = world.stores.users.get(account_state.account), world.stores.lineage_store.get(account_state.account)
    assert user is not None
    assert after is not None
    assert (user.credentials_version, user.migrate) == (2, False)
    assert after.credentials_version == 2
    assert user.created_at == START - 100
    assert elsewhere.asked == [(EMAIL, OLD)]
    world.migration = None
    assert world.login(world.phone(), password=OLD)


def test_a_person_who_does_not_wait_is_never_asked_about(world: World) -> None:
    """The hook is not called for an account that has a password here, does not wait for a password, or is disabled."""
    elsewhere = Elsewhere(world)
    world.register(world.phone())
    assert refused(world, password=OLD) == "invalid_credentials"
    account_state = imported_other(world, migrate=False)
    assert refused(world, email="bob@example.com", password=OLD) == "invalid_credentials"
    waiting = imported_other(world, email="eve@example.com", migrate=True, disabled=True)
    assert waiting.status is Status.DISABLED
    assert refused(world, email="eve@example.com", password=OLD) == "invalid_credentials"
    assert elsewhere.asked == []
    assert account_state.lineages == {}


def imported_other(world: World, *, email: str = "bob@example.com", **members: bool) -> AccountState:
    """Import another person."""
    arrival = Arrival(email=email, source_id="", **members)  # type: ignore[arg-type] # its members
    user, account_state = account_of(arrival, world.key_ring.ring, entropy=world.entropy, now=START)
    assert world.stores.users.register(user, account_state) == Done()
    return account_state


def test_after_its_date_the_other_system_is_not_asked(world: World) -> None:
    """Otherwise the time of a login would permanently reveal which addresses have moved."""
    elsewhere = Elsewhere(world, until=START)
    assert refused(world, password=OLD) == "invalid_credentials"
    assert elsewhere.asked == []


@pytest.mark.guarantee(11)
def test_guesses_are_limited_before_the_other_system_is_asked(world: World) -> None:
    """The rate limit of the address counts the guesses. After the limit, the other system is not called."""
    elsewhere = Elsewhere(world)
    for _ in range(FAILURES_PER_ACCOUNT_MAX):
        assert refused(world, password=WRONG) == "invalid_credentials"
    assert refused(world, password=OLD) == "too_many_requests"
    assert len(elsewhere.asked) == FAILURES_PER_ACCOUNT_MAX


@pytest.mark.guarantee(9)
@pytest.mark.parametrize("kind", ["raises", "unavailable", "slow"])
def test_a_failure_of_the_other_system_is_never_a_wrong_password(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The answer is 503, and the attempt does not count. A late answer is dropped."""
    free = threading.Event()

    def hook(_email: str, _password: str) -> Migrated | None:
        if kind == "raises":
            raise RuntimeError(OLD)
        if kind == "unavailable":
            raise errors.Unavailable("the pool is down")
        free.wait(10)
        return Migrated()

    monkeypatch.setattr(migrating, "MIGRATION_ANSWER_MAX_S", 0.05)
    world.migration = Migration(hook, START + 1000)
    for _ in range(FAILURES_PER_ACCOUNT_MAX + 1):
        with pytest.raises(errors.Unavailable) as failure:
            world.login(world.phone(), password=OLD)
        assert OLD not in failure.value.reason
    free.set()
    Elsewhere(world)
    assert world.login(world.phone(), password=OLD)


class TestSecondFactor:
    """The other system requires a second factor, which its password login did not prove."""

    def test_the_person_proves_the_mailbox_and_enrols_before_any_token(self) -> None:
        """The next login has this requirement too: it is stored with the account."""
        world = World(mail=True)
        Elsewhere(world, answer=Migrated(source_id="old|1", second_factor=True))
        for _ in range(2):
            with pytest.raises(EnrolmentRequired) as asked:
                world.login(world.phone(), password=OLD)
            assert asked.value.members["factors"] == ("email_code",)
        account = world.stores.users.find(world.key_ring.ring.email_index(EMAIL))
        assert account is not None
        account_state = world.stores.lineage_store.get(account)
        assert account_state is not None
        assert account_state.second_factor_required
        assert account_state.lineages == {}

    def test_an_imported_person_too(self) -> None:
        """The requirement is stored in the same write as the first password."""
        world = World(mail=True)
        account = imported(world).account
        Elsewhere(world, answer=Migrated(second_factor=True))
        with pytest.raises(EnrolmentRequired):
            world.login(world.phone(), password=OLD)
        account_state = world.stores.lineage_store.get(account)
        assert account_state is not None
        assert account_state.second_factor_required

    @pytest.mark.guarantee(14)
    def test_without_mail_the_password_alone_does_not_avoid_it(self, world: World) -> None:
        """Without mail, the person cannot prove the mailbox. The login is refused, and nothing is stored."""
        Elsewhere(world, answer=Migrated(second_factor=True))
        assert refused(world, password=OLD) == "invalid_credentials"
        assert world.stores.users.find(world.key_ring.ring.email_index(EMAIL)) is None


@pytest.mark.parametrize("meanwhile", ["registered", "given a password", "disabled"])
def test_an_account_that_changed_while_the_other_system_was_asked_stays_as_it_is(world: World, meanwhile: str) -> None:
    """The write of the first password has a condition. The person repeats the login."""
    account = None if meanwhile == "registered" else imported(world).account

    def hook(_email: str, _password: str) -> Migrated | None:
        if account is None:
            world.register(world.phone())
        elif meanwhile == "disabled":
            world.set_status(EMAIL, Status.DISABLED)
        else:
            user = world.stores.users.get(account)
            assert user is not None
            world.stores.tables.users[account] = replace(user, password_hash=b"another", credentials_version=2)
        return Migrated(source_id="old|1")

    world.migration = Migration(hook, START + 1000)
    with pytest.raises((errors.Unavailable, InvalidCredentials)):
        world.login(world.phone(), password=OLD)
    world.migration = None
    if meanwhile == "registered":
        assert world.login(world.phone(), password=PASSWORD)
    else:
        assert account is not None
        user = world.stores.users.get(account)
        assert user is not None
        assert user.password_hash == (b"another" if meanwhile == "given a password" else None)


class TestRegistering:
    """`Baton.migrate_with` itself."""

    @pytest.fixture
    def today(self) -> date:
        """Return the date of today."""
        return datetime.now(tz=UTC).date()

    def test_one_function_until_a_date_within_a_year(self, today: date) -> None:
        """Each mistake is an error when the app starts. A date in the past is accepted: the app must still start."""
        baton = load_environment().baton
        with pytest.raises(ValueError, match="days ahead"):
            baton.migrate_with(lambda *_: None, until=today + timedelta(days=MIGRATION_DAYS_MAX + 2))
        baton.migrate_with(lambda *_: None, until=today - timedelta(days=1))
        with pytest.raises(RuntimeError, match="called before"):
            baton.migrate_with(lambda *_: None, until=today)

    def test_over_the_whole_app(
        self, make_device: Callable[..., object], monkeypatch: pytest.MonkeyPatch, today: date
    ) -> None:
        """The function gets the canonical address and the password as typed."""
        del make_device, monkeypatch
        baton = load_environment().baton
        asked: list[tuple[str, str]] = []

        def hook(email: str, password: str) -> Migrated | None:
            asked.append((email, password))
            return Migrated()

        baton.migrate_with(hook, until=today + timedelta(days=30))
        migration = baton._migration
        assert migration is not None
        assert migration.until == (today - date(1970, 1, 1)).days * 86_400 + 30 * 86_400
        assert migration.hook(EMAIL, "x") == Migrated()
        assert asked == [(EMAIL, "x")]
