"""Recovery codes: ten codes on paper, each of which replaces the second factor of one login. No I/O.

A code has 24 characters of Crockford's base32 (120 bits). The codes derive from a root secret, the account and a seed.
So the server can show the same codes again after a lost answer. For each code, the server stores 16 bytes of a SHA-256
of the account id and the code. So a digest that is copied to another account matches no code there.

Source: Crockford, "Base 32"; NIST SP 800-63B-4 section 3.1.2 (look-up secrets); OWASP ASVS 5.0 6.5.2.
"""

import hashlib
import hmac
from collections.abc import Iterator
from typing import Final

from chalicelib.baton.factors.model import RecoveryCodes
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.ring import Ring, Root, derive
from chalicelib.baton.policy import RECOVERY_CODE_CHARACTERS, RECOVERY_CODES

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS: Final = str.maketrans("OIL", "011", "- ")
_GROUP: Final = 4
_DIGEST_BYTES: Final = 16
_BITS: Final = 5


def make_codes(ring: Ring, account: AccountId, seed: bytes, *, now: int) -> tuple[str, ...]:
    """Return new codes, in the form that a person reads. Each enrolment and each renewal has its own ``seed``."""
    return _codes(ring.root_for_new(now), account, seed)


def same_codes(ring: Ring, account: AccountId, seed: bytes, stored: RecoveryCodes) -> tuple[str, ...] | None:
    """Return the codes that an earlier request made with ``seed``.

    ``None``: the stored codes are not exactly these codes, such as after the use of a code. Or the ring does not have
    the root secret of these codes.
    """
    for codes in (_codes(root, account, seed) for root in ring.roots):
        if digests_of(account, codes) == stored.digests:
            return codes
    return None


def digests_of(account: AccountId, codes: tuple[str, ...]) -> frozenset[bytes]:
    """Return the digests of codes, as they are stored."""
    return frozenset(digest for code in codes if (digest := digest_of(account, code)) is not None)


def digest_of(account: AccountId, code: str) -> bytes | None:
    """Return the digest of a code as a person typed it. ``None``: the text is not a recovery code.

    Case, hyphens and spaces do not matter. ``O`` is read as 0, ``I`` and ``L`` as 1.
    """
    canonical = code.upper().translate(_READ_AS)
    if len(canonical) != RECOVERY_CODE_CHARACTERS or not set(canonical) <= set(ALPHABET):
        return None
    return hashlib.sha256(account.encode() + canonical.encode()).digest()[:_DIGEST_BYTES]


def _codes(root: Root, account: AccountId, seed: bytes) -> tuple[str, ...]:
    key = derive(root.secret, b"recovery codes")
    return tuple("-".join(_groups(key, account, seed, number)) for number in range(RECOVERY_CODES))


def _groups(key: bytes, account: AccountId, seed: bytes, number: int) -> Iterator[str]:
    # The account id has 16 characters, and `number` has one byte. So different inputs never give the same bytes.
    mac = hmac.digest(key, account.encode() + bytes([number]) + seed, "sha256")
    bits = int.from_bytes(mac, "big")
    text = "".join(ALPHABET[bits >> (_BITS * place) & 31] for place in range(RECOVERY_CODE_CHARACTERS))
    yield from (text[start : start + _GROUP] for start in range(0, RECOVERY_CODE_CHARACTERS, _GROUP))
