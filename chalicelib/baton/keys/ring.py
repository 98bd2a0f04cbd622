"""The key ring: signing keys, root secrets, the keys of e-mail index and password hashes, and the not-before time.

A ring is an immutable value. A rotation makes the next ring with the next revision. A store replaces the ring if the
stored revision is still the revision that was read. No I/O.

Each key and each root secret has a period in which it is used:

1. The key that signs is the newest key whose ``signs_from`` has come. Its period ends when the period of the next key
   begins.
2. The iat of a token may be at most ``ISSUED_AFTER_KEY_MAX_S`` later than the end of the period of its key. There is no
   earliest iat: a child that is issued again has the iat of its exchange, and the newest key signs it.
3. An opaque token is encrypted with the root secret of its lineage, and with no other root secret.
4. The ring has a next signing key. Every environment has read it, and ``jwks`` publishes it. So ``retire_keys`` can end
   the period of a key immediately, and no environment refuses the tokens of the next key as forged.
5. An attacker who read the ring has the next key too. Therefore ``retire_keys`` ends the period of every key in the
   ring.
"""

import hmac
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, derive_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta, Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId, Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.public_key import ES256, PublicKey
from chalicelib.baton.policy import ISSUED_AFTER_KEY_MAX_S

NUMBER_MAX = 2**53
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
"""A time in seconds since the epoch, or a revision."""
KEY_BYTES = 32
ID_BYTES = 12
NONCE_BYTES = 12
ROOT_VERSION_MAX = 255
_NO_ROOT_VERSION = 0


class CannotDecrypt(Exception):
    """A stored value cannot be decrypted: it was altered, or it belongs to another account, item or deployment."""


class SigningKey(Struct, frozen=True):
    """An ES256 key that signs tokens. ``kid`` is its RFC 7638 thumbprint, ``private`` the scalar (32 bytes)."""

    kid: str
    private: Secret
    made_at: Number
    signs_from: Number

    def private_key(self) -> EllipticCurvePrivateKey:
        """Return the private key as an object of ``cryptography``."""
        return _private_key(self.private)

    def sign(self, message: bytes) -> bytes:
        """Sign with ES256 (RFC 7518 3.4): r and s, 32 bytes each. The result is deterministic (RFC 6979)."""
        r: int
        s: int
        r, s = decode_dss_signature(self.private_key().sign(message, ES256))
        return r.to_bytes(KEY_BYTES, "big") + s.to_bytes(KEY_BYTES, "big")

    def public_key(self) -> PublicKey:
        """Return the public key."""
        return public_key_of(self.private)

    def public_jwk(self) -> dict[str, str]:
        """Return the public key as it is published (RFC 7517)."""
        return {**self.public_key().to_jwk(), "kid": self.kid, "use": "sig", "alg": "ES256"}


class Root(Struct, frozen=True):
    """A root secret (32 bytes). Ids, HMAC secrets and keys of opaque tokens derive from it. ``version`` is 1 to 255."""

    version: Annotated[int, Meta(ge=1, le=ROOT_VERSION_MAX)]
    secret: Secret
    made_at: Number
    used_from: Number


class Ring(Struct, frozen=True):
    """All keys of a deployment, oldest first. Every lineage that began before ``not_before`` (seconds) has ended."""

    revision: int
    signing: tuple[SigningKey, ...]
    roots: tuple[Root, ...]
    email_key: Secret
    password_key: Secret
    not_before: int

    def signer(self, now: int) -> SigningKey:
        """Return the newest key that may sign at ``now``."""
        usable = [key for key in self.signing if key.signs_from <= now]
        if not usable:
            raise Unavailable("no signing key of the ring may be used yet")
        return usable[-1]

    def served_until(self, key: SigningKey) -> int | None:
        """Return the time at which the period of this key ends, and the next key signs. ``None``: no key follows."""
        later = self.signing[self.signing.index(key) + 1 :]
        return min((follower.signs_from for follower in later), default=None)

    def serves(self, key: SigningKey, issued_at: int) -> bool:
        """Check whether this key may have signed a token with this ``issued_at``.

        An ``issued_at`` before the period of the key is possible too: see rule 2 of this module.
        """
        end = self.served_until(key)
        return end is None or issued_at <= end + ISSUED_AFTER_KEY_MAX_S

    def published(self) -> tuple[SigningKey, ...]:
        """Return the signing keys that resource servers may trust, including the next key.

        A key is left out if all tokens that it may have signed are from before the not-before time. Such a key may have
        leaked, and resource servers do not check the not-before time.
        """
        return tuple(key for key in self.signing if self.serves(key, self.not_before))

    def root_for_new(self, now: int) -> Root:
        """Return the root for the ids of new accounts and lineages: the newest root that may be used at ``now``."""
        usable = [root for root in self.roots if root.used_from <= now]
        if not usable:
            raise Unavailable("no root of the ring may be used yet")
        return usable[-1]

    def root(self, version: int) -> Root | None:
        """Return the root of a version, or ``None`` if the ring does not have it."""
        for root in self.roots:
            if root.version == version:
                return root
        return None

    def was_in_use(self, root: Root, at: int) -> bool:
        """Return whether a root's period still ran at ``at`` (seconds), or ended at most ten minutes before ``at``."""
        later = [one.used_from for one in self.roots if one.version > root.version]
        return all(at <= used_from + ISSUED_AFTER_KEY_MAX_S for used_from in later)

    def email_index(self, email: str) -> EmailIndex:
        """Return the index of a canonical e-mail address: HMAC-SHA256 with a key that never rotates."""
        return EmailIndex(encode_base64url(_mac(derive(self.email_key, b"email index"), email)))

    def account_ids(self, email: str, attempt: str, *, now: int) -> tuple[AccountId, ...]:
        """Return the account ids of a registration attempt, one for each root, beginning with the root for new ids.

        A new account gets the first id. With the other ids, a retry finds an account that the same attempt made before
        a rotation of the root.
        """
        return tuple(AccountId(_id(root, b"account id", email, attempt)) for root in self._newest_first(now))

    def arrived_ids(self, email: str, source_id: str, *, now: int) -> tuple[AccountId, ...]:
        """Return the account ids of a person who comes from another system, in the same order as ``account_ids``.

        With these ids, a repeated import finds the account of the first import.

        - ``email``: the canonical address, or the result of ``identity_index`` if the person has no address.
        - ``source_id``: the id in the other system. Two accounts there with the same address get different ids here.
          So the import of the second account does not look like a repetition: it is a conflict (the address is taken).
        """
        return tuple(AccountId(_id(root, b"arrived account id", email, source_id)) for root in self._newest_first(now))

    def federated_ids(self, subject: str, attempt: str, *, now: int) -> tuple[AccountId, ...]:
        """Return the account ids of a sign-up with an identity provider, in the same order as ``account_ids``.

        ``subject`` is the result of ``identity_index``.
        """
        return tuple(
            AccountId(_id(root, b"federated account id", subject, attempt)) for root in self._newest_first(now)
        )

    def identity_index(self, provider: int, issuer: str, sub: str) -> str:
        """Return the index of a person at a provider: the code of the provider, ``#``, and an HMAC-SHA256.

        The HMAC covers all three arguments. Its key never rotates.
        """
        mac = _mac(derive(self.email_key, b"identity index"), str(provider), issuer, sub)
        return f"{provider}#{encode_base64url(mac)}"

    def lineage_ids(self, account: str, attempt: str, *, now: int) -> tuple[LineageId, ...]:
        """Return the lineage ids of a registration or login attempt: one for each root, ordered as in ``account_ids``.

        A new lineage gets the first id. With the other ids, a retry finds a lineage that the same attempt began before
        a rotation of the root. So an attempt begins only one lineage.
        """
        return tuple(LineageId(_id(root, b"lineage id", account, attempt)) for root in self._newest_first(now))

    def decoy_account(self, email: str) -> AccountId:
        """Return an account id that cannot exist, so that an unknown address causes the same reads as a known address.

        The id has the root version 0. No root has this version.
        """
        mac = _mac(derive(self.email_key, b"decoy account"), email)
        return AccountId(encode_base64url(bytes([_NO_ROOT_VERSION]) + mac[: ID_BYTES - 1]))

    def lineage_secret(self, lineage: LineageId) -> Secret | None:
        """Derive the HMAC secret of a lineage, 32 bytes. ``None`` if the ring no longer has the root."""
        root = self.root(root_version(lineage))
        return _lineage_secret(root.secret, lineage) if root else None

    def encrypt_for(self, plaintext: bytes, *, account: AccountId, nonce: bytes, kind: str = "verifier") -> bytes:
        """Encrypt a stored secret: AES-256-GCM with a nonce of 12 random bytes.

        ``kind`` and the account id are associated data. Values of ``kind``:

        - ``verifier``: a password hash.
        - ``totp``: the secret of an authenticator app.
        - ``identity``: the subject at a provider.
        - ``apple token``: a refresh token of Apple.
        - ``provider key``: the private key with which this deployment authenticates to Apple.
        """
        if len(nonce) != NONCE_BYTES:
            raise ValueError("a nonce has 12 bytes")
        return nonce + AESGCM(self.password_key.reveal()).encrypt(nonce, plaintext, _row(kind, account))

    def decrypt_for(self, sealed: bytes, *, account: AccountId, kind: str = "verifier") -> bytes:
        """Decrypt a stored secret of this account. Raises ``CannotDecrypt`` if it is altered or of another account."""
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            return AESGCM(self.password_key.reveal()).decrypt(nonce, ciphertext, _row(kind, account))
        except (InvalidTag, ValueError):
            raise CannotDecrypt("a stored secret does not decrypt for its account") from None

    def _newest_first(self, now: int) -> Iterator[Root]:
        chosen = self.root_for_new(now)
        yield chosen
        yield from (root for root in reversed(self.roots) if root is not chosen)


def root_version(identity: AccountId | LineageId) -> int:
    """Return the version of the root from which an id derives: the first byte of the decoded id."""
    return decode_base64url(identity[:4])[0]


@lru_cache(maxsize=64)
def derive(secret: Secret, purpose: bytes, length: int = KEY_BYTES) -> bytes:
    """Derive a key from a secret for one purpose (HKDF-SHA256 without salt, RFC 5869). The key is cached."""
    return hkdf(secret, purpose, length)


@lru_cache(maxsize=256)
def _lineage_secret(root: Secret, lineage: LineageId) -> Secret:
    """Derive the HMAC secret of a lineage, and cache it: the derivation takes longer than the HMAC of a call."""
    return Secret(hkdf(root, b"lineage secret " + lineage.encode("ascii"), KEY_BYTES))


def hkdf(secret: Secret, purpose: bytes, length: int) -> bytes:
    """Derive a key of ``length`` bytes for one purpose (HKDF-SHA256 without salt, RFC 5869). The key is not cached."""
    return HKDF(SHA256(), length, salt=None, info=b"baton " + purpose).derive(secret.reveal())


def _mac(key: bytes, *parts: str) -> bytes:
    # Each part follows its length, so two different lists of parts never give the same bytes.
    encoded = [part.encode() for part in parts]
    return hmac.digest(key, b"".join(len(part).to_bytes(4, "big") + part for part in encoded), "sha256")


def _id(root: Root, purpose: bytes, of: str, attempt: str) -> str:
    mac = _mac(derive(root.secret, purpose), of, attempt)
    return encode_base64url(bytes([root.version]) + mac[: ID_BYTES - 1])


def _row(kind: str, account: AccountId) -> bytes:
    return f"baton {kind} {account}".encode()


@lru_cache(maxsize=32)
def _private_key(private: Secret) -> EllipticCurvePrivateKey:
    return derive_private_key(int.from_bytes(private.reveal(), "big"), SECP256R1())


@lru_cache(maxsize=32)
def public_key_of(private: Secret) -> PublicKey:
    """Return the public key of a P-256 private key (a scalar of 32 bytes). The result is cached."""
    # The coordinates are enough: importing `serialization` of cryptography would add 5 ms or more to a cold start.
    point = _private_key(private).public_key().public_numbers()
    return PublicKey.from_raw(bytes([2 + point.y % 2]) + point.x.to_bytes(KEY_BYTES, "big"))
