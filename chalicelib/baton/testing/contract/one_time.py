"""What the store ``one_time`` must do (``tokens/ports.py``, ``factors/ports.py``)."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Again, Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import TOTP_ALONE
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
    """The tests of the store ``one_time``: nonces, tickets, grants and rate limits."""

    @pytest.mark.guarantee(8)
    def test_a_nonce_is_consumed_once(self, storage: StorageUnderTest) -> None:
        """A second call with the same nonce is refused until the signature of the first call is too old to be valid."""
        spend = storage.one_time.consume_nonce
        assert spend("key", "nonce", now=NOW, mark=MARK) == Done()
        assert spend("key", "nonce", now=NOW, mark=OTHER_MARK) == Refused()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S - 1, mark=OTHER_MARK) == Refused()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S, mark=OTHER_MARK) == Done()
        assert spend("key", "nonce", now=NOW + NONCE_KEPT_S, mark=MARK) == Refused()

    @pytest.mark.guarantee(8)
    def test_a_repeated_write_of_a_nonce_is_done(self, storage: StorageUnderTest) -> None:
        """A repeated write has the same mark, and returns ``Again``. A replay by a client has another mark."""
        for answer in (Done(), Again()):
            assert storage.one_time.consume_nonce("key", "nonce", now=NOW, mark=MARK) == answer

    @pytest.mark.parametrize(
        ("keyid", "nonce"), [("key", "nonce2"), ("key2", "nonce"), ("keyn", "once"), ("ke", "ynonce")]
    )
    def test_nonces_of_other_keys_are_other_nonces(self, storage: StorageUnderTest, keyid: str, nonce: str) -> None:
        """Different pairs of key id and nonce are never the same stored key."""
        assert storage.one_time.consume_nonce("key", "nonce", now=NOW, mark=MARK) == Done()
        assert storage.one_time.consume_nonce(keyid, nonce, now=NOW, mark=OTHER_MARK) == Done()

    @pytest.mark.guarantee(8)
    def test_one_of_many_consumes_a_nonce(self, storage: StorageUnderTest) -> None:
        """Eight calls use one nonce at the same time. One is accepted."""

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
        """A second request is refused until ``TICKET_CONSUMED_KEPT_S`` seconds after the ticket expires.

        A server whose clock is behind may still accept the ticket in this time.
        """
        assert self.consume(storage) == Done()
        assert self.consume(storage, mark=OTHER_MARK) == Refused()
        last = NOW + 300 + TICKET_CONSUMED_KEPT_S - 1
        assert self.consume(storage, now=last, mark=OTHER_MARK) == Refused()
        assert self.consume(storage, now=last + 1, mark=OTHER_MARK) == Done()
        assert self.consume(storage, now=last) == Refused()

    @pytest.mark.guarantee(2, 8)
    def test_a_ticket_consumed_again_with_the_same_mark_is_done(self, storage: StorageUnderTest) -> None:
        """The mark derives from the attempt. So a repetition by the app or the server has the same mark."""
        assert self.consume(storage) == Done()
        for now in (NOW, NOW + 299):
            assert self.consume(storage, now=now) == Again()
        assert self.consume(storage, mark=OTHER_MARK) == Refused()

    @pytest.mark.parametrize("other", [TICKET_ID[:-1] + b"\1", TICKET_ID[:-1], TICKET_ID + b"\0", b""])
    def test_other_tickets_are_not_consumed_with_it(self, storage: StorageUnderTest, other: bytes) -> None:
        """Similar ticket ids, and a nonce with the same bytes as the ticket id, can still be consumed."""
        assert self.consume(storage) == Done()
        assert self.consume(storage, ticket_id=other, mark=OTHER_MARK) == Done()
        assert storage.one_time.consume_nonce("", TICKET_ID.hex(), now=NOW, mark=OTHER_MARK) == Done()

    def test_a_consumed_ticket_is_known(self, storage: StorageUnderTest) -> None:
        """The record of a consumed ticket is kept a minute longer than the ticket is valid."""
        assert not storage.one_time.is_consumed(TICKET_ID, now=NOW)
        self.consume(storage)
        assert storage.one_time.is_consumed(TICKET_ID, now=NOW + 359)
        assert not storage.one_time.is_consumed(TICKET_ID, now=NOW + 360)
        assert not storage.one_time.is_consumed(TICKET_ID[::-1], now=NOW)

    @pytest.mark.guarantee(8)
    def test_one_of_many_consumes_a_ticket(self, storage: StorageUnderTest) -> None:
        """Eight requests use one ticket at the same time. One is accepted."""

        def consuming(mark: bytes) -> Callable[[], Done | Refused]:
            return lambda: self.consume(storage, mark=mark)

        answers = race([consuming(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Refused()) == RACERS - 1

    def keep(self, storage: StorageUnderTest) -> None:
        """Store the grant ``GRANT``, which expires in 300 seconds."""
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
        """Consume the grant. The default arguments match the stored grant."""
        return storage.one_time.consume_grant(
            grant, lineage=lineage, operation=operation, credentials_version=credentials_version, now=now, mark=mark
        )

    @pytest.mark.guarantee(6)
    def test_a_grant_is_void_once_the_password_has_changed(self, storage: StorageUnderTest) -> None:
        """The person got the grant with the old password, so a call with a newer credentials version is refused."""
        self.keep(storage)
        assert self.spend(storage, credentials_version=VERSION + 1) == Refused()
        assert self.spend(storage) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_a_grant_is_consumed_once_and_has_its_proof(self, storage: StorageUnderTest) -> None:
        """The call returns the proof. A second call is accepted with the same mark, and refused with another mark."""
        self.keep(storage)
        assert self.spend(storage) == STEP_UP
        assert self.spend(storage, mark=OTHER_MARK) == Refused()
        assert self.spend(storage) == STEP_UP

    def test_a_grant_has_the_factors_of_its_proof(self, storage: StorageUnderTest) -> None:
        """The grant stores how the person proved a factor, and whether the second factor was on at the proof."""
        proved = replace(STEP_UP, assurance=TOTP_ALONE, second_factor=True)
        storage.one_time.store_grant(
            GRANT, lineage=MINE, operation=OPERATION, step_up=proved, credentials_version=VERSION, expires_at=NOW + 300
        )
        assert self.spend(storage) == proved

    @pytest.mark.guarantee(8)
    def test_a_consumed_grant_stored_again_stays_consumed(self, storage: StorageUnderTest) -> None:
        """A late repetition of ``store_grant`` does not renew a consumed grant."""
        self.keep(storage)
        assert self.spend(storage) == STEP_UP
        self.keep(storage)
        assert self.spend(storage, mark=OTHER_MARK) == Refused()

    def test_an_unknown_grant_is_refused(self, storage: StorageUnderTest) -> None:
        """An unknown grant is refused each time: the refusal must not create the grant."""
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
    def test_a_grant_is_only_for_its_operation(self, storage: StorageUnderTest, operation: Operation) -> None:
        """Another method, path or body is refused, and the grant is not consumed."""
        self.keep(storage)
        assert self.spend(storage, operation=operation, mark=OTHER_MARK) == Refused()
        assert self.spend(storage) == STEP_UP

    def test_a_grant_is_only_for_its_lineage(self, storage: StorageUnderTest) -> None:
        """Another device of the same person is refused, and the grant is not consumed."""
        self.keep(storage)
        assert self.spend(storage, lineage=OTHER, mark=OTHER_MARK) == Refused()
        assert self.spend(storage) == STEP_UP

    def test_a_grant_expires(self, storage: StorageUnderTest) -> None:
        """A grant is refused from the second of its expiry. In the second before, the grant is accepted."""
        self.keep(storage)
        assert self.spend(storage, now=NOW + 300) == Refused()
        assert self.spend(storage, now=NOW + 299) == STEP_UP

    @pytest.mark.guarantee(8)
    def test_one_of_many_consumes_a_grant(self, storage: StorageUnderTest) -> None:
        """Eight calls use one grant at the same time. One is accepted."""
        self.keep(storage)

        def spending(mark: bytes) -> Callable[[], GrantUsed | Refused]:
            return lambda: self.spend(storage, mark=mark)

        answers = race([spending(b"mark %d" % number) for number in range(RACERS)])
        assert answers.count(STEP_UP) == 1
        assert answers.count(Refused()) == RACERS - 1

    def take(
        self, storage: StorageUnderTest, *, bucket: str = "login:ada", limit: int = 3, now: int = NOW
    ) -> Done | Refused:
        """Count one request in a window of 60 s."""
        return storage.one_time.count(bucket, limit=limit, window_s=60, now=now)

    def test_a_window_accepts_as_many_attempts_as_its_limit(self, storage: StorageUnderTest) -> None:
        """With a limit of three, the fourth request is refused. Each ``bucket`` and each window has its own count."""
        assert [self.take(storage) for _ in range(4)] == [Done(), Done(), Done(), Refused()]
        assert self.take(storage, bucket="login:bob") == Done()
        assert self.take(storage, now=NOW + 60) == Done()
        assert self.take(storage) == Refused()

    def test_an_uncounted_attempt_leaves_room_for_another(self, storage: StorageUnderTest) -> None:
        """``uncount`` takes a counted request back, so the request does not use up the limit."""
        for _ in range(5):
            assert self.take(storage, limit=1) == Done()
            storage.one_time.uncount("login:ada", window_s=60, now=NOW)

    def test_uncounting_an_attempt_that_was_not_counted_makes_no_room(self, storage: StorageUnderTest) -> None:
        """Without a counted request, ``uncount`` changes nothing: the count never becomes negative."""
        for _ in range(3):
            storage.one_time.uncount("login:ada", window_s=60, now=NOW)
        assert [self.take(storage, limit=1) for _ in range(2)] == [Done(), Refused()]
        for _ in range(3):
            storage.one_time.uncount("login:ada", window_s=60, now=NOW)
        assert [self.take(storage, limit=1) for _ in range(2)] == [Done(), Refused()]

    def test_a_limit_of_zero_accepts_nothing(self, storage: StorageUnderTest) -> None:
        """With a limit of zero, the first request is refused."""
        assert self.take(storage, limit=0) == Refused()

    @pytest.mark.guarantee(8)
    def test_racing_attempts_never_exceed_the_limit(self, storage: StorageUnderTest) -> None:
        """Eight requests arrive at the same time, and the limit is three. Three are accepted."""
        answers = race([lambda: self.take(storage)] * RACERS)
        assert answers.count(Done()) == 3
