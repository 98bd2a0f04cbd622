"""Argon2id, Argon2i and Argon2d (RFC 9106), in the PHC string format. Baton makes only Argon2id."""

import re

from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.hashes.reading import (
    SALT_BYTES_MAX,
    TAG_BYTES_MAX,
    TAG_BYTES_MIN,
    b64,
    check_range,
    unknown,
    unpadded,
)

MEMORY_KIB_MAX = 128 * 1024
MEMORY_PASSES_KIB_MAX = 256 * 1024
"""The maximum product of memory (KiB) and passes. The time of a computation is proportional to this product."""
PASSES_MAX = 16
LANES_MAX = 8
SALT_BYTES_MIN = 8
MEMORY_KIB_PER_LANE = 8
"""The minimum memory of a lane, in KiB (RFC 9106 section 3.1)."""

_FORM = re.compile(
    r"\$argon2(id|i|d)\$v=19\$m=([1-9][0-9]{0,7}),t=([1-9][0-9]{0,2}),p=([1-9][0-9]{0,2})"
    r"\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
DECOY = re.compile(r"argon2(id|i|d)-m([0-9]{1,8})-t([0-9]{1,3})-p([0-9]{1,3})")


class Argon2(Struct, frozen=True):
    """An Argon2 string whose form and cost are valid. ``cost`` is memory in KiB, passes and lanes."""

    text: str
    variant: str
    cost: tuple[int, int, int]

    @property
    def name(self) -> str:
        """The kind with its cost, such as ``argon2id-m19456-t2-p1``."""
        return name_of(self.variant, self.cost)

    def matches(self, password: bytes) -> bool:
        """Check a password. Raises ``Unavailable`` if Argon2 cannot compute the hash."""
        from argon2.exceptions import VerificationError, VerifyMismatchError  # noqa: PLC0415 - cold start
        from argon2.low_level import Type, verify_secret  # noqa: PLC0415 - cold start

        variant = {"id": Type.ID, "i": Type.I, "d": Type.D}[self.variant]
        try:
            return verify_secret(self.text.encode("ascii"), password, variant)
        except VerifyMismatchError:
            return False
        except VerificationError as error:
            raise Unavailable(f"argon2 could not verify: {error}") from None


def name_of(variant: str, cost: tuple[int, int, int]) -> str:
    """Return the name of a kind with its cost: memory in KiB, passes and lanes."""
    memory_kib, passes, lanes = cost
    return f"argon2{variant}-m{memory_kib}-t{passes}-p{lanes}"


def read(text: str) -> Argon2:
    """Read an Argon2 string. Raises ``HashRefused``. A key id and associated data are not supported."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise unknown("not an Argon2 string of version 19 with m, t, p, salt and hash")
    memory_kib, passes, lanes = (int(number) for number in match.groups()[1:4])
    check_range("m", memory_kib, MEMORY_KIB_PER_LANE * lanes, MEMORY_KIB_MAX)
    check_range("t", passes, 1, PASSES_MAX)
    check_range("p", lanes, 1, LANES_MAX)
    check_range("m times t", memory_kib * passes, 1, MEMORY_PASSES_KIB_MAX)
    _check_base64(match[5], least=SALT_BYTES_MIN, most=SALT_BYTES_MAX, what="salt")
    _check_base64(match[6], least=TAG_BYTES_MIN, most=TAG_BYTES_MAX, what="hash")
    return Argon2(text, match[1], (memory_kib, passes, lanes))


def _check_base64(text: str, *, least: int, most: int, what: str) -> None:
    """Check base64 and its length. Like the library, refuse unused bits that are not zero. Raises ``HashRefused``."""
    if b64(unpadded(text, least=least, most=most, what=what)) != text:
        raise unknown(f"the {what} has unused bits that are not zero (RFC 4648 section 3.5)")


def decoy(match: re.Match[str]) -> str:
    """Return a hash that no password has. Its kind and cost are in ``match``, a match of the pattern ``DECOY``."""
    variant, memory_kib, passes, lanes = match.groups()
    return (
        f"$argon2{variant}$v=19$m={memory_kib},t={passes},p={lanes}"
        "$bm9ib2R5J3Mgc2FsdC4uLg$bm9ib2R5J3MgdGFnLCB3aGljaCBub3RoaW5nIGhpdHM"
    )
