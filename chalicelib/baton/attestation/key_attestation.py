"""Android Key Attestation: verify that a genuine app made the device key in the hardware of the device. No I/O.

Source: Android, "Verify hardware-backed key pairs with key attestation", and the verifier of android/keyattestation.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from msgspec import Struct

from chalicelib.baton.attestation.certificates import (
    check_issued,
    check_time,
    extension_of,
    key_digest,
    point_of,
    read_certificates,
    serial_of,
)
from chalicelib.baton.attestation.key_description import OID, KeyDescription, read_key_description
from chalicelib.baton.attestation.rules import Accepted, EvidenceRefused, is_revoked, require
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.model import Attestation

_FACTORY_CERTIFICATES: Final = 3
_REMOTE_CERTIFICATES: Final = 4
_REMOTE_TOP: Final = {NameOID.COMMON_NAME: "Droid CA2", NameOID.ORGANIZATION_NAME: "Google LLC"}

_EC: Final = 3
_GENERATED: Final = 0
_SIGN: Final = 2
_VERIFY: Final = 3
_VERIFIED_BOOT: Final = 0
_SELF_SIGNED_BOOT: Final = 1
_LEVELS: Final[Mapping[int, Attestation]] = {1: Attestation.TEE, 2: Attestation.STRONGBOX}


class AndroidRules(Struct, frozen=True):
    """The accepted Android apps and phones of a client.

    - ``packages``: package name -> the SHA-256 of the accepted signing certificates.
    - ``security``: the lowest accepted security level.
    - ``boot_keys``: the boot keys of accepted operating systems other than the phone maker's, such as GrapheneOS.
    """

    packages: Mapping[str, tuple[bytes, ...]]
    security: Attestation = Attestation.TEE
    boot_keys: tuple[bytes, ...] = ()


def verify_key_attestation(  # noqa: PLR0913 - all that a verdict depends on
    chain: Sequence[bytes],
    *,
    challenge: bytes,
    thumbprint: bytes,
    rules: AndroidRules,
    revoked: frozenset[bytes],
    anchors: Sequence[x509.Certificate],
    now: int,
) -> Accepted:
    """Verify a chain of certificates (DER, the leaf first), and return the proved facts. Raises ``EvidenceRefused``.

    - ``thumbprint``: the RFC 7638 thumbprint of the device key (32 bytes).
    - ``revoked``: the digests of revoked serials.
    - ``anchors``: Google's root certificates.
    """
    certificates = read_certificates(chain)
    below = _checked_chain(certificates, anchors, now=now)
    serials = tuple(serial_of(one) for one in certificates)
    require(not is_revoked(serials, revoked), "revoked", "a certificate of the chain is revoked")
    described = _described(below)
    require(described.challenge == challenge, "challenge", "the key was made for another challenge")
    point = point_of(below[0])
    require(point and _thumbprint(point) == thumbprint, "key", "the attested key is not the key of the device")
    _check_key(described)
    level = _LEVELS.get(described.level, Attestation.NONE)
    require(level >= rules.security, "security", f"security level {described.level}")
    _check_device(described, rules.boot_keys)
    app = _app_of(described, rules.packages)
    return Accepted(attestation=level, app=app, serials=tuple(serial_of(one) for one in below))


def _checked_chain(
    certificates: list[x509.Certificate], anchors: Sequence[x509.Certificate], *, now: int
) -> list[x509.Certificate]:
    """Check a chain up to an anchor, and return the certificates below the anchor, the leaf first."""
    require(certificates, "chain", "no certificate")
    top = certificates[-1]
    if top.subject == top.issuer:
        anchor = next((one for one in anchors if key_digest(one) == key_digest(top)), None)
        below = certificates[:-1]
    else:
        anchor = next((one for one in anchors if one.subject == top.issuer), None)
        below = certificates
    if anchor is None:
        raise EvidenceRefused("chain", "it does not end at a root of Google")
    for certificate, issuer in zip(below, [*below, anchor][1:], strict=True):
        check_issued(certificate, issuer)
    # Genuine chains have one of two lengths. In a longer chain, an attested key could be the issuer of another key.
    if len(below) == _REMOTE_CERTIFICATES:
        names = {oid: _names(below[-1].subject, oid) for oid in _REMOTE_TOP}
        require(names == {oid: [name] for oid, name in _REMOTE_TOP.items()}, "chain", "not provisioned by Google")
        for certificate in below[1:]:
            check_time(certificate, now=now)
    else:
        # The keys of the factory cannot be replaced, so phones use them after their certificates have expired. So this
        # branch does not check the time.
        factory = len(below) == _FACTORY_CERTIFICATES and _names(below[-1].subject, NameOID.SERIAL_NUMBER)
        require(factory, "chain", "too short or too long")
    return below


def _names(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in name.get_attributes_for_oid(oid)]


def _described(below: list[x509.Certificate]) -> KeyDescription:
    extensions = [extension_of(one, OID) for one in below]
    require(all(one is None for one in extensions[1:]), "chain", "an issuer is itself an attested key")
    if extensions[0] is None:
        raise EvidenceRefused("chain", "the leaf has no key description")
    return read_key_description(extensions[0])


def _thumbprint(point: bytes) -> bytes:
    """Return the thumbprint of a P-256 key (SEC 1, uncompressed)."""
    compressed = bytes([2 + point[-1] % 2]) + point[1:33]
    return PublicKey("P-256", compressed).thumbprint


def _check_key(described: KeyDescription) -> None:
    require(described.algorithm == _EC, "key", "the hardware states another algorithm")
    require(described.origin == _GENERATED, "key", "the key was not made in the hardware")
    only_signs = described.purposes in ({_SIGN}, {_SIGN, _VERIFY})
    require(only_signs, "key", "the key has other purposes than signing")
    require(not described.all_applications, "key", "every app may use the key")


def _check_device(described: KeyDescription, boot_keys: tuple[bytes, ...]) -> None:
    trust = described.root_of_trust
    if trust is None:
        raise EvidenceRefused("device", "the hardware states no root of trust")
    require(trust.locked, "device", "the boot loader is unlocked")
    known = trust.state == _SELF_SIGNED_BOOT and trust.key in boot_keys
    require(trust.state == _VERIFIED_BOOT or known, "device", f"boot state {trust.state}")


def _app_of(described: KeyDescription, packages: Mapping[str, tuple[bytes, ...]]) -> str:
    require(len(described.packages) == 1, "app", "not exactly one package")
    [package] = described.packages
    require(package in packages, "app", "another package")
    genuine = described.digests and set(described.digests) <= set(packages[package])
    require(genuine, "app", "signed with another certificate")
    return package
