"""What the store ``key_ring`` must do (``keys/ports.py``)."""

import secrets
from collections.abc import Callable

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.keys.rotation import rotate_root, rotate_signing
from chalicelib.baton.policy import KEY_RING_REFRESH_S
from chalicelib.baton.testing.contract.under_test import RACERS, Contract, StorageUnderTest, race
from chalicelib.baton.testing.contract.values import NOW

LATER = NOW + KEY_RING_REFRESH_S
"""A time at which every process has read the ring again."""


class KeyRingContract(Contract):
    """The tests of the store ``key_ring``: `keys.ports.ChangingKeyRing`."""

    def test_the_ring_is_the_same_each_time_it_is_read(self, storage: StorageUnderTest) -> None:
        """Every read returns the same ring, with or without a cache."""
        ring = storage.key_ring.current(now=NOW)
        assert ring.signing
        assert storage.key_ring.refreshed(now=NOW) == ring
        assert storage.key_ring.current(now=LATER) == ring

    def test_a_newer_ring_replaces_the_one_that_was_read(self, storage: StorageUnderTest) -> None:
        """Every process has the new ring within ``KEY_RING_REFRESH_S`` seconds."""
        ring = storage.key_ring.current(now=NOW)
        newer = rotate_root(ring, secrets.token_bytes, now=NOW)
        assert storage.key_ring.replace(newer, expected_revision=ring.revision) == Done()
        assert storage.key_ring.current(now=LATER) == newer

    def test_a_ring_that_was_replaced_meanwhile_is_not_replaced(self, storage: StorageUnderTest) -> None:
        """Two writers read the same ring. The later write gets ``Moved``, and the ring of the first write stays."""
        ring = storage.key_ring.current(now=NOW)
        newer = rotate_root(ring, secrets.token_bytes, now=NOW)
        assert storage.key_ring.replace(newer, expected_revision=ring.revision) == Done()
        other = rotate_signing(ring, secrets.token_bytes, now=NOW)
        assert storage.key_ring.replace(other, expected_revision=ring.revision) == Moved()
        assert storage.key_ring.current(now=LATER) == newer

    def test_a_replacement_that_is_sent_twice_changes_nothing(self, storage: StorageUnderTest) -> None:
        """The repetition may return ``Moved``, because a storage may encrypt the same ring differently each time."""
        ring = storage.key_ring.current(now=NOW)
        newer = rotate_root(ring, secrets.token_bytes, now=NOW)
        assert storage.key_ring.replace(newer, expected_revision=ring.revision) == Done()
        assert storage.key_ring.replace(newer, expected_revision=ring.revision) in {Done(), Moved()}
        assert storage.key_ring.current(now=LATER) == newer

    def test_one_of_many_replaces_the_ring(self, storage: StorageUnderTest) -> None:
        """Eight writers read the same ring. The write of one of them succeeds."""
        ring = storage.key_ring.current(now=NOW)

        def replacing() -> Callable[[], Done | Moved]:
            newer = rotate_signing(ring, secrets.token_bytes, now=NOW)
            return lambda: storage.key_ring.replace(newer, expected_revision=ring.revision)

        answers = race([replacing() for _ in range(RACERS)])
        assert answers.count(Done()) == 1
        assert answers.count(Moved()) == RACERS - 1
