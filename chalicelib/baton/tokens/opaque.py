"""Opaque tokens: the facts of a token, encrypted (AES-SIV, RFC 5297). No I/O."""

import struct
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId, Secret
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring, derive
from chalicelib.baton.lineages.model import KeyBinding, NoBinding, SecretBinding
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import Kind, Token, UnknownKey

OPAQUE_PREFIX = "baton_"
"""The first characters of an opaque token. Secret scanners find leaked tokens by this prefix."""

_DOMAIN = b"baton opaque token 1"

_FACTS = struct.Struct(">B?B12s12sIII")
"""The facts: kind, binding to a secret (yes or no), client, account, lineage, generation, iat, exp.

The public key of the device follows, if the token is bound to a key.
"""

_KINDS = (Kind.ACCESS, Kind.REFRESH, Kind.BOTH)
_SIV_KEY_BYTES = 64
_SIV_TAG_BYTES = 16
_SEALED_BYTES = {_SIV_TAG_BYTES + _FACTS.size + key_bytes for key_bytes in (0, 32, 33)}


def mint_opaque(token: Token, ring: Ring) -> str:
    """Encrypt a token with the root secret of its lineage. Return the text of the token: at most 125 characters.

    After the prefix, the text is base64url. The first decoded byte is the version of the root secret.
    """
    lineage = decode_base64url(token.lineage)
    root = ring.root(lineage[0])
    if root is None:
        raise Unavailable("the root of an active lineage is not in the ring")
    facts = _FACTS.pack(
        _KINDS.index(token.kind),
        isinstance(token.binding, SecretBinding),
        token.client,
        decode_base64url(token.account),
        lineage,
        token.generation,
        token.issued_at,
        token.expires_at,
    )
    lead = lineage[:1]
    sealed = _siv(root.secret).encrypt(facts + (token.key.raw if token.key else b""), [_DOMAIN, lead])
    return OPAQUE_PREFIX + encode_base64url(lead + sealed)


def read_opaque(text: str, ring: Ring) -> Token:
    """Decrypt and read an opaque token. Raises ``TokenInvalid``, ``UnknownKey`` or ``ValueError``."""
    value = decode_base64url(text.removeprefix(OPAQUE_PREFIX))
    lead, sealed = value[:1], value[1:]
    if len(sealed) not in _SEALED_BYTES:
        raise TokenInvalid("not the length of a token")
    root = ring.root(lead[0])
    if root is None:
        raise UnknownKey("no root of that version is in the ring")
    try:
        facts = _siv(root.secret).decrypt(sealed, [_DOMAIN, lead])
    except InvalidTag:
        raise TokenInvalid("not encrypted by this deployment") from None
    # Baton wrote these bytes. A change of their layout requires another `_DOMAIN`.
    kind, to_secret, client, account, lineage, generation, issued_at, expires_at = _FACTS.unpack_from(facts)
    if lineage[:1] != lead:
        raise TokenInvalid("encrypted with another root than that of the lineage")
    raw = facts[_FACTS.size :]
    key = PublicKey.from_raw(raw) if raw else None
    return Token(
        kind=_KINDS[kind],
        account=AccountId(encode_base64url(account)),
        lineage=LineageId(encode_base64url(lineage)),
        generation=generation,
        issued_at=issued_at,
        expires_at=expires_at,
        client=client,
        binding=KeyBinding(key.thumbprint) if key else SecretBinding() if to_secret else NoBinding(),
        key=key,
    )


@lru_cache(maxsize=16)
def _siv(root: Secret) -> AESSIV:
    return AESSIV(derive(root, b"opaque token", _SIV_KEY_BYTES))
