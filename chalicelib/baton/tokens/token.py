"""The facts of a token, which is a JWT or opaque. No I/O.

Both forms are deterministic: the same facts and the same key of the ring always give the same string. So a repeated
exchange gets the same token, byte for byte. A JWT has a second valid string, because the signatures (r, s) and
(r, n - s) both verify. Therefore Baton never identifies a token by its string or its signature, only by its claims.
``KnownTokens`` is not an exception: it only remembers that a string was verified.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import Binding, KeyBinding
from chalicelib.baton.policy import MINUTE_S
from chalicelib.baton.tokens.refusals import TokenInvalid

_NUMBER_MAX = 2**32 - 1
"""Generations and times have four bytes. This is enough until the year 2106."""

_CLIENT_MAX = 255

KNOWN_TOKENS_MAX = 1000
"""How many verified JWTs an environment remembers. They take about 1 MB."""

_ID = re.compile("[A-Za-z0-9_-]{16}")
"""An id: 12 bytes in base64url. Two different texts of 16 characters never decode to the same bytes."""


class UnknownKey(TokenInvalid):
    """The cached ring does not have the key of the token. Read the ring again, and verify the token once more."""


class ConfigurationMismatch(Unavailable):
    """A genuine token names an issuer, audience or client that this deployment does not have (E1b, exchange.md).

    ``what`` is ``issuer``, ``audience`` or ``client``. This error must never end a login.
    """

    def __init__(self, what: str) -> None:
        """Build the error for ``what``. The client must wait for a minute before it repeats the request."""
        reason = f"a genuine token of another {what}: this configuration lacks it"
        # A client can repeat one old token, so this error raises no alarm. `configuration_mismatch` raises the alarm.
        super().__init__(reason, retry_after=MINUTE_S, by_caller=True)
        self.what = what


class Names(Struct, frozen=True):
    """The ``iss`` and ``aud`` of this deployment's tokens, and the names of its identity providers, by code.

    Tokens of ``earlier_issuers`` are accepted too.
    """

    issuer: str
    audience: str
    earlier_issuers: frozenset[str] = frozenset()
    providers: Mapping[int, str] = {}


class Kind(StrEnum):
    """The use of a token: ``access`` on calls, ``refresh`` at ``/oauth/token``, or ``both``."""

    ACCESS = "access"
    REFRESH = "refresh"
    BOTH = "both"


class Token(Struct, frozen=True):
    """The facts of a token. ``key`` is the public key of the device to which the token is bound, if any."""

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
        """Check the facts, both when a token is issued and when it is read. Raises ``ValueError``."""
        if not (_ID.fullmatch(self.account) and _ID.fullmatch(self.lineage)):
            raise ValueError("an id is 12 bytes in base64url")
        for number in (self.generation, self.issued_at, self.expires_at):
            if type(number) is not int or not 0 <= number <= _NUMBER_MAX:
                raise ValueError("generation, iat and exp are whole numbers of four bytes")
        if not 0 < self.client <= _CLIENT_MAX:
            raise ValueError("a client's code is one byte")
        thumbprint = self.binding.thumbprint if isinstance(self.binding, KeyBinding) else None
        if thumbprint != (self.key.thumbprint if self.key else None):
            raise ValueError("the key does not match the binding")

    @property
    def jti(self) -> str:
        """The id of the token (claim ``jti``), the same whether the token is a JWT or opaque."""
        return f"{self.lineage}.{self.generation}.{self.kind}.{self.issued_at}"


class KnownTokens:
    """The JWTs that this environment verified or issued, so that it need not verify their signatures again.

    `find` looks up a JWT by the SHA-256 of its text. With a changed key ring, `find` returns none of the earlier JWTs.
    The caller must check expiry and kind at each use.
    """

    def __init__(self, capacity: int = KNOWN_TOKENS_MAX) -> None:
        """Begin empty, with room for ``capacity`` JWTs. When it is full, each new JWT replaces the oldest."""
        self._capacity = capacity
        self._known: tuple[Ring | None, dict[bytes, Token]] = (None, {})

    def find(self, text: str, ring: Ring) -> Token | None:
        """Return the facts of the JWT ``text``, or ``None`` if the JWT is not known for this ring."""
        of, tokens = self._known
        if of is not ring:
            if of != ring:
                return None
            self._known = ring, tokens  # an equal ring, which was read again
        return tokens.get(_digest(text))

    def add(self, text: str, token: Token, ring: Ring) -> None:
        """Remember a token that this ring verified or issued."""
        of, tokens = self._known
        if of is not ring:
            tokens = {}
            self._known = ring, tokens
        if len(tokens) >= self._capacity:
            tokens.pop(next(iter(tokens)), None)
        tokens[_digest(text)] = token


def _digest(text: str) -> bytes:
    return sha256(text.encode()).digest()
