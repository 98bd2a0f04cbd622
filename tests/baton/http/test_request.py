"""A proxy event, read: what the gateway saw, and nothing that the client says of itself."""

from typing import Any

import pytest

from chalicelib.baton import errors
from chalicelib.baton.http.body import read_form
from chalicelib.baton.http.request import ONCE_FIELDS, read_request
from chalicelib.baton.policy import BODY_BYTES_MAX, FIELD_BYTES_MAX


def event(**members: Any) -> dict[str, Any]:
    """Make an event of API Gateway, of which these members differ."""
    headers = {"Host": ["api.example.com"], "X-Forwarded-For": ["203.0.113.7"]}
    context = {"httpMethod": "POST", "path": "/api/login", "identity": {"sourceIp": "192.0.2.1"}}
    return {"multiValueHeaders": headers, "headers": {}, "requestContext": context, "body": "{}", **members}


def test_a_source_is_the_address_that_the_gateway_saw() -> None:
    """Whoever may name another one has no limit; where the gateway names none there is one for all."""
    assert read_request(event()).source == "192.0.2.1"
    for without in ({}, {"identity": None}, {"identity": {"sourceIp": None}}):
        assert read_request(event(requestContext=without)).source == ""


def test_method_and_path_are_those_of_the_context() -> None:
    """The stage is part of the path; what the event itself calls path has lost it."""
    read = read_request(event(path="/login", httpMethod="GET"))
    assert (read.method, read.path) == ("POST", "/api/login")


@pytest.mark.parametrize("path", ["", "api", "/a b", "/a\n", "/é", "/a\x7f"])
def test_a_path_is_what_a_request_line_can_carry(path: str) -> None:
    """No path is the root, and nothing else is guessed."""
    context = {"httpMethod": "GET", "path": path}
    if not path:
        assert read_request(event(requestContext=context)).path == "/"
        return
    with pytest.raises(errors.Malformed):
        read_request(event(requestContext=context))


@pytest.mark.parametrize("name", ONCE_FIELDS)
def test_a_field_that_may_stand_once_stands_once(name: str) -> None:
    """Sent twice, in one spelling of its name or in two; `headers` would show the last alone."""
    shown = {name: "b"}
    for twice in ({name: ["a", "b"]}, {name: ["a"], name.title(): ["b"]}):
        with pytest.raises(errors.DuplicateField) as refused:
            read_request(event(multiValueHeaders=twice, headers=shown))
        assert refused.value.members == {"field": name}


def test_limits_are_the_last_that_is_taken() -> None:
    """64 KB of body in UTF-8, 8,192 characters of a field."""
    assert len(read_request(event(body="é" * (BODY_BYTES_MAX // 2))).body) == BODY_BYTES_MAX
    with pytest.raises(errors.BodyTooLarge):
        read_request(event(body="é" * (BODY_BYTES_MAX // 2) + "x"))
    for name in ("authorization", "signature"):
        assert read_request(event(multiValueHeaders={name: ["x" * FIELD_BYTES_MAX]})).fields[name]
        with pytest.raises(errors.FieldTooLarge):
            read_request(event(multiValueHeaders={name: ["x" * (FIELD_BYTES_MAX + 1)]}))


def test_port_80_is_a_port_of_its_own_over_https() -> None:
    """In production, where API Gateway speaks https alone."""
    said = event(multiValueHeaders={"host": ["Api.Example.com:80"]})
    assert read_request(said).authority == "api.example.com:80"
    assert read_request(said, development=True).authority == "api.example.com"


def test_an_event_of_chalice_local_says_less_and_is_read_all_the_same() -> None:
    """It has one value for each field, no path, and bytes for a body."""
    said = {"headers": {"Host": "localhost:8001", "Content-Type": "application/json"}, "body": b"{}"}
    read = read_request({**said, "requestContext": {"httpMethod": "POST"}})
    assert (read.authority, read.fields["content-type"], read.body) == ("localhost:8001", ("application/json",), b"{}")
    assert read_request({"requestContext": None, "headers": None, "body": None}).body == b""


def form(body: str) -> dict[str, str]:
    """Read the fields a and b of a form."""
    headers = {"Content-Type": ["application/x-www-form-urlencoded"]}
    return read_form(read_request(event(multiValueHeaders=headers, body=body)), ("a", "b"))


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=1+1&b=%2B", {"a": "1 1", "b": "+"}),
        ("+a=1&b+=1", {}),
        ("%61=%C3%A9", {"a": "é"}),
        ("a=&b=1&c=2", {"b": "1"}),
        ("a&&=1&b==", {"b": "="}),
        ("a=1;b=2", {"a": "1;b=2"}),
    ],
)
def test_a_form_is_read_strictly(body: str, read: dict[str, str]) -> None:
    """Escapes and plus signs; fields that are empty or unknown are not there."""
    assert form(body) == read


@pytest.mark.parametrize("body", ["a=%ff", "a=é", "a=%00", "a=%ED%A0%80"])
def test_a_form_is_utf8_without_nul(body: str) -> None:
    """Escaped, and in ASCII itself."""
    with pytest.raises(errors.Malformed):
        form(body)


@pytest.mark.parametrize("body", ["a=1&a=1", "a=1&%61=2", "a=&a=1"])
def test_a_field_of_a_form_stands_once(body: str) -> None:
    """However it is spelled."""
    with pytest.raises(errors.DuplicateField):
        form(body)


def test_a_form_has_32_fields_at_most() -> None:
    """As many as anybody needs, empty ones counted."""
    assert form("&" * 30 + "a=1") == {"a": "1"}
    with pytest.raises(errors.Malformed):
        form("&" * 32 + "a=1")
