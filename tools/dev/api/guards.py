"""Who may open the console and call the development API: only this machine, and no page of another origin."""

import ipaddress
from collections.abc import Iterable

from tools.dev.api.answers import DevRefusal

_SITES = frozenset({"none", "same-origin"})
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def check(
    method: str,
    headers: Iterable[tuple[str, str]],
    *,
    source: str,
    port: int,
    has_body: bool,
    media_type: str = JSON,
    secure: bool = False,
) -> None:
    """Refuse a request from another machine, with a foreign host, or by a foreign page. Raises ``DevRefusal``.

    ``media_type``: the media type that a write must have, except a ``DELETE`` without a body.
    ``secure``: the request came over TLS.

    The check of ``Host`` prevents DNS rebinding: a foreign page whose domain name points to this machine.
    """
    fields: dict[str, list[str]] = {}
    for name, value in headers:
        fields.setdefault(name.lower(), []).append(value.strip())
    if not ipaddress.ip_address(source).is_loopback:
        raise DevRefusal(403, "forbidden", "Only this machine may open this. Other machines may use only /api.")
    hosts = own_hosts(port)
    if len(fields.get("host", ())) != 1 or fields["host"][0].lower() not in hosts:
        raise DevRefusal(403, "forbidden", f"The host must be one of {', '.join(hosts)}.")
    origins = {f"{'https' if secure else 'http'}://{host}" for host in hosts}
    if any(origin not in origins for origin in fields.get("origin", ())):
        raise DevRefusal(403, "forbidden", "A page of another origin may not open this.")
    if any(site.lower() not in _SITES for site in fields.get("sec-fetch-site", ())):
        raise DevRefusal(403, "forbidden", "A page of another site may not open this.")
    if method not in _UNSAFE or (method == "DELETE" and not has_body):
        return
    media_types = {value.partition(";")[0].strip().lower() for value in fields.get("content-type", ())}
    if media_types != {media_type}:
        raise DevRefusal(415, "unsupported_media_type", f"Send Content-Type: {media_type}.")


def own_hosts(port: int) -> tuple[str, ...]:
    """Return the values of ``Host`` by which a program on this machine calls the server."""
    names = ("localhost", "127.0.0.1", "[::1]")
    return tuple(f"{name}:{port}" for name in names) + (names if port == 80 else ())
