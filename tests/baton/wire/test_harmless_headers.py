"""Header fields that Baton does not use cause no refusal: those of proxies, browsers and HTTP clients."""

import json
from collections.abc import Callable

import pytest

from tests.baton.wire.conversation import FORM, HOST, JSON, PASSWORD, Device, Said

HARMLESS: list[list[tuple[str, str]]] = [
    [("Content-Type", "application/json")],
    [("Content-Type", "application/x-www-form-urlencoded")],
    [("Content-Type", "text/plain; charset=ISO-8859-1")],
    [("Content-Type", "")],
    [("Content-Type", "application/json"), ("content-type", "application/json")],
    [("Content-Length", "0")],
    [("Content-Length", "0"), ("Content-Type", "application/octet-stream")],
    [("Accept", "*/*")],
    [("Accept", "")],
    [("Accept", "image/png")],
    [("Accept", "text/html,application/xhtml+xml;q=0.9"), ("Accept", "application/json;q=0.1")],
    [("Accept-Encoding", "gzip, deflate, br, zstd"), ("Accept-Language", "de-CH, fr;q=0.9"), ("Accept-Charset", "x")],
    [("Connection", "keep-alive, Upgrade"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")],
    [("TE", "trailers, deflate;q=0.5"), ("Trailer", "Expires"), ("Expect", "100-continue")],
    [("Range", "bytes=0-1"), ("If-None-Match", '"x"'), ("If-Modified-Since", "Sat, 29 Oct 1994 19:43:31 GMT")],
    [("Cookie", "a=b; c"), ("Cookie", "d=e"), ("Referer", "https://example.com/"), ("User-Agent", "")],
    [("Origin", "null")],
    [("Origin", "https://evil.example"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Site", "cross-site")],
    [("Via", "1.1 proxy"), ("Forwarded", "for=192.0.2.60;proto=http;host=evil.example"), ("X-Forwarded-For", "x, y")],
    [("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "http"), ("X-HTTP-Method-Override", "DELETE")],
    [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("X-Amzn-Trace-Id", "Root=1")],
    [("Cache-Control", "no-cache"), ("Pragma", "no-cache"), ("Prefer", "return=minimal"), ("Priority", "u=1, i")],
    [("X-Unknown", ""), ("X-Unknown", "two"), ("x-unknown", "three"), ("X-Name", "Jos\u00e9 \u2713")],
    [("Baton-Grant", "")],
    [("Want-Content-Digest", "sha-256=10"), ("Digest", "sha-256=x"), ("Signature-Agent", '"x"')],
]
"""Header fields of correct requests without a body. The fields of one list are sent together."""


@pytest.mark.parametrize("headers", HARMLESS, ids=lambda headers: ",".join(f"{n}:{v}" for n, v in headers)[:50])
def test_a_harmless_header_causes_no_refusal(
    make_device: Callable[..., Device], headers: list[tuple[str, str]]
) -> None:
    """The cases are a public route, a call with a bearer token, and a state-changing call."""
    device = make_device(client_id="simple", bound=False)
    assert device.register("ada@example.com").status == 201

    def sent(method: str, path: str) -> Said:
        fields = [("Host", HOST), ("Authorization", f"Bearer {device.token}"), *headers]
        return device.send(method, f"/api{path}", fields, b"")

    assert sent("GET", "/time").status == 200
    assert sent("GET", "/me").status == 200
    assert sent("POST", "/logout").status == 204


@pytest.mark.parametrize("headers", HARMLESS, ids=lambda headers: ",".join(f"{n}:{v}" for n, v in headers)[:50])
def test_a_harmless_header_causes_no_refusal_of_a_signed_call(
    make_device: Callable[..., Device], headers: list[tuple[str, str]]
) -> None:
    """The signature need not cover such a header. Only ``Baton-Grant`` must be covered where it is present."""
    if ("Baton-Grant", "") in headers:
        return
    device = make_device()
    assert device.register("ada@example.com").status == 201

    def adding(fields: dict[str, str]) -> None:
        fields |= {name: value for name, value in headers if name.lower() not in {"host", "authorization"}}

    assert device.get("/me", tamper=adding).status == 200
    assert device.request("POST", "/logout", tamper=adding).status == 204


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "Application/JSON",
        " application/json ",
        "application/json;charset=utf-8",
        "application/json ; charset=UTF-8",
        "application/json;\tcharset=utf8",
        'application/json; Charset="Utf-8"',
        "application/json; charset=us-ascii",
        "application/json;",
        "application/json;;charset=utf-8;",
        "application/json; odata.metadata=minimal; version=1",
        'application/json; profile="https://example.com/a;b=\\"c\\""; charset=utf-8',
    ],
)
def test_parameters_of_the_json_media_type_are_accepted(make_device: Callable[..., Device], media_type: str) -> None:
    """RFC 8259 section 11 defines none. RFC 9110 sections 5.6.6 and 8.3.1 define their syntax."""
    body = json.dumps({"email": "ada@example.com", "password": PASSWORD, "client_id": "simple"}).encode()
    said = make_device().send("POST", "/api/register", [("host", HOST), ("content-type", media_type)], body)
    assert said.status == 201, said


@pytest.mark.parametrize(
    "media_type",
    [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded; charset=ISO-8859-1",
        "Application/X-WWW-Form-Urlencoded; boundary=x",
        "application/x-www-form-urlencoded;",
    ],
)
def test_parameters_of_the_form_media_type_are_accepted(make_device: Callable[..., Device], media_type: str) -> None:
    """The registration of this media type defines none.

    Apache's HTTP client sends ISO-8859-1, but the escapes are ASCII.
    """
    body = b"grant_type=refresh_token&refresh_token=x"
    said = make_device().send("POST", "/api/oauth/token", [("host", HOST), ("content-type", media_type)], body)
    assert said.code == "token_invalid", said


@pytest.mark.parametrize(
    "media_type",
    [
        "application/jsonx",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "application/json; =",
        "",
    ],
)
def test_another_media_type_is_still_refused(make_device: Callable[..., Device], media_type: str) -> None:
    """A type that is not UTF-8 JSON, and an empty type, are refused."""
    said = make_device().send("POST", "/api/login", [("host", HOST), ("content-type", media_type)], b"{}")
    assert (said.status, said.code) == (415, "unsupported_media_type")


def test_a_content_type_without_a_body_does_not_hide_the_missing_members(
    make_device: Callable[..., Device],
) -> None:
    """RFC 9110 section 8.3: the field describes a body that does not exist. The refusal lists the missing members."""
    send = make_device().send
    for headers in ([], [*JSON.items()], [*FORM.items()]):
        said = send("POST", "/api/login", [("host", HOST), *headers], b"")
        assert (said.status, said.code, said.members["pointer"]) == (400, "malformed", "/email")
        said = send("POST", "/api/oauth/token", [("host", HOST), *headers], b"")
        assert (said.status, said.code, said.members["pointer"]) == (400, "malformed", "/grant_type")
