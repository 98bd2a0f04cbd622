"""Make certificate chains of Android Key Attestation, with a test root. Each defect is a parameter."""

from collections.abc import Mapping, Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from chalicelib.baton.testing.attesters.certificates import (
    Key,
    der,
    der_integer,
    der_of,
    issue,
    name_of,
    new_key,
    tagged,
)

DAY_S: Final = 86400
YEAR_S: Final = 365 * DAY_S
DESCRIPTION: Final = "1.3.6.1.4.1.11129.2.1.17"
TEE, STRONGBOX = 1, 2
BOOT_KEY: Final = bytes(range(32))


def described(
    challenge: bytes,
    *,
    package: str,
    certificate: bytes,
    levels: tuple[int, int] = (TEE, TEE),
    purposes: Sequence[int] = (2,),
    algorithm: int | None = 3,
    origin: int | None = 0,
    locked: bytes = b"\xff",
    boot_state: int = 0,
    boot_key: bytes = BOOT_KEY,
    root_of_trust: bool = True,
    root_in_software: bool = False,
    packages: Sequence[str] | None = None,
    certificates: Sequence[bytes] | None = None,
    application: bytes | None = None,
    hardware: Mapping[int, bytes] | None = None,
    software: Mapping[int, bytes] | None = None,
    more_hardware: bytes = b"",
    trailing: bytes = b"",
) -> bytes:
    """Encode a key description as DER, as a phone does. ``certificate``: digest of the app's signing certificate."""
    trust = der(
        0x30,
        der(0x04, boot_key),
        der(0x01, locked),
        der_integer(boot_state, 0x0A),
        der(0x04, bytes(32)),
    )
    names = [package] if packages is None else packages
    digests = [certificate] if certificates is None else certificates
    app = der(
        0x30,
        der(0x31, *(der(0x30, der(0x04, one.encode()), der_integer(1)) for one in names)),
        der(0x31, *(der(0x04, one) for one in digests)),
    )
    enforced = {1: der(0x31, *(der_integer(one) for one in purposes))}
    if algorithm is not None:
        enforced[2] = der_integer(algorithm)
    enforced[3] = der_integer(256)
    enforced[503] = der(0x05)
    if origin is not None:
        enforced[702] = der_integer(origin)
    if root_of_trust:
        enforced[704] = trust
    enforced[9999] = der_integer(7)  # a tag that is in no schema
    stated = {701: der_integer(1_700_000_000_000), 709: der(0x04, app if application is None else application)}
    if root_in_software:
        stated[704] = trust
    enforced |= hardware or {}
    stated |= software or {}
    return (
        der(
            0x30,
            der_integer(400),
            der_integer(levels[0], 0x0A),
            der_integer(400),
            der_integer(levels[1], 0x0A),
            der(0x04, challenge),
            der(0x04),
            der(0x30, *(tagged(number, value) for number, value in stated.items())),
            der(0x30, *(tagged(number, value) for number, value in enforced.items()), more_hardware),
        )
        + trailing
    )


class Android:
    """Google's certificate authority of Key Attestation, and the phones that it provisioned."""

    def __init__(self, *, now: int) -> None:
        """Make a root certificate."""
        self.now = now
        self._root_key = new_key()
        self._root_name = name_of(serialNumber="f92009e853b6b045")
        self.root = self.root_certificate()

    def root_certificate(self, *, ends_at: int | None = None, key: Key | None = None) -> x509.Certificate:
        """Issue a self-signed certificate for ``key`` (default: the root key). A key can have several certificates."""
        key = key or self._root_key
        return issue(
            self._root_name,
            key.public_key(),
            issuer=self._root_name,
            signed_by=key,
            begins_at=self.now - 10 * YEAR_S,
            ends_at=ends_at or self.now + 10 * YEAR_S,
            is_ca=True,
        )

    def chain(
        self,
        public_key: EllipticCurvePublicKey,
        description: bytes,
        *,
        remote: bool = True,
        with_root: bool = True,
        expired: int | None = None,
        between: int = 0,
        fewer: int = 0,
        top_name: x509.Name | None = None,
        described_at: Sequence[int] = (0,),
        wrong_signer: int | None = None,
        wrong_issuer: int | None = None,
        leaf_expired: bool = False,
        serials: Mapping[int, int] | None = None,
    ) -> list[bytes]:
        """Return the certificate chain of a phone, the leaf first.

        The leaf has index 0, its issuer has index 1, and so on.

        - ``remote``: the phone has remote provisioning. If false, the phone has a key from the factory.
        - ``expired``, ``wrong_signer``, ``wrong_issuer``: the index of the certificate with this defect.
        - ``described_at``: the indexes of the certificates that contain ``description``.
        - ``serials``: a map from index to serial number.
        """
        if remote:
            names = [
                name_of(CN="Droid CA2", O="Google LLC"),
                name_of(CN="Droid CA3", O="Google LLC"),
                name_of(CN="65d2949536924da6", O="TEE"),
            ]
        else:
            names = [name_of(serialNumber="87f4514475ba0a2b"), name_of(serialNumber="3e7fb6a1ee4bd568")]
        names = names[: len(names) - fewer] + [name_of(CN=f"another {number}") for number in range(between)]
        if top_name is not None:
            names[0] = top_name
        subjects = [*names, name_of(CN="Android Keystore Key")]
        certificates: list[x509.Certificate] = []
        issuer, signer = self._root_name, self._root_key
        for depth, subject in enumerate(subjects):
            place = len(subjects) - 1 - depth
            own = new_key()
            over = place == expired or (place == 0 and leaf_expired)
            certificates.append(
                issue(
                    subject,
                    public_key if place == 0 else own.public_key(),
                    issuer=name_of(CN="a stranger") if place == wrong_issuer else issuer,
                    signed_by=new_key() if place == wrong_signer else signer,
                    begins_at=self.now - YEAR_S,
                    ends_at=self.now - DAY_S if over else self.now + DAY_S,
                    is_ca=place > 0,
                    extensions={DESCRIPTION: description} if place in described_at else {},
                    serial=(serials or {}).get(place),
                )
            )
            issuer, signer = subject, own
        chain = [der_of(one) for one in reversed(certificates)]
        return [*chain, der_of(self.root)] if with_root else chain
