"""What Chalice says by itself comes out in our shape: API Gateway would have refused it before, and a test does not."""

import json
from typing import Any

import pytest

from tools.dev.gateway import LambdaContext, load_environment

HEADERS = {"host": "api.example.com", "origin": "https://app.example.com"}


def event(method: str, path: str) -> dict[str, Any]:
    """Make the event of a method that the route does not have."""
    return {
        "resource": path,
        "path": path,
        "httpMethod": method,
        "headers": HEADERS,
        "multiValueHeaders": {name: [value] for name, value in HEADERS.items()},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": path, "httpMethod": method, "path": f"/api{path}", "requestId": "r-1"},
        "body": None,
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/me", "application/problem+json"), ("/oauth/token", "application/json")],
)
def test_a_method_that_a_route_does_not_have_is_405_in_its_dialect(
    embedded_engine: None, path: str, media_type: str
) -> None:
    """With all that every answer carries, for the page that asked too."""
    answer = load_environment().app(event("PUT", path), LambdaContext("r-1"))
    told = json.loads(answer["body"])
    assert answer["statusCode"] == 405
    assert answer["headers"]["Content-Type"] == media_type
    assert answer["headers"]["Baton-Request-Id"] == told["request_id"] == "r-1"
    assert answer["headers"]["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert answer["headers"]["Baton-Time"] == str(told["server_time"])
    assert (told["error"], told["code"], told["action"]) == ("method_not_allowed", "method_not_allowed", "fix_request")
    assert "Unsupported method" not in answer["body"]
