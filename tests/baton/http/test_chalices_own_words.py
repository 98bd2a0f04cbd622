"""The answers that Chalice makes itself.

Baton rewrites them in its own form: API Gateway returns 405 and 415 earlier, but a local server does not.
"""

import json
from typing import Any

import pytest
from chalice.app import ConflictError, Response

from tests.baton.fixture import load_environment
from tools.dev.gateway import Gateway, GatewayResponse, LambdaContext

HEADERS = {"host": "api.example.com", "origin": "https://app.example.com"}


def event(method: str, path: str) -> dict[str, Any]:
    """Make the event of a method that the route does not accept."""
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
def test_a_method_that_a_route_does_not_have_is_405_in_its_format(
    embedded_engine: None, path: str, media_type: str
) -> None:
    """The answer has the headers of every answer, and the CORS headers for the page that called."""
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
    """Call a route of a team that is not ``@signed``, from an allowed origin."""
    module = load_environment()
    module.app.route(path, methods=["GET"])(view)
    return Gateway([module.app]).call("GET", f"/api{path}", [*HEADERS.items(), ("content-type", "application/json")])


def has_the_headers_of_every_answer(answer: GatewayResponse) -> bool:
    """Return whether an answer has the headers that every answer of Baton has."""
    names = ("baton-time", "baton-request-id", "x-content-type-options", "access-control-allow-origin")
    return all(answer.header(name) for name in names) and "Origin" in str(answer.header("vary"))


def test_a_plain_route_that_succeeds_keeps_its_status_body_and_headers(embedded_engine: None) -> None:
    """Baton adds its own headers. Before the fix, such a route was answered 500."""
    answer = answered(lambda: {"fine": True})
    assert (answer.status, json.loads(answer.body)) == (200, {"fine": True})
    assert has_the_headers_of_every_answer(answer)
    own: dict[str, str | list[str]] = {"Content-Type": "text/csv", "vary": "Accept", "Cache-Control": "max-age=5"}
    for _ in range(2):
        answer = answered(lambda: Response(body="a,b", status_code=203, headers=own))
        assert (answer.status, answer.body) == (203, b"a,b")
        assert [answer.header(name) for name in own] == ["text/csv", "Accept, Origin", "max-age=5"]
        assert has_the_headers_of_every_answer(answer)
    assert len(own) == 3  # Baton must not change them: a view may keep its headers in a constant
    answer = answered(lambda: Response(body="", status_code=204))
    assert (answer.status, answer.body) == (204, b"")


def test_a_plain_route_may_answer_with_an_image(embedded_engine: None) -> None:
    """The body arrives as the view made it.

    Before the fix, this route was answered 500, because no binary type was configured.
    """
    image = b"\x89PNG\r\n\x1a\n\xff\x00"
    module = load_environment()
    module.app.route("/plain", methods=["GET"])(lambda: Response(image, {"Content-Type": "image/png"}))
    answer = Gateway([module.app]).call("GET", "/api/plain", [*HEADERS.items(), ("accept", "image/png")])
    assert (answer.status, answer.body, answer.header("content-type")) == (200, image, "image/png")
    assert has_the_headers_of_every_answer(answer)


@pytest.mark.parametrize("path", ["/plain", "/oauth/plain"])
@pytest.mark.parametrize("status", [400, 402, 404, 409, 418, 500, 503])
def test_the_error_answer_of_a_plain_route_is_not_rewritten(embedded_engine: None, path: str, status: int) -> None:
    """The view made this answer in its own form. Only the view's clients can read it."""
    answer = answered(lambda: Response(body={"problem": "no funds"}, status_code=status), path)
    assert (answer.status, json.loads(answer.body)) == (status, {"problem": "no funds"})
    assert has_the_headers_of_every_answer(answer)


def test_an_error_that_a_plain_route_raises_keeps_its_status_and_its_message(embedded_engine: None) -> None:
    """Chalice writes the answer, but the view chose status and message.

    Before the fix, 409 became 500 without the message.
    """

    def taken() -> None:
        raise ConflictError("the seat is taken")

    answer = answered(taken)
    assert (answer.status, json.loads(answer.body)["Message"]) == (409, "the seat is taken")
    assert has_the_headers_of_every_answer(answer)


def test_a_defect_of_a_plain_route_is_answered_in_batons_form(
    embedded_engine: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Baton rewrites Chalice's answer. The answer does not contain the exception."""
    del caplog

    def defective() -> None:
        raise KeyError("a secret of somebody's")

    answer = answered(defective)
    assert (answer.status, json.loads(answer.body)["code"]) == (500, "server_error")
    assert b"secret of" not in answer.body
    assert has_the_headers_of_every_answer(answer)


def test_a_media_type_that_chalice_refuses_is_answered_in_batons_form(embedded_engine: None) -> None:
    """A plain route accepts only JSON, unless it names other media types."""
    module = load_environment()
    module.app.route("/plain", methods=["POST"])(dict)
    answer = Gateway([module.app]).call("POST", "/api/plain", [*HEADERS.items(), ("content-type", "text/plain")], b"x")
    assert (answer.status, json.loads(answer.body)["code"]) == (415, "unsupported_media_type")
    assert has_the_headers_of_every_answer(answer)
