"""What the store ``once`` must do (``proof/ports.py``)."""

from collections.abc import Callable
from itertools import product
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.policy import ONCE_ANSWER_BYTES_MAX, ONCE_KEPT_S, ONCE_RUN_MAX_S
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import NOW

KEY: Final = OnceKey("O#the-call")
OTHER_CALL: Final = OnceKey("O#another-call")
DIGEST: Final = b"d" * 32
OTHER_DIGEST: Final = b"e" * 32
OURS: Final = b"mark of this one"
THEIRS: Final = b"mark of another "
ANSWER: Final = b"encrypted answer"
RUNNING: Final = OnceCall(DIGEST, NOW, OURS, NOW + ONCE_KEPT_S)
ANSWERED: Final = replace(RUNNING, answer=ANSWER)
LATER: Final = NOW + ONCE_RUN_MAX_S


@pytest.mark.guarantee(8)
class OnceContract(Contract):
    """The tests of the store ``once``: `proof.ports.OnceStore`."""

    @pytest.fixture
    def calls(self, storage: StorageUnderTest) -> OnceStore:
        """Return the store ``once``, which has no call yet."""
        return storage.once

    def claim(self, calls: OnceStore, *, mark: bytes = OURS, digest: bytes = DIGEST, now: int = NOW) -> OnceCall:
        """Claim the call."""
        return calls.claim(KEY, digest=digest, mark=mark, now=now)

    def take_over(
        self, calls: OnceStore, *, old_mark: bytes = OURS, mark: bytes = THEIRS, now: int = LATER
    ) -> OnceCall | None:
        """Take the call over."""
        return calls.take_over(KEY, old_mark=old_mark, mark=mark, now=now)

    def store(self, calls: OnceStore, *, mark: bytes = OURS, answer: bytes = ANSWER, now: int = NOW) -> Done | Refused:
        """Store the answer."""
        return calls.store(KEY, mark=mark, answer=answer, now=now)

    def stored(self, calls: OnceStore) -> OnceCall:
        """Read the stored call by a claim: the store refuses a second claim, and returns the stored call."""
        return self.claim(calls, mark=b"mark of a reader", now=NOW + 1)

    def test_the_first_claim_stores_a_running_call(self, calls: OnceStore) -> None:
        """The stored call has its digest, time and mark, and no answer."""
        assert self.claim(calls) == RUNNING
        assert self.stored(calls) == RUNNING

    def test_a_second_claim_finds_the_running_call(self, calls: OnceStore) -> None:
        """The second claim changes nothing, whether or not its digest is the same."""
        self.claim(calls)
        for digest in (DIGEST, OTHER_DIGEST):
            assert self.claim(calls, mark=THEIRS, digest=digest, now=NOW + 5) == RUNNING
        assert self.stored(calls) == RUNNING

    def test_a_claim_that_is_sent_twice_is_ours(self, calls: OnceStore) -> None:
        """The store finds the mark of its own earlier write, so the repeated claim succeeds too."""
        assert self.claim(calls) == self.claim(calls) == RUNNING

    def test_calls_of_other_keys_are_other_calls(self, calls: OnceStore) -> None:
        """A claim, an answer and a release affect only the call of their key."""
        self.claim(calls)
        other = calls.claim(OTHER_CALL, digest=DIGEST, mark=THEIRS, now=NOW)
        assert other.mark == THEIRS
        calls.release(OTHER_CALL, mark=THEIRS)
        assert self.stored(calls) == RUNNING

    def test_an_answer_is_stored_and_found(self, calls: OnceStore) -> None:
        """The answer is found for 24 hours after it was stored."""
        self.claim(calls)
        assert self.store(calls, now=NOW + 7) == Done()
        answered = replace(ANSWERED, expires_at=NOW + 7 + ONCE_KEPT_S)
        assert self.claim(calls, mark=THEIRS, now=NOW + 7 + ONCE_KEPT_S - 1) == answered

    @pytest.mark.parametrize("answered", [False, True])
    def test_a_call_is_free_once_it_has_expired(self, calls: OnceStore, *, answered: bool) -> None:
        """From the second of its expiry, the call can be claimed again. The earlier answer is no longer found."""
        self.claim(calls)
        if answered:
            self.store(calls)
        assert self.claim(calls, mark=THEIRS, now=NOW + ONCE_KEPT_S - 1).mark == OURS
        fresh = OnceCall(OTHER_DIGEST, NOW + ONCE_KEPT_S, THEIRS, NOW + 2 * ONCE_KEPT_S)
        assert self.claim(calls, mark=THEIRS, digest=OTHER_DIGEST, now=NOW + ONCE_KEPT_S) == fresh
        assert self.claim(calls, now=NOW + ONCE_KEPT_S) == fresh

    def test_an_answer_that_is_sent_twice_is_stored(self, calls: OnceStore) -> None:
        """The store finds its own earlier answer, so the repetition returns ``Done`` too."""
        self.claim(calls)
        assert [self.store(calls), self.store(calls)] == [Done(), Done()]

    def test_an_answer_is_never_replaced(self, calls: OnceStore) -> None:
        """Another answer is refused, from the same request and from another request."""
        self.claim(calls)
        self.store(calls)
        assert self.store(calls, answer=b"another answer") == Refused()
        assert self.store(calls, mark=THEIRS, answer=b"another answer") == Refused()
        assert self.stored(calls) == ANSWERED

    def test_only_the_sending_that_runs_stores_its_answer(self, calls: OnceStore) -> None:
        """An answer without a call, or for the call of another request, is refused and not stored."""
        assert self.store(calls) == Refused()
        assert self.claim(calls, mark=THEIRS).mark == THEIRS
        assert self.store(calls) == Refused()
        assert self.stored(calls).answer is None

    def test_an_answer_of_the_greatest_size_is_stored(self, calls: OnceStore) -> None:
        """An answer of ``ONCE_ANSWER_BYTES_MAX`` bytes (64 KB) is stored, with any values of its bytes."""
        answer = (bytes(range(256)) * (ONCE_ANSWER_BYTES_MAX // 256))[:ONCE_ANSWER_BYTES_MAX]
        self.claim(calls)
        assert self.store(calls, answer=answer) == Done()
        assert self.stored(calls).answer == answer

    def test_a_released_call_may_be_claimed(self, calls: OnceStore) -> None:
        """After a release, another request can claim the call. A repeated release is safe."""
        self.claim(calls)
        for _ in range(2):
            calls.release(KEY, mark=OURS)
        assert self.claim(calls, mark=THEIRS, digest=OTHER_DIGEST).mark == THEIRS

    def test_only_the_sending_that_runs_releases_its_call(self, calls: OnceStore) -> None:
        """A release with the mark of another request deletes nothing."""
        self.claim(calls)
        calls.release(KEY, mark=THEIRS)
        assert self.stored(calls) == RUNNING

    def test_an_answered_call_is_not_released(self, calls: OnceStore) -> None:
        """Even the request that stored the answer cannot release the call, because the effect has happened."""
        self.claim(calls)
        self.store(calls)
        calls.release(KEY, mark=OURS)
        assert self.stored(calls) == ANSWERED

    def test_a_taken_over_call_belongs_to_its_taker(self, calls: OnceStore) -> None:
        """The call gets a new start time and keeps its digest. The earlier request can no longer change the call."""
        self.claim(calls)
        taken = OnceCall(DIGEST, LATER, THEIRS, LATER + ONCE_KEPT_S)
        assert self.take_over(calls) == taken
        assert self.store(calls) == Refused()
        calls.release(KEY, mark=OURS)
        assert self.take_over(calls, mark=OURS) == taken
        assert self.stored(calls) == taken
        assert self.store(calls, mark=THEIRS) == Done()

    def test_a_take_over_that_is_sent_twice_is_ours(self, calls: OnceStore) -> None:
        """The store finds the mark of its own earlier write, so the repeated take-over succeeds too."""
        self.claim(calls)
        first, second = self.take_over(calls), self.take_over(calls)
        assert first == second
        assert first is not None
        assert first.mark == THEIRS

    def test_an_answered_call_is_not_taken_over(self, calls: OnceStore) -> None:
        """The answer was stored between the claim and the take-over. The take-over returns the answered call."""
        self.claim(calls)
        self.store(calls)
        assert self.take_over(calls) == ANSWERED
        assert self.stored(calls) == ANSWERED

    def test_a_call_that_is_gone_is_not_taken_over(self, calls: OnceStore) -> None:
        """A take-over of a call that is not stored returns ``None``, and creates no call."""
        assert self.take_over(calls) is None
        assert self.claim(calls) == RUNNING

    def test_one_of_many_claims(self, calls: OnceStore) -> None:
        """Eight requests claim at the same time. The store stores one mark, and all requests get this mark."""

        def claiming(mark: bytes) -> Callable[[], OnceCall]:
            return lambda: self.claim(calls, mark=mark)

        found = race([claiming(b"mark number %4d" % number) for number in range(RACERS)])
        assert len({call.mark for call in found}) == 1

    def test_one_of_many_takes_over(self, calls: OnceStore) -> None:
        """Eight requests take the call over at the same time.

        One succeeds. All requests get the call with the mark of the successful request.
        """
        self.claim(calls)

        def taking(mark: bytes) -> Callable[[], OnceCall | None]:
            return lambda: self.take_over(calls, mark=mark)

        marks = [b"mark number %4d" % number for number in range(RACERS)]
        found = race([taking(mark) for mark in marks])
        winners = {call.mark for call in found if call}
        assert len(winners) == 1
        assert winners < set(marks)

    @pytest.mark.parametrize(("answered", "old", "late"), [*product((False, True), (OURS, THEIRS), (False, True))])
    def test_a_verb_has_its_effect_only_on_the_call_it_is_for(
        self, calls: OnceStore, *, answered: bool, old: bytes, late: bool
    ) -> None:
        """``take_over``, ``store`` and ``release`` change only a running call that has the given mark.

        They do not check the age of the call.
        """
        now = LATER if late else NOW
        ours = not answered and old == OURS
        for verb in ("take_over", "store", "release"):
            key = OnceKey(f"O#{verb}")
            calls.claim(key, digest=DIGEST, mark=OURS, now=NOW)
            if answered:
                calls.store(key, mark=OURS, answer=ANSWER, now=NOW)
            before = calls.claim(key, digest=DIGEST, mark=b"mark of a reader", now=now)
            if verb == "take_over":
                calls.take_over(key, old_mark=old, mark=b"mark of a taker ", now=now)
            elif verb == "store":
                calls.store(key, mark=old, answer=b"another answer", now=now)
            else:
                calls.release(key, mark=old)
            after = calls.claim(key, digest=OTHER_DIGEST, mark=b"mark of a judge ", now=now)
            assert (after != before) is ours, verb
