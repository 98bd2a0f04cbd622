"""docs/baton/wire.md is true of the server. Developers port clients from this page only."""

import base64
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

import baton_client
from baton_client import DeviceKey, Request, Signer, signature_fields
from chalicelib.baton import errors, policy
from chalicelib.baton.http.answer import ALLOWED_FIELDS, EXPOSED_FIELDS
from chalicelib.baton.http.request import read_request
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.lineages.model import EndReason
from chalicelib.baton.proof import signature_input
from chalicelib.baton.proof.signature import signature_base, verify_signature
from chalicelib.baton.proof.signature_input import read_signature
from chalicelib.baton.routing import Message
from tests.baton.fixture import load_environment

PAGE = (Path(__file__).parents[3] / "docs" / "baton" / "wire.md").read_text("utf-8")
HTTP, BASES = (
    re.findall(rf"```{kind}\n(.*?)```", PAGE.partition("### Two requests")[2], re.DOTALL) for kind in ("http", "text")
)
SEED = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
CREATED = 1_800_000_000
KEYS = [
    PublicKey.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
    PublicKey.from_jwk(
        {
            "kty": "EC",
            "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        }
    ),
]


def parsed(text: str) -> tuple[str, str, dict[str, str], bytes]:
    """Parse a documented request: method, target, header fields, body."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.strip().split("\n")
    method, target, _ = first.split(" ")
    return method, target, dict(line.split(": ", 1) for line in lines), body.strip().encode()


def received(text: str) -> Message:
    """Read a documented request as the server does."""
    method, target, headers, body = parsed(text)
    query: dict[str, list[str]] = {}
    for name, value in parse_qsl(urlsplit(target).query):
        query.setdefault(name, []).append(value)
    event = {
        "headers": headers,
        "multiValueQueryStringParameters": query,
        "requestContext": {"httpMethod": method, "path": urlsplit(target).path},
        "body": body.decode(),
    }
    return read_request(event)


def verified(message: Message, key: PublicKey) -> None:
    """Verify as the server does."""
    signature = read_signature(message)
    assert signature is not None
    verify_signature(
        message,
        signature,
        key=key,
        expected_keyid=key.keyid,
        expected_authorities=frozenset({"api.example.com"}),
        now=CREATED,
        window_s=policy.SIGNATURE_WINDOW_S,
    )


@pytest.mark.parametrize(("shown", "base", "key"), list(zip(HTTP, BASES, KEYS, strict=True)), ids=["Ed25519", "P-256"])
def test_the_documented_requests_verify_over_the_documented_bases(shown: str, base: str, key: PublicKey) -> None:
    """A request with any change no longer verifies."""
    message = received(shown)
    verified(message, key)
    signature = read_signature(message)
    assert signature is not None
    assert signature_base(message, signature).decode() == base.removesuffix("\n")
    for old, new in (("/api/", "/prod/"), ("example-token", "another-token"), (".com", ".org"), ("T ", "Y ")):
        with pytest.raises(errors.Refusal):
            verified(received(shown.replace(old, new, 1)), key)


def test_the_reference_client_makes_the_documented_signature() -> None:
    """Ed25519 has one signature for a message, so a port can be compared exactly."""
    assert SEED in PAGE
    pkcs8 = bytes.fromhex("302e020100300506032b657004220420") + base64.urlsafe_b64decode(SEED + "=")
    key = DeviceKey(base64.b64encode(pkcs8).decode())
    method, target, headers, body = parsed(HTTP[0])
    fields = {name.lower(): value for name, value in headers.items() if not name.startswith("Signature")}
    assert fields["content-digest"] == baton_client.content_digest(body)
    request = Request(method, f"https://api.example.com{target}", fields, body)
    nonce = re.findall('nonce="(.*?)"', headers["Signature-Input"])[0]
    made = signature_fields(request, Signer(key.thumbprint(), key.sign), created=CREATED, nonce=nonce)
    assert made == {"signature-input": headers["Signature-Input"], "signature": headers["Signature"]}


SAMPLE = "POST /transfers"
"""The route of the shipped sample. A team may have removed it."""


def test_the_table_lists_exactly_the_routes() -> None:
    """The table has each route and no other."""
    shown = set(re.findall(r"^\| `([A-Z]+ /\S*)` \|", PAGE, re.MULTILINE))
    served = {f"{route.method} {route.path}" for route in load_environment().baton.routes}
    heads = {route for route in served if route.startswith("HEAD ")}
    assert served - heads == shown - {SAMPLE}
    # One sentence below the table covers these routes.
    told = PAGE.partition("`HEAD`: ")[2].partition(".\n")[0]
    assert {f"HEAD {path}" for path in re.findall("`(/.*?)`", told)} == heads


def test_every_action_and_every_end_reason_is_explained() -> None:
    """An app decides by these values."""
    for action in errors.Action.__args__:  # type: ignore[attr-defined] # a Literal's
        assert f"\n| `{action}` |" in PAGE
    told = PAGE.partition("`ended_reason`: ")[2].partition(". ")[0]
    assert set(re.findall("`(.*?)`", told)) == set(EndReason)


def test_the_numbers_of_the_page_are_those_of_the_policy() -> None:
    """Each number is compared within the sentence of the page."""
    for words in (
        f"±{policy.SIGNATURE_WINDOW_S} s",
        f"at most {policy.SIGNATURE_LIFE_MAX_S} s after `created`",
        f"within {policy.GRANT_S} s",
        f"{policy.ATTEMPT_CHARACTERS_MIN} to {policy.ATTEMPT_CHARACTERS_MAX} visible ASCII",
        f"1 to {signature_input.NONCE_CHARACTERS_MAX} visible ASCII",
        f"A body has at most {policy.BODY_BYTES_MAX // 1024} KB",
        f"nesting at most {policy.JSON_DEPTH_MAX}",
        f"{policy.FIELD_BYTES_MAX:,} characters",
        f"{policy.LABEL_BYTES_MAX} bytes of it",
        f"{policy.PASSWORD_CHARACTERS_MIN} characters at least and {policy.PASSWORD_BYTES_MAX:,} bytes at most",
        f"at most {policy.EMAIL_BYTES_MAX} bytes",
    ):
        assert words in " ".join(PAGE.split()), words
    fields = {name for names in (ALLOWED_FIELDS, EXPOSED_FIELDS) for name in names.split(", ")}
    assert fields == set(
        re.findall("`([A-Z][A-Za-z-]+)`", PAGE.partition("## Web pages")[2].partition("### Cookies")[0])
    )


def test_the_client_rules_are_those_of_the_reference_client() -> None:
    """The page has nine rules. Their words are the same as in the reference client."""
    said = " ".join(PAGE.split("## The nine rules")[1].split("## ")[0].split())
    doc = " ".join((baton_client.__doc__ or "").split())
    for number in range(1, 10):
        first = re.findall(rf"{number}\. (.*?)[.;:,]", doc)[-1]
        assert f"{number}. {first}" in said, first
