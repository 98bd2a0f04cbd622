"""What a route is given and what it returns. No I/O."""

from collections.abc import Mapping, Sequence
from enum import Enum

from msgspec import Struct


class Message(Struct, frozen=True):
    """A request as its sender saw it.

    ``path`` is undecoded, stage prefix included; ``query`` is decoded once, in order; ``fields`` maps lower-case
    names to the values received, in order. ``source`` is the address that the gateway saw, never one from a header.
    """

    method: str
    authority: str
    path: str
    query: tuple[tuple[str, str], ...]
    fields: Mapping[str, Sequence[str]]
    body: bytes
    source: str = ""

    def __repr__(self) -> str:
        """Mask fields and body: they hold tokens and passwords."""
        return f"Message({self.method} {self.path})"


class Body(Struct, forbid_unknown_fields=True):
    """A JSON object whose members are all known. Derive the bodies of your own routes from it."""

    def __repr__(self) -> str:
        """Mask: bodies hold passwords."""
        return f"{type(self).__name__}('**********')"


class Nothing(Struct, forbid_unknown_fields=True):
    """An empty body: none, or ``{}``."""


class Answer(Struct, frozen=True):
    """What a view returns: a status, and a body that ``msgspec`` can write as JSON, or none."""

    status: int = 200
    body: object = None
    cache_s: int = 0
    """How long the answer may be cached, seconds; 0 is ``no-store``."""


class Dialect(Enum):
    """The form of the refusals of a route; the value is their media type."""

    PROBLEM = "application/problem+json"
    OAUTH = "application/json"


def source_network(source: str) -> str:
    """Name where a request came from: an IPv4 address, or the /64 of an IPv6 one, for a single line has all of it.

    What is no address stands for itself: a gateway that says it in a way of its own is a source all the same.
    """
    if ":" not in source:
        return source
    import ipaddress  # noqa: PLC0415 - cold start

    try:
        address = ipaddress.IPv6Address(source)
    except ValueError:
        return source
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
