"""Altered evidence is refused, and never causes a server error: each error would raise an alarm."""

import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any, Final

import pytest
from cryptography import x509

from chalicelib.baton.attestation.app_attest import verify_assertion, verify_attestation
from chalicelib.baton.attestation.key_attestation import verify_key_attestation
from chalicelib.baton.attestation.rules import AppleRules, EvidenceRefused
from chalicelib.baton.keys.cbor import read_cbor
from chalicelib.baton.testing.attesters.apple import assert_again
from chalicelib.baton.testing.attesters.certificates import cbor, point_of
from tests.baton.attestation import test_app_attest as apple
from tests.baton.attestation import test_key_attestation as android

# The library warns of a serial number that is not positive. Such a certificate is refused for its signature.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning"
)

SEED: Final = 20261129
ROUNDS: Final = 1500


def altered(value: bytes, rounds: int = ROUNDS) -> Iterator[bytes]:
    """Yield the value with one to three bits flipped, cut anywhere, or with bytes repeated or inserted."""
    source = random.Random(SEED)
    for _ in range(rounds):
        one = bytearray(value)
        match source.randrange(4):
            case 0:
                del one[source.randrange(len(one)) :]
            case 1:
                place = source.randrange(len(one))
                one[place:place] = source.randbytes(source.randrange(1, 4))
            case 2:
                place = source.randrange(len(one))
                one[place:place] = one[: source.randrange(len(one))]
            case _:
                for _ in range(source.randrange(1, 4)):
                    place = source.randrange(len(one))
                    one[place] ^= 1 << source.randrange(8)
        if one != value:
            yield bytes(one)


def refused(run: Callable[[], object]) -> bool:
    """Run a verifier. Return whether it refused: any other exception fails the test."""
    try:
        run()
    except EvidenceRefused:
        return True
    return False


def test_altered_attestations_are_refused() -> None:
    """Only a changed receipt is accepted, because Baton does not read the receipt."""
    made = apple.APPLE.attest(apple.APP, apple.HASH, extras=apple.IOS_27)
    accepted = 0
    for one in altered(made.attestation):
        if not refused(lambda one=one: apple.verify(type(made)(made.key, made.key_id, one))):  # type: ignore[misc]
            accepted += 1
            read: Any = read_cbor(one)
            genuine: Any = read_cbor(made.attestation)
            assert read["authData"] == genuine["authData"]
            assert read["attStmt"]["x5c"] == genuine["attStmt"]["x5c"]
    assert accepted < ROUNDS / 20


def test_altered_authenticator_data_under_a_genuine_nonce_are_refused() -> None:
    """The authority may be attacked or faulty. So the form of the data is checked before the contents are used."""
    genuine: Any = read_cbor(apple.APPLE.attest(apple.APP, apple.HASH, extras=apple.IOS_27).attestation)
    for one in altered(genuine["authData"][37:], 500):
        data = genuine["authData"][:37] + one
        nonce = sha256(data + apple.HASH).digest()
        made = apple.APPLE.attest(apple.APP, apple.HASH, nonce=nonce, members={"authData": data})
        assert refused(lambda made=made: apple.verify(made))  # type: ignore[misc]


def test_altered_assertions_are_refused() -> None:
    """Every byte of an assertion is signed, or is the signature."""
    made = apple.APPLE.attest(apple.APP, apple.HASH)
    signed = assert_again(made.key, apple.APP, apple.HASH, counter=9, extras=cbor(apple.IOS_27))
    point = point_of(made.key)
    for one in altered(signed):
        run = lambda one=one: verify_assertion(  # noqa: E731 - short
            one, point=point, app=apple.APP, client_data_hash=apple.HASH
        )
        assert refused(run)


@pytest.mark.parametrize("place", range(4))
def test_altered_chains_are_refused(place: int) -> None:
    """The only accepted alteration is in the name of the algorithm outside the signed part."""
    made = android.chain()
    genuine = x509.load_der_x509_certificate(made[place])
    for one in altered(made[place], 400):
        changed = [*made[:place], one, *made[place + 1 :]]
        if not refused(lambda changed=changed: android.verify(changed)):  # type: ignore[misc]
            accepted = x509.load_der_x509_certificate(one)
            assert accepted.tbs_certificate_bytes == genuine.tbs_certificate_bytes
            assert accepted.signature == genuine.signature


def test_altered_roots_raise_nothing_else() -> None:
    """Only the key of the root is compared, so an altered root is accepted or refused, without another exception."""
    made = android.chain()
    for one in altered(made[-1], 400):
        refused(lambda one=one: android.verify([*made[:-1], one]))  # type: ignore[misc]


def test_altered_descriptions_in_genuine_chains_are_refused() -> None:
    """The altered description is correctly signed. A few alterations change no fact that Baton judges."""
    genuine, accepted = android.description(), 0
    for one in altered(genuine, 800):
        accepted += not refused(lambda one=one: android.verify(android.chain(one, remote=False)))  # type: ignore[misc]
    assert accepted < 400


@pytest.mark.parametrize("value", [b"", b"\0", b"\xff" * 64, bytes(16 * 1024), b"\x9f" * 500, b"\x81" * 2000])
def test_short_long_and_deep_values_are_refused(value: bytes) -> None:
    """The test runs every verifier."""
    rules = AppleRules((apple.APP,), frozenset({"production"}))
    assert refused(
        lambda: verify_attestation(
            value, key_id=value, client_data_hash=value, rules=rules, anchor=apple.APPLE.root, now=apple.NOW
        )
    )
    assert refused(lambda: verify_assertion(value, point=bytes(65), app=apple.APP, client_data_hash=apple.HASH))
    assert refused(lambda: android.verify([value] * 4))
    assert refused(lambda: android.verify(android.chain(value)))
    assert refused(
        lambda: verify_key_attestation(
            [],
            challenge=value,
            thumbprint=value,
            rules=android.RULES,
            revoked=frozenset(),
            anchors=(android.GOOGLE.root,),
            now=android.NOW,
        )
    )
