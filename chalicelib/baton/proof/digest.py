"""Content-Digest (RFC 9530). No I/O."""

import base64
import hashlib
from collections.abc import Callable, Mapping

from chalicelib.baton.proof.refusals import InvalidDigest
from chalicelib.baton.proof.structured_fields import parse_dictionary
from chalicelib.baton.routing import Message

_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "sha-256": lambda body: hashlib.sha256(body).digest(),
    "sha-512": lambda body: hashlib.sha512(body).digest(),
}


def check_digest(message: Message) -> None:
    """Compare ``Content-Digest`` with the body (RFC 9530 section 2). Every digest must match.

    Raises ``InvalidDigest``, also if there are only algorithms other than sha-256 and sha-512.
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
    """Return the ``Content-Digest`` of a body with sha-256 (RFC 9530 section 2)."""
    return digest_value("sha-256", body)


def digest_value(name: str, body: bytes) -> str:
    """Return one member of ``Content-Digest``: the digest of a body by the algorithm ``name``."""
    return f"{name}={_byte_sequence(_DIGESTS[name](body))}"


def _byte_sequence(value: bytes) -> str:
    """Return a byte sequence (RFC 9651 section 4.1.8)."""
    return f":{base64.b64encode(value).decode()}:"
