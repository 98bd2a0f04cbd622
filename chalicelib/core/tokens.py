"""A token's two forms, JWT and opaque: mint and read.

Both are deterministic: under one key of the ring the same token is the same string, so an exchange repeated with its
attempt gets the same child, to the byte. A JWT has a second valid string: the signatures (r, s) and (r, n - s) both
verify. So nothing is keyed by the string or its signature. The account state identifies a token by its claims.
"""

import re
import struct
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from msgspec import UNSET, Struct, UnsetType

from chalicelib.core.base64url import decode_base64url, encode_base64url
from chalicelib.core.clients import Client, Clients, Form
from chalicelib.core.errors import FieldTooLarge, InvalidKey, TokenInvalid, Unavailable
from chalicelib.core.key_ring import Ring, SigningKey, derive, root_version
from chalicelib.core.model import (
    AccountId,
    Assurance,
    Binding,
    KeyBinding,
    Kind,
    LineageId,
    NoBinding,
    Secret,
    SecretBinding,
)
from chalicelib.core.policy import MINUTE_S, TOKEN_BYTES_MAX
from chalicelib.core.public_key import PublicKey

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


def mint(  # noqa: PLR0913 - all of these go into a token
    token: Token,
    *,
    form: Form,
    ring: Ring,
    now: int,
    names: Names,
    client: Client,
    auth_time: int,
    assurance: Assurance,
) -> str:
    """Write a token out. ``auth_time`` and ``assurance`` are its login's, told by the JWT alone."""
    if form == "opaque":
        return _mint_opaque(token, ring)
    return _mint_jwt(token, ring, now=now, names=names, client=client, auth_time=auth_time, assurance=assurance)


def read(text: str, *, ring: Ring, names: Names, clients: Clients) -> Token:
    """Read a genuine token, of either form. Its expiry and its kind are for the caller to judge.

    Raises ``FieldTooLarge`` over 8 KB, before parsing; ``UnknownKey`` when the ring lacks its key;
    ``ConfigurationMismatch`` when issuer, audience or client are missing here; ``TokenInvalid`` for whatever else we
    did not issue, and for a key that signed after its time.
    """
    if len(text) > TOKEN_BYTES_MAX:
        raise FieldTooLarge("token over 8 KB")
    try:
        if text.startswith(_OPAQUE_PREFIX):
            return _read_opaque(text, ring)
        return _read_jwt(text, ring, names=names, clients=clients)
    except (ValueError, RecursionError, InvalidKey) as error:
        raise TokenInvalid(f"not a token: {type(error).__name__}") from None


# --- JWT (RFC 7519, RFC 9068) ------------------------------------------------------------------------------------

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")
_LEAD = '{"typ":"at+jwt","alg":"ES256","kid":"'
_HEADER = re.compile(re.escape(_LEAD.encode()) + rb'[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"}')
"""A kid is a thumbprint: 32 bytes, in one spelling. Nothing else a token may name is a reason for a fresh ring."""


class _Confirmation(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """What a token is bound to (RFC 7800): the key itself, so that verifying a call reads no key from anywhere."""

    jkt: str | UnsetType = UNSET
    jwk: dict[str, str] | UnsetType = UNSET
    kid: str | UnsetType = UNSET


class _Claims(Struct):
    """Every claim we write, with the one type it has, in the order of the wire. Others are ignored when reading."""

    iss: str
    aud: str
    sub: str
    client_id: str
    jti: str
    iat: int
    exp: int
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    sid: str
    gen: int
    use: Kind
    scope: str
    """For resource servers (RFC 9068 section 2.2.3). Not used when reading: a client's scope is what its row says."""
    cnf: _Confirmation | UnsetType = UNSET


_CLAIMS = msgspec.json.Decoder(_Claims)


def jwks(ring: Ring) -> dict[str, list[dict[str, str]]]:
    """Publish every key that verifies tokens of live logins, those that do not sign yet too (RFC 7517)."""
    return {"keys": [key.public_jwk() for key in ring.published()]}


def _mint_jwt(  # noqa: PLR0913 - all of these go into a token
    token: Token, ring: Ring, *, now: int, names: Names, client: Client, auth_time: int, assurance: Assurance
) -> str:
    claims = _Claims(
        iss=names.issuer,
        aud=names.audience,
        sub=token.account,
        client_id=client.id,
        jti=token.jti,
        iat=token.issued_at,
        exp=token.expires_at,
        auth_time=auth_time,
        acr=assurance.acr,
        amr=assurance.amr,
        sid=token.lineage,
        gen=token.generation,
        use=token.kind,
        scope=" ".join(sorted(client.scope)),
        cnf=_confirmation(token),
    )
    # A clock of ours may have been ahead when it wrote the iat: the key must be the newest at that time too.
    signer = ring.signer(max(now, token.issued_at))
    signing_input = f"{_header(signer.kid)}.{encode_base64url(msgspec.json.encode(claims))}"
    return f"{signing_input}.{encode_base64url(signer.sign(signing_input.encode()))}"


@lru_cache(maxsize=32)
def _header(kid: str) -> str:
    """Write the header of all tokens under a key: it says three things, and nothing of the token."""
    return encode_base64url(f'{_LEAD}{kid}"}}'.encode())


def _confirmation(token: Token) -> _Confirmation | UnsetType:
    if token.key is not None:
        return _Confirmation(jkt=token.key.keyid, jwk=token.key.to_jwk())
    return _Confirmation(kid=token.lineage) if isinstance(token.binding, SecretBinding) else UNSET


def _read_jwt(text: str, ring: Ring, *, names: Names, clients: Clients) -> Token:
    payload, signed_by = _payload(text, ring)
    claims = _CLAIMS.decode(payload)
    if not ring.serves(signed_by, claims.iat):
        raise TokenInvalid("signed by a key whose time was over")
    if claims.iss != names.issuer and claims.iss not in names.earlier_issuers:
        raise ConfigurationMismatch("issuer")
    if claims.aud not in {names.audience, claims.iss}:  # the audience is the issuer, unless it is set
        raise ConfigurationMismatch("audience")
    client = clients.get(claims.client_id)
    if client is None:
        raise ConfigurationMismatch("client")
    binding, key = _confirmed(claims)
    token = Token(
        kind=claims.use,
        account=AccountId(claims.sub),
        lineage=LineageId(claims.sid),
        generation=claims.gen,
        issued_at=claims.iat,
        expires_at=claims.exp,
        client=client.code,
        binding=binding,
        key=key,
    )
    if claims.jti != token.jti:
        raise TokenInvalid("its jti is another token's")
    return token


def _confirmed(claims: _Claims) -> tuple[Binding, PublicKey | None]:
    cnf = claims.cnf
    if isinstance(cnf, UnsetType):
        return NoBinding(), None
    if cnf == _Confirmation(kid=claims.sid):
        return SecretBinding(), None
    if isinstance(cnf.jwk, UnsetType) or not isinstance(cnf.kid, UnsetType):
        raise TokenInvalid("cnf is none of ours")
    key = PublicKey.from_jwk(cnf.jwk)
    if key.to_jwk() != cnf.jwk or key.keyid != cnf.jkt:
        raise TokenInvalid("cnf holds a key in another spelling, or under another's thumbprint")
    return KeyBinding(key.thumbprint), key


def _payload(text: str, ring: Ring) -> tuple[bytes, SigningKey]:
    """Verify a JWT by the public key that its header names. Return its payload, to the byte, and that key.

    The payload of an unverified token is not parsed. Raises ``UnknownKey``, ``TokenInvalid`` or ``ValueError``.
    """
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise TokenInvalid("not a compact JWS")
    key = _key_of(parts[1], ring)
    if not key.public_key().verifies(decode_base64url(parts[3]), text[: parts.end(2)].encode("ascii")):
        raise TokenInvalid("not signed by this deployment")
    return decode_base64url(parts[2]), key


def _key_of(header: str, ring: Ring) -> SigningKey:
    """Find the key that a header names: one of ours is known by its every byte."""
    for key in ring.signing:
        if header == _header(key.kid):
            return key
    if not _HEADER.fullmatch(decode_base64url(header)):
        raise TokenInvalid("not the header of a token")
    raise UnknownKey("kid is not in the ring")


# --- Opaque (AES-SIV, RFC 5297) ----------------------------------------------------------------------------------

_OPAQUE_PREFIX = "baton_"
"""Lets secret scanners find a leaked one."""
_DOMAIN = b"baton opaque token 1"
_FACTS = struct.Struct(">B?B12s12sIII")
"""Kind, bound to a secret?, client; account, lineage; generation, iat, exp. The public key follows, if there is one."""
_KINDS = (Kind.USE, Kind.RENEW, Kind.BOTH)
_SIV_KEY_BYTES = 64
_SIV_TAG_BYTES = 16
_SEALED_BYTES = {_SIV_TAG_BYTES + _FACTS.size + key_bytes for key_bytes in (0, 32, 33)}


def _mint_opaque(token: Token, ring: Ring) -> str:
    """Seal a token under the root its lineage was born under, whose version leads: about 125 characters."""
    version = root_version(token.lineage)
    root = ring.root(version)
    if root is None:
        raise Unavailable("the root of a living lineage is not in the ring")
    facts = _FACTS.pack(
        _KINDS.index(token.kind),
        isinstance(token.binding, SecretBinding),
        token.client,
        decode_base64url(token.account),
        decode_base64url(token.lineage),
        token.generation,
        token.issued_at,
        token.expires_at,
    )
    lead = bytes([version])
    sealed = _siv(root.secret).encrypt(facts + (token.key.raw if token.key else b""), [_DOMAIN, lead])
    return _OPAQUE_PREFIX + encode_base64url(lead + sealed)


def _read_opaque(text: str, ring: Ring) -> Token:
    value = decode_base64url(text.removeprefix(_OPAQUE_PREFIX))
    lead, sealed = value[:1], value[1:]
    if len(sealed) not in _SEALED_BYTES:
        raise TokenInvalid("not the length of a token")
    root = ring.root(lead[0])
    if root is None:
        raise UnknownKey("no root of that version is in the ring")
    try:
        facts = _siv(root.secret).decrypt(sealed, [_DOMAIN, lead])
    except InvalidTag:
        raise TokenInvalid("not sealed by us") from None
    # From here on the bytes are our own. Who changes their layout changes the domain.
    kind, to_secret, client, account, lineage, generation, issued_at, expires_at = _FACTS.unpack_from(facts)
    if lineage[:1] != lead:
        raise TokenInvalid("sealed under another root than its lineage's")
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
