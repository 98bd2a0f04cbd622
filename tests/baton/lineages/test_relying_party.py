"""The table ``[webauthn]`` and the apps of clients: a mistake prevents the start, and the public files are right."""

import re
from typing import Any

import pytest

from chalicelib.baton.factors.passkey_challenge import origins_of
from chalicelib.baton.lineages.clients import Clients, RegistryProblems
from chalicelib.baton.lineages.relying_party import RelyingParty
from chalicelib.baton.lineages.well_known import well_known

WEBAUTHN = '[webauthn]\nrp_id = "example.com"\nrp_name = "Example"\norigins = ["https://example.com"]\n'
CLIENT = '[client.app]\ncode = 1\nmechanism = "exchange"\nform = "jwt"\nbinding = "required"\nscope = "account"\n'
HEX = "ab" * 32


def read(webauthn: str = WEBAUTHN, client: str = "") -> Clients:
    """Read a registry with one client."""
    return Clients.from_toml(webauthn + CLIENT + client)


def party_with(*origins: str) -> RelyingParty:
    """Return the relying party with these origins."""
    listed = ", ".join(f'"{one}"' for one in origins)
    party = read(WEBAUTHN.replace('"https://example.com"', listed)).relying_party
    assert party is not None
    return party


def test_without_the_table_no_client_has_passkeys() -> None:
    """The only public files are those of apps, which links in mails need too."""
    clients = read("")
    assert clients.relying_party is None
    assert well_known(clients) == {}
    apps = read("", 'apple = { app_ids = ["TEAM123456.com.example.app"] }\n')
    assert list(well_known(apps)) == ["apple-app-site-association"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('"example.com"', '"https://example.com"'), "webauthn.rp_id is the domain"),
        (('rp_id = "example.com"\n', ""), "webauthn.rp_id is the domain"),
        (('"Example"', '""'), "webauthn.rp_name is a name"),
        (('"Example"', '"a\\nb"'), "webauthn.rp_name is a name"),
        (('"https://example.com"', '"https://example.com/"'), "webauthn.origins is a list of origins"),
        (('"https://example.com"', '"http://example.com"'), "webauthn.origins is a list of origins"),
        (('"https://example.com"', "1"), "webauthn.origins is a list of origins"),
        (('["https://example.com"]', '"https://example.com"'), "webauthn.origins is a list of origins"),
        (("rp_name", "icon = 1\nrp_name"), "webauthn.icon is not known"),
        (("rp_name", 'manage_url = "http://x"\nrp_name'), "webauthn.manage_url is the https URL"),
        (("[webauthn]", "webauthn = 1\n[other]"), "webauthn is not a table"),
    ],
)
def test_a_wrong_table_is_refused(change: tuple[str, str], problem: str) -> None:
    """The error names the member."""
    with pytest.raises(RegistryProblems) as refused:
        read(WEBAUTHN.replace(*change))
    assert any(problem in named for named in refused.value.problems), refused.value.problems


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('webauthn_origins = ["https://other.example"]', "webauthn_origins is a list of origins of the table"),
        ('webauthn_origins = "https://example.com"', "webauthn_origins is a list of origins of the table"),
        ('apple = { app_ids = ["com.example.app"] }', "apple.app_ids is a list"),
        ('apple = { bundles = ["com.example.app"] }', "apple is a table with the members app_ids,"),
        ("apple = 1", "apple is a table"),
        ('android = { packages = { "com.example.app" = [] } }', "android.packages has the SHA-256"),
        ('android = { packages = { "com.example.app" = ["ab"] } }', "android.packages has the SHA-256"),
        (f'android = {{ packages = {{ "app" = ["{HEX}"] }} }}', "android.packages has the SHA-256"),
        (f'android = {{ packages = {{ "com.example.app" = "{HEX}" }} }}', "android.packages has the SHA-256"),
        ("android = { packages = 1 }", "android.packages has the SHA-256"),
    ],
)
def test_a_wrong_row_is_refused(row: str, problem: str) -> None:
    """The error names the client and the member."""
    with pytest.raises(RegistryProblems) as refused:
        read(client=row + "\n")
    assert any(re.search(rf"client\.app: {re.escape(problem)}", named) for named in refused.value.problems)


def test_web_origins_need_the_table() -> None:
    """A client cannot name an origin without it."""
    with pytest.raises(RegistryProblems, match="webauthn_origins"):
        read("", 'webauthn_origins = ["https://example.com"]\n')


def test_the_origins_of_a_client_are_its_own_ones() -> None:
    """They are web origins and the site for iOS apps. An Android app has a hash for each certificate."""
    clients = read(
        client='webauthn_origins = ["https://example.com"]\napple = { app_ids = ["TEAM123456.com.example.app"] }\n'
        f'android = {{ packages = {{ "com.example.app" = ["{HEX}", "{HEX.upper()}"] }} }}\n'
    )
    party, app = clients.relying_party, clients.get("app")
    assert party is not None
    assert app is not None
    android = "android:apk-key-hash:q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s"
    assert origins_of(party, app) == ("https://example.com", android)
    plain = read().get("app")
    assert plain is not None
    assert origins_of(party, plain) == ()


def test_related_origins_are_those_outside_the_rp_id() -> None:
    """A subdomain of the RP ID needs no file. A host that only ends with the same letters counts as outside."""
    party = party_with("https://example.com", "https://www.example.com:8443", "https://badexample.com")
    assert party.related == ("https://badexample.com",)


def test_at_most_five_labels_are_related() -> None:
    """One name under many country domains counts as one label."""
    countries = [f"https://example.{country}" for country in ("de", "fr", "co.uk", "com.cn", "it", "es", "pt")]
    assert len(party_with(*countries).related) == 7
    others = [f"https://example{number}.com" for number in range(5)]
    assert len(party_with(*others).related) == 5
    with pytest.raises(RegistryProblems, match="more than 5 labels"):
        party_with(*others, "https://sixth.com")


def test_localhost_is_for_development() -> None:
    """Browsers allow http on localhost."""
    clients = read(WEBAUTHN.replace("https://example.com", "http://localhost:8000").replace("example.com", "localhost"))
    assert clients.relying_party == RelyingParty("localhost", "Example", ("http://localhost:8000",))


def test_certificates_of_several_clients_are_in_one_statement() -> None:
    """Android reads one statement for each package."""
    other = CLIENT.replace("client.app", "client.other").replace("code = 1", "code = 2")
    row = 'android = {{ packages = {{ "com.example.app" = ["{}"] }} }}\n'
    clients = Clients.from_toml(WEBAUTHN + CLIENT + row.format(HEX) + other + row.format("cd" * 32))
    statements: Any = well_known(clients)["assetlinks.json"]
    assert len(statements) == 2
    assert [one[:5] for one in statements[0]["target"]["sha256_cert_fingerprints"]] == ["AB:AB", "CD:CD"]
