"""The OpenAPI description is valid, complete, equal to the published file, and true of the server."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from chalice.app import Chalice
from jsonschema_rs import meta
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from chalicelib.baton import errors
from chalicelib.baton.routing import Answer, Body, Query, StepUp
from chalicelib.baton.tokens.caller import Caller
from tests.baton.conftest import ENVIRONMENT
from tests.baton.fixture import description, load_environment
from tests.baton.repository import ROOT, ours_only
from tests.baton.wire.contract import Contract
from tests.baton.wire.conversation import Said
from tests.baton.wire.test_codes import OF_NO_ROUTE
from tools.dev import gateway
from tools.errors_page import leaves
from tools.openapi import DESCRIPTION, PROBLEMS, ROWS, describe, render

DOCUMENT = description()
OPERATIONS = [
    (path, method, operation) for path, item in DOCUMENT["paths"].items() for method, operation in item.items()
]


CALL = ROWS["GET", "/me"]


class Receipt(Body):
    """The answer of a route of a team."""

    paid: int


class Order(Body):
    """The body of a route of a team."""

    what: str
    count: int = 1


class Oven(Query):
    """The query of a route of a team."""

    page: int = 1


def references(part: object) -> set[str]:
    """Find every reference in a document."""
    if isinstance(part, dict):
        found = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return found.union(*map(references, part.values()))
    return set[str]().union(*map(references, part)) if isinstance(part, list) else set()


@ours_only
def test_the_published_file_is_the_output_of_the_generator() -> None:
    """The file describes the routes of ``app.py`` with the sample route."""
    assert DESCRIPTION.read_text("utf-8") == render(gateway.load_environment(app=ROOT / "app.py").app), (
        "run: make openapi"
    )


def test_it_is_valid_openapi_3_1() -> None:
    """The description matches the specification's schema.

    Its schemas are valid JSON Schema, and its references resolve.
    """
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)] == []
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert meta.is_valid({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}), name
    for reference in references(DOCUMENT):
        part: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            part = part[step]


def test_an_invalid_description_is_detected() -> None:
    """A control of the test above: it fails for an invalid description."""
    broken = description()
    broken["paths"]["/me"]["get"]["responses"] = {"twohundred": {}}
    assert list(OPENAPI_31_VALIDATOR.iter_errors(broken))


def test_every_route_has_its_own_operation_id() -> None:
    """No operation without a route is described. Preflights are not operations."""
    module = load_environment()
    app = module.app
    routes = {(method, path) for path, methods in app.routes.items() for method in methods if method != "OPTIONS"}
    assert {(method.upper(), path) for path, method, _ in OPERATIONS} == routes
    heads = {(method, path) for method, path in routes if method == "HEAD"}
    assert {("GET", path) for _, path in heads} < routes
    of_baton = {(route.method, route.path) for route in module.baton.routes}
    assert of_baton < routes
    assert ROWS.keys() == of_baton - heads
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


def test_every_described_answer_has_its_headers() -> None:
    """The headers are Baton-Request-Id, Baton-Time except in cacheable answers, and Retry-After for 429 and 503."""
    for path, method, operation in OPERATIONS:
        for status, described in operation["responses"].items():
            row = ROWS.get(("GET" if method == "head" else method.upper(), path), CALL)
            timed = set() if status == "200" and row.cached else {"Baton-Time"}
            assert described["headers"].keys() - {"Retry-After"} == {*timed, "Baton-Request-Id"}, (path, method, status)
            assert ("Retry-After" in described["headers"]) is (status in {"429", "503"}), (path, method, status)


def test_every_code_is_described_on_a_route() -> None:
    """The exception is 405, which belongs to no route."""
    said = {
        code
        for _, _, operation in OPERATIONS
        for described in operation["responses"].values()
        for code in described.get("x-codes", ())
    }
    assert said == {leaf.code for leaf in leaves()} - {errors.MethodNotAllowed.code} - OF_NO_ROUTE


def test_the_served_description_has_the_issuer_as_its_server(send: Callable[..., Said]) -> None:
    """Everything else equals the published file. It may be cached for five minutes."""
    first, second = (send("GET", "/api/openapi.json", [("host", "x")], b"") for _ in range(2))
    assert first.body == second.body
    assert first.status == 200
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "public, max-age=300"
    shipped = json.loads(DESCRIPTION.read_text("utf-8"))
    assert first.members == {**shipped, "servers": [{"url": ENVIRONMENT["BATON_ISSUER"]}]}


def test_every_answer_of_every_test_is_compared_with_the_description(
    send: Callable[..., Said], contract: Contract
) -> None:
    """The fixture ``send``, which calls the gateway in the same process, compares each answer."""
    send("GET", "/api/time", [("host", "x")], b"")
    send("GET", "/api/me", [("host", "x")], b"")
    assert {("GET", "/time", 200, ""), ("GET", "/me", 401, "token_invalid")} <= contract.seen
    contract.document = description()
    del contract.document["paths"]["/time"]["get"]["responses"]["200"]
    with pytest.raises(AssertionError, match="200 is not described"):
        send("GET", "/api/time", [("host", "x")], b"")


@pytest.fixture
def bakery() -> Chalice:
    """Return an application with two routes of a team."""
    module = load_environment()

    @module.app.route("/orders/{shop}", methods=["POST"])  # type: ignore[untyped-decorator] # a module made at run time
    @module.baton.signed(  # type: ignore[untyped-decorator] # a module made at run time
        body=Order, step_up=StepUp(max_age=60, acr="aal1"), answers={201: Receipt}
    )
    def place_order(caller: Caller, order: Order, shop: str) -> Answer:
        """Bake it.

        Not for readers of the API.
        """
        return Answer(201, Receipt(paid=order.count))

    @module.app.route("/oven", methods=["GET"])  # type: ignore[untyped-decorator] # a module made at run time
    @module.baton.signed(bound=True, query=Oven)  # type: ignore[untyped-decorator] # a module made at run time
    def oven(caller: Caller, query: Oven) -> Answer:
        return Answer(200, {"warm": True})

    app: Chalice = module.app
    return app


def test_a_route_of_a_team_is_described_by_its_decorator(bakery: Chalice) -> None:
    """The description has body, parameters, step-up, answers and each refusal that the decorator can cause."""
    document = describe(bakery)
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(document)] == []
    operation = document["paths"]["/orders/{shop}"]["post"]
    assert (operation["operationId"], operation["summary"], operation["tags"]) == ("placeOrder", "Bake it.", ["app"])
    assert "aal1, at most 60 seconds old" in operation["description"]
    assert operation["security"] == [{"token": []}, {"cookie": []}]
    assert operation["requestBody"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}}
    }
    assert document["components"]["schemas"]["Order"]["required"] == ["what"]
    named = [(parameter["name"], parameter["in"]) for parameter in operation["parameters"] if "name" in parameter]
    assert named == [("shop", "path")]
    assert {"$ref": "#/components/parameters/Baton-Grant"} in operation["parameters"]
    assert operation["responses"]["201"]["content"]["application/json"]["schema"]["$ref"].endswith("/Receipt")
    assert {"step_up_required", "replayed_nonce", "wrong_key"} <= operation["responses"]["401"]["x-codes"].keys()
    assert "4XX" in operation["responses"]


def test_a_route_for_bound_logins_is_described_with_its_signature(bakery: Chalice) -> None:
    """A route without `answers=` may answer anything."""
    operation = describe(bakery)["paths"]["/oven"]["get"]
    assert ("page", "query") in [(parameter.get("name"), parameter.get("in")) for parameter in operation["parameters"]]
    required = {parameter.get("name") for parameter in operation["parameters"] if parameter.get("required")}
    assert required == {"Signature-Input", "Signature"}
    assert "2XX" in operation["responses"]
    assert "requestBody" not in operation
    assert "replayed_nonce" not in operation["responses"]["401"]["x-codes"]


def test_a_route_that_is_missing_in_the_published_file_is_detected(bakery: Chalice) -> None:
    """The output of the generator would differ from the file."""
    assert render(bakery) != render(load_environment().app)


def test_the_schemas_of_refusals_match_the_refusals() -> None:
    """Each format has one schema, and no other codes occur."""
    for shape in PROBLEMS.values():
        code = DOCUMENT["components"]["schemas"][shape.__name__]["properties"]["code"]
        assert code["x-extensible-enum"] == sorted({leaf.code for leaf in leaves()})


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (Said(418, {}, b""), "not described"),
        (Said(200, {}, b'{"server_time":1}'), "are missing"),
        (Said(200, {"content-type": "text/html"}, b'{"server_time":1}'), "media type"),
        (Said(200, {"content-type": "application/json"}, b"{"), "no JSON"),
        (Said(200, {"content-type": "application/json"}, b'{"server_time":"1"}'), "ServerTime"),
        (Said(200, {"content-type": "application/json"}, b'{"server_time":1,"more":2}'), "ServerTime"),
        (Said(200, {"content-type": "application/json", "retry-after": "1"}, b'{"server_time":1}'), "Retry-After"),
        (Said(400, {"content-type": "application/problem+json"}, b'{"code":"malformed","action":"retry"}'), "Problem"),
    ],
)
def test_an_answer_that_differs_from_the_description_is_detected(said: Said, complaint: str) -> None:
    """A control of the comparison that all these tests make."""
    common = {} if "missing" in complaint else {"baton-time": "1", "baton-request-id": "x"}
    judged = Contract().complaint("GET", "/api/time", Said(said.status, {**common, **said.headers}, said.body))
    assert complaint in judged
