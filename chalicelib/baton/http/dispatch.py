"""Run the view of a route for a request: read the request strictly, and return every answer in one form."""

import functools
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from chalice.app import Chalice, Response
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.http.answer import ALLOWED_FIELDS, BY_COOKIE, PREFLIGHT_KEPT_S, as_page, readable_by, refused
from chalicelib.baton.http.request import decoded_path, read_request
from chalicelib.baton.ids import Secret
from chalicelib.baton.routing import Dialect, Message, RouteSpec
from chalicelib.baton.tokens.call import SAFE_METHODS


class Request(Struct, frozen=True):
    """A request. ``route``: the path template of its route. ``path``: name of a path parameter -> decoded value."""

    message: Message
    route: str
    path: Mapping[str, str]
    refused: Callable[[errors.Refusal], Response]
    """Make the response of a refusal of this request."""


Run = Callable[[Request], Response]


class Dispatch(Struct, kw_only=True):
    """Make views of Chalice from functions that answer a ``Request``."""

    clock: Clock
    entropy: Entropy
    log: Log
    app: Chalice | None = None
    """The Chalice application that has the routes. ``Baton.install`` sets it."""
    origins: tuple[str, ...] = ()
    cookie_origins: tuple[str, ...] = ()
    """The origins of the cookie clients. Their pages may read answers and also send cookies."""
    origin_secret: Secret | None = None
    """The secret that a CDN in front of the API sends."""
    development: bool = False
    """Whether this is a development server: it prints tracebacks, and accepts requests over plain http."""
    resource_metadata: str = ""
    """The URL of ``/.well-known/oauth-protected-resource``, which each ``Bearer`` challenge names (RFC 9728 5.1)."""
    begin: Callable[[], None] = lambda: None
    """Called at the start of each request."""
    after: Callable[[], None] | None = None
    """Called after each answer, in development only, to carry out the orders of the queue."""

    def view(self, run: Run, spec: RouteSpec, named_after: Callable[..., object]) -> Callable[..., Response]:
        """Make a view of Chalice. It has the name and docstring of ``named_after``, and ``spec`` as an attribute.

        The view raises no exception.
        """

        @functools.wraps(named_after)
        def chalice_view(**path_parameters: str) -> Response:
            now = self.clock()
            event, request_id = self._current()

            def refuse(refusal: errors.Refusal) -> Response:
                return self._refused(refusal, spec.dialect, request_id=request_id, now=now)

            refusal: errors.Refusal | None = None
            try:
                message = read_request(event, development=self.development, origin_secret=self.origin_secret)
                path = decoded_path(path_parameters) if path_parameters else path_parameters
                response = self.carried(run(Request(message, _template(event), path, refuse)))
            except errors.Refusal as raised:
                refusal = raised
            except Exception as defect:  # noqa: BLE001 - no request may cause Chalice's own 500
                self.note_defect(defect)
                refusal = _server_error(event, spec, type(defect).__name__)
            if refusal is not None:
                try:
                    response = refuse(refusal)
                except Exception as defect:  # noqa: BLE001 - a member that is not JSON, or a class without a code
                    self.note_defect(defect)
                    refusal = _server_error(event, spec, type(defect).__name__)
                    response = refuse(refusal)
                if spec.page and _is_browser(event):
                    response = as_page(response, refusal, request_id=request_id)
            finished = self._finished(response, event, request_id=request_id, now=now, refusal=refusal)
            if self.after is not None:
                self.after()
            return finished

        vars(chalice_view)["spec"] = spec
        return chalice_view

    def middleware(self, event: Any, get_response: Callable[[Any], Response]) -> Response:  # noqa: ANN401 - Chalice's own
        """Rewrite Chalice's own errors in Baton's form, and add Baton's headers to the answers of views outside Baton.

        An error is Chalice's own if no view raised it, such as the error for a wrong method.

        If a view outside Baton raises an exception, the client gets:
        - for an error class of Chalice, such as ``NotFoundError``: Chalice's answer. Only the answer to
          ``MethodNotAllowedError`` is rewritten, because it looks like Chalice's own answer to a wrong method.
        - for any other exception: Baton's server error.
        """
        response = get_response(event)
        if "Baton-Request-Id" in response.headers:
            return response
        original, request_id = self._current()
        now = self.clock()
        said = _said_by_chalice(response)
        if said is None:
            response.headers = dict(response.headers)  # the view may return a constant, which must not change
            return self._finished(response, original, request_id=request_id, now=now)
        dialect = Dialect.OAUTH if _template(original).startswith("/oauth/") else Dialect.PROBLEM
        refusal = _server_error(original, _PLAIN) if said is errors.ServerError else said()
        rewritten = self._refused(refusal, dialect, request_id=request_id, now=now)
        return self._finished(rewritten, original, request_id=request_id, now=now, refusal=refusal)

    def preflight(self, methods: Mapping[str, object]) -> Callable[..., Response]:
        """Make the view for the CORS preflights of a path. Its answer names ``methods`` only to an allowed origin."""

        def preflight(**_: str) -> Response:
            event, request_id = self._current()
            response = Response(body="", status_code=204, headers={"Cache-Control": "no-store"})
            self._finished(response, event, request_id=request_id, now=self.clock())
            if "Access-Control-Allow-Origin" in response.headers:
                response.headers.update(
                    {
                        "Access-Control-Allow-Methods": ", ".join(sorted(methods.keys() - {"OPTIONS"})),
                        "Access-Control-Allow-Headers": ALLOWED_FIELDS,
                        "Access-Control-Max-Age": str(PREFLIGHT_KEPT_S),
                    }
                )
            return response

        return preflight

    def carried(self, response: Response) -> Response:
        """Convert a body of bytes to text, unless its media type is one of ``app.api.binary_types``.

        Raises ``ValueError`` if the bytes to convert are not UTF-8.
        """
        media_type = str(response.headers.get("Content-Type", ""))
        binary = self.app.api.binary_types if self.app is not None else ()
        if isinstance(response.body, bytes) and media_type.partition(";")[0].strip() not in binary:
            try:
                response.body = response.body.decode()
            except UnicodeDecodeError:
                raise ValueError(f"{media_type} is not a binary type: add it to app.api.binary_types") from None
        return response

    def note_defect(self, defect: Exception) -> None:
        """Log the place of a defect, but not its text, which may contain a secret.

        In development, show its traceback.
        """
        if self.development:
            traceback.print_exception(defect)
        frames = traceback.extract_tb(defect.__traceback__)[-6:]
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
        self.log.record("internal_error", kind=type(defect).__name__, where=where)

    def _refused(self, refusal: errors.Refusal, dialect: Dialect, *, request_id: str, now: int) -> Response:
        return refused(refusal, dialect, request_id=request_id, now=now, resource_metadata=self.resource_metadata)

    def _finished(
        self,
        response: Response,
        event: Mapping[str, Any],
        *,
        request_id: str,
        now: int,
        refusal: errors.Refusal | None = None,
    ) -> Response:
        """Add the headers that every answer has, and log how the request ended."""
        headers = response.headers
        if not str(headers.get("Cache-Control", "")).startswith(("public", "private")):
            # An answer that a cache may store has no `Baton-Time`. Otherwise a phone would set its clock back.
            headers["Baton-Time"] = str(now)
        headers["Baton-Request-Id"] = request_id
        headers["X-Content-Type-Options"] = "nosniff"
        listed = self.origins or self.cookie_origins
        readable = readable_by(_field(event, "origin"), self.origins, self.cookie_origins) if listed else {}
        if readable or BY_COOKIE in str(headers.get("Vary", "")):
            vary = next((name for name in headers if name.lower() == "vary"), "Vary")
            if headers.get(vary):
                readable["Vary"] = f"{headers.pop(vary)}, Origin"
            headers.update(readable or {"Vary": "Origin"})
        context = event.get("requestContext") or {}
        if refusal and refusal.by_caller:
            self.log.record("unavailable_by_caller")
        self.log.record(
            "refused" if refusal else "answered",
            route=f"{context.get('httpMethod', '')} {context.get('resourcePath', '')}",
            status=response.status_code,
            **({"code": refusal.code, "reason": _reason_of(refusal)} if refusal else {}),
        )
        return response

    def _current(self) -> tuple[dict[str, Any], str]:
        """Return the current event and its request id. Call ``begin``, and add the id to all following log lines.

        The id is from the gateway, or random if the gateway gave no id.
        """
        request = self.app.current_request if self.app is not None else None
        event: dict[str, Any] = request.to_original_event() if request is not None else {}
        request_id = str((event.get("requestContext") or {}).get("requestId") or "") or self.entropy(8).hex()
        self.log.start_request(request_id=request_id)
        self.begin()
        return event, request_id


def _reason_of(refusal: errors.Refusal) -> str:
    """Return the private reason of a refusal. If it is empty, return the member ``reason``: why the login ended."""
    return refusal.reason or str(refusal.members.get("reason", ""))


def may_repeat(method: str, spec: RouteSpec) -> bool:
    """Decide whether a request may be sent again unchanged after a server error (RFC 9110 section 9.2.2)."""
    return method in SAFE_METHODS or spec.takes_attempt or spec.repeatable or spec.once is not None


_PLAIN = RouteSpec()
"""The specification of a route that is not Baton's."""


def _template(event: Mapping[str, Any]) -> str:
    return str((event.get("requestContext") or {}).get("resourcePath") or "")


def _field(event: Mapping[str, Any], wanted: str) -> str | None:
    """Return the value of a header field. If the field was repeated, the event has its last value."""
    given = event.get("headers") or {}
    return next((str(value) for name, value in given.items() if name.lower() == wanted), None)


def _is_browser(event: Mapping[str, Any]) -> bool:
    """Decide whether a person opened the route: a browser names HTML in ``Accept``, and a library does not."""
    return "text/html" in (_field(event, "accept") or "").lower()


def _server_error(event: Mapping[str, Any], spec: RouteSpec, reason: str = "") -> errors.Refusal:
    method = str((event.get("requestContext") or {}).get("httpMethod") or "")
    return errors.ServerError(reason) if may_repeat(method, spec) else errors.OutcomeUnclear(reason)


_CHALICE_SAYS: Mapping[tuple[str, int], type[errors.Refusal]] = {
    ("BadRequest", 400): errors.Malformed,
    ("MethodNotAllowedError", 405): errors.MethodNotAllowed,
    ("UnsupportedMediaType", 415): errors.UnsupportedMediaType,
    ("InternalServerError", 500): errors.ServerError,
}
"""Baton's errors in place of the answers that Chalice makes without a view, or after a view failed.

The keys are ``Code`` and status of Chalice's answer.
"""


def _said_by_chalice(response: Response) -> type[errors.Refusal] | None:
    body = response.body
    if not isinstance(body, dict) or body.keys() != {"Code", "Message"}:
        return None
    return _CHALICE_SAYS.get((str(body["Code"]), response.status_code))
