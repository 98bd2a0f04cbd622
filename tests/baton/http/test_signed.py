"""The decorator ``@baton.signed`` on the routes of a team."""

import json
import secrets
from collections.abc import Callable

import pytest

from baton_client import DeviceKey, Request, Signer, content_digest, signature_fields
from chalicelib.baton.routing import Answer, Query, StepUp
from chalicelib.baton.storage.dynamodb.database import Tables
from chalicelib.baton.tokens.caller import Caller
from tests.baton.fixture import load_environment
from tests.baton.wire.conversation import HOST, JSON, PASSWORD, Device, Said, through
from tools.dev.gateway import DevelopmentClock, Gateway


class Search(Query):
    """The query of the search route."""

    q: str


@pytest.fixture
def gateway(tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Serve two routes of a team."""
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    module = load_environment(clock)

    @module.app.route("/vault", methods=["GET"])  # type: ignore[untyped-decorator] # a module made at run time
    @module.baton.signed(bound=True)  # type: ignore[untyped-decorator] # a module made at run time
    def vault(caller: Caller) -> Answer:
        return Answer(200, {"bound": caller.bound})

    @module.app.route("/search/{kind}", methods=["GET"])  # type: ignore[untyped-decorator] # a module made at run time
    @module.baton.signed(query=Search)  # type: ignore[untyped-decorator] # a module made at run time
    def search(caller: Caller, query: Search, kind: str) -> Answer:
        return Answer(200, {"q": query.q, "kind": kind, "who": caller.client_id})

    return Gateway([module.app])


@pytest.mark.guarantee(4)
def test_a_route_for_bound_logins_refuses_bearer_tokens(make_device: Callable[..., Device]) -> None:
    """The route has ``bound=True``."""
    phone, bearer = make_device(), make_device(client_id="simple", bound=False)
    phone.register("ada@example.com")
    bearer.login("ada@example.com")
    assert phone.get("/vault").members == {"bound": True}
    refused = bearer.get("/vault")
    assert refused.code == "signature_required"
    assert "Log in with a key" in refused.members["detail"]


@pytest.mark.guarantee(12)
def test_signed_query_parameters_are_passed_to_the_view(make_device: Callable[..., Device]) -> None:
    """A parameter that is changed or added on the way is refused. So is another path parameter."""
    phone = make_device()
    phone.register("ada@example.com")
    said = phone.get("/search/books?q=caf%C3%A9%20au%20lait")
    assert said.members == {"q": "café au lait", "kind": "books", "who": "mobile"}
    signed = "/search/books?q=tea"
    assert phone.get(signed, sent_path="/search/books?q=coffee").code == "invalid_signature"
    assert phone.get(signed, sent_path="/search/films?q=tea").code == "invalid_signature"
    assert phone.get(signed, sent_path="/search/books?q=tea&page=2").code == "insufficient_coverage"
    assert phone.get("/search/books?q=tea&page=2").code == "unknown_field"
    assert phone.get("/search/books", sent_path="/search/books?q=tea").code == "insufficient_coverage"


def test_a_route_with_step_up_takes_no_query(clock: DevelopmentClock) -> None:
    """A grant covers method, path and body. An attacker could change the query after the person has confirmed."""
    signed = load_environment(clock).baton.signed

    def view(caller: Caller, query: Search) -> Answer:
        return Answer(200)

    with pytest.raises(TypeError, match="takes no query"):
        signed(step_up=StepUp(), query=Search)(view)
    assert signed(query=Search)(view)


def test_the_default_port_in_host_is_not_signed(make_device: Callable[..., Device]) -> None:
    """A client that always sends the port signs the authority without it (RFC 9421 section 2.2.3)."""
    phone = make_device()
    phone.register("ada@example.com")

    def sent_to(host: str) -> Said:
        return phone.request("GET", "/search/books?q=tea", tamper=lambda fields: fields.update(host=host))

    assert sent_to(f"{HOST}:443").status == 200
    assert sent_to(f"{HOST.upper()}:443").status == 200
    assert sent_to(f"{HOST}:8443").code == "invalid_signature"


def test_the_sample_route_refuses_invalid_amounts(make_device: Callable[..., Device]) -> None:
    """Teams copy this route with its limits, so negative, zero and too large amounts must be refused."""
    bearer = make_device(client_id="simple", bound=False)
    bearer.register("ada@example.com")
    for wrong in ({"amount": -5}, {"amount": 0}, {"amount": 10**9}, {"amount": 10**30}, {"to": ""}, {"to": "x" * 257}):
        said = bearer.post("/transfers", {"to": "Bob", "amount": 1} | wrong)
        assert (said.status, said.code) == (422, "wrong_type"), wrong


@pytest.mark.parametrize("query", ["\ud800=1", "q=\ud800", "q=%00", "%00=1", "q=a&q=\udfff"])
def test_an_unpaired_surrogate_in_the_query_is_malformed(make_device: Callable[..., Device], query: str) -> None:
    """Before the fix the answer was 500: the name or the value of the parameter could not be encoded."""
    bearer = make_device(client_id="simple", bound=False)
    bearer.register("ada@example.com")
    for path in ("/search/books", "/time"):
        said = bearer.get(f"{path}?{query}")
        assert (said.status, said.code) == (400, "malformed"), (path, said)


@pytest.mark.parametrize("query", ["q=tea&q=coffee", "q=tea&%71=tea"])
def test_a_repeated_query_parameter_of_a_bearer_is_refused(make_device: Callable[..., Device], query: str) -> None:
    """A firewall that reads the first value would see another value than the view.

    A signed request with a repeated parameter was refused already before this fix.
    """
    bearer = make_device(client_id="simple", bound=False)
    bearer.register("ada@example.com")
    assert bearer.get("/search/books?q=tea").status == 200
    said = bearer.get(f"/search/books?{query}")
    assert (said.status, said.code) == (400, "duplicate_field")
    assert said.members["field"] == "q"


def test_an_ipv6_literal_is_signed_with_its_brackets(
    tables: Tables, clock: DevelopmentClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority is ``[::1]:8000``, as in the URL (RFC 9421 section 2.2.3).

    Another spelling of the address is another host.
    """
    monkeypatch.setenv("BATON_TABLE_PREFIX", tables.prefix)
    monkeypatch.setenv("BATON_ISSUER", "http://[::1]:8000/api")
    monkeypatch.setenv("BATON_AUTHORITIES", "[::1]:8000,[2001:db8::1]")
    send = through(Gateway([load_environment(clock).app]))
    key = DeviceKey.generate("p256")
    device = {"name": "phone", "public_key": key.jwk()}
    entry = {"email": "ada@example.com", "password": PASSWORD, "client_id": "mobile", "device": device}
    body = json.dumps(entry).encode()
    for host, status in (("[::1]:8000", 201), ("[2001:db8::1]", 409), ("[2001:DB8::1]", 409), ("[0:0::1]:8000", 401)):
        fields = {"host": host, "content-digest": content_digest(body), **JSON}
        request = Request("POST", f"http://{host.lower()}/api/register", fields, body)
        signer = Signer(key.thumbprint(), key.sign)
        fields |= signature_fields(request, signer, created=int(clock.time()), nonce=secrets.token_urlsafe(16))
        assert send("POST", "/api/register", list(fields.items()), body).status == status, host


def test_port_80_is_the_default_of_plain_http_in_development(make_device: Callable[..., Device]) -> None:
    """The authority omits the scheme's default port (RFC 9421 section 2.2.3). In development the scheme is http."""
    phone = make_device()
    phone.register("ada@example.com")
    said = phone.get("/search/books?q=tea", tamper=lambda fields: fields.update(host=f"{HOST}:80"))
    assert said.status == 200
