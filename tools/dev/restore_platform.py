"""The part of Android that restores a login: it keeps a restore key, and copies the key to the next phone.

A software authenticator for ``make demo``: it signs with a P-256 key, without a gesture of the person (WebAuthn).
"""

import hashlib
import json
import secrets
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from chalicelib.baton.keys.base64url import encode_base64url

ORIGIN: Final = "http://localhost:8000"
"""The web origin of the client ``mobile`` in the registry. A real app sends the hash of its certificate instead."""
_NOBODY, _NEW_KEY = b"\x00", b"\x40"


class Platform:
    """The restore service of Android for one app, on the old phone and on the new one."""

    def __init__(self) -> None:
        """Make a key."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = secrets.token_bytes(16)
        self._account = ""

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the credential that registers the restore key (``CreateRestoreCredentialRequest``)."""
        self._account = options["user"]["id"]
        point = self._key.public_key().public_numbers()
        x, y = (number.to_bytes(32, "big") for number in (point.x, point.y))
        cose = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y
        data = self._data(options["rp"]["id"], _NEW_KEY) + bytes(16) + b"\x00\x10" + self._id + cose
        attestation = b"\xa3cfmtdnonegattStmt\xa0hauthData\x58" + bytes([len(data)]) + data
        client_data = _client_data("webauthn.create", options)
        return self._credential(clientDataJSON=client_data, attestationObject=attestation)

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the credential that the new phone signs with the restore key (``GetRestoreCredentialOption``)."""
        data, client_data = self._data(options["rpId"], _NOBODY), _client_data("webauthn.get", options)
        signature = self._key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))
        credential = self._credential(clientDataJSON=client_data, authenticatorData=data, signature=signature)
        credential["response"]["userHandle"] = self._account
        return credential

    def _data(self, rp_id: str, flags: bytes) -> bytes:
        return hashlib.sha256(rp_id.encode()).digest() + flags + bytes(4)

    def _credential(self, **response: bytes) -> dict[str, Any]:
        credential_id = encode_base64url(self._id)
        members = {name: encode_base64url(value) for name, value in response.items()}
        return {"id": credential_id, "rawId": credential_id, "type": "public-key", "response": members}


def _client_data(ceremony: str, options: dict[str, Any]) -> bytes:
    return json.dumps({"type": ceremony, "challenge": options["challenge"], "origin": ORIGIN}).encode()
