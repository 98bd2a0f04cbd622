"""PBKDF2 (RFC 8018) with HMAC-SHA-1, -256 and -512, as `$pbkdf2-sha256$i=600000$salt$hash`: base64 without padding.

The PHC member `l`, the length of the hash, is optional, and must be right if it is given.
"""

import hashlib
import hmac
import re

from msgspec import Struct

from chalicelib.baton.factors.hashes.reading import (
    SALT_BYTES_MAX,
    TAG_BYTES_MAX,
    TAG_BYTES_MIN,
    b64,
    check_range,
    unknown,
    unpadded,
)

ROUNDS_MIN = 1_000
ROUNDS_MAX = {"sha1": 2_000_000, "sha256": 2_000_000, "sha512": 1_200_000}
DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}

_FORM = re.compile(
    r"\$pbkdf2-(sha1|sha256|sha512)\$i=([1-9][0-9]{0,8})(?:,l=([1-9][0-9]?))?\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
DECOY = re.compile(r"pbkdf2-(sha1|sha256|sha512)-([0-9]{1,9})")


class Pbkdf2(Struct, frozen=True):
    """A PBKDF2 hash whose form and cost are valid."""

    digest: str
    rounds: int
    salt: bytes
    tag: bytes

    @property
    def name(self) -> str:
        """The kind of the hash and its cost (rounds times output blocks), such as ``pbkdf2-sha256-600000``."""
        return f"pbkdf2-{self.digest}-{self.rounds * _blocks(self.digest, self.tag)}"

    def matches(self, password: bytes) -> bool:
        """Check a password."""
        computed = hashlib.pbkdf2_hmac(self.digest, password, self.salt, self.rounds, len(self.tag))
        return hmac.compare_digest(computed, self.tag)


def read(text: str) -> Pbkdf2:
    """Read a PBKDF2 string. Raises ``HashRefused`` for an unknown form, or a cost outside the limits.

    PBKDF2 repeats all rounds for each block of the hash. So ``ROUNDS_MAX`` limits the product: rounds times blocks.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("not a PBKDF2 string with sha1, sha256 or sha512, i, salt and hash")
    digest, rounds = match[1], int(match[2])
    salt = unpadded(match[4], least=1, most=SALT_BYTES_MAX, what="salt")
    tag = unpadded(match[5], least=TAG_BYTES_MIN, most=TAG_BYTES_MAX, what="hash")
    if match[3] and int(match[3]) != len(tag):
        raise unknown("l is not the length of the hash")
    check_range("i", rounds, ROUNDS_MIN, ROUNDS_MAX[digest])
    check_range("i of all blocks of the hash", rounds * _blocks(digest, tag), ROUNDS_MIN, ROUNDS_MAX[digest])
    return Pbkdf2(digest, rounds, salt, tag)


def _blocks(digest: str, tag: bytes) -> int:
    return -(-len(tag) // DIGEST_BYTES[digest])


def decoy(match: re.Match[str]) -> str:
    """Return a hash that no password has.

    The hash function and the number of rounds are in ``match``, a match of the pattern ``DECOY``.
    """
    tag = b"nobody's tag, which nothing hits, and which is for every digest."[: DIGEST_BYTES[match[1]]]
    return f"$pbkdf2-{match[1]}$i={match[2]}${b64(b'nobody' + b'-salt-....')}${b64(tag)}"
