"""Schemathesis generates valid and invalid requests from the API description.

Each answer must match the description.
"""

import base64
import io
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3 import HTTPResponse

from tests.baton.conftest import RESOURCE_SERVER, RESOURCE_SERVER_SECRET
from tests.baton.fixture import description
from tests.baton.wire.conversation import HOST, NEW_PASSWORD, PASSWORD, PREFIX, Device, Said

DOCUMENT = description()
BASE_URL = f"http://{HOST}{PREFIX}"
SCHEMA = schemathesis.openapi.from_dict(description())
OPERATIONS = [(path, method) for path, item in DOCUMENT["paths"].items() for method in item]
GENERATED, BEARER, HONEST = "as generated", "with a bearer's token", "signed, and with what the journey needs"
STEPPED_UP = {"GET /me/export", "DELETE /me", "POST /me/password", "POST /transfers", "POST /logout"}
REFUSED_HERE = {
    ("/login/email-code", "post"),
    ("/login/enrol", "post"),
    ("/attest", "post"),
    ("/attestation-challenge", "post"),
    ("/login/federated", "post"),
    ("/me/identities", "post"),
    ("/me/identities/{provider}", "delete"),
    ("/federation/apple/notifications", "post"),
    ("/login/factor", "post"),
    ("/login/factor/options", "post"),
    ("/login/passkey", "post"),
    ("/login/passkey/options", "post"),
    ("/login/restore", "post"),
    ("/login/restore/options", "post"),
    ("/me/passkeys", "post"),
    ("/me/passkeys/options", "post"),
    ("/me/passkeys/{passkey_id}", "delete"),
    ("/me/passkeys/{passkey_id}", "patch"),
    ("/step-up/options", "post"),
    ("/mail/action", "get"),
    ("/mail/action", "head"),
    ("/mail/not-me", "post"),
    ("/mail/undo", "post"),
    ("/me/email", "post"),
    ("/me/email/code", "post"),
    ("/me/email/confirm", "post"),
    ("/me/email/verify", "post"),
    ("/me/factors/recovery-codes", "post"),
    ("/me/factors/totp", "delete"),
    ("/me/factors/totp", "post"),
    ("/me/factors/totp/confirm", "post"),
    ("/me/restore-key", "put"),
    ("/me/second-factor", "put"),
    ("/password/forgot", "post"),
    ("/password/reset", "post"),
    ("/register/start", "post"),
    ("/session/bind", "post"),
    ("/session/proof", "post"),
    ("/session/redeem", "post"),
}
"""Routes that here refuse every request. Some accept only values from earlier steps, such as the code of an
authenticator app. The others need files of apps, a browser's proof, or mail, which are missing here.
`tests/baton/wire/test_second_factor.py`, `tests/baton/wire/test_passkeys.py`, `tests/baton/wire/test_restore.py`,
`tests/baton/browser` and `tests/baton/mail` test the accepted requests."""
OURS = {"authorization", "baton-grant", "content-digest", "host", "signature", "signature-input"}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass
class Hand(HTTPAdapter):
    """Sends the requests of Schemathesis through the gateway in this process: unchanged, or signed."""

    send_on: Callable[[str, str, list[tuple[str, str]], bytes], Said]
    make_device: Callable[..., Device]
    how: str = GENERATED
    numbers: Iterator[int] = field(default_factory=itertools.count)
    devices: dict[str, Device] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Initialise the adapter of requests."""
        super().__init__()

    def device(self, client_id: str, *, bound: bool) -> Device:
        """Return a device with an active login. If the last request ended the login, register a new account."""
        known = self.devices.get(client_id)
        if known is None:
            known = self.devices[client_id] = self.make_device(client_id=client_id, bound=bound)
            assert known.register(f"{client_id}{next(self.numbers)}@example.com").status == 201
        return known

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Send a request."""
        method, target = str(request.method), str(request.path_url)
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        assert isinstance(body, bytes)
        headers = {name.lower(): _text(value) for name, value in request.headers.items()}
        said = self._carried(method, target, headers, body)
        raw = HTTPResponse(
            io.BytesIO(said.body), said.headers, said.status, preload_content=False, request_method=method
        )
        return self.build_response(request, raw)

    def _carried(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Said:
        path = target.removeprefix(PREFIX)
        route = f"{method} {path.partition('?')[0]}"
        if self.how == GENERATED or route.startswith(("GET /.well-known", "HEAD /.well-known")):
            return self.send_on(method, target, [*(headers | {"host": HOST}).items()], body)
        left = {name: value for name, value in headers.items() if name not in OURS}
        if route == "POST /oauth/introspect":
            credentials = base64.b64encode(f"{RESOURCE_SERVER}:{RESOURCE_SERVER_SECRET}".encode()).decode()
            left |= {"authorization": f"Basic {credentials}", "host": HOST}
            return self.send_on(method, target, [*left.items()], body)
        if self.how == BEARER:
            said = self.device("simple", bound=False).request(method, path, body, left)
        else:
            said = self._honest(method, path, route, body, left)
        if said.status < 300 and (method not in {"GET", "HEAD"} or path.startswith("/oauth/")):
            self.devices.clear()
        return said

    def _honest(self, method: str, path: str, route: str, body: bytes, left: dict[str, str]) -> Said:
        phone = self.device("mobile", bound=True)
        if route in STEPPED_UP or route.startswith("DELETE /me/devices/"):
            left["baton-grant"] = phone.step_up(method, path, body)
        unasked = route in {"POST /register", "POST /login"} or path.startswith("/oauth/")
        return phone.request(method, path, body, left, token=None if unasked else "")


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def helped(hand: Hand, path: str, body: Any, path_parameters: dict[str, Any]) -> Any:
    """Insert values that a generator cannot guess: a known or free address, a token, a key, a device."""
    phone = hand.device("mobile", bound=True)
    if path == "/me/devices/{device_id}":
        path_parameters["device_id"] = phone.tokens["device_id"]
    if not isinstance(body, dict):
        return body
    entry = {"password": PASSWORD, "client_id": "mobile", "device": {"public_key": phone.key.jwk()}}
    known = phone.get("/me").members["email"]
    grants = {"method": "POST", "path": "/api/transfers", "digest": "sha-256=:" + "A" * 43 + "=:"}
    return body | {
        "/register": entry | {"email": f"fresh{next(hand.numbers)}@example.com"},
        "/login": entry | {"email": known},
        "/step-up": {"password": PASSWORD, "operation": grants},
        "/me/password": {"new_password": NEW_PASSWORD},
        "/oauth/token": {"refresh_token": phone.tokens["refresh_token"], "client_id": "mobile", "scope": "account"},
        "/oauth/revoke": {"token": phone.token, "client_id": "mobile"},
        "/oauth/introspect": {"token": phone.token},
        "/session/handover": {"client_id": "web", "next": "/"},
    }.get(path, {})


@pytest.fixture
def hand(make_device: Callable[..., Device]) -> Hand:
    """Return the adapter that sends requests."""
    plain = make_device()
    return Hand(plain.send, make_device)


def breaks_its_body(case: schemathesis.Case[Any]) -> bool:
    """Return whether a JSON body was generated as invalid. Unknown form fields are ignored."""
    assert case.meta is not None
    body = case.meta.components.get(ParameterLocation.BODY)
    return case.media_type == "application/json" and body is not None and body.mode is GenerationMode.NEGATIVE


@pytest.mark.parametrize("examples", [2, pytest.param(60, marks=pytest.mark.prove)])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_the_server_matches_its_description(hand: Hand, path: str, method: str, examples: int) -> None:
    """No answer is 5xx. Status, headers, media type and body match.

    Invalid requests are refused, and valid requests are accepted.
    """
    session = requests.Session()
    session.mount("http://", hand)
    statuses: set[int] = set()
    operation = SCHEMA[path][method.upper()]
    modes = [GenerationMode.POSITIVE]
    if operation.body.items or list(operation.iter_parameters()):
        modes.append(GenerationMode.NEGATIVE)

    def ask(examples: int, modes: list[GenerationMode], hows: list[str]) -> None:
        @settings(
            phases=[Phase.generate],
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=st.sampled_from(modes).flatmap(lambda mode: operation.as_strategy(generation_mode=mode)),
            how=st.sampled_from(hows),
        )
        def each(case: schemathesis.Case[Any], how: str) -> None:
            hand.how = how
            broken = breaks_its_body(case)
            if how == HONEST and not broken:
                case.body = helped(hand, path, case.body, case.path_parameters)
            response = case.call(BASE_URL, session)
            statuses.add(response.status_code)
            case.validate_response(response, checks=CHECKS)
            assert not (broken and response.status_code < 400), case.body

        each()

    ask(examples * len(modes), modes, [GENERATED, BEARER, HONEST])
    ask(2, modes[:1], [HONEST])
    lets_in = any(status.startswith("2") for status in DOCUMENT["paths"][path][method]["responses"])
    lets_in = lets_in and (path, method) not in REFUSED_HERE
    assert any(status < 300 for status in statuses) is lets_in, statuses  # /oauth/authorize refuses every request
