"""``Signature`` and ``Signature-Input`` are dictionaries.

All lines of a field count together, and one member is Baton's.
"""

import base64
from collections.abc import Callable

import pytest

from tests.baton.wire.conversation import HOST, Device, Said

THEIRS_INPUT = 'proxy=("@method");created=1700000000;keyid="proxy-key";tag="proxy"'
THEIRS = "proxy=:" + base64.b64encode(b"x" * 64).decode() + ":"


@pytest.fixture
def phone(make_device: Callable[..., Device]) -> Device:
    """Return a bound device that is logged in."""
    device = make_device()
    assert device.register("ada@example.com").status == 201
    return device


def with_lines(
    phone: Device, lines: Callable[[str, str], list[tuple[str, str]]], method: str = "GET", path: str = "/me"
) -> Said:
    """Send a signed request with these lines as its two fields."""
    fields: dict[str, str] = {}
    kept = phone.send

    def keep(_: str, __: str, headers: list[tuple[str, str]], ___: bytes) -> Said:
        fields.update(headers)
        return Said(0, {}, b"")

    phone.send = keep
    phone.request(method, path)
    phone.send = kept
    signature_input, signature = fields.pop("signature-input"), fields.pop("signature")
    return phone.send(method, f"/api{path}", [*fields.items(), *lines(signature_input, signature)], b"")


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("names", [("Signature-Input", "Signature"), ("signature-input", "SIGNATURE")])
def test_the_signature_line_of_a_proxy_is_accepted(phone: Device, names: tuple[str, str], order: int) -> None:
    """RFC 9651 section 4.2: lines are combined in order. The names may have the same or different letter case."""

    def lines(signature_input: str, signature: str) -> list[tuple[str, str]]:
        ours = [("signature-input", signature_input), ("signature", signature)]
        theirs = [(names[0], THEIRS_INPUT), (names[1], THEIRS)]
        return [line for lines in (theirs, ours)[::order] for line in lines]

    assert with_lines(phone, lines).status == 200
    assert with_lines(phone, lines, "POST", "/logout").status == 204


def test_an_empty_line_is_ignored(phone: Device) -> None:
    """A line without a member adds nothing."""

    def lines(signature_input: str, signature: str) -> list[tuple[str, str]]:
        empty = [("signature-input", ""), ("signature", " ")]
        return [*empty, ("signature-input", signature_input), ("signature", signature), *empty]

    assert with_lines(phone, lines).status == 200


def test_two_signatures_with_batons_tag_are_refused_on_two_lines_too(phone: Device) -> None:
    """Exactly one such signature is allowed, so that the meaning is never ambiguous."""

    def lines(signature_input: str, signature: str) -> list[tuple[str, str]]:
        again = [("signature-input", f"x{signature_input}"), ("signature", f"x{signature}")]
        return [("signature-input", signature_input), ("signature", signature), *again]

    said = with_lines(phone, lines)
    assert (said.status, said.code) == (401, "invalid_signature")
    assert said.members["detail"] == 'Two signatures have the tag "baton". Send exactly one.'


@pytest.mark.parametrize("field", ["signature", "signature-input"])
def test_a_repeated_label_is_refused(phone: Device, field: str) -> None:
    """In RFC 9651 the last value counts. A proxy that reads the first value would see another signature."""

    def lines(signature_input: str, signature: str) -> list[tuple[str, str]]:
        sent = [("signature-input", signature_input), ("signature", signature)]
        return [*sent, *(line for line in sent if line[0] == field)]

    said = with_lines(phone, lines)
    assert (said.status, said.code) == (401, "invalid_signature")
    assert "a duplicate key" in said.members["detail"]


def test_the_size_limit_holds_for_all_lines_together(phone: Device) -> None:
    """The limit is 8,192 characters, in any number of lines."""

    def lines(signature_input: str, signature: str) -> list[tuple[str, str]]:
        sent = [("signature-input", signature_input), ("signature", signature)]
        return [*sent, *(("signature", f"a{number}=:{'A' * 1020}:") for number in range(8))]

    assert with_lines(phone, lines).code == "too_large"


@pytest.mark.parametrize("field", ["authorization", "baton-grant", "content-digest", "dpop", "host", "idempotency-key"])
def test_every_other_security_field_may_occur_once(phone: Device, field: str) -> None:
    """Two values would be ambiguous."""
    said = phone.send("GET", "/api/time", [("host", HOST), (field, "x" * 16), (field.title(), "x" * 16)], b"")
    assert (said.status, said.code) == (400, "duplicate_field")
