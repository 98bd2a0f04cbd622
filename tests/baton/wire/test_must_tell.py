"""The answers that an RFC requires: each test is one clause."""

import base64
import json
import re
from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from chalice.app import Chalice, Response

from chalicelib.baton.http.dispatch import Dispatch, Request
from chalicelib.baton.policy import MECHANISMS, MechanismName
from chalicelib.baton.routing import RouteSpec
from tests.baton.fixture import load_environment
from tests.baton.memory import MemoryLog
from tests.baton.wire.conversation import FORM, HOST, JSON, Device, Said, Send
from tools.dev.gateway import DevelopmentClock, Gateway

FILE = re.compile(r"[\w/-]+\.(toml|py|json|md)\b")


def form(send: Send, path: str, **fields: str) -> Said:
    """Post a form."""
    return send("POST", f"/api{path}", [("host", HOST), *FORM.items()], urlencode(fields).encode())


@pytest.mark.parametrize("path", ["/register", "/login"])
def test_an_unknown_client_is_invalid_at_register_and_login(make_device: Callable[..., Device], path: str) -> None:
    """RFC 6749 section 5.2: ``invalid_client``, unknown client.

    The status is 400, because the request had no ``Authorization``.
    """
    phone = make_device(client_id="my-app")
    said = phone.post(path, phone.entry("ada@example.com"), token=None)
    assert (said.status, said.members["error"], said.code) == (400, "invalid_client", "invalid_client")
    assert said.members["action"] == "fix_request"
    assert "client_id" in said.members["detail"]
    assert not FILE.search(said.body.decode())


@pytest.mark.parametrize("genuine", [True, False])
@pytest.mark.parametrize(("path", "field"), [("/oauth/token", "refresh_token"), ("/oauth/revoke", "token")])
def test_an_unknown_client_is_invalid_under_oauth(
    make_device: Callable[..., Device], *, path: str, field: str, genuine: bool
) -> None:
    """RFC 6749 section 5.2, RFC 7009 section 2.1. Common clients delete their session on ``invalid_grant``."""
    phone = make_device(client_id="oauth", bound=False)
    phone.register("ada@example.com")
    token = str(phone.tokens["refresh_token"]) if genuine else "garbage"
    said = form(phone.send, path, grant_type="refresh_token", client_id="my-app", **{field: token})
    assert (said.status, said.members["error"], said.code) == (400, "invalid_client", "invalid_client")
    assert not FILE.search(said.body.decode())
    assert phone.exchange().status == 200, "nothing was ended"


@pytest.mark.parametrize("which", ["refresh_token", "access_token"])
@pytest.mark.parametrize(("path", "field"), [("/oauth/token", "refresh_token"), ("/oauth/revoke", "token")])
def test_a_token_of_another_client_is_refused_and_stays_valid(
    make_device: Callable[..., Device], path: str, field: str, which: str
) -> None:
    """RFC 7009 section 2.1: "If this validation fails, the request is refused and the client is informed"."""
    phone = make_device(client_id="oauth", bound=False)
    phone.register("ada@example.com")
    token = str(phone.tokens[which])
    said = form(phone.send, path, grant_type="refresh_token", client_id="simple", **{field: token})
    assert (said.status, said.members["error"], said.code) == (400, "unauthorized_client", "unauthorized_client")
    assert said.members["action"] == "fix_request"
    assert phone.exchange(client_id="oauth").status == 200
    assert phone.get("/me").status == 200


def test_revoking_an_unknown_token_succeeds(send: Send) -> None:
    """RFC 7009 section 2.2: "invalid tokens do not cause an error response"."""
    assert form(send, "/oauth/revoke", token="garbage", client_id="simple").status == 200
    assert form(send, "/oauth/revoke", token="garbage").status == 200


def test_a_jwt_contains_its_scope(make_device: Callable[..., Device]) -> None:
    """RFC 9068 section 2.2.3. The token response has the same scope."""
    phone = make_device()
    phone.register("ada@example.com")
    payload = phone.token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["scope"] == phone.tokens["scope"] == "account"


@pytest.mark.parametrize(
    ("client_id", "name"),
    [
        ("mobile", MechanismName.EXCHANGE),
        ("oauth", MechanismName.ROTATING_REFRESH),
        ("legacy", MechanismName.REFRESH),
        ("session-api", MechanismName.SESSION),
        ("iot", MechanismName.LONG_LIVED),
    ],
)
def test_a_token_response_contains_the_lifetimes_of_the_login(
    make_device: Callable[..., Device], clock: DevelopmentClock, client_id: str, name: MechanismName
) -> None:
    """draft-ietf-oauth-refresh-token-expiration-03, in seconds.

    A login that cannot be renewed has no refresh token time-out.
    """
    mechanism = MECHANISMS[name]
    thing = make_device(client_id=client_id, bound=client_id == "mobile")
    thing.register("ada@example.com")
    renewable = {"refresh_token_timeout": mechanism.idle_s} if mechanism.renewable else {}
    wanted = {"authorization_expires_in": mechanism.absolute_s, **renewable}
    assert {name: thing.tokens[name] for name in thing.tokens if name in {*wanted, "refresh_token_timeout"}} == wanted
    if mechanism.renewable:
        clock.skip(600)
        assert thing.exchange().status == 200
        assert thing.tokens["refresh_token_timeout"] == mechanism.idle_s
        assert mechanism.absolute_s - 610 <= thing.tokens["authorization_expires_in"] <= mechanism.absolute_s - 590


# --- RFC 9110 section 9.2.2: which requests may be repeated -----------------------------------------------------------


def defective(_: Request) -> Response:
    """Fail with an unplanned exception."""
    raise KeyError("a secret")


@pytest.mark.parametrize(
    ("method", "path", "action"),
    [
        ("GET", "/orders", "retry"),
        ("POST", "/register", "retry"),
        ("POST", "/login", "retry"),
        ("POST", "/oauth/token", "retry"),
        ("POST", "/step-up", "retry"),
        ("POST", "/oauth/introspect", "retry"),
        ("POST", "/oauth/revoke", "check_outcome"),
        ("POST", "/logout", "check_outcome"),
        ("DELETE", "/me", "check_outcome"),
        ("POST", "/orders", "check_outcome"),
        ("PUT", "/orders/{order}", "check_outcome"),
    ],
)
def test_a_defect_answer_says_whether_to_repeat_the_request(method: str, path: str, action: str) -> None:
    """A state-changing call may have been executed. A client that repeats it without a check could pay twice."""
    app = Chalice(app_name="defective", configure_logs=False)
    edge = Dispatch(app=app, clock=lambda: 7, entropy=lambda size: b"x" * size, log=MemoryLog())
    specs: dict[tuple[str, str], RouteSpec] = {
        (route.method, route.path): route for route in load_environment().baton.routes
    }
    view = edge.view(defective, specs.get((method, path), RouteSpec()), defective)
    app.route(path, methods=[method], content_types=[])(view)
    answer = Gateway([app]).call(method, f"/api{path.replace('{order}', '7')}")
    told = json.loads(answer.body)
    assert (answer.status, told["error"], told["code"], told["action"]) == (500, *["server_error"] * 2, action)
    assert told["retryable"] is (action == "retry")


@pytest.mark.parametrize(("method", "action"), [("GET", "retry"), ("POST", "check_outcome")])
def test_a_defect_of_a_plain_route_says_whether_to_repeat_the_request(method: str, action: str) -> None:
    """Baton rewrites the 500 of Chalice."""
    app = Chalice(app_name="defective", configure_logs=False)
    edge = Dispatch(app=app, clock=lambda: 7, entropy=lambda size: b"x" * size, log=MemoryLog())
    app.register_middleware(edge.middleware, "http")

    @app.route("/plain", methods=[method], content_types=[])
    def plain() -> None:
        raise KeyError("a secret")

    answer = Gateway([app]).call(method, "/api/plain", list(JSON.items()))
    assert (answer.status, json.loads(answer.body)["action"]) == (500, action)
