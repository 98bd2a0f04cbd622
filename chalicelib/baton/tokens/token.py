"""A token's two forms, JWT and opaque: mint and read.

Both are deterministic: under one key of the ring the same token is the same string, so an exchange repeated with its
attempt gets the same child, to the byte. A JWT has a second valid string: the signatures (r, s) and (r, n - s) both
verify. So nothing is keyed by the string or its signature. The account state identifies a token by its claims.
"""

import re
from enum import StrEnum

from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.model import Binding, KeyBinding
from chalicelib.baton.policy import MINUTE_S
from chalicelib.baton.tokens.refusals import TokenInvalid

_NUMBER_MAX = 2**32 - 1
"""Generations and times fit four bytes: times until the year 2106."""

_CLIENT_MAX = 255

_ID = re.compile("[A-Za-z0-9_-]{16}")
"""12 bytes exactly, so every spelling is the canonical one."""


class UnknownKey(TokenInvalid):
    """Made under a key that this copy of the ring does not have. Read again with a fresh one, once."""


class ConfigurationMismatch(Unavailable):
    """A genuine token whose issuer, audience or client this deployment's configuration does not know (E1b).

    ``what`` is one of those three words. The configuration is wrong, and must log nobody out.
    """

    def __init__(self, what: str) -> None:
        """Say which of the three it is, in a fixed word, and ask for a pause that an operator can use."""
        reason = f"a genuine token of another {what}: this configuration lacks it"
        # One old token can be sent again and again. The event ``configuration_mismatch`` has its own alarm.
        super().__init__(reason, retry_after=MINUTE_S, by_caller=True)
        self.what = what


class Names(Struct, frozen=True):
    """What this deployment calls itself in tokens: ``iss`` and ``aud``. Earlier issuers' tokens are still read."""

    issuer: str
    audience: str
    earlier_issuers: frozenset[str] = frozenset()


class Kind(StrEnum):
    """What a token can do: ``access`` on calls, ``refresh`` at ``/oauth/token``, or ``both``."""

    ACCESS = "access"
    REFRESH = "refresh"
    BOTH = "both"


class Token(Struct, frozen=True):
    """What a token says. ``key`` is the device's public key when it is bound to one, and only then."""

    kind: Kind
    account: AccountId
    lineage: LineageId
    generation: int
    issued_at: int
    expires_at: int
    client: int
    binding: Binding
    key: PublicKey | None = None

    def __post_init__(self) -> None:
        """Refuse to be what no token can be: this holds for minting and for reading."""
        if not (_ID.fullmatch(self.account) and _ID.fullmatch(self.lineage)):
            raise ValueError("an id is 12 bytes in base64url")
        for number in (self.generation, self.issued_at, self.expires_at):
            if type(number) is not int or not 0 <= number <= _NUMBER_MAX:
                raise ValueError("generation, iat and exp are whole numbers of four bytes")
        if not 0 < self.client <= _CLIENT_MAX:
            raise ValueError("a client's code is one byte")
        thumbprint = self.binding.thumbprint if isinstance(self.binding, KeyBinding) else None
        if thumbprint != (self.key.thumbprint if self.key else None):
            raise ValueError("the key is not the one it is bound to")

    @property
    def jti(self) -> str:
        """Name this token: the same name for the same token, whatever its form."""
        return f"{self.lineage}.{self.generation}.{self.kind}.{self.issued_at}"
