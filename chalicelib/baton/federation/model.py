"""Identities at providers as they are stored, and the limits of key sets. No I/O. Durations are integer seconds."""

import hashlib
from typing import Final

from msgspec import Struct

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.policy import DAY_S, MINUTE_S

KEYS_FRESH_S: Final = 10 * MINUTE_S
"""How long keys are used before they are fetched again.

After this time, a key that the provider removed is refused, if the provider can be reached.
"""
KEYS_KEPT_S: Final = DAY_S
"""How long keys are used while the provider cannot be reached."""
FETCH_EVERY_S: Final = MINUTE_S
"""The whole deployment fetches the keys of a provider at most once in this time."""
FETCH_WITHIN_S: Final = 3.0
IDENTITIES_MAX: Final = 8
"""How many identities an account may have, at most one of each provider."""
REFUSED_TOKENS_PER_SOURCE_MAX: Final = 100
"""The maximum number of refused tokens of a source in ``policy.THROTTLE_WINDOW_S``."""


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
    """An identity to link: its own item, and its part of the user's item.

    ``verified``: the identity also proves the address of the account.
    """

    identity: Identity
    linked: LinkedIdentity
    verified: bool = False


class SealedKeys(Struct, frozen=True):
    """The sealed key set of a provider, and the time when the last fetch began (seconds). Empty bytes: no key set."""

    asked_at: int = 0
    sealed: bytes = b""


TOKEN_SHARDS: Final = 16
"""Tokens to revoke are in sixteen items, so that no item becomes too large."""
TOKENS_PER_SHARD_MAX: Final = 400
"""An item of DynamoDB has at most 400 KB, and a token with its account at most 900 bytes."""
REVOKED_WITHIN_S: Final = 30 * DAY_S
"""How long the revocation of a token is tried. Then the token is dropped."""
REVOCATIONS_STUCK_S: Final = DAY_S
"""A token that is not revoked after this time causes an event, which raises an alarm."""
REVOKING_MAX_S: Final = 8
"""A run of the job begins no call after this time. Lambda ends the run after 15 seconds."""
APPLE_WITHIN_S: Final = 2.0
APPLE_BYTES_MAX: Final = 16 * 1024
CLIENT_SECRET_S: Final = 5 * MINUTE_S
CODE_CHARACTERS_MAX: Final = 512
REFRESH_TOKEN_CHARACTERS_MAX: Final = 512
NOTICE_KEPT_S: Final = 30 * DAY_S
"""How long the ids of notices are kept. An older notice is refused."""


class TokenToRevoke(Struct, frozen=True):
    """A sealed refresh token of an identity that was removed.

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
        """Return the number of the item that has the token."""
        return _digest(self.sealed)[-1] % TOKEN_SHARDS


def _digest(sealed: bytes) -> bytes:
    return hashlib.sha256(sealed).digest()
