"""Make the views of routes: read the input, authorize the caller, and run the view."""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import FunctionType
from typing import TYPE_CHECKING, Any

from chalice.app import Response
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.browser.refusals import DeviceProofRequired
from chalicelib.baton.http.answer import answered, rendered, response_of, with_cookies
from chalicelib.baton.http.body import read_form, read_json, read_query, refuse_query
from chalicelib.baton.http.dispatch import Dispatch, Request
from chalicelib.baton.http.once import RenderedAnswer, RunOnce
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.policy import DEMANDED_ACR_LEVELS
from chalicelib.baton.proof.refusals import IdempotencyUnsupported
from chalicelib.baton.routing import Answer, Dialect, Message, Once, Query, Route, RouteSpec, StepUp
from chalicelib.baton.tokens.call import SAFE_METHODS, Call
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import TokenResponse
from chalicelib.baton.tokens.opaque import OPAQUE_PREFIX

if TYPE_CHECKING:
    from chalicelib.baton.browser.delivery import Deliver
    from chalicelib.baton.browser.sessions import WebSessions

View = Callable[..., Answer]
Decorator = Callable[[View], Callable[..., Response]]
_VARIABLE = 0x04 | 0x08
"""The flags of ``*arguments`` and ``**arguments``, in ``co_flags`` (docs of ``inspect``)."""
_NOT_PLAIN = 0x20 | 0x80 | 0x200
"""The flags of a coroutine, a generator and an asynchronous generator, in ``co_flags``."""
_SERVER_ERROR = 500


class Nothing(Struct, forbid_unknown_fields=True):
    """The body that a signed route without a body shape accepts: none, or ``{}``."""


class Web:
    """Two objects for browser logins: one checks cookies, one puts new tokens into cookies.

    Each is built at the first request that needs it.
    """

    def __init__(self, sessions: Callable[[], "WebSessions"], deliver: Callable[[], "Deliver"]) -> None:
        """Store the functions that make the two objects. Each function is called at most once."""
        self._make_sessions = sessions
        self._make_delivery = deliver

    @cached_property
    def sessions(self) -> "WebSessions":
        """The object that checks the cookies of browser logins."""
        return self._make_sessions()

    @cached_property
    def deliver(self) -> "Deliver":
        """The object that puts the tokens of a new browser login into cookies."""
        return self._make_delivery()


class Views(Struct, frozen=True):
    """Make the functions that Chalice calls: each checks the requirements of a route, then runs its view."""

    dispatch: Dispatch
    call: Call
    once: RunOnce
    clients: Clients
    web: Web | None = None
    """The two objects for browser logins. ``None``: no client gets its tokens in cookies."""

    def make(self, view: View, spec: RouteSpec) -> Callable[..., Response]:
        """Return the function that Chalice calls for a route.

        Raises ``TypeError`` in these cases, at import (for the routes of ``Later``: at the first request):

        - The arguments of ``view`` are not those of its route.
        - ``spec`` is not valid.
        - The client registry lacks a scope or role that the route requires.
        """
        self._check(spec)
        check_arguments(view, spec)

        def run(request: Request) -> Response:
            if spec.signed:
                try:
                    return self._signed(view, spec, request)
                except (errors.InvalidToken, DeviceProofRequired) as refusal:
                    return _to_login(spec, request.message, refusal)
            if not (spec.takes_attempt or spec.repeatable):
                refuse_key(request.message)
            query = _query(request.message, spec)
            arguments = [*_body(request.message, spec), *query]
            return self._delivered(spec, request.message, view(request.message, *arguments, **request.path))

        return self.dispatch.view(run, spec, view)

    def _delivered(self, spec: RouteSpec, message: Message, answer: object) -> Response:
        """Make the response of a view that needs no login. Put the tokens of a cookie client into cookies.

        The routes of OAuth refuse the tokens of cookie clients, so their answers never have such tokens.
        """
        if (
            self.web is None
            or spec.dialect is Dialect.OAUTH
            or not isinstance(answer, Answer)
            or not isinstance(answer.body, TokenResponse)
            or not answer.body.access_token.startswith(OPAQUE_PREFIX)
        ):
            return answered(answer, shared=True)
        delivered = self.web.deliver(message, answer)
        response = answered(delivered, shared=True)
        return with_cookies(response, ()) if delivered is not answer else response

    def _signed(self, view: View, spec: RouteSpec, request: Request) -> Response:
        message = request.message
        if (
            self.web is not None
            and "authorization" not in message.fields  # if a call has both headers, only `Authorization` counts
            and "cookie" in message.fields
            and _presents_session(message)
        ):
            return self._by_cookie(view, spec, request, self.web.sessions)
        verified = self.call.authenticate(message, bound=spec.bound)
        arguments = self._arguments(spec, message)
        if spec.once:
            caller = self.call.authorize(verified, spec=spec, once=True)
            return self._once(view, spec, spec.once, request, caller, arguments)
        caller = self.call.authorize(verified, spec=spec)
        return answered(view(caller, *arguments, **request.path))

    def _by_cookie(self, view: View, spec: RouteSpec, request: Request, sessions: "WebSessions") -> Response:
        """Answer a caller whose login is in cookies. If the session id was renewed, the answer sets the new id."""
        from chalicelib.baton.browser.cookies import CLEARED  # noqa: PLC0415 - cold start

        call = sessions.authenticate(request.message, bound=spec.bound)
        arguments = self._arguments(spec, request.message)
        session = sessions.go_on(call)
        try:
            caller = self.call.authorize(call, spec=spec, once=spec.once is not None, live=session.active)
            caller.csrf_token = sessions.csrf_token(call)
            if spec.once:
                response = self._once(view, spec, spec.once, request, caller, arguments)
            else:
                response = answered(view(caller, *arguments, **request.path))
        except errors.Refusal as refusal:
            if isinstance(refusal, errors.LoginRequired):
                refusal.cookies = CLEARED
            elif refusal.status < _SERVER_ERROR:  # after a server error, the browser sends the same cookies again
                refusal.cookies = (*refusal.cookies, *session.cookies)
            raise
        if spec.session == "ended":
            return with_cookies(response, CLEARED)
        if spec.session == "renewed":
            response.headers.update(sessions.offer(session, call.proved.client))
        if spec.session == "replaced":
            return with_cookies(response, sessions.replaced(session, call))
        if spec.session == "renewed" or caller.stepped_up is not None:
            anew = session.cookies or sessions.cookies(session.active.lineage, call, remember=False)
            return with_cookies(response, anew)
        return with_cookies(response, session.cookies)

    def _arguments(self, spec: RouteSpec, message: Message) -> list[Any]:
        if not (spec.once or spec.takes_attempt):
            refuse_key(message)
        query = _query(message, spec)
        return [*_body(message, spec), *query]

    def _once(
        self, view: View, spec: RouteSpec, rule: Once, request: Request, caller: Caller, arguments: list[Any]
    ) -> Response:

        def run() -> RenderedAnswer:
            if spec.step_up:
                try:
                    caller.prove_again(spec.step_up, after_recovery=spec.after_recovery)
                except errors.Unavailable as unavailable:  # the view has not run: release the key
                    raise errors.TryAgain(unavailable.reason) from None
            # An answer that the gateway cannot carry must not be stored: each repetition would fail.
            return rendered(self.dispatch.carried(answered(view(caller, *arguments, **request.path))))

        answer = self.once.run(
            caller.account,
            request.message,
            run,
            route=request.route,
            render=lambda refusal: rendered(request.refused(refusal)),
            retry_safe=rule.retry_safe,
        )
        return response_of(answer)

    def _check(self, spec: RouteSpec) -> None:
        for name, shape, base in (("body", spec.body, Struct), ("query", spec.query, Query)):
            if shape is not None and not _is_derived(shape, base):
                raise TypeError(f"{name} must be a class that is derived from {base.__name__}")
        for name, value, accepted, example in (
            ("step_up", spec.step_up, StepUp | None, "StepUp()"),
            ("once", spec.once, Once | None, "Once()"),
            ("bound", spec.bound, bool, "True"),
            ("attested", spec.attested, bool, "True"),
        ):
            if not isinstance(value, accepted):
                raise TypeError(f"{name} has the wrong type: use a value such as {example}")
        if spec.acr is not None and spec.acr not in DEMANDED_ACR_LEVELS:
            raise TypeError(f"acr {spec.acr!r} does not exist: use one of {', '.join(DEMANDED_ACR_LEVELS)}")
        if spec.step_up and spec.query:
            raise TypeError("a grant covers method, path and body: a route with step_up takes no query")
        scopes = set[str]().union(*(client.scope for client in self.clients))
        for kind, wanted, known in (("scope", spec.scope, scopes), ("role", spec.roles, set(self.clients.roles))):
            if not wanted <= known:
                names = ", ".join(sorted(wanted - known))
                raise TypeError(f"the client registry has no {kind} {names}: add it there, or correct the route")


class Later:
    """Routes that are made at the first request to one of them, because a cold start needs none of them."""

    def __init__(self, make: Callable[[], Iterable[Route]], views: Views) -> None:
        """Store ``make``, the function that makes the routes. It is called at most once."""
        self._make = make
        self._views = views

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """The routes. The first read of this attribute makes them."""
        return tuple(self._make())

    @cached_property
    def _by_route(self) -> Mapping[tuple[str, str], Callable[..., Response]]:
        return {(route.method, route.path): self._views.make(route.view, route) for route in self.routes}

    def view(self, method: str, path: str) -> Callable[..., Response]:
        """Return the view of this method and path. The first request to any of the routes makes all their views."""

        def later(**parameters: str) -> Response:
            return self._by_route[method, path](**parameters)

        vars(later)["made"] = lambda: self._by_route[method, path]
        return later


def _presents_session(message: Message) -> bool:
    from chalicelib.baton.browser.sessions import presents_session  # noqa: PLC0415 - cold start

    return presents_session(message)


def _to_login(spec: RouteSpec, message: Message, refusal: errors.Refusal) -> Response:
    """Redirect to the login page of the route, if a browser opens the route as a page. Set the cookies of the refusal.

    A GET without ``Sec-Fetch-Mode`` is redirected too. Otherwise, or if the route has no login page, raise ``refusal``.

    When a person follows a link from another site, the browser does not renew the proof of its key. So instead of the
    login page, the browser gets a page that reloads itself. For the reload, the browser renews the proof.
    """
    if not spec.login_page or message.method not in SAFE_METHODS:
        raise refusal
    from chalicelib.baton.browser import pages  # noqa: PLC0415 - cold start

    if not pages.navigates(message):
        raise refusal
    if isinstance(refusal, DeviceProofRequired) and pages.comes_from_elsewhere(message):
        return with_cookies(answered(pages.reloading_page()), ())
    return with_cookies(answered(Answer.redirect(pages.login_url(spec.login_page, message))), refusal.cookies)


def _is_derived(shape: object, base: type) -> bool:
    return isinstance(shape, type) and issubclass(shape, base)


def demanded(name: str, words: Iterable[str] | None) -> frozenset[str]:
    """Return the scopes or roles that a route requires. The set is empty if ``words`` is ``None``.

    Raises ``TypeError`` if ``words`` is empty.
    """
    collected = frozenset(words or ())
    if words is not None and not collected:
        raise TypeError(f"{name} is empty, so it would require nothing: name one, or leave the argument out")
    return collected


def check_arguments(view: View, spec: RouteSpec, path: frozenset[str] | None = None) -> None:
    """Check that the arguments of a view are those of its route. Raises ``TypeError`` if they are not.

    For an ordinary view, this function does not import ``inspect``: the import would slow a cold start.
    """
    if not _takes(view, arguments_of(spec), path):
        from chalicelib.baton.http.arguments import check  # noqa: PLC0415 - cold start

        check(view, arguments_of(spec), path)


def arguments_of(spec: RouteSpec) -> list[str]:
    """Return the names of the arguments that a view gets by position. It gets the path parameters by name."""
    first = ["caller" if spec.signed else "message"]
    first += ["body"] if spec.body or spec.form else []
    first += ["query"] if spec.query else []
    return first


def _takes(view: View, first: list[str], path: frozenset[str] | None) -> bool:
    """Return whether a view is an ordinary function with these arguments. A view of another kind may be valid too."""
    inner: object = view
    while "__wrapped__" in getattr(inner, "__dict__", ()):
        inner = vars(inner)["__wrapped__"]
    if not isinstance(view, FunctionType) or not isinstance(inner, FunctionType):
        return False
    code = inner.__code__
    if (view.__code__.co_flags | code.co_flags) & _NOT_PLAIN or code.co_flags & _VARIABLE:
        return False
    if code.co_posonlyargcount or code.co_kwonlyargcount or "__signature__" in vars(inner):
        return False
    given = code.co_varnames[: code.co_argcount]
    named = given[len(first) :]
    required = named[: len(named) - len(inner.__defaults__ or ())]
    return len(given) >= len(first) and (
        path is None or (path.isdisjoint(given[: len(first)]) and set(required) <= path <= set(named))
    )


def refuse_key(message: Message) -> None:
    """Refuse an ``Idempotency-Key`` on a state-changing request to a route that would ignore it.

    A client that sends this header expects that a repetition is safe. If the route ignored the header, a repetition
    could pay twice. Raises ``IdempotencyUnsupported``.
    """
    if message.method not in SAFE_METHODS and "idempotency-key" in message.fields:
        raise IdempotencyUnsupported


def _query(message: Message, spec: RouteSpec) -> list[Query]:
    if spec.query:
        return [read_query(message, spec.query)]
    if not spec.any_query:
        refuse_query(message)
    return []


def _body(message: Message, spec: RouteSpec) -> list[Any]:
    if spec.form:
        return [read_form(message, spec.form.__struct_encode_fields__)]
    if spec.body:
        return [read_json(message, spec.body)]
    if spec.signed:
        read_json(message, Nothing)
    return []
