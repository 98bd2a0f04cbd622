"""Which web pages may read an answer (CORS, the Fetch standard)."""

from collections.abc import Iterable

ALLOWED_FIELDS = "Authorization, Baton-Grant, Content-Digest, Content-Type, Idempotency-Key, Signature, Signature-Input"
"""Request header fields that a page may send."""
EXPOSED_FIELDS = "Age, Baton-Replayed, Baton-Request-Id, Baton-Time, Retry-After"
"""Response header fields that a page may read."""
PREFLIGHT_KEPT_S = 7200
"""How long a browser may keep a preflight, seconds. Chromium keeps none for longer."""


def readable_by(origin: str | None, origins: Iterable[str]) -> dict[str, str]:
    """Return the header fields that allow a page of this origin to read an answer. No fields: it may not.

    ``origins`` are those of ``BATON_ORIGINS``. An origin that ends in ``:*`` includes every port of its host.
    """
    origins = tuple(origins)
    if not origins:
        return {}
    headers = {"Vary": "Origin"}
    if origin and _listed(origin, origins):
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = EXPOSED_FIELDS
    return headers


def _listed(origin: str, origins: tuple[str, ...]) -> bool:
    host, _, port = origin.rpartition(":")
    if port.isascii() and port.isdigit():
        return origin in origins or f"{host}:*" in origins
    return origin in origins and not origin.endswith(":*")
