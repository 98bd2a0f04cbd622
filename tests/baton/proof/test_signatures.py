"""HTTP message signatures: required coverage, protection, and refusals."""

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
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given as for_any
from hypothesis import strategies as st

from chalicelib.baton import errors
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.proof.refusals import (
    ClockSkew,
    InsufficientCoverage,
    InvalidDigest,
    SignatureDefective,
    SignatureEncoding,
    WrongKey,
)
from chalicelib.baton.proof.signature import (
    VerifiedSignature,
    check_digest,
    content_digest,
    signature_base,
    verify_signature,
)
from chalicelib.baton.proof.signature_input import Signature, component, read_signature, signature_missing
from chalicelib.baton.routing import Message
from tests.baton.keys.test_public_key import (
    ED25519,
    ED25519_KEY,
    ED25519_RAW,
    P256,
    P256_KEY,
    P256_RAW,
    flipped,
    raw_signature,
)

pytestmark = pytest.mark.guarantee(12)

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
    """A request and its signature parameters. ``covered`` and ``parameters`` are written unchanged."""

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
        """Write the member of Signature-Input. A parameter of ``None`` is omitted."""
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
        """Make the request with this signature value."""
        fields = {
            **self.fields,
            "signature-input": (self.input(),),
            "signature": (f"{self.label}=:{base64.b64encode(value).decode()}:",),
        }
        return Message(self.method, self.authority, self.path, self.query, fields, self.body)

    def signed(self) -> Message:
        """Make the request with a valid signature."""
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
    """Read the signature. It must exist."""
    signature = read_signature(message)
    assert signature is not None
    return signature


def verify(message: Message, algorithm: Algorithm = "ecdsa-p256-sha256", **expected: Any) -> VerifiedSignature:
    """Read and verify the signature with the values that a server of Baton expects."""
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
    """Replace fields. Write ``_`` for ``-``. ``None`` removes a field."""
    named = {name.replace("_", "-"): values for name, values in fields.items()}
    merged = {**message.fields, **named}
    return msgspec.structs.replace(
        message, fields={name: values for name, values in merged.items() if values is not None}
    )


# What verifies.


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signed_request_verifies(algorithm: Algorithm) -> None:
    """Each of the three algorithms protects key, nonce and time."""
    call = dataclasses.replace(FULL, algorithm=algorithm, parameters={"alg": f'"{algorithm}"'})
    assert verify(call.signed(), algorithm) == VerifiedSignature(KEYIDS[algorithm], "one-of-a-kind", NOW)


def test_the_base_is_written_as_rfc_9421_says() -> None:
    """The base has one line per component, in the covered order. The parameters are last, in the order sent."""
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
            (
                f'"@signature-params": ({" ".join(FULL.covered)});created={NOW};keyid="{P256.keyid}"'
                f';nonce="one-of-a-kind";tag="baton";expires={NOW + 60};alg="ecdsa-p256-sha256"'
            ),
        )
    )


def test_the_signer_chooses_the_order_of_components_and_parameters() -> None:
    """Each order is signed as it is sent. Spaces in the field do not matter."""
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
    """Read a request as Baton does: decode the query once and keep repeated fields apart."""
    fields = {name.lower(): (value,) for name, value in headers.items()}
    fields["accept"] = ("text/html", "  application/json\t")  # type: ignore[assignment]
    url = urlsplit(URL)
    return Message("POST", HOST, url.path, tuple(parse_qsl(url.query, keep_blank_values=True)), fields, BODY)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_baton_verifies_the_signature_of_an_independent_signer(algorithm: Algorithm) -> None:
    """PyPI's http-message-signatures signs each kind of query parameter, field and body. Baton verifies."""
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
def test_an_independent_verifier_accepts_batons_signature_base(algorithm: Algorithm) -> None:
    """PyPI's http-message-signatures accepts a signature over the base that Baton builds."""
    call = Call(covered=COVERED, algorithm=algorithm)
    unsigned = as_received({**FIELDS, "Signature-Input": call.input(), "Signature": "sig=:AA==:"})
    value = SIGN[algorithm](signature_base(unsigned, read(unsigned)))
    signature = f"sig=:{base64.b64encode(value).decode()}:"
    request = SimpleNamespace(
        method="POST", url=URL, headers={**FIELDS, "Signature-Input": call.input(), "Signature": signature}
    )
    password_hash = independent.HTTPMessageVerifier(signature_algorithm=INDEPENDENT[algorithm], key_resolver=RESOLVER)
    (result,) = password_hash.verify(request, max_age=None, expect_tag="baton", require_components=COVERED, body=BODY)
    assert (result.nonce, result.body) == ("one-of-a-kind", BODY)


# The covered parts are protected.


def other(message: Message, **changed: Any) -> Message:
    """Change members of a message."""
    return msgspec.structs.replace(message, **changed)


SIGNED = FULL.signed()


@pytest.mark.parametrize(
    ("altered", "refusal"),
    [
        (other(SIGNED, method="PUT"), SignatureDefective),
        (other(SIGNED, authority="other.example"), SignatureDefective),
        (other(SIGNED, path="/prod/transfers/"), SignatureDefective),
        (other(SIGNED, path="/prod/Transfers"), SignatureDefective),
        (other(SIGNED, query=(("to", "eve"), ("note", "for tea & cake"))), SignatureDefective),
        (other(SIGNED, query=(("to", "bob"), ("note", ""))), SignatureDefective),
        (other(SIGNED, query=(("to", "bob"),)), SignatureDefective),
        (other(SIGNED, query=()), SignatureDefective),
        (other(SIGNED, query=(*SIGNED.query, ("more", "1"))), InsufficientCoverage),
        (other(SIGNED, query=(*SIGNED.query, ("to", "eve"))), errors.DuplicateField),
        (other(SIGNED, query=(("to", "eve"), *SIGNED.query)), errors.DuplicateField),
        (other(SIGNED, query=(("To", "bob"), ("note", "for tea & cake"))), InsufficientCoverage),
        (other(SIGNED, body=b'{"amount": 1000}'), InvalidDigest),
        (other(SIGNED, body=b""), InvalidDigest),
        (
            with_fields(other(SIGNED, body=b'{"amount": 1000}'), content_digest=(content_digest(b'{"amount": 1000}'),)),
            SignatureDefective,
        ),
        (with_fields(SIGNED, content_digest=None), SignatureDefective),
        (with_fields(SIGNED, authorization=("Bearer another",)), SignatureDefective),
        (with_fields(SIGNED, authorization=None), SignatureDefective),
        (with_fields(SIGNED, idempotency_key=("an-attempt-of-yours",)), SignatureDefective),
        (with_fields(SIGNED, idempotency_key=None), SignatureDefective),
        (with_fields(SIGNED, baton_grant=("another-grant",)), SignatureDefective),
        (with_fields(SIGNED, baton_grant=None), SignatureDefective),
        (with_fields(SIGNED, x_trace=("one",)), SignatureDefective),
        (with_fields(SIGNED, x_trace=("two", "one")), SignatureDefective),
        (with_fields(SIGNED, x_trace=("one,two",)), SignatureDefective),
        (with_fields(SIGNED, x_trace=None), SignatureDefective),
    ],
)
def test_a_change_of_a_covered_part_is_refused(altered: Message, refusal: type[errors.Refusal]) -> None:
    """A change is a replaced, added or removed method, host, path, query, body or field."""
    verify(SIGNED)
    with pytest.raises(errors.Refusal) as refused:
        verify(altered)
    assert type(refused.value) is refusal


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (f"created={NOW}", f"created={NOW + 1}"),
        (f"expires={NOW + 60}", f"expires={NOW + 61}"),
        (f";expires={NOW + 60}", ""),
        ('nonce="one-of-a-kind"', 'nonce="another-kind"'),
        (';alg="ecdsa-p256-sha256"', ""),
        (f'created={NOW};keyid="{P256.keyid}"', f'keyid="{P256.keyid}";created={NOW}'),
        ('"@method" "@authority"', '"@authority" "@method"'),
        (' "x-trace"', ""),
        ('"x-trace"', '"x-trace" "signature-input"'),
    ],
)
def test_a_change_of_a_signature_parameter_is_refused(was: str, becomes: str) -> None:
    """The signature covers the parameters, the list of components and their order."""
    given = SIGNED.fields["signature-input"][0]
    assert was in given
    with pytest.raises(SignatureDefective) as refused:
        verify(with_fields(SIGNED, signature_input=(given.replace(was, becomes),)))
    assert refused.value.reason == "does not verify"


def test_a_part_that_is_not_covered_may_change() -> None:
    """Proxies may add fields. A signature protects only the fields that it names."""
    verify(with_fields(SIGNED, x_forwarded_for=("192.0.2.1",), accept=("*/*",)))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_change_of_one_bit_of_the_signature_is_refused(algorithm: Algorithm) -> None:
    """Each bit of the value counts, and so does its length."""
    call = dataclasses.replace(FULL, algorithm=algorithm, parameters={})
    message = call.signed()
    verify(message, algorithm)
    value = read(message).value
    assert len(value) == (32 if algorithm == "hmac-sha256" else 64)
    others = [flipped(value, bit) for bit in range(8 * len(value))]
    for altered in (*others, value[:-1], value + b"\0", b"\0" + value, value[:16], value + value, b""):
        with pytest.raises(SignatureDefective):
            verify(call.message(altered), algorithm)


# The key of the signature.


@pytest.mark.parametrize("keyid", [ED25519.keyid, P256.keyid[:-1], P256.keyid + "A", P256.keyid.lower(), ""])
def test_a_signature_with_another_keyid_is_wrong_key(keyid: str) -> None:
    """The value of the signature does not matter, because the server does not have this key."""
    call = dataclasses.replace(FULL, parameters={**FULL.parameters, "keyid": f'"{keyid}"'})
    with pytest.raises(WrongKey):
        verify(call.message())


def test_wrong_key_requires_a_complete_and_recent_signature() -> None:
    """A signature that covers too little, has another body or is too old gets another refusal."""
    parameters = {**FULL.parameters, "keyid": f'"{ED25519.keyid}"'}
    call = dataclasses.replace(FULL, parameters=parameters)
    with pytest.raises(InsufficientCoverage):
        verify(dataclasses.replace(call, covered=()).message())
    with pytest.raises(InvalidDigest):
        verify(dataclasses.replace(call, body=b"other").message())
    with pytest.raises(SignatureDefective):
        verify(dataclasses.replace(call, authority="elsewhere.example").message())
    for now in (NOW - 301, NOW + 301):
        with pytest.raises(ClockSkew):
            verify(call.message(), now=now)


def test_a_correct_keyid_with_a_wrong_signature_is_refused() -> None:
    """Another key made the signature, so it does not verify."""
    base = signature_base(FULL.message(), read(FULL.message()))
    with pytest.raises(SignatureDefective):
        verify(FULL.message(ED25519_KEY.sign(base)))
    with pytest.raises(SignatureDefective):
        verify(FULL.signed(), key=ED25519)
    with pytest.raises(SignatureDefective):
        verify(FULL.signed(), key=SECRET)


@pytest.mark.parametrize(
    ("key", "known"),
    [
        (P256, P256_RAW),
        (P256, P256.thumbprint),
        (P256, P256.keyid.encode()),
        (P256, P256_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
        (ED25519, ED25519_RAW),
        (ED25519, ED25519.keyid.encode()),
        (ED25519, b""),
    ],
)
def test_a_public_key_is_never_an_hmac_secret(key: PublicKey, known: bytes) -> None:
    """The algorithm follows from the key. An HMAC made with public values never verifies, whatever `alg` says."""
    for alg in (None, '"hmac-sha256"', '"ecdsa-p256-sha256"'):
        call = dataclasses.replace(FULL, parameters={"keyid": f'"{key.keyid}"', "alg": alg})
        message = call.message()
        forged = call.message(hmac.digest(known, signature_base(message, read(message)), "sha256"))
        with pytest.raises(SignatureDefective):
            verify(forged, key=key, expected_keyid=key.keyid)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "alg", [*ALGORITHMS, "rsa-pss-sha512", "ecdsa-p384-sha384", "none", "", "HMAC-SHA256", "ES256", "EdDSA"]
)
def test_alg_must_agree_with_the_key(algorithm: Algorithm, alg: str) -> None:
    """A genuine signature is refused if its `alg` is not the algorithm of the key."""
    call = dataclasses.replace(FULL, algorithm=algorithm, parameters={"alg": f'"{alg}"'})
    if alg == algorithm:
        verify(call.signed(), algorithm)
        return
    with pytest.raises(SignatureDefective):
        verify(call.signed(), algorithm)


@pytest.mark.parametrize("host", ["evil.example", "API.example", "api.example:443", "api.example.", "", "api.example "])
def test_a_host_that_is_not_accepted_is_refused(host: str) -> None:
    """A genuine signature for another server is refused. Otherwise that server could replay it here."""
    with pytest.raises(SignatureDefective):
        verify(dataclasses.replace(FULL, authority=host).signed())


# What a signature must cover.


@pytest.mark.parametrize("left_out", FULL.covered[:-1])
def test_each_component_that_must_be_covered_is_required(left_out: str) -> None:
    """A genuine signature that covers too little is refused, and the refusal names the missing component."""
    call = dataclasses.replace(FULL, covered=tuple(item for item in FULL.covered if item != left_out))
    with pytest.raises(InsufficientCoverage) as refused:
        verify(call.signed())
    assert refused.value.members["missing"] == [left_out]
    assert refused.value.members["path"] == FULL.path


def test_the_refusal_lists_all_missing_components() -> None:
    """An app that covers nothing learns all components in one answer, each once."""
    call = dataclasses.replace(FULL, covered=(), query=(*FULL.query, ("to", "eve")))
    with pytest.raises(InsufficientCoverage) as refused:
        verify(call.signed())
    assert refused.value.members["missing"] == list(FULL.covered[:-1])


def test_another_component_does_not_replace_a_required_one() -> None:
    """A query parameter is not the field of the same name. A field named `method` is not the component `@method`."""
    with pytest.raises(InsufficientCoverage):
        verify(Call(query=(("to", "bob"),), fields={"to": ("bob",)}, covered=(*Call().covered, '"to"')).signed())
    with pytest.raises(InsufficientCoverage):
        verify(Call(fields={"method": ("POST",)}, covered=('"method"', '"@authority"', '"@path"')).signed())


def test_only_existing_parts_must_be_covered() -> None:
    """A call without query, body and token covers the three components that each request has."""
    verify(Call().signed())


def test_a_body_needs_a_covered_digest() -> None:
    """A body of one byte needs a covered ``content-digest``. An empty body needs none."""
    with pytest.raises(InsufficientCoverage):
        verify(Call(body=b"\n").signed())
    with pytest.raises(InsufficientCoverage):
        verify(Call(body=b"\n", fields={"content-digest": (content_digest(b"\n"),)}).signed())


@pytest.mark.parametrize("name", ["authorization", "idempotency-key", "baton-grant"])
def test_an_empty_field_must_be_covered(name: str) -> None:
    """The field exists, although its value is empty."""
    with pytest.raises(InsufficientCoverage):
        verify(Call(fields={name: ("",)}).signed())
    verify(Call(fields={name: ("",)}, covered=(*Call().covered, f'"{name}"')).signed())


@pytest.mark.parametrize("name", ["@query", "@target-uri", "@request-target", "@scheme", "@status"])
def test_a_component_that_the_server_cannot_see_is_refused(name: str) -> None:
    """Behind API Gateway the raw query is not available, so it cannot be verified."""
    given = Call(covered=(*Call().covered, f'"{name}"')).message()
    with pytest.raises(SignatureDefective) as refused:
        verify(given)
    assert str(refused.value.members["hint"]).startswith(f'"{name}" cannot be verified here')
    query = Call(query=(("to", "bob"),), covered=(*Call().covered, f'"{name}"')).message()
    with pytest.raises(InsufficientCoverage):
        verify(query)


# The fields of the signature.


def test_a_request_without_a_signature_is_unsigned() -> None:
    """The request has no fields, Signature-Input is empty, or no member has Baton's tag.

    The route then accepts or refuses an unsigned request.
    """
    assert read_signature(Message("GET", HOST, "/", (), {}, b"")) is None
    assert read_signature(Message("GET", HOST, "/", (), {"signature-input": ("",)}, b"")) is None
    for tag in (None, '"web-bot-auth"', '"Baton"', '"baton "', '""', "?1", "1"):
        assert read_signature(Call(parameters={"tag": tag}).message()) is None


FOREIGN = 'theirs=("@method" "@query";sf "x";bs;req);created=1;keyid="k";tag="theirs";surprise'


@pytest.mark.parametrize(
    ("given", "reason"),
    [(None, ""), ((), ""), (("",), ""), (('theirs=("@method");created=1',), "no tag"), (("", "a=()"), "no tag")],
)
def test_a_signature_without_batons_tag_differs_from_no_signature(given: tuple[str, ...] | None, reason: str) -> None:
    """Without a signature, the refusal says to sign. Without the tag, it says to add the tag."""
    refusal = signature_missing(with_fields(SIGNED, **{"signature-input": given}))
    assert refusal.reason == reason
    assert ("tag=" in str(refusal.members.get("detail"))) == bool(reason)


@pytest.mark.parametrize("given", ["{foreign}, {ours}", "{ours}, {foreign}", "{ours}, a=1, b=?0, c={foreign}"])
def test_signatures_with_another_tag_are_ignored(given: str) -> None:
    """A proxy may add a signature of its own profile. Baton neither verifies nor refuses it."""
    message = SIGNED
    ours, value = message.fields["signature-input"][0], message.fields["signature"][0]
    foreign = FOREIGN.removeprefix("theirs=") if "c=" in given else FOREIGN
    both = with_fields(
        message,
        signature_input=(given.format(foreign=foreign, ours=ours),),
        signature=(f"theirs=:AAAA:, {value}, c=?1",),
    )
    verify(both)


def test_a_field_in_two_lines_is_combined() -> None:
    """RFC 9110 section 5.3 allows a sender to split a list. Another module decides whether Baton accepts this."""
    ours, value = SIGNED.fields["signature-input"][0], SIGNED.fields["signature"][0]
    verify(with_fields(SIGNED, signature_input=(FOREIGN, ours), signature=(value, "theirs=:AAAA:")))


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("{ours}, two={member}", "{value}, two=:AAAA:"),  # two with Baton's tag
        ("two={member}, {ours}", "{value}"),
        ("{ours}, {ours}", "{value}"),  # one label twice
        ("sig=(), {ours}", "{value}"),
        ("{ours}, theirs=1, theirs=2", "{value}"),
        ("{ours}", "{value}, {value}"),
        ("{ours}", "sig=:AAAA:, {value}"),
        ("{ours}", "{value}, theirs=1, theirs=2"),
        ("{ours};created=1", "{value}"),  # one parameter twice
        ("{ours};tag=1", "{value}"),
        ('{ours};tag="theirs"', "{value}"),
        ("{ours}", ""),  # no member with this label
        ("{ours}", "other=:AAAA:"),
        ("{ours}", "SIG=:AAAA:"),
        ("{ours}", "sig"),  # a member of another type
        ("{ours}", "sig=?0"),
        ("{ours}", "sig=1"),
        ("{ours}", 'sig="AAAA"'),
        ("{ours}", "sig=AAAA"),
        ("{ours}", "sig=(:AAAA:)"),
        ("{ours}", "sig=:AAA!:"),
        ("{ours}", "sig=:AAAA"),
        ("{ours}", "{value},"),
        ("{ours}", "{value};"),
        ("{ours},", "{value}"),  # not a dictionary
        ("{ours} {ours}", "{value}"),
        ("{ours}\n", "{value}"),
        ("{ours}\0", "{value}"),
        ("{ours}\N{NO-BREAK SPACE}", "{value}"),
        ("\ud800", "{value}"),
        ("(", "{value}"),
        ('sig="@method";tag="baton"', "{value}"),  # no list of components
        ('sig;tag="baton"', "{value}"),
        ('sig=:AAAA:;tag="baton"', "{value}"),
    ],
)
def test_anything_but_one_signature_with_batons_tag_is_refused(given: str, value: str) -> None:
    """Repeated, incomplete and invalid members are refused, so that the choice is never ambiguous."""
    ours, signed = SIGNED.fields["signature-input"][0], SIGNED.fields["signature"][0]
    member = ours.removeprefix("sig=")
    message = with_fields(
        SIGNED,
        signature_input=(given.replace("{ours}", ours).replace("{member}", member),),
        signature=(value.replace("{value}", signed),),
    )
    with pytest.raises(SignatureDefective):
        read_signature(message)


def test_a_signature_field_without_the_other_one_is_refused() -> None:
    """Both fields are required: a Signature alone may follow an older draft."""
    with pytest.raises(SignatureDefective):
        read_signature(with_fields(SIGNED, signature=None))
    with pytest.raises(SignatureDefective):
        read_signature(with_fields(SIGNED, signature_input=None))


@pytest.mark.parametrize("name", ["created", "keyid", "nonce"])
def test_each_required_parameter_is_required(name: str) -> None:
    """Without them the request has no time, no key or no replay protection."""
    with pytest.raises(SignatureDefective):
        read_signature(dataclasses.replace(FULL, parameters={name: None}).message())


STRINGS = ("tag", "keyid", "nonce", "alg")
INTEGERS = ("created", "expires")
NOT_STRINGS = ("?1", "baton", "1", "1.5", ":AAAA:", "@1700000000", '%"baton"')
NOT_INTEGERS = ("?1", "?0", "a", "1.0", f"{NOW}.0", f'"{NOW}"', f"@{NOW}", ":AAAA:", '%"1"')


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in STRINGS for value in NOT_STRINGS if name != "tag" or value == "baton"]
    + [(name, value) for name in INTEGERS for value in NOT_INTEGERS],
)
def test_parameters_of_another_type_are_refused(name: str, value: str) -> None:
    """A Token is not a String. A Boolean, a Decimal or a Date is not an Integer."""
    with pytest.raises(SignatureDefective):
        read_signature(dataclasses.replace(FULL, parameters={name: value}).message())


@pytest.mark.parametrize("name", ["surprise", "create", "key", "x"])
@pytest.mark.parametrize("value", ['"1"', "1", "?1"])
def test_unknown_parameters_are_refused(name: str, value: str) -> None:
    """An unknown parameter could limit the meaning of the signature, whatever its type."""
    with pytest.raises(SignatureDefective):
        read_signature(dataclasses.replace(FULL, parameters={name: value}).message())


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"created": '"now"'}, "The signature parameter `created` must be an integer."),
        ({"surprise": "1"}, "The only signature parameters are `alg`, `created`, `expires`, `keyid`, `nonce`, `tag`."),
    ],
)
def test_the_refusal_of_a_parameter_says_how_to_correct_it(given: dict[str, str], hint: str) -> None:
    """One case is a known parameter, the other an unknown parameter."""
    with pytest.raises(SignatureDefective) as refused:
        read_signature(dataclasses.replace(FULL, parameters=given).message())
    assert refused.value.members["hint"] == hint


@pytest.mark.parametrize(
    ("nonce", "fits"),
    [
        ("a", True),
        ("a" * 128, True),
        ("!#~", True),
        (r"\"\\", True),
        ("", False),
        ("a" * 129, False),
        ("a b", False),
        (" ", False),
    ],
)
def test_a_nonce_is_1_to_128_visible_characters(nonce: str, fits: bool) -> None:  # noqa: FBT001 - a verdict
    """The nonce is stored, so its length is limited."""
    call = dataclasses.replace(FULL, parameters={"nonce": f'"{nonce}"'})
    if fits:
        assert verify(call.signed()).nonce == nonce.replace("\\", "", 1).replace("\\\\", "\\")
        return
    with pytest.raises(SignatureDefective):
        read_signature(call.message())


def test_a_keyid_is_at_most_128_characters() -> None:
    """Baton's keyids have at most 43 characters. A much longer keyid is refused early."""
    assert read_signature(Call(parameters={"keyid": f'"{"k" * 128}"'}).message()) is not None
    with pytest.raises(SignatureDefective):
        read_signature(Call(parameters={"keyid": f'"{"k" * 129}"'}).message())


# Components outside the profile.


@pytest.mark.parametrize(
    "component",
    [
        '"x-trace";sf',
        '"x-trace";key="a"',
        '"x-trace";bs',
        '"x-trace";tr',
        '"x-trace";req',
        '"x-trace";name="x"',
        '"@method";req',
        '"@method";name="x"',
        '"@query-param"',
        '"@query-param";name',
        '"@query-param";name=?0',
        '"@query-param";name=to',
        '"@query-param";name=1',
        '"@query-param";name=:AAAA:',
        '"@query-param";name=%"to"',
        '"@query-param";name="to";req',
        '"@query-param";Name="to"',
        '"@query-param";name="nobody"',
        '"@query-param";name="%74o"',
        '"@query-param";name="note "',
        "x-trace",
        "@1",
        "1",
        "1.5",
        "?1",
        ":AAAA:",
        '%"x-trace"',
        '"X-Trace"',
        '"x-absent"',
        '"x trace"',
        '"x-trace:"',
        '"x-trace\\""',
        '"x-trace\\\\"',
        '""',
        '"@"',
        '"@nope"',
        '"@Method"',
        '"@signature-params"',
        '"@method"',  # covered already
        '"x-trace" "x-trace"',
    ],
)
def test_components_outside_the_profile_are_refused(component: str) -> None:
    """The profile has plain names and query parameters by name. It is small, so that it can be complete."""
    message = dataclasses.replace(FULL, covered=(*FULL.covered[:-1], component)).message()
    with pytest.raises(SignatureDefective):
        signature_base(message, read(message))


def test_the_name_of_a_query_parameter_must_be_a_string() -> None:
    """With a token as the name, the base would contain another identifier than the client sent."""
    message = Call(query=(("to", "bob"),), covered=(*Call().covered, '"@query-param";name=to')).message()
    with pytest.raises(SignatureDefective):
        read_signature(message)


def test_a_repeated_query_parameter_is_refused_before_the_base_is_built() -> None:
    """Each covered name would be compared with all repetitions, so a long query would cost much time."""
    names = [f"n{number}" for number in range(60)]
    call = Call(
        query=(*((name, "") for name in names), *[("again", "")] * 500),
        covered=(*Call().covered, *(f'"@query-param";name="{name}"' for name in (*names, "again"))),
    )
    with pytest.raises(errors.DuplicateField) as refused:
        verify(call.message(), expected_authorities=frozenset())
    assert refused.value.members["field"] == "again"


def test_a_repeated_query_parameter_cannot_be_signed() -> None:
    """RFC 9421 section 2.2.8: the meaning would be ambiguous."""
    message = Call(query=(("a", "1"), ("a", "1")), covered=(*Call().covered, '"@query-param";name="a"')).message()
    with pytest.raises(errors.DuplicateField) as refused:
        verify(message)
    assert refused.value.members == {"field": "a"}
    signature = read_signature(message)
    assert signature is not None
    with pytest.raises(errors.DuplicateField):
        signature_base(message, signature)


def test_query_parameters_are_distinguished_by_their_exact_names() -> None:
    """Upper and lower case, composed and decomposed letters, space and plus are different names."""
    names = ("a", "A", "\u00e9", "e\u0301", " ", "+", "%20", "", "~", "\ud800", "\U00010000")
    encoded = ("a", "A", "%C3%A9", "e%CC%81", "%20", "%2B", "%2520", "", "%7E", "%ED%A0%80", "%F0%90%80%80")
    query = tuple((name, str(number)) for number, name in enumerate(names))
    covered = (*Call().covered, *(f'"@query-param";name="{name}"' for name in encoded))
    call = Call(query=query, covered=covered)
    verify(call.signed())
    for number, name in enumerate(names):
        swapped = tuple((given, "x" if given == name else value) for given, value in query)
        with pytest.raises(SignatureDefective):
            verify(other(call.signed(), query=swapped))
        short = tuple(item for place, item in enumerate(covered) if place != number + 3)
        with pytest.raises(InsufficientCoverage):
            verify(dataclasses.replace(call, covered=short).signed())


def test_at_most_64_components_are_covered() -> None:
    """Each input from outside has a limit."""
    names = [f"x-{number}" for number in range(62)]
    fields = dict.fromkeys(names, ("",))
    covered = (*Call().covered, *(f'"{name}"' for name in names))
    verify(Call(fields=fields, covered=covered[:-1]).signed())
    assert len(covered) == 65
    with pytest.raises(SignatureDefective):
        read_signature(Call(fields=fields, covered=covered).message())


# Nothing can be injected into the base.


HOSTILE = (
    "a\nb",
    "a\rb",
    "a\r\n b",
    "a\0b",
    "a\x7fb",
    "a\x1fb",
    "\u00e9",
    "a\u0085b",
    "a\u2028b",
    "\ud800",
    "\U0001f511",
)


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("member", ["method", "path", "authority"])
def test_derived_components_hold_no_line_ends(member: str, value: str) -> None:
    """With a line end in a method, host or path, one line could look like two."""
    message = other(Call().message(), **{member: value})
    with pytest.raises(SignatureDefective) as refused:
        signature_base(message, read(message))
    assert "cannot be signed" in str(refused.value.members["detail"])


@pytest.mark.parametrize("value", HOSTILE)
def test_covered_fields_hold_no_line_ends(value: str) -> None:
    """Line ends, folded lines, other controls and non-ASCII are refused in covered fields and ignored in others."""
    call = Call(covered=(*Call().covered, '"x-note"'), fields={"x-note": ("fine", value)})
    with pytest.raises(SignatureDefective) as refused:
        signature_base(call.message(), read(call.message()))
    assert "cannot be signed" in str(refused.value.members["detail"])
    verify(dataclasses.replace(call, covered=Call().covered).signed())


def test_one_line_cannot_replace_two_lines() -> None:
    """A signature over two fields does not verify over one field that contains the text of both."""
    two = Call(covered=(*Call().covered, '"x-a"', '"x-b"'), fields={"x-a": ("1",), "x-b": ("2",)})
    value = read(two.signed()).value
    one = Call(covered=(*Call().covered, '"x-a"'), fields={"x-a": ('1\n"x-b": 2',)})
    with pytest.raises(SignatureDefective):
        verify(one.message(value))


def test_values_are_trimmed_and_joined_as_rfc_9421_says() -> None:
    """Spaces and tabs around a value are removed, those inside stay. Lines are joined with comma and space."""
    call = Call(covered=(*Call().covered, '"x-a"'), fields={"x-a": (" \t a \t b\t", "", "  c")})
    assert b'"x-a": a \t b, , c\n' in signature_base(call.message(), read(call.message()))


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", 'a"\n"@path": /other', 'x";name="y', "a;name=b", "a b", "\n", "\\\\\\"]
)
def test_special_characters_in_the_name_of_a_query_parameter_are_encoded(name: str) -> None:
    """Quotes, backslashes and line ends are percent-encoded, so such a name signs only itself."""
    quoted = "".join(f"%{byte:02X}" if not chr(byte).isalnum() else chr(byte) for byte in name.encode())
    call = Call(query=((name, "v"),), covered=(*Call().covered, f'"@query-param";name="{quoted}"'))
    base = signature_base(call.message(), read(call.message())).decode()
    assert base.splitlines()[3] == f'"@query-param";name="{quoted}": v'
    assert len(base.splitlines()) == 5
    verify(call.signed())


def test_identifiers_are_written_back_as_structured_strings() -> None:
    """A quote or backslash in a name is escaped again, so no name can end its own quotes."""
    assert component("@query-param", 'a"b\\') == r'"@query-param";name="a\"b\\"'
    assert component('x"') == r'"x\""'
    assert component("x\\") == r'"x\\"'
    call = Call(parameters={"nonce": r'"quote\"backslash\\"'})
    assert rb'nonce="quote\"backslash\\"' in signature_base(call.message(), read(call.message()))
    assert verify(call.signed()).nonce == 'quote"backslash\\'


# Digests.


WRONG = f"sha-256=:{base64.b64encode(hashlib.sha256(b'other').digest()).decode()}:"
RIGHT = content_digest(BODY)
RIGHT_512 = f"sha-512=:{base64.b64encode(hashlib.sha512(BODY).digest()).decode()}:"
WRONG_512 = f"sha-512=:{base64.b64encode(hashlib.sha512(b'other').digest()).decode()}:"


@pytest.mark.parametrize(
    ("given", "matches"),
    [
        ((RIGHT,), True),
        ((RIGHT_512,), True),
        ((f"{RIGHT}, {RIGHT_512}",), True),
        ((RIGHT_512, RIGHT), True),
        ((f"{RIGHT}, md5=:AAAA:, unixsum=1",), True),  # an unknown algorithm and a known one
        ((f"{RIGHT};note=1",), True),
        ((WRONG,), False),
        ((WRONG_512,), False),
        ((f"{RIGHT}, {WRONG_512}",), False),  # each given digest must match
        ((f"{WRONG}, {RIGHT_512}",), False),
        ((RIGHT, RIGHT), False),  # one key twice
        ((WRONG, RIGHT), False),
        (("md5=:AAAA:",), False),  # no known algorithm
        (("",), False),
        ((), False),
        ((RIGHT.replace("sha-256", "sha-512"),), False),
        ((RIGHT_512.replace("sha-512", "sha-256"),), False),
        ((RIGHT.replace("sha-256", "SHA-256"),), False),
        ((RIGHT.replace("=:", "=?:"),), False),
        (("sha-256",), False),
        (("sha-256=?1",), False),
        (("sha-256=::",), False),
        (('sha-256="' + RIGHT.partition(":")[2].rstrip(":") + '"',), False),
        ((RIGHT.replace("=:", "=(:").replace("=:", ":)"),), False),
        ((f"sha-256=({RIGHT.partition('=')[2]})",), False),
        ((RIGHT[:-1],), False),
        ((RIGHT[:-2] + ":",), False),  # padding missing, and too much padding: there is one spelling
        ((RIGHT[:-1] + "=:",), False),
        ((RIGHT + ",",), False),
        ((RIGHT + "\n",), False),
        ((RIGHT + "\u00e9",), False),
        (("\ud800",), False),
    ],
)
def test_every_digest_given_must_match(given: tuple[str, ...], matches: bool) -> None:  # noqa: FBT001 - a verdict
    """The algorithms are sha-256 and sha-512. At least one digest must match, and none may differ."""
    message = Message("POST", HOST, "/", (), {"content-digest": given}, BODY)
    if matches:
        check_digest(message)
        return
    with pytest.raises(InvalidDigest):
        check_digest(message)


def test_a_digest_is_optional_where_nothing_is_signed() -> None:
    """Without the field there is nothing to check. An empty body has the digest of zero bytes."""
    check_digest(Message("POST", HOST, "/", (), {}, BODY))
    check_digest(Message("POST", HOST, "/", (), {"content-digest": (content_digest(b""),)}, b""))
    with pytest.raises(InvalidDigest):
        check_digest(Message("POST", HOST, "/", (), {"content-digest": (content_digest(b""),)}, b" "))


def test_a_wrong_digest_is_refused_even_where_it_is_not_covered() -> None:
    """A call without a body need not cover the field, but a wrong value is refused."""
    with pytest.raises(InvalidDigest):
        verify(Call(fields={"content-digest": (WRONG,)}).signed())


# Time.


@pytest.mark.parametrize("offset", [-300, -1, 0, 1, 300])
def test_a_signature_is_valid_for_300_seconds_in_both_directions(offset: int) -> None:
    """Both limits are inclusive."""
    assert verify(Call(parameters={"created": str(NOW + offset)}).signed()).created == NOW + offset


@pytest.mark.parametrize("created", [NOW - 301, NOW + 301, 0, -NOW, 10**11 - 1, -999_999_999_999_999])
def test_a_signature_outside_the_window_is_clock_skew(created: int) -> None:
    """The signature is genuine. The refusal contains both times."""
    with pytest.raises(ClockSkew) as refused:
        verify(Call(parameters={"created": str(created)}).signed())
    assert refused.value.members == {"created": created, "window": 300}


@pytest.mark.parametrize(
    ("created", "expires", "refusal"),
    [
        (NOW, NOW, None),  # in its last second
        (NOW, NOW + 600, None),
        (NOW - 300, NOW, None),
        (NOW - 300, NOW + 300, None),
        (NOW, NOW + 601, SignatureDefective),
        (NOW - 300, NOW + 301, SignatureDefective),
        (NOW, 10**11 - 1, SignatureDefective),
        (NOW - 10, NOW - 1, ClockSkew),  # expired
        (NOW + 10, NOW + 9, ClockSkew),  # expired before it began
        (NOW, 0, ClockSkew),
        (NOW, -1, ClockSkew),
        (NOW - 301, NOW + 1, ClockSkew),  # the window still applies
    ],
)
def test_expires_can_shorten_the_window_but_not_extend_it(
    created: int, expires: int, refusal: type[errors.Refusal] | None
) -> None:
    """The signature is accepted through its last second, which is at most 600 seconds after `created`."""
    message = Call(parameters={"created": str(created), "expires": str(expires)}).signed()
    if refusal is None:
        verify(message)
        return
    with pytest.raises(errors.Refusal) as refused:
        verify(message)
    assert type(refused.value) is refusal


# The content of a refusal.


def der_signature(base: bytes) -> bytes:
    """Sign as Android Keystore does."""
    return P256_KEY.sign(base, ec.ECDSA(hashes.SHA256()))


def test_the_refusal_of_a_der_signature_names_its_format() -> None:
    """Android Keystore returns DER. The hint says so, because "does not verify" would not help a developer."""
    message = FULL.message()
    with pytest.raises(SignatureEncoding) as refused:
        verify(FULL.message(der_signature(signature_base(message, read(message)))))
    assert "32 bytes each" in str(refused.value.members["hint"])
    assert refused.value.members["path"] == FULL.path


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
def test_the_hint_about_der_is_given_only_for_p256(algorithm: Algorithm) -> None:
    """For the other two algorithms such bytes are an ordinary wrong signature."""
    call = dataclasses.replace(FULL, algorithm=algorithm, parameters={})
    with pytest.raises(SignatureDefective):
        verify(call.message(der_signature(b"anything")), algorithm)


@pytest.mark.parametrize("value", [b"", b"\x30", bytes(64), b"0" * 64, b"\x30\x06\x02\x01\x01\x02\x01", bytes(70)])
def test_invalid_bytes_get_no_hint_about_der(value: bytes) -> None:
    """The hint requires a well-formed DER sequence of two integers."""
    with pytest.raises(SignatureDefective):
        verify(FULL.message(value))


def test_the_signature_base_in_a_refusal_hides_the_token() -> None:
    """A developer can compare the lines. A reader of the answer sees no token."""
    with pytest.raises(SignatureDefective) as refused:
        verify(FULL.message(bytes(64)))
    shown = str(refused.value.members["signature_base"])
    digest = base64.b64encode(hashlib.sha256(f"Bearer {TOKEN}".encode()).digest()).decode()
    real = signature_base(FULL.message(), read(FULL.message())).decode()
    assert TOKEN not in repr(refused.value.members) + str(refused.value) + refused.value.reason
    assert shown == real.replace(f"Bearer {TOKEN}", f"sha-256=:{digest}:")
    assert refused.value.members["path"] == FULL.path


def test_no_refusal_contains_a_token() -> None:
    """For each kind of refusal, the value of `authorization` is in no member, reason or text."""
    wrongs = (
        other(SIGNED, method="PUT"),
        other(SIGNED, authority="evil.example"),
        other(SIGNED, body=b"other"),
        with_fields(SIGNED, authorization=(f"Bearer {TOKEN}\n",)),
        with_fields(SIGNED, signature=("garbage",)),
        with_fields(SIGNED, baton_grant=None),
        dataclasses.replace(FULL, covered=()).signed(),
        dataclasses.replace(FULL, parameters={"created": "0"}).signed(),
    )
    for message in wrongs:
        with pytest.raises(errors.Refusal) as refused:
            verify(message)
        assert TOKEN not in repr(refused.value.members) + str(refused.value) + refused.value.reason


@pytest.mark.parametrize(
    "message",
    [with_fields(SIGNED, signature=None), other(SIGNED, authority="x.example"), Call(parameters={"x": "1"}).message()],
)
def test_a_refused_signature_comes_with_a_hint_and_the_servers_path(message: Message) -> None:
    """The hint says what to do. The path is shown because stages and prefixes often change it."""
    with pytest.raises(SignatureDefective) as refused:
        verify(message)
    hint = str(refused.value.members["hint"])
    assert hint[0].isupper() or hint[0] in '`"'
    assert hint.endswith(".")
    assert refused.value.members["detail"] == hint
    assert refused.value.members["path"] == message.path


@pytest.mark.parametrize("name", ["created", "expires"])
def test_created_in_milliseconds_is_recognised(name: str) -> None:
    """Times in milliseconds are recognised from the year 1973 on, and times in seconds up to the year 5138."""
    for value, words in ((10**11, "milliseconds"), (NOW * 1000, "milliseconds")):
        with pytest.raises(SignatureDefective) as refused:
            read_signature(dataclasses.replace(FULL, parameters={name: str(value)}).message())
        assert words in str(refused.value.members["detail"])
    read_signature(dataclasses.replace(FULL, parameters={name: str(10**11 - 1)}).message())


@pytest.mark.parametrize(
    ("authority", "accepted"),
    [
        ("phone.local:8000", True),
        ("phone.local", False),
        ("a.phone.local:8000", False),
        (".local:8000", True),
        ("local:8000", False),
        ("phone.local:8001", False),
        ("phone.local:8000.evil.example", False),
        (HOST, True),
        ("*.local:8000", True),
        ("", False),
    ],
)
def test_all_hosts_of_a_domain_can_be_accepted(authority: str, accepted: bool) -> None:  # noqa: FBT001 - a column
    """In development ``*.local`` matches one label, with this port."""
    message = dataclasses.replace(FULL, authority=authority).signed()
    hosts = frozenset({HOST, "*.local:8000"})
    if accepted:
        verify(message, expected_authorities=hosts)
        return
    with pytest.raises(SignatureDefective) as refused:
        verify(message, expected_authorities=hosts)
    assert refused.value.members["detail"] == "The host of this request is not accepted."


def test_refusals_come_in_a_fixed_order() -> None:
    """The order is coverage, host, algorithm, signature, digest, expiry, window. The first failure is returned."""
    wrong: dict[str, Any] = {"parameters": {"alg": '"ed25519"', "created": "0", "expires": "900"}}
    call = dataclasses.replace(FULL, authority="evil.example", covered=(), body=b"other", **wrong)
    seen = []
    for correction in (
        {"covered": FULL.covered},
        {"authority": HOST},
        {"parameters": {"created": "0", "expires": "900"}},
        {"fields": {**FULL.fields, "content-digest": (content_digest(b"other"),)}},
        {"parameters": {"created": "0", "expires": "600"}},
        {"parameters": {"created": str(NOW)}},
    ):
        with pytest.raises(errors.Refusal) as refused:
            verify(call.signed())
        with pytest.raises(errors.Refusal) as unsigned:
            verify(call.message(bytes(64)))
        seen.append((refused.value.code, refused.value.reason.split(":")[0], unsigned.value.code))
        call = dataclasses.replace(call, **correction)
    verify(call.signed())
    assert seen == [
        ("insufficient_coverage", "missing", "insufficient_coverage"),
        ("invalid_signature", "the host is not accepted", "invalid_signature"),
        ("invalid_signature", "alg is not that of the key", "invalid_signature"),
        ("invalid_digest", "sha-256", "invalid_signature"),
        ("invalid_signature", "expires is too late", "invalid_signature"),
        ("clock_skew", "created outside the window", "invalid_signature"),
    ]


def test_refusals_of_a_signature_by_another_key_come_in_a_fixed_order() -> None:
    """The order is coverage, host, digest, expiry, window, key. The value of the signature is never verified."""
    wrong: dict[str, Any] = {"parameters": {"keyid": '"other"', "alg": '"ed25519"', "created": "0", "expires": "900"}}
    call = dataclasses.replace(FULL, authority="evil.example", covered=(), body=b"other", **wrong)
    seen = []
    for correction in (
        {"covered": FULL.covered},
        {"authority": HOST},
        {"fields": {**FULL.fields, "content-digest": (content_digest(b"other"),)}},
        {"parameters": {**wrong["parameters"], "expires": "600"}},
        {"parameters": {"keyid": '"other"', "created": str(NOW)}},
        {"parameters": {"created": str(NOW)}},
    ):
        with pytest.raises(errors.Refusal) as refused:
            verify(call.message(bytes(64)))
        seen.append((refused.value.code, refused.value.reason.split(":")[0]))
        call = dataclasses.replace(call, **correction)
    verify(call.signed())
    assert seen == [
        ("insufficient_coverage", "missing"),
        ("invalid_signature", "the host is not accepted"),
        ("invalid_digest", "sha-256"),
        ("invalid_signature", "expires is too late"),
        ("clock_skew", "created outside the window"),
        ("wrong_key", "keyid"),
    ]


# Any input.


PIECES = st.sampled_from(
    [
        *(
            "sig=",
            "(",
            ")",
            '"@method"',
            '"@authority"',
            '"@path"',
            '"@query-param"',
            ";name=",
            '"to"',
            "?1",
            "@1",
            "%",
        ),
        *(";created=", ";keyid=", ";nonce=", ";tag=", '"baton"', ";expires=", ";alg=", str(NOW), f'"{P256.keyid}"'),
        *(",", " ", ";", "=", ":", "AAAA", '"', "\\", "\n", "\0", "\u00e9", "\ud800", "1.5", "9" * 16, "@" + "9" * 15),
        *("sha-256=", "sha-512=", "*", "a", "A", "-", ":AAAA:", '"x-a"', '"content-digest"', FULL.input()),
    ]
)
FIELDISH = st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30)
LINES = st.lists(FIELDISH, max_size=2).map(tuple)
MESSAGES = st.builds(
    Message,
    method=st.sampled_from(["GET", "POST"]) | st.text(max_size=5),
    authority=st.sampled_from([HOST]) | st.text(max_size=5),
    path=st.just("/prod/transfers") | st.text(max_size=10),
    query=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=5)), max_size=3).map(tuple),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "signature-input": LINES | st.just((FULL.input(),)),
            "signature": LINES | st.just(("sig=:AAAA:",)),
            "content-digest": LINES | st.just((RIGHT,)),
            "authorization": LINES,
            "x-a": LINES,
        },
    ),
    body=st.binary(max_size=5),
)


@for_any(MESSAGES, st.sampled_from(ALGORITHMS))
def test_any_message_is_verified_or_refused(message: Message, algorithm: Algorithm) -> None:
    """Each message gives a `Refusal` or no signature, never another exception and never a forgery."""
    try:
        if read_signature(message) is not None:
            verify(message, algorithm)
            pytest.fail("this message was not signed")
    except errors.Refusal:
        pass
    try:
        check_digest(message)
    except InvalidDigest:
        return
    given = message.fields.get("content-digest")
    assert given is None or base64.b64encode(hashlib.sha256(message.body).digest()).decode() in "".join(given)


@for_any(LINES, st.text(max_size=20), st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4))
def test_a_message_that_is_read_can_be_signed_and_verified(
    values: tuple[str, ...], path: str, query: list[tuple[str, str]]
) -> None:
    """A signature over the base verifies, or the message cannot be signed. No value adds a line to the base."""
    call = Call(
        path=path,
        query=tuple(query),
        fields={"x-a": values},
        covered=(
            *Call().covered,
            '"x-a"',
            *(f'"@query-param";name="{encoded(name)}"' for name in dict.fromkeys(name for name, _ in query)),
        ),
    )
    message = call.message()
    try:
        base = signature_base(message, read(message))
    except (SignatureDefective, errors.DuplicateField):
        repeated = len({name for name, _ in query}) < len(query)
        assert repeated or not (path + "".join(values)).isascii() or not (path + "".join(values)).isprintable()
        return
    assert base.count(b"\n") == len(call.covered)
    verify(call.message(raw_signature(base)))


def encoded(text: str) -> str:
    """Percent-encode as application/x-www-form-urlencoded of the URL standard, but a space as %20."""
    return "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "*-._") else f"%{byte:02X}"
        for byte in text.encode()
    )
