"""Make App Attest objects, with a test root. Each defect is a parameter of `Apple.attest`."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from msgspec import Struct

from chalicelib.baton.testing.attesters.certificates import (
    Key,
    cbor,
    der,
    der_of,
    issue,
    name_of,
    new_key,
    point_of,
    tagged,
)

DAY_S: Final = 86400
YEAR_S: Final = 365 * DAY_S
AAGUIDS: Final = {"production": b"appattest" + bytes(7), "development": b"appattestdevelop"}
_NONCE: Final = "1.2.840.113635.100.8.2"


class AppleKey(Struct, frozen=True):
    """An App Attest key of a device, and its attestation object."""

    key: Key
    key_id: bytes
    attestation: bytes


class Apple:
    """Apple's certificate authority of App Attest."""

    def __init__(self, *, now: int) -> None:
        """Make a root certificate that is valid at ``now``, and the key of an intermediate certificate."""
        self.now = now
        self._root_key = generate_private_key(SECP384R1())
        self._root_name = name_of(CN="Development App Attestation Root CA", O="Baton")
        self.root = issue(
            self._root_name,
            self._root_key.public_key(),
            issuer=self._root_name,
            signed_by=self._root_key,
            begins_at=now - YEAR_S,
            ends_at=now + 20 * YEAR_S,
            is_ca=True,
        )
        self._key, self._name = new_key(), name_of(CN="Development App Attestation CA 1", O="Baton")

    def intermediate(self, *, is_ca: bool = True, ends_at: int | None = None) -> x509.Certificate:
        """Issue a new intermediate certificate, always for the same key. ``ends_at``: by default in five years."""
        return issue(
            self._name,
            self._key.public_key(),
            issuer=self._root_name,
            signed_by=self._root_key,
            begins_at=self.now - YEAR_S,
            ends_at=ends_at or self.now + 5 * YEAR_S,
            is_ca=is_ca,
        )

    def attest(
        self,
        app_id: str,
        client_data_hash: bytes,
        *,
        key: Key | None = None,
        environment: str = "production",
        counter: int = 0,
        extras: Mapping[str, Any] | bytes | None = None,
        flags: int = 0x40,
        nonce: bytes | None = None,
        nonce_extension: bytes | None = None,
        certified: Key | None = None,
        credential_id: bytes | None = None,
        cose: Mapping[int, Any] | None = None,
        key_id: bytes | None = None,
        signed_by: Key | None = None,
        is_ca: bool = True,
        begins_at: int | None = None,
        ends_at: int | None = None,
        intermediate_ends_at: int | None = None,
        chain: list[bytes] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> AppleKey:
        """Make the attestation object of ``key`` (default: a new key).

        ``extras`` is the map that iOS 27 appends to the authenticator data. ``None``: no map, as before iOS 27.
        """
        key = key or new_key()
        point = point_of(key)
        own_id = sha256(point).digest()
        name = own_id if credential_id is None else credential_id
        public = {1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]} if cose is None else dict(cose)
        tail = b"" if extras is None else extras if isinstance(extras, bytes) else cbor(dict(extras))
        data = (
            sha256(app_id.encode()).digest()
            + bytes([flags])
            + counter.to_bytes(4, "big")
            + AAGUIDS.get(environment, environment.encode()[:16].ljust(16, b"\0"))
            + len(name).to_bytes(2, "big")
            + name
            + cbor(public)
            + tail
        )
        expected = sha256(data + client_data_hash).digest() if nonce is None else nonce
        extension = der(0x30, tagged(1, der(0x04, expected))) if nonce_extension is None else nonce_extension
        leaf = issue(
            name_of(CN=own_id.hex()),
            (certified or key).public_key(),
            issuer=self._name,
            signed_by=signed_by or self._key,
            begins_at=self.now - DAY_S if begins_at is None else begins_at,
            ends_at=self.now + 2 * DAY_S if ends_at is None else ends_at,
            is_ca=False,
            extensions={_NONCE: extension} if extension else {},
        )
        upper = self.intermediate(is_ca=is_ca, ends_at=intermediate_ends_at)
        statement = {"x5c": chain or [der_of(leaf), der_of(upper)], "receipt": b"receipt"}
        made = {"fmt": "apple-appattest", "attStmt": statement, "authData": data, **(members or {})}
        return AppleKey(key, own_id if key_id is None else key_id, cbor(made))


def assert_again(
    key: Key,
    app_id: str,
    client_data_hash: bytes,
    *,
    counter: int,
    extras: bytes = b"",
    flags: int = 0x40,
    members: Mapping[str, Any] | None = None,
) -> bytes:
    """Return an assertion, signed with an App Attest key."""
    data = sha256(app_id.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big") + extras
    nonce = sha256(data + client_data_hash).digest()
    made = {"signature": key.sign(nonce, ECDSA(SHA256())), "authenticatorData": data, **(members or {})}
    return cbor(made)
