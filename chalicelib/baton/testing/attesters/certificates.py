"""Issue certificates as the authorities of the platforms do, and encode DER and CBOR for the evidence."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey

_NAMES: Final = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "serialNumber": NameOID.SERIAL_NUMBER,
}


def new_key() -> Key:
    """Make a P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def name_of(**parts: str) -> x509.Name:
    """Make a name of a subject or an issuer."""
    return x509.Name([x509.NameAttribute(_NAMES[part], value) for part, value in parts.items()])


def issue(
    subject: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    issuer: x509.Name,
    signed_by: Key,
    begins_at: int,
    ends_at: int,
    is_ca: bool | None = None,
    extensions: Mapping[str, bytes] | None = None,
    serial: int | None = None,
) -> x509.Certificate:
    """Issue a certificate. ``is_ca`` sets its basic constraints and key usage. ``None`` omits both extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(_time(begins_at))
        .not_valid_after(_time(ends_at))
    )
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        builder = builder.add_extension(_usage(is_ca=is_ca), critical=True)
    for oid, value in (extensions or {}).items():
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(unknown, critical=False)
    return builder.sign(signed_by, hashes.SHA256())


def der_of(certificate: x509.Certificate) -> bytes:
    """Encode a certificate as DER."""
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - as in the shipped code

    return certificate.public_bytes(Encoding.DER)


def point_of(key: Key | ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key, 65 bytes (SEC 1, uncompressed)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415 - as above

    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def der(tag: int | bytes, *contents: bytes) -> bytes:
    """Encode one DER value: ``tag``, the length, and ``contents`` joined."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        size = bytes([length])
    else:
        digits = length.to_bytes(4, "big").lstrip(b"\0")
        size = bytes([0x80 + len(digits)]) + digits
    return (tag if isinstance(tag, bytes) else bytes([tag])) + size + content


def der_integer(value: int, tag: int = 0x02) -> bytes:
    """Encode a whole number as INTEGER, or as ENUMERATED with the tag 0x0A."""
    return der(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def tagged(number: int, content: bytes) -> bytes:
    """Put the DER value ``content`` into an explicit, context-specific tag with this number."""
    if number < 31:
        return der(0xA0 | number, content)
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return der(bytes([0xBF, *reversed(digits)]), content)


def cbor(value: object) -> bytes:
    """Encode a value as CBOR: whole numbers, bytes, texts, lists and maps."""
    match value:
        case int() if value < 0:
            return _head(1, -1 - value)
        case int():
            return _head(0, value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(cbor(one) for one in value)
        case dict():
            return _head(5, len(value)) + b"".join(cbor(name) + cbor(one) for name, one in value.items())
        case _:
            raise TypeError(type(value))


def _usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes([kind << 5 | number])
    for low, size in ((24, 1), (25, 2), (26, 4)):
        if number < 1 << 8 * size:
            return bytes([kind << 5 | low]) + number.to_bytes(size, "big")
    raise ValueError(number)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
