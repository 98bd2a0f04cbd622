"""The stored form of identities, key sets and tokens to revoke, and their limits. No I/O. Durations are in seconds."""

import hashlib
from typing import Final

from msgspec import Struct

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.policy import DAY_S, MINUTE_S

KEYS_FRESH_S: Final = 10 * MINUTE_S
"""How long Baton uses the keys of a provider before Baton fetches them again.

If this fetch succeeds, Baton refuses the keys that the provider has removed.
"""
KEYS_KEPT_S: Final = DAY_S
"""How long Baton uses keys after it fetched them, if the provider cannot be reached."""
FETCH_EVERY_S: Final = MINUTE_S
"""The whole deployment fetches the keys of a provider at most once in this time."""
FETCH_WITHIN_S: Final = 3.0
IDENTITIES_MAX: Final = 8
"""How many identities an account may have, at most one of each provider."""
REFUSED_TOKENS_PER_SOURCE_MAX: Final = 100
"""The maximum number of refused id_tokens from one network (`source_network`) in ``policy.THROTTLE_WINDOW_S``."""


class Identity(Struct, frozen=True):
    """A person at a provider, who can log in to an account.

    - ``index``: the code of the provider, and an HMAC of issuer and subject.
    - ``linked_at``: in seconds.
    - ``sealed_sub``: the subject, encrypted for the account (`Ring.encrypt_for`).
    """

    index: str
    account: AccountId
    linked_at: int
    sealed_sub: bytes

    @property
    def provider(self) -> int:
        """Return the code of the provider."""
        return int(self.index.partition("#")[0])


class NewIdentity(Struct, frozen=True):
    """An identity to link. ``identity`` is stored in an item of its own, ``linked`` in the item of the user.

    ``verified``: the identity also proves the address of the account.
    """

    identity: Identity
    linked: LinkedIdentity
    verified: bool = False


class SealedKeys(Struct, frozen=True):
    """The encrypted key set of a provider, or empty bytes. ``asked_at``: when the last fetch began (seconds), or 0."""

    asked_at: int = 0
    sealed: bytes = b""


TOKEN_SHARDS: Final = 16
"""The number of stored items that share the tokens to revoke. One item for all tokens could become too large."""
TOKENS_PER_SHARD_MAX: Final = 400
"""A token and its account need at most 900 bytes. So this number of tokens fits in an item of DynamoDB (400 KB)."""
REVOKED_WITHIN_S: Final = 30 * DAY_S
"""How long Baton tries to revoke a token. If a try after this time fails too, Baton deletes the token."""
REVOCATIONS_STUCK_S: Final = DAY_S
"""If a token waits longer than this for its revocation, Baton records an event, which raises an alarm."""
REVOKING_MAX_S: Final = 8
"""A run of the hourly job begins no revocation after this time, because Lambda ends the run after 15 seconds."""
APPLE_WITHIN_S: Final = 2.0
APPLE_BYTES_MAX: Final = 16 * 1024
CLIENT_SECRET_S: Final = 5 * MINUTE_S
CODE_CHARACTERS_MAX: Final = 512
REFRESH_TOKEN_CHARACTERS_MAX: Final = 512
NOTICE_KEPT_S: Final = 30 * DAY_S
"""How long Baton keeps the id of a notice of Apple.

Baton refuses a notice that Apple issued longer ago than this time.
"""


class TokenToRevoke(Struct, frozen=True):
    """An encrypted refresh token of an identity that was removed.

    ``account`` had the identity, and is the account for which the token is encrypted. ``removed_at`` is in seconds.
    """

    account: AccountId
    sealed: bytes
    removed_at: int

    @property
    def id(self) -> str:
        """Return the id of the token: a digest of ``sealed``. The random nonce in ``sealed`` makes the id unique."""
        return encode_base64url(_digest(self.sealed)[:12])

    @property
    def shard(self) -> int:
        """Return the shard of the token, from 0 to ``TOKEN_SHARDS`` - 1. One stored item has the tokens of a shard."""
        return _digest(self.sealed)[-1] % TOKEN_SHARDS


def _digest(sealed: bytes) -> bytes:
    return hashlib.sha256(sealed).digest()
