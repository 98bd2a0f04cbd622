"""Token exchange (RFC 8693): the contents of a narrowed token, which only its audience accepts."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest

from chalicelib.baton.lineages.resources import ResourceProblems, read_resources
from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.wire.conversation import FORM, HOST, Device, Said, Send

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
FILES, BILLING = "https://files.example.net", "https://billing.example.net/api"
EMAIL = "ada@example.com"


@pytest.fixture
def phone(make_device: Callable[..., Device]) -> Device:
    """Log in on a phone with a key."""
    phone = make_device()
    phone.register(EMAIL)
    return phone


def narrow(phone: Device, **form: str | None) -> Said:
    """Request a narrowed token. A member that is ``None`` is left out."""
    members = {"grant_type": GRANT, "subject_token": phone.token, "subject_token_type": ACCESS_TOKEN, **form}
    if not {"audience", "resource"} & form.keys():
        members["audience"] = "files"
    body = urlencode({name: value for name, value in members.items() if value is not None}).encode()
    return phone.request("POST", "/oauth/token", body, FORM, token=None)


def claims(said: Said) -> dict[str, Any]:
    """Read the claims of the issued token."""
    assert said.status == 200, said
    read: dict[str, Any] = jwt.decode(said.members["access_token"], options={"verify_signature": False})
    return read


def introspect(phone: Device, token: str) -> dict[str, Any]:
    """Introspect a token as the billing server."""
    basic = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
    fields = [("host", HOST), ("authorization", f"Basic {basic}"), *FORM.items()]
    return phone.send("POST", "/api/oauth/introspect", fields, urlencode({"token": token}).encode()).members


def verify_as(server: str, token: str, send: Send) -> dict[str, Any]:
    """Verify a token as another server does: with the published keys, and its own identifier as audience."""
    published = send("GET", "/api/.well-known/jwks.json", [("host", HOST)], b"").members
    keys = {key["kid"]: jwt.PyJWK(key) for key in published["keys"]}
    key = keys[jwt.get_unverified_header(token)["kid"]]
    verified: dict[str, Any] = jwt.decode(token, key, algorithms=["ES256"], audience=server)
    return verified


def test_a_narrowed_token_is_for_one_server_and_bound_to_the_same_key(phone: Device) -> None:
    """The answer is that of RFC 8693 section 2.2.1. The claims are those of the login, with another audience."""
    said = narrow(phone)
    own = jwt.decode(phone.token, options={"verify_signature": False})
    read = claims(said)
    assert {name: value for name, value in said.members.items() if name != "access_token"} == {
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "account",
    }
    assert (read["aud"], read["token_use"], read["scope"]) == (FILES, "narrowed", "account")
    assert read["exp"] - read["iat"] == 300
    for name in ("iss", "sub", "client_id", "sid", "cnf", "acr", "amr", "auth_time"):
        assert read[name] == own[name], name
    assert read["jti"] != own["jti"]
    assert "gen" not in read
    assert verify_as(FILES, said.members["access_token"], phone.send)["sub"] == own["sub"]


def test_by_identifier_and_as_jwt(phone: Device) -> None:
    """`resource` names the same server, and `issued_token_type` is the requested type."""
    jwt_type = "urn:ietf:params:oauth:token-type:jwt"
    said = narrow(phone, resource=FILES, requested_token_type=jwt_type)
    assert claims(said)["aud"] == FILES
    assert said.members["issued_token_type"] == jwt_type


@pytest.mark.parametrize(("client", "bound"), [("mobile-opaque", True), ("simple", False)])
def test_other_logins(make_device: Callable[..., Device], client: str, *, bound: bool) -> None:
    """An opaque token becomes a JWT. An unbound login gets an unbound token."""
    device = make_device(client_id=client, bound=bound)
    device.register(EMAIL)
    read = claims(narrow(device))
    assert ("cnf" in read) is bound


class TestRefusedElsewhere:
    """Baton and other servers refuse a narrowed token."""

    @pytest.fixture
    def narrowed(self, make_device: Callable[..., Device]) -> tuple[Device, str]:
        """Narrow the token of an unbound login, so that no signature is needed."""
        device = make_device(client_id="simple", bound=False)
        device.register(EMAIL)
        return device, str(narrow(device).members["access_token"])

    def test_on_a_call(self, narrowed: tuple[Device, str]) -> None:
        """The answer is 401, and the login stays active."""
        device, token = narrowed
        assert device.get("/me", token=token).code == "token_invalid"
        assert device.get("/me").status == 200

    def test_at_the_exchange_and_as_a_subject_token(self, narrowed: tuple[Device, str]) -> None:
        """The token renews nothing, and cannot be narrowed again."""
        device, token = narrowed
        assert device.exchange(token).code == "token_invalid"
        assert narrow(device, subject_token=token, audience="billing").code == "subject_token_invalid"
        assert device.exchange().status == 200

    def test_at_revocation(self, narrowed: tuple[Device, str]) -> None:
        """A server with the token cannot end the login."""
        device, token = narrowed
        device.request("POST", "/oauth/revoke", urlencode({"token": token}).encode(), FORM, token=None)
        assert device.get("/me").status == 200

    def test_at_another_server(self, narrowed: tuple[Device, str]) -> None:
        """The audience of the token is another server."""
        device, token = narrowed
        with pytest.raises(jwt.InvalidAudienceError):
            verify_as(BILLING, token, device.send)

    def test_introspection_shows_it_to_its_own_server_alone(self, narrowed: tuple[Device, str]) -> None:
        """`billing` does not see a token for `files`. It sees its own token while the login is active."""
        device, token = narrowed
        assert introspect(device, token) == {"active": False}
        own = narrow(device, audience="billing").members["access_token"]
        shown = introspect(device, own)
        assert (shown["active"], shown["aud"], shown["token_use"], shown["scope"]) == (
            True,
            BILLING,
            "narrowed",
            "account",
        )
        device.confirmed("POST", "/logout")
        assert device.post("/logout", {}).status in {204, 401}
        assert introspect(device, own) == {"active": False}


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"subject_token": None}, "malformed"),
        ({"subject_token_type": None}, "malformed"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "malformed"),
        ({"audience": "files", "resource": FILES}, "malformed"),
        ({"audience": None}, "malformed"),
        ({"actor_token": "x", "actor_token_type": ACCESS_TOKEN}, "malformed"),
        ({"actor_token_type": ACCESS_TOKEN}, "malformed"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "malformed"),
        ({"audience": "nobody"}, "invalid_target"),
        ({"resource": "https://files.example.net/"}, "invalid_target"),
        ({"scope": "account admin"}, "invalid_scope"),
        ({"scope": "files.read"}, "invalid_scope"),
        ({"subject_token": "garbage"}, "subject_token_invalid"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_id": "simple"}, "unauthorized_client"),
    ],
)
def test_each_wrong_request_is_refused(phone: Device, form: dict[str, str | None], code: str) -> None:
    """RFC 8693 section 2.2.2: a bad subject token is `invalid_request`, and an unknown server `invalid_target`."""
    said = narrow(phone, **form)
    assert (said.status, said.code) == (400, code)
    if code in {"malformed", "subject_token_invalid"}:
        assert said.members["error"] == "invalid_request"
    assert phone.get("/me").status == 200


def test_a_server_of_other_clients_is_refused(make_device: Callable[..., Device]) -> None:
    """The server `billing` is not for this client."""
    device = make_device(client_id="mobile-opaque")
    device.register(EMAIL)
    assert narrow(device, audience="billing").code == "invalid_target"


def test_a_server_that_shares_no_scope_with_the_login_gets_no_token(phone: Device) -> None:
    """A token without scope would still name the account."""
    assert narrow(phone, audience="archive").code == "invalid_scope"
    assert narrow(phone, audience="archive", scope="archive.read").code == "invalid_scope"


def test_a_token_that_only_renews_is_not_narrowed(make_device: Callable[..., Device]) -> None:
    """A refresh token is never valid on calls. The access token of the same login can be narrowed."""
    device = make_device(client_id="oauth", bound=False)
    device.register(EMAIL)
    assert narrow(device, subject_token=str(device.tokens["refresh_token"])).code == "subject_token_invalid"
    assert narrow(device).status == 200


@pytest.mark.guarantee(4)
def test_a_bound_login_must_sign(phone: Device, make_device: Callable[..., Device]) -> None:
    """A thief with only the token cannot narrow it."""
    thief = make_device()
    thief.tokens = phone.tokens
    assert narrow(thief).code == "wrong_key"
    thief.bound = False
    assert narrow(thief).code == "signature_required"


@pytest.mark.guarantee(6)
def test_an_ended_or_expired_login_narrows_nothing(phone: Device, clock: Any) -> None:
    """The account state is read. An expired token must first be exchanged."""
    first = phone.token
    phone.exchange()
    phone.exchange()
    assert narrow(phone, subject_token=first).code == "subject_token_invalid"
    clock.skip(901)
    said = narrow(phone)
    assert (said.code, said.members["action"]) == ("subject_token_invalid", "exchange")
    phone.exchange()
    assert narrow(phone).status == 200
    assert phone.request("POST", "/logout").status == 204
    assert narrow(phone).code == "subject_token_invalid"


def test_the_rest_of_the_subject_token_is_the_limit(phone: Device, clock: Any) -> None:
    """A narrowed token does not live longer than the token it came from."""
    clock.skip(700)
    assert 100 < narrow(phone).members["expires_in"] <= 200


def test_the_metadata_names_the_grant_type(phone: Device) -> None:
    """The metadata has it only if the deployment has a server for narrowed tokens."""
    said = phone.send("GET", "/api/.well-known/oauth-authorization-server", [("host", HOST)], b"")
    assert said.members["grant_types_supported"] == ["refresh_token", GRANT]


ROW = {
    "identifier": '"https://files.example.net"',
    "scopes": '["files.read"]',
    "clients": '["mobile"]',
}


def toml(name: str = "files", **row: str | None) -> str:
    """Write a file with one row."""
    members = {**ROW, **row}
    return f"[resource.{name}]\n" + "".join(f"{key} = {value}\n" for key, value in members.items() if value)


def read(text: str, *, development: bool = False) -> Any:
    """Read a file."""
    return read_resources(text, clients={"mobile"}, own={"https://api.example.com/api"}, development=development)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("resource = 1", "resource is not a table"),
        ("[other]", "unknown table"),
        ("not toml", "resources.toml"),
        (toml(identifier=None), "identifier is missing"),
        (toml(scopes=None), "scopes is missing"),
        (toml(clients=None), "clients is missing"),
        (toml(more="1"), "more is not known"),
        (toml("Files"), "the name is"),
        (toml(identifier='"http://files.example.net"'), "identifier is an https URL"),
        (toml(identifier='"https://files.example.net#a"'), "identifier is an https URL"),
        (toml(identifier='"files"'), "identifier is an https URL"),
        (toml(identifier='"https://api.example.com/api"'), "audience of Baton's own tokens"),
        (toml(scopes="[]"), "scopes is a list"),
        (toml(scopes='["a b"]'), "no scope"),
        (toml(clients='["nobody"]'), "none of nobody"),
        (toml(max_s="0"), "max_s"),
        (toml(max_s="901"), "max_s"),
        (toml() + toml("two"), "that of another resource"),
    ],
)
def test_each_mistake_of_the_file_is_told(text: str, problem: str) -> None:
    """Baton does not start, and the message names the mistake."""
    with pytest.raises(ResourceProblems, match=problem):
        read(text)


def test_a_good_file() -> None:
    """In development, http and another registry are allowed."""
    found = read(toml(max_s="60"))
    assert found.find(audience="files", identifier=None) == found.find(audience=None, identifier=FILES)
    assert found.by_name["files"].max_s == 60
    assert read(toml(identifier='"http://localhost:9000"', clients='["other"]'), development=True)
    assert not read("")
