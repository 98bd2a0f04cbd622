"""A change of the API that breaks an old app is reported, and no other change is."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tools.manifest import DESCRIPTION, ROOT
from tools.wire_changes import wire_changes

Json = dict[str, Any]

OLD: Json = {
    "paths": {
        "/orders": {
            "post": {
                "security": [{}, {"token": []}],
                "parameters": [
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 100}},
                    {"$ref": "#/components/parameters/Key"},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
                "responses": {
                    "201": {
                        "headers": {"Baton-Time": {}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Done"}}},
                    },
                    "400": {"x-codes": {"malformed": "fix_request"}},
                },
            },
            "get": {"responses": {"200": {}}},
        },
        "/health": {"get": {"responses": {"200": {}}}},
    },
    "components": {
        "parameters": {"Key": {"name": "Idempotency-Key", "in": "header", "required": False, "schema": {}}},
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["item"],
                "properties": {
                    "item": {"type": "string", "maxLength": 10, "minLength": 1, "pattern": "^a"},
                    "kind": {"enum": ["new", "old"]},
                    "note": {"type": ["string", "null"]},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
                },
            },
            "Done": {
                "type": "object",
                "required": ["id"],
                "properties": {
                    "id": {"type": "string"},
                    "state": {"const": "done"},
                    "device": {"anyOf": [{"$ref": "#/components/schemas/Device"}, {"type": "null"}]},
                },
            },
            "Device": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    },
}


def post(new: Json) -> Json:
    """Return the operation in which most changes are made."""
    operation: Json = new["paths"]["/orders"]["post"]
    return operation


def schema(new: Json, name: str) -> Json:
    """Return a schema."""
    found: Json = new["components"]["schemas"][name]
    return found


BREAKS: dict[str, Callable[[Json], object]] = {
    "GET /health was removed": lambda new: new["paths"].pop("/health"),
    "GET /orders was removed": lambda new: new["paths"]["/orders"].pop("get"),
    "POST /orders: a way to authenticate was removed": lambda new: post(new).update(security=[{"token": []}]),
    "GET /orders: a way to authenticate was removed": lambda new: new["paths"]["/orders"]["get"].update(
        security=[{"token": []}]
    ),
    "POST /orders: query parameter limit was removed": lambda new: post(new)["parameters"].pop(0),
    "POST /orders: query parameter limit: maximum is 50 now": lambda new: post(new)["parameters"][0]["schema"].update(
        maximum=50
    ),
    "POST /orders: header parameter Idempotency-Key is required now": lambda new: new["components"]["parameters"][
        "Key"
    ].update(required=True),
    "POST /orders: query parameter page is required now": lambda new: post(new)["parameters"].append(
        {"name": "page", "in": "query", "required": True}
    ),
    "POST /orders: the request body was removed": lambda new: post(new).pop("requestBody"),
    "POST /orders: a request body is required now": lambda new: post(new)["requestBody"].update(required=True),
    "GET /orders: a request body is required now": lambda new: new["paths"]["/orders"]["get"].update(
        requestBody={"required": True, "content": {}}
    ),
    "POST /orders: request: media type application/json was removed": lambda new: post(new)["requestBody"].update(
        content={}
    ),
    "POST /orders: response 400 was removed": lambda new: post(new)["responses"].pop("400"),
    "POST /orders: response 201: header Baton-Time was removed": lambda new: post(new)["responses"]["201"].update(
        headers={}
    ),
    "POST /orders: response 400: code malformed with action fix_request was removed": lambda new: post(new)[
        "responses"
    ]["400"].update({"x-codes": {"malformed": "retry"}}),
    "request schema Order: member kind was removed": lambda new: schema(new, "Order")["properties"].pop("kind"),
    "request schema Order: member note is required now": lambda new: schema(new, "Order").update(
        required=["item", "note"]
    ),
    "request schema Order: unknown members are refused now": lambda new: schema(new, "Order").update(
        additionalProperties=False
    ),
    "request schema Order/item: maxLength is 5 now": lambda new: schema(new, "Order")["properties"]["item"].update(
        maxLength=5
    ),
    "request schema Order/item: minLength is 2 now": lambda new: schema(new, "Order")["properties"]["item"].update(
        minLength=2
    ),
    "request schema Order/item: the pattern changed": lambda new: schema(new, "Order")["properties"]["item"].update(
        pattern="^b"
    ),
    "request schema Order/item: only some values are allowed now": lambda new: schema(new, "Order")["properties"][
        "item"
    ].update(enum=["a"]),
    "request schema Order/kind: values were removed: old": lambda new: schema(new, "Order")["properties"][
        "kind"
    ].update(enum=["new", "fresh"]),
    "request schema Order/note: the type changed from null or string to string": lambda new: schema(new, "Order")[
        "properties"
    ]["note"].update(type="string"),
    "response schema Done: member state was removed": lambda new: schema(new, "Done")["properties"].pop("state"),
    "response schema Done: member id may be missing now": lambda new: schema(new, "Done").update(required=[]),
    "response schema Done/id: the type changed from string to null or string": lambda new: schema(new, "Done")[
        "properties"
    ].update(id={"anyOf": [{"type": "string"}, {"type": "null"}]}),
    "response schema Done/state: values were removed: done": lambda new: schema(new, "Done")["properties"][
        "state"
    ].update(const="ended"),
    "response schema Done/device: an alternative was removed: null": lambda new: schema(new, "Done")["properties"][
        "device"
    ]["anyOf"].pop(),
    "response schema Device: member name was removed": lambda new: schema(new, "Device")["properties"].pop("name"),
}


@pytest.mark.parametrize("detail", BREAKS)
def test_a_change_that_breaks_an_old_app_is_reported(detail: str) -> None:
    """The change is reported once. The report names its place in the description."""
    new = copy.deepcopy(OLD)
    BREAKS[detail](new)
    assert wire_changes(OLD, new) == [detail]


ADDS: dict[str, Callable[[Json], object]] = {
    "nothing": lambda _: None,
    "a path": lambda new: new["paths"].update({"/more": {"get": {}}}),
    "a method": lambda new: new["paths"]["/orders"].update(delete={}),
    "an optional parameter": lambda new: post(new)["parameters"].append({"name": "page", "in": "query"}),
    "a way to authenticate": lambda new: post(new)["security"].append({"other": []}),
    "a status": lambda new: post(new)["responses"].update({"409": {}}),
    "a code": lambda new: post(new)["responses"]["400"]["x-codes"].update(new="retry"),
    "an optional member of a request": lambda new: schema(new, "Order")["properties"].update(more={}),
    "a member of a response": lambda new: schema(new, "Done")["properties"].update(more={}),
    "a promised member": lambda new: schema(new, "Done").update(required=["id", "state"]),
    "a wider limit": lambda new: schema(new, "Order")["properties"]["item"].update(maxLength=20, minLength=0),
    "a value": lambda new: schema(new, "Order")["properties"]["kind"]["enum"].append("third"),
    "a text": lambda new: post(new).update(description="Other words.", tags=["more"], operationId="other"),
}


@pytest.mark.parametrize("name", ADDS)
def test_an_addition_is_no_finding(name: str) -> None:
    """Old apps ignore unknown members."""
    new = copy.deepcopy(OLD)
    ADDS[name](new)
    assert wire_changes(OLD, new) == []


def test_a_component_may_be_renamed() -> None:
    """Names of components are not on the wire."""
    text = json.dumps(OLD).replace("schemas/Device", "schemas/Phone").replace('"Device"', '"Phone"')
    assert wire_changes(OLD, json.loads(text)) == []


def test_the_description_of_baton_is_compared_completely() -> None:
    """The description equals itself. The removal of each operation is reported."""
    own = json.loads((ROOT / DESCRIPTION).read_text("utf-8"))
    assert wire_changes(own, own) == []
    operations = [(path, method) for path, item in own["paths"].items() for method in item if method != "parameters"]
    new = copy.deepcopy(own)
    for path, method in operations:
        del new["paths"][path][method]
    removed = [f"{method.upper()} {path} was removed" for path, method in operations]
    assert sorted(wire_changes(own, new)) == sorted(removed)
