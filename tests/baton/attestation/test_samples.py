"""Evidence of real devices, made public by others: tests/vectors/attestation/README.md has each source and licence."""

import json
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from chalicelib.baton.attestation.anchors import apple_root, google_roots
from chalicelib.baton.attestation.app_attest import verify_assertion, verify_attestation
from chalicelib.baton.attestation.certificates import extension_of, key_digest, point_of
from chalicelib.baton.attestation.key_attestation import AndroidRules, verify_key_attestation
from chalicelib.baton.attestation.key_description import OID, read_key_description
from chalicelib.baton.attestation.rules import Accepted, AppleRules, EvidenceRefused
from chalicelib.baton.keys.cbor import read_cbor
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.model import Attestation
from chalicelib.baton.testing.attesters.certificates import cbor

FOLDER: Final = Path(__file__).parents[2] / "vectors" / "attestation"
ANDROID: Final = FOLDER / "android"
DAY_S: Final = 86400

APPLE_ROOT: Final = "1cb9823ba28ba6ad2d33a006941de2ae4f513ef1d4e831b9f7e0fa7b6242c932"
GOOGLE_ROOTS: Final = [
    "feb2ea7551ee316ed4bb443c8293b884dbfdea40b603ee3e4f4a897e4580fbae",
    "3ee44512a1af2beb39c889490c60ea3f82e43f5d5a5532f5ab9419f676cd07ec",
]


def test_the_pinned_roots_are_those_of_apple_and_google() -> None:
    """The digests are also in this test, and Google's list of roots has the same keys."""
    assert sha256(apple_root().public_bytes(Encoding.DER)).hexdigest() == APPLE_ROOT
    assert [key_digest(one).hex() for one in google_roots()] == GOOGLE_ROOTS
    published = [x509.load_pem_x509_certificate(one.encode()) for one in json.loads(text("roots.json"))]
    assert {key_digest(one).hex() for one in published} == set(GOOGLE_ROOTS)


def text(name: str) -> str:
    """Read a file of Android's samples."""
    return (ANDROID / name).read_text(encoding="utf-8")


def said_of(name: str) -> Any:
    """Read the output of Google's parser for a chain. The file may have comment lines."""
    return json.loads("\n".join(line for line in text(f"{name}.json").splitlines() if line.lstrip()[:2] != "//"))


# --- App Attest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attestation"),
    [("production", Attestation.APP), ("development", Attestation.APP_IN_DEVELOPMENT)],
)
def test_the_objects_of_node_app_attest_verify(name: str, attestation: Attestation) -> None:
    """These are two objects of an app on a real device, made in February 2024."""
    sample = json.loads((FOLDER / "apple" / f"attestation-{name}.json").read_text())
    accepted = verify_attestation(
        b64decode(sample["attestation"]),
        key_id=b64decode(sample["keyId"]),
        client_data_hash=sha256(b64decode(sample["challenge"])).digest(),
        rules=AppleRules(("V8H6LQ9448.io.uebelacker.AppAttestExample",), frozenset({name})),
        anchor=apple_root(),
        now=1_707_394_000,  # 2024-02-08
    )
    assert accepted.attestation is attestation


def test_the_attestation_and_the_assertion_of_takimoto3_verify() -> None:
    """The attestation and the assertion are of one key, of an iPhone with iOS 14.4."""
    sample = json.loads((FOLDER / "apple" / "ios-14.4.json").read_text())
    app = f"{sample['attestation']['teamIdentifier']}.{sample['attestation']['bundleIdentifier']}"
    accepted = verify_attestation(
        b64decode(sample["attestation"]["attestationBase64"]),
        key_id=b64decode(sample["attestation"]["keyIdBase64"]),
        client_data_hash=b64decode(sample["attestation"]["clientDataHashSha256Base64"]),
        rules=AppleRules((app,), frozenset({"development"})),
        anchor=apple_root(),
        now=1_611_500_000,  # 2021-01-24
    )
    again = sample["assertion"]
    signed = b64decode(again["assertionBase64"])
    client_data_hash = b64decode(again["clientDataHashSha256Base64"])
    counter = verify_assertion(signed, point=accepted.point, app=app, client_data_hash=client_data_hash)
    assert counter == again["counter"] == 1


def test_the_sample_of_apples_guide_for_ios_27_verifies() -> None:
    """After the key, the sample has the CBOR map that iOS 27 added. Its ``clientDataHash`` is raw text, and no hash."""
    sample = json.loads((FOLDER / "apple" / "ios-27-guide.json").read_text())
    with_intermediate = json.loads((FOLDER / "apple" / "attestation-production.json").read_text())
    other: Any = read_cbor(b64decode(with_intermediate["attestation"]))
    chain = [b64decode(sample["leaf"]), other["attStmt"]["x5c"][1]]
    made = cbor({"fmt": "apple-appattest", "attStmt": {"x5c": chain}, "authData": b64decode(sample["auth_data"])})
    rules = AppleRules((sample["app_id"],), frozenset({"production"}), frozenset({1}))

    def verified(rules: AppleRules) -> Accepted:
        return verify_attestation(
            made,
            key_id=b64decode(sample["key_id"]),
            client_data_hash=sample["client_data_hash"].encode(),
            rules=rules,
            anchor=apple_root(),
            now=1_776_795_192,  # 2026-04-21
        )

    assert verified(rules).attestation is Attestation.APP
    with pytest.raises(EvidenceRefused) as refused:  # its category is 1, and not the App Store's
        verified(replace(rules, categories=frozenset({4})))
    assert refused.value.reason == "environment"


# --- Key Attestation ---------------------------------------------------------------------------------------------

SAMPLES: Final = sorted(
    str(one.relative_to(ANDROID)) for one in ANDROID.rglob("*.pem") if one.with_suffix(".json").exists()
)
VALID_AT: Final = {"akita": 1_727_300_000, "caiman": 1_759_000_000}
"""The time at which the chains of remote provisioning of these phones were valid. The chains of the factory verify
now."""
NOW: Final = 1_795_000_000  # November 2026

SIGNS: Final = [
    "blueline/sdk28/TEE_EC_NONE",
    "caiman/sdk36/SB_EC_RKP",
    "sony-xperia10-iii/sdk33/TEE_EC",
    "tegu/sdk36/SB_EC_2026_ROOT",
]


def test_there_are_twenty_one_chains() -> None:
    """The chains are of six phones of Google and one of Sony, with Android 9 to 17."""
    assert len(SAMPLES) == 21


@pytest.mark.parametrize("name", SAMPLES)
def test_the_description_of_every_real_chain_is_read_as_its_json_says(name: str) -> None:
    """The JSON is the output of Google's own parser."""
    said = said_of(name.removesuffix(".pem"))
    leaf = x509.load_pem_x509_certificates(text(name).encode())[0]
    extension = extension_of(leaf, OID)
    assert extension is not None
    read = read_key_description(extension)
    levels = {"SOFTWARE": 0, "TRUSTED_ENVIRONMENT": 1, "STRONG_BOX": 2}
    lower = min(levels[said["attestationSecurityLevel"]], levels[said["keyMintSecurityLevel"]])
    hardware, software = said["hardwareEnforced"], said["softwareEnforced"]
    assert read.level == lower
    assert read.challenge == b64decode(said["attestationChallenge"])
    assert read.purposes == {int(one) for one in hardware.get("purposes", [])}
    assert read.algorithm == (int(hardware["algorithms"]) if "algorithms" in hardware else None)
    assert read.origin == ({"GENERATED": 0, "IMPORTED": 2}[hardware["origin"]] if "origin" in hardware else None)
    assert read.all_applications == bool(hardware.get("allApplications") or software.get("allApplications"))
    _compare_root_of_trust(read.root_of_trust, hardware.get("rootOfTrust"))
    application = software.get("attestationApplicationId", {})
    assert list(read.packages) == [one["name"] for one in application.get("packages", [])]
    assert list(read.digests) == [b64decode(one) for one in application.get("signatures", [])]


def _compare_root_of_trust(read: Any, said: Any) -> None:
    if said is None:
        assert read is None
        return
    states = {"VERIFIED": 0, "SELF_SIGNED": 1, "UNVERIFIED": 2, "FAILED": 3}
    stated = (b64decode(said["verifiedBootKey"]), said["deviceLocked"], states[said["verifiedBootState"]])
    assert (read.key, read.locked, read.state) == stated


def verify(name: str, *, now: int, **changes: Any) -> Accepted:
    """Verify a real chain against its own key, app and device facts."""
    certificates = x509.load_pem_x509_certificates(text(f"{name}.pem").encode())
    extension = extension_of(certificates[0], OID)
    assert extension is not None
    read = read_key_description(extension)
    rules = AndroidRules(dict.fromkeys(read.packages, read.digests))
    return verify_key_attestation(
        [one.public_bytes(Encoding.DER) for one in certificates],
        challenge=read.challenge,
        thumbprint=thumbprint_of(certificates[0]),
        rules=replace(rules, **changes),
        revoked=frozenset(),
        anchors=google_roots(),
        now=now,
    )


def thumbprint_of(certificate: x509.Certificate) -> bytes:
    """Return the thumbprint of the P-256 key of a certificate, or zeros if its key is of another kind."""
    point = point_of(certificate)
    return PublicKey("P-256", bytes([2 + point[-1] % 2]) + point[1:33]).thumbprint if point else bytes(32)


def valid_at(name: str) -> int:
    """Return a time at which the chain was valid: for remote provisioning its certificates live for two weeks."""
    certificates = x509.load_pem_x509_certificates(text(f"{name}.pem").encode())
    return int(max(one.not_valid_before_utc for one in certificates[1:]).timestamp()) + DAY_S


@pytest.mark.parametrize("name", SIGNS)
def test_real_chains_verify_up_to_the_pinned_roots(name: str) -> None:
    """A phone whose owner unlocked the boot loader is refused, but only for this reason."""
    trusted = _trust(name)
    if trusted:
        assert verify(name, now=valid_at(name)).attestation >= Attestation.TEE
        return
    with pytest.raises(EvidenceRefused) as refused:
        verify(name, now=valid_at(name))
    assert refused.value.reason == "device"


def _trust(name: str) -> bool:
    trust = said_of(name)["hardwareEnforced"]["rootOfTrust"]
    return bool(trust["deviceLocked"] and trust["verifiedBootState"] == "VERIFIED")


def test_old_chains_of_the_factory_verify_and_old_remote_ones_do_not() -> None:
    """The certificates of both kinds have expired. Only those of the factory may be expired."""
    for name in ("blueline/sdk28/TEE_EC_NONE", "sony-xperia10-iii/sdk33/TEE_EC"):
        try:
            verify(name, now=NOW)
        except EvidenceRefused as refused:
            assert refused.reason == "device", "the chain is right"  # noqa: PT017 - either outcome
    with pytest.raises(EvidenceRefused) as expired:
        verify("caiman/sdk36/SB_EC_RKP", now=NOW)
    assert expired.value.reason == "chain"


@pytest.mark.parametrize("name", ["marlin/sdk29/TEE_EC_NONE", "marlin/sdk29/TEE_RSA_NONE"])
def test_a_chain_of_a_software_authority_is_refused(name: str) -> None:
    """The private key of its root is public, so anyone can make such a chain."""
    with pytest.raises(EvidenceRefused) as refused:
        verify(name, now=NOW)
    assert refused.value.reason == "chain"


def test_a_malformed_boolean_is_refused_and_another_order_of_tags_is_not() -> None:
    """Google's own verifier refuses both descriptions. A real phone made the second one, so Baton reads it."""
    malformed = x509.load_pem_x509_certificates(text("invalid/malformed_rot_device_locked.pem").encode())[0]
    with pytest.raises(EvidenceRefused):
        read_key_description(extension_of(malformed, OID) or b"")
    ordered = x509.load_pem_x509_certificates(text("invalid/tags_not_in_ascending_order.pem").encode())[0]
    assert read_key_description(extension_of(ordered, OID) or b"").algorithm is not None
