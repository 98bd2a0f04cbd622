"""The attempt of a request: the header ``Idempotency-Key``. No I/O."""

import re

from chalicelib.baton import errors
from chalicelib.baton.effects import Entropy
from chalicelib.baton.policy import ATTEMPT_CHARACTERS_MAX, ATTEMPT_CHARACTERS_MIN
from chalicelib.baton.proof.signature import VerifiedSignature
from chalicelib.baton.routing import Message

_ATTEMPT = re.compile(rf"[!#-\[\]-~]{{{ATTEMPT_CHARACTERS_MIN},{ATTEMPT_CHARACTERS_MAX}}}\Z")


def attempt_header(message: Message) -> str | None:
    r"""Return the attempt in ``Idempotency-Key``, or ``None`` without that header. ``"x"`` and ``x`` are the same.

    Raises ``Malformed`` unless it has 16 to 128 visible ASCII characters without ``"`` and ``\``.
    """
    values = message.fields.get("idempotency-key")
    if values is None:
        return None
    value = values[0].strip(" \t")
    if len(value) >= 2 and value[0] == value[-1] == '"':  # noqa: PLR2004 - the two quotes
        value = value[1:-1]
    if not _ATTEMPT.match(value):
        raise errors.Malformed(
            "idempotency-key",
            detail=f"`Idempotency-Key` must have {ATTEMPT_CHARACTERS_MIN} to {ATTEMPT_CHARACTERS_MAX} visible ASCII "
            'characters without `"` and `\\`, with or without quotes around them.',
        )
    return value


def attempt_of(message: Message, signature: VerifiedSignature | None, entropy: Entropy) -> str:
    """Return the attempt: the header, or else the nonce of the signature, or else a random one."""
    return attempt_header(message) or (signature.nonce if signature else None) or entropy(16).hex()
