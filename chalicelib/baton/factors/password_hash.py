"""Password hashes: Baton makes Argon2id (RFC 9106), and verifies the hashes of other systems (``hashes/``)."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

from msgspec import Struct

from chalicelib.baton import policy
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.factors.refusals import InvalidCredentials

if TYPE_CHECKING:
    from chalicelib.baton.factors.hashes.reading import StoredHash

_TAG_BYTES = 32
_CURRENT = (policy.ARGON2_MEMORY_KIB, policy.ARGON2_PASSES, policy.ARGON2_LANES)

TEST_COST: ContextVar[tuple[int, int, int] | None] = ContextVar("TEST_COST", default=None)
"""A cost that replaces the cost of the policy: memory in KiB, passes and lanes. Only the test kit sets this."""

_NOBODYS_PASSWORD_HASH = (
    f"$argon2id$v=19$m={policy.ARGON2_MEMORY_KIB},t={policy.ARGON2_PASSES},p={policy.ARGON2_LANES}"
    "$bm9ib2R5J3Mgc2FsdC4uLg$bm9ib2R5J3MgdGFnLCB3aGljaCBub3RoaW5nIGhpdHM"
)
"""The hash to compare with if there is no stored hash and no decoy. It has the policy's cost and an arbitrary tag."""


class Verified(Struct, frozen=True):
    """The password is right. ``rehash``: the caller must hash the password again and replace the stored hash."""

    rehash: bool


def hash_password(password: bytes, *, salt: bytes) -> str:
    """Return the hash of a normalised password: Argon2id at the policy's cost, in the PHC string format."""
    from argon2.low_level import Type, hash_secret  # noqa: PLC0415 - cold start

    memory_kib, passes, lanes = TEST_COST.get() or _CURRENT
    return hash_secret(password, salt, passes, memory_kib, lanes, _TAG_BYTES, Type.ID).decode("ascii")


def verify_password(
    password: bytes, *, password_hash: str | None, as_sent: bytes = b"", decoy: str | None = None
) -> Verified:
    """Verify a normalised password.

    ``password_hash``: if ``None``, the password is compared with ``decoy`` or, without a decoy, with a fixed hash.
    ``as_sent``: the password as the client sent it, not normalised. Another system may have hashed these bytes.

    If ``password`` does not match, ``as_sent`` is compared next, if it is given and differs from ``password``. For an
    unknown account, Baton makes the same comparisons. So a wrong password costs the same number of hash computations
    whether the account exists or not.

    Raises:
        InvalidCredentials: the password is wrong, or ``password_hash`` is ``None``.
        Unavailable: Baton does not verify this kind of hash, or the cost of the hash is out of bounds.

    """
    from chalicelib.baton.factors.hashes import kinds  # noqa: PLC0415 - cold start

    stored = (decoy or _NOBODYS_PASSWORD_HASH) if password_hash is None else password_hash
    try:
        read = kinds.read_hash(stored)
    except kinds.HashRefused as refused:
        raise Unavailable(f"a stored password hash cannot be verified: {refused.why}: {refused}") from None
    if read.matches(password):
        matched = password
    elif as_sent and as_sent != password and read.matches(as_sent):
        matched = as_sent
    else:
        raise InvalidCredentials("wrong password, or no such account")
    if password_hash is None:
        raise InvalidCredentials("no such account")  # the password of an unknown account is never right
    return Verified(rehash=(matched != password or not is_current(read)) and not _is_cut(read, matched))


def _is_cut(stored: "StoredHash", password: bytes) -> bool:
    """Check whether a hash covers only the beginning of a password.

    The caller must not replace such a hash by a hash of the whole password: the person may have mistyped the rest.
    """
    from chalicelib.baton.factors.hashes import bcrypt_hash  # noqa: PLC0415 - cold start

    return isinstance(stored, bcrypt_hash.Bcrypt) and len(password) > bcrypt_hash.PASSWORD_BYTES


def is_current(stored: "StoredHash") -> bool:
    """Check whether a hash is of the kind and cost that Baton makes now."""
    from chalicelib.baton.factors.hashes import argon2_hash  # noqa: PLC0415 - cold start

    return stored.name == argon2_hash.name_of("id", TEST_COST.get() or _CURRENT)
