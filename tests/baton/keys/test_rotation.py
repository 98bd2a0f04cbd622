"""The daily rotation job."""

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
    """A key ring store that counts its replacements."""

    replaced = 0

    def replace(self, ring: Ring, *, expected_revision: int) -> Done | Moved:
        """Replace the ring if it has the expected revision."""
        answer = super().replace(ring, expected_revision=expected_revision)
        self.replaced += isinstance(answer, Done)
        return answer


class Hasty(Changing):
    """A key ring store that another process changes directly after each read."""

    def current(self, *, now: int) -> Ring:
        """Return the ring, and change it afterwards."""
        given, self.ring = self.ring, replace(self.ring, revision=self.ring.revision + 1)
        return given


def rotate(key_ring: Changing, now: int) -> list[tuple[str, dict[str, str | int]]]:
    """Run the job at a time, and return its log event."""
    log = MemoryLog()
    RotateKeys(clock=lambda: now, entropy=secrets.token_bytes, key_ring=key_ring, log=log)()
    return log.recorded


def test_young_keys_are_not_rotated_and_their_age_is_logged() -> None:
    """On most days nothing is written."""
    key_ring = Changing(make_ring(secrets.token_bytes, now=NOW))
    assert rotate(key_ring, NOW + 82 * DAY_S) == [("keys_checked", {"signing_key_age_days": 82})]
    assert key_ring.replaced == 0


def test_a_due_key_is_rotated() -> None:
    """The job writes once. The logged age is that of the new key."""
    key_ring = Changing(make_ring(secrets.token_bytes, now=NOW))
    told = rotate(key_ring, NOW + SIGNING_KEY_ROTATED_AFTER_S)
    assert told == [("keys_rotated", {"revision": 2}), ("keys_checked", {"signing_key_age_days": 0})]
    assert key_ring.replaced == 1
    assert rotate(key_ring, NOW + SIGNING_KEY_ROTATED_AFTER_S + DAY_S)[0][0] == "keys_checked"


def test_a_ring_that_another_process_changed_is_not_replaced() -> None:
    """The job fails, which raises an alarm, and overwrites nothing."""
    key_ring = Hasty(make_ring(secrets.token_bytes, now=NOW))
    with pytest.raises(Unavailable):
        rotate(key_ring, NOW + SIGNING_KEY_ROTATED_AFTER_S)
    assert key_ring.replaced == 0
