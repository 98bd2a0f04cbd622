"""The daily job that rotates keys. No route calls it."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.keys.ports import ChangingKeyRing
from chalicelib.baton.keys.rotation import rotate_due
from chalicelib.baton.policy import DAY_S


class RotateKeys(Struct, frozen=True, kw_only=True):
    """Check the ages of the keys, and rotate the keys that are due."""

    clock: Clock
    entropy: Entropy
    key_ring: ChangingKeyRing
    log: Log

    def __call__(self) -> None:
        """Rotate due keys and record the age of the newest signing key, so that an alarm detects a stopped rotation.

        A new key signs only after every environment has read it, so no request waits for the rotation.
        """
        now = self.clock()
        ring = self.key_ring.current(now=now)
        rotated = rotate_due(ring, self.entropy, now=now)
        if rotated is not ring:
            if not isinstance(self.key_ring.replace(rotated, expected_revision=ring.revision), Done):
                raise errors.Unavailable(
                    "another process changed the ring at the same time: the next daily job rotates the keys"
                )
            self.log.record("keys_rotated", revision=rotated.revision)
        age_days = (now - rotated.signing[-1].made_at) // DAY_S
        self.log.record("keys_checked", signing_key_age_days=age_days)
