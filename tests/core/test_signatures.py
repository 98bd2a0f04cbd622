"""Signed calls: what is covered counts, what must be covered is, and nothing else gets in."""

import base64
import dataclasses
import datetime as dt
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import http_message_signatures as independent
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core import errors
from chalicelib.core.public_key import PublicKey
from chalicelib.core.signatures import (
    COMPONENTS_MAX,
    NONCE_CHARACTERS_MAX,
    Component,
    Message,
    Signature,
    VerifiedSignature,
    check_digest,
    content_digest,
    read_signature,
    signature_base,
    verify_signature,
)
from tests.core.test_public_key import (
    ED25519,
    ED25519_KEY,
    ED25519_RAW,
    P256,
    P256_KEY,
    P256_RAW,
    flipped,
    raw_signature,
)

NOW = 1_700_000_000
HOST = "api.example"
SECRET = bytes(range(32))
TOKEN = "eyJ0b2tlbg.its-payload.its-signature"

Algorithm = Literal["ecdsa-p256-sha256", "ed25519", "hmac-sha256"]
ALGORITHMS: tuple[Algorithm, ...] = ("ecdsa-p256-sha256", "ed25519", "hmac-sha256")
KEYS: Mapping[str, PublicKey | bytes] = {"ecdsa-p256-sha256": P256, "ed25519": ED25519, "hmac-sha256": SECRET}
KEYIDS: Mapping[str, str] = {"ecdsa-p256-sha256": P256.keyid, "ed25519": ED25519.keyid, "hmac-sha256": "a-lineage"}
SIGN: Mapping[str, Callable[[bytes], bytes]] = {
    "ecdsa-p256-sha256": raw_signature,
    "ed25519": ED25519_KEY.sign,
    "hmac-sha256": lambda base: hmac.digest(SECRET, base, "sha256"),
}


@dataclass(frozen=True)
class Call:
    """A request, and how it is to be signed. ``parameters`` are written as given: ``repr`` of nothing."""

    method: str = "POST"
    authority: str = HOST
    path: str = "/prod/transfers"
    query: tuple[tuple[str, str], ...] = ()
    fields: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    body: bytes = b""
    covered: tuple[str, ...] = ('"@method"', '"@authority"', '"@path"')
    parameters: Mapping[str, str | None] = field(default_factory=dict)
    algorithm: Algorithm = "ecdsa-p256-sha256"
    label: str = "sig"

    def input(self) -> str:
        """Write the member of Signature-Input; a parameter of ``None`` is left out."""
        given = {
            "created": str(NOW),
            "keyid": f'"{KEYIDS[self.algorithm]}"',
            "nonce": '"one-of-a-kind"',
            "tag": '"baton"',
            **self.parameters,
        }
        parameters = "".join(f";{name}={value}" for name, value in given.items() if value is not None)
        return f"{self.label}=({' '.join(self.covered)}){parameters}"

    def message(self, value: bytes = b"") -> Message:
        """Make the request, with a signature of this value."""
        fields = {
            **self.fields,
            "signature-input": (self.input(),),
            "signature": (f"{self.label}=:{base64.b64encode(value).decode()}:",),
        }
        return Message(self.method, self.authority, self.path, self.query, fields, self.body)

    def signed(self) -> Message:
        """Make the request, rightly signed."""
        message = self.message()
        return self.message(SIGN[self.algorithm](signature_base(message, read(message))))


FULL = Call(
    query=(("to", "bob"), ("note", "for tea & cake")),
    fields={
        "authorization": (f"Bearer {TOKEN}",),
        "idempotency-key": ("an-attempt-of-mine",),
        "baton-grant": ("a-grant",),
        "content-digest": (content_digest(b'{"amount": 10}'),),
        "x-trace": ("one", "two"),
    },
    body=b'{"amount": 10}',
    covered=(
        '"@method"',
        '"@authority"',
        '"@path"',
        '"@query-param";name="to"',
        '"@query-param";name="note"',
        '"content-digest"',
        '"authorization"',
        '"idempotency-key"',
        '"baton-grant"',
        '"x-trace"',
    ),
    parameters={"expires": str(NOW + 60), "alg": '"ecdsa-p256-sha256"'},
)


def read(message: Message) -> Signature:
    """Read the signature that must be there."""
    signature = read_signature(message)
    assert signature is not None
    return signature


def verify(message: Message, algorithm: Algorithm = "ecdsa-p256-sha256", **expected: Any) -> VerifiedSignature:  # noqa: ANN401 - any of the expectations
    """Read and verify, against what a server of ours expects."""
    return verify_signature(
        message,
        read(message),
        **{
            "key": KEYS[algorithm],
            "expected_keyid": KEYIDS[algorithm],
            "expected_authorities": frozenset({HOST, "other.example"}),
            "now": NOW,
            "window_s": 300,
            **expected,
        },
    )


def with_fields(message: Message, **fields: tuple[str, ...] | None) -> Message:
    """Replace fields, ``_`` for ``-``; ``None`` takes one away."""
    named = {name.replace("_", "-"): values for name, values in fields.items()}
    merged = {**message.fields, **named}
    return dataclasses.replace(message, fields={name: values for name, values in merged.items() if values is not None})


# What verifies.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signed_request_verifies(algorithm: Algorithm) -> None:
    """Each of the three algorithms vouches for key, nonce and time."""
    call = dataclasses.replace(FULL, algorithm=algorithm, parameters={"alg": f'"{algorithm}"'})
    assert verify(call.signed(), algorithm) == VerifiedSignature(KEYIDS[algorithm], "one-of-a-kind", NOW)


def test_the_base_is_written_as_rfc_9421_says() -> None:
    """One line per component, in the order covered, and the parameters last, in the order sent."""
    message = FULL.message()
    digest = base64.b64encode(hashlib.sha256(FULL.body).digest()).decode()
    assert signature_base(message, read(message)).decode() == "\n".join(
        (
            '"@method": POST',
            '"@authority": api.example',
            '"@path": /prod/transfers',
            '"@query-param";name="to": bob',
            '"@query-param";name="note": for%20tea%20%26%20cake',
            f'"content-digest": sha-256=:{digest}:',
            f'"authorization": Bearer {TOKEN}',
            '"idempotency-key": an-attempt-of-mine',
            '"baton-grant": a-grant',
            '"x-trace": one, two',
            f'"@signature-params": ({" ".join(FULL.covered)});created={NOW};keyid="{P256.keyid}"'
            f';nonce="one-of-a-kind";tag="baton";expires={NOW + 60};alg="ecdsa-p256-sha256"',
        )
    )


def test_the_order_of_components_and_parameters_is_the_signers() -> None:
    """Any order is signed as sent, and spaces in the field make no difference."""
    call = dataclasses.replace(FULL, covered=tuple(reversed(FULL.covered)))
    verify(call.signed())
    message = call.signed()
    spaced = message.fields["signature-input"][0].replace(" ", "   ").replace("(", "(  ").replace(";", ";  ")
    verify(with_fields(message, signature_input=(spaced,)))


# An independent implementation on the other side.

# The query as a client sends it, then name and value as RFC 9421 section 2.2.8 writes them.
QUERY = (
    ("to=bob", "to", "bob"),
    ("empty=", "empty", ""),
    ("space=a%20b", "space", "a%20b"),
    ("plus+sign=a+b%2Bc", "plus%20sign", "a%20b%2Bc"),
    ("tilde~=~", "tilde%7E", "%7E"),
    ("percent=100%25%20sure", "percent", "100%25%20sure"),
    ("caf%C3%A9=na%C3%AFve", "caf%C3%A9", "na%C3%AFve"),
    ("%F0%9F%94%91=%E2%82%AC", "%F0%9F%94%91", "%E2%82%AC"),
    ("marks=*-._!%27()", "marks", "*-._%21%27%28%29"),
    ("quote%22%5C=%22%5C", "quote%22%5C", "%22%5C"),
    ("line=a%0Ab%0D%0Ac", "line", "a%0Ab%0D%0Ac"),
    ("nested=a%3D1%26b%3D2", "nested", "a%3D1%26b%3D2"),
)
INDEPENDENT: Mapping[Algorithm, Any] = {
    "ecdsa-p256-sha256": independent.algorithms.ECDSA_P256_SHA256,
    "ed25519": independent.algorithms.ED25519,
    "hmac-sha256": independent.algorithms.HMAC_SHA256,
}
RESOLVER = independent.MappingKeyResolver(
    public_keys={P256.keyid: P256_KEY.public_key(), ED25519.keyid: ED25519_KEY.public_key(), "a-lineage": SECRET},
    private_keys={P256.keyid: P256_KEY, ED25519.keyid: ED25519_KEY, "a-lineage": SECRET},
)
URL = f"https://{HOST}/prod/things/a%2Fb%20c/~d?" + "&".join(sent for sent, _, _ in QUERY)
BODY = b'{"amount": 10}'
FIELDS = {
    "Authorization": f"Bearer {TOKEN}",
    "Idempotency-Key": '"an-attempt-of-mine"',
    "Baton-Grant": "a-grant",
    "Accept": "text/html, application/json",
    "Content-Digest": content_digest(BODY),
}
COVERED = (
    '"@method"',
    '"@authority"',
    '"@path"',
    *(f'"@query-param";name="{name}"' for _, name, _ in QUERY),
    '"content-digest"',
    '"authorization"',
    '"idempotency-key"',
    '"baton-grant"',
    '"accept"',
)


def as_received(headers: Mapping[str, str]) -> Message:
    """Read a request as the edge does: the query decoded once, repeated fields apart."""
    fields = {name.lower(): (value,) for name, value in headers.items()}
    fields["accept"] = ("text/html", "  application/json\t")  # type: ignore[assignment]
    url = urlsplit(URL)
    return Message("POST", HOST, url.path, tuple(parse_qsl(url.query, keep_blank_values=True)), fields, BODY)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_we_verify_what_an_independent_signer_signs(algorithm: Algorithm) -> None:
    """PyPI's http-message-signatures signs, over every kind of query parameter, field and body; we verify."""
    request = SimpleNamespace(method="POST", url=URL, headers=dict(FIELDS))
    independent.HTTPMessageSigner(signature_algorithm=INDEPENDENT[algorithm], key_resolver=RESOLVER).sign(
        request,
        key_id=KEYIDS[algorithm],
        created=dt.datetime.fromtimestamp(NOW, tz=dt.UTC),
        expires=dt.datetime.fromtimestamp(NOW + 60, tz=dt.UTC),
        nonce="theirs",
        tag="baton",
        covered_component_ids=COVERED,
        body=BODY,
        use_existing_digest=True,
    )
    message = as_received(request.headers)
    assert verify(message, algorithm) == VerifiedSignature(KEYIDS[algorithm], "theirs", NOW)
    lines = signature_base(message, read(message)).decode().splitlines()
    assert lines[3 : 3 + len(QUERY)] == [f'"@query-param";name="{name}": {value}' for _, name, value in QUERY]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_independent_verifier_verifies_our_base(algorithm: Algorithm) -> None:
    """A signature over the base we build is accepted by PyPI's http-message-signatures."""
    call = Call(covered=COVERED, algorithm=algorithm)
    unsigned = as_received({**FIELDS, "Signature-Input": call.input(), "Signature": "sig=:AA==:"})
    value = SIGN[algorithm](signature_base(unsigned, read(unsigned)))
    signature = f"sig=:{base64.b64encode(value).decode()}:"
    request = SimpleNamespace(
        method="POST", url=URL, headers={**FIELDS, "Signature-Input": call.input(), "Signature": signature}
    )
    verifier = independent.HTTPMessageVerifier(signature_algorithm=INDEPENDENT[algorithm], key_resolver=RESOLVER)
    (result,) = verifier.verify(request, max_age=None, expect_tag="baton", require_components=COVERED, body=BODY)
    assert (result.nonce, result.body) == ("one-of-a-kind", BODY)
