"""`providers.toml`: each rule, with a row that breaks exactly that rule."""

import shutil
from pathlib import Path
from typing import Final

import pytest

from chalicelib.baton import settings
from chalicelib.baton.federation.providers import ProviderProblems, Providers, read_providers
from chalicelib.baton.settings import SettingsProblems
from tests.baton.federation.scene import ENVIRON, Scene
from tests.baton.fixture import FOLDER

NAMES: Final = ("apple", "google", "acme")
GOOGLE = """
[provider.google]
code = 2
kind = "google"
issuers = ["https://accounts.google.com", "accounts.google.com"]
jwks_uri = "https://www.googleapis.com/oauth2/v3/certs"
audiences = { mobile = ["1234"] }
"""


def read(text: str, *, development: bool = False) -> Providers:
    """Read a file, for a registry with one client."""
    return read_providers(text, clients=["mobile"], development=development)


def changed(old: str, new: str) -> str:
    """Return the row with one change."""
    assert old in GOOGLE
    return GOOGLE.replace(old, new)


def test_the_file_of_the_tests() -> None:
    """The file is valid outside development too."""
    read_ = read((FOLDER / "identity-providers.toml").read_text())
    assert read_.names == {1: "apple", 2: "google", 3: "acme"}
    acme = read_.get("acme")
    assert acme is not None
    assert (acme.algorithms, acme.trusts_email) == (("RS256", "ES256", "PS256"), True)
    assert not read("")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x =", "Invalid"),
        ("[other]", "unknown table [other]"),
        ("provider = 1", "provider is not a table"),
        ("[provider]\ngoogle = 1", "is not a table"),
        (changed("[provider.google]", "[provider.Google]"), "the name is at most 32"),
        (changed('kind = "google"', 'kind = "saml"'), "kind is one of"),
        (changed("code = 2\n", ""), "code is missing"),
        (changed("code = 2", "code = 2\ncolour = 1"), "colour is not known"),
        (changed("code = 2", "code = 16"), "code is a whole number"),
        (changed("code = 2", "code = true"), "code is a whole number"),
        (changed("code = 2", "code = 1"), "code 1 is that of"),
        (changed("code = 2", 'code = 2\nteam_id = "T"'), "team_id is not known"),
        (changed("code = 2", 'code = 2\nalgorithms = ["RS256"]'), "algorithms is not known for kind google"),
        (changed('["https://accounts.google.com", "accounts.google.com"]', '["https://evil.example"]'), "issuers of"),
        (changed('["https://accounts.google.com", "accounts.google.com"]', "[]"), "issuers is a list"),
        (changed("https://www.googleapis.com/oauth2/v3/certs", "http://www.googleapis.com/certs"), "jwks_uri is an"),
        (changed("https://www.googleapis.com/oauth2/v3/certs", "https://a@b.example/"), "jwks_uri is an https URL"),
        (changed("https://www.googleapis.com/oauth2/v3/certs", "https://[::1/certs"), "jwks_uri is an https URL"),
        (changed("https://www.googleapis.com/oauth2/v3/certs", "https://a.example:x/"), "jwks_uri is an https URL"),
        (changed("https://www.googleapis.com/oauth2/v3/certs", "https://a.example:99999/"), "jwks_uri is an https"),
        (changed("{ mobile = ", "{ unknown = "), "the registry has none of unknown"),
        (changed('["1234"]', "[]"), "audiences is a table of lists"),
        (changed('["1234"]', '["1234", "1234"]'), "audiences is a table of lists"),
        (changed("code = 2", "code = 2\nhosted_domains = []"), "hosted_domains is a list"),
        (changed("code = 2", "code = 2\nstep_up = true"), "step_up is not known for kind google"),
        (GOOGLE + GOOGLE.replace("provider.google", "provider.other"), "code is that of provider.google"),
        (
            GOOGLE + GOOGLE.replace("provider.google", "provider.other").replace("code = 2", "code = 3"),
            "an issuer is that of provider.google",
        ),
    ],
)
def test_what_is_wrong_is_told(text: str, problem: str) -> None:
    """The start is refused, and the error names the problem."""
    with pytest.raises(ProviderProblems) as caught:
        read(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('["RS256"]', '["HS256"]', "algorithms is a list of"),
        ('["RS256"]', '["none"]', "algorithms is a list of"),
        ('algorithms = ["RS256"]\n', "", "algorithms is missing"),
        ('email = "ignored"', 'email = "always"', "email is ignored or trusted"),
        ('email = "ignored"', 'step_up = "yes"', "step_up is true or false"),
        ('["https://id.example"]', '["http://id.example"]', "issuers are https URLs"),
    ],
)
def test_what_is_wrong_with_a_row_of_kind_oidc(old: str, new: str, problem: str) -> None:
    """HMAC and `none` are never accepted."""
    row = """
[provider.acme]
code = 3
kind = "oidc"
issuers = ["https://id.example"]
jwks_uri = "https://id.example/keys"
audiences = { mobile = ["app"] }
algorithms = ["RS256"]
email = "ignored"
"""
    assert read(row).get("acme")
    with pytest.raises(ProviderProblems) as caught:
        read(row.replace(old, new))
    assert problem in str(caught.value)


def test_http_on_this_machine_is_for_development() -> None:
    """The development server serves key sets without TLS."""
    local = changed("https://www.googleapis.com/oauth2/v3/certs", "http://localhost:8000/keys")
    assert read(local, development=True).get("google")
    with pytest.raises(ProviderProblems):
        read(local)
    with pytest.raises(ProviderProblems):
        read(local.replace("localhost:8000", "keys.example"), development=True)


def test_people_without_any_way_to_step_up() -> None:
    """They could neither delete the account nor end a stolen device. So the start is refused. Google does not count."""
    with pytest.raises(SettingsProblems, match="no \\[webauthn\\]") as caught:
        Scene(environ={"BATON_CLIENTS": "clients-strict.toml"})
    assert [problem.partition(" does not count")[0].rpartition(" ")[2] for problem in caught.value.problems] == [
        "provider.google"
    ]
    # No mail reaches an account without an address.
    with pytest.raises(SettingsProblems, match="no \\[webauthn\\]"):
        Scene(environ={"BATON_CLIENTS": "clients-strict.toml", "BATON_MAIL": "mailbox"})
    assert ENVIRON["BATON_CLIENTS"] == "clients-factors.toml"  # which has [webauthn]


def test_people_who_can_step_up_at_their_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple counts, and so does an `oidc` row with `step_up`. These people need no passkeys."""
    shutil.copy(FOLDER / "clients-strict.toml", tmp_path)
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    environ = {**ENVIRON, "BATON_CLIENTS": "clients-strict.toml"}
    rows = (FOLDER / "identity-providers.toml").read_text()
    apple, google, acme = (rows.partition(f"[provider.{name}]")[2].partition("\n[")[0] for name in NAMES)
    counting = f"[provider.apple]{apple}\n[provider.acme]{acme}"
    (tmp_path / "providers.toml").write_text(counting)
    providers = settings.read_settings(environ).providers
    assert providers is not None
    assert providers.for_step_up("mobile") == {1: "apple", 3: "acme"}
    assert providers.for_step_up("mobile-opaque") == {1: "apple"}
    for others in (counting.replace("step_up = true", "step_up = false"), f"{counting}\n[provider.google]{google}"):
        (tmp_path / "providers.toml").write_text(others)
        with pytest.raises(SettingsProblems, match="no \\[webauthn\\]"):
            settings.read_settings(environ)
