"""Signed calls: HTTP Message Signatures (RFC 9421) and Content-Digest (RFC 9530), the profile of tag ``baton``.

Small by design. What a request may cover: ``@method``, ``@authority``, ``@path``, every query parameter as
``@query-param``, and header fields by their name alone. The component parameters ``sf``, ``key``, ``bs``, ``tr`` and
``req`` are refused, and so are ``@query``, ``@target-uri`` and ``@request-target``: behind API Gateway nobody sees
the raw query, so nobody could verify them.
"""

import hmac
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.policy import SIGNATURE_LIFE_MAX_S
from chalicelib.baton.proof.digest import _digest_value, check_digest
from chalicelib.baton.proof.refusals import (
    ClockSkew,
    InsufficientCoverage,
    SignatureDefective,
    SignatureEncoding,
    SignatureRequired,
    WrongKey,
)
from chalicelib.baton.proof.signature_input import (
    TAG,
    WRITE_INPUT,
    InputDefective,
    SignatureInput,
    component,
    find_input,
)
from chalicelib.baton.proof.structured_fields import NotStructured, parse_dictionary
from chalicelib.baton.routing import Message

ALWAYS_COVERED = ('"@method"', '"@authority"', '"@path"')
COVERED_WHEN_PRESENT = {name: f'"{name}"' for name in ("authorization", "idempotency-key", "baton-grant")}
COMPONENTS_MAX = 64
NONCE_CHARACTERS_MAX = 128
_KEYID_CHARACTERS_MAX = 128
_PARAMETERS = {"created": int, "expires": int, "keyid": str, "nonce": str, "alg": str, "tag": str}
_NONCE = re.compile(rf"[!-~]{{1,{NONCE_CHARACTERS_MAX}}}")

_UNSIGNABLE = re.compile(r"[^\t -~]")
"""A line end inside a value would let it pass for another component's line (RFC 9421 section 2.5)."""

_WRITE_VALUE = "Write it as `baton=:<base64 of the signature>:`."
_LABEL_SHOWN_MAX = 64

_MILLISECONDS_MIN = 10**11
"""As seconds, this is the year 5138; as milliseconds, 1973."""

_UNRESERVED = "*-._"
"""What application/x-www-form-urlencoded percent-encoding leaves alone besides letters and digits (RFC 9421 2.2.8)."""


class Signature(Struct, frozen=True):
    """The one signature with our tag, as sent: not verified.

    ``components`` are identifiers as ``component`` writes them; ``written`` is the value of ``@signature-params``.
    """

    components: tuple[str, ...]
    parameters: Mapping[str, str | int]
    written: str
    value: bytes

    @property
    def keyid(self) -> str:
        """Name the key it claims to be by."""
        return str(self.parameters["keyid"])


class VerifiedSignature(Struct, frozen=True):
    """What a verified signature vouches for. ``nonce`` is not spent yet."""

    keyid: str
    nonce: str
    created: int


def read_signature(message: Message) -> Signature | None:
    """Find the signature whose tag is ours; ``None`` when there is none.

    Signatures with other tags are left alone. Raises ``SignatureDefective`` for fields that cannot be read, for two
    with our tag, and for one outside our profile.
    """
    given = message.fields.get("signature-input")
    if given is None:
        if "signature" in message.fields:
            raise _defective(message, "no Signature-Input", "`Signature` came without `Signature-Input`. Send both.")
        return None
    ours = _our_input(message, _combined(given))
    if ours is None:
        return None
    if len(ours.components) > COMPONENTS_MAX:
        raise _defective(
            message, "too many components", f"The signature covers more than {COMPONENTS_MAX} components. Cover fewer."
        )
    if len(set(ours.components)) < len(ours.components):
        twice = Counter(ours.components).most_common(1)[0][0]
        raise _defective(message, "a component twice", f"The signature covers {twice} twice. Cover it once.")
    _check_parameters(message, ours.parameters)
    return Signature(ours.components, ours.parameters, ours.written, _value(message, ours.label))


def signature_missing(message: Message) -> SignatureRequired:
    """Refuse a request in which ``read_signature`` found none: one may be there that only lacks the tag."""
    if not _combined(message.fields.get("signature-input", ())):
        return SignatureRequired(path=message.path)
    return SignatureRequired(
        "no tag",
        path=message.path,
        detail=f'No signature of this request has the tag. Add `;tag="{TAG}"` to its parameters in `Signature-Input`.',
    )


def signature_base(message: Message, signature: Signature, *, redacted: bool = False) -> bytes:
    """Build the signature base (RFC 9421 section 2.5).

    ``redacted`` replaces the value of ``authorization`` by its digest, so that the base can be shown. Raises
    ``SignatureDefective`` for a component that cannot be had here, ``DuplicateField`` for a repeated query parameter.
    """
    derived = {'"@method"': message.method, '"@authority"': message.authority, '"@path"': message.path}
    lines = []
    for identifier in signature.components:
        value = derived.get(identifier)
        if value is None:
            value = _component_value(message, identifier)
        if not (value.isascii() and value.isprintable()) and _UNSIGNABLE.search(value):
            raise _defective(
                message, "unsignable characters", f"The value of {identifier} has characters that cannot be signed."
            )
        if redacted and identifier == COVERED_WHEN_PRESENT["authorization"]:
            value = _digest_value("sha-256", value.encode())
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
    """Verify that this key signed this very request, and recently. ``key`` is a public key or an HMAC secret.

    The algorithm follows from the key, never from the message. ``expected_authorities`` may hold ``*.local`` in
    development, where a refusal also lists them (``tell_authorities``). Raises, in this order:
    ``InsufficientCoverage``, ``WrongKey``, ``SignatureDefective`` or ``SignatureEncoding``, ``InvalidDigest``,
    ``ClockSkew``. Or ``DuplicateField``, for a query parameter given twice: such a one cannot be signed.

    The key of another signature is not known here, so its value cannot be verified. ``WrongKey`` says the rest: it
    names another key, covers what it must, is of this body and recent. An old or an altered request raises
    ``ClockSkew`` or ``InvalidDigest`` instead.
    """
    _check_coverage(message, signature)
    if not _is_accepted(message.authority, expected_authorities):
        hosts = ", ".join(f"`{authority}`" for authority in sorted(expected_authorities))
        accepted = f" Accepted hosts: {hosts}. `BATON_AUTHORITIES` lists them." if tell_authorities else ""
        raise _defective(message, "the host is not accepted", f"The host of this request is not accepted.{accepted}")
    if signature.keyid != expected_keyid:
        _check_body_and_time(message, signature, now=now, window_s=window_s)
        raise WrongKey("keyid", path=message.path)
    algorithm = "hmac-sha256" if isinstance(key, bytes) else _ALGORITHMS[key.curve]
    if signature.parameters.get("alg", algorithm) != algorithm:
        raise _defective(
            message, "alg is not that of the key", f"`alg` must be `{algorithm}` for this key, or be left out."
        )
    _check_value(message, signature, key)
    created = _check_body_and_time(message, signature, now=now, window_s=window_s)
    return VerifiedSignature(signature.keyid, str(signature.parameters["nonce"]), created)


def _check_body_and_time(message: Message, signature: Signature, *, now: int, window_s: int) -> int:
    """Check the digest of the body and the time window, and give ``created``."""
    check_digest(message)
    created, expires = int(signature.parameters["created"]), signature.parameters.get("expires")
    if isinstance(expires, int) and expires - created > SIGNATURE_LIFE_MAX_S:
        raise _defective(
            message, "expires is too late", f"`expires` must be at most {SIGNATURE_LIFE_MAX_S} seconds after `created`."
        )
    if abs(now - created) > window_s or (isinstance(expires, int) and (expires < now or expires < created)):
        raise ClockSkew("created outside the window", created=created, window=window_s)
    return created


_ALGORITHMS = {"P-256": "ecdsa-p256-sha256", "Ed25519": "ed25519"}


def _is_accepted(authority: str, accepted: frozenset[str]) -> bool:
    """Compare a host with those that are accepted, one by one or all under a domain: ``*.local``."""
    return authority in accepted or f"*.{authority.partition('.')[2]}" in accepted


def _check_coverage(message: Message, signature: Signature) -> None:
    names = [name for name, _ in message.query]
    wanted = [*ALWAYS_COVERED, *[component("@query-param", _encoded(name)) for name in names]]
    if message.body:
        wanted.append('"content-digest"')
    wanted += [identifier for name, identifier in COVERED_WHEN_PRESENT.items() if name in message.fields]
    covered = frozenset(signature.components)
    if not covered.issuperset(wanted):
        missing = [identifier for identifier in dict.fromkeys(wanted) if identifier not in covered]
        raise InsufficientCoverage("missing", missing=missing, path=message.path)
    if len(set(names)) < len(names):
        # Before each covered name looks for itself: 3,000 repetitions beside 60 such names would cost 130 ms.
        raise errors.DuplicateField("query", field=_encoded(Counter(names).most_common(1)[0][0]))


def _check_value(message: Message, signature: Signature, key: PublicKey | bytes) -> None:
    if _verifies(key, signature.value, signature_base(message, signature)):
        return
    if isinstance(key, PublicKey) and key.curve == "P-256" and _looks_like_der(signature.value):
        raise SignatureEncoding(
            path=message.path,
            hint="Convert the DER sequence to r and s, 32 bytes each, big-endian, one after the other.",
        )
    raise SignatureDefective(
        "does not verify",
        path=message.path,
        signature_base=signature_base(message, signature, redacted=True).decode(),
    )


def _verifies(key: PublicKey | bytes, value: bytes, base: bytes) -> bool:
    if isinstance(key, PublicKey):
        return key.verifies(value, base)
    return hmac.compare_digest(value, hmac.digest(key, base, "sha256"))


def _our_input(message: Message, text: str) -> SignatureInput | None:
    try:
        return find_input(text)
    except InputDefective as error:
        raise _defective(message, error.reason, error.detail) from None
    except NotStructured as error:
        raise _unreadable(message, "Signature-Input", error, WRITE_INPUT) from None


def _check_parameters(message: Message, parameters: Mapping[str, str | int]) -> None:
    for name, value in parameters.items():
        # type(), not isinstance(): a structured field's Boolean and Token must not pass for Integer and String.
        if name not in _PARAMETERS:
            known = ", ".join(f"`{parameter}`" for parameter in sorted(_PARAMETERS))
            raise _defective(message, "an unknown parameter", f"The only signature parameters are {known}.")
        if type(value) is not _PARAMETERS[name]:
            wanted = "an integer" if _PARAMETERS[name] is int else "a string"
            raise _defective(message, f"the type of {name}", f"The signature parameter `{name}` must be {wanted}.")
    for name in ("created", "keyid", "nonce"):
        if name not in parameters:
            raise _defective(message, f"no {name}", f"The signature parameter `{name}` is missing.")
    for name in ("created", "expires"):
        if int(parameters.get(name, 0)) >= _MILLISECONDS_MIN:
            raise _defective(
                message,
                f"{name} in milliseconds",
                f"`{name}` is in seconds since the epoch. This value looks like milliseconds: divide it by 1000.",
            )
    if not _NONCE.fullmatch(str(parameters["nonce"])):
        raise _defective(
            message,
            "the nonce is not plain",
            f"`nonce` must have 1 to {NONCE_CHARACTERS_MAX} visible ASCII characters.",
        )
    if len(str(parameters["keyid"])) > _KEYID_CHARACTERS_MAX:
        raise _defective(message, "the keyid is too long", f"`keyid` has more than {_KEYID_CHARACTERS_MAX} characters.")


def _value(message: Message, label: str) -> bytes:
    text = _combined(message.fields.get("signature", ()))
    try:
        members = parse_dictionary(text)
    except NotStructured as error:
        raise _unreadable(message, "Signature", error, _WRITE_VALUE) from None
    if label not in members:
        raise _defective(
            message,
            "no value for the label",
            f"`Signature` has no member with the label `{label[:_LABEL_SHOWN_MAX]}`, which `Signature-Input` has. "
            f"{_WRITE_VALUE}",
        )
    value, _ = members[label]
    if not isinstance(value, bytes):
        at = re.search(rf"(?:^|[ \t,]){re.escape(label)}=?", text)
        where = f" at character {at.end() + 1}" if at else ""
        raise _defective(
            message, "no byte sequence", f"`Signature` cannot be read{where}: expected `:`. {_WRITE_VALUE}"
        )
    return value


def _combined(lines: Sequence[str]) -> str:
    """Combine the lines of a dictionary, in order (RFC 9651 section 4.2). An empty line has no member."""
    return lines[0] if len(lines) == 1 else ", ".join([line for line in lines if line.strip(" \t")])


def _component_value(message: Message, identifier: str) -> str:
    if not identifier.startswith('"@'):
        return _field_value(message, identifier)
    if not identifier.startswith('"@query-param";'):
        raise _defective(
            message,
            "a component that cannot be verified",
            f"{identifier} cannot be verified here. Cover `@method`, `@authority`, `@path` and `@query-param`.",
        )
    return _query_value(message, identifier)


def _query_value(message: Message, identifier: str) -> str:
    values = [value for name, value in message.query if component("@query-param", _encoded(name)) == identifier]
    if not values:
        raise _defective(
            message, "a covered query parameter is absent", f"The query has no parameter for the covered {identifier}."
        )
    if len(values) > 1:
        # RFC 9421 section 2.2.8: a repeated parameter cannot be signed one by one.
        raise errors.DuplicateField("query", field=identifier)
    return _encoded(values[0])


def _field_value(message: Message, identifier: str) -> str:
    # Between the quotes: a name that had to be escaped names no field.
    values = message.fields.get(identifier[1:-1])
    if values is None:
        raise _defective(message, "a covered field is absent", f"The request has no header field {identifier}.")
    return ", ".join([value.strip(" \t") for value in values])


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED, errors="surrogatepass").replace("~", "%7E")


def _looks_like_der(value: bytes) -> bool:
    try:
        decode_dss_signature(value)
    except ValueError:
        return False
    return True


def _unreadable(message: Message, field: str, error: NotStructured, write: str) -> SignatureDefective:
    reason = f"{field.lower()} is not a dictionary"
    return _defective(message, reason, f"`{field}` cannot be read: {error}. {write}")


def _defective(message: Message, reason: str, detail: str) -> SignatureDefective:
    """Refuse a signature. ``reason`` goes to the log, in words that no caller chose; ``detail`` goes to the caller."""
    return SignatureDefective(reason, detail=detail, hint=detail, path=message.path)
