"""Read the proxy event of API Gateway.

Only values that the gateway sets are used, and no value that the client can choose.
"""

from typing import Any

import pytest

from chalicelib.baton import errors
from chalicelib.baton.http.body import read_form
from chalicelib.baton.http.request import ONCE_FIELDS, read_request
from chalicelib.baton.policy import BODY_BYTES_MAX, FIELD_BYTES_MAX


def event(**members: Any) -> dict[str, Any]:
    """Make an API Gateway event with these members replaced."""
    headers = {"Host": ["api.example.com"], "X-Forwarded-For": ["203.0.113.7"]}
    context = {"httpMethod": "POST", "path": "/api/login", "identity": {"sourceIp": "192.0.2.1"}}
    return {"multiValueHeaders": headers, "headers": {}, "requestContext": context, "body": "{}", **members}


def test_the_source_is_the_address_that_the_gateway_saw() -> None:
    """A client that could name its address would have no rate limit.

    Without an address, all such requests share one limit.
    """
    assert read_request(event()).source == "192.0.2.1"
    for without in ({}, {"identity": None}, {"identity": {"sourceIp": None}}):
        assert read_request(event(requestContext=without)).source == ""


def test_method_and_path_come_from_the_request_context() -> None:
    """The stage is part of the signed path. The member `path` of the event does not contain it."""
    read = read_request(event(path="/login", httpMethod="GET"))
    assert (read.method, read.path) == ("POST", "/api/login")


@pytest.mark.parametrize("path", ["", "api", "/a b", "/a\n", "/é", "/a\x7f"])
def test_a_path_has_only_characters_of_a_request_line(path: str) -> None:
    """A missing path is the root. Any other wrong path is refused."""
    context = {"httpMethod": "GET", "path": path}
    if not path:
        assert read_request(event(requestContext=context)).path == "/"
        return
    with pytest.raises(errors.Malformed):
        read_request(event(requestContext=context))


@pytest.mark.parametrize("name", ONCE_FIELDS)
def test_a_repeated_single_field_is_refused(name: str) -> None:
    """The names may have the same or different letter case. `headers` would show only the last value."""
    shown = {name: "b"}
    for twice in ({name: ["a", "b"]}, {name: ["a"], name.title(): ["b"]}):
        with pytest.raises(errors.DuplicateField) as refused:
            read_request(event(multiValueHeaders=twice, headers=shown))
        assert refused.value.members == {"field": name}


def test_the_limits_are_inclusive() -> None:
    """A body of 64 KB in UTF-8 and a field of 8,192 characters are accepted."""
    assert len(read_request(event(body="é" * (BODY_BYTES_MAX // 2))).body) == BODY_BYTES_MAX
    with pytest.raises(errors.BodyTooLarge):
        read_request(event(body="é" * (BODY_BYTES_MAX // 2) + "x"))
    for name in ("authorization", "signature"):
        assert read_request(event(multiValueHeaders={name: ["x" * FIELD_BYTES_MAX]})).fields[name]
        with pytest.raises(errors.FieldTooLarge):
            read_request(event(multiValueHeaders={name: ["x" * (FIELD_BYTES_MAX + 1)]}))


def test_port_80_is_not_the_default_port_of_https() -> None:
    """In production API Gateway accepts only https."""
    said = event(multiValueHeaders={"host": ["Api.Example.com:80"]})
    assert read_request(said).authority == "api.example.com:80"
    assert read_request(said, development=True).authority == "api.example.com"


def test_an_event_of_chalice_local_is_read() -> None:
    """Such an event has one value per field, no path in its context, and a body of bytes."""
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
    """Escapes and plus signs are decoded. Empty and unknown fields are ignored."""
    assert form(body) == read


@pytest.mark.parametrize("body", ["a=%ff", "a=é", "a=%00", "a=%ED%A0%80"])
def test_a_form_is_utf8_without_nul(body: str) -> None:
    """The form itself is ASCII, and its bytes are escaped."""
    with pytest.raises(errors.Malformed):
        form(body)


@pytest.mark.parametrize("body", ["a=1&a=1", "a=1&%61=2", "a=&a=1"])
def test_a_repeated_field_of_a_form_is_refused(body: str) -> None:
    """Different spellings of one name count as the same name."""
    with pytest.raises(errors.DuplicateField):
        form(body)


def test_a_form_has_32_fields_at_most() -> None:
    """The empty fields count too."""
    assert form("&" * 31 + "a=1") == {"a": "1"}
    with pytest.raises(errors.Malformed):
        form("&" * 32 + "a=1")
