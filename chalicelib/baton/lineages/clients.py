"""The client registry: the applications that may log people in, their mechanisms, and the roles of accounts. No I/O."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Literal, cast, get_args

from msgspec import Struct

from chalicelib.baton.lineages.attestation_policy import AttestationPolicy, read_attestation
from chalicelib.baton.lineages.delivery import Delivery, DeviceBound, delivery_problems
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.lineages.relying_party import HOST, Apps, RelyingParty, read_apps, read_relying_party
from chalicelib.baton.policy import (
    ACR_LEVELS,
    MECHANISMS,
    REMEMBER_DAYS,
    REMEMBER_DAYS_MAX,
    ROLE_CHARACTERS_MAX,
    ROLES_MAX,
    Mechanism,
    MechanismName,
)

Form = Literal["jwt", "opaque"]
BindingRule = Literal["required", "optional"]
SecondFactorRule = Literal["off", "optional", "required"]

_MEMBERS = {"code", "mechanism", "form", "binding", "scope"}
_OPTIONAL_MEMBERS = {
    *("retired", "second_factor", "remember_days", "restore", "webauthn_origins", "apple", "android"),
    *("delivery", "origins", "device_bound", "trusted_sources", "attestation"),
}
_CODE_MAX = 255
_TABLES = {"client", "demonstration", "mail", "roles", "webauthn"}
_PRODUCT_CHARACTERS_MAX = 64
_OPAQUE_ONLY = (MechanismName.SESSION, MechanismName.LONG_LIVED)
"""The tokens of these mechanisms live for up to 180 days. They are opaque: a JWT would keep its roles for this time."""
_ROLE_MEMBERS = {"code"}
_OPTIONAL_ROLE_MEMBERS = {"second_factor"}
_ROLE_NAME = re.compile(rf"[a-z][a-z0-9_-]{{0,{ROLE_CHARACTERS_MAX - 1}}}")


_OTHER_ENCODINGS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""Encodings other than UTF-8, by their byte order mark. The longer marks come first."""


class RegistryProblems(ValueError):
    """The registry file is invalid. ``problems`` lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        """Keep the list."""
        super().__init__("; ".join(problems))
        self.problems = problems


class UnknownRole(ValueError):
    """The registry has no role of this name."""


class Client(Struct, frozen=True):
    """A public client application (RFC 6749 section 2). Requests have its id, and lineages store its one-byte code.

    The first lines of ``chalicelib/clients.toml`` describe the members, except:

    - ``apps``: the web origins and apps of the client, for passkeys and attestation.
    - ``device_bound``: with ``offer``, browsers may bind the cookies to a key.
    - ``trusted_sources``: the networks from which Baton accepts ``Baton-Client-Address``.
    """

    id: str
    code: int
    mechanism: Mechanism
    form: Form
    binding: BindingRule
    scope: frozenset[str]
    retired: bool = False
    second_factor: SecondFactorRule = "optional"
    remember_days: int = REMEMBER_DAYS
    apps: Apps = Apps()
    restore: bool = False
    delivery: Delivery = "body"
    origins: tuple[str, ...] = ()
    device_bound: DeviceBound = "off"
    trusted_sources: tuple[str, ...] = ()
    attestation: AttestationPolicy = AttestationPolicy()


class MailRow(Struct, frozen=True):
    """The table ``[mail]``: the product name in mails, and the host of links to the app (if empty: no such links)."""

    product: str = ""
    link_host: str = ""


class Clients:
    """The registered clients and roles, by name and by stored code."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        *,
        roles: Mapping[str, int] | None = None,
        mail: MailRow | None = None,
        relying_party: RelyingParty | None = None,
        second_factor_roles: Collection[str] = (),
        demonstration: bool = False,
    ) -> None:
        """Index clients and roles by name and by code. ``demonstration``: the registry is for development only.

        An account with one of the ``second_factor_roles`` needs a second factor at each login. Only a login with a
        second factor has these roles.
        """
        self.demonstration = demonstration
        self.mail = mail or MailRow()
        self.relying_party = relying_party
        self.roles: Mapping[str, int] = dict(roles or {})
        self.second_factor_roles = frozenset(second_factor_roles)
        self._roles_by_code = {code: name for name, code in self.roles.items()}
        self._by_id = dict(clients)
        self._by_code = {client.code: client for client in clients.values()}

    def __iter__(self) -> Iterator[Client]:
        """Iterate over the clients in the order of the file."""
        return iter(self._by_id.values())

    def get(self, client_id: str) -> Client | None:
        """Find a client by its ``client_id``. Retired clients are found too."""
        return self._by_id.get(client_id)

    def of(self, code: int) -> Client | None:
        """Find a client by the code stored with a lineage. ``None`` if the registry no longer has it."""
        return self._by_code.get(code)

    def role_codes(self, names: Collection[str]) -> frozenset[int]:
        """Return the stored codes of roles. Raises ``UnknownRole`` for a name that the registry does not have."""
        unknown = sorted(set(names) - self.roles.keys())
        if unknown:
            raise UnknownRole(f"the registry has no role {', '.join(map(repr, unknown))}")
        return frozenset(self.roles[name] for name in names)

    def role_names(self, codes: Collection[int]) -> frozenset[str]:
        """Return the names of stored codes. A code that the registry no longer has is left out, and grants nothing."""
        return frozenset(self._roles_by_code[code] for code in codes if code in self._roles_by_code)

    def roles_of_login(self, codes: Collection[int], *, acr: str) -> frozenset[str]:
        """Return the names of the roles that a login has. ``codes`` are the roles of its account, ``acr`` is its level.

        If ``acr`` is below ``aal2``, each role with ``second_factor = "required"`` is left out.
        """
        names = self.role_names(codes)
        return names if level(acr) >= level("aal2") else names - self.second_factor_roles

    @property
    def by_cookie(self) -> tuple[Client, ...]:
        """The clients that get their tokens in cookies."""
        return tuple(client for client in self if client.delivery == "cookie")

    @property
    def cookie_origins(self) -> tuple[str, ...]:
        """The origins whose pages may send cookies, in addition to the origin of the API."""
        return tuple(dict.fromkeys(origin for client in self.by_cookie for origin in client.origins))

    @property
    def all_require_second_factor(self) -> bool:
        """Whether every client of the registry requires a second factor at each login. Retired clients count too."""
        return all(client.second_factor == "required" for client in self)

    def demand_second_factor(self, client: Client, account_state: AccountState) -> bool:
        """Check whether the client, an operator or a role of the account demands a second factor."""
        return (
            client.second_factor == "required"
            or account_state.second_factor_required
            or not self.second_factor_roles.isdisjoint(self.role_names(account_state.roles))
        )

    @classmethod
    def from_toml(cls, text: str, file: str = "client registry") -> "Clients":
        """Parse the text of a client registry. ``file`` is the name that error messages use.

        Raises ``RegistryProblems``, which lists every problem. Each problem begins with ``file``.
        """
        try:
            rows = tomllib.loads(text)
        except ValueError as error:  # a TOMLDecodeError, or a plain ValueError for a number of 5,000 digits
            raise RegistryProblems([f"{file}: {error}"]) from None
        except RecursionError:
            raise RegistryProblems([f"{file}: its values are nested too deeply"]) from None
        problems = [f"unknown table [{name}]" for name in rows if name not in _TABLES]
        demonstration = rows.get("demonstration", False)
        if type(demonstration) is not bool:
            problems.append("demonstration is true or false")
        roles, second_factor_roles = _roles(rows.get("roles", {}), problems)
        mail = _mail(rows.get("mail", {}), problems)
        relying_party = read_relying_party(rows.get("webauthn"), problems)
        tables = rows.get("client", {})
        if not isinstance(tables, dict):
            problems.append("client is not a table: write [client.mobile]")
            tables = {}
        clients: dict[str, Client] = {}
        codes: dict[int, str] = {}
        for client_id, row in tables.items():
            wrong = list(_problems(row))
            apps = read_apps(row, relying_party, wrong)
            attestation = read_attestation(row, apps, wrong)
            if not wrong and row["code"] in codes:
                wrong = [f"code {row['code']} is that of {codes[row['code']]}"]
            if wrong:
                problems += [f"client.{client_id}: {problem}" for problem in wrong]
                continue
            codes[row["code"]] = client_id
            clients[client_id] = Client(
                id=client_id,
                code=row["code"],
                mechanism=MECHANISMS[MechanismName(row["mechanism"])],
                form=cast("Form", row["form"]),
                binding=cast("BindingRule", row["binding"]),
                scope=frozenset(row["scope"].split()),
                retired=row.get("retired", False),
                second_factor=cast("SecondFactorRule", row.get("second_factor", "optional")),
                remember_days=row.get("remember_days", REMEMBER_DAYS),
                apps=apps,
                restore=row.get("restore", False),
                delivery=cast("Delivery", row.get("delivery", "body")),
                origins=tuple(row.get("origins", ())),
                device_bound=cast("DeviceBound", row.get("device_bound", "off")),
                trusted_sources=tuple(row.get("trusted_sources", ())),
                attestation=attestation,
            )
        if not clients and not problems:
            problems = ["no client is registered"]
        if problems:
            raise RegistryProblems([f"{file}: {problem}" for problem in problems])
        return cls(
            clients,
            roles=roles,
            mail=mail,
            relying_party=relying_party,
            second_factor_roles=second_factor_roles,
            demonstration=demonstration,
        )


def decode_registry(content: bytes, file: str) -> str:
    """Decode a registry file: UTF-8, with or without a byte order mark. Raises ``RegistryProblems``."""
    encoding = next((name for mark, name in _OTHER_ENCODINGS.items() if content.startswith(mark)), None)
    if encoding is None and b"\0" in content:  # no byte order mark, but a NUL, which TOML does not allow
        encoding = "UTF-32" if b"\0\0" in content else "UTF-16"
    if encoding:
        raise RegistryProblems([f"{file} is encoded in {encoding}: save it as UTF-8"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RegistryProblems([f"{file}, line {line}: a byte that is not UTF-8: save it as UTF-8"]) from None


def _mail(table: object, problems: list[str]) -> MailRow:
    """Read the table ``[mail]``. Add its problems to ``problems``."""
    if not isinstance(table, dict):
        problems.append("mail is not a table: write [mail]")
        return MailRow()
    problems += [f"mail.{member} is not known" for member in sorted(table.keys() - {"product", "link_host"})]
    product, host = table.get("product", ""), table.get("link_host", "")
    if not (isinstance(product, str) and product.isprintable() and len(product) <= _PRODUCT_CHARACTERS_MAX):
        problems.append(f"mail.product is a name of at most {_PRODUCT_CHARACTERS_MAX} characters, without line ends")
    if not (isinstance(host, str) and (not host or HOST.fullmatch(host))):
        problems.append("mail.link_host is a host name in lower case, such as app.example.com")
    return MailRow(str(product), str(host))


def _roles(table: object, problems: list[str]) -> tuple[dict[str, int], set[str]]:
    """Return the codes of roles by name, and the roles that require a second factor. Add problems to ``problems``."""
    roles: dict[str, int] = {}
    second_factor: set[str] = set()
    if not isinstance(table, dict):
        problems.append("roles is not a table: write [roles]")
        return roles, second_factor
    for name, row in table.items():
        wrong = list(_role_problems(name, row))
        if not wrong and row["code"] in roles.values():
            owner = next(other for other, code in roles.items() if code == row["code"])
            wrong = [f"code {row['code']} is that of {owner}"]
        if wrong:
            problems += [f"roles.{name}: {problem}" for problem in wrong]
            continue
        roles[name] = row["code"]
        if "second_factor" in row:
            second_factor.add(name)
    return roles, second_factor


def _role_problems(name: str, row: object) -> Iterator[str]:
    if not _ROLE_NAME.fullmatch(name):
        yield (
            f"the name of a role is at most {ROLE_CHARACTERS_MAX} of a-z, 0-9, '-' and '_', and begins with a letter"
        )
    if not isinstance(row, dict):
        yield "is not a table: write { code = 1 }"
        return
    for member in sorted(_ROLE_MEMBERS ^ (row.keys() - _OPTIONAL_ROLE_MEMBERS)):
        yield f"{member} is missing" if member in _ROLE_MEMBERS else f"{member} is not known"
    code = row.get("code")
    if "code" in row and not (type(code) is int and 1 <= code <= ROLES_MAX):
        yield f"code is a whole number from 1 to {ROLES_MAX}"
    if row.get("second_factor", "required") != "required":
        yield 'second_factor is "required", or left out'


def _problems(row: object) -> Iterator[str]:
    if not isinstance(row, dict):
        yield "is not a table"
        return
    for name in sorted(_MEMBERS ^ (row.keys() - _OPTIONAL_MEMBERS)):
        yield f"{name} is missing" if name in _MEMBERS else f"{name} is not known"
    yield from _switch_problems(row)
    yield from delivery_problems(row)
    days = row.get("remember_days", REMEMBER_DAYS)
    if not (type(days) is int and 0 <= days <= REMEMBER_DAYS_MAX):
        yield f"remember_days is a whole number from 0 to {REMEMBER_DAYS_MAX}"
    code = row.get("code")
    if "code" in row and not (type(code) is int and 1 <= code <= _CODE_MAX):
        yield f"code is a whole number from 1 to {_CODE_MAX}"
    for name, words in (
        ("mechanism", tuple(MechanismName)),
        ("form", get_args(Form)),
        ("binding", get_args(BindingRule)),
        ("second_factor", get_args(SecondFactorRule)),
    ):
        if name in row and row[name] not in words:
            yield f"{name} is one of {', '.join(words)}"
    if row.get("form") == "jwt" and row.get("mechanism") in _OPAQUE_ONLY:
        yield f'form is "opaque" for {row["mechanism"]}: a JWT would carry roles for months after they were taken away'
    if "scope" in row and not (isinstance(row["scope"], str) and row["scope"].split()):
        yield "scope is a string of words"


def _switch_problems(row: Mapping[str, object]) -> Iterator[str]:
    for name in ("retired", "restore"):
        if not isinstance(row.get(name, False), bool):
            yield f"{name} is true or false"
    if row.get("restore") is True and row.get("second_factor") == "required":
        yield 'restore is false where second_factor is "required": a restored login has proved no factor'


def level(acr: str) -> int:
    """Return the rank of an ``acr`` level: a stronger login has a higher rank. An unknown level has the lowest rank."""
    return ACR_LEVELS.index(acr) if acr in ACR_LEVELS else -1
