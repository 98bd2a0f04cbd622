"""An identity provider for tests and the development server: it signs id_tokens, and can have an outage."""

import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.baton.federation.providers import Provider
from chalicelib.baton.keys.base64url import encode_base64url

TOKEN_S: Final = 600
_BITS: Final = 2048
_COORDINATE_BYTES: Final = 32

Key = RSAPrivateKey | ec.EllipticCurvePrivateKey


class IdentityProvider:
    """An identity provider with its keys. It signs tokens with the newest key.

    The algorithm is the first algorithm in the provider's row of ``providers.toml``.
    """

    def __init__(self, provider: Provider, clock: Callable[[], int]) -> None:
        """Make the first key."""
        self.provider, self._clock = provider, clock
        self.outage = False
        """Whether the key set cannot be fetched."""
        self.fetched = 0
        """The number of fetches of the key set, including fetches during an outage."""
        self._keys: dict[str, Key] = {}
        self.rotate()

    @property
    def kid(self) -> str:
        """The id of the newest key."""
        return next(reversed(self._keys))

    @property
    def key(self) -> Key:
        """The newest private key, which signs the next tokens."""
        return self._keys[self.kid]

    @property
    def algorithm(self) -> str:
        """The algorithm of the provider's tokens."""
        return self.provider.algorithms[0]

    def rotate(self, *, keep: bool = False) -> None:
        """Make a new key, which signs the next tokens. ``keep``: the key set keeps the earlier keys."""
        on_curve = self.algorithm == "ES256"
        key = ec.generate_private_key(ec.SECP256R1()) if on_curve else generate_private_key(65537, _BITS)
        self._keys = {**(self._keys if keep else {}), secrets.token_hex(8): key}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys as a JWK Set (RFC 7517), even during an outage."""
        return {"keys": [self.jwk(kid) for kid in self._keys]}

    def jwk(self, kid: str) -> dict[str, str]:
        """Return the public part of the key with this id, as a JWK. Raises ``KeyError`` for an unknown id."""
        key, names = self._keys[kid], {"kid": kid, "use": "sig", "alg": self.algorithm}
        if isinstance(key, RSAPrivateKey):
            numbers = key.public_key().public_numbers()
            return {"kty": "RSA", **names, "n": encode_number(numbers.n), "e": encode_number(numbers.e)}
        point = key.public_key().public_numbers()
        x, y = (encode_base64url(one.to_bytes(_COORDINATE_BYTES, "big")) for one in (point.x, point.y))
        return {"kty": "EC", **names, "crv": "P-256", "x": x, "y": y}

    def fetch(self) -> bytes | None:
        """Return the key set as JSON, as an answer to a fetch by Baton. ``None``: the provider has an outage."""
        self.fetched += 1
        return None if self.outage else json.dumps(self.jwks()).encode()

    def claims(self, sub: str, nonce: str, client_id: str, /, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - claims
        """Return the claims of an id_token. ``changed`` adds or replaces claims. The value ``None`` omits a claim."""
        now = self._clock()
        claims = {
            "iss": self.provider.issuers[0],
            "aud": self.provider.audiences[client_id][0],
            "sub": sub,
            "nonce": nonce,
            "iat": now,
            "exp": now + TOKEN_S,
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, sub: str, nonce: str, client_id: str = "mobile", /, **changed: Any) -> str:  # noqa: ANN401 - claims
        """Return an id_token, signed with the newest key. ``changed`` changes the claims as in `claims`."""
        return self.sign(self.claims(sub, nonce, client_id, **changed))

    def sign(self, claims: Mapping[str, Any] | bytes, **head: Any) -> str:  # noqa: ANN401 - members of the head
        """Return a signed JWT of claims, or of an encoded payload. ``head`` adds or replaces header members.

        The value ``None`` omits a header member.
        """
        members = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT", **head}
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        encoded = json.dumps({name: value for name, value in members.items() if value is not None}).encode()
        signed = f"{encode_base64url(encoded)}.{encode_base64url(payload)}"
        return f"{signed}.{encode_base64url(self._signature(signed.encode()))}"

    def _signature(self, message: bytes) -> bytes:
        key = self.key
        if isinstance(key, RSAPrivateKey):
            padding = PSS(MGF1(SHA256()), SHA256.digest_size) if self.algorithm == "PS256" else PKCS1v15()
            return key.sign(message, padding, SHA256())
        halves = decode_dss_signature(key.sign(message, ec.ECDSA(SHA256())))
        return b"".join(half.to_bytes(_COORDINATE_BYTES, "big") for half in halves)


def encode_number(number: int) -> str:
    """Encode a number of a key (RFC 7518 section 6.3.1): big endian, without leading zeros, in base64url."""
    return encode_base64url(number.to_bytes((number.bit_length() + 7) // 8, "big"))
