"""Answers of Baton, and of other servers, as vectors write them: status, headers, body."""

import json
from typing import Any

REQUEST_ID = "0123abcd-ef"
TIME = 1_800_000_000


def answer(status: int, members: object = None, /, text: str | None = None, **headers: str) -> dict[str, Any]:
    """Make an answer with the header fields of Baton. A header field with an empty value is left out."""
    body = text if text is not None else "" if members is None else json.dumps(members)
    media = "application/json" if status < 400 else "application/problem+json"
    fields = {"baton-request-id": REQUEST_ID, "cache-control": "no-store", "baton-time": str(TIME)}
    if body:
        fields["content-type"] = media
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    return {"status": status, "headers": {name: value for name, value in fields.items() if value}, "body": body}


def refusal(status: int, error: str, code: str, action: str, retry_after: int = 0, **members: object) -> dict[str, Any]:
    """Make the answer of a refusal. ``retry_after`` is in seconds: 0 omits the field. ``members`` extend the body."""
    shown = {"error": error, "code": code, "action": action, "request_id": REQUEST_ID, **members}
    return answer(status, shown, retry_after=str(retry_after) if retry_after else "")
