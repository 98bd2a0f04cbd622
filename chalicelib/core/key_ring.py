"""The deployment's keys: what signs tokens, what ids and secrets derive from, what seals verifiers; and the fence.

One immutable value. Rotating makes the next one, under a revision one higher; a store writes it when nobody else did.

A key or a root serves only its own time:

1. The newest key whose ``signs_from`` has come signs. Its time ends when the time of the next key begins.
2. A token's iat may be at most ``ISSUED_AFTER_KEY_MAX_S`` later than the end of its key's time. There is no lower
   bound: the newest key signs a child that is issued again, with the iat of its exchange.
3. An opaque token is sealed under the root of its lineage, and under no other.
4. The ring holds a next signing key that every environment has and ``jwks`` publishes, so that ``retire_keys`` can end
   a key's time immediately: an environment whose cached ring lacked the key would refuse the token as forged.
5. Whoever read the ring has the next key too. ``retire_keys`` therefore ends the time of every key in the ring.
"""

import hmac
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Annotated, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from chalicelib.core.base64url import decode_base64url, encode_base64url
from chalicelib.core.errors import Unavailable
from chalicelib.core.model import AccountId, EmailIndex, LineageId, Secret
from chalicelib.core.policy import (
    ISSUED_AFTER_KEY_MAX_S,
    MECHANISMS,
    NEXT_SIGNING_KEY_AHEAD_S,
    ROOT_ROTATED_AFTER_S,
    SIGNING_KEY_PUBLISHED_BEFORE_USE_S,
    SIGNING_KEY_ROTATED_AFTER_S,
)
from chalicelib.core.public_key import ES256, PublicKey

KEY_KEPT_AFTER_USE_S = max(mechanism.absolute_s for mechanism in MECHANISMS.values()) + ISSUED_AFTER_KEY_MAX_S
"""No token, of either form, outlives its lineage: when the last lineage born under a key is over, it may go."""

KEY_BYTES = 32
ID_BYTES = 12
NONCE_BYTES = 12
_ROOT_VERSION_MAX = 255
_NO_ROOT_VERSION = 0
_FORMAT = 1
_NUMBER_MAX = 2**53
_Number = Annotated[int, Meta(ge=0, le=_NUMBER_MAX)]
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order n of P-256: scalars are 1 to n - 1 (FIPS 186-5, SP 800-186 3.2.1.3)."""


class Unsealable(Exception):
    """A sealed value does not open here: it was altered, or copied from another account's row."""


class RingUnreadable(Exception):
    """Stored bytes are not a key ring. The message never quotes them."""


class SigningKey(Struct, frozen=True):
    """A key that signs tokens: ES256, known by its RFC 7638 thumbprint. ``private`` is the scalar, 32 bytes."""

    kid: str
    private: Secret
    made_at: _Number
    signs_from: _Number

    def private_key(self) -> EllipticCurvePrivateKey:
        """Give the key as ``cryptography`` has it."""
        return _private_key(self.private)

    def sign(self, message: bytes) -> bytes:
        """Sign by ES256 (RFC 7518 3.4): r and s, 32 bytes each. Deterministic (RFC 6979): again is the same."""
        r: int
        s: int
        r, s = decode_dss_signature(self.private_key().sign(message, ES256))
        return r.to_bytes(KEY_BYTES, "big") + s.to_bytes(KEY_BYTES, "big")

    def public_key(self) -> PublicKey:
        """Give the public half."""
        return _public_key(self.private)

    def public_jwk(self) -> dict[str, str]:
        """Give the public half as it is published (RFC 7517)."""
        return {**self.public_key().to_jwk(), "kid": self.kid, "use": "sig", "alg": "ES256"}


class Root(Struct, frozen=True):
    """A root secret (32 bytes) that ids, HMAC secrets and opaque tokens derive from. ``version`` is 1 to 255."""

    version: Annotated[int, Meta(ge=1, le=_ROOT_VERSION_MAX)]
    secret: Secret
    made_at: _Number
    used_from: _Number


class Ring(Struct, frozen=True):
    """All keys of a deployment, oldest first. ``fence`` is the time before which every lineage is dead."""

    revision: int
    signing: tuple[SigningKey, ...]
    roots: tuple[Root, ...]
    email_key: Secret
    verifier_key: Secret
    fence: int

    def signer(self, now: int) -> SigningKey:
        """Choose the newest key that may sign already."""
        usable = [key for key in self.signing if key.signs_from <= now]
        if not usable:
            raise Unavailable("no signing key of the ring may be used yet")
        return usable[-1]

    def served_until(self, key: SigningKey) -> int | None:
        """Tell when the time of a key of this ring ends, or ended; ``None`` when no key follows it."""
        later = self.signing[self.signing.index(key) + 1 :]
        return min((follower.signs_from for follower in later), default=None)

    def serves(self, key: SigningKey, issued_at: int) -> bool:
        """Tell whether a token of this ``issued_at`` may be signed by this key. The rule has no lower bound."""
        end = self.served_until(key)
        return end is None or issued_at <= end + ISSUED_AFTER_KEY_MAX_S

    def published(self) -> tuple[SigningKey, ...]:
        """List the keys that other servers may trust: those that can have signed a token of a live login.

        The fence ended every login from before it. A key whose last possible token is older signs for none of them,
        and a leaked one must not be believed by a server that reads the published set alone.
        """
        return tuple(key for key in self.signing if self.serves(key, self.fence))

    def root_for_new(self, now: int) -> Root:
        """Choose the root that new accounts and lineages are born under: the newest that may be used already."""
        usable = [root for root in self.roots if root.used_from <= now]
        if not usable:
            raise Unavailable("no root of the ring may be used yet")
        return usable[-1]

    def root(self, version: int) -> Root | None:
        """Find the root of a version."""
        for root in self.roots:
            if root.version == version:
                return root
        return None

    def email_index(self, email: str) -> EmailIndex:
        """Index a canonical e-mail address: HMAC-SHA256 under a key that never rotates."""
        return EmailIndex(encode_base64url(_mac(derive(self.email_key, b"email index"), email)))

    def account_ids(self, email: str, attempt: str, *, now: int) -> tuple[AccountId, ...]:
        """Name the account that a registration attempt makes; then what it would have been under every other root.

        The first is the name of a new account. The others recognise a repetition across a rotation.
        """
        return tuple(AccountId(_id(root, b"account id", email, attempt)) for root in self._newest_first(now))

    def lineage_ids(self, email: str, attempt: str, *, now: int) -> tuple[LineageId, ...]:
        """Name the lineage that a register or login attempt begins, in the same order as ``account_ids``."""
        return tuple(LineageId(_id(root, b"lineage id", email, attempt)) for root in self._newest_first(now))

    def decoy_account(self, email: str) -> AccountId:
        """Name an account that cannot exist, so that an unknown address costs the same reads as a known one.

        No root has version 0, so no account has such an id.
        """
        mac = _mac(derive(self.email_key, b"decoy account"), email)
        return AccountId(encode_base64url(bytes([_NO_ROOT_VERSION]) + mac[: ID_BYTES - 1]))

    def lineage_secret(self, lineage: LineageId) -> Secret | None:
        """Derive the HMAC secret of a lineage, 32 bytes, stored nowhere; ``None`` when its root is gone."""
        root = self.root(root_version(lineage))
        return _lineage_secret(root.secret, lineage) if root else None

    def seal(self, plaintext: bytes, *, account: AccountId, nonce: bytes) -> bytes:
        """Wrap a verifier for its account's row: nonce (12 random bytes) and AES-256-GCM, the account id bound in."""
        if len(nonce) != NONCE_BYTES:
            raise ValueError("a nonce has 12 bytes")
        return nonce + AESGCM(self.verifier_key.reveal()).encrypt(nonce, plaintext, _row(account))

    def unseal(self, sealed: bytes, *, account: AccountId) -> bytes:
        """Unwrap what was sealed for this very account. Raises ``Unsealable`` for anything else."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self.verifier_key.reveal()).decrypt(nonce, ciphertext, _row(account))
        except (InvalidTag, ValueError):
            raise Unsealable("a verifier does not open for the account it stands with") from None

    def _newest_first(self, now: int) -> Iterator[Root]:
        chosen = self.root_for_new(now)
        yield chosen
        yield from (root for root in reversed(self.roots) if root is not chosen)


def root_version(identity: AccountId | LineageId) -> int:
    """Read the version of the root an id was derived under: its first byte."""
    return decode_base64url(identity[:4])[0]


# --- The life of a ring ------------------------------------------------------------------------------------------

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
        verifier_key=Secret(entropy(KEY_BYTES)),
        fence=0,
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
    version = ring.roots[-1].version % _ROOT_VERSION_MAX + 1
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


def raise_fence(ring: Ring, *, now: int) -> Ring:
    """Declare every lineage from up to ``now`` dead, those of this very second too. A fence never goes down."""
    return replace(ring, revision=ring.revision + 1, fence=max(ring.fence, now + 1))


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
    return SigningKey(kid=_public_key(private).keyid, private=private, made_at=now, signs_from=signs_from)


def _scalar(entropy: Entropy) -> bytes:
    """Draw a private scalar: again while it is out of range (FIPS 186-5 A.2.2), once in four billion times."""
    while True:
        drawn = entropy(KEY_BYTES)
        if 0 < int.from_bytes(drawn, "big") < _P256_ORDER:
            return drawn


# --- Storing it --------------------------------------------------------------------------------------------------


class _Format(Struct):
    format: object = None


class _Stored(Struct):
    """A stored ring: the members of ``Ring``, in their order, after the number of this format."""

    format: int
    revision: Annotated[int, Meta(ge=1, le=_NUMBER_MAX)]
    signing: Annotated[tuple[SigningKey, ...], Meta(min_length=1)]
    roots: Annotated[tuple[Root, ...], Meta(min_length=1)]
    email_key: Secret
    verifier_key: Secret
    fence: _Number


def ring_to_bytes(ring: Ring) -> bytes:
    """Write a ring down. The result is as secret as the keys: a store wraps it."""
    return msgspec.json.encode(_Stored(_FORMAT, **asdict(ring)), enc_hook=_from_secret)


def ring_from_bytes(stored: bytes) -> Ring:
    """Read a ring that `ring_to_bytes` wrote. Raises ``RingUnreadable`` for anything else."""
    try:
        if msgspec.json.decode(stored, type=_Format).format != _FORMAT:
            raise RingUnreadable("not a key ring, or of a format this version does not know")
        read = asdict(msgspec.json.decode(stored, type=_Stored, dec_hook=_to_secret))
        del read["format"]
        ring = Ring(**read)
        # A scalar out of range is no key, and a ValueError.
        wrong = [key.kid for key in ring.signing if key.kid != key.public_key().keyid]
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        # The cause may quote what was read: it is not chained.
        raise RingUnreadable(f"not a key ring: {type(error).__name__}") from None
    if wrong:
        raise RingUnreadable("a signing key is not what its kid says")
    if len({key.kid for key in ring.signing}) < len(ring.signing):
        raise RingUnreadable("two signing keys have one kid")
    if len({root.version for root in ring.roots}) < len(ring.roots):
        raise RingUnreadable("two roots have one version")
    if ring_to_bytes(ring) != stored:  # msgspec ignores an unknown member, and the first of two with one name
        raise RingUnreadable("not in the spelling that a ring is written in")
    return ring


def _from_secret(value: object) -> str:
    if not isinstance(value, Secret):
        raise NotImplementedError
    return encode_base64url(value.reveal())


def _to_secret(_: type, value: object) -> Secret:
    key = decode_base64url(value) if isinstance(value, str) else b""
    if len(key) != KEY_BYTES:
        raise ValueError("expected a key of 32 bytes")
    return Secret(key)


# --- Deriving ----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def derive(secret: Secret, purpose: bytes, length: int = KEY_BYTES) -> bytes:
    """Derive the key that a secret of the ring has for one purpose (HKDF-SHA256, RFC 5869; no salt)."""
    return _hkdf(secret, purpose, length)


@lru_cache(maxsize=256)
def _lineage_secret(root: Secret, lineage: LineageId) -> Secret:
    """Derive it once for many calls: beside the HMAC of a call the derivation would be most of the work."""
    return Secret(_hkdf(root, b"lineage secret " + lineage.encode("ascii"), KEY_BYTES))


def _hkdf(secret: Secret, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=b"baton " + purpose).derive(secret.reveal())


def _mac(key: bytes, *parts: str) -> bytes:
    # Each part behind its length, so that no two lists of parts read the same.
    encoded = [part.encode() for part in parts]
    return hmac.digest(key, b"".join(len(part).to_bytes(4, "big") + part for part in encoded), "sha256")


def _id(root: Root, purpose: bytes, email: str, attempt: str) -> str:
    mac = _mac(derive(root.secret, purpose), email, attempt)
    return encode_base64url(bytes([root.version]) + mac[: ID_BYTES - 1])


def _row(account: AccountId) -> bytes:
    return b"baton verifier " + account.encode()


@lru_cache(maxsize=32)
def _private_key(private: Secret) -> EllipticCurvePrivateKey:
    return derive_private_key(int.from_bytes(private.reveal(), "big"), SECP256R1())


@lru_cache(maxsize=32)
def _public_key(private: Secret) -> PublicKey:
    # By its numbers: importing `serialization` of cryptography would add 5 ms or more to each cold start.
    point = _private_key(private).public_key().public_numbers()
    return PublicKey.from_raw(bytes([2 + point.y % 2]) + point.x.to_bytes(KEY_BYTES, "big"))
