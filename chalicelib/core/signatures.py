"""Signed calls: HTTP Message Signatures (RFC 9421) and Content-Digest (RFC 9530), the profile of tag ``baton``.

Small by design. What a request may cover: ``@method``, ``@authority``, ``@path``, every query parameter as
``@query-param``, and header fields by their name alone. The component parameters ``sf``, ``key``, ``bs``, ``tr`` and
``req`` are refused, and so are ``@query``, ``@target-uri`` and ``@request-target``: behind API Gateway nobody sees
the raw query, so nobody could verify them.
"""

import base64
import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from chalicelib.core import errors
from chalicelib.core.fields import Item, parse_dictionary
from chalicelib.core.policy import SIGNATURE_LIFE_MAX_S
from chalicelib.core.public_key import PublicKey

TAG = "baton"
ALWAYS_COVERED = ("@method", "@authority", "@path")
COVERED_WHEN_PRESENT = ("authorization", "idempotency-key", "baton-grant")
COMPONENTS_MAX = 64
NONCE_CHARACTERS_MAX = 128
_KEYID_CHARACTERS_MAX = 128
_PARAMETERS = frozenset({"created", "expires", "keyid", "nonce", "alg", "tag"})
_UNSIGNABLE = re.compile(r"[^\t -~]")
"""A line end inside a value would let it pass for another component's line (RFC 9421 section 2.5)."""
_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "sha-256": lambda body: hashlib.sha256(body).digest(),
    "sha-512": lambda body: hashlib.sha512(body).digest(),
}
_UNRESERVED = "*-._"
"""What application/x-www-form-urlencoded percent-encoding leaves alone besides letters and digits (RFC 9421 2.2.8)."""


@dataclass(frozen=True, slots=True)
class Message:
    """A request as its sender saw it.

    ``path`` is undecoded, stage prefix included; ``query`` is decoded once, in order; ``fields`` maps lower-case
    names to the values received, in order.
    """

    method: str
    authority: str
    path: str
    query: tuple[tuple[str, str], ...]
    fields: Mapping[str, tuple[str, ...]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Component:
    """A covered component: a derived one or a field by its name, and the ``name`` parameter of ``@query-param``."""

    name: str
    parameter: str | None = None

    def __str__(self) -> str:
        """Write the component identifier (RFC 9421 section 2)."""
        return _string(self.name) if self.parameter is None else f"{_string(self.name)};name={_string(self.parameter)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """The one signature with our tag, as sent: not verified."""

    components: tuple[Component, ...]
    parameters: Mapping[str, str | int]
    value: bytes

    @property
    def keyid(self) -> str:
        """Name the key it claims to be by."""
        return str(self.parameters["keyid"])


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
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
            raise _defective(message, "a Signature field came without Signature-Input")
        return None
    ours = [
        (label, value, parameters)
        for label, (value, parameters) in _dictionary(message, "signature-input").items()
        if parameters.get("tag") == TAG
    ]
    if not ours:
        return None
    if len(ours) > 1:
        raise _defective(message, "two signatures have the tag baton")
    label, items, parameters = ours[0]
    if not isinstance(items, list):
        raise _defective(message, "Signature-Input does not list its components")
    value, _ = _dictionary(message, "signature").get(label, (None, {}))
    if not isinstance(value, bytes):
        raise _defective(message, f"Signature has no byte sequence labelled {label}")
    return Signature(_components(message, items), _checked_parameters(message, parameters), value)


def signature_base(message: Message, signature: Signature, *, doctored: bool = False) -> bytes:
    """Build the signature base (RFC 9421 section 2.5).

    ``doctored`` replaces the value of ``authorization`` by its digest, so that the base can be shown. Raises
    ``SignatureDefective`` for a component that cannot be had here, ``DuplicateField`` for a repeated query parameter.
    """
    lines = []
    for component in signature.components:
        value = _component_value(message, component)
        if _UNSIGNABLE.search(value):
            raise _defective(message, f"{component} holds characters that cannot be signed")
        if doctored and component.name == "authorization":
            value = _digest_value("sha-256", value.encode())
        lines.append(f"{component}: {value}")
    lines.append(f'"@signature-params": {_signature_parameters(signature)}')
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
) -> VerifiedSignature:
    """Verify that this key signed this very request, and recently. ``key`` is a public key or an HMAC secret.

    The algorithm follows from the key, never from the message. Raises, in this order: ``WrongKey``,
    ``InsufficientCoverage``, ``SignatureDefective`` or ``SignatureEncoding``, ``InvalidDigest``, ``ClockSkew``. Or
    ``DuplicateField``, for a query parameter given twice: such a one cannot be signed.
    """
    if not hmac.compare_digest(signature.keyid.encode(), expected_keyid.encode()):
        raise errors.WrongKey("keyid", path=message.path)
    _check_coverage(message, signature)
    if message.authority not in expected_authorities:
        raise _defective(message, "this host is not one of ours: sign the host that the URL names")
    algorithm = "hmac-sha256" if isinstance(key, bytes) else _ALGORITHMS[key.curve]
    if signature.parameters.get("alg", algorithm) != algorithm:
        raise _defective(message, f"alg is {algorithm} for this key")
    _check_value(message, signature, key)
    check_digest(message)
    created, expires = int(signature.parameters["created"]), signature.parameters.get("expires")
    if isinstance(expires, int) and expires - created > SIGNATURE_LIFE_MAX_S:
        raise _defective(message, f"expires lies more than {SIGNATURE_LIFE_MAX_S} seconds after created")
    if abs(now - created) > window_s or (isinstance(expires, int) and (expires < now or expires < created)):
        raise errors.ClockSkew("created outside the window", created=created, window=window_s)
    return VerifiedSignature(signature.keyid, str(signature.parameters["nonce"]), created)


def check_digest(message: Message) -> None:
    """Check ``Content-Digest`` against the body (RFC 9530 section 2): every digest given must match.

    Raises ``InvalidDigest``, also where only algorithms other than sha-256 and sha-512 are given.
    """
    if "content-digest" not in message.fields:
        return
    text = ", ".join(message.fields["content-digest"])
    if text == content_digest(message.body):  # what nearly everybody sends, and it parses to just that
        return
    try:
        members = parse_dictionary(text)
    except ValueError:
        raise errors.InvalidDigest("not a dictionary") from None
    known = members.keys() & _DIGESTS.keys()
    if not known:
        raise errors.InvalidDigest("no known algorithm")
    for name in known:
        match members[name]:
            # The parser forgives missing and surplus padding, as RFC 9651 section 4.2.7 lets it. We want one spelling.
            case (bytes(value), _) if value == _DIGESTS[name](message.body) and _byte_sequence(value) in text:
                continue
            case _:
                raise errors.InvalidDigest(name)


def content_digest(body: bytes) -> str:
    """Write the ``Content-Digest`` of a body, sha-256 (RFC 9530 section 2)."""
    return _digest_value("sha-256", body)


_ALGORITHMS = {"P-256": "ecdsa-p256-sha256", "Ed25519": "ed25519"}


def _check_coverage(message: Message, signature: Signature) -> None:
    covered = set(signature.components)
    names = [name for name, _ in message.query]
    wanted = [Component(name) for name in ALWAYS_COVERED]
    wanted += [Component("@query-param", _encoded(name)) for name in names]
    if message.body:
        wanted.append(Component("content-digest"))
    wanted += [Component(name) for name in COVERED_WHEN_PRESENT if name in message.fields]
    missing = [str(component) for component in dict.fromkeys(wanted) if component not in covered]
    if missing:
        raise errors.InsufficientCoverage("missing", missing=missing, path=message.path)
    if len(set(names)) < len(names):
        # Before each covered name looks for itself: 3,000 repetitions beside 60 such names would cost 130 ms.
        raise errors.DuplicateField("query", field=_encoded(Counter(names).most_common(1)[0][0]))


def _check_value(message: Message, signature: Signature, key: PublicKey | bytes) -> None:
    if _verifies(key, signature.value, signature_base(message, signature)):
        return
    if isinstance(key, PublicKey) and key.curve == "P-256" and _looks_like_der(signature.value):
        raise errors.SignatureEncoding(
            path=message.path,
            hint="Turn the DER sequence into r and s, 32 bytes each, big-endian, one after the other.",
        )
    raise errors.SignatureDefective(
        "does not verify",
        path=message.path,
        signature_base=signature_base(message, signature, doctored=True).decode(),
    )


def _verifies(key: PublicKey | bytes, value: bytes, base: bytes) -> bool:
    if isinstance(key, PublicKey):
        return key.verifies(value, base)
    return hmac.compare_digest(value, hmac.digest(key, base, "sha256"))


def _components(message: Message, items: list[Item]) -> tuple[Component, ...]:
    if len(items) > COMPONENTS_MAX:
        raise _defective(message, f"more than {COMPONENTS_MAX} components are covered")
    components: list[Component] = []
    for name, parameters in items:
        parameter = parameters.get("name")
        wanted = {"name"} if name == "@query-param" else set()
        if type(name) is not str or parameters.keys() != wanted or not isinstance(parameter, str | None):
            raise _defective(message, 'a covered component is a name alone, or "@query-param" with the string name')
        component = Component(name, parameter)
        if component in components:
            raise _defective(message, f"{component} is covered twice")
        components.append(component)
    return tuple(components)


def _checked_parameters(message: Message, parameters: Mapping[str, object]) -> dict[str, str | int]:
    if parameters.keys() - _PARAMETERS:
        raise _defective(message, f"the only signature parameters are {', '.join(sorted(_PARAMETERS))}")
    checked: dict[str, str | int] = {}
    for name, value in parameters.items():
        wanted = int if name in {"created", "expires"} else str
        # type(), not isinstance(): a structured field's Boolean and Token must not pass for Integer and String.
        if type(value) is not wanted:
            raise _defective(message, f"the parameter {name} has the wrong type")
        checked[name] = value
    for name in ("created", "keyid", "nonce"):
        if name not in checked:
            raise _defective(message, f"the parameter {name} is missing")
    nonce, keyid = str(checked["nonce"]), str(checked["keyid"])
    if not 1 <= len(nonce) <= NONCE_CHARACTERS_MAX or not all("!" <= character <= "~" for character in nonce):
        raise _defective(message, f"nonce takes 1 to {NONCE_CHARACTERS_MAX} visible ASCII characters")
    if len(keyid) > _KEYID_CHARACTERS_MAX:
        raise _defective(message, "keyid is too long")
    return checked


def _component_value(message: Message, component: Component) -> str:
    match component.name:
        case "@method":
            return message.method
        case "@authority":
            return message.authority
        case "@path":
            return message.path
        case "@query-param":
            return _query_value(message, component)
        case name if name.startswith("@"):
            raise _defective(message, f"{name} cannot be verified here: cover @method, @authority, @path, @query-param")
        case name:
            return _field_value(message, name)


def _query_value(message: Message, component: Component) -> str:
    values = [value for name, value in message.query if _encoded(name) == component.parameter]
    if not values:
        raise _defective(message, "a covered query parameter is not in the query")
    if len(values) > 1:
        # RFC 9421 section 2.2.8: a repeated parameter cannot be signed one by one.
        raise errors.DuplicateField("query", field=component.parameter)
    return _encoded(values[0])


def _field_value(message: Message, name: str) -> str:
    if name not in message.fields:
        raise _defective(message, f"the covered field {name} is not in the request")
    return ", ".join(value.strip(" \t") for value in message.fields[name])


def _signature_parameters(signature: Signature) -> str:
    components = " ".join(str(component) for component in signature.components)
    parameters = "".join(
        f";{name}={value if isinstance(value, int) else _string(value)}" for name, value in signature.parameters.items()
    )
    return f"({components}){parameters}"


def _dictionary(message: Message, field: str) -> dict[str, Item]:
    try:
        return parse_dictionary(", ".join(message.fields.get(field, ())))
    except ValueError:
        raise _defective(message, f"{field} is not a dictionary of structured fields (RFC 9651)") from None


def _string(text: str) -> str:
    """Write an RFC 9651 string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED, errors="surrogatepass").replace("~", "%7E")


def _digest_value(name: str, body: bytes) -> str:
    return f"{name}={_byte_sequence(_DIGESTS[name](body))}"


def _byte_sequence(value: bytes) -> str:
    """Write an RFC 9651 byte sequence."""
    return f":{base64.b64encode(value).decode()}:"


def _looks_like_der(value: bytes) -> bool:
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: PLC0415 - a refusal's path

    try:
        decode_dss_signature(value)
    except ValueError:
        return False
    return True


def _defective(message: Message, hint: str) -> errors.SignatureDefective:
    return errors.SignatureDefective(hint, hint=hint[:1].upper() + hint[1:] + ".", path=message.path)
