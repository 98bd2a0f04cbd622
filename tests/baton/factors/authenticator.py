"""A software authenticator: it makes passkeys and assertions, and on request each false value of an attacker."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url

UP: Final = 0x01
UV: Final = 0x04
BE: Final = 0x08
BS: Final = 0x10
AT: Final = 0x40
ED: Final = 0x80
RP_ID: Final = "example.com"
ORIGIN: Final = "https://example.com"

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def make_key(algorithm: int) -> PrivateKey:
    """Make a private key of a COSE algorithm."""
    if algorithm == -8:
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == -257:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def cose(key: PrivateKey) -> dict[int, Any]:
    """Return the public key in COSE (RFC 9053)."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {1: 1, 3: -8, -1: 6, -2: key.public_key().public_bytes_raw()}
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.public_key().public_numbers()
        return {1: 3, 3: -257, -1: numbers.n.to_bytes(256, "big"), -2: numbers.e.to_bytes(3, "big")}
    point = key.public_key().public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}


@dataclass
class Authenticator:
    """One passkey, and the values that the authenticator sends. Change a member to make a false value.

    ``client`` has members that replace or extend the right client data. ``raw_client_data`` replaces the client data,
    ``public`` the COSE key, and ``attested`` the attestation object. ``after`` are bytes that follow the
    authenticator data.
    """

    rp_id: str = RP_ID
    origin: str = ORIGIN
    flags: int = UP | UV
    counter: int = 0
    key: PrivateKey = field(default_factory=lambda: make_key(-7))
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    user_handle: bytes | None = None
    aaguid: bytes = bytes(16)
    client: dict[str, Any] = field(default_factory=dict)
    raw_client_data: bytes | None = None
    public: bytes | None = None
    attestation: dict[str, Any] = field(default_factory=dict)
    after: bytes = b""
    attested: bytes | None = None

    def create(self, options: dict[str, Any], **lies: Any) -> dict[str, Any]:
        """Register with these options, as ``navigator.credentials.create()`` and ``toJSON()`` do."""
        self.user_handle = self.user_handle or decode_base64url(options["user"]["id"])
        with_lies = self._with(lies)
        client_data = with_lies._client_data("webauthn.create", options["challenge"])
        key = with_lies.public if with_lies.public is not None else cbor2.dumps(cose(self.key))
        length = len(self.credential_id).to_bytes(2, "big")
        data = with_lies._data(AT) + with_lies.aaguid + length + self.credential_id + key + with_lies.after
        attestation = {"fmt": "none", "attStmt": {}, "authData": data} | with_lies.attestation
        response = {
            "clientDataJSON": encode_base64url(client_data),
            "attestationObject": encode_base64url(with_lies.attested or cbor2.dumps(attestation)),
            "transports": ["internal", "hybrid"],
            "publicKeyAlgorithm": -7,
        }
        return self._credential(response)

    def get(self, options: dict[str, Any], **lies: Any) -> dict[str, Any]:
        """Sign these options, as ``navigator.credentials.get()`` and ``toJSON()`` do."""
        with_lies = self._with(lies)
        client_data = with_lies._client_data("webauthn.get", options["challenge"])
        data = with_lies._data(0) + with_lies.after
        response = {
            "clientDataJSON": encode_base64url(client_data),
            "authenticatorData": encode_base64url(data),
            "signature": encode_base64url(self._sign(data + hashlib.sha256(client_data).digest())),
        }
        if with_lies.user_handle is not None:
            response["userHandle"] = encode_base64url(with_lies.user_handle)
        return self._credential(response)

    def _with(self, lies: dict[str, Any]) -> "Authenticator":
        return Authenticator(**{**self.__dict__, **lies})

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        credential_id = encode_base64url(self.credential_id)
        return {
            "id": credential_id,
            "rawId": credential_id,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }

    def _client_data(self, ceremony: str, challenge: str) -> bytes:
        if self.raw_client_data is not None:
            return self.raw_client_data
        members = {"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(members | self.client).encode()

    def _data(self, more: int) -> bytes:
        hashed = hashlib.sha256(self.rp_id.encode()).digest()
        return hashed + bytes([self.flags | more]) + self.counter.to_bytes(4, "big")

    def _sign(self, message: bytes) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), SHA256())
        return self.key.sign(message, ec.ECDSA(SHA256()))
