"""What Chalice says by itself comes out in our shape: API Gateway would have refused it before, and a test does not."""

import json
from typing import Any

import pytest
from chalice.app import ConflictError, Response

from tests.baton.fixture import load_environment
from tools.dev.gateway import Gateway, GatewayResponse, LambdaContext

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


def answered(view: Any, path: str = "/plain") -> GatewayResponse:
    """Ask a team's own route that is not ``@signed``, from a page that may."""
    module = load_environment()
    module.app.route(path, methods=["GET"])(view)
    return Gateway([module.app]).call("GET", f"/api{path}", [*HEADERS.items(), ("content-type", "application/json")])


def is_dressed(answer: GatewayResponse) -> bool:
    """Tell whether an answer carries what every answer carries."""
    names = ("baton-time", "baton-request-id", "x-content-type-options", "access-control-allow-origin")
    return all(answer.header(name) for name in names) and "Origin" in str(answer.header("vary"))


def test_a_plain_route_that_succeeded_was_answered_500(embedded_engine: None) -> None:
    """Its own status, body and headers, with ours added."""
    answer = answered(lambda: {"fine": True})
    assert (answer.status, json.loads(answer.body)) == (200, {"fine": True})
    assert is_dressed(answer)
    own: dict[str, str | list[str]] = {"Content-Type": "text/csv", "vary": "Accept", "Cache-Control": "max-age=5"}
    for _ in range(2):
        answer = answered(lambda: Response(body="a,b", status_code=203, headers=own))
        assert (answer.status, answer.body) == (203, b"a,b")
        assert [answer.header(name) for name in own] == ["text/csv", "Accept, Origin", "max-age=5"]
        assert is_dressed(answer)
    assert len(own) == 3  # a view may keep its headers in a constant
    answer = answered(lambda: Response(body="", status_code=204))
    assert (answer.status, answer.body) == (204, b"")


def test_a_plain_route_may_answer_with_an_image(embedded_engine: None) -> None:
    """The bytes arrive as the view made them. Its answer was a 500, because no binary type was configured."""
    image = b"\x89PNG\r\n\x1a\n\xff\x00"
    module = load_environment()
    module.app.route("/plain", methods=["GET"])(lambda: Response(image, {"Content-Type": "image/png"}))
    answer = Gateway([module.app]).call("GET", "/api/plain", [*HEADERS.items(), ("accept", "image/png")])
    assert (answer.status, answer.body, answer.header("content-type")) == (200, image, "image/png")
    assert is_dressed(answer)


@pytest.mark.parametrize("path", ["/plain", "/oauth/plain"])
@pytest.mark.parametrize("status", [400, 402, 404, 409, 418, 500, 503])
def test_a_plain_routes_own_error_stays_its_own(embedded_engine: None, path: str, status: int) -> None:
    """Made by the view, in its own shape: nobody else knows what it means."""
    answer = answered(lambda: Response(body={"problem": "no funds"}, status_code=status), path)
    assert (answer.status, json.loads(answer.body)) == (status, {"problem": "no funds"})
    assert is_dressed(answer)


def test_an_error_that_a_plain_route_raises_keeps_its_status_and_its_words(embedded_engine: None) -> None:
    """Chalice writes it down, but the view said it. 409 came out as 500, and without the words."""

    def taken() -> None:
        raise ConflictError("the seat is taken")

    answer = answered(taken)
    assert (answer.status, json.loads(answer.body)["Message"]) == (409, "the seat is taken")
    assert is_dressed(answer)


def test_a_defect_of_a_plain_route_is_still_told_in_our_shape(
    embedded_engine: None, caplog: pytest.LogCaptureFixture
) -> None:
    """What Chalice says by itself is rewritten, and says nothing of what went wrong."""
    del caplog

    def defective() -> None:
        raise KeyError("a secret of somebody's")

    answer = answered(defective)
    assert (answer.status, json.loads(answer.body)["code"]) == (500, "server_error")
    assert b"secret of" not in answer.body
    assert is_dressed(answer)


def test_a_media_type_that_chalice_refuses_is_told_in_our_shape(embedded_engine: None) -> None:
    """A plain route takes JSON alone unless it says otherwise."""
    module = load_environment()
    module.app.route("/plain", methods=["POST"])(dict)
    answer = Gateway([module.app]).call("POST", "/api/plain", [*HEADERS.items(), ("content-type", "text/plain")], b"x")
    assert (answer.status, json.loads(answer.body)["code"]) == (415, "unsupported_media_type")
    assert is_dressed(answer)
