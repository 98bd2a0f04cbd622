"""The source of a request, behind a CDN and behind a server that is the client."""

from collections.abc import Mapping
from typing import Any

import pytest

from chalicelib.baton.http.request import read_request
from chalicelib.baton.ids import Secret
from chalicelib.baton.lineages.clients import Clients, RegistryProblems
from chalicelib.baton.routing import Message
from chalicelib.baton.settings import SettingsProblems, read_settings
from chalicelib.baton.tokens.source import source_of

SECRET = "a secret of the CDN, 32 characters or more".replace(" ", "-")
GATEWAY, VIEWER, SERVER = "192.0.2.1", "203.0.113.7", "198.51.100.9"
SITE = """
[client.site]
code = 9
mechanism = "exchange"
form = "jwt"
binding = "required"
scope = "account"
"""


def event(headers: Mapping[str, list[str]]) -> dict[str, Any]:
    """Make an event of the gateway."""
    context = {"httpMethod": "GET", "path": "/api/time", "identity": {"sourceIp": GATEWAY}}
    return {"requestContext": context, "multiValueHeaders": headers}


@pytest.mark.parametrize(
    ("headers", "source"),
    [
        ({"Baton-Origin-Secret": [SECRET], "CloudFront-Viewer-Address": [f"{VIEWER}:46532"]}, VIEWER),
        ({"baton-origin-secret": [SECRET], "cloudfront-viewer-address": ["2001:db8::7:443"]}, "2001:db8::7"),
        ({"baton-origin-secret": [SECRET], "cloudfront-viewer-address": ["[2001:db8::7]:443"]}, "2001:db8::7"),
        ({"cloudfront-viewer-address": [f"{VIEWER}:46532"]}, GATEWAY),
        ({"baton-origin-secret": [SECRET]}, GATEWAY),
        ({"baton-origin-secret": [SECRET + "x"], "cloudfront-viewer-address": [f"{VIEWER}:1"]}, GATEWAY),
        ({"baton-origin-secret": [""], "cloudfront-viewer-address": [f"{VIEWER}:1"]}, GATEWAY),
        ({"baton-origin-secret": [SECRET, SECRET], "cloudfront-viewer-address": [f"{VIEWER}:1"]}, GATEWAY),
        ({"baton-origin-secret": [SECRET], "cloudfront-viewer-address": [f"{VIEWER}:1"] * 2}, GATEWAY),
        ({"baton-origin-secret": [SECRET], "cloudfront-viewer-address": ["somewhere"]}, GATEWAY),
        ({"baton-origin-secret": [SECRET], "cloudfront-viewer-address": [VIEWER]}, GATEWAY),
        ({"x-forwarded-for": [VIEWER]}, GATEWAY),
    ],
)
def test_the_address_of_a_viewer_counts_beside_the_secret_alone(headers: Mapping[str, list[str]], source: str) -> None:
    """Without the secret, every client that finds the gateway could choose its source, and avoid the rate limits."""
    assert read_request(event(headers), origin_secret=Secret(SECRET.encode())).source == source
    assert read_request(event(headers)).source == GATEWAY


@pytest.mark.parametrize("secret", ["short", "x" * 31, "with a blank, and long enough for this", "ü" * 40])
def test_a_secret_that_can_be_guessed_is_refused(secret: str) -> None:
    """It must have at least 32 visible characters. The message does not contain it."""
    with pytest.raises(SettingsProblems) as refused:
        read_settings({"BATON_ORIGIN_SECRET": secret})
    (problem,) = [one for one in refused.value.problems if "BATON_ORIGIN_SECRET" in one]
    assert secret not in problem


def message(source: str, *stated: str) -> Message:
    """Make a request."""
    return Message("GET", "x", "/", (), {"baton-client-address": stated} if stated else {}, b"", source)


@pytest.mark.parametrize(
    ("source", "stated", "counted"),
    [
        (SERVER, (VIEWER,), VIEWER),
        ("2001:db8:1::5", ("2001:db8::7",), "2001:db8::7"),
        ("198.51.101.1", (VIEWER,), "198.51.101.1"),
        (SERVER, (), SERVER),
        (SERVER, (VIEWER, VIEWER), SERVER),
        (SERVER, ("somewhere",), SERVER),
        (SERVER, (f"{VIEWER}, {VIEWER}",), SERVER),
        ("", (VIEWER,), ""),
    ],
)
def test_a_server_names_its_people_from_its_own_networks_alone(
    source: str, stated: tuple[str, ...], counted: str
) -> None:
    """The row of the client lists these networks."""
    row = f'{SITE}trusted_sources = ["198.51.100.0/24", "2001:db8:1::/64"]'
    client = Clients.from_toml(row).get("site")
    assert client is not None
    assert source_of(message(source, *stated), client) == counted


def test_no_other_client_names_its_people() -> None:
    """Without ``trusted_sources`` the header is ignored."""
    client = Clients.from_toml(SITE).get("site")
    assert client is not None
    assert source_of(message(SERVER, VIEWER), client) == SERVER


@pytest.mark.parametrize(
    "value", ['"198.51.100.0/24"', '["198.51.100.1/24"]', '["0.0.0.0/0"]', '["::/0"]', '["x"]', "[7]"]
)
def test_networks_that_trust_too_much_are_refused(value: str) -> None:
    """The test has a whole address family, and a network that is written with the address of a host."""
    with pytest.raises(RegistryProblems, match="trusted_sources"):
        Clients.from_toml(f"{SITE}trusted_sources = {value}")


def test_a_browser_has_no_trusted_sources() -> None:
    """A browser sends its own requests, so a cookie client has none. ``device_bound`` is only for cookie clients."""
    web = SITE.replace("exchange", "session").replace("jwt", "opaque").replace("required", "optional")
    with pytest.raises(RegistryProblems, match='trusted_sources is for delivery "body"'):
        Clients.from_toml(f'{web}delivery = "cookie"\ntrusted_sources = ["198.51.100.0/24"]')
    for wrong in ('"offer"', '"required"'):
        with pytest.raises(RegistryProblems, match="device_bound is"):
            Clients.from_toml(f"{web}device_bound = {wrong}")
