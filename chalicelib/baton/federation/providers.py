"""The identity providers of the deployment: ``chalicelib/providers.toml``. No I/O.

```toml
[provider.google]
code = 2
kind = "google"
issuers = ["https://accounts.google.com", "accounts.google.com"]
jwks_uri = "https://www.googleapis.com/oauth2/v3/certs"
audiences = { mobile = ["1234.apps.googleusercontent.com"] }
```
"""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.baton.lineages.assurance import APPLE_CODE, PROVIDERS_MAX

Kind = Literal["apple", "google", "oidc"]
Algorithm = Literal["RS256", "ES256", "PS256"]

_KINDS: Final = ("apple", "google", "oidc")
_ALGORITHMS: Final = ("RS256", "ES256", "PS256")
_ISSUERS: Final[Mapping[str, frozenset[str]]] = {
    "apple": frozenset({"https://appleid.apple.com"}),
    "google": frozenset({"https://accounts.google.com", "accounts.google.com"}),
}
_MEMBERS: Final = {"code", "kind", "issuers", "jwks_uri", "audiences"}
_OF_KIND: Final[Mapping[str, frozenset[str]]] = {
    "apple": frozenset({"team_id", "key_id"}),
    "google": frozenset(),
    "oidc": frozenset({"algorithms"}),
}
_OPTIONAL: Final[Mapping[str, frozenset[str]]] = {
    "apple": frozenset(),
    "google": frozenset({"azp", "hosted_domains"}),
    "oidc": frozenset({"azp", "email", "step_up"}),
}
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_WORD: Final = re.compile(r"[!-~]{1,255}")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1"})


class ProviderProblems(ValueError):
    """The file ``providers.toml`` is invalid. ``problems`` lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the list."""
        super().__init__("; ".join(problems))
        self.problems = problems


class Provider(Struct, frozen=True, kw_only=True):
    """An identity provider.

    - ``code``: the number of the provider in stored items. Never give this number to another provider.
    - ``audiences``: the accepted values of ``aud``, for each client.
    - ``azp``: the accepted authorized parties. Empty: any.
    - ``hosted_domains``: the accepted Google Workspace domains. Empty: any.
    - ``trusts_email``: Baton trusts the addresses that the provider verified. Only for kind ``oidc``.
    - ``step_up``: Baton trusts the provider's ``auth_time``. Only for kind ``oidc``.
    """

    name: str
    code: int
    kind: Kind
    issuers: tuple[str, ...]
    jwks_uri: str
    audiences: Mapping[str, tuple[str, ...]]
    algorithms: tuple[Algorithm, ...] = ("RS256",)
    azp: tuple[str, ...] = ()
    hosted_domains: tuple[str, ...] = ()
    trusts_email: bool = False
    step_up: bool = False
    team_id: str = ""
    key_id: str = ""

    @property
    def counts_for_step_up(self) -> bool:
        """Whether a token proves that the person is present at this moment.

        Apple requires face, finger or code each time. Google can issue a token without an action of the person.
        """
        return self.kind == "apple" or self.step_up


class Providers(Struct, frozen=True):
    """The identity providers of the deployment, by name."""

    by_name: Mapping[str, Provider] = {}

    def __bool__(self) -> bool:
        """Return whether there is a provider."""
        return bool(self.by_name)

    def get(self, name: str) -> Provider | None:
        """Return the provider with this name, or ``None``."""
        return self.by_name.get(name)

    def for_step_up(self, client_id: str) -> dict[int, str]:
        """Map code to name, for each provider whose id_token this client can use for a step-up."""
        rows = self.by_name.values()
        return {row.code: row.name for row in rows if row.counts_for_step_up and client_id in row.audiences}

    @property
    def names(self) -> dict[int, str]:
        """Map the code of each provider to its name."""
        return {provider.code: provider.name for provider in self.by_name.values()}


def read_providers(
    text: str, *, clients: Collection[str], development: bool, file: str = "providers.toml"
) -> Providers:
    """Parse the text of ``providers.toml``. ``clients`` has the registered client ids. Raises ``ProviderProblems``."""
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProviderProblems([f"{file}: {error}"]) from None
    problems = [f"unknown table [{name}]" for name in tables if name != "provider"]
    rows = tables.get("provider", {})
    if not isinstance(rows, dict):
        problems.append("provider is not a table: write [provider.google]")
        rows = {}
    found: dict[str, Provider] = {}
    for name, row in rows.items():
        wrong = list(_problems(name, row, clients=clients, development=development))
        if not wrong:
            wrong = list(_conflicts(row, found.values()))
        problems += [f"provider.{name}: {problem}" for problem in wrong]
        if not wrong:
            found[name] = _provider(name, row)
    if problems:
        raise ProviderProblems([f"{file}: {problem}" for problem in problems])
    return Providers(found)


def _provider(name: str, row: Mapping[str, Any]) -> Provider:
    return Provider(
        name=name,
        code=row["code"],
        kind=row["kind"],
        issuers=tuple(row["issuers"]),
        jwks_uri=row["jwks_uri"],
        audiences={client: tuple(audiences) for client, audiences in row["audiences"].items()},
        algorithms=tuple(row.get("algorithms", ("RS256",))),
        azp=tuple(row.get("azp", ())),
        hosted_domains=tuple(row.get("hosted_domains", ())),
        trusts_email=row.get("email", "ignored") == "trusted",
        step_up=row.get("step_up", False),
        team_id=row.get("team_id", ""),
        key_id=row.get("key_id", ""),
    )


def _conflicts(row: Mapping[str, Any], others: Collection[Provider]) -> Iterator[str]:
    for other in others:
        if other.code == row["code"]:
            yield f"code is that of provider.{other.name}"
        if set(other.issuers) & set(row["issuers"]):
            yield f"an issuer is that of provider.{other.name}"


def _problems(name: str, row: object, *, clients: Collection[str], development: bool) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield "the name is at most 32 of a-z, 0-9, '-' and '_', and begins with a letter"
    if not isinstance(row, dict):
        yield "is not a table"
        return
    kind = row.get("kind")
    if kind not in _KINDS:
        yield f"kind is one of {', '.join(_KINDS)}"
        return
    needed = _MEMBERS | _OF_KIND[kind]
    for member in sorted(needed ^ (row.keys() - _OPTIONAL[kind])):
        yield f"{member} is missing" if member in needed else f"{member} is not known for kind {kind}"
    code = row.get("code", APPLE_CODE if kind == "apple" else APPLE_CODE + 1)
    if not (type(code) is int and 1 <= code <= PROVIDERS_MAX):
        yield f"code is a whole number from 1 to {PROVIDERS_MAX}"
    elif (code == APPLE_CODE) is not (kind == "apple"):
        yield f"code {APPLE_CODE} is that of the provider of kind apple"
    yield from _url_problems(row, kind, development=development)
    yield from _audience_problems(row.get("audiences", {"any": ["any"]}), clients, development=development)
    yield from _member_problems(row)


def _url_problems(row: Mapping[str, Any], kind: str, *, development: bool) -> Iterator[str]:
    issuers = row.get("issuers", ["https://any.example"])
    if not _are_words(issuers):
        yield "issuers is a list of texts"
    elif kind in _ISSUERS and not (development or set(issuers) <= _ISSUERS[kind]):
        yield f"issuers of kind {kind} are {', '.join(sorted(_ISSUERS[kind]))}"
    elif kind == "oidc" and not all(_is_url(one, development=development) for one in issuers):
        yield "issuers are https URLs"
    uri = row.get("jwks_uri", "https://any.example")
    if not (isinstance(uri, str) and _is_url(uri, development=development)):
        yield "jwks_uri is an https URL"


def _audience_problems(audiences: object, clients: Collection[str], *, development: bool) -> Iterator[str]:
    """Yield each problem of ``audiences``, the table of a provider that maps client ids to accepted values of ``aud``.

    ``clients``: the client ids in the client registry. At least one client id of the table must be in ``clients``,
    except in development. Other client ids of the table need no row in this registry, because several client registries
    can share the file ``providers.toml``.
    """
    if not (isinstance(audiences, dict) and audiences and all(map(_are_words, audiences.values()))):
        yield 'audiences is a table of lists of texts, such as { mobile = ["…"] }'
    elif audiences != {"any": ["any"]} and not development and audiences.keys().isdisjoint(clients):
        yield f"audiences: the registry has none of {', '.join(audiences)}"


def _member_problems(row: Mapping[str, Any]) -> Iterator[str]:
    for member in ("azp", "hosted_domains"):
        if not _are_words(row.get(member, ["any"])):
            yield f"{member} is a list of texts"
    algorithms = row.get("algorithms", ["RS256"])
    if not (_are_words(algorithms) and set(algorithms) <= set(_ALGORITHMS)):
        yield f"algorithms is a list of {', '.join(_ALGORITHMS)}"
    if row.get("email", "ignored") not in ("ignored", "trusted"):
        yield "email is ignored or trusted"
    if not isinstance(row.get("step_up", False), bool):
        yield "step_up is true or false"
    for member in ("team_id", "key_id"):
        if not _is_word(row.get(member, "any")):
            yield f"{member} is a text"


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _are_words(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_word, value)) and len(set(value)) == len(value)


def _is_url(text: str, *, development: bool) -> bool:
    """Check for an https URL without credentials and fragment. In development, http on this machine is allowed too."""
    try:
        parts = urlsplit(text if _is_word(text) else "")
        _ = parts.port
    except ValueError:  # not a host, or not a port
        return False
    if not parts.hostname or "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (development and parts.scheme == "http" and parts.hostname in _LOOPBACK)
