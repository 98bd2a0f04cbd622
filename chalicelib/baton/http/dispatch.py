"""Run the view of a route for a request: read it strictly, and answer in one form whatever happens."""

import functools
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from chalice.app import Chalice, Response
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Signals
from chalicelib.baton.http.answer import answered, as_page, refused
from chalicelib.baton.http.cors import ALLOWED_FIELDS, PREFLIGHT_KEPT_S, readable_by
from chalicelib.baton.http.query import refuse_query
from chalicelib.baton.http.request import read_request
from chalicelib.baton.routing import Answer, Dialect

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_REPEATABLE = frozenset(
    {"/register", "/login", "/oauth/token", "/step-up"}  # they take an attempt
    | {"/oauth/introspect", "/oauth/authorize"}  # they change nothing
)
"""Routes whose ``POST`` may be sent again after a server error, as it was."""


View = Callable[..., Answer]


class Dispatch(Struct, frozen=True):
    """Turn views into Chalice views."""

    app: Chalice
    clock: Clock
    entropy: Entropy
    signals: Signals
    origins: tuple[str, ...] = ()
    development: bool = False
    """Show tracebacks on the terminal."""
    resource_metadata: str = ""
    """The URL of ``/.well-known/oauth-protected-resource``, which every 401 about a token names (RFC 9728 5.1)."""
    begin: Callable[[], None] = lambda: None
    """What else begins with each request."""

    def view(
        self, dialect: Dialect = Dialect.PROBLEM, *, query: Iterable[str] | None = (), page: bool = False
    ) -> Callable[[View], Callable[..., Response]]:
        """Decorate a view ``(message, **path_parameters) -> Answer`` for ``app.route``.

        ``query`` names the query parameters it takes; any other is refused. ``None`` ignores whatever the query has.
        ``page`` writes refusals as HTML for a browser that opens the route. Nothing a view raises escapes.
        """
        known = None if query is None else frozenset(query)

        def decorate(view: View) -> Callable[..., Response]:
            @functools.wraps(view)
            def chalice_view(**path_parameters: str) -> Response:
                now = self.clock()
                event, request_id = self._current()
                refusal: errors.Refusal | None = None
                try:
                    message = read_request(event, development=self.development)
                    if known is not None:
                        refuse_query(message, known)
                    response = answered(view(message, **path_parameters))
                except errors.Refusal as raised:
                    refusal = raised
                except Exception as defect:  # noqa: BLE001 - nothing a client can send may become Chalice's own 500
                    self._note_defect(defect)
                    refusal = _server_error(event, type(defect).__name__)
                if refusal is not None:
                    response = self._refused(refusal, dialect, request_id=request_id, now=now)
                    if page and _is_browser(event):
                        response = as_page(response, refusal, request_id=request_id)
                return self._dressed(response, event, request_id=request_id, now=now, refusal=refusal)

            return chalice_view

        return decorate

    def middleware(self, event: Any, get_response: Callable[[Any], Response]) -> Response:  # noqa: ANN401 - Chalice's own
        """Rewrite what Chalice says by itself into our shape; add our headers to the answer of any other route.

        A view that is not ``@signed`` decides its own answers, errors too.
        """
        response = get_response(event)
        if "Baton-Request-Id" in response.headers:
            return response
        original, request_id = self._current()
        now = self.clock()
        said = _said_by_chalice(response)
        if said is None:
            response.headers = dict(response.headers)  # the view may keep its own in a constant
            return self._dressed(response, original, request_id=request_id, now=now)
        path = str((original.get("requestContext") or {}).get("resourcePath") or "")
        dialect = Dialect.OAUTH if path.startswith("/oauth/") else Dialect.PROBLEM
        refusal = _server_error(original) if said is errors.ServerError else said()
        rewritten = self._refused(refusal, dialect, request_id=request_id, now=now)
        return self._dressed(rewritten, original, request_id=request_id, now=now, refusal=refusal)

    def preflights(self) -> None:
        """Answer CORS preflights on every route, for exact origins. Call it after the last route."""
        if not self.origins:
            return
        for path, methods in list(self.app.routes.items()):
            allowed = ", ".join(sorted(methods))
            self.app.route(path, methods=["OPTIONS"], content_types=[])(self._preflight(allowed))

    def _refused(self, refusal: errors.Refusal, dialect: Dialect, *, request_id: str, now: int) -> Response:
        return refused(refusal, dialect, request_id=request_id, now=now, resource_metadata=self.resource_metadata)

    def _preflight(self, methods: str) -> Callable[..., Response]:
        def preflight(**_: str) -> Response:
            event, request_id = self._current()
            response = Response(body="", status_code=204, headers={"Cache-Control": "no-store"})
            self._dressed(response, event, request_id=request_id, now=self.clock())
            if "Access-Control-Allow-Origin" in response.headers:
                response.headers.update(
                    {
                        "Access-Control-Allow-Methods": methods,
                        "Access-Control-Allow-Headers": ALLOWED_FIELDS,
                        "Access-Control-Max-Age": str(PREFLIGHT_KEPT_S),
                    }
                )
            return response

        return preflight

    def _dressed(
        self,
        response: Response,
        event: Mapping[str, Any],
        *,
        request_id: str,
        now: int,
        refusal: errors.Refusal | None = None,
    ) -> Response:
        """Add what every answer carries, and note how the request ended."""
        headers = response.headers
        if not str(headers.get("Cache-Control", "")).startswith("public"):
            # From a cache it would be the time of somebody else's request, and set a phone's clock back.
            headers["Baton-Time"] = str(now)
        headers["Baton-Request-Id"] = request_id
        headers["X-Content-Type-Options"] = "nosniff"
        if self.origins:
            readable = readable_by(_field(event, "origin"), self.origins)
            vary = next((name for name in headers if name.lower() == "vary"), "Vary")
            if headers.get(vary):
                readable["Vary"] = f"{headers.pop(vary)}, Origin"
            headers.update(readable)
        context = event.get("requestContext") or {}
        if refusal and refusal.by_caller:
            self.signals.emit("unavailable_by_caller")
        self.signals.emit(
            "refused" if refusal else "answered",
            route=f"{context.get('httpMethod', '')} {context.get('resourcePath', '')}",
            status=response.status_code,
            **({"code": refusal.code, "reason": refusal.reason} if refusal else {}),
        )
        return response

    def _current(self) -> tuple[dict[str, Any], str]:
        """Give the event being answered, and its request id, which stands on its lines from here on.

        The id is the gateway's, or one drawn where there is none.
        """
        request = self.app.current_request
        event: dict[str, Any] = request.to_original_event() if request is not None else {}
        request_id = str((event.get("requestContext") or {}).get("requestId") or "") or self.entropy(8).hex()
        self.signals.begin(request_id=request_id)
        self.begin()
        return event, request_id

    def _note_defect(self, defect: Exception) -> None:
        """Log where a defect struck, not what it said: its words may hold a secret. Its developer sees them."""
        if self.development:
            traceback.print_exception(defect)
        frames = traceback.extract_tb(defect.__traceback__)[-6:]
        where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
        self.signals.emit("internal_error", kind=type(defect).__name__, where=where)


def _field(event: Mapping[str, Any], wanted: str) -> str | None:
    """Give the last header field of a name."""
    given = event.get("headers") or {}
    return next((str(value) for name, value in given.items() if name.lower() == wanted), None)


def _is_browser(event: Mapping[str, Any]) -> bool:
    """Tell whether a person opened the route: a browser's ``Accept`` names HTML, a library's does not."""
    return "text/html" in (_field(event, "accept") or "").lower()


def may_repeat(method: str, path: str) -> bool:
    """Tell whether a request that met a server error may be sent again unread (RFC 9110 9.2.2): safe, or once only."""
    return method in _SAFE or (method == "POST" and path in _REPEATABLE)


def _server_error(event: Mapping[str, Any], reason: str = "") -> errors.Refusal:
    context = event.get("requestContext") or {}
    repeated = may_repeat(str(context.get("httpMethod") or ""), str(context.get("resourcePath") or ""))
    return errors.ServerError(reason) if repeated else errors.OutcomeUnclear(reason)


_CHALICE_SAYS: Mapping[tuple[str, int], type[errors.Refusal]] = {
    ("BadRequest", 400): errors.Malformed,
    ("MethodNotAllowedError", 405): errors.MethodNotAllowed,
    ("UnsupportedMediaType", 415): errors.UnsupportedMediaType,
    ("InternalServerError", 500): errors.ServerError,
}
"""The answers that Chalice makes without a view, or for one that failed: their ``Code`` and status."""


def _said_by_chalice(response: Response) -> type[errors.Refusal] | None:
    body = response.body
    if not isinstance(body, dict) or body.keys() != {"Code", "Message"}:
        return None
    return _CHALICE_SAYS.get((str(body["Code"]), response.status_code))
