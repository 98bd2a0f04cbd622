"""Mask the secrets of a request or an answer before it is kept: passwords, codes, tokens, cookies."""

import base64
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Struct

MASK: Final = "********"
BODY_BYTES_MAX: Final = 16 * 1024

_SECRET: Final = re.compile(
    r"authorization|cookie|csrf|code|dpop|grant|handover|link|otpauth|passw|restore_key|secret|session|token|totp|uri",
    re.IGNORECASE,
)
"""A name with one of these words names a secret, if it is not in ``_PUBLIC`` and does not end as in ``_NUMBERS``."""
_PUBLIC: Final = frozenset(
    {
        *("token_type", "token_use", "token_endpoint", "grant_type", "error_uri", "status_code", "device_session_id"),
        *("recovery_codes_left", "codes_left", "jwks_uri", "session_identifier", "secure-session-skipped"),
        *("authorization_endpoint", "introspection_endpoint", "grant_types_supported", "token_types_supported"),
    }
)
_NUMBERS: Final = ("_expires_in", "_timeout", "_at", "_left")
_TOKEN: Final = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # a JWT
    r"|\b[a-z]{2}\.[\w-]{24,}"  # a ticket
    r"|\bb1[._][\w.-]{24,}"
    r"|[\w-]{120,}"  # an opaque token
)


_TOKEN_CHARACTERS_MIN: Final = 19
_DIGEST: Final = re.compile("sha-256=:[A-Za-z0-9+/]{43}=:")
"""A digest. In the member ``signature_base`` of a refusal, Baton has already replaced the token by its digest."""


class Body(Struct, frozen=True):
    """The masked and cut body of a request or answer. ``text`` is ``None`` if the body is neither JSON nor a form."""

    text: str | None
    bytes: int
    cut: bool
    email: str | None = None
    members: Mapping[str, Any] = {}
    """The members of a JSON object, masked."""

    def shown(self) -> dict[str, object]:
        """Return the members ``body``, ``bytes`` and ``cut``, with which the development API shows this body."""
        return {"body": self.text, "bytes": self.bytes, "cut": self.cut}


@functools.lru_cache(maxsize=1024)
def is_secret(name: str) -> bool:
    """Return whether a member, a field or a parameter with this name is a secret."""
    lower = name.lower()
    return lower not in _PUBLIC and not lower.endswith(_NUMBERS) and _SECRET.search(name) is not None


def masked_body(body: bytes, media_type: str) -> Body:
    """Return a JSON or form body without its secrets, cut at 16 KB. Of any other body, return only the size."""
    if not body:
        return Body("", 0, cut=False)
    if media_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
        return _of_form(body)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return Body(None, len(body), cut=False)
    masked = _masked(value)
    text = json.dumps(masked, ensure_ascii=False)
    members = masked if isinstance(masked, dict) else {}
    email = members.get("email")
    return Body(_cut(text), len(body), _cut(text) != text, email if isinstance(email, str) else None, members)


def _of_form(body: bytes) -> Body:
    pairs = parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    text = urlencode([(name, _text(name, value)) for name, value in pairs], safe="*")
    return Body(_cut(text), len(body), _cut(text) != text)


def _cut(text: str) -> str:
    return text.encode()[:BODY_BYTES_MAX].decode(errors="ignore")


def _masked(value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if isinstance(value, dict):
        # In an error answer, the member `code` is the name of the error. In every other object, a code is a secret.
        error = "request_id" in value and "server_time" in value
        return {name: inner if error and name == "code" else _member(name, inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if isinstance(value, str) and len(value) >= _TOKEN_CHARACTERS_MIN:
        return _TOKEN.sub(MASK, value)
    return value


def _member(name: str, value: Any) -> Any:  # noqa: ANN401 - a JSON value
    if name == "signature_base" and isinstance(value, str):  # each line has a component and its value
        return masked_base(value)
    if not is_secret(name) or isinstance(value, bool | None):
        return _masked(value)
    if isinstance(value, dict):
        return {inner: _member(f"{name}_{inner}", held) for inner, held in value.items()}
    return [MASK for _ in value] if isinstance(value, list) else MASK


def _text(name: str, value: str) -> str:
    if is_secret(name):
        return MASK
    return value if len(value) < _TOKEN_CHARACTERS_MIN else _TOKEN.sub(MASK, value)


def masked_headers(headers: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return each header field as a pair of name and value. Secrets are masked, and no field is left out."""
    return [[name, _field(name.lower(), value)] for name, value in headers]


def _field(name: str, value: str) -> str:
    if name == "authorization":
        return f"{value.partition(' ')[0]} {MASK}"
    if name == "set-cookie":
        cookie, _, attributes = value.partition(";")
        return f"{cookie.partition('=')[0]}={MASK}" + (f";{attributes}" if attributes else "")
    if name == "cookie":
        return "; ".join(f"{one.partition('=')[0].strip()}={MASK}" for one in value.split(";"))
    if name == "location":
        return masked_target(value)
    if name in {
        "signature",
        "signature-input",
        "content-digest",
        "www-authenticate",
        "x-amzn-remapped-www-authenticate",
    }:
        return value
    return _text(name, value)


def masked_target(target: str) -> str:
    """Return the target of a request without the secrets in its path and query. The whole fragment is masked."""
    if "?" not in target and "#" not in target:
        return _TOKEN.sub(MASK, target)
    try:
        url = urlsplit(target)
    except ValueError:
        return MASK
    query = urlencode(
        [(name, _text(name, value)) for name, value in parse_qsl(url.query, keep_blank_values=True)], safe="*/"
    )
    return urlunsplit((url.scheme, url.netloc, _TOKEN.sub(MASK, url.path), query, MASK if url.fragment else ""))


def masked_base(base: str) -> str:
    """Return a signature base without its secrets.

    - The value of each secret field is replaced by its SHA-256 digest. The app's developer can compare this digest with
      the digest of the value that the app signed.
    - The value of a secret query parameter is masked, without a digest.
    """
    return "\n".join(map(_base_line, base.split("\n")))


def _base_line(line: str) -> str:
    identifier, separator, value = line.partition(": ")
    if not separator or not is_secret(identifier) or _DIGEST.fullmatch(value):
        return line
    if identifier.startswith('"@query-param"'):
        return f"{identifier}: {MASK}"
    digest = base64.b64encode(hashlib.sha256(value.encode()).digest()).decode()
    return f"{identifier}: sha-256=:{digest}:"
