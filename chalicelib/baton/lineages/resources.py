"""The servers for which a token can be narrowed: ``chalicelib/resources.toml``. No I/O.

```toml
[resource.files]
identifier = "https://files.example.net"
scopes = ["files.read", "files.write"]
clients = ["mobile"]
max_s = 300
```
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.baton.policy import MINUTE_S

NARROWED_S = 5 * MINUTE_S
"""The longest life of a narrowed token for a server without ``max_s``, in seconds."""
NARROWED_MAX_S = 15 * MINUTE_S
"""The highest allowed value of ``max_s``, in seconds.

It is short: a server that does not introspect a token cannot see that the login of the token has ended.
"""

_MEMBERS = {"identifier", "scopes", "clients"}
_OPTIONAL_MEMBERS = {"max_s"}
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_SCOPE = re.compile(r"[!#-\[\]-~]{1,64}")
"""A scope token (RFC 6749 section 3.3)."""


class ResourceProblems(ValueError):
    """The file ``resources.toml`` is invalid. ``problems`` lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the list."""
        super().__init__("; ".join(problems))
        self.problems = problems


class Resource(Struct, frozen=True):
    """A server that accepts narrowed tokens.

    ``identifier`` is the audience of these tokens, and ``max_s`` their longest life in seconds.
    """

    name: str
    identifier: str
    scopes: frozenset[str]
    clients: frozenset[str]
    max_s: int


class Resources(Struct, frozen=True):
    """The servers for which a token can be narrowed, by name."""

    by_name: Mapping[str, Resource] = {}

    def __bool__(self) -> bool:
        """Return whether there is a server."""
        return bool(self.by_name)

    def find(self, *, audience: str | None, identifier: str | None) -> Resource | None:
        """Return the server with the name ``audience``. If ``audience`` is ``None``, find it by ``identifier``."""
        if audience is not None:
            return self.by_name.get(audience)
        return next((one for one in self.by_name.values() if one.identifier == identifier), None)


def read_resources(
    text: str, *, clients: Collection[str], own: Collection[str], development: bool, file: str = "resources.toml"
) -> Resources:
    """Parse ``text``, the content of ``resources.toml``. Raises ``ResourceProblems``, which lists every problem.

    - ``clients``: the ids of the registered clients.
    - ``own``: the audiences of Baton's own tokens.
    - ``development``: an identifier may begin with ``http://``, and the registry need not have any of the clients.
    - ``file``: the file name in error messages.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ResourceProblems([f"{file}: {error}"]) from None
    problems = [f"unknown table [{name}]" for name in tables if name != "resource"]
    rows = tables.get("resource", {})
    if not isinstance(rows, dict):
        problems.append("resource is not a table: write [resource.files]")
        rows = {}
    found: dict[str, Resource] = {}
    for name, row in rows.items():
        wrong = list(_problems(name, row, clients=clients, own=own, development=development))
        if not wrong and row["identifier"] in {one.identifier for one in found.values()}:
            wrong = ["identifier is that of another resource"]
        problems += [f"resource.{name}: {problem}" for problem in wrong]
        if not wrong:
            found[name] = Resource(
                name=name,
                identifier=row["identifier"],
                scopes=frozenset(row["scopes"]),
                clients=frozenset(row["clients"]),
                max_s=row.get("max_s", NARROWED_S),
            )
    if problems:
        raise ResourceProblems([f"{file}: {problem}" for problem in problems])
    return Resources(found)


def _problems(
    name: str, row: object, *, clients: Collection[str], own: Collection[str], development: bool
) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "the name is at most 32 of a-z, 0-9, '-' and '_', and begins with a letter"
    if not isinstance(row, dict):
        yield "is not a table"
        return
    for member in sorted(_MEMBERS ^ (row.keys() - _OPTIONAL_MEMBERS)):
        yield f"{member} is missing" if member in _MEMBERS else f"{member} is not known"
    identifier = row.get("identifier", "https://missing.example")
    if not (isinstance(identifier, str) and _is_identifier(identifier, development=development)):
        yield "identifier is an https URL without fragment (RFC 8707), such as https://files.example.net"
    elif identifier in own:
        yield "identifier is the audience of Baton's own tokens: a narrowed token would be accepted here"
    yield from _list_problems(row, clients, development=development)
    max_s = row.get("max_s", NARROWED_S)
    if not (type(max_s) is int and 1 <= max_s <= NARROWED_MAX_S):
        yield f"max_s is a whole number from 1 to {NARROWED_MAX_S}"


def _list_problems(row: Mapping[str, object], clients: Collection[str], *, development: bool) -> Iterator[str]:
    """List the problems of ``scopes`` and ``clients``.

    Outside development, at least one of ``clients`` must be in the registry. The registry need not have all of them,
    because several registries share the file.
    """
    for member in ("scopes", "clients"):
        words = row.get(member, ["any"])
        if not (isinstance(words, list) and words and all(isinstance(word, str) for word in words)):
            yield f"{member} is a list of words"
        elif member == "scopes" and not all(_SCOPE.fullmatch(word) for word in words):
            yield "scopes has a word that is no scope (RFC 6749 section 3.3)"
        elif member == "clients" and member in row and not development and set(words).isdisjoint(clients):
            yield f"clients: the registry has none of {', '.join(words)}"


def _is_identifier(text: str, *, development: bool) -> bool:
    if not text.isascii() or not text.isprintable() or " " in text or "#" in text:
        return False
    parts = urlsplit(text)
    return bool(parts.hostname) and parts.scheme in ({"https", "http"} if development else {"https"})
