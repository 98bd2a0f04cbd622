"""Read X.509 certificates of evidence. An unreadable certificate causes a refusal, never a server error. No I/O."""

from collections.abc import Sequence
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey

from chalicelib.baton.attestation.rules import CLOCK_S, EvidenceRefused, refusing, require

UNREADABLE = (
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
)
"""The exceptions of the library for an unreadable certificate, in addition to ``ValueError`` and ``TypeError``."""


def read_certificates(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """Read a chain of certificates (DER). Refuse it if a name, time or extension in a certificate cannot be read."""
    with refusing("chain", "a certificate cannot be read", *UNREADABLE):
        certificates = [x509.load_der_x509_certificate(one) for one in chain]
        for one in certificates:
            _ = (one.extensions, one.subject, one.issuer, one.not_valid_before_utc, one.not_valid_after_utc)
        return certificates


def check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Check that ``certificate`` names ``issuer`` as its issuer, and that the key of ``issuer`` signed it."""
    with refusing("chain", "a certificate is not issued by the one above it", *UNREADABLE):
        certificate.verify_directly_issued_by(issuer)


def check_time(certificate: x509.Certificate, *, now: int) -> None:
    """Refuse a certificate that is not valid now. Both limits have a tolerance of ``CLOCK_S`` seconds."""
    begins_at, ends_at = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    valid = begins_at - CLOCK_S <= now <= ends_at + CLOCK_S
    require(valid, "chain", "a certificate is not valid at this time")


def point_of(certificate: x509.Certificate) -> bytes | None:
    """Return the P-256 key of a certificate (SEC 1, uncompressed). ``None``: it has a key of another kind."""
    with refusing("chain", "the key of a certificate cannot be read", *UNREADABLE):
        key = certificate.public_key()
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - cold start

    if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        return None
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def key_digest(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of the key (SubjectPublicKeyInfo) of a certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - cold start

    with refusing("chain", "the key of a certificate cannot be read", *UNREADABLE):
        return sha256(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def serial_of(certificate: x509.Certificate) -> str:
    """Return the serial number of a certificate in hex, lower case, as revocation lists have it."""
    return f"{certificate.serial_number:x}"


def extension_of(certificate: x509.Certificate, oid: str) -> bytes | None:
    """Return the value (DER) of the extension ``oid``. ``None``: the certificate does not have it.

    Use this only for extensions for which ``cryptography`` has no class.
    """
    for one in certificate.extensions:
        if one.oid.dotted_string == oid:
            if not isinstance(one.value, x509.UnrecognizedExtension):
                raise EvidenceRefused("chain", "an extension of another kind")
            return one.value.value
    return None
