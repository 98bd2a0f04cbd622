"""Password hashes: Argon2id (RFC 9106)."""

import re
from contextvars import ContextVar

from msgspec import Struct

from chalicelib.baton import policy
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.refusals import InvalidCredentials

_PASSWORD_HASH = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,7}),t=([1-9][0-9]{0,2}),p=([1-9][0-9]{0,2})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}"
)

_MEMORY_KIB_MAX = 64 * 1024
_PASSES_MAX = 8
_LANES_MAX = 4
_TAG_BYTES = 32
_CURRENT = (policy.ARGON2_MEMORY_KIB, policy.ARGON2_PASSES, policy.ARGON2_LANES)

TEST_COST: ContextVar[tuple[int, int, int] | None] = ContextVar("TEST_COST", default=None)
"""Memory in KiB, passes and lanes, which replace those of the policy. Only the test kit sets this, for its requests."""

_NOBODYS_PASSWORD_HASH = (
    f"$argon2id$v=19$m={policy.ARGON2_MEMORY_KIB},t={policy.ARGON2_PASSES},p={policy.ARGON2_LANES}"
    "$bm9ib2R5J3Mgc2FsdC4uLg$bm9ib2R5J3MgdGFnLCB3aGljaCBub3RoaW5nIGhpdHM"
)
"""The hash with which the password for an unknown account is compared: the current cost, and an arbitrary tag."""


class Verified(Struct, frozen=True):
    """The password is right. ``rehash``: its stored hash has other parameters than the current parameters."""

    rehash: bool


def hash_password(password: bytes, *, salt: bytes) -> str:
    """Return the hash of a normalised password: Argon2id at the policy's cost, in the PHC string format."""
    from argon2.low_level import Type, hash_secret  # noqa: PLC0415 - cold start

    memory_kib, passes, lanes = TEST_COST.get() or _CURRENT
    return hash_secret(password, salt, passes, memory_kib, lanes, _TAG_BYTES, Type.ID).decode("ascii")


def verify_password(password: bytes, *, password_hash: str | None) -> Verified:
    """Verify a normalised password, always with one Argon2 computation. ``None``: the account does not exist.

    Raises:
        InvalidCredentials: the password is wrong, or ``password_hash`` is ``None``.
        Unavailable: the stored string is not an Argon2id hash, or its cost is higher than Baton ever uses. Argon2
            reads the cost from that string, so a wrong string is a server error.

    """
    from argon2.exceptions import VerificationError, VerifyMismatchError  # noqa: PLC0415 - cold start
    from argon2.low_level import Type, verify_secret  # noqa: PLC0415 - cold start

    stored = _NOBODYS_PASSWORD_HASH if password_hash is None else password_hash
    cost = _cost(stored)
    try:
        verify_secret(stored.encode("ascii"), password, Type.ID)
    except VerifyMismatchError:
        raise InvalidCredentials("wrong password, or no such account") from None
    except VerificationError as error:
        raise Unavailable(f"argon2 could not verify: {error}") from None
    if password_hash is None:
        raise InvalidCredentials("no such account")  # the password of an unknown account is never right
    return Verified(rehash=cost != (TEST_COST.get() or _CURRENT))


def _cost(password_hash: str) -> tuple[int, int, int]:
    match = _PASSWORD_HASH.fullmatch(password_hash)
    if match is None:
        raise Unavailable("a stored password hash is not an Argon2id string")
    memory_kib, passes, lanes = (int(number) for number in match.groups())
    if memory_kib > _MEMORY_KIB_MAX or passes > _PASSES_MAX or lanes > _LANES_MAX:
        raise Unavailable(f"a stored password hash requires m={memory_kib}, t={passes}, p={lanes}: out of bounds")
    return memory_kib, passes, lanes
