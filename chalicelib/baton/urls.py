"""The forms of the URLs, hosts and origins that settings name. No I/O."""

import re
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

_AUTHORITY = re.compile(r"([a-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([1-9][0-9]{0,4}))?\Z")
_ORIGIN = re.compile(r"([a-z]+)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}|\*))?\Z")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_DEFAULT_PORTS = {"https": "443", "http": "80"}
_PORT_MAX = 65_535
_SCHEMES_OF_APPS = {"capacitor", "ionic", "tauri"}
_HTTP_HOSTS = {"localhost", "127.0.0.1", "tauri.localhost"}
"""Loopback hosts of the machine that shows the page: http from these hosts crosses no network."""


def is_issuer(text: str, *, development: bool) -> bool:
    """Check an issuer: an https URL without query, fragment and final slash. In development, also http on loopback."""
    url = _url(text, development=development)
    return url is not None and not url.query and not url.fragment and not text.endswith("/")


def _url(text: str, *, development: bool) -> SplitResult | None:
    """Split a URL. Return ``None`` if it is malformed or not https. In development, http on loopback is allowed."""
    try:
        url = urlsplit(text)
        _ = url.port  # raises ValueError for an invalid port
    except ValueError:
        return None
    secure = url.scheme == "https" or (url.scheme == "http" and development and url.hostname in _LOOPBACK)
    plain = url.hostname and url.netloc == url.netloc.lower() and "@" not in url.netloc
    if "[" in url.netloc and canonical_authority(url.netloc) != url.netloc:
        return None
    return url if secure and plain else None


def canonical_authority(authority: str) -> str | None:
    """Return a host or host:port, with an IPv6 address in its canonical form (RFC 5952).

    ``None``: ``authority`` is malformed, or its host name has an upper-case letter.
    """
    match = _AUTHORITY.match(authority)
    if match is None or int(match[2] or 0) > _PORT_MAX:
        return None
    host = match[1]
    if host.startswith("["):
        import ipaddress  # noqa: PLC0415 - cold start: rarely needed

        try:
            host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
        except ValueError:
            return None
    return f"{host}:{match[2]}" if match[2] else host


def is_origin(origin: str, *, development: bool) -> bool:
    """Check whether a text is an origin that settings may list, spelled exactly as browsers send it in ``Origin``.

    The scheme is https, http (only with a loopback host), or the scheme of an app. In development, the port of an http
    origin may be ``*``.
    """
    match = _ORIGIN.match(origin)
    if match is None:
        return False
    scheme, host, port = match.groups()
    if host.startswith("[") and canonical_authority(host) != host:
        return False
    if scheme == "http":
        if host not in _HTTP_HOSTS or (port == "*" and not development):
            return False
    elif port == "*" or (scheme != "https" and scheme not in _SCHEMES_OF_APPS):
        return False
    return port is None or port == "*" or (port != _DEFAULT_PORTS.get(scheme) and int(port) <= _PORT_MAX)


def is_page_origin(origin: str) -> bool:
    """Check an origin of a page that may use cookies: https, or http on loopback.

    This check allows http on loopback in every environment. Outside development, ``settings`` refuses such an origin.
    """
    match = _ORIGIN.match(origin)
    if match is None or not is_origin(origin, development=True):
        return False
    scheme, host, _ = match.groups()
    return scheme == "https" or (scheme == "http" and host in _LOOPBACK)


def may_be_same_site(origin: str, issuer: str) -> bool:
    """Check whether two hosts may be of one site: they are equal, or their last two labels are equal.

    This check finds obvious mistakes. Only the Public Suffix List can decide.
    """
    host, own = urlsplit(origin).hostname or "", urlsplit(issuer).hostname or ""
    return host == own or (len(host.split(".")) > 1 and host.split(".")[-2:] == own.split(".")[-2:])


def is_listed(origin: str, origins: Collection[str]) -> bool:
    """Check whether the origin of a request is one of ``origins``.

    ``:*`` at the end of a listed origin allows every port that is written out. Browsers omit the default port, so
    ``:*`` does not allow the default port.
    """
    host, _, port = origin.rpartition(":")
    if port.isascii() and port.isdigit():
        return origin in origins or f"{host}:*" in origins
    return origin in origins and not origin.endswith(":*")
