"""Changes of a key ring: make it, rotate its keys, retire them, raise the not-before time. No I/O."""

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from chalicelib.baton.ids import Secret
from chalicelib.baton.keys.ring import KEY_BYTES, ROOT_VERSION_MAX, Ring, Root, SigningKey, public_key_of
from chalicelib.baton.policy import (
    ISSUED_AFTER_KEY_MAX_S,
    MECHANISMS,
    NEXT_SIGNING_KEY_AHEAD_S,
    ROOT_ROTATED_AFTER_S,
    SIGNING_KEY_PUBLISHED_BEFORE_USE_S,
    SIGNING_KEY_ROTATED_AFTER_S,
)

KEY_KEPT_AFTER_USE_S = max(mechanism.absolute_s for mechanism in MECHANISMS.values()) + ISSUED_AFTER_KEY_MAX_S
"""How long a key is kept after its period, in seconds.

After this time, each lineage with a token of the key has ended.
"""

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order n of P-256: scalars are 1 to n - 1 (FIPS 186-5, SP 800-186 3.2.1.3)."""

Entropy = Callable[[int], bytes]


def make_ring(entropy: Entropy, *, now: int) -> Ring:
    """Make the first ring. Its first signing key and its root can be used immediately, even if a clock is behind."""
    return Ring(
        revision=1,
        signing=(
            _new_signing_key(entropy, now=now, signs_from=0),
            _new_signing_key(entropy, now=now, signs_from=now + SIGNING_KEY_ROTATED_AFTER_S),
        ),
        roots=(Root(version=1, secret=Secret(entropy(KEY_BYTES)), made_at=now, used_from=0),),
        email_key=Secret(entropy(KEY_BYTES)),
        password_key=Secret(entropy(KEY_BYTES)),
        not_before=0,
    )


def rotate_signing(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """Begin the period of the next signing key in ten minutes, or at its planned time if this time is earlier.

    If this changes the planned time, every environment reads the new time within ten minutes. So two keys never sign at
    the same time. If no key follows the next key, make such a key.
    """
    takes_over = now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    followers = [key for key in ring.signing if key.signs_from > now]
    begun = [key for key in ring.signing if key not in followers]
    if followers:
        followers[0] = replace(followers[0], signs_from=min(followers[0].signs_from, takes_over))
    else:  # the ring is from a version of Baton that published no next key
        followers = [_new_signing_key(entropy, now=now, signs_from=takes_over)]
    if len(followers) == 1:
        followers.append(_next_key(followers[0], entropy, now=now))
    return _with_signing(ring, [*begun, *followers], now=now)


def retire_keys(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """End the period of every signing key in the ring, the next key included, within ten minutes after ``now``.

    From ``now`` on, these keys sign, in this order:

    1. The current key, until the next key is ten minutes old. If the next key is older, it signs immediately.
    2. The next key, until ten minutes after ``now``.
    3. A new key. Every environment has read it by then.
    4. A second new key, ``SIGNING_KEY_ROTATED_AFTER_S`` after the period of the first new key begins.
    """
    known_after_s = SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    keys = [
        replace(key, signs_from=min(key.signs_from, max(now, key.made_at + known_after_s)))
        if key.signs_from > now
        else key
        for key in ring.signing
    ]
    keys.append(_new_signing_key(entropy, now=now, signs_from=now + known_after_s))
    return _with_signing(ring, [*keys, _next_key(keys[-1], entropy, now=now)], now=now)


def _next_key(newest: SigningKey, entropy: Entropy, *, now: int) -> SigningKey:
    """Make the key that follows ``newest``. It does not sign before every environment has read it."""
    due = max(newest.signs_from, newest.made_at) + SIGNING_KEY_ROTATED_AFTER_S
    return _new_signing_key(entropy, now=now, signs_from=max(due, now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S))


def _with_signing(ring: Ring, keys: list[SigningKey], *, now: int) -> Ring:
    """Return the ring with these signing keys, except for keys that no valid token needs."""
    kept = _needed(tuple(keys), [key.signs_from for key in keys], now=now)
    return replace(ring, revision=ring.revision + 1, signing=kept)


def rotate_root(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """Add a root, which is used after every environment has read it. Remove the roots that no active lineage needs."""
    version = ring.roots[-1].version % ROOT_VERSION_MAX + 1
    if ring.root(version) is not None:
        raise ValueError("all 255 versions of the root are in the ring")
    used_from = now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    root = Root(version=version, secret=Secret(entropy(KEY_BYTES)), made_at=now, used_from=used_from)
    roots = (*ring.roots, root)
    kept = _needed(roots, [root.used_from for root in roots], now=now)
    return replace(ring, revision=ring.revision + 1, roots=kept)


def rotate_due(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """Rotate the keys that are due. If no key is due, return the same ring.

    The ring already has the next signing key, which begins to sign at its planned time even if this function is not
    called. This function adds the key that will follow the next key.
    """
    rotated = ring
    if now >= ring.signing[-1].signs_from - NEXT_SIGNING_KEY_AHEAD_S:
        keys = [*ring.signing, _next_key(ring.signing[-1], entropy, now=now)]
        rotated = _with_signing(rotated, keys, now=now)
    if now - ring.roots[-1].made_at >= ROOT_ROTATED_AFTER_S:
        rotated = rotate_root(rotated, entropy, now=now)
    return rotated


def raise_not_before(ring: Ring, *, now: int) -> Ring:
    """End every lineage that began at ``now`` or earlier. The not-before time never decreases."""
    return replace(ring, revision=ring.revision + 1, not_before=max(ring.not_before, now + 1))


Key = TypeVar("Key", SigningKey, Root)


def _needed(keys: tuple[Key, ...], starts: list[int], *, now: int) -> tuple[Key, ...]:
    """Return the newest key, and the keys that valid tokens may still need.

    A valid token may need a key until ``KEY_KEPT_AFTER_USE_S`` after the end of the key's period. ``starts`` has the
    times at which the periods of the keys begin.
    """
    return tuple(
        key
        for number, key in enumerate(keys, start=1)
        if now - min(starts[number:], default=now) <= KEY_KEPT_AFTER_USE_S
    )


def _new_signing_key(entropy: Entropy, *, now: int, signs_from: int) -> SigningKey:
    private = Secret(_scalar(entropy))
    return SigningKey(kid=public_key_of(private).keyid, private=private, made_at=now, signs_from=signs_from)


def _scalar(entropy: Entropy) -> bytes:
    """Return a random private scalar. A value out of range is drawn again (FIPS 186-5 A.2.2)."""
    while True:
        drawn = entropy(KEY_BYTES)
        if 0 < int.from_bytes(drawn, "big") < _P256_ORDER:
            return drawn
