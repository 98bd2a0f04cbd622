"""App Attest: each numbered check has a test with exactly one defect."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.attestation.app_attest import verify_assertion, verify_attestation
from chalicelib.baton.attestation.rules import CLOCK_S, Accepted, AppleRules, EvidenceRefused, client_data
from chalicelib.baton.lineages.model import Attestation
from chalicelib.baton.testing.attesters.apple import DAY_S, Apple, AppleKey, assert_again
from chalicelib.baton.testing.attesters.certificates import cbor, der, new_key, point_of, tagged

NOW: Final = 1_790_000_000
APP: Final = "TEAM123456.com.example.app"
HASH: Final = sha256(client_data("mobile", "a challenge", "a thumbprint")).digest()
RULES: Final = AppleRules((APP,), frozenset({"production"}))
APPLE: Final = Apple(now=NOW)

CATEGORY: Final = "apple_validation_category_01"
VERSION: Final = "apple_bundle_version_01"
IOS_27: Final = {CATEGORY: (4).to_bytes(4, "little"), VERSION: "1.0"}


def verify(made: AppleKey, *, rules: AppleRules = RULES, now: int = NOW, client_data_hash: bytes = HASH) -> Accepted:
    """Verify an attestation with the root of this run."""
    return verify_attestation(
        made.attestation,
        key_id=made.key_id,
        client_data_hash=client_data_hash,
        rules=rules,
        anchor=APPLE.root,
        now=now,
    )


def refusal(run: Callable[[], object]) -> str:
    """Return the reason of the refusal."""
    with pytest.raises(EvidenceRefused) as refused:
        run()
    return refused.value.reason


def test_the_text_that_is_signed_names_client_challenge_and_device_key() -> None:
    """The text does not end with a line end. A phone computes the same bytes."""
    assert client_data("mobile", "c", "k") == b"baton-attest-v1\nmobile\nc\nk"


@pytest.mark.parametrize("extras", [None, IOS_27, {}, {"unknown": [1, {"x": b"y"}]}])
@pytest.mark.parametrize("flags", [0x00, 0x40, 0xC0, 0xFF])
def test_both_layouts_are_accepted_whatever_the_flags_say(extras: dict[str, Any] | None, flags: int) -> None:
    """Check 4: after the key there is nothing, or one map.

    Apple's sample has flag ED clear, and a device has it set.
    """
    made = APPLE.attest(APP, HASH, extras=extras, flags=flags)
    accepted = verify(made)
    assert accepted == Accepted(
        attestation=Attestation.APP,
        app=APP,
        serials=accepted.serials,
        apple_key=made.key_id,
        point=point_of(made.key),
    )
    assert len(accepted.serials) == 2


def test_an_app_in_development_is_accepted_where_the_client_permits_it() -> None:
    """The result shows that the app is in development."""
    made = APPLE.attest(APP, HASH, environment="development")
    both = replace(RULES, environments=frozenset({"production", "development"}))
    assert verify(made, rules=both).attestation is Attestation.APP_IN_DEVELOPMENT
    assert refusal(lambda: verify(made)) == "environment"
    assert (
        refusal(lambda: verify(APPLE.attest(APP, HASH), rules=replace(RULES, environments=frozenset())))
        == "environment"
    )


OTHER: Final = new_key()

DEFECTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    # 1. chain
    "another format": ("chain", {"members": {"fmt": "packed"}}),
    "a format that is no text": ("chain", {"members": {"fmt": 1}}),
    "no statement": ("chain", {"members": {"attStmt": []}}),
    "no certificates": ("chain", {"members": {"attStmt": {"x5c": b""}}}),
    "authenticator data of another type": ("chain", {"members": {"authData": "text"}}),
    "a leaf that another key signed": ("chain", {"signed_by": OTHER}),
    "an intermediate that is not an authority": ("chain", {"is_ca": False}),
    "a leaf of the future": ("chain", {"begins_at": NOW + CLOCK_S + 1}),
    "a leaf of the past": ("chain", {"ends_at": NOW - CLOCK_S - 1}),
    "an intermediate of the past": ("chain", {"intermediate_ends_at": NOW - CLOCK_S - 1}),
    "certificates that cannot be read": ("chain", {"chain": [b"\x30\x00", b""]}),
    # 2. challenge
    "a nonce of another request": ("challenge", {"nonce": bytes(32)}),
    "no nonce": ("challenge", {"nonce_extension": b""}),
    "a nonce under another tag": ("challenge", {"nonce_extension": der(0x30, tagged(2, der(0x04, bytes(32))))}),
    "bytes after the nonce": ("challenge", {"nonce_extension": der(0x30, tagged(1, der(0x04, bytes(32)))) + b"\0"}),
    # 3. key, app, environment, counter
    "a certificate of another key": ("key", {"certified": OTHER}),
    "another key id": ("key", {"key_id": bytes(32)}),
    "another credential id": ("key", {"credential_id": sha256(point_of(OTHER)).digest()}),
    "another key in the data": (
        "key",
        {"cose": {1: 2, 3: -7, -1: 1, -2: point_of(OTHER)[1:33], -3: point_of(OTHER)[33:]}},
    ),
    "a key of another kind": ("key", {"cose": {1: 3, 3: -257, -1: bytes(256), -2: b"\1\0\1"}}),
    "a key of another curve": ("key", {"cose": {1: 2, 3: -7, -1: 2, -2: bytes(32), -3: bytes(32)}}),
    "a key without y": ("key", {"cose": {1: 2, 3: -7, -1: 1, -2: bytes(32)}}),
    "an unknown environment": ("environment", {"environment": "appattestsandbox"}),
    "an environment without its zeros": ("environment", {"environment": "appattest\x01"}),
    "a counter that does not begin at zero": ("counter", {"counter": 1}),
    # 4. what follows
    "bytes that are no map": ("chain", {"extras": b"\x01"}),
    "two maps": ("chain", {"extras": cbor({}) + cbor({})}),
    "a map that ends too early": ("chain", {"extras": cbor(IOS_27)[:-1]}),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_one_defect_is_refused_with_its_reason(defect: str) -> None:
    """The object has one defect, and every other part is right."""
    reason, knobs = DEFECTS[defect]
    assert refusal(lambda: verify(APPLE.attest(APP, HASH, **knobs))) == reason


def test_a_genuine_object_of_another_app_is_refused() -> None:
    """The nonce covers the hash of the app id, so the hash cannot be replaced."""
    assert refusal(lambda: verify(APPLE.attest("TEAM123456.com.example.other", HASH))) == "app"
    assert refusal(lambda: verify(APPLE.attest(APP, HASH), rules=replace(RULES, app_ids=()))) == "app"


@pytest.mark.parametrize("count", [1, 3])
def test_a_chain_has_exactly_two_certificates(count: int) -> None:
    """A chain with one more certificate, and a chain with one less, are refused."""
    from chalicelib.baton.keys.cbor import read_cbor

    genuine: Any = read_cbor(APPLE.attest(APP, HASH).attestation)
    chain = genuine["attStmt"]["x5c"]
    made = APPLE.attest(APP, HASH, chain=[*chain, chain[1]][:count])
    assert refusal(lambda: verify(made)) == "chain"


def test_a_root_that_is_not_pinned_is_refused() -> None:
    """An attacker imitates the whole authority: every name is equal, and every signature verifies."""
    assert refusal(lambda: verify(Apple(now=NOW).attest(APP, HASH))) == "chain"


def test_the_evidence_of_another_device_key_client_or_challenge_is_refused() -> None:
    """The nonce binds the evidence to all three, so swapped evidence is refused."""
    for text in (
        client_data("mobile", "a challenge", "another thumbprint"),
        client_data("other", "a challenge", "a thumbprint"),
        client_data("mobile", "another challenge", "a thumbprint"),
    ):
        made = APPLE.attest(APP, sha256(text).digest())
        assert refusal(lambda made=made: verify(made)) == "challenge"  # type: ignore[misc]


def test_a_clock_may_differ_by_five_minutes() -> None:
    """A leaf is valid from five minutes before its first second until five minutes after its last second."""
    made = APPLE.attest(APP, HASH, begins_at=NOW, ends_at=NOW + DAY_S)
    for now in (NOW - CLOCK_S, NOW + DAY_S + CLOCK_S):
        assert verify(made, now=now)
    for now in (NOW - CLOCK_S - 1, NOW + DAY_S + CLOCK_S + 1):
        assert refusal(lambda now=now: verify(made, now=now)) == "chain"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("category", "accepted"),
    [
        ((4).to_bytes(4, "little"), True),
        ((2).to_bytes(4, "little"), False),
        ((4).to_bytes(4, "big"), False),
        (4, True),
        (b"\x02", True),
        ("2", True),
    ],
)
def test_a_configured_category_judges_only_a_category_that_is_there(category: object, *, accepted: bool) -> None:
    """A value of the wrong type counts as missing. The object of an older iOS has no category."""
    rules = replace(RULES, categories=frozenset({4}))
    made = APPLE.attest(APP, HASH, extras={CATEGORY: category})
    if accepted:
        assert verify(made, rules=rules)
    else:
        assert refusal(lambda: verify(made, rules=rules)) == "environment"
    assert verify(APPLE.attest(APP, HASH), rules=rules)


# --- Assertions --------------------------------------------------------------------------------------------------


def test_an_assertion_returns_its_counter_in_both_layouts() -> None:
    """Check 5. The bytes after byte 37 are as in an attestation."""
    made = APPLE.attest(APP, HASH)
    for counter, extras in ((1, b""), (7, cbor(IOS_27)), (2**32 - 1, cbor({}))):
        signed = assert_again(made.key, APP, HASH, counter=counter, extras=extras)
        assert verify_assertion(signed, point=point_of(made.key), app=APP, client_data_hash=HASH) == counter


ASSERTIONS: Final[dict[str, tuple[str, Callable[[Any], bytes]]]] = {
    "not CBOR": ("chain", lambda _: b"\xff"),
    "a signature that is no byte string": (
        "chain",
        lambda key: assert_again(key, APP, HASH, counter=1, members={"signature": 1}),
    ),
    "data that end too early": (
        "chain",
        lambda key: assert_again(key, APP, HASH, counter=1, members={"authenticatorData": bytes(36)}),
    ),
    "bytes that are no map": ("chain", lambda key: assert_again(key, APP, HASH, counter=1, extras=b"\x01")),
    "of another key": ("key", lambda _: assert_again(OTHER, APP, HASH, counter=1)),
    "of another text": ("key", lambda key: assert_again(key, APP, bytes(32), counter=1)),
    "a signature that is not DER": (
        "key",
        lambda key: assert_again(key, APP, HASH, counter=1, members={"signature": bytes(64)}),
    ),
    "of another app": ("app", lambda key: assert_again(key, "TEAM123456.com.example.other", HASH, counter=1)),
}


@pytest.mark.parametrize("defect", ASSERTIONS)
def test_one_defect_of_an_assertion_is_refused(defect: str) -> None:
    """The assertion has one defect, and every other part is right."""
    reason, make = ASSERTIONS[defect]
    key = new_key()
    made = make(key)
    run = lambda: verify_assertion(made, point=point_of(key), app=APP, client_data_hash=HASH)  # noqa: E731 - short
    assert refusal(run) == reason
