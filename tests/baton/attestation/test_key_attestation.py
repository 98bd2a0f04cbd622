"""Key Attestation: each numbered check has a test with exactly one defect."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP384R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from msgspec.structs import replace

from chalicelib.baton.attestation.key_attestation import AndroidRules, verify_key_attestation
from chalicelib.baton.attestation.key_description import read_key_description
from chalicelib.baton.attestation.rules import CLOCK_S, Accepted, EvidenceRefused, revoked_digest
from chalicelib.baton.lineages.model import Attestation
from chalicelib.baton.testing.attesters.android import BOOT_KEY, DAY_S, STRONGBOX, TEE, Android, described
from chalicelib.baton.testing.attesters.certificates import der, der_integer, der_of, name_of, new_key, tagged
from chalicelib.baton.testing.phone import public_key

NOW: Final = 1_790_000_000
CHALLENGE: Final = b"a challenge"
PACKAGE: Final = "com.example.app"
CERTIFICATE: Final = bytes(range(32))
RULES: Final = AndroidRules({PACKAGE: (CERTIFICATE,)})
GOOGLE: Final = Android(now=NOW)
KEY: Final = new_key()

NOTHING: Final = frozenset[bytes]()


def description(**knobs: Any) -> bytes:
    """Make a key description that is right, except for the given parameters."""
    return described(CHALLENGE, package=PACKAGE, certificate=CERTIFICATE, **knobs)


def chain(description_: bytes | None = None, **knobs: Any) -> list[bytes]:
    """Make a chain for the device key."""
    return GOOGLE.chain(KEY.public_key(), description() if description_ is None else description_, **knobs)


def verify(
    made: list[bytes],
    *,
    rules: AndroidRules = RULES,
    revoked: frozenset[bytes] = NOTHING,
    anchors: tuple[x509.Certificate, ...] = (GOOGLE.root,),
    device_key: EllipticCurvePrivateKey = KEY,
    challenge: bytes = CHALLENGE,
    now: int = NOW,
) -> Accepted:
    """Verify a chain with the root of this run."""
    return verify_key_attestation(
        made,
        challenge=challenge,
        thumbprint=public_key(device_key).thumbprint,
        rules=rules,
        revoked=revoked,
        anchors=anchors,
        now=now,
    )


def refusal(run: Callable[[], object]) -> str:
    """Return the reason of the refusal."""
    with pytest.raises(EvidenceRefused) as refused:
        run()
    return refused.value.reason


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("with_root", [True, False])
def test_both_layouts_are_accepted_with_and_without_the_root(*, remote: bool, with_root: bool) -> None:
    """Checks 1 and 2: three certificates of the factory, or four of remote provisioning. New phones omit the root."""
    made = chain(remote=remote, with_root=with_root)
    assert len(made) == 3 + remote + with_root
    accepted = verify(made)
    assert accepted == Accepted(attestation=Attestation.TEE, app=PACKAGE, serials=accepted.serials)
    assert len(accepted.serials) == 3 + remote


def test_of_a_root_the_key_counts() -> None:
    """A root certificate is accepted for its key, even if it has expired: phones send such certificates.

    A root with another key and the same name is refused.
    """
    old = der_of(GOOGLE.root_certificate(ends_at=NOW - DAY_S))
    assert verify([*chain(with_root=False), old])
    forged = der_of(GOOGLE.root_certificate(key=new_key()))
    assert refusal(lambda: verify([*chain(with_root=False), forged])) == "chain"


def test_a_root_that_is_not_pinned_is_refused() -> None:
    """An attacker imitates the whole authority, with equal names."""
    other = Android(now=NOW)
    for with_root in (True, False):
        made = other.chain(KEY.public_key(), description(), with_root=with_root)
        assert refusal(lambda made=made: verify(made)) == "chain"  # type: ignore[misc]
    assert refusal(lambda: verify(chain(), anchors=())) == "chain"
    assert refusal(lambda: verify([])) == "chain"
    assert refusal(lambda: verify([der_of(GOOGLE.root)])) == "chain"


CHAINS: Final[dict[str, dict[str, Any]]] = {
    # 2. each is named and signed by the one above; exactly 3 or 4; the extension in the leaf alone
    "a leaf that another key signed": {"wrong_signer": 0},
    "an intermediate that another key signed": {"wrong_signer": 2},
    "a leaf that names another issuer": {"wrong_issuer": 0},
    "a top that names another issuer": {"wrong_issuer": 3},
    "made longer by one": {"between": 1},
    "made longer by two": {"between": 2},
    "a factory chain made longer by one": {"remote": False, "between": 1},
    "a factory chain made shorter by one": {"remote": False, "fewer": 1},
    "three certificates without a serial number": {"remote": True, "fewer": 1},
    "a factory chain whose top has no serial number": {"remote": False, "top_name": name_of(CN="TEE")},
    "four below another top": {"top_name": name_of(CN="Droid CA4", O="Google LLC")},
    "four below a top of another organisation": {"top_name": name_of(CN="Droid CA2", O="Example")},
    "four below a top without organisation": {"top_name": name_of(CN="Droid CA2")},
    "an issuer that is itself an attested key": {"described_at": (0, 1)},
    "a description in another certificate only": {"described_at": (1,)},
    "no description": {"described_at": ()},
    # 3. validity of remote provisioning
    "an expired certificate above the leaf": {"expired": 1},
    "an expired intermediate": {"expired": 2},
    "an expired top": {"expired": 3},
}


@pytest.mark.parametrize("defect", CHAINS)
def test_one_defect_of_the_chain_is_refused(defect: str) -> None:
    """The chain has one defect, and every other part is right."""
    assert refusal(lambda: verify(chain(**CHAINS[defect]))) == "chain"


def test_what_may_have_expired() -> None:
    """Check 3: an expired leaf and expired factory certificates are accepted.

    The phone sets the validity of the leaf, and factory keys cannot be replaced.
    """
    assert verify(chain(leaf_expired=True))
    for place in (0, 1, 2):
        assert verify(chain(remote=False, expired=place))


def test_a_clock_may_differ_by_five_minutes() -> None:
    """The tolerance is the same as for Apple."""
    made = chain()
    assert verify(made, now=NOW + DAY_S + CLOCK_S)
    assert refusal(lambda: verify(made, now=NOW + DAY_S + CLOCK_S + 1)) == "chain"


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_revoked_certificate_is_refused(place: int) -> None:
    """Check 3. Lists have serials in hex, lower case, without leading zeros."""
    made = chain(serials={place: 0x0ABCDEF0})
    assert verify(made, revoked=frozenset({revoked_digest("abcdef1")}))
    assert refusal(lambda: verify(made, revoked=frozenset({revoked_digest("abcdef0")}))) == "revoked"


DESCRIPTIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    # 4. the form
    "bytes after the description": ("chain", {"trailing": b"\0"}),
    "a tag twice": ("chain", {"more_hardware": tagged(503, der(0x05))}),
    "a boolean that DER does not have": ("chain", {"locked": b"\x01"}),
    "an authorization of another class": ("chain", {"more_hardware": der(0x02, b"\x01")}),
    "a security level of two bytes": ("chain", {"levels": (300, 300)}),
    "purposes that are no set": ("chain", {"hardware": {1: der_integer(2)}}),
    "an origin that is no number": ("chain", {"hardware": {702: der(0x04)}}),
    "an application that is no sequence": ("chain", {"application": b"\x04\x00"}),
    # 5. key
    "another algorithm": ("key", {"algorithm": 1}),
    "no algorithm": ("key", {"algorithm": None}),
    "an imported key": ("key", {"origin": 2}),
    "no origin": ("key", {"origin": None}),
    "a key that also decrypts": ("key", {"purposes": (1, 2)}),
    "a key that attests others": ("key", {"purposes": (7,)}),
    "a key that only verifies": ("key", {"purposes": (3,)}),
    "no purpose": ("key", {"purposes": ()}),
    "a key of every app": ("key", {"hardware": {600: der(0x05)}}),
    "a key of every app, says the software": ("key", {"software": {600: der(0x05)}}),
    # 5. security
    "made in software": ("security", {"levels": (0, 0)}),
    "attested in software": ("security", {"levels": (0, 1)}),
    "kept in software": ("security", {"levels": (1, 0)}),
    "an unknown level": ("security", {"levels": (3, 3)}),
    # 5. device
    "an unlocked boot loader": ("device", {"locked": b"\0"}),
    "a self-signed system": ("device", {"boot_state": 1}),
    "an unverified system": ("device", {"boot_state": 2}),
    "a failed boot": ("device", {"boot_state": 3}),
    "no root of trust": ("device", {"root_of_trust": False}),
    "a root of trust that the software states": ("device", {"root_of_trust": False, "root_in_software": True}),
    # 6. app
    "another package": ("app", {"packages": ["com.example.other"]}),
    "no package": ("app", {"packages": []}),
    "two packages": ("app", {"packages": [PACKAGE, "com.example.other"]}),
    "another certificate": ("app", {"certificates": [bytes(32)]}),
    "one more certificate": ("app", {"certificates": [CERTIFICATE, bytes(32)]}),
    "no certificate": ("app", {"certificates": []}),
}


@pytest.mark.parametrize("defect", DESCRIPTIONS)
@pytest.mark.parametrize("remote", [True, False])
def test_one_defect_of_the_description_is_refused_with_its_reason(defect: str, *, remote: bool) -> None:
    """The description has one defect, and every other part is right."""
    reason, knobs = DESCRIPTIONS[defect]
    assert refusal(lambda: verify(chain(description(**knobs), remote=remote))) == reason


def test_another_challenge_is_refused() -> None:
    """Check 5. The challenge names the client and the time."""
    assert refusal(lambda: verify(chain(), challenge=b"another")) == "challenge"


def test_the_attested_key_must_be_the_key_of_the_device() -> None:
    """Evidence of another device key, or of a P-384 key, is refused."""
    assert refusal(lambda: verify(chain(), device_key=new_key())) == "key"
    made = GOOGLE.chain(generate_private_key(SECP384R1()).public_key(), description())
    assert refusal(lambda: verify(made)) == "key"


def test_a_level_above_the_required_one_is_accepted() -> None:
    """The lower of the two security levels is compared."""
    strongbox = replace(RULES, security=Attestation.STRONGBOX)
    best = chain(description(levels=(STRONGBOX, STRONGBOX)))
    assert verify(best).attestation is verify(best, rules=strongbox).attestation is Attestation.STRONGBOX
    for levels in ((TEE, STRONGBOX), (STRONGBOX, TEE), (TEE, TEE)):
        made = chain(description(levels=levels))
        assert verify(made).attestation is Attestation.TEE
        assert refusal(lambda made=made: verify(made, rules=strongbox)) == "security"  # type: ignore[misc]


def test_a_system_of_another_maker_needs_its_boot_key() -> None:
    """GrapheneOS boots as self-signed. Its key must be in the list, and its boot loader must be locked."""
    listed = replace(RULES, boot_keys=(BOOT_KEY,))
    assert verify(chain(description(boot_state=1)), rules=listed)
    assert refusal(lambda: verify(chain(description(boot_state=1, boot_key=bytes(32))), rules=listed)) == "device"
    assert refusal(lambda: verify(chain(description(boot_state=1, locked=b"\0")), rules=listed)) == "device"
    assert refusal(lambda: verify(chain(description(boot_state=2)), rules=listed)) == "device"


def test_the_order_of_tags_and_sets_does_not_matter() -> None:
    """Check 4. Real phones have both: the set {3, 2}, and a tag after a higher tag."""
    assert verify(chain(description(purposes=(3, 2))))
    assert verify(chain(description(purposes=(2, 3))))
    two = replace(RULES, packages={PACKAGE: (CERTIFICATE, bytes(32))})
    for certificates in ([CERTIFICATE, bytes(32)], [bytes(32), CERTIFICATE]):
        assert verify(chain(description(certificates=certificates)), rules=two)
    assert verify(chain(description(more_hardware=tagged(5, der(0x31)))))


def test_a_description_of_many_bytes_is_read() -> None:
    """The test uses DER lengths of one, two and three bytes."""
    for count in (1, 5, 200):
        read = read_key_description(description(packages=[f"com.example.app{number}" for number in range(count)]))
        assert len(read.packages) == count
