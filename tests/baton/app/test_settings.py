"""Settings: one error lists every problem, and Baton does not start with unsafe settings."""

import ast
import itertools
import re
from pathlib import Path

import botocore.session
import pytest

from chalicelib.baton import settings
from chalicelib.baton.access_key import AccessKey, Vended
from chalicelib.baton.ids import Secret
from chalicelib.baton.settings import KNOWN, Settings, SettingsProblems, read_settings
from tests.baton.fixture import FOLDER

GOOD = {
    "BATON_ISSUER": "https://api.example.com/api",
    "BATON_TABLE_PREFIX": "baton-prod",
    "BATON_KEY_RING": "kms:alias/baton",
    "BATON_CLIENTS": "clients-dev.toml",
}


def problems(**environ: str) -> list[str]:
    """Read settings that must be refused, and return the problems."""
    with pytest.raises(SettingsProblems) as refused:
        read_settings(GOOD | environ)
    return refused.value.problems


def test_an_empty_log_level_is_the_default() -> None:
    """An empty value means "not set", as for every other setting."""
    assert read_settings(GOOD | {"BATON_LOG_LEVEL": ""}).log_level == read_settings(GOOD).log_level


def test_a_few_settings_are_enough() -> None:
    """The other settings have safe defaults: rate limits on, no origins, the host of the issuer."""
    settings = read_settings(GOOD)
    assert settings.authorities == {"api.example.com"}
    assert settings.audience == settings.issuer
    assert settings.limits
    assert not settings.development
    assert not settings.revoke_on_wrong_key
    assert settings.origins == ()
    assert settings.clients.is_file()
    assert settings.deployment == settings.table_prefix


def test_restored_tables_do_not_change_the_name_of_the_deployment() -> None:
    """Metrics keep their dimensions, which the alarms use, and logs keep their groups."""
    settings = read_settings(GOOD | {"BATON_TABLE_PREFIX": "baton-prod2", "BATON_DEPLOYMENT": "baton-prod"})
    assert (settings.table_prefix, settings.deployment) == ("baton-prod2", "baton-prod")


@pytest.mark.guarantee(9)
def test_one_error_lists_all_problems() -> None:
    """An operator can correct them in one step."""
    with pytest.raises(SettingsProblems) as refused:
        read_settings({"BATON_RATE_LIMITS": "perhaps", "BATON_LOG_LEVEL": "LOUD", "BATON_ORIGINS": "https://[*"})
    for name in ("ISSUER", "TABLE_PREFIX", "KEY_RING", "RATE_LIMITS", "LOG_LEVEL", "ORIGINS", "CLIENTS"):
        assert f"BATON_{name}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATON_ISSUER", "http://api.example.com/api"),
        ("BATON_ISSUER", "http://localhost:8000/api"),
        ("BATON_ISSUER", "https://api.example.com/"),
        ("BATON_ISSUER", "https://api.example.com/api?x"),
        ("BATON_ISSUER", "api.example.com"),
        ("BATON_ISSUER", "https://[bad/api"),
        ("BATON_ISSUER", "https://api.example.com:port/api"),
        ("BATON_ISSUER", "https://somebody@api.example.com/api"),
        ("BATON_ISSUER", "https://API.example.com/api"),
        ("BATON_EARLIER_ISSUERS", "https://old.example.com/api, http://older.example.com"),
        ("BATON_EARLIER_ISSUERS", "https://[bad/api"),
        ("BATON_AUTHORITIES", "API.example.com"),
        ("BATON_AUTHORITIES", "https://api.example.com"),
        ("BATON_TABLE_PREFIX", "a b"),
        ("BATON_DEPLOYMENT", "a b"),
        ("BATON_KEY_RING", "local"),
        ("BATON_KEY_RING", "kms:"),
        ("BATON_RATE_LIMITS", "off"),
        ("BATON_BREACH_CHECK", "sometimes"),
        ("BATON_STORAGE", "memory"),
        ("BATON_STORAGE", "postgres"),
        ("BATON_MAIL", "mailbox"),
        ("BATON_MAIL", "smtp"),
        ("BATON_MAIL_FROM", "Example"),
        ("BATON_MAIL_FROM", "Example <a@example.com>\r\nBcc: eve@example.com"),
        ("BATON_MAIL_QUEUE", "baton-prod-mail"),
        ("BATON_MAIL_QUEUE", "https://sqs.eu-west-1.amazonaws.com/1234/baton-prod-mail"),
        ("BATON_REGISTRATION", "closed"),
        ("BATON_REGISTRATION", "verify_first"),
        ("BATON_MAIL_CLAIMS_FROM", "yesterday"),
        ("BATON_MAIL_CLAIMS_FROM", "-1"),
        ("BATON_ORIGINS", "https://app.example.com/path"),
        ("BATON_ORIGINS", "https://App.example.com"),
        ("BATON_ORIGINS", "https://app.example.com:443"),
        ("BATON_ORIGINS", "http://app.example.com"),
        ("BATON_ORIGINS", "HTTPS://app.example.com"),
        ("BATON_ORIGINS", "https://app.example.com:"),
        ("BATON_ORIGINS", "https://app.example.com:0443"),
        ("BATON_ORIGINS", "https://app.example.com:65536"),
        ("BATON_ORIGINS", "https://app.example.com:*"),
        ("BATON_ORIGINS", "https://*.example.com"),
        ("BATON_ORIGINS", "https://somebody@app.example.com"),
        ("BATON_ORIGINS", "http://localhost:*"),
        ("BATON_ORIGINS", "http://localhost:80"),
        ("BATON_ORIGINS", "http://localhost/"),
        ("BATON_ORIGINS", "http://192.168.1.2:3000"),
        ("BATON_ORIGINS", "capacitor://localhost/"),
        ("BATON_ORIGINS", "capacitor://*"),
        ("BATON_ORIGINS", "capacitor://"),
        ("BATON_ORIGINS", "ftp://localhost"),
        ("BATON_ORIGINS", "file://localhost"),
        ("BATON_ORIGINS", "https://[bad"),
        ("BATON_ORIGINS", "null"),
        ("BATON_ORIGINS", "*"),
        ("BATON_AUTHORITIES", "[::1"),
        ("BATON_AUTHORITIES", "::1"),
        ("BATON_AUTHORITIES", "[::1]:"),
        ("BATON_AUTHORITIES", "[::1]:65536"),
        ("BATON_AUTHORITIES", "[bad]:8000"),
        ("BATON_AUTHORITIES", "[fe80::1%eth0]"),
        ("BATON_AUTHORITIES", "[0:0:0:0:0:0:0:1]"),
        ("BATON_CLIENTS", "clients.toml"),
        ("BATON_ISSUER", "https://[0:0:0:0:0:0:0:1]/api"),
        ("BATON_CLIENTS", ""),
        ("BATON_CLIENTS", "../clients.toml"),
        ("BATON_CLIENTS", "nowhere.toml"),
        ("BATON_RESOURCE_SERVERS", "billing"),
        ("BATON_RESOURCE_SERVERS", "billing:the-secret-itself"),
        ("BATON_RESOURCE_SERVERS", f"billing:{'ab' * 32},billing:{'cd' * 32}"),
    ],
)
def test_an_invalid_or_unsafe_setting_is_refused(name: str, value: str) -> None:
    """A secret in the wrong setting is not repeated in the message."""
    (problem,) = problems(**{name: value})
    assert name in problem
    assert "the-secret-itself" not in problem


def test_development_settings_are_refused_inside_lambda() -> None:
    """An unencrypted key ring and missing rate limits are allowed only on a developer's machine."""
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local", "BATON_RATE_LIMITS": "off"}
    assert not read_settings(GOOD | local).limits
    (problem,) = problems(**local, AWS_LAMBDA_RUNTIME_API="127.0.0.1:9001")
    assert "BATON_DEVELOPMENT" in problem


def test_the_breach_check_is_on_unless_a_developer_is_at_work() -> None:
    """A deployment may switch it off, if its function cannot reach the internet.

    In development it can be switched on.
    """
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local"}
    assert read_settings(GOOD).breach_check
    assert not read_settings(GOOD | {"BATON_BREACH_CHECK": "off"}).breach_check
    assert not read_settings(GOOD | local).breach_check
    assert read_settings(GOOD | local | {"BATON_BREACH_CHECK": "on"}).breach_check


def test_storage_in_memory_is_allowed_only_in_development() -> None:
    """The data in memory is lost when its process ends. The default is DynamoDB."""
    assert read_settings(GOOD).storage == read_settings(GOOD | {"BATON_STORAGE": "dynamodb"}).storage == "dynamodb"
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local", "BATON_STORAGE": "memory"}
    assert read_settings(GOOD | local).storage == "memory"


def test_mail_by_ses_needs_a_sender_and_a_queue() -> None:
    """The error names both settings. With both, Baton starts."""
    told = problems(BATON_MAIL="ses")
    assert [problem.split(" is missing")[0] for problem in told] == ["BATON_MAIL_FROM", "BATON_MAIL_QUEUE"]
    read = read_settings(
        GOOD
        | {
            "BATON_MAIL": "ses",
            "BATON_MAIL_FROM": "Example <login@example.com>",
            "BATON_MAIL_QUEUE": "https://sqs.eu-west-1.amazonaws.com/123456789012/baton-prod-mail",
            "BATON_MAIL_CLAIMS_FROM": "1795910400",
        }
    )
    assert (read.mail, read.mail_claims_from) == ("ses", 1795910400)
    assert read_settings(GOOD).mail == "off"


def test_the_default_port_is_removed_from_an_authority() -> None:
    """Signatures are over the host without it (RFC 9421 section 2.2.3).

    The rule holds for set and for derived authorities.
    """
    assert read_settings(GOOD | {"BATON_ISSUER": "https://api.example.com:443/api"}).authorities == {"api.example.com"}
    named = read_settings(GOOD | {"BATON_AUTHORITIES": "api.example.com:443,b.example.com:8443"}).authorities
    assert named == {"api.example.com", "b.example.com:8443"}


def test_a_deployment_must_name_its_client_registry() -> None:
    """In the shipped registry, client `iot` would give a thief with a password a token for half a year."""
    (problem,) = problems(BATON_CLIENTS="")
    assert "BATON_CLIENTS is missing" in problem
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local", "BATON_CLIENTS": ""}
    assert read_settings(GOOD | local).clients.name == "clients.toml"
    assert read_settings(GOOD | local).registry.get("iot")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com",
        "https://app.example.com:8443",
        "https://[2001:db8::1]",
        "https://localhost",
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "http://localhost",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
    ],
)
def test_the_origins_of_pages_and_hybrid_apps_are_accepted(origin: str) -> None:
    """The form is that of browsers and web views. Plain http is only for a host of this machine."""
    assert read_settings(GOOD | {"BATON_ORIGINS": f" {origin} ,https://other.example.com"}).origins == (
        origin,
        "https://other.example.com",
    )


def test_development_accepts_pages_of_any_local_port() -> None:
    """Development servers of web pages use any free port."""
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local"}
    for host in ("localhost", "127.0.0.1"):
        origin = f"http://{host}:*"
        assert read_settings(GOOD | local | {"BATON_ORIGINS": origin}).origins == (origin,)
    for origin in ("https://localhost:*", "http://*:3000", "http://example.com:*"):
        (problem,) = problems(**local, BATON_ORIGINS=origin)
        assert repr(origin) in problem


@pytest.mark.parametrize(
    ("issuer", "authority"),
    [("http://[::1]:8000/api", "[::1]:8000"), ("https://[2001:db8::1]/api", "[2001:db8::1]")],
)
def test_a_host_may_be_an_ipv6_literal(issuer: str, authority: str) -> None:
    """The literal is in brackets and in canonical form (RFC 5952), because signatures are over the text."""
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local"}
    assert read_settings(GOOD | local | {"BATON_ISSUER": issuer}).authorities == {authority}
    named = {"BATON_AUTHORITIES": f"{authority},[::1]:443,localhost:8000"}
    assert read_settings(GOOD | named).authorities == {authority, "[::1]", "localhost:8000"}
    (problem,) = problems(BATON_AUTHORITIES="[2001:DB8:0::1]:8000")
    assert "[2001:db8::1]:8000" in problem


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("BATON_ISSUERS", "BATON_ISSUER"),
        ("BATON_ORIGIN", "BATON_ORIGINS"),
        ("BATON_REVOKE_ON_WRONGKEY", "BATON_REVOKE_ON_WRONG_KEY"),
        ("BATON_NONSENSE", "BATON_"),
    ],
)
def test_a_misspelt_setting_is_refused_with_the_nearest_known_name(name: str, nearest: str) -> None:
    """Before the fix, ``BATON_NONSENSE=1`` was accepted, and a misspelt limit had no effect."""
    (problem,) = problems(**{name: "1"})
    assert problem.startswith(f"{name} is not a setting")
    assert re.search(rf"the nearest is {nearest}", problem)


def test_variables_without_batons_prefix_are_ignored() -> None:
    """Only names that begin with ``BATON_`` are checked."""
    assert read_settings(GOOD | {"BATONS": "1", "MY_BATON_ISSUER": "x", "AWS_NONSENSE": "1"})


# --- The client registry -----------------------------------------------------------------------------------------

REGISTRY = (FOLDER / "clients-dev.toml").read_text("utf-8")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a registry file for this test, where the settings read it."""
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    return tmp_path / "clients-dev.toml"


def test_the_demonstration_registry_is_refused_outside_development(registry: Path) -> None:
    """Client ``iot`` issues 180-day bearer tokens. The file is recognised by its content, not by its name."""
    registry.write_text(f"demonstration = true\n{REGISTRY}", "utf-8")
    (problem,) = problems()
    assert "demonstration" in problem
    assert "docs/baton/operations.md" in problem
    local = {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local"}
    assert read_settings(GOOD | local).registry.get("mobile")
    registry.write_text(f"demonstration = false\n{REGISTRY}", "utf-8")
    assert read_settings(GOOD).registry.get("mobile")


def test_the_error_for_a_missing_registry_says_how_to_create_it(registry: Path) -> None:
    """The stage ``prod`` names a file that its team writes."""
    assert not registry.exists()
    (problem,) = problems()
    assert "clients-dev.toml" in problem
    assert "docs/baton/operations.md" in problem


def test_a_registry_with_a_byte_order_mark_is_read(registry: Path) -> None:
    """Windows editors write such a mark."""
    registry.write_bytes(REGISTRY.encode("utf-8-sig"))
    assert read_settings(GOOD).registry.get("mobile")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_error_for_a_registry_in_another_encoding_names_the_encoding(registry: Path, encoding: str) -> None:
    """The error also names the file."""
    registry.write_bytes(REGISTRY.encode(encoding))
    (problem,) = problems()
    assert "chalicelib/clients-dev.toml" in problem
    assert encoding.upper()[:6] in problem
    assert "save it as UTF-8" in problem


def test_the_error_for_a_registry_that_is_not_text_names_the_position(registry: Path) -> None:
    """An example is Latin-1."""
    registry.write_bytes(b"# one\n# caf\xe9\n" + REGISTRY.encode())
    (problem,) = problems()
    assert "chalicelib/clients-dev.toml, line 2" in problem
    assert "UTF-8" in problem


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("# a\n[client.mobile\n", 2, "table"),
        ("[client.mobile]\ncode = 1\ncode = 2\n", 3, ""),
        ("[client.mobile]\ncode = one\n", 2, ""),
        ("x = " + "[" * 5000, None, "nest"),
        ("x = " + "1" * 5000, None, ""),
        ("client = 1\n", None, "client"),
        ("[[client]]\ncode = 1\n", None, "client"),
        ("demonstration = 1\n[client.mobile]\n", None, "demonstration"),
        (REGISTRY.replace('"exchange"', "[]"), None, "mechanism is one of"),
        ("", None, "no client"),
    ],
    ids=range(10),
)
def test_the_error_for_a_mistake_in_the_registry_names_file_and_line(
    registry: Path, text: str, line: int | None, words: str
) -> None:
    """The mistake is one of the listed problems, and never a traceback."""
    registry.write_text(text, "utf-8")
    found = problems(BATON_LOG_LEVEL="LOUD")
    assert len(found) >= 2
    told = [problem for problem in found if "LOG_LEVEL" not in problem]
    assert all("chalicelib/clients-dev.toml" in problem for problem in told)
    assert line is None or any(f"line {line}" in problem for problem in told), told
    assert any(words in problem for problem in told), told


def test_every_setting_is_documented() -> None:
    """Each member of the settings has a docstring, which names its variable."""
    source = (Path(__file__).parents[3] / "chalicelib" / "baton" / "settings.py").read_text("utf-8")
    tree = ast.parse(source)
    (settings,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    explained = [
        ast.unparse(after)
        for before, after in itertools.pairwise(settings.body)
        if isinstance(before, ast.AnnAssign) and isinstance(after, ast.Expr)
    ]
    assert len(explained) == len(Settings.__struct_fields__)
    read = set(re.findall(r'"(BATON_[A-Z_]+)"', source))
    assert read == KNOWN
    assert read == set(re.findall(r"``(BATON_[A-Z_]+)``", "".join(explained)))


LAMBDA = {"AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "the secret of AWS"}


def test_the_small_client_uses_the_access_key_that_lambda_sets() -> None:
    """The client calls the endpoint of the region, unless another endpoint is set. No `repr` shows the key."""
    settings = read_settings(GOOD | LAMBDA | {"AWS_SESSION_TOKEN": "the token of AWS"})
    assert settings.access_key == AccessKey("id", Secret(b"the secret of AWS"), Secret(b"the token of AWS"))
    assert settings.dynamodb_endpoint == "https://dynamodb.eu-central-1.amazonaws.com"
    assert settings.kms_endpoint == "https://kms.eu-central-1.amazonaws.com"
    assert "of AWS" not in repr(settings)
    china = read_settings(GOOD | LAMBDA | {"AWS_REGION": "cn-north-1"})
    assert china.dynamodb_endpoint == "https://dynamodb.cn-north-1.amazonaws.com.cn"
    general = {"AWS_ENDPOINT_URL": "http://127.0.0.1:7000"}
    for named in (general, general | {"AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:8000"}):
        elsewhere = read_settings(GOOD | LAMBDA | named)
        assert elsewhere.dynamodb_endpoint == list(named.values())[-1]
        assert elsewhere.kms_endpoint == general["AWS_ENDPOINT_URL"]


HANDED_OUT = {
    "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9001/2021-04-23/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "the token of the runtime",
}


def test_under_snap_start_the_small_client_uses_container_credentials() -> None:
    """An access key in the environment is ignored, because all environments of one snapshot would share it."""
    for environ in (GOOD | LAMBDA | HANDED_OUT, GOOD | {"AWS_REGION": "eu-central-1"} | HANDED_OUT):
        settings = read_settings(environ)
        assert settings.access_key == Vended(
            "http://127.0.0.1:9001/2021-04-23/credentials", Secret(b"the token of the runtime")
        )
        assert "of the runtime" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    ["", "https://127.0.0.1/x", "http://169.254.170.23/v1", "http://localhost.example.com/x", "http://127.0.0.1/?x=1"],
)
def test_container_credentials_of_another_host_are_left_to_botocore(url: str) -> None:
    """The authorization is sent only to loopback."""
    assert read_settings(GOOD | LAMBDA | HANDED_OUT | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}).access_key is None


@pytest.mark.parametrize(
    "asked",
    [
        {"BATON_AWS_CLIENT": "botocore"},
        {"AWS_USE_FIPS_ENDPOINT": "true"},
        {"AWS_USE_DUALSTACK_ENDPOINT": "true"},
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_CREDENTIAL_EXPIRATION": "2026-11-25T00:00:00Z"},
        {"HTTPS_PROXY": "http://127.0.0.1:3128"},
        {"AWS_REGION": ""},
        {"AWS_REGION": "us-iso-east-1"},
        {"AWS_REGION": "eusc-de-east-1"},
        {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"},
    ],
    ids=str,
)
def test_settings_that_the_small_client_does_not_support_use_botocore(asked: dict[str, str]) -> None:
    """With the small client a FIPS setting would have no effect, or a snapshot would contain credentials."""
    assert read_settings(GOOD | LAMBDA | asked).access_key is None


def test_the_small_client_calls_the_same_endpoint_as_botocore_in_each_region() -> None:
    """Regions that the small client does not serve are left to botocore."""
    session = botocore.session.get_session()
    regions = [
        region
        for partition in session.get_available_partitions()
        for region in session.get_available_regions("dynamodb", partition_name=partition)
    ]
    asking = {region: read_settings(GOOD | LAMBDA | {"AWS_REGION": region}) for region in regions}
    small = {region for region, settings in asking.items() if settings.access_key}
    assert {"us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1", "il-central-1"} <= small
    assert not any("iso" in region for region in small)
    for region in small:
        for service, ours in (("dynamodb", asking[region].dynamodb_endpoint), ("kms", asking[region].kms_endpoint)):
            assert ours == session.create_client(service, region_name=region).meta.endpoint_url


@pytest.mark.parametrize(
    "changed",
    [
        {"BATON_AWS_CLIENT": "botocore"},
        {"AWS_ACCESS_KEY_ID": ""},
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"BATON_DEVELOPMENT": "1", "BATON_KEY_RING": "local"},
    ],
)
def test_botocore_is_used_if_it_is_set_or_required(changed: dict[str, str]) -> None:
    """One variable selects botocore. Calls without static credentials and the embedded DynamoDB require botocore."""
    assert read_settings(GOOD | LAMBDA | changed).access_key is None


def test_an_unknown_aws_client_is_refused() -> None:
    """The values are `small` and `botocore`."""
    assert problems(BATON_AWS_CLIENT="fast") == ["BATON_AWS_CLIENT must be small or botocore"]


@pytest.mark.parametrize(
    ("origin", "accepted", "in_development"),
    [
        ("https://app.example.com", True, True),
        ("https://example.com", True, True),
        ("http://localhost:3000", False, True),
        ("http://localhost:*", False, True),
        ("https://app.example.org", False, False),
        ("https://example.com.evil.example", False, False),
        ("https://com", False, False),
    ],
)
def test_the_pages_of_a_cookie_client_are_of_the_site_of_the_api(
    origin: str, *, accepted: bool, in_development: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of another site would send no cookies. http is for the machine of a developer."""
    row = (FOLDER / "clients-web.toml").read_text("utf-8").replace("https://other.example.com", origin)
    (tmp_path / "mine.toml").write_text(row, "utf-8")
    monkeypatch.setattr(settings, "_FOLDER", tmp_path)
    own = GOOD | {"BATON_CLIENTS": "mine.toml", "BATON_ISSUER": "https://api.example.com/api"}
    for more, expected in (({}, accepted), ({"BATON_DEVELOPMENT": "1"}, in_development)):
        if expected:
            assert origin in read_settings(own | more).registry.cookie_origins
        else:
            with pytest.raises(SettingsProblems, match=re.escape(repr(origin))):
                read_settings(own | more)
