"""Bodies, addresses and passwords are parsed strictly, and different spellings of an address are one account."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.baton.proofs.hostile.scene import Scene
from tests.baton.wire.conversation import FORM, HOST, JSON, PASSWORD, Device


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"\xef\xbb\xbf{}", "malformed"),
        ("{}".encode("utf-16"), "malformed"),
        (b"{} ", "malformed"),  # well-formed, but the member email is missing
        (b'{"email":"a","email":"b"}', "duplicate_field"),
        (b'{"device":{"name":"a","name":"b"}}', "duplicate_field"),
        (b'{"email":NaN}', "malformed"),
        (b'{"email":1e999}', "malformed"),
        (b'{"email":' + b"[" * 20 + b"]" * 20 + b"}", "malformed"),
        (b'{"email":"\\ud800"}', "malformed"),
        (b'{"email":"\\u0000"}', "malformed"),
        (b'{"ema\\u0000il":"x"}', "malformed"),
        (b"[]", "malformed"),
        (b"", "malformed"),
    ],
)
def test_json_is_read_strictly(make_device: Callable[..., Device], body: bytes, code: str) -> None:
    """Baton accepts RFC 8259 without the forms that parsers read differently."""
    said = make_device().send("POST", "/api/login", [("host", HOST), *JSON.items()], body)
    assert (said.status, said.code) == (400, code)


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        ("application/json", 401),
        ("APPLICATION/JSON", 401),
        ("application/json; charset=UTF-8", 401),
        ('application/json;charset="utf-8"', 401),
        ("application/json; charset=utf-16", 415),
        ("application/jsonx", 415),
        ("application/json, text/plain", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_the_media_type_is_compared_whole(make_device: Callable[..., Device], media_type: str, status: int) -> None:
    """The comparison ignores case. A prefix is not enough."""
    body = b'{"email":"nobody@example.com","password":"x","client_id":"simple"}'
    said = make_device().send("POST", "/api/login", [("host", HOST), ("content-type", media_type)], body)
    assert said.status == status


TEXT = st.text(st.characters(codec=None), max_size=40)  # with surrogates and NUL
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(("operation", "password", "to", "amount", "everywhere", "new_password", "method", "x"))


@pytest.mark.parametrize("examples", [80, pytest.param(2_000, marks=pytest.mark.prove)])
def test_every_json_document_gets_a_described_answer(scene: Scene, examples: int) -> None:
    """The requests are signed, by an active login. Three routes refuse each document as described."""

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        st.sampled_from(("/step-up", "/transfers", "/me/password")),
        st.dictionaries(MEMBERS | TEXT, VALUES, max_size=4),
    )
    def ask(route: str, members: dict[str, Any]) -> None:
        said = scene.thief.post(route, members)
        assert 400 <= said.status < 500, said

    ask()


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        (b"refresh_token=x", 400, "malformed"),
        (b"grant_type=&refresh_token=x", 400, "malformed"),
        (b"grant_type=refresh_token&refresh_token=", 400, "malformed"),
        (b"grant_type=refresh_token&refresh_token=a&refresh_token=a", 400, "duplicate_field"),
        (b"grant_type=refresh_token&grant%5Ftype=refresh_token&refresh_token=a", 400, "duplicate_field"),
        (b"grant_type=refresh_token&refresh_token=%00", 400, "malformed"),
        (b"grant_type=refresh_token&refresh_token=%ff", 400, "malformed"),
        (b"grant_type=refresh_token&refresh_token=%ED%A0%80", 400, "malformed"),
        (b"grant_type=refresh_token&refresh_token=a;client_id=b", 400, "token_invalid"),
        (b"grant_type=refresh_token&refresh_token=a&x=1&x=2", 400, "token_invalid"),
        (b"GRANT_TYPE=refresh_token&refresh_token=a", 400, "malformed"),
        (b"grant_type=Refresh_Token&refresh_token=a", 400, "unsupported_grant_type"),
        (b"a=1&" * 33, 400, "malformed"),
        ("gr\u00e4nt=1".encode(), 400, "malformed"),
        (b"x=" + b"y" * 66_000, 413, "too_large"),
    ],
    ids=lambda part: repr(part)[:50],
)
def test_forms_are_read_strictly(make_device: Callable[..., Device], form: bytes, status: int, code: str) -> None:
    """A known field may occur once, however it is percent-encoded. Unknown fields are ignored."""
    said = make_device().send("POST", "/api/oauth/token", [("host", HOST), *FORM.items()], form)
    assert (said.status, said.code) == (status, code), said


def enter(device: Device, route: str, email: str, password: str = PASSWORD) -> tuple[int, str]:
    """Register or log in without a key."""
    entry = {"email": email, "password": password, "client_id": "simple"}
    said = device.send("POST", f"/api{route}", [("host", HOST), *JSON.items()], json.dumps(entry).encode())
    return said.status, said.code


@pytest.mark.parametrize(
    "twin",
    [
        "  ADA@Example.COM\t",
        "\uff41\uff44\uff41@example.com",  # full width
        "ada\uff20example.com",
        "ada@example\uff0ecom",
        "\U0001d41a\U0001d41d\U0001d41a@example.com",  # mathematical bold
        "ad\u00aa@example.com",  # feminine ordinal
    ],
)
def test_another_spelling_of_an_address_is_the_same_account(make_device: Callable[..., Device], twin: str) -> None:
    """Addresses that are equal after NFKC and lower-casing are one account. Only one of them can be registered."""
    device = make_device(bound=False)
    assert enter(device, "/register", "ada@example.com") == (201, "")
    assert enter(device, "/register", twin) == (409, "account_exists")
    assert enter(device, "/login", twin) == (200, "")


@pytest.mark.parametrize(
    "other",
    [
        "\u0430da@example.com",  # Cyrillic
        "ada@example.com.evil.example",
        "ada+x@example.com",
        "a.da@example.com",
        "\u00e0da@example.com",
        "ad\u0251@example.com",
    ],
)
def test_a_look_alike_is_another_account(make_device: Callable[..., Device], other: str) -> None:
    """A look-alike address opens its own account, never the victim's."""
    device = make_device(bound=False)
    assert enter(device, "/register", "ada@example.com") == (201, "")
    assert enter(device, "/login", other) == (401, "invalid_credentials")
    assert enter(device, "/register", other) == (201, "")


@pytest.mark.parametrize(
    ("password", "status", "code"),
    [
        ("x" * 1025, 422, "too_large"),
        ("\u00e9" * 513, 422, "too_large"),
        ("e" + "\u0301\u0316" * 256, 422, "too_large"),
        ("\ufdfa" * 342, 422, "too_large"),
        ("copper lantern\0drifting sideways", 400, "malformed"),
        ("copper lantern\ud800drifting sideways", 400, "malformed"),
        ("", 422, "too_short"),
        ("\u200b" * 40, 422, "too_common"),
        ("ada@example.com ada@example.com", 422, "contains_context"),
    ],
    ids=lambda part: repr(part)[:30],
)
def test_hostile_passwords_are_refused(
    make_device: Callable[..., Device], password: str, status: int, code: str
) -> None:
    """The check is before normalisation and hashing."""
    assert enter(make_device(bound=False), "/register", "ada@example.com", password) == (status, code)


@pytest.mark.parametrize("password", ["e\u0301\u0316" * 30 + " copper lantern", "\ufdfa drifting sideways, slowly"])
def test_a_strange_password_works_as_any_other(make_device: Callable[..., Device], password: str) -> None:
    """A password may have any number of combining marks within the length limit. Its last letter counts."""
    device = make_device(bound=False)
    assert enter(device, "/register", "ada@example.com", password) == (201, "")
    assert enter(device, "/login", "ada@example.com", password) == (200, "")
    assert enter(device, "/login", "ada@example.com", password[:-1]) == (401, "invalid_credentials")
