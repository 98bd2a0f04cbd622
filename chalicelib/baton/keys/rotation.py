"""The life of a key ring: make it, rotate its keys, retire them, raise the not-before time. No I/O."""

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
"""No token, of either form, outlives its lineage: when the last lineage born under a key is over, it may go."""

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order n of P-256: scalars are 1 to n - 1 (FIPS 186-5, SP 800-186 3.2.1.3)."""

Entropy = Callable[[int], bytes]


def make_ring(entropy: Entropy, *, now: int) -> Ring:
    """Make the first ring. Its first keys are usable at once, whatever the clock of whoever asks."""
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
    """Let the next signing key sign in ten minutes, unless it is due earlier; publish another next one if none is left.

    Every environment has read the new time before it comes, so the two keys never sign at the same time.
    """
    takes_over = now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    followers = [key for key in ring.signing if key.signs_from > now]
    begun = [key for key in ring.signing if key not in followers]
    if followers:
        followers[0] = replace(followers[0], signs_from=min(followers[0].signs_from, takes_over))
    else:  # a ring of a version that published no next key
        followers = [_new_signing_key(entropy, now=now, signs_from=takes_over)]
    if len(followers) == 1:
        followers.append(_next_key(followers[0], entropy, now=now))
    return _with_signing(ring, [*begun, *followers], now=now)


def retire_keys(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """End the time of every signing key in the ring: of the one that signs now, of the next one in ten minutes.

    The next key signs at once, for it was published long ago. A new one takes over from it as soon as every environment
    has it, since whoever read the ring has read the next key as well. Another new one is the next key then.
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
    """Make the key that signs when ``newest`` has served its time, and not before every environment has it."""
    due = max(newest.signs_from, newest.made_at) + SIGNING_KEY_ROTATED_AFTER_S
    return _new_signing_key(entropy, now=now, signs_from=max(due, now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S))


def _with_signing(ring: Ring, keys: list[SigningKey], *, now: int) -> Ring:
    """Put these signing keys into the ring, without those that no living token names."""
    kept = _needed(tuple(keys), [key.signs_from for key in keys], now=now)
    return replace(ring, revision=ring.revision + 1, signing=kept)


def rotate_root(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """Add a root, known to every cache before it is used, and drop those that no living lineage was born under."""
    version = ring.roots[-1].version % ROOT_VERSION_MAX + 1
    if ring.root(version) is not None:
        raise ValueError("all 255 versions of the root are in the ring")
    used_from = now + SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    root = Root(version=version, secret=Secret(entropy(KEY_BYTES)), made_at=now, used_from=used_from)
    roots = (*ring.roots, root)
    kept = _needed(roots, [root.used_from for root in roots], now=now)
    return replace(ring, revision=ring.revision + 1, roots=kept)


def rotate_due(ring: Ring, entropy: Entropy, *, now: int) -> Ring:
    """Rotate what has served its time; the same ring while nothing has.

    The next signing key takes over when its time comes, without this. What is due is the key after it.
    """
    rotated = ring
    if now >= ring.signing[-1].signs_from - NEXT_SIGNING_KEY_AHEAD_S:
        keys = [*ring.signing, _next_key(ring.signing[-1], entropy, now=now)]
        rotated = _with_signing(rotated, keys, now=now)
    if now - ring.roots[-1].made_at >= ROOT_ROTATED_AFTER_S:
        rotated = rotate_root(rotated, entropy, now=now)
    return rotated


def raise_not_before(ring: Ring, *, now: int) -> Ring:
    """Declare every lineage from up to ``now`` dead, those of this very second too. A not-before never goes down."""
    return replace(ring, revision=ring.revision + 1, not_before=max(ring.not_before, now + 1))


Key = TypeVar("Key", SigningKey, Root)


def _needed(keys: tuple[Key, ...], starts: list[int], *, now: int) -> tuple[Key, ...]:
    """Keep the keys that no other has taken over from yet, or so recently that what they signed may still live."""
    return tuple(
        key
        for number, key in enumerate(keys, start=1)
        if now - min(starts[number:], default=now) <= KEY_KEPT_AFTER_USE_S
    )


def _new_signing_key(entropy: Entropy, *, now: int, signs_from: int) -> SigningKey:
    private = Secret(_scalar(entropy))
    return SigningKey(kid=public_key_of(private).keyid, private=private, made_at=now, signs_from=signs_from)


def _scalar(entropy: Entropy) -> bytes:
    """Draw a private scalar: again while it is out of range (FIPS 186-5 A.2.2), once in four billion times."""
    while True:
        drawn = entropy(KEY_BYTES)
        if 0 < int.from_bytes(drawn, "big") < _P256_ORDER:
            return drawn
