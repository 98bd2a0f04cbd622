"""A refusal that misled a newcomer says exactly what to change: docs/baton/wire.md, "Refusals"."""

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
    """Give a bound device that is logged in."""
    device = make_device()
    assert device.register("ada@example.com").status == 201
    return device


def tampered(phone: Device, field: str, old: str, new: str) -> Said:
    """Send a signed GET whose field is changed after signing."""

    def change(fields: dict[str, str]) -> None:
        assert old in fields[field]
        fields[field] = fields[field].replace(old, new, 1)

    return phone.get("/me", tamper=change)


def test_created_in_milliseconds_was_told_to_set_the_clock(phone: Device) -> None:
    """Setting the clock by ``server_time`` would not help: the unit is wrong."""
    said = phone.get("/me", created=phone.clock() * 1000)
    assert (said.status, said.code, said.members["action"]) == (401, "invalid_signature", "fix_request")
    assert said.members["detail"] == (
        "`created` is in seconds since the epoch. This value looks like milliseconds: divide it by 1000."
    )


def test_a_signature_without_its_tag_was_told_to_sign(phone: Device) -> None:
    """The very words of an unsigned request."""
    unsigned = phone.get("/me", tamper=lambda fields: [fields.pop(name) for name in ("signature", "signature-input")])
    for old, new in ((';tag="baton"', ""), (';tag="baton"', ';tag="other"')):
        said = tampered(phone, "signature-input", old, new)
        assert (said.status, said.code) == (401, "signature_required")
        assert 'Add `;tag="baton"`' in said.members["detail"]
        assert said.members["detail"] != unsigned.members["detail"]


def test_another_keyid_at_register_was_told_of_a_login_that_is_not_there(make_device: Callable[..., Device]) -> None:
    """The thumbprint that was expected, and how to compute it."""
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


def test_another_key_on_a_call_is_still_told_of_its_login(phone: Device, make_device: Callable[..., Device]) -> None:
    """There, a thumbprint would tell a thief what to look for."""
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
def test_a_malformed_field_is_told_where_and_how_to_write_it(phone: Device, field: str, value: str, at: str) -> None:
    """Not to compare a ``signature_base`` that is not sent."""
    said = phone.get("/me", tamper=lambda fields: fields.update({field: value}))
    assert (said.status, said.code) == (401, "invalid_signature")
    detail = said.members["detail"]
    assert at in detail
    assert f"`{'Signature' if field == 'signature' else 'Signature-Input'}`" in detail
    assert "Write it as `baton=" in detail
    assert "signature_base" not in detail
    assert "signature_base" not in said.members


def test_no_defect_speaks_of_a_member_that_is_not_sent(phone: Device) -> None:
    """Only where the value does not verify is there a base to compare."""
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


def test_a_second_exchange_signed_afresh_is_told_of_the_header_it_lacks(phone: Device) -> None:
    """Its nonce was the attempt, so that signing again made another one of it."""
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


def test_a_reused_token_with_its_header_is_told_the_usual(phone: Device) -> None:
    """That one did everything right, or is a thief."""
    first = str(phone.tokens["refresh_token"])
    phone.exchange()
    said = phone.exchange(first, attempt=secrets.token_urlsafe(16))
    assert said.members["error_description"] == (
        "This token was already exchanged with another attempt, so Baton ended the login. Log in again."
    )


def test_a_host_that_is_not_accepted_is_told_which_are(phone: Device) -> None:
    """On a developer's machine. In production, only that it is not."""
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
def test_a_coordinate_of_another_length_is_told_which(
    make_device: Callable[..., Device], member: str, value: Any, words: str
) -> None:
    """Some platforms drop leading zeros, others put a sign byte before."""
    device = make_device()
    said = device.post(
        "/register", device.entry("bob@example.com", public_key={**device.key.jwk(), member: value}), token=None
    )
    assert (said.status, said.code, said.members["field"]) == (422, "invalid_key", member)
    assert said.members["detail"] == words


def test_a_key_that_is_not_on_the_curve_is_refused_as_a_key(make_device: Callable[..., Device]) -> None:
    """Before the signature by it is verified: no Ed25519 point has y = 2."""
    device = make_device()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "Ag" + "A" * 41}
    said = device.post("/register", device.entry("bob@example.com", public_key=jwk), token=None)
    assert (said.status, said.code) == (422, "invalid_key")
