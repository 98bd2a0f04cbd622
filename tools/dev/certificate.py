"""Certificates for servers on this machine: a database on loopback, and `make dev TLS=1`."""

import datetime as dt
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def self_signed(folder: Path) -> Path:
    """Write a certificate for 127.0.0.1 with its key, valid for one hour, and return the PEM file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "engine")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    unencrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(made.public_bytes(Encoding.PEM) + unencrypted)
    return file


def issued_for(folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """Write and return two files: a server certificate with its key, and the certificate of its authority.

    ``names`` are the host names of the server. Both certificates expire after 30 days. The authority's key is not
    stored.
    """
    now = dt.datetime.now(dt.UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("Baton development", names[0])
    )
    authority = (
        _for_a_month(authority_name, authority_name, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    made = (
        _for_a_month(authority_name, name, key, now)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server, trusted = folder / "server.pem", folder / "authority.pem"
    unencrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    server.touch(mode=0o600)
    server.write_bytes(made.public_bytes(Encoding.PEM) + unencrypted)
    trusted.write_bytes(authority.public_bytes(Encoding.PEM))
    return server, trusted


def _for_a_month(
    issuer: x509.Name, name: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=30))
    )


def trusted_too(certificate: Path) -> Path:
    """Write a bundle of the system's certificates and this certificate, for ``SSL_CERT_FILE``, and return its path."""
    bundle = certificate.with_name("bundle.pem")
    system = ssl.create_default_context().get_ca_certs(binary_form=True)
    known = "".join(map(ssl.DER_cert_to_PEM_cert, system))
    bundle.write_text(known + certificate.read_text("utf-8").partition("-----BEGIN PRIVATE")[0], "utf-8")
    return bundle
