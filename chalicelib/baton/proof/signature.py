"""Verify signed calls: HTTP Message Signatures (RFC 9421) with the tag ``baton`` or ``httpsig-oauth``. No I/O.

Baton's own profile is small. A signature may cover ``@method``, ``@authority``, ``@path``, each query parameter as
``@query-param``, and header fields by their name without parameters. The component parameters ``sf``, ``key``, ``bs``,
``tr`` and ``req`` are refused. ``@query``, ``@target-uri`` and ``@request-target`` are refused too: API Gateway does
not pass the raw query, so Baton could not verify them.

``signature_input.py`` finds and reads the signature. This module also checks ``Content-Digest`` (RFC 9530), because the
signature of a request with a body must cover this header.
"""

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Mapping
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.policy import SIGNATURE_LIFE_MAX_S
from chalicelib.baton.proof.refusals import (
    ClockSkew,
    InsufficientCoverage,
    InvalidDigest,
    SignatureDefective,
    SignatureEncoding,
    WrongKey,
)
from chalicelib.baton.proof.signature_input import Signature, component, defective
from chalicelib.baton.proof.structured_fields import parse_dictionary
from chalicelib.baton.routing import Message

ALWAYS_COVERED = ('"@method"', '"@authority"', '"@path"')
COVERED_WHEN_PRESENT = {name: f'"{name}"' for name in ("authorization", "idempotency-key", "baton-grant")}

_UNSIGNABLE = re.compile(r"[^\t -~]")
"""Characters that must not be in a signed value. A line break inside a value could imitate the line of another
component (RFC 9421 section 2.5)."""


_UNRESERVED = "*-._"
"""The characters besides letters and digits that application/x-www-form-urlencoded keeps (RFC 9421 section 2.2.8)."""


class VerifiedSignature(Struct, frozen=True):
    """The facts of a verified signature. The nonce is not consumed yet. ``created`` is in seconds since the epoch."""

    keyid: str
    nonce: str
    created: int


def signature_base(
    message: Message, signature: Signature, *, target_uri: str | None = None, redacted: bool = False
) -> bytes:
    """Build the signature base (RFC 9421 section 2.5).

    - ``target_uri``: the value of ``@target-uri``, for the tag ``httpsig-oauth`` only.
    - ``redacted``: replace the value of ``authorization`` by its digest, so that the base can be shown.

    Raises:
        SignatureDefective: a covered component is not supported or not in the request, or its value cannot be signed.
        DuplicateField: a covered query parameter is repeated.

    """
    derived = {'"@method"': message.method, '"@authority"': message.authority, '"@path"': message.path}
    if target_uri is not None:
        derived = {'"@method"': message.method, '"@target-uri"': target_uri}
    lines = []
    for identifier in signature.components:
        value = derived.get(identifier)
        if value is None:
            value = _component_value(message, identifier)
        if not (value.isascii() and value.isprintable()) and _UNSIGNABLE.search(value):
            raise defective(
                message, "unsignable characters", f"The value of {identifier} has characters that cannot be signed."
            )
        if redacted and identifier == COVERED_WHEN_PRESENT["authorization"]:
            value = digest_value("sha-256", value.encode())
        lines.append(f"{identifier}: {value}")
    lines.append(f'"@signature-params": {signature.written}')
    return "\n".join(lines).encode()


def verify_signature(  # noqa: PLR0913 - verified against expectations, each of them named
    message: Message,
    signature: Signature,
    *,
    key: PublicKey | bytes,
    expected_keyid: str,
    expected_authorities: frozenset[str],
    now: int,
    window_s: int,
    tell_authorities: bool = False,
) -> VerifiedSignature:
    """Verify that this key signed this request recently.

    - ``key``: a public key or an HMAC secret. The algorithm follows from the key, never from the message.
    - ``expected_authorities``: the accepted hosts, in development also ``*.local``.
    - ``now``: in seconds since the epoch.
    - ``tell_authorities``: list the accepted hosts in the error. True in development only.

    Raises, in this order:
        InsufficientCoverage: the signature does not cover a required component.
        DuplicateField: a query parameter is repeated.
        SignatureDefective: the host of the request is not accepted.
        WrongKey: the keyid is not ``expected_keyid``. Before this error, the digest, ``expires`` and ``created`` are
            checked. So ``InvalidDigest``, ``ClockSkew`` and the error for a too late ``expires`` come first.
        SignatureDefective: ``alg`` is not the algorithm of the key, or the signature base cannot be built.
        SignatureEncoding: the signature does not verify, and is in DER.
        SignatureDefective: the signature does not verify.
        InvalidDigest: ``Content-Digest`` does not match the body.
        SignatureDefective: ``expires`` is too long after ``created``.
        ClockSkew: ``created`` is more than ``window_s`` seconds from ``now``, or ``expires`` has passed.

    """
    _check_coverage(message, signature)
    if not _is_accepted(message.authority, expected_authorities):
        hosts = ", ".join(f"`{authority}`" for authority in sorted(expected_authorities))
        accepted = f" Accepted hosts: {hosts}. `BATON_AUTHORITIES` lists them." if tell_authorities else ""
        raise defective(message, "the host is not accepted", f"The host of this request is not accepted.{accepted}")
    if signature.keyid != expected_keyid:
        _check_body_and_time(message, signature, now=now, window_s=window_s)
        raise WrongKey("keyid", path=message.path)
    algorithm = "hmac-sha256" if isinstance(key, bytes) else _ALGORITHMS[key.curve]
    if signature.parameters.get("alg", algorithm) != algorithm:
        raise defective(
            message, "alg is not that of the key", f"`alg` must be `{algorithm}` for this key, or be left out."
        )
    _check_value(message, signature, key)
    created = _check_body_and_time(message, signature, now=now, window_s=window_s)
    return VerifiedSignature(signature.keyid, str(signature.parameters["nonce"]), created)


def verify_target(  # noqa: PLR0913 - verified against expectations, each of them named
    message: Message,
    signature: Signature,
    *,
    key: PublicKey | bytes,
    keyid: str,
    scheme: str,
    expected_authorities: frozenset[str],
    now: int,
    window_s: int,
) -> VerifiedSignature:
    """Verify a signature with the tag ``httpsig-oauth`` (draft-richer-oauth-httpsig), with the key of the token.

    ``scheme``: the URL scheme of the issuer, such as ``https``. The value of ``@target-uri`` begins with it.

    A request with a query is refused, because API Gateway does not pass the raw query. Raises the errors of
    `verify_signature`, except ``WrongKey`` and ``DuplicateField``.
    """
    if message.query:
        raise defective(
            message,
            "a query beside @target-uri",
            "The query cannot be verified with the tag `httpsig-oauth`. Send `Bearer`, and sign with the tag `baton`.",
        )
    wanted = ['"@method"', '"@target-uri"', *(['"content-digest"'] if message.body else [])]
    wanted += [identifier for name, identifier in COVERED_WHEN_PRESENT.items() if name in message.fields]
    missing = [identifier for identifier in wanted if identifier not in signature.components]
    if missing:
        raise InsufficientCoverage("missing", missing=missing, path=message.path)
    if not _is_accepted(message.authority, expected_authorities):
        raise defective(message, "the host is not accepted", "The host of this request is not accepted.")
    target_uri = f"{scheme}://{message.authority}{message.path}"
    _check_value(message, signature, key, target_uri)
    created = _check_body_and_time(message, signature, now=now, window_s=window_s)
    return VerifiedSignature(keyid, str(signature.parameters["nonce"]), created)


def _check_body_and_time(message: Message, signature: Signature, *, now: int, window_s: int) -> int:
    """Check the digest of the body and the time window, and return ``created``."""
    check_digest(message)
    created, expires = int(signature.parameters["created"]), signature.parameters.get("expires")
    if isinstance(expires, int) and expires - created > SIGNATURE_LIFE_MAX_S:
        raise defective(
            message, "expires is too late", f"`expires` must be at most {SIGNATURE_LIFE_MAX_S} seconds after `created`."
        )
    if abs(now - created) > window_s or (isinstance(expires, int) and (expires < now or expires < created)):
        raise ClockSkew("created outside the window", created=created, window=window_s)
    return created


_ALGORITHMS = {"P-256": "ecdsa-p256-sha256", "Ed25519": "ed25519"}


def _is_accepted(authority: str, accepted: frozenset[str]) -> bool:
    """Check whether a host is accepted, by its name or by ``*.`` and its domain, such as ``*.local``."""
    return authority in accepted or f"*.{authority.partition('.')[2]}" in accepted


def _check_coverage(message: Message, signature: Signature) -> None:
    names = [name for name, _ in message.query]
    wanted = [*ALWAYS_COVERED]
    if names:
        wanted += [component("@query-param", _encoded(name)) for name in names]
    if message.body:
        wanted.append('"content-digest"')
    wanted += [identifier for name, identifier in COVERED_WHEN_PRESENT.items() if name in message.fields]
    covered = frozenset(signature.components)
    if not covered.issuperset(wanted):
        missing = [identifier for identifier in dict.fromkeys(wanted) if identifier not in covered]
        raise InsufficientCoverage("missing", missing=missing, path=message.path)
    if len(set(names)) < len(names):
        # Checked before `signature_base` finds the values: 3,000 repetitions and 60 covered names would take 130 ms.
        raise errors.DuplicateField("query", field=_encoded(Counter(names).most_common(1)[0][0]))


def _check_value(message: Message, signature: Signature, key: PublicKey | bytes, target_uri: str | None = None) -> None:
    if _verifies(key, signature.value, signature_base(message, signature, target_uri=target_uri)):
        return
    if isinstance(key, PublicKey) and key.curve == "P-256" and _looks_like_der(signature.value):
        raise SignatureEncoding(
            path=message.path,
            hint="Convert the DER sequence to r and s, 32 bytes each, big-endian, one after the other.",
        )
    raise SignatureDefective(
        "does not verify",
        path=message.path,
        signature_base=signature_base(message, signature, target_uri=target_uri, redacted=True).decode(),
    )


def _verifies(key: PublicKey | bytes, value: bytes, base: bytes) -> bool:
    if isinstance(key, PublicKey):
        return key.verifies(value, base)
    return hmac.compare_digest(value, hmac.digest(key, base, "sha256"))


def _component_value(message: Message, identifier: str) -> str:
    if not identifier.startswith('"@'):
        return _field_value(message, identifier)
    if not identifier.startswith('"@query-param";'):
        raise defective(
            message,
            "a component that cannot be verified",
            f"{identifier} cannot be verified here. Cover `@method`, `@authority`, `@path` and `@query-param`.",
        )
    return _query_value(message, identifier)


def _query_value(message: Message, identifier: str) -> str:
    values = [value for name, value in message.query if component("@query-param", _encoded(name)) == identifier]
    if not values:
        raise defective(
            message, "a covered query parameter is absent", f"The query has no parameter for the covered {identifier}."
        )
    if len(values) > 1:
        # RFC 9421 section 2.2.8: a repeated parameter cannot be signed one by one.
        raise errors.DuplicateField("query", field=identifier)
    return _encoded(values[0])


def _field_value(message: Message, identifier: str) -> str:
    # The name is between the quotes. An escaped name is not the name of a field.
    values = message.fields.get(identifier[1:-1])
    if values is None:
        raise defective(message, "a covered field is absent", f"The request has no header field {identifier}.")
    return values[0].strip(" \t") if len(values) == 1 else ", ".join([value.strip(" \t") for value in values])


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED, errors="surrogatepass").replace("~", "%7E")


def _looks_like_der(value: bytes) -> bool:
    try:
        decode_dss_signature(value)
    except ValueError:
        return False
    return True


_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "sha-256": lambda body: hashlib.sha256(body).digest(),
    "sha-512": lambda body: hashlib.sha512(body).digest(),
}


def check_digest(message: Message) -> None:
    """Compare ``Content-Digest`` with the body (RFC 9530 section 2). A request without this header passes.

    Raises:
        InvalidDigest: the header is not a dictionary, it has neither a sha-256 nor a sha-512 digest, or one of these
            digests does not match the body.

    """
    if "content-digest" not in message.fields:
        return
    text = ", ".join(message.fields["content-digest"])
    if text == content_digest(message.body):  # nearly every client sends exactly this
        return
    try:
        members = parse_dictionary(text)
    except ValueError:
        raise InvalidDigest("not a dictionary") from None
    known = members.keys() & _DIGESTS.keys()
    if not known:
        raise InvalidDigest("no known algorithm")
    for name in known:
        digest = _DIGESTS[name](message.body)
        # The parser accepts missing and surplus padding (RFC 9651 section 4.2.7). Here only one spelling matches.
        if members[name][0] != digest or _byte_sequence(digest) not in text:
            raise InvalidDigest(name)


def content_digest(body: bytes) -> str:
    """Return the value of ``Content-Digest`` for a body: its sha-256 digest (RFC 9530 section 2)."""
    return digest_value("sha-256", body)


def digest_value(name: str, body: bytes) -> str:
    """Return one member of ``Content-Digest``: the digest of a body by the algorithm ``name``."""
    return f"{name}={_byte_sequence(_DIGESTS[name](body))}"


def _byte_sequence(value: bytes) -> str:
    """Write bytes as a byte sequence (RFC 9651 section 4.1.8)."""
    return f":{base64.b64encode(value).decode()}:"
