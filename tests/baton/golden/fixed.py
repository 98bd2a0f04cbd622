"""Fixed values for everything that is random or changes in production: entropy, the clock and the keys of devices."""

import base64
import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from baton_client import DeviceKey

START = 1_800_000_000
"""Seconds since the epoch: the start of a rate limit window."""


class Entropy:
    """Bytes derived from a name and a counter. Replaces ``secrets.token_bytes``."""

    def __init__(self, name: str = "") -> None:
        """Start with this name."""
        self.begin(name)

    def begin(self, name: str) -> None:
        """Start again with a name, so that one entry does not depend on the entries before it."""
        self._name, self._drawn = name, 0

    def __call__(self, length: int | None = None) -> bytes:
        """Draw bytes."""
        self._drawn += 1
        return hashlib.shake_256(f"{self._name} {self._drawn}".encode()).digest(32 if length is None else length)


class Clock:
    """A clock that a test moves. It is a quarter of a second after ``now``, so that milliseconds are visible."""

    def __init__(self) -> None:
        """Start at ``START``."""
        self.now = START

    def time(self) -> float:
        """Replace ``time.time``."""
        return self.now + 0.25

    def seconds(self) -> int:
        """Return whole seconds."""
        return self.now


def p256(name: str) -> DeviceKey:
    """Make the P-256 key of this name."""
    scalar = int.from_bytes(hashlib.sha256(f"P-256 {name}".encode()).digest(), "big")
    return _key(ec.derive_private_key(scalar, ec.SECP256R1()))


def ed25519_key(name: str) -> DeviceKey:
    """Make the Ed25519 key of this name."""
    seed = hashlib.sha256(f"Ed25519 {name}".encode()).digest()
    return _key(ed25519.Ed25519PrivateKey.from_private_bytes(seed))


def _key(private: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> DeviceKey:
    encoded = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return DeviceKey(base64.b64encode(encoded).decode())


def written(value: Any) -> str:
    """Write a value as JSON on one line, members in their order, bytes as base64."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_encoded)


def _encoded(value: object) -> str:
    assert isinstance(value, bytes), type(value)
    return base64.b64encode(value).decode()
