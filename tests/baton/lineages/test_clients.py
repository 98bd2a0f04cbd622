"""The client registry: a checked file, refused whole when anything in it is wrong."""

import pytest

from chalicelib.baton.lineages.clients import Clients, RegistryProblems, UnknownRole
from chalicelib.baton.policy import MECHANISMS, MechanismName
from tests.baton.fixture import CLIENTS

SHIPPED = CLIENTS.read_text("utf-8")
ROW = '[client.app]\ncode = 1\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'


def test_the_shipped_registry_has_the_seven_clients() -> None:
    """By id, by code, and by the mechanism the design names for each."""
    clients = Clients.from_toml(SHIPPED)
    assert {client.id: (client.mechanism.name, client.form, client.binding) for client in clients} == {
        "mobile": ("exchange", "jwt", "required"),
        "mobile-opaque": ("exchange", "opaque", "required"),
        "simple": ("exchange", "jwt", "optional"),
        "web": ("session", "opaque", "optional"),
        "legacy": ("refresh", "jwt", "optional"),
        "oauth": ("rotating_refresh", "jwt", "optional"),
        "iot": ("long_lived", "opaque", "optional"),
    }
    for client in clients:
        assert clients.get(client.id) is clients.of(client.code) is client
        assert client.mechanism is MECHANISMS[MechanismName(client.mechanism.name)]
    assert clients.get("nobody") is clients.of(200) is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("code = 1", "code = 0"), "code is a whole number from 1 to 255"),
        (("code = 1", "code = 256"), "code is a whole number"),
        (("code = 1", "code = true"), "code is a whole number"),
        (("code = 1\n", ""), "code is missing"),
        (('"exchange"', '"magic"'), "mechanism is one of"),
        (('"jwt"', '"saml"'), "form is one of"),
        (('"required"', '"maybe"'), "binding is one of"),
        (('"exchange"', '"long_lived"'), 'client.app: form is "opaque" for long_lived'),
        (('"exchange"', '"session"'), 'client.app: form is "opaque" for session'),
        (('"account"', '""'), "scope is a string of words"),
        (('"account"', "1"), "scope is a string of words"),
        (("code = 1", "code = 1\nsecret = 1"), "secret is not known"),
        (("[client.app]", "[server.app]"), "unknown table [server]"),
        (("[client.app]", "[client"), "client registry"),
    ],
)
def test_a_row_that_is_wrong_is_named(change: tuple[str, str], problem: str) -> None:
    """What is wrong, and in which row."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROW.replace(*change))
    assert any(problem in named for named in refused.value.problems)


ROLES = "[roles]\nadmin = { code = 1 }\nsupport = { code = 32 }\n"


def test_roles_have_names_and_codes() -> None:
    """Both ways. A code without a row has no name, and a registry without the table has no roles."""
    clients = Clients.from_toml(ROLES + ROW)
    assert clients.roles == {"admin": 1, "support": 32}
    assert clients.role_codes(["support", "admin", "admin"]) == {1, 32}
    assert clients.role_codes([]) == frozenset()
    assert clients.role_names(frozenset({1, 2, 32})) == {"admin", "support"}
    assert Clients.from_toml(ROW).roles == Clients({}).roles == {}
    assert Clients.from_toml(ROW).role_names({1}) == frozenset()
    with pytest.raises(UnknownRole, match="no role 'boss', 'chief'"):
        clients.role_codes(["admin", "chief", "boss"])


def test_a_role_may_require_a_second_factor() -> None:
    """By its row. Without the member, every login of the account has the role."""
    clients = Clients.from_toml(ROLES.replace("code = 32", 'code = 32, second_factor = "required"') + ROW)
    assert clients.second_factor_roles == {32}
    assert Clients.from_toml(ROLES + ROW).second_factor_roles == frozenset()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("code = 1 ", "code = 0 "), "roles.admin: code is a whole number from 1 to 32"),
        (("code = 32", "code = 33"), "roles.support: code is a whole number from 1 to 32"),
        (("code = 1 ", "code = true "), "roles.admin: code is a whole number"),
        (("code = 1 ", 'code = "1" '), "roles.admin: code is a whole number"),
        (("code = 1 ", ""), "roles.admin: code is missing"),
        (("code = 1 ", "code = 1, secret = 1 "), "roles.admin: secret is not known"),
        (("code = 1 ", 'code = 1, second_factor = "off" '), 'roles.admin: second_factor is "required"'),
        (("code = 1 ", "code = 1, second_factor = true "), 'roles.admin: second_factor is "required"'),
        (("{ code = 1 }", "1"), "roles.admin: is not a table"),
        (("code = 32", "code = 1"), "roles.support: code 1 is admin's"),
        (("admin", "Admin"), "roles.Admin: the name of a role"),
        (("admin", "1st"), "roles.1st: the name of a role"),
        (("admin", '"a b"'), "roles.a b: the name of a role"),
        (("admin", '""'), "roles.: the name of a role"),
        (("admin", "a" * 33), "the name of a role is at most 32"),
        (("admin", '"admin\\n"'), "the name of a role"),
    ],
)
def test_a_role_that_is_wrong_is_named(change: tuple[str, str], problem: str) -> None:
    """What is wrong, in which row of which file; and the registry is refused whole."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROLES.replace(*change) + ROW, "chalicelib/clients.toml")
    assert any(named.startswith("chalicelib/clients.toml: ") and problem in named for named in refused.value.problems)


def test_the_longest_name_of_a_role_is_a_name() -> None:
    """32 characters, and digits and signs after the first letter."""
    name = "a0_-" * 8
    assert Clients.from_toml(ROLES.replace("admin", name) + ROW).roles[name] == 1


def test_roles_that_are_no_table_are_named() -> None:
    """As clients are."""
    with pytest.raises(RegistryProblems, match=r"roles is not a table: write \[roles\]"):
        Clients.from_toml("roles = 1\n" + ROW)


def test_a_code_belongs_to_one_client() -> None:
    """Lineages remember their client by its code."""
    with pytest.raises(RegistryProblems, match="code 1 is app's"):
        Clients.from_toml(ROW + ROW.replace("client.app", "client.other"))


def test_all_problems_are_named_at_once() -> None:
    """Not the first alone; an empty registry is a problem too."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROW.replace("jwt", "x").replace("required", "y"))
    assert len(refused.value.problems) == 2
    with pytest.raises(RegistryProblems, match="no client"):
        Clients.from_toml("")
