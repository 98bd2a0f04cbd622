"""Verify an id_token (OpenID Connect Core 3.1.3.7) of a native app. No I/O.

The ``nonce`` binds the token to the device key and to the attempt. The device key must sign the request, so a stolen
token is worthless.
"""

import hashlib
from typing import Any, Final, Literal

from msgspec import Struct

from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.refusals import InvalidEmail
from chalicelib.baton.federation.key_set import KeySet, KeyUnfit
from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.strict_json import read_object
from chalicelib.baton.policy import TOKEN_BYTES_MAX

Reason = Literal[
    "format",
    "alg",
    "typ",
    "crit",
    "key",
    "signature",
    "payload",
    "iss",
    "aud",
    "exp",
    "iat",
    "sub",
    "nonce",
    "azp",
    "hd",
    "auth_time",
]
"""The check that refused the token. App developers read it in the member ``reason`` of ``identity_token_invalid``."""

EXPIRY_LEEWAY_S: Final = 60
ISSUED_WITHIN_S: Final = 600
SUB_CHARACTERS_MAX: Final = 255
_PARTS: Final = 3
_GMAIL: Final = "@gmail.com"
_GOOGLE_SCHEME: Final = "https://"


class IdTokenRefused(Exception):
    """The token does not prove who the person is. The message is only for the log. ``reason`` is public."""

    def __init__(self, reason: Reason, why: str) -> None:
        """Keep the name of the failed check."""
        super().__init__(f"{reason}: {why}")
        self.reason: Reason = reason


class Proved(Struct, frozen=True, kw_only=True):
    """The person that a token names. ``issuer`` and ``sub`` identify the person.

    - ``audience``: the app that the token is for.
    - ``email``: the canonical address, or empty (`verified_address`).
    - ``auth_time``: when the person logged in at the provider (seconds), or ``None``.
    """

    issuer: str
    sub: str
    audience: str
    email: str
    issued_at: int
    auth_time: int | None

    def __repr__(self) -> str:
        """Mask the person."""
        return "Proved('**********')"


class Unread(Struct, frozen=True, kw_only=True):
    """A token that is split but not verified. Only its head was read: ``kid`` and ``algorithm``.

    ``signed`` is the text that the signature covers: head and payload, as sent.
    """

    kid: str
    algorithm: str
    signed: bytes
    signature: bytes
    payload: bytes


def login_nonce(*, provider: str, client_id: str, keyid: str, attempt: str) -> str:
    """Return the nonce for a login, or for linking an identity: a digest that covers the device key and the attempt."""
    return _digest(f"baton-nonce-v1\n{provider}\n{client_id}\n{keyid}\n{attempt}")


def step_up_nonce(*, provider: str, client_id: str, keyid: str, attempt: str, operation: tuple[str, str, str]) -> str:
    """Return the nonce for a step-up. Unlike `login_nonce`, it also covers method, path and digest of the operation."""
    lines = ("baton-step-up-v1", provider, client_id, keyid, attempt, *operation)
    return _digest("\n".join(lines))


def read_head(text: str, provider: Provider) -> Unread:
    """Read the head of a token, and ignore its ``jwk``, ``jku`` and ``x5u``. Raises ``IdTokenRefused``."""
    parts = text.split(".")
    _require(len(text) <= TOKEN_BYTES_MAX and len(parts) == _PARTS, "format", "not a signed JWT of at most 8 KB")
    try:
        head, payload, signature = map(decode_base64url, parts)
        members = read_object(head)
    except ValueError:
        raise IdTokenRefused("format", "the head cannot be read") from None
    algorithm, kid = members.get("alg"), members.get("kid")
    _require(isinstance(algorithm, str) and algorithm in provider.algorithms, "alg", "not an algorithm of the provider")
    _require(members.get("typ", "JWT") == "JWT", "typ", "not a JWT")
    _require("crit" not in members, "crit", "the head has critical members")
    if not isinstance(kid, str):
        raise IdTokenRefused("key", "the head has no kid")
    signed = text.rpartition(".")[0].encode("ascii")
    return Unread(kid=kid, algorithm=str(algorithm), signed=signed, signature=signature, payload=payload)


def verify(unread: Unread, provider: Provider, keys: KeySet, *, client_id: str, nonce: str, now: int) -> Proved:
    """Verify a token whose head was read, and return the person. Raises ``IdTokenRefused``."""
    claims = verified_claims(unread, provider, keys)
    audiences = provider.audiences.get(client_id, ())
    # A list of audiences is refused: it also names other parties, and each of them could send the token to Baton.
    _require(isinstance(claims.get("aud"), str) and claims["aud"] in audiences, "aud", "not of this client")
    check_times(claims, now=now)
    sub = claims.get("sub")
    if not (isinstance(sub, str) and is_subject(sub)):
        raise IdTokenRefused("sub", "no subject of 1 to 255 characters")
    # Apple's examples pass the SHA-256 of the nonce to the provider, and many plugins do this automatically.
    hashed = hashlib.sha256(nonce.encode()).hexdigest()
    _require(claims.get("nonce") in (nonce, hashed), "nonce", "of another device key, attempt, client or provider")
    if provider.azp and "azp" in claims:
        _require(claims["azp"] in provider.azp, "azp", "another authorized party")
    if provider.hosted_domains:
        _require(claims.get("hd") in provider.hosted_domains, "hd", "of another hosted domain")
    auth_time = claims.get("auth_time")
    return Proved(
        issuer=canonical_issuer(provider, claims["iss"]),
        sub=sub,
        audience=claims["aud"],
        email=verified_address(provider, claims),
        issued_at=claims["iat"],
        auth_time=auth_time if type(auth_time) is int else None,
    )


def verified_claims(unread: Unread, provider: Provider, keys: KeySet) -> dict[str, Any]:
    """Verify the signature and the issuer of a token, and return its claims. Raises ``IdTokenRefused``."""
    try:
        genuine = keys.verify(unread.signature, unread.signed, kid=unread.kid, algorithm=unread.algorithm)
    except KeyUnfit as unfit:
        raise IdTokenRefused("key", str(unfit)) from None
    _require(genuine, "signature", "not signed by the provider")
    try:
        claims = read_object(unread.payload)
    except ValueError:
        raise IdTokenRefused("payload", "not one JSON object without double members") from None
    _require(isinstance(claims.get("iss"), str) and claims["iss"] in provider.issuers, "iss", "another issuer")
    return claims


def check_times(claims: dict[str, Any], *, now: int) -> None:
    """Check that ``exp`` is at most a minute before ``now``, and ``iat`` at most ten minutes before or after ``now``.

    Raises ``IdTokenRefused``, also for a missing claim.
    """
    expires_at, issued_at = claims.get("exp"), claims.get("iat")
    # `type` refuses True and False, which `isinstance` accepts as int.
    _require(type(expires_at) is int and now <= expires_at + EXPIRY_LEEWAY_S, "exp", "expired, or no whole number")
    _require(type(issued_at) is int and abs(now - issued_at) <= ISSUED_WITHIN_S, "iat", "not issued just now")


def is_subject(text: str) -> bool:
    """Check that a subject has 1 to 255 printable characters. A lone surrogate (JSON can have one) is refused."""
    return 1 <= len(text) <= SUB_CHARACTERS_MAX and text.isprintable()


def canonical_issuer(provider: Provider, issuer: str) -> str:
    """Return the issuer in one spelling. Google writes its issuer with or without ``https://``: add ``https://``."""
    plain = provider.kind == "google" and not issuer.startswith(_GOOGLE_SCHEME)
    return _GOOGLE_SCHEME + issuer if plain else issuer


def verified_address(provider: Provider, claims: dict[str, Any]) -> str:
    """Return the canonical e-mail address in a token, or an empty text.

    The text is empty if the address is missing or invalid, or if the provider has not verified it. The text is also
    empty if Baton does not trust the provider for this address.
    """
    email, says = claims.get("email"), claims.get("email_verified")
    if not isinstance(email, str) or not (says is True or (provider.kind == "apple" and says == "true")):
        return ""
    try:
        address = canonical_email(email)
    except InvalidEmail:
        return ""
    if provider.kind == "google" and not (address.endswith(_GMAIL) or isinstance(claims.get("hd"), str)):
        return ""  # Google verified the address once, but another service delivers the mails to this address
    if provider.kind == "oidc" and not provider.trusts_email:
        return ""
    return address


def _digest(text: str) -> str:
    return encode_base64url(hashlib.sha256(text.encode()).digest())


def _require(fact: object, reason: Reason, why: str) -> None:
    if not fact:
        raise IdTokenRefused(reason, why)
