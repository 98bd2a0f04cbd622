"""What every implementation of the ports must do. The stores on DynamoDB and in memory inherit these tests."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Final, Protocol, TypeVar

import pytest
from msgspec.structs import replace

from chalicelib.baton.accounts.ports import AddressTaken, Users
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.events.ports import Audit, AuditEvent
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.lineages.model import (
    AccountState,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    NoBinding,
    PresentedToken,
    SecretBinding,
    Status,
)
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import (
    Ahead,
    Exchanged,
    Inactive,
    ProofOutdated,
    Retry,
    Reused,
    Superseded,
    active_lineage,
    ended_of,
    exchange,
    may_act,
)
from chalicelib.baton.policy import NONCE_KEPT_S, ROLES_MAX, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.tokens.caller import GrantUsed, Operation
from chalicelib.baton.tokens.ports import OneTime
from tests.baton.making import (
    ACCOUNT,
    ACTOR,
    ATTEMPT,
    EPOCH,
    HISTORY,
    IDLE_S,
    MINE,
    MINE_LIVE,
    NEW,
    NEWBORN,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_ATTEMPT,
    OTHER_KEY,
    OTHER_LIVE,
    SOMEBODY_ELSE,
    USER,
    VERSION,
    presented,
    state_with,
)

T = TypeVar("T")

NEW_PASSWORD_HASH: Final = b"new sealed verifier"
MARK: Final = b"mark of this call"
OTHER_MARK: Final = b"mark of another"
OPERATION: Final = Operation(method="POST", path="/api/transfers", digest="sha-256=:YQ==:")
STEP_UP: Final = GrantUsed(at=NOW, assurance=MINE_LIVE.assurance)
GRANT: Final = "a grant's secret"
TICKET_ID: Final = b"sixteen bytes..."
NEXT: Final = LineageId("AQAAAAAAAAAAAAAF")
RACERS: Final = 8
ALL_ROLES: Final = frozenset(range(1, ROLES_MAX + 1))
NO_ROLES: Final = frozenset[int]()
ADMIN: Final = frozenset({1})
SUPPORT: Final = frozenset({2, 7})
INACTIVE: Final = [
    pytest.param(state_with(MINE_LIVE, OTHER_LIVE, status=Status.DISABLED), Inactive(), id="disabled"),
    pytest.param(state_with(OTHER_LIVE), Inactive(), id="removed"),
    pytest.param(
        replace(state_with(MINE_LIVE, OTHER_LIVE), epoch=EPOCH + 1, raised=Ended(NOW - 1, EndReason.PASSWORD_CHANGED)),
        Inactive(EndReason.PASSWORD_CHANGED),
        id="older epoch",
    ),
    pytest.param(
        state_with(
            replace(MINE_LIVE, ended=Ended(NOW - 1, EndReason.ENDED_BY_OWNER), attempts=(bytes(8),) * 4), OTHER_LIVE
        ),
        Inactive(EndReason.ENDED_BY_OWNER),
        id="ended",
    ),
    pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW), OTHER_LIVE), Inactive(EndReason.EXPIRED), id="expired"),
    pytest.param(
        state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1), OTHER_LIVE),
        Inactive(EndReason.ENDED_EVERYWHERE),
        id="before the not-before time",
    ),
    pytest.param(
        replace(state_with(MINE_LIVE, OTHER_LIVE), credentials_version=VERSION + 1), ProofOutdated(), id="new password"
    ),
]
"""Every way in which a login may not act, and the verdict."""


class Ephemeral(OneTime, RateLimits, Protocol):
    """All of the table ``ephemeral``."""


@dataclass(frozen=True, slots=True)
class Stores:
    """One implementation of the ports, and a way past them: ``seed`` and ``events``."""

    users: Users
    lineage_store: LineageStore
    ephemeral: Ephemeral
    audit: Audit
    seed: Callable[[AccountState], None]
    """Put an account state down as it is, whatever stood there."""
    events: Callable[[AccountId], list[AuditEvent]]
    """Read an account's events in their order."""


def race(racers: list[Callable[[], T]]) -> list[T]:
    """Let all of them go at once, and collect what each was answered."""
    start = Barrier(len(racers))

    def run(racer: Callable[[], T]) -> T:
        start.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(run, racers))


class Contract(ABC):
    """Gives the stores under test to the tests below."""

    @abstractmethod
    @pytest.fixture
    def stores(self) -> Stores:
        """Give the stores, empty."""


class UsersContract(Contract):
    """``accounts.ports.Users``."""

    def register(self, stores: Stores) -> AccountState:
        """Register a person with two devices and give the account state."""
        account_state = state_with(MINE_LIVE, OTHER_LIVE)
        assert stores.users.register(USER, account_state) == Done()
        return account_state

    def test_registering_writes_claim_user_and_account_state(self, stores: Stores) -> None:
        """A person who registered is found by the address, with user and account state as given."""
        account_state = self.register(stores)
        assert stores.users.find(USER.email_index) == ACCOUNT
        assert stores.users.get(ACCOUNT) == USER
        assert stores.lineage_store.get(ACCOUNT) == account_state

    def test_nobody_is_found_before_registering(self, stores: Stores) -> None:
        """An unknown address and an unknown account are absent, not an error."""
        assert stores.users.find(USER.email_index) is None
        assert stores.users.get(ACCOUNT) is None

    def test_a_taken_address_names_its_account_and_writes_nothing(self, stores: Stores) -> None:
        """A second account with the same address leaves neither user nor account state behind."""
        self.register(stores)
        second = replace(USER, account=SOMEBODY_ELSE)
        assert stores.users.register(second, state_with(account=SOMEBODY_ELSE)) == AddressTaken(ACCOUNT)
        assert stores.users.get(SOMEBODY_ELSE) is None
        assert stores.lineage_store.get(SOMEBODY_ELSE) is None

    def test_the_account_state_of_a_deleted_account_stands_in_the_way_of_its_id(self, stores: Stores) -> None:
        """Where only the account state is left, registering the same id is taken by itself and claims nothing."""
        stores.seed(state_with(status=Status.DELETED))
        assert stores.users.register(USER, state_with(MINE_LIVE)) == AddressTaken(ACCOUNT)
        assert stores.users.find(USER.email_index) is None
        assert stores.users.get(ACCOUNT) is None
        assert stores.lineage_store.get(ACCOUNT) == state_with(status=Status.DELETED)

    def test_a_user_without_that_claim_stands_in_the_way_of_its_id(self, stores: Stores) -> None:
        """The same id under another address is taken by itself."""
        self.register(stores)
        moved = replace(USER, email_index=EmailIndex("ada elsewhere"))
        assert stores.users.register(moved, state_with(MINE_LIVE)) == AddressTaken(ACCOUNT)
        assert stores.users.find(EmailIndex("ada elsewhere")) is None

    def test_the_very_same_registration_sent_again_is_done(self, stores: Stores) -> None:
        """Our own earlier sending is recognised by the verifier, sealed with random bytes of its own."""
        account_state = self.register(stores)
        assert stores.users.register(USER, account_state) == Done()

    def test_the_same_account_with_another_password_hash_is_taken(self, stores: Stores) -> None:
        """A retry of the app, hashed anew, is told whose the address is: the password decides then."""
        account_state = self.register(stores)
        assert stores.users.register(replace(USER, password_hash=NEW_PASSWORD_HASH), account_state) == AddressTaken(
            ACCOUNT
        )
        assert stores.users.get(ACCOUNT) == USER

    @pytest.mark.guarantee(8)
    def test_one_of_many_registrations_of_an_address_wins(self, stores: Stores) -> None:
        """Of eight accounts that claim one address at once, one is done and the others learn its id."""
        accounts = [AccountId(f"AQAAAAAAAAAAAA{number:02}") for number in range(RACERS)]

        def registering(account: AccountId) -> Callable[[], Done | AddressTaken]:
            user, account_state = replace(USER, account=account), state_with(account=account)
            return lambda: stores.users.register(user, account_state)

        answers = race([registering(account) for account in accounts])
        winner = stores.users.find(USER.email_index)
        assert winner is not None
        assert [account for account, answer in zip(accounts, answers, strict=True) if answer == Done()] == [winner]
        assert answers.count(AddressTaken(winner)) == RACERS - 1

    def change(
        self,
        stores: Stores,
        expected: AccountState,
        *,
        password_hash: bytes = NEW_PASSWORD_HASH,
        keep: LineageId = MINE,
    ) -> Done | Moved:
        """Change the password."""
        actor = replace(ACTOR, lineage=keep, credentials_version=expected.credentials_version)
        return stores.users.change_password(actor, password_hash, expected=expected, now=NOW)

    @pytest.mark.guarantee(6)
    def test_changing_the_password_ends_every_other_lineage(self, stores: Stores) -> None:
        """Verifier version and epoch rise by one, the keeper lives on, the others ended for that reason."""
        expected = self.register(stores)
        assert self.change(stores, expected) == Done()
        account_state, user = stores.lineage_store.get(ACCOUNT), stores.users.get(ACCOUNT)
        assert user == replace(USER, password_hash=NEW_PASSWORD_HASH, credentials_version=VERSION + 1)
        assert account_state is not None
        assert (account_state.epoch, account_state.credentials_version) == (EPOCH + 1, VERSION + 1)
        assert account_state.lineages[MINE] == replace(MINE_LIVE, epoch=EPOCH + 1)
        ended = ended_of(account_state, account_state.lineages[OTHER], now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
        assert ended == Ended(at=NOW, reason=EndReason.PASSWORD_CHANGED)

    def test_an_exchange_in_between_does_not_stop_a_password_change(self, stores: Stores) -> None:
        """The keeper may have moved on: only that it lives is asked."""
        expected = self.register(stores)
        stores.lineage_store.exchange(presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
        assert self.change(stores, expected) == Done()

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(replace(state_with(MINE_LIVE), status=Status.DISABLED), id="disabled"),
            pytest.param(
                replace(state_with(replace(MINE_LIVE, epoch=EPOCH + 1)), epoch=EPOCH + 1), id="epoch raised by another"
            ),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="verifier version"),
            pytest.param(state_with(replace(MINE_LIVE, epoch=EPOCH - 1)), id="keeper of an older epoch"),
            pytest.param(state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))), id="keeper ended"),
            pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW)), id="keeper expired"),
            pytest.param(state_with(OTHER_LIVE), id="keeper gone"),
        ],
    )
    def test_an_account_state_that_moved_stops_a_password_change(self, stores: Stores, meanwhile: AccountState) -> None:
        """Whatever of the state is not as expected: start over, and neither verifier nor state has changed."""
        expected = self.register(stores)
        stores.seed(meanwhile)
        before = stores.lineage_store.get(ACCOUNT)
        assert self.change(stores, expected) == Moved()
        assert stores.users.get(ACCOUNT) == USER
        assert stores.lineage_store.get(ACCOUNT) == before

    def test_a_password_hash_that_moved_stops_a_password_change(self, stores: Stores) -> None:
        """The user's version is held against what was read too, and the account state stays as it was."""
        expected = state_with(MINE_LIVE)
        stores.users.register(replace(USER, credentials_version=VERSION + 1), expected)
        assert self.change(stores, expected) == Moved()
        assert stores.lineage_store.get(ACCOUNT) == expected

    def test_the_very_same_password_change_sent_again_is_done(self, stores: Stores) -> None:
        """Our own earlier sending is recognised, and raises nothing a second time."""
        expected = self.register(stores)
        assert self.change(stores, expected) == Done()
        once = stores.lineage_store.get(ACCOUNT)
        assert self.change(stores, expected) == Done()
        assert stores.lineage_store.get(ACCOUNT) == once

    def test_two_password_changes_from_one_reading_are_not_both_done(self, stores: Stores) -> None:
        """The second, with a verifier of its own, starts over."""
        expected = self.register(stores)
        assert self.change(stores, expected) == Done()
        assert self.change(stores, expected, password_hash=b"yet another", keep=OTHER) == Moved()

    def test_a_password_change_of_nobody_starts_over(self, stores: Stores) -> None:
        """A user removed in between is not brought back."""
        assert self.change(stores, state_with(MINE_LIVE)) == Moved()
        assert stores.users.get(ACCOUNT) is None

    @pytest.mark.parametrize(
        ("version", "password_hash", "rehashed"),
        [
            pytest.param(VERSION, USER.password_hash, True, id="as read"),
            pytest.param(VERSION - 1, USER.password_hash, False, id="another version"),
            pytest.param(VERSION, b"another", False, id="another verifier"),
        ],
    )
    def test_a_rehash_replaces_only_what_was_read(
        self, stores: Stores, version: int, password_hash: bytes, *, rehashed: bool
    ) -> None:
        """A better hash of the same password keeps the version, and never undoes a change in between."""
        account_state = self.register(stores)
        stores.users.rehash(ACCOUNT, NEW_PASSWORD_HASH, expected_version=version, expected_password_hash=password_hash)
        assert stores.users.get(ACCOUNT) == (replace(USER, password_hash=NEW_PASSWORD_HASH) if rehashed else USER)
        assert stores.lineage_store.get(ACCOUNT) == account_state

    def test_a_rehash_of_nobody_makes_nobody(self, stores: Stores) -> None:
        """A user removed in between is not brought back."""
        stores.users.rehash(
            ACCOUNT, NEW_PASSWORD_HASH, expected_version=VERSION, expected_password_hash=USER.password_hash
        )
        assert stores.users.get(ACCOUNT) is None

    def test_a_forgotten_address_is_free_again(self, stores: Stores) -> None:
        """User and claim go, repeating is harmless, and somebody else may register the address."""
        self.register(stores)
        for _ in range(2):
            stores.users.forget(ACCOUNT, USER.email_index)
            assert stores.users.get(ACCOUNT) is None
            assert stores.users.find(USER.email_index) is None
        second = replace(USER, account=SOMEBODY_ELSE)
        assert stores.users.register(second, state_with(account=SOMEBODY_ELSE)) == Done()

    def test_forgetting_late_leaves_the_next_owner_of_the_address_alone(self, stores: Stores) -> None:
        """The claim goes only while it is the account's."""
        stores.users.register(USER, state_with())
        stores.users.forget(SOMEBODY_ELSE, USER.email_index)
        assert stores.users.find(USER.email_index) == ACCOUNT


class LineageStoreContract(Contract):
    """``ports.LineageStore``."""

    def exchange(
        self, stores: Stores, token: PresentedToken
    ) -> Exchanged | Retry | Superseded | Reused | Ahead | Inactive:
        """Exchange a token now."""
        return stores.lineage_store.exchange(token, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)

    def account_state(self, stores: Stores) -> AccountState:
        """Read the account state, which is there."""
        account_state = stores.lineage_store.get(ACCOUNT)
        assert account_state is not None
        return account_state

    @pytest.mark.parametrize(
        "account_state",
        [
            pytest.param(state_with(), id="empty"),
            pytest.param(state_with(MINE_LIVE, OTHER_LIVE), id="two"),
            pytest.param(state_with(replace(MINE_LIVE, binding=SecretBinding())), id="by secret"),
            pytest.param(state_with(replace(MINE_LIVE, binding=NoBinding())), id="by nothing"),
            pytest.param(state_with(replace(MINE_LIVE, in_use_since=NOW - 7)), id="session"),
            pytest.param(state_with(replace(MINE_LIVE, label="Ünï 電話")), id="label"),
            pytest.param(state_with(replace(MINE_LIVE, label="")), id="no label"),
            *(
                pytest.param(replace(state_with(MINE_LIVE), roles=frozenset(roles)), id=f"roles {sorted(roles)}")
                for roles in ({1}, {32}, {2, 3, 31}, ALL_ROLES)
            ),
            *(pytest.param(state_with(status=status), id=status.name) for status in Status),
            *(pytest.param(replace(state_with(), raised=Ended(NOW, reason)), id=reason) for reason in EndReason),
        ],
    )
    def test_an_account_state_is_read_as_it_was_written(self, stores: Stores, account_state: AccountState) -> None:
        """Everything an account state can hold survives the store."""
        stores.seed(account_state)
        assert stores.lineage_store.get(ACCOUNT) == account_state

    def test_an_unknown_account_state_is_absent(self, stores: Stores) -> None:
        """No account state is nothing, not an error."""
        assert stores.lineage_store.get(ACCOUNT) is None

    @pytest.mark.parametrize("generation", range(7, 12))
    def test_the_current_generation_is_exchanged(self, stores: Stores, generation: int) -> None:
        """E5: the lineage moves as the rule moves it, whichever slot it is, and nothing else in the state does."""
        before = replace(MINE_LIVE, generation=generation)
        stores.seed(state_with(before, OTHER_LIVE))
        token = presented(lineage=before)
        child = exchange(before, token, now=NOW)
        assert self.exchange(stores, token) == Exchanged(child)
        assert self.account_state(stores) == state_with(child, OTHER_LIVE)

    def test_a_child_is_never_older_than_its_parent(self, stores: Stores) -> None:
        """When our clock is behind the one that issued the parent, the child takes the parent's iat."""
        ahead = replace(MINE_LIVE, issued_at=NOW + 30)
        stores.seed(state_with(ahead))
        answer = self.exchange(stores, presented(lineage=ahead))
        assert isinstance(answer, Exchanged)
        assert answer.lineage.issued_at == NOW + 30

    @pytest.mark.parametrize(
        ("behind", "attempt", "verdict"),
        [
            pytest.param(1, HISTORY[2], Retry(MINE_LIVE), id="E6 the one before, its attempt"),
            pytest.param(2, HISTORY[1], Superseded(), id="E7 older, its attempt"),
            pytest.param(4, HISTORY[3], Superseded(), id="E7 the oldest remembered"),
            pytest.param(1, OTHER_ATTEMPT, Reused(MINE_LIVE), id="E8 the one before, another attempt"),
            pytest.param(3, OTHER_ATTEMPT, Reused(MINE_LIVE), id="E8 older, another attempt"),
            pytest.param(5, HISTORY[2], Reused(MINE_LIVE), id="E8 forgotten"),
            pytest.param(-1, ATTEMPT, Ahead(), id="E9 newer than stored"),
        ],
    )
    def test_any_other_generation_is_judged_and_writes_nothing(
        self, stores: Stores, behind: int, attempt: bytes, verdict: object
    ) -> None:
        """E6 to E9: the answer is the rule's, of the account state as it stands."""
        stores.seed(state_with(MINE_LIVE))
        assert self.exchange(stores, presented(behind, attempt=attempt)) == verdict
        assert self.account_state(stores) == state_with(MINE_LIVE)

    @pytest.mark.guarantee(7)
    @pytest.mark.parametrize(
        ("account_state", "reason"),
        [
            pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), None, id="disabled"),
            pytest.param(state_with(MINE_LIVE, status=Status.DELETED), None, id="deleted"),
            pytest.param(
                replace(state_with(MINE_LIVE), epoch=EPOCH + 1, raised=Ended(NOW, EndReason.PASSWORD_CHANGED)),
                EndReason.PASSWORD_CHANGED,
                id="older epoch",
            ),
            pytest.param(
                state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))), EndReason.LOGOUT, id="ended"
            ),
            pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW)), EndReason.EXPIRED, id="expired"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - IDLE_S - 1)), EndReason.IDLE, id="idle"),
            pytest.param(
                state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1)),
                EndReason.ENDED_EVERYWHERE,
                id="before the not-before time",
            ),
            pytest.param(state_with(replace(MINE_LIVE, client=2)), None, id="of another client"),
            pytest.param(state_with(replace(MINE_LIVE, binding=OTHER_KEY)), None, id="bound to another key"),
            pytest.param(state_with(replace(MINE_LIVE, auth_time=NOW, issued_at=NOW)), None, id="begun since"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - 99)), None, id="issued later than its token"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - 101)), None, id="issued earlier than its token"),
            pytest.param(state_with(OTHER_LIVE), None, id="lineage unknown"),
        ],
    )
    def test_a_dead_lineage_is_not_exchanged(
        self, stores: Stores, account_state: AccountState, reason: EndReason | None
    ) -> None:
        """E4: whatever is over or not as stored, with the reason where there is one, and nothing is written."""
        stores.seed(account_state)
        before = self.account_state(stores)
        assert self.exchange(stores, presented()) == Inactive(reason)
        assert self.account_state(stores) == before

    @pytest.mark.parametrize(
        "lineage",
        [
            pytest.param(replace(MINE_LIVE, expires_at=NOW + 1), id="a second before it expires"),
            pytest.param(replace(MINE_LIVE, issued_at=NOW - IDLE_S), id="at the idle limit"),
            pytest.param(replace(MINE_LIVE, auth_time=NOT_BEFORE), id="at the not-before time"),
            pytest.param(replace(MINE_LIVE, auth_time=MINE_LIVE.issued_at), id="issued when it began"),
        ],
    )
    def test_the_last_second_still_counts(self, stores: Stores, lineage: Lineage) -> None:
        """Condition and rule draw the line at the same second."""
        stores.seed(state_with(lineage))
        assert isinstance(self.exchange(stores, presented(lineage=lineage)), Exchanged)

    def test_an_unknown_account_is_dead_and_stays_unknown(self, stores: Stores) -> None:
        """A genuine token of an account that is not there makes no account state."""
        assert self.exchange(stores, presented()) == Inactive()
        assert stores.lineage_store.get(ACCOUNT) is None

    @pytest.mark.guarantee(1)
    def test_one_of_many_attempts_has_the_child(self, stores: Stores) -> None:
        """Promise 1: eight exchanges of one token with eight attempts: one child, seven cases of reuse."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))

        def exchanging(attempt: bytes) -> Callable[[], object]:
            return lambda: self.exchange(stores, presented(attempt=attempt))

        attempts = [b"racer %02d" % number for number in range(RACERS)]
        answers = race([exchanging(attempt) for attempt in attempts])
        assert sum(isinstance(answer, Reused) for answer in answers) == RACERS - 1
        [winner] = [place for place, answer in enumerate(answers) if isinstance(answer, Exchanged)]
        child = exchange(MINE_LIVE, presented(attempt=attempts[winner]), now=NOW)
        assert self.account_state(stores) == state_with(child, OTHER_LIVE)

    @pytest.mark.guarantee(1)
    def test_one_attempt_many_times_gets_one_and_the_same_child(self, stores: Stores) -> None:
        """Promise 2: eight sendings of one exchange: one moves the lineage, all get its child."""
        stores.seed(state_with(MINE_LIVE))
        answers = race([lambda: self.exchange(stores, presented())] * RACERS)
        child = exchange(MINE_LIVE, presented(), now=NOW)
        assert answers.count(Exchanged(child)) == 1
        assert answers.count(Retry(child)) == RACERS - 1
        assert self.account_state(stores) == state_with(child)

    def add_lineage(
        self,
        stores: Stores,
        *removed: Lineage,
        replaced: tuple[Lineage, ...] = (),
        expected: AccountState | None = None,
        lineages_max: int = 6,
    ) -> Done | Moved:
        """Admit a newborn lineage, having read the account state as it is when nothing else is said."""
        expected = expected or self.account_state(stores)
        return stores.lineage_store.add_lineage(
            NEWBORN, expected=expected, replaced=replaced, removed=removed, lineages_max=lineages_max
        )

    def test_a_login_adds_its_lineage(self, stores: Stores) -> None:
        """Where there is room nothing is removed."""
        stores.seed(state_with(MINE_LIVE))
        assert self.add_lineage(stores) == Done()
        assert self.account_state(stores) == state_with(MINE_LIVE, NEWBORN)

    def test_a_login_takes_the_place_of_those_it_removes(self, stores: Stores) -> None:
        """At the cap, as many must go as are too many."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert self.add_lineage(stores, MINE_LIVE, OTHER_LIVE, lineages_max=1) == Done()
        assert self.account_state(stores) == state_with(NEWBORN)

    @pytest.mark.parametrize(
        "end",
        [
            pytest.param(
                lambda lineage_store, _: lineage_store.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW), id="end"
            ),
            pytest.param(lambda lineage_store, _: lineage_store.end_device(ACTOR, MINE, now=NOW), id="end_device"),
            pytest.param(lambda lineage_store, _: lineage_store.end_all(ACTOR, now=NOW), id="end_all"),
            pytest.param(
                lambda lineage_store, account_state: lineage_store.add_lineage(
                    replace(NEWBORN, id=NEXT), expected=account_state, replaced=(MINE_LIVE,), removed=(), lineages_max=2
                ),
                id="replaced",
            ),
        ],
    )
    def test_an_ended_lineage_can_be_removed(
        self, stores: Stores, end: Callable[[LineageStore, AccountState], Done | Moved | Refused]
    ) -> None:
        """What was read of an ended one compares as it was read, however it ended: or no login would ever get room."""
        stores.seed(state_with(MINE_LIVE))
        assert end(stores.lineage_store, self.account_state(stores)) == Done()
        standing = self.account_state(stores)
        newborn = replace(NEWBORN, epoch=standing.epoch)
        kept = len(standing.lineages)
        removed = (standing.lineages[MINE],)
        assert (
            stores.lineage_store.add_lineage(
                newborn, expected=standing, replaced=(), removed=removed, lineages_max=kept
            )
            == Done()
        )
        assert self.account_state(stores).lineages.keys() == (standing.lineages.keys() | {NEW}) - {MINE}

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(MINE_LIVE), epoch=EPOCH + 1), id="epoch"),
            pytest.param(replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), id="verifier version"),
            pytest.param(state_with(MINE_LIVE, replace(NEWBORN, generation=1)), id="already there and moved on"),
            pytest.param(state_with(replace(MINE_LIVE, generation=8)), id="removed one exchanged"),
            pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - 1)), id="removed one used"),
            pytest.param(state_with(OTHER_LIVE), id="removed one gone, another there"),
            pytest.param(state_with(MINE_LIVE, OTHER_LIVE, replace(OTHER_LIVE, id=NEXT)), id="no room"),
        ],
    )
    def test_an_account_state_that_moved_stops_a_login(self, stores: Stores, meanwhile: AccountState) -> None:
        """Whatever is not as read: start over, and nothing is written."""
        stores.seed(meanwhile)
        before = self.account_state(stores)
        assert self.add_lineage(stores, MINE_LIVE, expected=state_with(MINE_LIVE), lineages_max=2) == Moved()
        assert self.account_state(stores) == before

    def test_a_login_to_nobody_starts_over(self, stores: Stores) -> None:
        """An account state that is not there is not made by a login."""
        assert self.add_lineage(stores, expected=state_with()) == Moved()
        assert stores.lineage_store.get(ACCOUNT) is None

    def test_the_very_same_login_sent_again_is_done(self, stores: Stores) -> None:
        """Our own earlier sending is recognised, what it replaced being gone."""
        expected = state_with(MINE_LIVE)
        stores.seed(expected)
        for _ in range(2):
            assert self.add_lineage(stores, MINE_LIVE, expected=expected, lineages_max=1) == Done()
            assert self.account_state(stores) == state_with(NEWBORN)

    @pytest.mark.guarantee(5)
    def test_a_login_ends_the_earlier_login_of_its_key(self, stores: Stores) -> None:
        """In the same write, for the reason `replaced`; the account's other devices stay."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert self.add_lineage(stores, replaced=(MINE_LIVE,)) == Done()
        over = replace(MINE_LIVE, ended=Ended(NOW, EndReason.REPLACED), attempts=(bytes(8),) * 4)
        assert self.account_state(stores) == state_with(over, OTHER_LIVE, NEWBORN)
        assert self.exchange(stores, presented()) == Inactive(EndReason.REPLACED)
        assert self.add_lineage(stores, replaced=(MINE_LIVE,), expected=state_with(MINE_LIVE, OTHER_LIVE)) == Done()

    @pytest.mark.guarantee(5)
    def test_an_exchange_in_between_does_not_save_the_login_that_is_replaced(self, stores: Stores) -> None:
        """A copy of the device that goes on exchanging cannot hold up its owner's login."""
        stores.seed(state_with(MINE_LIVE))
        expected = self.account_state(stores)
        self.exchange(stores, presented())
        assert self.add_lineage(stores, replaced=(MINE_LIVE,), expected=expected) == Done()
        ended = self.account_state(stores).lineages[MINE]
        assert (ended.generation, ended.ended) == (8, Ended(NOW, EndReason.REPLACED))

    def test_a_lineage_that_ended_keeps_its_reason_when_its_key_logs_in(self, stores: Stores) -> None:
        """It ended between the read and the write: start over."""
        stores.seed(state_with(MINE_LIVE))
        expected = self.account_state(stores)
        stores.lineage_store.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW)
        assert self.add_lineage(stores, replaced=(MINE_LIVE,), expected=expected) == Moved()
        assert self.account_state(stores).lineages.keys() == {MINE}

    def test_a_replaced_lineage_that_was_removed_stops_a_login(self, stores: Stores) -> None:
        """Another login made room meanwhile: start over."""
        stores.seed(state_with(OTHER_LIVE))
        assert self.add_lineage(stores, replaced=(MINE_LIVE,), expected=state_with(MINE_LIVE)) == Moved()

    def test_a_login_removes_the_earlier_login_of_its_key_at_the_cap(self, stores: Stores) -> None:
        """One that is both replaced and in the way is removed."""
        stores.seed(state_with(MINE_LIVE))
        assert self.add_lineage(stores, MINE_LIVE, replaced=(MINE_LIVE,), lineages_max=1) == Done()
        assert self.account_state(stores) == state_with(NEWBORN)

    @pytest.mark.guarantee(5)
    def test_of_racing_logins_by_one_key_each_sees_the_one_before(self, stores: Stores) -> None:
        """Two logins by one key that read the same: one is admitted, the other starts over and ends it."""
        expected = state_with(OTHER_LIVE)
        stores.seed(expected)

        def admitting(number: int) -> Callable[[], Done | Moved]:
            newborn = replace(NEWBORN, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"))
            return lambda: stores.lineage_store.add_lineage(
                newborn, expected=expected, replaced=(), removed=(), lineages_max=24
            )

        assert race([admitting(number) for number in range(RACERS)]).count(Done()) == 1

    @pytest.mark.guarantee(5)
    def test_a_login_by_the_same_key_does_not_hide_behind_a_removal(self, stores: Stores) -> None:
        """At the cap each login removes one: the number stays, and the later one must see the earlier all the same."""
        third = replace(OTHER_LIVE, id=MINE)
        expected, since = state_with(OTHER_LIVE, third), state_with(OTHER_LIVE, replace(NEWBORN, id=NEXT))
        stores.seed(since)
        assert self.add_lineage(stores, OTHER_LIVE, expected=expected, lineages_max=2) == Moved()
        assert self.account_state(stores) == since

    def test_logins_without_a_key_do_not_hinder_each_other(self, stores: Stores) -> None:
        """They end nothing, so they need not see each other."""
        expected = state_with(OTHER_LIVE)
        stores.seed(expected)
        for number in range(3):
            newborn = replace(NEWBORN, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"), binding=NoBinding())
            assert (
                stores.lineage_store.add_lineage(newborn, expected=expected, replaced=(), removed=(), lineages_max=6)
                == Done()
            )

    def test_a_login_without_a_key_begins_no_lineage_again(self, stores: Stores) -> None:
        """One that has moved on since stays as it is: its first token would live a second time."""
        newborn = replace(NEWBORN, binding=NoBinding())
        stores.seed(state_with(MINE_LIVE, replace(newborn, generation=1)))
        before, expected = self.account_state(stores), state_with(MINE_LIVE)
        assert (
            stores.lineage_store.add_lineage(newborn, expected=expected, replaced=(), removed=(), lineages_max=6)
            == Moved()
        )
        assert self.account_state(stores) == before

    @pytest.mark.parametrize("binding", [NEWBORN.binding, NoBinding()], ids=["key", "none"])
    def test_racing_logins_never_exceed_the_cap(self, stores: Stores, binding: KeyBinding | NoBinding) -> None:
        """Eight logins at once into the last place: one is admitted, the others start over."""
        expected = state_with(MINE_LIVE)
        stores.seed(expected)

        def admitting(number: int) -> Callable[[], Done | Moved]:
            newborn = replace(NEWBORN, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"), binding=binding)
            return lambda: stores.lineage_store.add_lineage(
                newborn, expected=expected, replaced=(), removed=(), lineages_max=2
            )

        answers = race([admitting(number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Moved()) == RACERS - 1
        assert len(self.account_state(stores).lineages) == 2

    session = replace(MINE_LIVE, generation=0, in_use_since=NOW - 100)
    slid = replace(session, issued_at=NOW)

    def record(self, stores: Stores, lineage: Lineage, *, expected: Lineage | None = None) -> Done | Moved:
        """Record a use."""
        return stores.lineage_store.record_use(
            lineage, account=ACCOUNT, expected=expected or self.session, now=NOW, not_before=NOT_BEFORE
        )

    def test_a_use_is_written_down(self, stores: Stores) -> None:
        """The lineage's iat moves, and nothing else in the account state does."""
        stores.seed(state_with(self.session, OTHER_LIVE))
        assert self.record(stores, self.slid) == Done()
        assert self.account_state(stores) == state_with(self.slid, OTHER_LIVE)

    def test_a_use_after_a_gap_moves_in_use_since(self, stores: Stores) -> None:
        """The time since when it was used without a gap is written down too."""
        resumed = replace(self.slid, in_use_since=NOW)
        stores.seed(state_with(self.session))
        assert self.record(stores, resumed) == Done()
        assert self.account_state(stores) == state_with(resumed)

    def test_a_day_of_use_is_written_down(self, stores: Stores) -> None:
        """Of a login whose iat never moves."""
        used = replace(self.session, last_used_day=NOW // 86_400)
        stores.seed(state_with(self.session))
        assert self.record(stores, used) == Done()
        assert self.account_state(stores) == state_with(used)

    def test_the_very_same_use_sent_again_is_done(self, stores: Stores) -> None:
        """Our own earlier sending is recognised."""
        stores.seed(state_with(self.session))
        for _ in range(2):
            assert self.record(stores, self.slid) == Done()

    @pytest.mark.parametrize(
        "meanwhile",
        [
            pytest.param(state_with(session, status=Status.DISABLED), id="disabled"),
            pytest.param(replace(state_with(session), epoch=EPOCH + 1), id="older epoch"),
            pytest.param(state_with(replace(session, ended=Ended(NOW, EndReason.LOGOUT))), id="ended"),
            pytest.param(state_with(replace(session, issued_at=NOW - 50)), id="used by another call"),
            pytest.param(state_with(replace(session, in_use_since=NOW - 50)), id="resumed by another call"),
            pytest.param(state_with(OTHER_LIVE), id="gone"),
        ],
    )
    def test_a_lineage_that_moved_or_ended_does_not_slide(self, stores: Stores, meanwhile: AccountState) -> None:
        """Whatever is not as read, or over: start over, and nothing is written."""
        stores.seed(meanwhile)
        before = self.account_state(stores)
        assert self.record(stores, self.slid) == Moved()
        assert self.account_state(stores) == before

    @pytest.mark.parametrize(
        "over",
        [
            pytest.param(replace(session, expires_at=NOW), id="expired"),
            pytest.param(replace(session, auth_time=NOT_BEFORE - 1), id="before the not-before time"),
            pytest.param(replace(session, ended=Ended(NOW, EndReason.LOGOUT), attempts=(bytes(8),) * 4), id="ended"),
        ],
    )
    def test_a_lineage_that_is_over_does_not_slide_even_as_read(self, stores: Stores, over: Lineage) -> None:
        """Ended is absorbing, whatever the journey believes it read."""
        stores.seed(state_with(over))
        slid = replace(over, issued_at=NOW, ended=None)
        assert self.record(stores, slid, expected=over) == Moved()
        assert self.account_state(stores) == state_with(over)

    def test_a_use_of_nobody_starts_over(self, stores: Stores) -> None:
        """An account state that is not there is not made by a use."""
        assert self.record(stores, self.slid) == Moved()
        assert stores.lineage_store.get(ACCOUNT) is None

    @pytest.mark.guarantee(6)
    def test_ending_one_lineage_leaves_the_others(self, stores: Stores) -> None:
        """It is over for that reason since then, has forgotten its attempts, and its neighbour lives."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert stores.lineage_store.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW) == Done()
        over = replace(MINE_LIVE, ended=Ended(NOW, EndReason.REUSE), attempts=(bytes(8),) * 4)
        assert self.account_state(stores) == state_with(over, OTHER_LIVE)
        assert self.exchange(stores, presented()) == Inactive(EndReason.REUSE)

    @pytest.mark.guarantee(7)
    def test_an_ended_lineage_keeps_its_first_reason(self, stores: Stores) -> None:
        """Ending again is another's deed, and changes neither when nor why."""
        stores.seed(state_with(MINE_LIVE))
        stores.lineage_store.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW)
        once = self.account_state(stores)
        assert stores.lineage_store.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW) == Refused()
        assert stores.lineage_store.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW + 1) == Refused()
        assert self.account_state(stores) == once

    def test_the_very_same_end_sent_again_is_done(self, stores: Stores) -> None:
        """Our own earlier sending is recognised, so that the deed is told of once."""
        stores.seed(state_with(MINE_LIVE))
        for _ in range(2):
            assert stores.lineage_store.end(ACCOUNT, MINE, EndReason.REUSE, now=NOW) == Done()

    def test_a_lineage_ended_by_the_epoch_keeps_that_reason(self, stores: Stores) -> None:
        """What ended with all others is not ended again alone."""
        stores.seed(state_with(MINE_LIVE))
        stores.lineage_store.set_status(ACCOUNT, Status.DISABLED, now=NOW)
        assert stores.lineage_store.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW + 1) == Refused()
        assert self.exchange(stores, presented()) == Inactive(EndReason.ACCOUNT_DISABLED)

    @pytest.mark.parametrize(
        "account_state", [None, state_with(OTHER_LIVE)], ids=["no account state", "no such lineage"]
    )
    def test_ending_what_is_gone_changes_nothing(self, stores: Stores, account_state: AccountState | None) -> None:
        """Nothing is there afterwards that was not there before."""
        if account_state:
            stores.seed(account_state)
        assert stores.lineage_store.end(ACCOUNT, MINE, EndReason.LOGOUT, now=NOW) == Refused()
        assert stores.lineage_store.get(ACCOUNT) == account_state

    @pytest.mark.guarantee(6)
    def test_ending_all_is_one_step_of_the_epoch(self, stores: Stores) -> None:
        """Every lineage is over, for that reason since then; of the others none was touched."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))
        assert stores.lineage_store.end_all(ACTOR, now=NOW) == Done()
        raised = Ended(NOW, EndReason.ENDED_EVERYWHERE)
        mine = replace(MINE_LIVE, ended=raised, attempts=(bytes(8),) * 4)
        assert self.account_state(stores) == replace(state_with(mine, OTHER_LIVE), epoch=EPOCH + 1, raised=raised)
        for lineage in (MINE_LIVE, OTHER_LIVE):
            assert self.exchange(stores, presented(lineage=lineage)) == Inactive(EndReason.ENDED_EVERYWHERE)

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize("verb", ["end_all", "delete"])
    def test_of_two_devices_that_end_everything_one_does(self, stores: Stores, verb: str) -> None:
        """The other one is not live any more, and its call is refused, though the effect is the same."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))
        other = replace(ACTOR, lineage=OTHER)
        assert getattr(stores.lineage_store, verb)(ACTOR, now=NOW) == Done()
        assert isinstance(getattr(stores.lineage_store, verb)(other, now=NOW), Inactive)

    def test_ending_all_of_nobody_makes_nobody(self, stores: Stores) -> None:
        """An account state that is not there is not made."""
        assert stores.lineage_store.end_all(ACTOR, now=NOW) == Inactive()
        assert stores.lineage_store.get(ACCOUNT) is None

    def test_ending_all_sent_again_is_done(self, stores: Stores) -> None:
        """Our own earlier sending is recognised, and the epoch rises once."""
        stores.seed(state_with(MINE_LIVE))
        for _ in range(2):
            assert stores.lineage_store.end_all(ACTOR, now=NOW) == Done()
        assert self.account_state(stores).epoch == EPOCH + 1

    @pytest.mark.guarantee(6)
    def test_ending_a_device_is_done_on_behalf_of_a_live_login(self, stores: Stores) -> None:
        """The device ends; our own second sending is done, another's end is as good."""
        stores.seed(state_with(MINE_LIVE, OTHER_LIVE))
        for _ in range(2):
            assert stores.lineage_store.end_device(ACTOR, OTHER, now=NOW) == Done()
        assert self.account_state(stores).lineages[OTHER].ended == Ended(NOW, EndReason.ENDED_BY_OWNER)
        assert self.account_state(stores).lineages[MINE] == MINE_LIVE
        assert stores.lineage_store.end_device(ACTOR, OTHER, now=NOW + 1) == Refused()
        assert stores.lineage_store.end_device(ACTOR, NEW, now=NOW) == Refused()

    def test_a_login_can_end_itself_as_a_device(self, stores: Stores) -> None:
        """Our own second sending is done here too, though the login is not live any more."""
        stores.seed(state_with(MINE_LIVE))
        for _ in range(2):
            assert stores.lineage_store.end_device(ACTOR, MINE, now=NOW) == Done()

    @pytest.mark.guarantee(6)
    def test_a_deleted_account_keeps_no_lineage(self, stores: Stores) -> None:
        """Names of devices, times of logins and roles are personal data: what stays holds none."""
        stores.seed(replace(state_with(MINE_LIVE, OTHER_LIVE), roles=SUPPORT))
        for _ in range(2):
            assert stores.lineage_store.delete(ACTOR, now=NOW) == Done()
        assert self.account_state(stores).status is Status.DELETED
        assert not self.account_state(stores).lineages
        assert not self.account_state(stores).roles
        assert self.exchange(stores, presented()) == Inactive()

    def test_an_account_deleted_by_the_operator_keeps_no_lineage(self, stores: Stores) -> None:
        """As one deleted by its owner."""
        stores.seed(replace(state_with(MINE_LIVE), roles=SUPPORT))
        assert stores.lineage_store.set_status(ACCOUNT, Status.DELETED, now=NOW) == Done()
        assert not self.account_state(stores).lineages
        assert not self.account_state(stores).roles

    @pytest.mark.parametrize(
        "lineage",
        [
            pytest.param(replace(MINE_LIVE, expires_at=NOW + 1), id="a second before it expires"),
            pytest.param(replace(MINE_LIVE, auth_time=NOT_BEFORE), id="of the not-before time"),
            pytest.param(replace(MINE_LIVE, issued_at=NOW - 10 * IDLE_S), id="idle until this call"),
        ],
    )
    @pytest.mark.parametrize("verb", ["end_device", "end_all", "delete"])
    def test_a_login_acts_until_its_last_second(self, stores: Stores, verb: str, lineage: Lineage) -> None:
        """Condition and rule draw the line at the same second."""
        stores.seed(state_with(lineage, OTHER_LIVE))
        arguments = (OTHER,) if verb == "end_device" else ()
        assert getattr(stores.lineage_store, verb)(ACTOR, *arguments, now=NOW) == Done()

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    @pytest.mark.parametrize("verb", ["end_device", "end_all", "delete"])
    def test_no_write_on_behalf_of_a_login_that_is_not_live(
        self, stores: Stores, verb: str, inactive: AccountState, verdict: object
    ) -> None:
        """The law: the condition is in the write. Nothing is written, and the reason is returned."""
        stores.seed(inactive)
        before = self.account_state(stores)
        arguments = (OTHER,) if verb == "end_device" else ()
        assert getattr(stores.lineage_store, verb)(ACTOR, *arguments, now=NOW) == verdict
        assert self.account_state(stores) == before

    @pytest.mark.guarantee(6)
    @pytest.mark.parametrize(("inactive", "verdict"), INACTIVE)
    def test_no_password_is_changed_on_behalf_of_a_login_that_is_not_live(
        self, stores: Stores, inactive: AccountState, verdict: object
    ) -> None:
        """The law, for the transaction; the flow reads again and asks the rule for the reason."""
        assert may_act(inactive, ACTOR, now=NOW) == verdict
        stores.users.register(USER, state_with(MINE_LIVE))
        stores.seed(inactive)
        assert stores.users.change_password(ACTOR, NEW_PASSWORD_HASH, expected=inactive, now=NOW) == Moved()
        assert self.account_state(stores) == inactive
        assert stores.users.get(ACCOUNT) == USER

    @pytest.mark.guarantee(7)
    def test_enabling_again_revives_nothing(self, stores: Stores) -> None:
        """Disabling raises the epoch: what lived before stays ended after, for the same reason."""
        stores.seed(state_with(MINE_LIVE))
        assert stores.lineage_store.set_status(ACCOUNT, Status.DISABLED, now=NOW) == Done()
        assert self.account_state(stores).status is Status.DISABLED
        assert isinstance(self.exchange(stores, presented()), Inactive)
        stores.lineage_store.set_status(ACCOUNT, Status.ACTIVE, now=NOW)
        assert self.account_state(stores).status is Status.ACTIVE
        assert isinstance(
            active_lineage(self.account_state(stores), presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S),
            Inactive,
        )
        assert self.exchange(stores, presented()) == Inactive(EndReason.ACCOUNT_DISABLED)

    def test_enabling_an_active_account_ends_nothing(self, stores: Stores) -> None:
        """The operator may repeat it."""
        stores.seed(state_with(MINE_LIVE))
        assert stores.lineage_store.set_status(ACCOUNT, Status.ACTIVE, now=NOW) == Done()
        assert self.account_state(stores) == state_with(MINE_LIVE)

    @pytest.mark.guarantee(7)
    @pytest.mark.parametrize("status", Status)
    def test_deleted_is_absorbing(self, stores: Stores, status: Status) -> None:
        """A deleted account becomes nothing else, and its epoch stays."""
        deleted = state_with(MINE_LIVE, status=Status.DELETED)
        stores.seed(deleted)
        answer = stores.lineage_store.set_status(ACCOUNT, status, now=NOW)
        assert answer == (Done() if status is Status.DELETED else Refused())
        assert self.account_state(stores) == deleted

    def test_the_status_of_nobody_makes_nobody(self, stores: Stores) -> None:
        """An unknown account is left unknown."""
        assert stores.lineage_store.set_status(ACCOUNT, Status.DISABLED, now=NOW) == Refused()
        assert stores.lineage_store.get(ACCOUNT) is None

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (NO_ROLES, ADMIN),
            (ADMIN, SUPPORT),
            (SUPPORT, NO_ROLES),
            (NO_ROLES, NO_ROLES),
            (ADMIN, ADMIN),
            (ADMIN, ALL_ROLES),
            (ALL_ROLES, NO_ROLES),
        ],
        ids=lambda roles: str(sorted(roles)),
    )
    def test_the_roles_of_an_account_are_replaced(
        self, stores: Stores, before: frozenset[int], after: frozenset[int]
    ) -> None:
        """All of them in one write; no login ends, and the very same call sent again is done."""
        stores.seed(replace(state_with(MINE_LIVE, OTHER_LIVE), roles=before))
        for _ in range(2):
            assert stores.lineage_store.set_roles(ACCOUNT, after, expected=before) == Done()
            assert self.account_state(stores) == replace(state_with(MINE_LIVE, OTHER_LIVE), roles=after)

    @pytest.mark.parametrize("stored", [NO_ROLES, SUPPORT, ALL_ROLES], ids=lambda roles: str(sorted(roles)))
    @pytest.mark.parametrize("after", [NO_ROLES, ADMIN], ids=lambda roles: str(sorted(roles)))
    def test_roles_that_moved_stop_a_change_of_roles(
        self, stores: Stores, stored: frozenset[int], after: frozenset[int]
    ) -> None:
        """Another operator changed them after they were read: start over, and nothing is written."""
        moved = replace(state_with(MINE_LIVE), roles=stored)
        stores.seed(moved)
        expected = frozenset({3, 4})
        answer = stores.lineage_store.set_roles(ACCOUNT, after, expected=expected)
        assert answer == (Done() if after == stored else Moved())
        assert self.account_state(stores) == moved

    def test_one_of_many_changes_of_roles_from_one_reading_is_done(self, stores: Stores) -> None:
        """Eight operators at the same time: the other seven start over."""
        stores.seed(state_with(MINE_LIVE))

        def setting(code: int) -> Callable[[], Done | Moved | Refused]:
            return lambda: stores.lineage_store.set_roles(ACCOUNT, frozenset({code}), expected=NO_ROLES)

        answers = race([setting(code) for code in range(1, RACERS + 1)])
        assert answers.count(Done()) == 1
        assert answers.count(Moved()) == RACERS - 1

    @pytest.mark.parametrize("status", [Status.DISABLED, Status.DELETED])
    def test_an_account_that_is_not_active_gets_no_roles(self, stores: Stores, status: Status) -> None:
        """Nothing is written, not even of roles that are as expected."""
        inactive = state_with(MINE_LIVE, status=status)
        stores.seed(inactive)
        assert stores.lineage_store.set_roles(ACCOUNT, ADMIN, expected=NO_ROLES) == Refused()
        none_asked = stores.lineage_store.set_roles(ACCOUNT, NO_ROLES, expected=NO_ROLES)
        assert none_asked == (Refused() if status is Status.DELETED else Done())
        assert self.account_state(stores) == inactive

    def test_the_roles_of_nobody_make_nobody(self, stores: Stores) -> None:
        """An unknown account is left unknown, whatever roles were asked for."""
        for roles in (ADMIN, NO_ROLES):
            assert stores.lineage_store.set_roles(ACCOUNT, roles, expected=NO_ROLES) == Refused()
        assert stores.lineage_store.get(ACCOUNT) is None

    def test_roles_stay_with_every_other_write(self, stores: Stores) -> None:
        """Exchange, login, end, disable, enable and password change change no role."""
        stores.users.register(USER, replace(state_with(MINE_LIVE, OTHER_LIVE), roles=SUPPORT))
        self.exchange(stores, presented())
        assert self.add_lineage(stores) == Done()
        stores.lineage_store.end(ACCOUNT, OTHER, EndReason.LOGOUT, now=NOW)
        actor, expected = replace(ACTOR, lineage=MINE), self.account_state(stores)
        assert stores.users.change_password(actor, NEW_PASSWORD_HASH, expected=expected, now=NOW) == Done()
        stores.lineage_store.end_all(replace(ACTOR, credentials_version=VERSION + 1), now=NOW)
        for status in (Status.DISABLED, Status.ACTIVE):
            assert stores.lineage_store.set_status(ACCOUNT, status, now=NOW) == Done()
        assert self.account_state(stores).roles == SUPPORT


class EphemeralContract(Contract):
    """Nonces, grants and rate limits."""

    @pytest.mark.guarantee(8)
    def test_a_nonce_is_spent_once(self, stores: Stores) -> None:
        """A second call with the same nonce is refused, until it would be too old to be accepted anyway."""
        spend = stores.ephemeral.consume_nonce
        assert spend("key", "nonce", now=NOW, mark=MARK) == Done()
        assert spend("key", "nonce", now=NOW, mark=OTHER_MARK) == Refused()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S - 1, mark=OTHER_MARK) == Refused()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S, mark=OTHER_MARK) == Done()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S, mark=MARK) == Refused()

    @pytest.mark.guarantee(8)
    def test_a_nonce_sent_again_by_ourselves_is_spent_by_us(self, stores: Stores) -> None:
        """The mark tells our own second sending from a replay."""
        for _ in range(2):
            assert stores.ephemeral.consume_nonce("key", "nonce", now=NOW, mark=MARK) == Done()

    @pytest.mark.parametrize(
        ("keyid", "nonce"), [("key", "nonce2"), ("key2", "nonce"), ("keyn", "once"), ("ke", "ynonce")]
    )
    def test_nonces_of_other_keys_are_other_nonces(self, stores: Stores, keyid: str, nonce: str) -> None:
        """Key id and nonce never run together."""
        assert stores.ephemeral.consume_nonce("key", "nonce", now=NOW, mark=MARK) == Done()
        assert stores.ephemeral.consume_nonce(keyid, nonce, now=NOW, mark=OTHER_MARK) == Done()

    @pytest.mark.guarantee(8)
    def test_one_of_many_spends_a_nonce(self, stores: Stores) -> None:
        """Eight calls with one nonce at once: one goes through."""

        def spending(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: stores.ephemeral.consume_nonce("key", "nonce", now=NOW, mark=mark)

        answers = race([spending(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    def consume(
        self, stores: Stores, *, ticket_id: bytes = TICKET_ID, now: int = NOW, mark: bytes = MARK
    ) -> Done | Refused:
        """Consume a ticket that expires in 300 seconds."""
        return stores.ephemeral.consume_ticket(ticket_id, expires_at=NOW + 300, now=now, mark=mark)

    @pytest.mark.guarantee(8)
    def test_a_ticket_is_consumed_once(self, stores: Stores) -> None:
        """A second request is refused for as long as the ticket can be opened, by a clock that is behind too."""
        assert self.consume(stores) == Done()
        assert self.consume(stores, mark=OTHER_MARK) == Refused()
        last = NOW + 300 + TICKET_CONSUMED_KEPT_S - 1
        assert self.consume(stores, now=last, mark=OTHER_MARK) == Refused()
        assert self.consume(stores, now=last + 1, mark=OTHER_MARK) == Done()
        assert self.consume(stores, now=last) == Refused()

    @pytest.mark.guarantee(2, 8)
    def test_a_ticket_consumed_again_with_the_same_mark_is_consumed_by_us(self, stores: Stores) -> None:
        """The mark derives from the attempt: a repeated request, whoever sent it again, gets the same answer."""
        for now in (NOW, NOW, NOW + 299):
            assert self.consume(stores, now=now) == Done()
        assert self.consume(stores, mark=OTHER_MARK) == Refused()

    @pytest.mark.parametrize("other", [TICKET_ID[:-1] + b"\1", TICKET_ID[:-1], TICKET_ID + b"\0", b""])
    def test_other_tickets_are_not_consumed_with_it(self, stores: Stores, other: bytes) -> None:
        """Nor does a ticket get in the way of a nonce or a grant of the same name."""
        assert self.consume(stores) == Done()
        assert self.consume(stores, ticket_id=other, mark=OTHER_MARK) == Done()
        assert stores.ephemeral.consume_nonce("", TICKET_ID.hex(), now=NOW, mark=OTHER_MARK) == Done()

    @pytest.mark.guarantee(8)
    def test_one_of_many_consumes_a_ticket(self, stores: Stores) -> None:
        """Eight requests with one ticket at the same time: one goes through."""

        def consuming(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: self.consume(stores, mark=mark)

        answers = race([consuming(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    def keep(self, stores: Stores) -> None:
        """Keep the grant."""
        stores.ephemeral.store_grant(
            GRANT,
            lineage=MINE,
            operation=OPERATION,
            step_up=STEP_UP,
            credentials_version=VERSION,
            expires_at=NOW + 300,
        )

    def spend(
        self,
        stores: Stores,
        *,
        grant: str = GRANT,
        lineage: LineageId = MINE,
        operation: Operation = OPERATION,
        credentials_version: int = VERSION,
        now: int = NOW,
        mark: bytes = MARK,
    ) -> GrantUsed | Refused:
        """Spend the grant as it was kept, unless told otherwise."""
        return stores.ephemeral.consume_grant(
            grant, lineage=lineage, operation=operation, credentials_version=credentials_version, now=now, mark=mark
        )

    @pytest.mark.guarantee(6)
    def test_a_grant_is_void_once_the_password_has_changed(self, stores: Stores) -> None:
        """It was proved with the password of before."""
        self.keep(stores)
        assert self.spend(stores, credentials_version=VERSION + 1) == Refused()
        assert self.spend(stores) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_a_grant_is_spent_once_and_says_how_it_was_proved(self, stores: Stores) -> None:
        """The second call is refused; our own second sending is not."""
        self.keep(stores)
        assert self.spend(stores) == STEP_UP
        assert self.spend(stores, mark=OTHER_MARK) == Refused()
        assert self.spend(stores) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_a_spent_grant_kept_again_stays_spent(self, stores: Stores) -> None:
        """A late second sending of the keeping does not make it new."""
        self.keep(stores)
        assert self.spend(stores) == STEP_UP
        self.keep(stores)
        assert self.spend(stores, mark=OTHER_MARK) == Refused()

    def test_a_grant_that_was_never_kept_is_refused(self, stores: Stores) -> None:
        """An invented grant is refused, twice: refusing it must not make it."""
        assert self.spend(stores) == Refused()
        assert self.spend(stores) == Refused()

    @pytest.mark.parametrize(
        "operation",
        [
            replace(OPERATION, method="PUT"),
            replace(OPERATION, path="/api/transfers/2"),
            replace(OPERATION, digest="sha-256=:Yg==:"),
            Operation(method="POST/", path="api/transfers", digest=OPERATION.digest),
        ],
    )
    def test_a_grant_is_for_its_operation_alone(self, stores: Stores, operation: Operation) -> None:
        """Another method, path or body is refused and leaves the grant unspent."""
        self.keep(stores)
        assert self.spend(stores, operation=operation, mark=OTHER_MARK) == Refused()
        assert self.spend(stores) == STEP_UP

    def test_a_grant_is_for_its_lineage_alone(self, stores: Stores) -> None:
        """Another device of the same person is refused and leaves the grant unspent."""
        self.keep(stores)
        assert self.spend(stores, lineage=OTHER, mark=OTHER_MARK) == Refused()
        assert self.spend(stores) == STEP_UP

    def test_a_grant_expires(self, stores: Stores) -> None:
        """Its last second counts, the next does not."""
        self.keep(stores)
        assert self.spend(stores, now=NOW + 300) == Refused()
        assert self.spend(stores, now=NOW + 299) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_one_of_many_spends_a_grant(self, stores: Stores) -> None:
        """Eight calls with one grant at once: one goes through."""
        self.keep(stores)

        def spending(mark: bytes) -> Callable[[], GrantUsed | Refused]:
            return lambda: self.spend(stores, mark=mark)

        answers = race([spending(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(STEP_UP) == 1
        assert answers.count(Refused()) == RACERS - 1

    def take(self, stores: Stores, *, bucket: str = "login:ada", limit: int = 3, now: int = NOW) -> Done | Refused:
        """Take a slot in a window of 60 s."""
        return stores.ephemeral.count(bucket, limit=limit, window_s=60, now=now)

    def test_a_window_has_as_many_slots_as_its_limit(self, stores: Stores) -> None:
        """The fourth of three is refused; other buckets and the next window are not affected."""
        assert [self.take(stores) for _ in range(4)] == [Done(), Done(), Done(), Refused()]
        assert self.take(stores, bucket="login:bob") == Done()
        assert self.take(stores, now=NOW + 60) == Done()
        assert self.take(stores) == Refused()

    def test_a_slot_given_back_can_be_taken_again(self, stores: Stores) -> None:
        """Those who prove themselves do not use the limit up."""
        for _ in range(5):
            assert self.take(stores, limit=1) == Done()
            stores.ephemeral.uncount("login:ada", window_s=60, now=NOW)

    def test_giving_back_what_was_not_taken_makes_no_room(self, stores: Stores) -> None:
        """The count never goes below zero."""
        for _ in range(3):
            stores.ephemeral.uncount("login:ada", window_s=60, now=NOW)
        assert [self.take(stores, limit=1) for _ in range(2)] == [Done(), Refused()]
        for _ in range(3):
            stores.ephemeral.uncount("login:ada", window_s=60, now=NOW)
        assert [self.take(stores, limit=1) for _ in range(2)] == [Done(), Refused()]

    def test_a_limit_of_nothing_gives_nothing(self, stores: Stores) -> None:
        """Even the first is over it."""
        assert self.take(stores, limit=0) == Refused()

    @pytest.mark.guarantee(8)
    def test_racing_takers_never_exceed_the_limit(self, stores: Stores) -> None:
        """Eight at once for three slots: three get one."""
        answers = race([lambda: self.take(stores)] * RACERS)
        assert answers.count(Done()) == 3


class AuditContract(Contract):
    """``ports.Audit``."""

    def test_events_are_read_back_in_their_order(self, stores: Stores) -> None:
        """What happened is kept whole, by account."""
        first = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT, lineage=NEW, details={"client": "mobile"})
        later = AuditEvent(at=NOW + 1, event="password_changed", account=ACCOUNT)
        stores.audit.append(first, event_id="z")
        stores.audit.append(later, event_id="a")
        assert stores.events(ACCOUNT) == [first, later]
        assert stores.events(SOMEBODY_ELSE) == []

    def test_an_event_is_never_written_over(self, stores: Stores) -> None:
        """Append only: the same id at the same time keeps what stands there."""
        event = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT)
        stores.audit.append(event, event_id="a")
        stores.audit.append(replace(event, event="nothing happened"), event_id="a")
        assert stores.events(ACCOUNT) == [event]

    def test_two_events_of_one_second_are_two(self, stores: Stores) -> None:
        """Their ids tell them apart."""
        event = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT)
        stores.audit.append(event, event_id="a")
        stores.audit.append(event, event_id="b")
        assert len(stores.events(ACCOUNT)) == 2


class StoresContract(UsersContract, LineageStoreContract, EphemeralContract, AuditContract):
    """All ports of one implementation."""
