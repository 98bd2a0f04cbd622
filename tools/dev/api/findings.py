"""The findings about a refused request: what is wrong, and what to change."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tools.dev.api.seen import SignatureSeen

Finding = dict[str, str]

_CLOCK_S: Final = 60
_REMEDIES: Final[Mapping[str, str]] = {
    "invalid_signature": "compare the signature base with the one of your app, line by line",
    "signature_encoding": "send r and s, 32 bytes each, instead of a DER sequence",
    "wrong_key": "sign with the key of this login: each login has its own key",
    "clock_skew": "set the offset of your clock from `server_time`, and sign again, once",
    "insufficient_coverage": "cover the missing components: the member `missing` lists them",
    "token_reused": "two holders used this token: a copy of the device, or an app that did not store its attempt",
    "superseded": "read your storage again: another process exchanged this token",
    "idempotency_key_required": "send `Idempotency-Key`, and cover it by the signature",
}


def findings(
    headers: Sequence[tuple[str, str]],
    body: bytes,
    *,
    answer: Mapping[str, Any],
    status: int | None,
    signature: SignatureSeen | None,
    now: float,
    authorities: Callable[[], frozenset[str]],
) -> list[Finding]:
    """Return each finding: the part of the request, what was found, and the remedy. Empty for a good request."""
    if status is not None and status < 400 and (signature is None or signature.verdict == "verified"):
        return []  # the request is good: Baton has checked its digest too
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value)
    found = list(_body_findings(fields, body)) + list(_signature_findings(fields, signature, now=now))
    host = fields.get("host", [""])[-1].lower()
    accepted = authorities()
    if signature is not None and host.removesuffix(":80") not in accepted and status == 401:
        found.append(_one("host", f"`{host}` is not an accepted host", f"use one of {', '.join(sorted(accepted))}"))
    code = str(answer.get("code", "")) if status is not None and status >= 400 else ""
    if code:
        detail = " ".join(str(answer[name]) for name in ("detail", "error_description") if answer.get(name))
        remedy = _REMEDIES.get(code) or str(answer.get("hint") or f"action: {answer.get('action', 'fix_request')}")
        found.insert(0, _one("answer", f"{code}: {detail}" if detail else code, remedy))
    return found


def _body_findings(fields: Mapping[str, Sequence[str]], body: bytes) -> list[Finding]:
    digest = ", ".join(fields.get("content-digest", ()))
    own = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    if digest.startswith("sha-256=") and digest != own:
        return [
            _one(
                "body",
                f"Content-Digest is {digest}, and the digest of the body is {own}",
                "hash the bytes that you send",
            )
        ]
    return []


def _signature_findings(
    fields: Mapping[str, Sequence[str]], signature: SignatureSeen | None, *, now: float
) -> list[Finding]:
    if signature is None:
        if "signature-input" in fields:
            return [_one("signature", "the signature was not checked", "correct what the answer names first")]
        return []
    found = []
    if signature.created is not None and abs(now - signature.created) > _CLOCK_S:
        ahead = round(signature.created - now)
        where = "ahead of" if ahead > 0 else "behind"
        found.append(
            _one("clock", f"`created` is {abs(ahead)} s {where} the server", "set the offset from `server_time`")
        )
    if signature.verdict != "verified":
        found.append(
            _one("signature", f"the verdict is {signature.verdict}", "compare both signature bases, line by line")
        )
    return found


def _one(part: str, found: str, remedy: str) -> Finding:
    return {"part": part, "found": found, "remedy": remedy}
