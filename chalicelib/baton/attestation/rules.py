"""The common parts of the two verifiers of evidence, such as the proved facts and the refusal. No I/O.

The verifiers are ``app_attest`` (iOS) and ``key_attestation`` (Android). Both are pure: the trusted certificates and
the time are arguments. For any evidence, they raise ``EvidenceRefused`` and nothing else.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Final, Literal

from msgspec import Struct

from chalicelib.baton.lineages.model import Attestation

Reason = Literal["chain", "challenge", "key", "app", "environment", "security", "device", "revoked", "counter"]
"""The check that refused the evidence. App developers read it in the member ``reason`` of ``attestation_failed``."""

CLOCK_S: Final = 300
"""How many seconds the clock of the platform's certificate authority may differ from Baton's."""

_TEXT: Final = "baton-attest-v1\n{client_id}\n{challenge}\n{keyid}"


class EvidenceRefused(Exception):
    """The evidence does not prove a required fact. The message is a private reason, for the operator."""

    def __init__(self, reason: Reason, why: str) -> None:
        """Keep the name of the check that refused the evidence."""
        super().__init__(f"{reason}: {why}")
        self.reason: Reason = reason


class Accepted(Struct, frozen=True, kw_only=True):
    """The facts that good evidence proved.

    - ``app``: an app id of Apple, or the name of an Android package.
    - ``serials``: the serials of the device's certificates, in hex.
    - ``apple_key``: the id of the App Attest key. It is empty for an Android app.
    - ``point``: the public key of the App Attest key, 65 bytes (SEC 1, uncompressed). It is empty for an Android app.
    """

    attestation: Attestation
    app: str
    serials: tuple[str, ...]
    apple_key: bytes = b""
    point: bytes = b""


class AppleRules(Struct, frozen=True):
    """The apps of a client, and the App Attest environments that it accepts.

    ``categories``: the accepted validation categories of Apple. An empty set accepts every category. An attestation
    without a category (before iOS 27) always passes this check.
    """

    app_ids: tuple[str, ...]
    environments: frozenset[str]
    categories: frozenset[int] = frozenset()


def client_data(client_id: str, challenge: str, keyid: str) -> bytes:
    """Return the text that App Attest signs: it names the client, the challenge and the device key."""
    return _TEXT.format(client_id=client_id, challenge=challenge, keyid=keyid).encode("ascii", errors="strict")


def revoked_digest(serial: str) -> bytes:
    """Return the digest under which a revoked serial (hex, lower case) is stored."""
    return sha256(serial.encode()).digest()[:8]


def is_revoked(serials: Sequence[str], revoked: frozenset[bytes]) -> bool:
    """Check whether ``revoked`` has the digest of any of these serials."""
    return any(revoked_digest(serial) in revoked for serial in serials)


@contextmanager
def refusing(reason: Reason, why: str, *errors: type[Exception]) -> Iterator[None]:
    """Raise ``EvidenceRefused`` if the ``with`` block raises ``ValueError``, ``TypeError`` or one of ``errors``."""
    unreadable: tuple[type[Exception], ...] = (ValueError, TypeError, *errors)
    try:
        yield
    except unreadable as error:
        raise EvidenceRefused(reason, f"{why} ({type(error).__name__})") from None


def require(fact: object, reason: Reason, why: str) -> None:
    """Raise ``EvidenceRefused`` unless ``fact`` is true."""
    if not fact:
        raise EvidenceRefused(reason, why)
