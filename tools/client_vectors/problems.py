"""Vectors of answers: ``problems.json``. An answer is foreign (not from Baton), a success, or a refusal."""

# ruff: noqa: E501 - a table: one vector, one line
from typing import Any, Final

from tools.client_vectors.answers import answer, refusal
from tools.errors_page import leaves

NOT_BATON: Final = {"baton_request_id": ""}
HTML: Final = "<html>Welcome to the hotel</html>"


def vectors() -> list[dict[str, Any]]:
    """List answers, each with what a client must read from it.

    The member ``team`` is true if the request was for a route of the team, whose answers may have any media type.
    """
    return [*_codes(), *_others(), *_successes(), *_foreign()]


def _codes() -> list[dict[str, Any]]:
    """Make an answer for each code of errors.md, with the status, error and action of Baton's error class."""
    made = {}
    for kind in leaves():
        name = f"code {kind.code}, {kind.status} {kind.action}"
        given = refusal(kind.status, kind.error, kind.code, kind.action)
        made[name] = _refused(name, given, kind.status, kind.error, kind.code, kind.action)
    return list(made.values())


def _refused(  # one argument for each member
    name: str,
    given: dict[str, Any],
    status: int,
    error: str,
    code: str,
    action: str,
    *,
    reason: str | None = None,
    retry_after: int = 0,
    team: bool = False,
) -> dict[str, Any]:
    ends = action == "log_in" and error in {"invalid_token", "invalid_grant"}
    expect = {"status": status, "error": error, "code": code, "action": action, "reason": reason}
    return {"name": name, "team": team, "answer": given, "expect": {**expect, "retry_after": retry_after, "ends": ends}}


def _others() -> list[dict[str, Any]]:
    ended = ("invalid_grant", "login_required", "log_in")
    busy = ("temporarily_unavailable", "unavailable", "retry")
    return [
        _refused("an exchange is refused with a reason", refusal(400, *ended, reason="reuse"), 400, *ended, reason="reuse"),
        _refused("a reason that is no text", refusal(400, *ended, reason=7), 400, *ended),
        _refused("Retry-After", refusal(503, *busy, retry_after=3), 503, *busy, retry_after=3),
        _refused("a date in Retry-After", {**refusal(503, *busy), "headers": {**refusal(503, *busy)["headers"], "retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}}, 503, *busy),
        _refused("Retry-After twice", {**refusal(503, *busy), "headers": {**refusal(503, *busy)["headers"], "retry-after": "3, 4"}}, 503, *busy),
        _refused("an unknown code", refusal(400, "x", "of_the_future", "fix_request"), 400, "x", "of_the_future", "fix_request"),
        _refused("an unknown action", refusal(400, "x", "of_the_future", "dance"), 400, "x", "of_the_future", "dance"),
        _refused("log_in without an ended session", refusal(401, "insufficient_acr", "insufficient_acr", "log_in"), 401, "insufficient_acr", "insufficient_acr", "log_in"),
        _refused("the app's own 404", answer(404, {"message": "no such order"}), 404, "", "http_404", "fix_request", team=True),
        _refused("the app's own 429", answer(429, {}), 429, "", "http_429", "retry", team=True),
        _refused("the app's own 500", answer(500, {}), 500, "", "http_500", "retry", team=True),
        _refused("the app's own page", answer(404, None, HTML, content_type="text/html"), 404, "", "http_404", "fix_request", team=True),
        _refused("the app's own list", answer(400, [1]), 400, "", "http_400", "fix_request", team=True),
    ]  # fmt: skip


def _successes() -> list[dict[str, Any]]:
    def ok(name: str, given: dict[str, Any], *, team: bool = False) -> dict[str, Any]:
        return {"name": name, "team": team, "answer": given, "expect": {"status": given["status"]}}

    return [
        ok("an object", answer(200, {"a": 1})),
        ok("an object with a charset", answer(200, {"a": 1}, content_type="application/json; charset=utf-8")),
        ok("an object, the media type in capitals", answer(200, {"a": 1}, content_type="Application/JSON")),
        ok("created", answer(201, {"a": 1})),
        ok("no content", answer(204)),
        ok("an empty answer", answer(200)),
        ok("names that differ in their case", answer(200, None, '{"a":1,"A":2}')),
        ok("a name in another object", answer(200, None, '{"a":{"a":1},"b":{"a":2}}')),
        ok("text that looks like a member", answer(200, None, '{"a":"b\\":","c":["a",{"a":1}]}')),
        ok("UTF-8", answer(200, {"a": "\u00e9\U0001f600"})),
        ok("the app's list", answer(200, [1, 2]), team=True),
        ok("the app's picture", answer(200, None, "\u0089PNG", content_type="image/png"), team=True),
        ok("the app's page", answer(200, None, HTML, content_type="text/html"), team=True),
        ok("a stored copy that a cache may store", answer(200, {"keys": []}, cache_control="max-age=300", age="20")),
        ok("the shortest request id", answer(200, {}, baton_request_id="a" * 8)),
        ok("the longest request id", answer(200, {}, baton_request_id="a" * 64)),
    ]


def _foreign() -> list[dict[str, Any]]:
    def not_ours(name: str, given: dict[str, Any], *, team: bool = False, url: str = "") -> dict[str, Any]:
        moved = {"url": url} if url else {}
        return {"name": f"foreign: {name}", "team": team, "answer": {**given, **moved}, "expect": {"foreign": True}}

    plain = answer(200, {"a": 1}, **NOT_BATON)
    return [
        not_ours("a portal's page", answer(200, None, HTML, content_type="text/html", **NOT_BATON)),
        not_ours("a portal's page on a route of the app", answer(200, None, HTML, content_type="text/html", **NOT_BATON), team=True),
        not_ours("an object without a request id", plain),
        not_ours("nothing without a request id", answer(204, **NOT_BATON)),
        not_ours("a short request id", answer(200, {}, baton_request_id="a" * 7)),
        not_ours("a long request id", answer(200, {}, baton_request_id="a" * 65)),
        not_ours("a request id with other characters", answer(200, {}, baton_request_id="01234567!")),
        not_ours("the request id twice", answer(200, {}, baton_request_id="0123abcd-ef, 0123abcd-ef")),
        not_ours("a firewall's 202", answer(202, None, HTML, content_type="text/html", **NOT_BATON)),
        not_ours("a firewall's 403", answer(403, None, HTML, content_type="text/html", **NOT_BATON)),
        not_ours("the gateway's refusal", answer(403, {"message": "Forbidden"})),
        not_ours("a proxy's 502", answer(502, None, "Bad Gateway", content_type="text/plain", **NOT_BATON)),
        not_ours("a page with a request id on a route of Baton", answer(200, None, HTML, content_type="text/html")),
        not_ours("a redirect", answer(302, None, location="https://portal.example.net/")),
        not_ours("a temporary redirect", answer(307, {"a": 1}, location="https://portal.example.net/")),
        not_ours("not modified", answer(304)),
        not_ours("after a redirect", answer(200, {"a": 1}), url="https://portal.example.net/api/me"),
        not_ours("a stored copy", answer(200, {"a": 1}, age="295")),
        not_ours("an encoding", answer(200, {"a": 1}, content_encoding="gzip")),
        not_ours("half an object", answer(200, None, '{"a":')),
        not_ours("half an object on a route of the app", answer(200, None, '{"a":'), team=True),
        not_ours("a list on a route of Baton", answer(200, [1])),
        not_ours("text after the object", answer(200, None, '{"a":1} x')),
        not_ours("a byte order mark", answer(200, None, '\ufeff{"a":1}')),
        not_ours("a duplicate member", answer(200, None, '{"a":1,"a":2}')),
        not_ours("a duplicate member, written in another way", answer(200, None, '{"a":1,"\\u0061":2}')),
        not_ours("a duplicate member inside", answer(200, None, '{"b":[{"a":1,"a":2}]}')),
        not_ours("NaN", answer(200, None, '{"a":NaN}')),
        not_ours("bytes that are no UTF-8", {**answer(200, {}), "body": "", "bytes": "eyJhIjoi/yJ9"}),
        not_ours("an overlong character", {**answer(200, {}), "body": "", "bytes": "eyJhIjoiwK8ifQ=="}),
        not_ours("a refusal without a code", answer(400, {"action": "retry"})),
        not_ours("a refusal without an action", answer(401, {"error": "invalid_token", "code": "login_required"})),
        not_ours("a refusal without a body", answer(401)),
        not_ours("a refusal in a list", answer(401, [{"code": "login_required", "action": "log_in"}])),
    ]  # fmt: skip
