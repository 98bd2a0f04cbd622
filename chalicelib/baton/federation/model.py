"""Identities at providers as they are stored, and the limits of key sets. No I/O. Durations are integer seconds."""

from typing import Final

from msgspec import Struct

from chalicelib.baton.factors.user_parts import LinkedIdentity
from chalicelib.baton.ids import AccountId
from chalicelib.baton.policy import DAY_S, MINUTE_S

KEYS_FRESH_S: Final = 10 * MINUTE_S
"""How long keys are used without asking the provider again. A key that it removed stops within this time."""
KEYS_KEPT_S: Final = DAY_S
"""How long keys are used while the provider cannot be reached."""
FETCH_EVERY_S: Final = MINUTE_S
"""The whole deployment fetches the keys of a provider at most once in this time."""
FETCH_WITHIN_S: Final = 3.0
IDENTITIES_MAX: Final = 8
"""How many identities an account may have, one of each provider."""
REFUSED_TOKENS_PER_SOURCE_MAX: Final = 100
"""Refused tokens of a source in ``policy.THROTTLE_WINDOW_S``."""


class Identity(Struct, frozen=True):
    """A person at a provider, who can log in to an account.

    ``index`` is the code of the provider and an HMAC of issuer and subject. ``sealed_sub`` is the subject, encrypted
    for the account (`Ring.encrypt_for`). ``linked_at`` is in seconds.
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
    """An identity to link: its own item, and what the item of the user has of it.

    ``verified``: it proves the address of the account.
    """

    identity: Identity
    linked: LinkedIdentity
    verified: bool = False


class SealedKeys(Struct, frozen=True):
    """The sealed key set of a provider, and when it was last asked for, in seconds. Empty bytes: there is none."""

    asked_at: int = 0
    sealed: bytes = b""
