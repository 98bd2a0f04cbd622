"""Show what is in a token, and whether Baton issued it."""

import base64
import importlib
import json
from typing import Any, Final

from tools.dev.api.seen import Presented

_SEGMENTS: Final = 3


def inspected(baton: Any, text: str) -> dict[str, object]:  # noqa: ANN401 - of the current modules
    """Return the header and the claims of a token if it is a JWT, and its login if it is genuine."""
    jwt = text.count(".") == _SEGMENTS - 1
    parts: list[object | None] = [_decoded(part) for part in text.split(".")[:2]] if jwt else [None, None]
    token, reason = _read(baton, text)
    return {
        "form": "jwt" if jwt else "opaque",
        "genuine": token is not None,
        "reason": reason,
        "header": parts[0],
        "claims": parts[1],
        "account": token.account if token else None,
        "lineage": token.lineage if token else None,
        "generation": token.generation if token else None,
        "kind": str(token.kind) if token else None,
        "issued_at": token.issued_at if token else None,
        "expires_at": token.expires_at if token else None,
    }


def presented(baton: Any, text: str) -> Presented | None:  # noqa: ANN401 - of the current modules
    """Return the login and the generation number of a token, also if it has expired. ``None``: Baton cannot read it."""
    token, _ = _read(baton, text)
    return Presented(token.account, token.lineage, token.generation) if token else None


def _read(baton: Any, text: str) -> tuple[Any, str | None]:  # noqa: ANN401
    verifier = baton._proof
    read_token = importlib.import_module("chalicelib.baton.tokens.presented").read_token
    try:
        ring = verifier.key_ring.current(now=baton.clock())
        return read_token(text, ring=ring, names=verifier.names, clients=verifier.clients), None
    except Exception as refusal:  # noqa: BLE001 - an invented token may raise any exception
        return None, str(getattr(refusal, "reason", "") or type(refusal).__name__)


def _decoded(part: str) -> object | None:
    try:
        value: object = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
    return value
