"""Public keys have one spelling each. Weak and invalid keys are refused."""

import json
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.public_key import ES256, PublicKey
from chalicelib.baton.keys.refusals import InvalidKey

P256_KEY = ec.derive_private_key(0xBA70, ec.SECP256R1())
P256_RAW = P256_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
P256 = PublicKey.from_raw(P256_RAW)
ED25519_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ED25519_RAW = ED25519_KEY.public_key().public_bytes_raw()
ED25519 = PublicKey.from_raw(ED25519_RAW)

P256_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_P = 2**255 - 19
ED25519_L = 2**252 + 27742317777372353535851937790883648493
Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SIGN_BIT = 1 << 255


def raw_signature(message: bytes) -> bytes:
    """Sign with the P-256 key, with raw r and s."""
    r, s = decode_dss_signature(P256_KEY.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def flipped(value: bytes, bit: int) -> bytes:
    """Flip one bit."""
    return (int.from_bytes(value, "big") ^ (1 << bit)).to_bytes(len(value), "big")


@pytest.mark.parametrize("key", [P256, ED25519], ids=lambda key: key.curve)
def test_a_key_can_be_read_from_both_of_its_forms(key: PublicKey) -> None:
    """JWK and raw bytes give the same key. Additional members of the JWK do not change it."""
    assert PublicKey.from_raw(key.raw) == key
    assert PublicKey.from_jwk(key.to_jwk()) == key
    more = {"kid": "mine", "use": "sig", "alg": "any", "key_ops": ["verify"], "ext": True}
    assert PublicKey.from_jwk({**more, **key.to_jwk()}) == key


@pytest.mark.parametrize("key", [P256, ED25519], ids=lambda key: key.curve)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iat", 1),
        ("exp", 1_800_000_000),
        ("nbf", 0),
        ("use", "enc"),
        ("kid", None),
        ("key_ops", ["sign"]),
        ("alg", 7),
        ("ext", False),
        ("x5c", []),
        ("x5t#S256", "abc"),
        ("x5u", "https://example.com/"),
        ("revoked", {"revoked_at": 1}),
        ("n", "AQAB"),
        ("D", "not d"),
        ("", ""),
    ],
)
def test_additional_members_of_a_jwk_are_ignored(key: PublicKey, name: str, value: object) -> None:
    """RFC 7517 section 4. Key and thumbprint stay the same."""
    assert PublicKey.from_jwk({**key.to_jwk(), name: value}) == key
    assert PublicKey.from_jwk({name: value, **key.to_jwk()}).keyid == key.keyid


def test_an_ed25519_key_has_no_y_and_ignores_one() -> None:
    """RFC 8037 section 2 defines only x, so y is an ordinary additional member."""
    assert PublicKey.from_jwk({**ED25519.to_jwk(), "y": "anything"}) == ED25519


@pytest.mark.parametrize("key", [P256, ED25519], ids=lambda key: key.curve)
@pytest.mark.parametrize("name", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
@pytest.mark.parametrize("value", ["AAAA", None, "", 7])
def test_a_private_member_is_refused_by_its_name(key: PublicKey, name: str, value: object) -> None:
    """RFC 7518 section 6. Its value does not matter: ignoring it would hide that a private key has left its device."""
    with pytest.raises(InvalidKey) as refused:
        PublicKey.from_jwk({**key.to_jwk(), name: value})
    assert refused.value.members["field"] == name
    assert f"`{name}` is part of a private key" in str(refused.value.members["detail"])
    assert refused.value.reason == "a private member"


@given(st.integers(1, P256_N - 1))
def test_every_p256_key_can_be_read_from_both_of_its_forms(secret: int) -> None:
    """The parity of y and leading zeros of x and y do not matter."""
    numbers = ec.derive_private_key(secret, ec.SECP256R1()).public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    key = PublicKey.from_jwk({"kty": "EC", "crv": "P-256", "x": encode_base64url(x), "y": encode_base64url(y)})
    assert key.raw == bytes([2 + numbers.y % 2]) + x
    assert PublicKey.from_jwk(key.to_jwk()) == PublicKey.from_raw(key.raw) == key


@given(st.binary(min_size=32, max_size=32))
def test_every_ed25519_key_can_be_read_from_both_of_its_forms(seed: bytes) -> None:
    """No key that a correct device makes is refused."""
    key = PublicKey.from_raw(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
    assert PublicKey.from_jwk(key.to_jwk()) == key


@pytest.mark.parametrize("key", [P256, ED25519], ids=lambda key: key.curve)
def test_the_keyid_is_the_thumbprint_in_base64url(key: PublicKey) -> None:
    """`keyid` of signatures and `jkt` of tokens are the same string of 43 characters."""
    assert len(key.thumbprint) == 32
    assert decode_base64url(key.keyid) == key.thumbprint
    assert len(key.keyid) == 43
    assert P256.keyid != ED25519.keyid


def test_a_signature_verifies_only_under_its_own_key() -> None:
    """Each key verifies its own signature over its own message. No other combination verifies."""
    signatures = {P256: raw_signature(b"message"), ED25519: ED25519_KEY.sign(b"message")}
    for key in signatures:
        for signer, signature in signatures.items():
            assert key.verifies(signature, b"message") == (key == signer)
            assert not key.verifies(signature, b"massage")


@pytest.mark.parametrize("key", [P256, ED25519], ids=lambda key: key.curve)
def test_a_change_of_one_bit_of_a_signature_is_refused(key: PublicKey) -> None:
    """Each of the 512 bits is tested."""
    signature = raw_signature(b"message") if key == P256 else ED25519_KEY.sign(b"message")
    assert key.verifies(signature, b"message")
    assert not any(key.verifies(flipped(signature, bit), b"message") for bit in range(512))


@pytest.mark.parametrize("key", [P256, ED25519], ids=lambda key: key.curve)
def test_a_signature_is_64_bytes(key: PublicKey) -> None:
    """A shorter or longer value, or DER, is refused."""
    signature = raw_signature(b"message") if key == P256 else ED25519_KEY.sign(b"message")
    for other in (b"", signature[:-1], signature + b"\0", b"\0" + signature, signature[:32]):
        assert not key.verifies(other, b"message")
    assert not P256.verifies(P256_KEY.sign(b"message", ec.ECDSA(hashes.SHA256())), b"message")


def test_padding_inside_a_p256_signature_is_refused() -> None:
    """Halves of another length than 32 bytes are refused, even if the integers are correct."""
    signature = raw_signature(b"message")
    assert not P256.verifies(signature[:32] + b"\0" + signature[32:], b"message")
    assert not P256.verifies(b"\0" + signature[:32] + b"\0" + signature[32:], b"message")


def test_psychic_signatures_are_refused() -> None:
    """CVE-2022-21449: a signature whose r or s is zero, or not below the order, never verifies."""
    edges = (0, P256_N, P256_N + 1, P256_P, 2**256 - 1)
    r, s = (int.from_bytes(half, "big") for half in (raw_signature(b"m")[:32], raw_signature(b"m")[32:]))
    for first in (*edges, r, 1):
        for second in (*edges, s, 1):
            forged = first.to_bytes(32, "big") + second.to_bytes(32, "big")
            assert not P256.verifies(forged, b"message")


def test_the_second_form_of_an_ed25519_signature_is_refused() -> None:
    """S plus the order is the same number for a verifier without this check (RFC 8032 section 5.1.7)."""
    signature = ED25519_KEY.sign(b"message")
    s = int.from_bytes(signature[32:], "little") + ED25519_L
    assert not ED25519.verifies(signature[:32] + s.to_bytes(32, "little"), b"message")


def test_ed25519_keys_of_small_order_are_refused() -> None:
    """Every attacker can sign under such a key, and OpenSSL accepts it.

    The eight points are tested in each spelling.
    """
    forged = bytes([1]) + bytes(63)  # R is the neutral point, S is zero
    forgeable = 0
    for y in (0, 1, ED25519_P - 1, Y_OF_ORDER_8, ED25519_P - Y_OF_ORDER_8):
        spellings = {y, y + ED25519_P} if y + ED25519_P < SIGN_BIT else {y}
        for spelling in sorted(spellings | {spelling | SIGN_BIT for spelling in spellings}):
            raw = spelling.to_bytes(32, "little")
            forgeable += any(openssl_verifies(raw, forged, b"%d" % number) for number in range(64))
            with pytest.raises(InvalidKey):
                PublicKey.from_raw(raw)
            with pytest.raises(InvalidKey):
                PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(raw)})
            with pytest.raises(InvalidKey):
                PublicKey("Ed25519", raw)
    assert forgeable >= 8  # the reason for the check: if this fails, OpenSSL has its own check


def openssl_verifies(raw: bytes, signature: bytes, message: bytes) -> bool:
    """Verify with only the library."""
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_ed25519_keys_have_one_spelling() -> None:
    """A y that is not below the field's prime is refused."""
    for y in range(ED25519_P, 2**255):
        for spelling in (y, y | SIGN_BIT):
            with pytest.raises(InvalidKey):
                PublicKey.from_raw(spelling.to_bytes(32, "little"))


def test_a_new_ed25519_key_must_be_on_the_curve() -> None:
    """No point has y = 2.

    Only the key of a login request is checked. With such a key, OpenSSL verifies no signature.
    """
    for y in (2, 2 | SIGN_BIT):
        key = PublicKey.from_raw(y.to_bytes(32, "little"))
        with pytest.raises(InvalidKey):
            key.check_point()
        assert not any(key.verifies(bytes([1]) + bytes(63), b"%d" % number) for number in range(64))
    for key in (ED25519, P256):
        key.check_point()


def was_accepted(raw: bytes) -> bool:
    """Check an Ed25519 key with Euler's criterion for x squared, without a list of the points of small order."""
    y = int.from_bytes(raw, "little") & (SIGN_BIT - 1)
    d = -121665 * pow(121666, -1, ED25519_P) % ED25519_P
    of_order_4_and_8 = {0, Y_OF_ORDER_8, ED25519_P - Y_OF_ORDER_8}
    euler = pow((y * y - 1) * (d * y * y + 1), (ED25519_P - 1) // 2, ED25519_P)
    return y < ED25519_P and y not in of_order_4_and_8 and euler == 1


def is_accepted(raw: bytes) -> bool:
    """Check a key as a new key of a device."""
    try:
        PublicKey.from_raw(raw).check_point()
    except InvalidKey:
        return False
    return True


def test_both_checks_accept_the_same_ed25519_keys() -> None:
    """4,000 real keys pass without Euler's criterion.

    Random bytes and special encodings are compared with ``check_point``.
    """
    drawn = Random(8032)
    for _ in range(4000):
        raw = Ed25519PrivateKey.from_private_bytes(drawn.randbytes(32)).public_key().public_bytes_raw()
        assert was_accepted(raw)
        assert PublicKey.from_raw(raw).raw == raw
    small = [0, 1, ED25519_P - 1, Y_OF_ORDER_8, ED25519_P - Y_OF_ORDER_8]
    special = {y + step for y in (*small, *range(ED25519_P, SIGN_BIT)) for step in (-1, 0, 1)}
    encodings = [y | sign for y in special if 0 <= y < SIGN_BIT for sign in (0, SIGN_BIT)]
    random = [drawn.getrandbits(256) for _ in range(1000)]
    verdicts: Counter[bool] = Counter()
    for y in encodings + random:
        raw = y.to_bytes(32, "little")
        assert is_accepted(raw) == was_accepted(raw), raw.hex()
        verdicts[is_accepted(raw)] += 1
    assert min(verdicts[True], verdicts[False]) > 400


def test_p256_points_off_the_curve_are_refused() -> None:
    """Invalid-curve points are refused: y must belong to x."""
    jwk = P256.to_jwk()
    y = int.from_bytes(decode_base64url(jwk["y"]), "big")
    for other in (y ^ 1, y ^ 2, y - 1, 0, 1, P256_P, 2**256 - 1):
        with pytest.raises(InvalidKey):
            PublicKey.from_jwk({**jwk, "y": encode_base64url(other.to_bytes(32, "big"))})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",  # the point at infinity (SEC 1 section 2.3.3)
        b"\2" + (P256_P + 5).to_bytes(32, "big"),  # 5 is on the curve: a second spelling
        b"\2" + P256_P.to_bytes(32, "big"),
        b"\2" + b"\xff" * 32,
        b"\2" + (1).to_bytes(32, "big"),  # no point has this x
        b"\4" + P256_RAW[1:],
        b"\5" + P256_RAW[1:],
        b"\0" + P256_RAW[1:],
        P256_RAW[:-2],
        P256_RAW + b"\0",
        P256_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        ED25519_RAW[:-1],
        b"\0" + ED25519_RAW,
    ],
    ids=lambda raw: raw.hex()[:12] or "empty",
)
def test_invalid_raw_bytes_are_refused(raw: bytes) -> None:
    """The bytes have another length, another prefix, the point at infinity, or an x without a point."""
    with pytest.raises(InvalidKey):
        PublicKey.from_raw(raw)


def test_a_curve_refuses_the_bytes_of_another_curve() -> None:
    """The constructor compares the bytes with the curve."""
    uncompressed = P256_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    with pytest.raises(InvalidKey):
        PublicKey("P-256", ED25519_RAW)
    with pytest.raises(InvalidKey):
        PublicKey("P-256", uncompressed)
    with pytest.raises(InvalidKey):
        PublicKey("Ed25519", P256_RAW)


EC: Mapping[str, Any] = P256.to_jwk()
OKP: Mapping[str, Any] = ED25519.to_jwk()


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        {**EC, "kty": "RSA"},
        {**EC, "kty": "ec"},
        {**EC, "kty": None},
        {**EC, "kty": ["EC"]},
        {**EC, "kty": "OKP"},
        {**OKP, "kty": "EC"},
        {**EC, "crv": "P-384"},
        {**EC, "crv": "Ed25519"},
        {**EC, "crv": None},
        {**EC, "crv": ["P-256"]},
        {**OKP, "crv": "P-256"},
        {**OKP, "crv": "X25519"},
        {**OKP, "crv": "Ed448"},
        {**EC, "d": EC["x"]},
        {**OKP, "d": OKP["x"]},
        {**EC, "k": "secret"},
        {"kty": "oct", "k": EC["x"]},
        *({name: value for name, value in EC.items() if name != missing} for missing in EC),
        *({name: value for name, value in OKP.items() if name != missing} for missing in OKP),
    ],
    ids=lambda jwk: json.dumps(jwk)[:60],
)
def test_other_jwks_are_refused(jwk: Mapping[str, object]) -> None:
    """The refused keys have other types and curves, have private members, or lack members."""
    with pytest.raises(InvalidKey):
        PublicKey.from_jwk(jwk)


@pytest.mark.parametrize("name", ["x", "y"])
@pytest.mark.parametrize(
    "respell",
    [
        lambda x: x + "=",
        lambda x: x[:-1],
        lambda x: x + "A",
        lambda x: "AA" + x,
        lambda x: x[:-1] + chr(ord(x[-1]) + 1),  # the same bytes with stray trailing bits
        lambda x: x.replace("-", "+").replace("_", "/") + " ",
        lambda x: " " + x,
        lambda x: x + "\n",
        lambda x: x.encode(),
        lambda x: int.from_bytes(x.encode(), "big"),
        lambda _: "",
        lambda _: None,
        lambda _: ["x"],
        lambda _: "\N{LATIN SMALL LETTER E WITH ACUTE}" * 43,
        lambda _: "\ud800" * 43,
    ],
)
def test_coordinates_have_one_spelling(name: str, respell: Any) -> None:
    """A coordinate is base64url of 32 bytes without padding and stray bits.

    A second spelling would be a second thumbprint.
    """
    with pytest.raises(InvalidKey):
        PublicKey.from_jwk({**EC, name: respell(EC[name])})
    if name == "x":
        with pytest.raises(InvalidKey):
            PublicKey.from_jwk({**OKP, name: respell(OKP[name])})


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
COORDINATES = st.binary(min_size=31, max_size=33).map(encode_base64url) | JSON_VALUES


@given(
    st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=6)
    | st.fixed_dictionaries(
        {"kty": st.sampled_from(["EC", "OKP"]) | JSON_VALUES},
        optional={
            "crv": st.sampled_from(["P-256", "Ed25519"]) | JSON_VALUES,
            "x": COORDINATES,
            "y": COORDINATES,
            "kid": JSON_VALUES,
        },
    )
)
def test_any_jwk_gives_a_key_or_a_refusal(jwk: Mapping[str, object]) -> None:
    """For any object the result is a key or `InvalidKey`. The key is the same in all its forms."""
    try:
        key = PublicKey.from_jwk(jwk)
    except InvalidKey:
        return
    assert PublicKey.from_raw(key.raw) == key
    assert key.to_jwk().items() <= jwk.items()


@given(st.binary(max_size=70) | st.binary(min_size=32, max_size=33), st.binary(max_size=70), st.binary(max_size=20))
def test_any_bytes_give_a_key_or_a_refusal(raw: bytes, signature: bytes, message: bytes) -> None:
    """For any bytes the result is a key or `InvalidKey`. A random signature does not verify under it."""
    try:
        key = PublicKey.from_raw(raw)
    except InvalidKey:
        return
    assert key.raw == raw
    assert not key.verifies(signature, message)
    assert not key.verifies((signature * 64 + bytes(64))[:64], message)


@given(st.binary(max_size=40))
def test_base64url_has_one_spelling_for_each_value(value: bytes) -> None:
    """An encoded value decodes to itself. There is no padding."""
    text = encode_base64url(value)
    assert "=" not in text
    assert decode_base64url(text) == value


@given(st.text(max_size=20) | st.text("ABCDEFabcdef-_+/= \n", max_size=20))
def test_base64url_decodes_only_the_canonical_spelling(text: str) -> None:
    """Any other text is a `ValueError`."""
    try:
        value = decode_base64url(text)
    except ValueError:
        return
    assert encode_base64url(value) == text


def test_es256_is_deterministic() -> None:
    """RFC 6979: a repeated exchange gets the same child. Verification does not depend on it."""
    assert P256_KEY.sign(b"a token", ES256) == P256_KEY.sign(b"a token", ES256)
