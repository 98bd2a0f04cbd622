"""Read the extension of Android Key Attestation (``KeyDescription``). No I/O.

The two lists of authorizations are read as tagged values: real phones use tags that are in no schema, and sort tags and
sets in ways that DER forbids. Unknown tags are ignored, and a tag that is given twice is refused.
"""

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat import asn1
from msgspec import Struct

from chalicelib.baton.attestation.rules import EvidenceRefused, refusing

OID: Final = "1.3.6.1.4.1.11129.2.1.17"

PURPOSES, ALGORITHM, ALL_APPLICATIONS, ORIGIN, ROOT_OF_TRUST, APPLICATION = 1, 2, 600, 702, 704, 709

_ENUMERATED: Final = b"\x0a"
_SET: Final = b"\x31"
_SHORT_LENGTH: Final = 0x80
_LOW_TAG: Final = 31


@asn1.sequence
class _KeyDescription:
    """The members of the extension, in the order of the schema (Android, "Key and ID attestation")."""

    attestation_version: int
    attestation_level: asn1.TLV
    keymint_version: int
    keymint_level: asn1.TLV
    challenge: bytes
    unique_id: bytes
    software: list[asn1.TLV]
    hardware: list[asn1.TLV]


@asn1.sequence
class _RootOfTrust:
    key: bytes
    locked: bool
    state: asn1.TLV
    boot_hash: bytes | None


@asn1.sequence
class _Application:
    packages: asn1.TLV
    digests: asn1.TLV


@asn1.sequence
class _Package:
    name: bytes
    version: int


@asn1.sequence
class _Items:
    items: list[asn1.TLV]


class RootOfTrust(Struct, frozen=True):
    """How the phone booted: boot key, whether the boot loader is locked, and the state (0 verified, 1 self-signed)."""

    key: bytes
    locked: bool
    state: int


class KeyDescription(Struct, frozen=True):
    """The contents of the extension.

    - ``level``: the lower of the security levels of the attestation and of KeyMint.
    - ``purposes``, ``algorithm``, ``origin``, ``root_of_trust``: stated by the hardware.
    - ``all_applications``: the hardware or the operating system states that every app may use the key.
    - ``packages``: the apps that may use the key, stated by the operating system.
    - ``digests``: the SHA-256 of the signing certificates of these apps, stated by the operating system.
    """

    level: int
    challenge: bytes
    purposes: frozenset[int]
    algorithm: int | None
    origin: int | None
    all_applications: bool
    root_of_trust: RootOfTrust | None
    packages: tuple[str, ...]
    digests: tuple[bytes, ...]


def read_key_description(extension: bytes) -> KeyDescription:
    """Read the extension (DER). Raises ``EvidenceRefused`` only if the extension is unreadable, or has a tag twice."""
    with refusing("chain", "the key description cannot be read"):
        read = asn1.decode_der(_KeyDescription, extension)
        software, hardware = _tagged(read.software), _tagged(read.hardware)
        application = software.get(APPLICATION)
        packages, digests = _application(application) if application is not None else ((), ())
        trust = hardware.get(ROOT_OF_TRUST)
        return KeyDescription(
            level=min(_enumerated(read.attestation_level), _enumerated(read.keymint_level)),
            challenge=read.challenge,
            purposes=frozenset(_integers(hardware[PURPOSES])) if PURPOSES in hardware else frozenset(),
            algorithm=asn1.decode_der(int, hardware[ALGORITHM]) if ALGORITHM in hardware else None,
            origin=asn1.decode_der(int, hardware[ORIGIN]) if ORIGIN in hardware else None,
            all_applications=ALL_APPLICATIONS in hardware or ALL_APPLICATIONS in software,
            root_of_trust=_root_of_trust(trust) if trust is not None else None,
            packages=packages,
            digests=digests,
        )


def _tagged(values: list[asn1.TLV]) -> Mapping[int, bytes]:
    """Return the contents of explicit tags by their number."""
    tagged: dict[int, bytes] = {}
    for one in values:
        number = _number(bytes(one.tag_bytes))
        if number in tagged:
            raise EvidenceRefused("chain", f"tag {number} is given twice")
        tagged[number] = bytes(one.data)
    return tagged


def _number(tag: bytes) -> int:
    """Return the number of a context-specific, constructed tag. Raises ``ValueError`` for any other tag."""
    if tag[0] >> 5 != 0b101:  # noqa: PLR2004 - class and form are the three highest bits
        raise ValueError("an authorization with a tag of another class")
    if len(tag) == 1:
        return tag[0] & _LOW_TAG
    number = 0
    for byte in tag[1:]:
        number = number << 7 | byte & 0x7F
    return number


def _enumerated(value: asn1.TLV) -> int:
    data = bytes(value.data)
    if bytes(value.tag_bytes) != _ENUMERATED or len(data) != 1:
        raise ValueError("not an enumerated value of one byte")
    return data[0]


def _elements(content: bytes) -> list[asn1.TLV]:
    """Return the elements of a set or a sequence. ``content`` is its DER without tag and length. Any order is valid."""
    return asn1.decode_der(_Items, _sequence(_sequence(content))).items


def _sequence(content: bytes) -> bytes:
    length = len(content)
    if length < _SHORT_LENGTH:
        return bytes([0x30, length]) + content
    size = length.to_bytes(4, "big").lstrip(b"\0")
    return bytes([0x30, _SHORT_LENGTH + len(size)]) + size + content


def _set(value: bytes) -> list[asn1.TLV]:
    """Return the elements of a set (DER). Any order of the elements is accepted."""
    [one] = _elements(value)
    return _set_of(one)


def _set_of(value: asn1.TLV) -> list[asn1.TLV]:
    if bytes(value.tag_bytes) != _SET:
        raise ValueError("not a set")
    return _elements(bytes(value.data))


def _integers(value: bytes) -> list[int]:
    return [one.parse(int) for one in _set(value)]


def _root_of_trust(value: bytes) -> RootOfTrust:
    read = asn1.decode_der(_RootOfTrust, value)
    return RootOfTrust(key=read.key, locked=read.locked, state=_enumerated(read.state))


def _application(value: bytes) -> tuple[tuple[str, ...], tuple[bytes, ...]]:
    read = asn1.decode_der(_Application, asn1.decode_der(bytes, value))
    packages = tuple(one.parse(_Package).name.decode() for one in _set_of(read.packages))
    return packages, tuple(one.parse(bytes) for one in _set_of(read.digests))
