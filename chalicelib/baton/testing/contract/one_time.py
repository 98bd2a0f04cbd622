"""What the store ``one_time`` must do (``tokens/ports.py``, ``factors/ports.py``)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.policy import NONCE_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import (
    GRANT,
    MARK,
    MINE,
    NOW,
    OPERATION,
    OTHER,
    OTHER_MARK,
    STEP_UP,
    TICKET_ID,
    VERSION,
)
from chalicelib.baton.tokens.caller import GrantUsed, Operation


class OneTimeContract(Contract):
    """The store ``one_time``: nonces, tickets, grants and rate limits."""

    @pytest.mark.guarantee(8)
    def test_a_nonce_is_spent_once(self, storage: StorageUnderTest) -> None:
        """A second call with the same nonce is refused, until it would be too old to be accepted anyway."""
        spend = storage.one_time.consume_nonce
        assert spend("key", "nonce", now=NOW, mark=MARK) == Done()
        assert spend("key", "nonce", now=NOW, mark=OTHER_MARK) == Refused()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S - 1, mark=OTHER_MARK) == Refused()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S, mark=OTHER_MARK) == Done()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S, mark=MARK) == Refused()

    @pytest.mark.guarantee(8)
    def test_a_nonce_sent_again_by_ourselves_is_spent_by_us(self, storage: StorageUnderTest) -> None:
        """The mark tells our own second sending from a replay."""
        for _ in range(2):
            assert storage.one_time.consume_nonce("key", "nonce", now=NOW, mark=MARK) == Done()

    @pytest.mark.parametrize(
        ("keyid", "nonce"), [("key", "nonce2"), ("key2", "nonce"), ("keyn", "once"), ("ke", "ynonce")]
    )
    def test_nonces_of_other_keys_are_other_nonces(self, storage: StorageUnderTest, keyid: str, nonce: str) -> None:
        """Key id and nonce never run together."""
        assert storage.one_time.consume_nonce("key", "nonce", now=NOW, mark=MARK) == Done()
        assert storage.one_time.consume_nonce(keyid, nonce, now=NOW, mark=OTHER_MARK) == Done()

    @pytest.mark.guarantee(8)
    def test_one_of_many_spends_a_nonce(self, storage: StorageUnderTest) -> None:
        """Eight calls with one nonce at once: one goes through."""

        def spending(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: storage.one_time.consume_nonce("key", "nonce", now=NOW, mark=mark)

        answers = race([spending(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    def consume(
        self, storage: StorageUnderTest, *, ticket_id: bytes = TICKET_ID, now: int = NOW, mark: bytes = MARK
    ) -> Done | Refused:
        """Consume a ticket that expires in 300 seconds."""
        return storage.one_time.consume_ticket(ticket_id, expires_at=NOW + 300, now=now, mark=mark)

    @pytest.mark.guarantee(8)
    def test_a_ticket_is_consumed_once(self, storage: StorageUnderTest) -> None:
        """A second request is refused for as long as the ticket can be opened, by a clock that is behind too."""
        assert self.consume(storage) == Done()
        assert self.consume(storage, mark=OTHER_MARK) == Refused()
        last = NOW + 300 + TICKET_CONSUMED_KEPT_S - 1
        assert self.consume(storage, now=last, mark=OTHER_MARK) == Refused()
        assert self.consume(storage, now=last + 1, mark=OTHER_MARK) == Done()
        assert self.consume(storage, now=last) == Refused()

    @pytest.mark.guarantee(2, 8)
    def test_a_ticket_consumed_again_with_the_same_mark_is_consumed_by_us(self, storage: StorageUnderTest) -> None:
        """The mark derives from the attempt: a repeated request, whoever sent it again, gets the same answer."""
        for now in (NOW, NOW, NOW + 299):
            assert self.consume(storage, now=now) == Done()
        assert self.consume(storage, mark=OTHER_MARK) == Refused()

    @pytest.mark.parametrize("other", [TICKET_ID[:-1] + b"\1", TICKET_ID[:-1], TICKET_ID + b"\0", b""])
    def test_other_tickets_are_not_consumed_with_it(self, storage: StorageUnderTest, other: bytes) -> None:
        """Nor does a ticket get in the way of a nonce or a grant of the same name."""
        assert self.consume(storage) == Done()
        assert self.consume(storage, ticket_id=other, mark=OTHER_MARK) == Done()
        assert storage.one_time.consume_nonce("", TICKET_ID.hex(), now=NOW, mark=OTHER_MARK) == Done()

    @pytest.mark.guarantee(8)
    def test_one_of_many_consumes_a_ticket(self, storage: StorageUnderTest) -> None:
        """Eight requests with one ticket at the same time: one goes through."""

        def consuming(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: self.consume(storage, mark=mark)

        answers = race([consuming(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    def keep(self, storage: StorageUnderTest) -> None:
        """Keep the grant."""
        storage.one_time.store_grant(
            GRANT,
            lineage=MINE,
            operation=OPERATION,
            step_up=STEP_UP,
            credentials_version=VERSION,
            expires_at=NOW + 300,
        )

    def spend(
        self,
        storage: StorageUnderTest,
        *,
        grant: str = GRANT,
        lineage: LineageId = MINE,
        operation: Operation = OPERATION,
        credentials_version: int = VERSION,
        now: int = NOW,
        mark: bytes = MARK,
    ) -> GrantUsed | Refused:
        """Spend the grant as it was kept, unless told otherwise."""
        return storage.one_time.consume_grant(
            grant, lineage=lineage, operation=operation, credentials_version=credentials_version, now=now, mark=mark
        )

    @pytest.mark.guarantee(6)
    def test_a_grant_is_void_once_the_password_has_changed(self, storage: StorageUnderTest) -> None:
        """It was proved with the password of before."""
        self.keep(storage)
        assert self.spend(storage, credentials_version=VERSION + 1) == Refused()
        assert self.spend(storage) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_a_grant_is_spent_once_and_says_how_it_was_proved(self, storage: StorageUnderTest) -> None:
        """The second call is refused; our own second sending is not."""
        self.keep(storage)
        assert self.spend(storage) == STEP_UP
        assert self.spend(storage, mark=OTHER_MARK) == Refused()
        assert self.spend(storage) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_a_spent_grant_kept_again_stays_spent(self, storage: StorageUnderTest) -> None:
        """A late second sending of the keeping does not make it new."""
        self.keep(storage)
        assert self.spend(storage) == STEP_UP
        self.keep(storage)
        assert self.spend(storage, mark=OTHER_MARK) == Refused()

    def test_a_grant_that_was_never_kept_is_refused(self, storage: StorageUnderTest) -> None:
        """An invented grant is refused, twice: refusing it must not make it."""
        assert self.spend(storage) == Refused()
        assert self.spend(storage) == Refused()

    @pytest.mark.parametrize(
        "operation",
        [
            replace(OPERATION, method="PUT"),
            replace(OPERATION, path="/api/transfers/2"),
            replace(OPERATION, digest="sha-256=:Yg==:"),
            Operation(method="POST/", path="api/transfers", digest=OPERATION.digest),
        ],
    )
    def test_a_grant_is_for_its_operation_alone(self, storage: StorageUnderTest, operation: Operation) -> None:
        """Another method, path or body is refused and leaves the grant unspent."""
        self.keep(storage)
        assert self.spend(storage, operation=operation, mark=OTHER_MARK) == Refused()
        assert self.spend(storage) == STEP_UP

    def test_a_grant_is_for_its_lineage_alone(self, storage: StorageUnderTest) -> None:
        """Another device of the same person is refused and leaves the grant unspent."""
        self.keep(storage)
        assert self.spend(storage, lineage=OTHER, mark=OTHER_MARK) == Refused()
        assert self.spend(storage) == STEP_UP

    def test_a_grant_expires(self, storage: StorageUnderTest) -> None:
        """Its last second counts, the next does not."""
        self.keep(storage)
        assert self.spend(storage, now=NOW + 300) == Refused()
        assert self.spend(storage, now=NOW + 299) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_one_of_many_spends_a_grant(self, storage: StorageUnderTest) -> None:
        """Eight calls with one grant at once: one goes through."""
        self.keep(storage)

        def spending(mark: bytes) -> Callable[[], GrantUsed | Refused]:
            return lambda: self.spend(storage, mark=mark)

        answers = race([spending(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(STEP_UP) == 1
        assert answers.count(Refused()) == RACERS - 1

    def take(
        self, storage: StorageUnderTest, *, bucket: str = "login:ada", limit: int = 3, now: int = NOW
    ) -> Done | Refused:
        """Take a slot in a window of 60 s."""
        return storage.one_time.count(bucket, limit=limit, window_s=60, now=now)

    def test_a_window_has_as_many_slots_as_its_limit(self, storage: StorageUnderTest) -> None:
        """The fourth of three is refused; other buckets and the next window are not affected."""
        assert [self.take(storage) for _ in range(4)] == [Done(), Done(), Done(), Refused()]
        assert self.take(storage, bucket="login:bob") == Done()
        assert self.take(storage, now=NOW + 60) == Done()
        assert self.take(storage) == Refused()

    def test_a_slot_given_back_can_be_taken_again(self, storage: StorageUnderTest) -> None:
        """Those who prove themselves do not use the limit up."""
        for _ in range(5):
            assert self.take(storage, limit=1) == Done()
            storage.one_time.uncount("login:ada", window_s=60, now=NOW)

    def test_giving_back_what_was_not_taken_makes_no_room(self, storage: StorageUnderTest) -> None:
        """The count never goes below zero."""
        for _ in range(3):
            storage.one_time.uncount("login:ada", window_s=60, now=NOW)
        assert [self.take(storage, limit=1) for _ in range(2)] == [Done(), Refused()]
        for _ in range(3):
            storage.one_time.uncount("login:ada", window_s=60, now=NOW)
        assert [self.take(storage, limit=1) for _ in range(2)] == [Done(), Refused()]

    def test_a_limit_of_nothing_gives_nothing(self, storage: StorageUnderTest) -> None:
        """Even the first is over it."""
        assert self.take(storage, limit=0) == Refused()

    @pytest.mark.guarantee(8)
    def test_racing_takers_never_exceed_the_limit(self, storage: StorageUnderTest) -> None:
        """Eight at once for three slots: three get one."""
        answers = race([lambda: self.take(storage)] * RACERS)
        assert answers.count(Done()) == 3
