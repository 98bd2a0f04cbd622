"""Vectors of addresses: ``base_url.json``, ``path.json``."""

from typing import Any, Final

ACCEPTED: Final = (
    # the base URL, then what is signed and sent: origin, authority, prefix
    ("https://api.example.com", "https://api.example.com", "api.example.com", ""),
    ("https://api.example.com/", "https://api.example.com", "api.example.com", ""),
    ("https://api.example.com/prod", "https://api.example.com", "api.example.com", "/prod"),
    ("https://api.example.com/prod///", "https://api.example.com", "api.example.com", "/prod"),
    ("https://API.Example.COM/Prod", "https://api.example.com", "api.example.com", "/Prod"),
    ("HTTPS://api.example.com/prod", "https://api.example.com", "api.example.com", "/prod"),
    ("https://api.example.com:443/prod", "https://api.example.com", "api.example.com", "/prod"),
    ("https://api.example.com:0443/prod", "https://api.example.com", "api.example.com", "/prod"),
    ("https://api.example.com:8443/a/b", "https://api.example.com:8443", "api.example.com:8443", "/a/b"),
    ("https://xn--exmple-4ya.org", "https://xn--exmple-4ya.org", "xn--exmple-4ya.org", ""),
    ("http://localhost:8000/api", "http://localhost:8000", "localhost:8000", "/api"),
    ("http://localhost:80/api", "http://localhost", "localhost", "/api"),
    ("http://127.0.0.1:8000/api", "http://127.0.0.1:8000", "127.0.0.1:8000", "/api"),
    ("http://[::1]:8000/api", "http://[::1]:8000", "[::1]:8000", "/api"),
    ("https://[2001:db8::1]", "https://[2001:db8::1]", "[2001:db8::1]", ""),
    ("https://192.0.2.7/prod", "https://192.0.2.7", "192.0.2.7", "/prod"),
    ("https://api.example.com/a%20b", "https://api.example.com", "api.example.com", "/a%20b"),
)
REFUSED: Final = (
    "",
    "api.example.com",
    "ftp://api.example.com",
    "http://api.example.com",
    "http://10.0.2.2:8000/api",
    "http://localhost.example.com",
    "https://",
    "https://user@api.example.com",
    "https://user:word@api.example.com",
    "https://api.example.com?stage=prod",
    "https://api.example.com/prod?",
    "https://api.example.com/prod#top",
    "https://ex\u00e4mple.org",
    "https://api.example.com:99999",
    "https://api.example.com:0",
    "https://api.example.com:",
    "https://api.example.com/a/../b",
    "https://api.example.com/%2E%2e/b",
    "https://api.example.com/./b",
    "https://api example.com",
    "https://api.example.com/a b",
    "https://api..example.com",
    "https://-api.example.com",
    "https://2130706433",
    "https://0x7f.1",
    "https://192.0.2.07",
    "https://[0:0:0:0:0:0:0:1]",
    "https://[::ffff:127.0.0.1]",
    "https://[::1",
    "https://api.example.com\\prod",
)


def base_urls() -> list[dict[str, Any]]:
    """List base URLs that a client must accept, and base URLs that it must refuse.

    A refused base URL is a programming error. A client must report this error before it sends a request.
    """
    accepted: list[dict[str, Any]] = [
        {"url": url, "origin": origin, "authority": authority, "prefix": prefix}
        for url, origin, authority, prefix in ACCEPTED
    ]
    return accepted + [{"url": url, "refused": True} for url in REFUSED]


GOOD_PATHS: Final = (
    "/me",
    "/",
    "/a/b/c",
    "/a//b",
    "/a/",
    "/transfers/7",
    "/caf%C3%A9",
    "/a%20b",
    "/a%2Fb",
    "/a.b",
    "/...",
    "/.a",
    "/a..",
    "/~ada",
    "/a;b=c,d",
    "/a:b@c",
    "/!$&'()*+,=",
    "/a-b_c",
    "/%2e%2e%2e",
)
BAD_PATHS: Final = (
    "",
    "me",
    "/a b",
    "/caf\u00e9",
    "/a?b=c",
    "/a#b",
    "/%",
    "/%4",
    "/%zz",
    "/.",
    "/..",
    "/a/./b",
    "/a/../b",
    "/a/..",
    "/%2e",
    "/%2E%2e/b",
    "/.%2e",
    "/a\\b",
    '/"a"',
    "/<a>",
    "/a|b",
    "/a^b",
    "/{id}",
    "/a\nb",
    "https://evil.example.com/a",
)


def paths() -> list[dict[str, Any]]:
    """List paths of calls that a client must accept, and paths that it must refuse as a programming error."""
    return [{"path": path, "accepted": path in GOOD_PATHS} for path in (*GOOD_PATHS, *BAD_PATHS)]
