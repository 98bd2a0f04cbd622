"""The bodies and answers of attestation (wire.md, "Routes"). App developers read the docstrings in OpenAPI."""

import base64
from typing import Annotated, Literal

import msgspec

from chalicelib.baton.attestation.model import (
    CHAIN_BYTES_MAX,
    CHAIN_CERTIFICATES,
    OBJECT_BYTES_MAX,
    Evidence,
)
from chalicelib.baton.errors import Malformed
from chalicelib.baton.lineages.assurance import Attested
from chalicelib.baton.routing import Body

Format = Literal["apple-attestation", "apple-assertion", "android-key", "none"]

_ENCODED_MAX = 4 * ((OBJECT_BYTES_MAX + 2) // 3)
_KEY_ID_BYTES = 32
_MEMBERS = {
    "apple-attestation": {"challenge", "key_id", "object"},
    "apple-assertion": {"challenge", "key_id", "object"},
    "android-key": {"challenge", "chain"},
    "none": {"reason"},
}
_CHAIN_MAX = CHAIN_CERTIFICATES[-1]
Encoded = Annotated[str, msgspec.Meta(max_length=_ENCODED_MAX, description="Base64 (RFC 4648 section 4).")]
ChallengeText = Annotated[
    str,
    msgspec.Meta(max_length=128, description="The `attestation_challenge` of `POST /attestation-challenge`."),
]


class EvidenceShape(Body, kw_only=True):
    """Evidence of the app and its device. The other members depend on ``format``.

    - ``apple-attestation`` and ``apple-assertion``: ``challenge``, ``key_id`` and ``object``.
    - ``android-key``: ``challenge``, and ``chain`` with the leaf certificate first.
    - ``none``: ``reason``. This format counts as no evidence.
    """

    format: Format
    challenge: ChallengeText = ""
    key_id: Annotated[str, msgspec.Meta(max_length=64)] = ""
    object: Encoded = ""
    chain: Annotated[list[Encoded], msgspec.Meta(max_length=_CHAIN_MAX)] = msgspec.field(default_factory=list)
    reason: Literal["unsupported", "unavailable", "error", ""] = ""


class AttestShape(Body, kw_only=True):
    """``POST /attest``: the evidence for the login of the caller."""

    attestation: EvidenceShape


class ChallengeShape(Body, kw_only=True):
    """``POST /attestation-challenge``: the client whose app makes the evidence."""

    client_id: Annotated[str, msgspec.Meta(max_length=256)]


class ChallengeAnswer(msgspec.Struct):
    """A challenge for evidence. It is valid for ``expires_in`` seconds, and may be used more than once."""

    attestation_challenge: str
    expires_in: Annotated[int, msgspec.Meta(ge=0, description="Seconds.")]


class AttestedAnswer(msgspec.Struct):
    """The attestation that the caller's login now has."""

    attested: Attested


def evidence_of(shape: EvidenceShape | None, at: str = "/attestation") -> Evidence | None:
    """Decode evidence. ``at`` is the JSON pointer of the evidence in the body, for errors. Raises ``Malformed``."""
    if shape is None:
        return None
    wanted = _MEMBERS[shape.format]
    for name in ("challenge", "key_id", "object", "chain", "reason"):
        if bool(getattr(shape, name)) != (name in wanted):
            verb = "needs" if name in wanted else "does not have"
            raise Malformed(
                "attestation", pointer=f"{at}/{name}", detail=f"`{at}`: format {shape.format} {verb} `{name}`."
            )
    key_id = _decoded(shape.key_id, f"{at}/key_id", 64)
    if shape.key_id and len(key_id) != _KEY_ID_BYTES:
        raise Malformed("key_id", pointer=f"{at}/key_id", detail=f"`{at}/key_id` must be {_KEY_ID_BYTES} bytes.")
    chain = tuple(_decoded(one, f"{at}/chain/{place}", CHAIN_BYTES_MAX) for place, one in enumerate(shape.chain))
    if chain and (len(chain) not in CHAIN_CERTIFICATES or sum(map(len, chain)) > CHAIN_BYTES_MAX):
        raise Malformed(
            "chain",
            pointer=f"{at}/chain",
            detail=f"`{at}/chain` must have {CHAIN_CERTIFICATES[0]} to {CHAIN_CERTIFICATES[-1]} certificates of "
            f"together at most {CHAIN_BYTES_MAX} bytes.",
        )
    return Evidence(
        kind=shape.format,
        challenge=shape.challenge,
        key_id=key_id,
        object=_decoded(shape.object, f"{at}/object", OBJECT_BYTES_MAX),
        chain=chain,
        unavailable=shape.reason,
    )


def _decoded(encoded: str, at: str, bytes_max: int) -> bytes:
    """Decode base64 strictly. Only the canonical form, with the standard alphabet and padding, is accepted."""
    try:
        value = base64.b64decode(encoded, validate=True)
    except ValueError:
        value = b""
    if base64.b64encode(value).decode() != encoded or len(value) > bytes_max:
        raise Malformed(
            "base64", pointer=at, detail=f"`{at}` must be base64 (RFC 4648 section 4) of at most {bytes_max} bytes."
        )
    return value
