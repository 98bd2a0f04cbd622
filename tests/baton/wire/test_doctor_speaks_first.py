"""A refusal names exactly the part to change: docs/baton/wire.md, "Refusals". Each case once misled a developer."""

import hashlib
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from baton_client import DeviceKey
from chalicelib.baton.keys.base64url import encode_base64url
from tests.baton.wire.conversation import Device, Said


@pytest.fixture
def phone(make_device: Callable[..., Device]) -> Device:
    """Return a bound device that is logged in."""
    device = make_device()
    assert device.register("ada@example.com").status == 201
    return device


def tampered(phone: Device, field: str, old: str, new: str) -> Said:
    """Send a signed GET whose field is changed after signing."""

    def change(fields: dict[str, str]) -> None:
        assert old in fields[field]
        fields[field] = fields[field].replace(old, new, 1)

    return phone.get("/me", tamper=change)


def test_the_refusal_of_created_in_milliseconds_names_the_unit(phone: Device) -> None:
    """Correcting the clock by ``server_time`` would not help."""
    said = phone.get("/me", created=phone.clock() * 1000)
    assert (said.status, said.code, said.members["action"]) == (401, "invalid_signature", "fix_request")
    assert said.members["detail"] == (
        "`created` is in seconds since the epoch. This value looks like milliseconds: divide it by 1000."
    )


def test_the_refusal_of_a_signature_without_its_tag_says_to_add_the_tag(phone: Device) -> None:
    """Before the fix, it had the text for an unsigned request."""
    unsigned = phone.get("/me", tamper=lambda fields: [fields.pop(name) for name in ("signature", "signature-input")])
    for old, new in ((';tag="baton"', ""), (';tag="baton"', ';tag="other"')):
        said = tampered(phone, "signature-input", old, new)
        assert (said.status, said.code) == (401, "signature_required")
        assert 'Add `;tag="baton"`' in said.members["detail"]
        assert said.members["detail"] != unsigned.members["detail"]


def test_the_refusal_of_another_keyid_at_register_names_the_expected_thumbprint(
    make_device: Callable[..., Device],
) -> None:
    """The refusal also says how to compute it. Before the fix, it mentioned a login that did not exist."""
    device = make_device()
    other = DeviceKey.generate("p256")
    entry = device.entry("bob@example.com", public_key=other.jwk())
    said = device.post("/register", entry, token=None)
    assert (said.status, said.code) == (401, "wrong_key")
    assert said.members["detail"] == (
        f"`keyid` must be the JWK thumbprint (RFC 7638) of `device.public_key`: `{other.thumbprint()}`."
    )
    hashed = said.members["hint"].partition("of `")[2].partition("`")[0]
    assert encode_base64url(hashlib.sha256(hashed.encode()).digest()) == other.thumbprint()
    assert set(json.loads(hashed)) == {"crv", "kty", "x", "y"}


def test_the_refusal_of_another_key_on_a_call_names_no_thumbprint(
    phone: Device, make_device: Callable[..., Device]
) -> None:
    """A thumbprint would help a thief."""
    said = make_device().get("/me", token=phone.token)
    assert said.code == "wrong_key"
    assert phone.key.thumbprint() not in str(said.members)


@pytest.mark.parametrize(
    ("field", "value", "at"),
    [
        ("signature", "baton=abc", "at character 7: expected `:`"),
        ("signature", "baton=:abc", "at character 11"),
        ("signature", "baton=:a*c:", "at character 9"),
        ("signature", "MEUCIQDx", "at character 1"),
        ("signature", "baton=:YWJj: x", "at character 14"),
        ("signature", "bat\u00f6n=:YWJj:", "at character 4"),
        ("signature", "other=:YWJj:", "no member with the label `baton`"),
        ("signature", "", "no member with the label `baton`"),
        ("signature-input", 'baton=("@method","@path")', "at character 17"),
        ("signature-input", 'baton=("@method" "x', "at character 20"),
        ("signature-input", "baton=(@method)", "at character 9"),
    ],
)
def test_the_refusal_of_a_malformed_field_names_the_position_and_the_format(
    phone: Device, field: str, value: str, at: str
) -> None:
    """The refusal does not mention ``signature_base``, which is not sent."""
    said = phone.get("/me", tamper=lambda fields: fields.update({field: value}))
    assert (said.status, said.code) == (401, "invalid_signature")
    detail = said.members["detail"]
    assert at in detail
    assert f"`{'Signature' if field == 'signature' else 'Signature-Input'}`" in detail
    assert "Write it as `baton=" in detail
    assert "signature_base" not in detail
    assert "signature_base" not in said.members


def test_a_refusal_mentions_only_members_that_it_contains(phone: Device) -> None:
    """Only a value that does not verify has a base to compare."""
    for said in (
        tampered(phone, "signature-input", ";nonce=", ";nonsense="),
        tampered(phone, "signature-input", "created=", "created=x"),
        tampered(phone, "signature-input", '"@method"', '"@query"'),
        phone.get("/me", tamper=lambda fields: fields.pop("signature")),
        phone.get("/me", tamper=lambda fields: fields.pop("signature-input")),
        phone.get("/me", tamper=lambda fields: fields.update(host="evil.example")),
    ):
        assert said.code in {"invalid_signature", "insufficient_coverage"}, said
        for member in ("signature_base", "missing"):
            assert (f"`{member}`" in said.members["detail"]) <= (member in said.members), said
    said = phone.get("/me", tamper=lambda fields: fields.update(signature=f"baton=:{'A' * 86}==:"))
    assert "`signature_base`" in said.members["detail"]
    assert said.members["signature_base"]


def test_the_refusal_of_a_newly_signed_exchange_mentions_the_idempotency_key(phone: Device) -> None:
    """Without the header the nonce is the attempt, so a new signature is a new attempt."""
    first = str(phone.tokens["refresh_token"])

    def exchange(**headers: str) -> Said:
        form = f"grant_type=refresh_token&refresh_token={first}".encode()
        fields = {"content-type": "application/x-www-form-urlencoded", **headers}
        return phone.request("POST", "/oauth/token", form, fields, token=None)

    assert exchange().status == 200
    said = exchange()
    assert said.code == "token_reused"
    assert said.members["error_description"] == (
        "This token was used before with another attempt, so Baton ended the login. Log in again. To retry an "
        "exchange, send the same `Idempotency-Key` as the first time."
    )


def test_the_refusal_of_a_reused_token_with_its_header_gives_no_such_hint(phone: Device) -> None:
    """The client either made no mistake or is a thief."""
    first = str(phone.tokens["refresh_token"])
    phone.exchange()
    said = phone.exchange(first, attempt=secrets.token_urlsafe(16))
    assert said.members["error_description"] == (
        "This token was already exchanged with another attempt, so Baton ended the login. Log in again."
    )


def test_the_refusal_of_a_host_lists_the_accepted_hosts(phone: Device) -> None:
    """In production the list is omitted."""
    said = phone.get("/me", tamper=lambda fields: fields.update(host="10.0.0.7:8000"))
    assert said.members["detail"] == (
        "The host of this request is not accepted. Accepted hosts: `api.example.com`, `localhost:8000`. "
        "`BATON_AUTHORITIES` lists them."
    )


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("x", "AAAA", "`x` must be the base64url of 32 bytes, without padding. It has 3 bytes."),
        ("y", "A" * 44, "`y` must be the base64url of 32 bytes, without padding. It has 33 bytes."),
        ("y", "A" * 42 + "+", "`y` must be the base64url of 32 bytes, without padding."),
        ("x", 7, "`x` must be the base64url of 32 bytes, without padding."),
    ],
)
def test_the_refusal_of_a_coordinate_of_wrong_length_names_it(
    make_device: Callable[..., Device], member: str, value: Any, words: str
) -> None:
    """Some platforms drop leading zeros, others add a sign byte."""
    device = make_device()
    said = device.post(
        "/register", device.entry("bob@example.com", public_key={**device.key.jwk(), member: value}), token=None
    )
    assert (said.status, said.code, said.members["field"]) == (422, "invalid_key", member)
    assert said.members["detail"] == words


def test_a_point_that_is_not_on_the_curve_is_an_invalid_key(make_device: Callable[..., Device]) -> None:
    """The key is checked before the signature is verified. No Ed25519 point has y = 2."""
    device = make_device()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "Ag" + "A" * 41}
    said = device.post("/register", device.entry("bob@example.com", public_key=jwk), token=None)
    assert (said.status, said.code) == (422, "invalid_key")
