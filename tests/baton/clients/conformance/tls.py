"""A certificate for `localhost`, made on this machine."""

import datetime as dt
import shutil
import ssl
import subprocess
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "the tests of Baton")])
HOSTS = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]


def certified(folder: Path) -> tuple[ssl.SSLContext, dict[str, str]]:
    """Return the context of a server, and the variables that make Python, Node.js and Java trust its certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(NAME, NAME, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(HOSTS), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, {"SSL_CERT_FILE": str(file), "NODE_EXTRA_CA_CERTS": str(file), **_of_java(folder, certificate)}


def _of_java(folder: Path, certificate: x509.Certificate) -> dict[str, str]:
    """Return the variables for Java, which reads certificates only from a store. Only the JDK can write this store."""
    keytool = shutil.which("keytool")
    if keytool is None:
        return {}
    store, alone = folder / "trusted.p12", folder / "alone.pem"
    alone.write_bytes(certificate.public_bytes(Encoding.PEM))
    options = ["-noprompt", "-alias", "baton", "-storetype", "PKCS12", "-storepass", "changeit"]
    subprocess.run(
        [keytool, "-importcert", *options, "-file", str(alone), "-keystore", str(store)],
        check=True,
        capture_output=True,
    )
    trusted = f"-Djavax.net.ssl.trustStore={store} -Djavax.net.ssl.trustStorePassword=changeit"
    return {"JAVA_TOOL_OPTIONS": trusted}
