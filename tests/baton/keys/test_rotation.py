"""The daily look at the keys."""

import secrets

import pytest
from msgspec.structs import replace

from chalicelib.baton.effects import Done, Moved
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.keys.daily import RotateKeys
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.keys.rotation import make_ring
from chalicelib.baton.policy import DAY_S, SIGNING_KEY_ROTATED_AFTER_S
from tests.baton.memory import GivenKeyRing, MemoryLog

NOW = 1_700_000_000


class Changing(GivenKeyRing):
    """A ring whose replacements are counted."""

    replaced = 0

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Replace it when its revision is as read."""
        answer = super().replace(ring, expected_revision=expected_revision)
        self.replaced += isinstance(answer, Done)
        return answer


class Hasty(Changing):
    """A ring that somebody else changes just after it was read."""

    def current(self, *, now: int) -> Ring:
        """Give the ring, and let it move on."""
        given, self.ring = self.ring, replace(self.ring, revision=self.ring.revision + 1)
        return given


def rotate(key_ring: Changing, now: int) -> list[tuple[str, dict[str, str | int]]]:
    """Run the job at a time, and give what it told."""
    log = MemoryLog()
    RotateKeys(clock=lambda: now, entropy=secrets.token_bytes, key_ring=key_ring, log=log)()
    return log.recorded


def test_keys_that_are_young_are_left_alone_and_their_age_is_told() -> None:
    """Nothing is written on most days."""
    key_ring = Changing(make_ring(secrets.token_bytes, now=NOW))
    assert rotate(key_ring, NOW + 82 * DAY_S) == [("keys_checked", {"signing_key_age_days": 82})]
    assert key_ring.replaced == 0


def test_a_key_that_has_served_its_time_is_rotated() -> None:
    """One write; the age that is told is the new key's."""
    key_ring = Changing(make_ring(secrets.token_bytes, now=NOW))
    told = rotate(key_ring, NOW + SIGNING_KEY_ROTATED_AFTER_S)
    assert told == [("keys_rotated", {"revision": 2}), ("keys_checked", {"signing_key_age_days": 0})]
    assert key_ring.replaced == 1
    assert rotate(key_ring, NOW + SIGNING_KEY_ROTATED_AFTER_S + DAY_S)[0][0] == "keys_checked"


def test_a_ring_that_moved_is_left_to_whoever_moved_it() -> None:
    """The job fails, which is an alarm, and nothing is overwritten."""
    key_ring = Hasty(make_ring(secrets.token_bytes, now=NOW))
    with pytest.raises(Unavailable):
        rotate(key_ring, NOW + SIGNING_KEY_ROTATED_AFTER_S)
    assert key_ring.replaced == 0
