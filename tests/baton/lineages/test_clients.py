"""The client registry: a file with one error is refused completely."""

import re

import pytest

from chalicelib.baton.lineages.clients import Clients, MailRow, RegistryProblems, UnknownRole
from chalicelib.baton.policy import MECHANISMS, MechanismName
from tests.baton.fixture import CLIENTS

SHIPPED = CLIENTS.read_text("utf-8")
ROW = '[client.app]\ncode = 1\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'


def test_the_shipped_registry_has_the_nine_clients() -> None:
    """The table has id, code and mechanism of each client."""
    clients = Clients.from_toml(SHIPPED)
    assert {client.id: (client.mechanism.name, client.form, client.binding) for client in clients} == {
        "mobile": ("exchange", "jwt", "required"),
        "mobile-opaque": ("exchange", "opaque", "required"),
        "simple": ("exchange", "jwt", "optional"),
        "session-api": ("session", "opaque", "optional"),
        "legacy": ("refresh", "jwt", "optional"),
        "oauth": ("rotating_refresh", "jwt", "optional"),
        "iot": ("long_lived", "opaque", "optional"),
        "web": ("session", "opaque", "optional"),
        "genuine": ("exchange", "jwt", "required"),
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
        (("code = 1", 'code = 1\nsecond_factor = "never"'), "second_factor is one of off, optional, required"),
        (("code = 1", "code = 1\nremember_days = 91"), "remember_days is a whole number from 0 to 90"),
        (("code = 1", "code = 1\nremember_days = -1"), "remember_days is a whole number"),
        (("code = 1", "code = 1\nremember_days = true"), "remember_days is a whole number"),
        (("code = 1", 'code = 1\nrestore = "yes"'), "restore is true or false"),
        (("code = 1", 'code = 1\nrestore = true\nsecond_factor = "required"'), "restore is false where second_factor"),
        (('"account"', "1"), "scope is a string of words"),
        (("code = 1", "code = 1\nsecret = 1"), "secret is not known"),
        (("[client.app]", "[server.app]"), "unknown table [server]"),
        (("[client.app]", "[client"), "client registry"),
    ],
)
def test_the_error_for_a_wrong_row_names_the_row(change: tuple[str, str], problem: str) -> None:
    """The error also names the mistake."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROW.replace(*change))
    assert any(problem in named for named in refused.value.problems)


ROLES = "[roles]\nadmin = { code = 1 }\nsupport = { code = 32 }\n"


def test_roles_have_names_and_codes() -> None:
    """Names and codes are found by each other.

    A code without a row has no name. Without the table there are no roles.
    """
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
    """Without this member, each login of the account has the role, and needs no second factor for it."""
    clients = Clients.from_toml(ROLES.replace("code = 32", 'code = 32, second_factor = "required"') + ROW)
    assert clients.second_factor_roles == {"support"}
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
        (("code = 32", "code = 1"), "roles.support: code 1 is that of admin"),
        (("admin", "Admin"), "roles.Admin: the name of a role"),
        (("admin", "1st"), "roles.1st: the name of a role"),
        (("admin", '"a b"'), "roles.a b: the name of a role"),
        (("admin", '""'), "roles.: the name of a role"),
        (("admin", "a" * 33), "the name of a role is at most 32"),
        (("admin", '"admin\\n"'), "the name of a role"),
    ],
)
def test_the_error_for_a_wrong_role_names_the_row(change: tuple[str, str], problem: str) -> None:
    """The error names the file too. The whole registry is refused."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROLES.replace(*change) + ROW, "chalicelib/clients.toml")
    assert any(named.startswith("chalicelib/clients.toml: ") and problem in named for named in refused.value.problems)


def test_a_role_name_has_at_most_32_characters() -> None:
    """Digits and signs are allowed after the first letter."""
    name = "a0_-" * 8
    assert Clients.from_toml(ROLES.replace("admin", name) + ROW).roles[name] == 1


def test_roles_that_are_not_a_table_are_an_error() -> None:
    """Clients that are not a table are an error too."""
    with pytest.raises(RegistryProblems, match=r"roles is not a table: write \[roles\]"):
        Clients.from_toml("roles = 1\n" + ROW)


def test_two_clients_cannot_have_the_same_code() -> None:
    """A lineage stores the code of its client."""
    with pytest.raises(RegistryProblems, match="code 1 is that of app"):
        Clients.from_toml(ROW + ROW.replace("client.app", "client.other"))


def test_one_error_lists_all_problems_of_the_registry() -> None:
    """An empty registry is a problem too."""
    with pytest.raises(RegistryProblems) as refused:
        Clients.from_toml(ROW.replace("jwt", "x").replace("required", "y"))
    assert len(refused.value.problems) == 2
    with pytest.raises(RegistryProblems, match="no client"):
        Clients.from_toml("")


MAIL = '[mail]\nproduct = "Example"\nlink_host = "app.example.com"\n'


def test_mail_has_a_product_and_a_host_for_links() -> None:
    """Both may be missing."""
    assert Clients.from_toml(ROW + MAIL).mail == MailRow("Example", "app.example.com")
    assert Clients.from_toml(ROW).mail == MailRow()


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("mail = 1\n", "mail is not a table"),
        ('[mail]\nproduct = "a\\nb"\n', "mail.product"),
        ("[mail]\nproduct = 7\n", "mail.product"),
        ('[mail]\nlink_host = "https://app.example.com"\n', "mail.link_host"),
        ('[mail]\nlink_host = "App.example.com"\n', "mail.link_host"),
        ('[mail]\nsender = "x"\n', "mail.sender is not known"),
    ],
)
def test_a_table_of_mail_that_is_wrong_is_named(table: str, problem: str) -> None:
    """The message also names the mistake."""
    with pytest.raises(RegistryProblems, match=re.escape(problem)):
        Clients.from_toml(table + ROW)


WEB = ROW.replace('"exchange"', '"session"').replace('"jwt"', '"opaque"').replace('"required"', '"optional"')
WEB += 'delivery = "cookie"\norigins = ["https://app.example.com"]\n'


def test_a_cookie_client_has_its_own_origins() -> None:
    """The pages of these origins may send its cookies. Every other client gets its tokens in the body."""
    clients = Clients.from_toml(WEB + ROW.replace("[client.app]", "[client.phone]").replace("code = 1", "code = 2"))
    (web,) = clients.by_cookie
    assert (web.id, web.delivery, clients.cookie_origins) == ("app", "cookie", ("https://app.example.com",))
    assert [client.delivery for client in clients] == ["cookie", "body"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('"cookie"', '"header"'), "delivery is one of body, cookie"),
        (('"session"', '"exchange"'), 'delivery is "cookie" for mechanism session only'),
        (('"optional"', '"required"'), 'delivery "cookie" needs binding = "optional"'),
        (("origins", "restore = true\norigins"), 'delivery "cookie" needs binding = "optional" and no restore'),
        (('delivery = "cookie"\n', ""), 'origins is for delivery "cookie"'),
        (('["https://app.example.com"]', '"https://app.example.com"'), "origins is a list of exact origins"),
        (("https://app.example.com", "https://*.example.com"), "origins is a list of exact origins"),
        (("https://app.example.com", "https://app.example.com/"), "origins is a list of exact origins"),
        (("https://app.example.com", "http://app.example.com"), "origins is a list of exact origins"),
        (("https://app.example.com", "capacitor://localhost"), "origins is a list of exact origins"),
        (("https://app.example.com", "http://tauri.localhost"), "origins is a list of exact origins"),
        (("https://app.example.com", "null"), "origins is a list of exact origins"),
    ],
)
def test_a_cookie_client_that_could_not_be_safe_is_refused(change: tuple[str, str], problem: str) -> None:
    """It must have no key, only exact origins, and a mechanism whose tokens stay in the cookies."""
    with pytest.raises(RegistryProblems, match=re.escape(problem)):
        Clients.from_toml(WEB.replace(*change))
