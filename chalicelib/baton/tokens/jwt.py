"""JSON Web Tokens (RFC 7519, RFC 9068). No I/O."""

import re
from functools import lru_cache

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring, SigningKey
from chalicelib.baton.lineages.assurance import Attested, amr_of, attested_as
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import Assurance, Attestation, Binding, KeyBinding, NoBinding, SecretBinding
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import ConfigurationMismatch, Kind, Names, Token, UnknownKey

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")
_LEAD = '{"typ":"at+jwt","alg":"ES256","kid":"'

_HEADER = re.compile(re.escape(_LEAD.encode()) + rb'[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"}')
"""The header of a token, with its kid. A kid is a thumbprint: 32 bytes in canonical base64url.

Only such a kid can cause a new read of the ring.
"""


class Binds(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """The binding of a token to a public key or to an HMAC secret: the claim ``cnf`` (RFC 7800).

    - ``jwk``: the public key. With it, Baton verifies the signature of a call without a database.
    - ``jkt``: the thumbprint of the public key.
    - ``kid``: the id of the HMAC secret.
    """

    jkt: str | UnsetType = UNSET
    jwk: dict[str, str] | UnsetType = UNSET
    kid: str | UnsetType = UNSET


class _Claims(Struct):
    """The claims of a token with their types, in the order on the wire. Unknown claims are ignored."""

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
    token_use: Kind
    scope: str
    """For resource servers (RFC 9068 section 2.2.3). Baton itself reads the scope in the client registry."""
    roles: tuple[str, ...] | UnsetType = UNSET
    """For resource servers (RFC 9068 section 2.2.3.1). On each call, Baton reads the roles in the account state."""
    attested: Attested | UnsetType = UNSET
    """For resource servers. On each call, Baton reads the attestation in the account state."""
    idp: str | UnsetType = UNSET
    """For resource servers: the identity provider that the person logged in with."""
    cnf: Binds | UnsetType = UNSET


_CLAIMS = msgspec.json.Decoder(_Claims)


def jwks(ring: Ring) -> dict[str, list[dict[str, str]]]:
    """Return the JWK set (RFC 7517): every key that verifies tokens of active logins, and the next signing key."""
    return {"keys": [key.public_jwk() for key in ring.published()]}


def mint_jwt(  # noqa: PLR0913 - all of these go into a token
    token: Token,
    ring: Ring,
    *,
    now: int,
    names: Names,
    client: Client,
    auth_time: int,
    assurance: Assurance,
    attestation: Attestation,
    provider: int,
    roles: frozenset[str],
    added: bytes,
) -> str:
    """Return the JWT of a token (RFC 9068). ``added`` is an object in JSON with further claims, or empty."""
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
        amr=amr_of(assurance, attestation),
        sid=token.lineage,
        gen=token.generation,
        token_use=token.kind,
        scope=" ".join(sorted(client.scope)),
        roles=tuple(sorted(roles)) if roles else UNSET,
        attested=attested_as(attestation) or UNSET,
        idp=names.providers.get(provider, UNSET),
        cnf=binding_claim(token),
    )
    payload = msgspec.json.encode(claims)
    if len(added) > len(b"{}"):
        payload = payload[:-1] + b"," + added[1:]
    # The iat is later than `now` if a server whose clock is ahead wrote it. Then the newest key at the iat signs.
    return sign_claims(payload, ring.signer(max(now, token.issued_at)))


def sign_claims(payload: bytes, signer: SigningKey) -> str:
    """Sign ``payload``, the claims in JSON. Return the JWT."""
    signing_input = f"{_header(signer.kid)}.{encode_base64url(payload)}"
    return f"{signing_input}.{encode_base64url(signer.sign(signing_input.encode()))}"


@lru_cache(maxsize=32)
def _header(kid: str) -> str:
    """Return the header of all tokens of a key: type, algorithm and kid."""
    return encode_base64url(f'{_LEAD}{kid}"}}'.encode())


def binding_claim(token: Token) -> Binds | UnsetType:
    """Return the claim ``cnf`` of a token. ``UNSET``: the token is unbound."""
    if token.key is not None:
        return Binds(jkt=token.key.keyid, jwk=token.key.to_jwk())
    return Binds(kid=token.lineage) if isinstance(token.binding, SecretBinding) else UNSET


def read_jwt(text: str, ring: Ring, *, names: Names, clients: Clients) -> Token:
    """Verify and read a JWT. Raises ``TokenInvalid``, ``UnknownKey``, ``ConfigurationMismatch`` or ``ValueError``."""
    payload, signed_by = verified_payload(text, ring)
    claims = _CLAIMS.decode(payload)
    if not ring.serves(signed_by, claims.iat):
        raise TokenInvalid("signed by a key after the end of its period")
    if claims.iss != names.issuer and claims.iss not in names.earlier_issuers:
        raise ConfigurationMismatch("issuer")
    if claims.aud not in {names.audience, claims.iss}:  # without a set audience, the issuer is the audience
        raise ConfigurationMismatch("audience")
    client = clients.get(claims.client_id)
    if client is None:
        raise ConfigurationMismatch("client")
    binding, key = _confirmed(claims)
    token = Token(
        kind=claims.token_use,
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
        raise TokenInvalid("the jti does not match the other claims")
    return token


def _confirmed(claims: _Claims) -> tuple[Binding, PublicKey | None]:
    cnf = claims.cnf
    if isinstance(cnf, UnsetType):
        return NoBinding(), None
    if cnf == Binds(kid=claims.sid):
        return SecretBinding(), None
    if isinstance(cnf.jwk, UnsetType) or not isinstance(cnf.kid, UnsetType):
        raise TokenInvalid("cnf is not one of Baton's bindings")
    key = PublicKey.from_jwk(cnf.jwk)
    if key.to_jwk() != cnf.jwk or key.keyid != cnf.jkt:
        raise TokenInvalid("the key in cnf has another encoding, or does not match the thumbprint")
    return KeyBinding(key.thumbprint), key


def verified_payload(text: str, ring: Ring) -> tuple[bytes, SigningKey]:
    """Verify a JWT with the key that its header names. Return the payload, byte for byte, and this key.

    Raises ``UnknownKey``, ``TokenInvalid`` or ``ValueError``.
    """
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise TokenInvalid("not a compact JWS")
    key = _key_of(parts[1], ring)
    if not key.public_key().verifies(decode_base64url(parts[3]), text[: parts.end(2)].encode("ascii")):
        raise TokenInvalid("not signed by this deployment")
    return decode_base64url(parts[2]), key


def _key_of(header: str, ring: Ring) -> SigningKey:
    """Return the key that a header names. The header must be exactly the header that Baton writes for the key."""
    for key in ring.signing:
        if header == _header(key.kid):
            return key
    if not _HEADER.fullmatch(decode_base64url(header)):
        raise TokenInvalid("not the header of a token")
    raise UnknownKey("kid is not in the ring")
