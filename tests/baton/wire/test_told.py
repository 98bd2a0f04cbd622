"""The first mistakes of a new developer: each refusal says what to do instead."""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

import pytest
from msgspec import Meta

from chalicelib.baton import errors
from chalicelib.baton.factors.routes import StepUpShape
from chalicelib.baton.http.body import read_json
from chalicelib.baton.http.request import read_request
from chalicelib.baton.routing import Body
from chalicelib.baton.storage.dynamodb.database import Tables
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import HOST, JSON, PASSWORD, Said, Send, through
from tools.dev.engine import client, create_tables
from tools.dev.gateway import Gateway


@pytest.fixture(scope="module")
def told(embedded_engine: None) -> Iterator[Send]:
    """Return one gateway for all these tests: they change nothing, or use their own address."""
    del embedded_engine
    create_tables(Tables("baton-test"))
    yield through(Gateway([load_environment().app]))
    for name in client().list_tables()["TableNames"]:
        if name.startswith("baton-test-"):
            client().delete_table(TableName=name)


def entry(send: Send, **members: object) -> Said:
    """Register as with curl."""
    body = {"email": "new@example.com", "password": PASSWORD, "client_id": "simple"} | members
    return send("POST", "/api/register", [("host", HOST), *JSON.items()], json.dumps(body).encode())


@pytest.mark.parametrize("sent", [None, "Basic YTpi", "eyJhbGciOi"])
def test_a_call_without_a_token_is_answered_with_the_header_to_send(told: Send, sent: str | None) -> None:
    """The request has no bearer token, so the refusal says how to send a token."""
    said = told("GET", "/api/me", [("host", HOST), *([("authorization", sent)] if sent else [])], b"")
    assert said.code == "token_invalid"
    assert "Authorization: Bearer <token>" in said.members["detail"]


def test_an_unknown_client_is_answered_that_it_is_not_registered(told: Send) -> None:
    """The refusal does not speak of permissions, and names no file of the server."""
    said = entry(told, client_id="my-app")
    assert said.code == "invalid_client"
    assert "client_id is not registered" in said.members["detail"]
    assert ".toml" not in said.members["detail"]


def test_a_login_without_a_required_key_is_answered_with_the_reason(told: Send) -> None:
    """The refusal also names a client for a first try."""
    said = entry(told, client_id="mobile")
    assert said.code == "signature_required"
    assert "device.public_key" in said.members["detail"]
    assert "client `simple`" in said.members["detail"]


def test_a_long_common_password_is_refused_with_the_rule(told: Send) -> None:
    """The password is long enough, so the detail names the other rule."""
    said = entry(told, password="password-password-password")
    assert said.code == "too_common"
    for reason in ("a common password", "a repetition", "a sequence", "fewer than 5 different characters"):
        assert reason in said.members["detail"]
    assert "four random words" in said.members["detail"]


def test_a_short_password_is_told_how_long(told: Send) -> None:
    """The refusal has the number as a member, so that an app can show it."""
    said = entry(told, password="short")
    assert said.code == "too_short"
    assert said.members["characters_min"] == 15
    assert "`characters_min`" in said.members["detail"]


@pytest.mark.parametrize(
    ("members", "pointer", "expected", "words"),
    [
        ({"email": 1}, "/email", "string", "a string"),
        ({"email": "x" * 5000}, "/email", "string of length <= 4096", "a string of at most 4096 characters"),
        ({"device": {"public_key": []}}, "/device/public_key", "object | null", "an object or null"),
        ({"device": {"binding": "`<secret>`"}}, "/device/binding", None, None),
    ],
)
def test_the_refusal_of_a_wrong_type_names_the_member(
    told: Send, members: dict[str, object], pointer: str, expected: str | None, words: str | None
) -> None:
    """The refusal shows the expected value and never the received value."""
    said = entry(told, **members)
    assert (said.code, said.members["pointer"], said.members.get("expected")) == ("wrong_type", pointer, expected)
    assert words is None or said.members["detail"] == f"`{pointer}` must be {words}."
    assert b"secret" not in said.body


def test_the_refusal_of_a_wrong_pattern_shows_the_pattern() -> None:
    """A digest without its algorithm is the usual first mistake in a step-up."""
    operation = {"method": "POST", "path": "/api/transfers", "digest": "47DEQpj8HBSa-TImW"}
    body = json.dumps({"operation": operation, "password": PASSWORD})
    request = read_request({"headers": JSON, "requestContext": {}, "body": body})
    with pytest.raises(errors.WrongType) as refusal:
        read_json(request, StepUpShape)
    assert refusal.value.members["expected"] == "string matching regex '^sha-256=:[A-Za-z0-9+/]{43}=:$'"


class Inner(Body):
    """An object within an object."""

    cents: Annotated[int, Meta(ge=1)]


class Bounded(Body):
    """Members with limits, as in routes of a team."""

    cents: Annotated[int, Meta(ge=1, le=10)] = 1
    part: Annotated[float, Meta(gt=0)] = 1.0
    names: Annotated[tuple[str, ...], Meta(max_length=1)] = ()
    name: Annotated[str, Meta(min_length=2)] = "ab"
    path: Annotated[str, Meta(pattern="^/")] = "/"
    yes: bool = False
    inner: tuple[Inner, ...] = ()
    one: Inner | None = None
    word: Literal["a", "b"] = "a"
    counts: dict[str, int] | None = None

    def __post_init__(self) -> None:
        """Compare two members."""
        if self.cents == 7 and self.yes:
            raise ValueError("a secret of the team")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ('"cents": 0', "`/cents` must be an integer of at least 1."),
        ('"cents": 11', "`/cents` must be an integer of at most 10."),
        ('"cents": "1"', "`/cents` must be an integer."),
        ('"part": 0', "`/part` must be a number greater than 0.0."),
        ('"names": ["a", "b"]', "`/names` must be an array of at most 1 items."),
        ('"names": [1]', "`/names` must be an array of strings."),
        ('"inner": [{"cents": 0}]', "`/inner` must be an array of objects."),
        ('"one": {"cents": 0}', "`/one/cents` must be an integer of at least 1."),
        ('"one": 1', "`/one` must be an object or null."),
        ('"counts": {"a": "b"}', "`/counts` must be an object of integers."),
        ('"word": 1', "`/word` must be a string."),
        ('"cents": 5.5', "`/cents` must be an integer."),
        ('"cents": true', "`/cents` must be an integer."),
        ('"part": "1"', "`/part` must be a number."),
        ('"name": "a"', "`/name` must be a string of at least 2 characters."),
        ('"path": "a"', "`/path` must be a string matching regex '^/'."),
        ('"yes": 1', "`/yes` must be a boolean."),
    ],
)
def test_the_refusal_of_a_value_out_of_bounds_is_a_sentence(member: str, words: str) -> None:
    """The sentence has the member, the requirement and the limit."""
    request = read_request({"headers": JSON, "requestContext": {}, "body": f"{{{member}}}"})
    with pytest.raises(errors.WrongType) as refusal:
        read_json(request, Bounded)
    assert refusal.value.members["detail"] == words


@pytest.mark.parametrize(
    ("body", "refusal", "pointer"),
    [
        ('{"other": 1, "cents": 0}', errors.UnknownField, "/other"),
        ('{"cents": 0, "other": 1}', errors.WrongType, "/cents"),
        ('{"one": {"other": 1}}', errors.UnknownField, "/one/other"),
        ('{"one": {}}', errors.Malformed, "/one/cents"),
        ('{"word": "c"}', errors.WrongType, "/word"),
        ('{"cents": 7, "yes": true}', errors.WrongType, ""),
    ],
)
def test_the_first_wrong_member_is_named(body: str, refusal: type[errors.Refusal], pointer: str) -> None:
    """The order is that of the body, at any depth. A rule between members has no pointer, and its text is not sent."""
    request = read_request({"headers": JSON, "requestContext": {}, "body": body})
    with pytest.raises(refusal) as refused:
        read_json(request, Bounded)
    assert refused.value.members["pointer"] == pointer
    assert refused.value.members.get("expected") is None or pointer == "/cents"
    assert "secret" not in str(refused.value.members)


@pytest.mark.parametrize(
    ("route", "expected"),
    [("/login", "application/json"), ("/oauth/token", "application/x-www-form-urlencoded")],
)
def test_another_media_type_is_answered_with_the_required_one(told: Send, route: str, expected: str) -> None:
    """The detail has the ``Content-Type`` to send."""
    said = told("POST", f"/api{route}", [("host", HOST), ("content-type", "text/plain")], b"{}")
    assert said.code == "unsupported_media_type"
    detail = said.members.get("detail") or said.members["error_description"]
    assert f"Content-Type: {expected}" in detail
