"""The proof of a browser's key (W3C Device Bound Session Credentials): a JWT in a header field. No I/O.

The header of the JWT has exactly the members that a browser sends: ``typ``, ``alg`` and, if the JWT registers a key,
``jwk``. So a forged header cannot choose another algorithm or another key.
"""

import re
from typing import Any

from msgspec import Struct

from chalicelib.baton.browser.refusals import ProofInvalid
from chalicelib.baton.keys.base64url import decode_base64url
from chalicelib.baton.keys.public_key import SIGNATURE_BYTES, PublicKey
from chalicelib.baton.keys.refusals import InvalidKey
from chalicelib.baton.keys.strict_json import read_object
from chalicelib.baton.policy import BROWSER_PROOF_BYTES_MAX

_JWT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_TYP, _ALG = "dbsc+jwt", "ES256"


class BrowserProof(Struct, frozen=True):
    """A JWT that is well-formed. ``key`` is the key that the JWT registers. The signature is not verified yet."""

    challenge: str
    authorization: str
    key: PublicKey | None
    signed: bytes
    signature: bytes

    def is_by(self, key: PublicKey) -> bool:
        """Check whether ``key`` signed this JWT."""
        return key.verifies(self.signature, self.signed)


def bare(value: str) -> str:
    """Remove the quotes around the value of a field, if any. RFC 9651 requires quotes, but Chromium sends none."""
    value = value.strip(" \t")
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def read_proof(value: str, *, registers: bool) -> BrowserProof:
    """Read the field ``Secure-Session-Response``. Raises ``ProofInvalid``, whose ``hint`` names the error.

    If ``registers`` is true, the header of the JWT must have the public key (``jwk``). Otherwise ``jwk`` is refused.
    """
    text = bare(value)
    if len(text) > BROWSER_PROOF_BYTES_MAX:
        raise _wrong(f"it has more than {BROWSER_PROOF_BYTES_MAX:,} bytes")
    parts = _JWT.fullmatch(text)
    if parts is None:
        raise _wrong("it is not a JWT in compact form")
    header, payload = _object(parts[1], "header"), _object(parts[2], "payload")
    wanted = {"typ", "alg", "jwk"} if registers else {"typ", "alg"}
    if header.keys() != wanted:
        raise _wrong(f"its header must have exactly {', '.join(sorted(wanted))}")
    if header["typ"] != _TYP:
        raise _wrong(f"`typ` must be {_TYP}")
    if header["alg"] != _ALG:
        raise _wrong(f"`alg` must be {_ALG}")
    signature = _decoded(parts[3], "signature")
    if len(signature) != SIGNATURE_BYTES:
        raise _wrong(f"its signature must have {SIGNATURE_BYTES} bytes: r and s")
    challenge, authorization = payload.get("jti"), payload.get("authorization", "")
    if not isinstance(challenge, str) or not isinstance(authorization, str):
        raise _wrong("`jti` and `authorization` must be strings")
    signed = text[: parts.end(2)].encode("ascii")
    return BrowserProof(challenge, authorization, _key(header["jwk"]) if registers else None, signed, signature)


def _key(jwk: object) -> PublicKey:
    try:
        key = PublicKey.from_jwk(jwk) if isinstance(jwk, dict) else None
    except InvalidKey as invalid:
        raise _wrong(f"`jwk`: {invalid.reason}") from None
    if key is None or key.curve != "P-256":
        raise _wrong("`jwk` must be a public P-256 key")
    return key


def _object(encoded: str, name: str) -> dict[str, Any]:
    try:
        return read_object(_decoded(encoded, name))
    except ValueError:
        raise _wrong(f"its {name} must be a JSON object without repeated members") from None


def _decoded(encoded: str, name: str) -> bytes:
    try:
        return decode_base64url(encoded)
    except ValueError:
        raise _wrong(f"its {name} is not base64url") from None


def _wrong(what: str) -> ProofInvalid:
    return ProofInvalid(f"proof: {what}", hint=f"The proof in `Secure-Session-Response`: {what}.")
