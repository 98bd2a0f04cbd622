"""Register routes with Chalice. If web pages of other origins may call the API, every path answers OPTIONS."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from chalice.app import Chalice

from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.http.signed import Later, Views, check_arguments
from chalicelib.baton.routing import Route, RouteSpec
from chalicelib.baton.tokens.call import SAFE_METHODS


def register(app: Chalice, routes: Iterable[Route], views: Views) -> None:
    """Register these routes with Chalice, and make their views immediately."""
    for route in routes:
        app.route(route.path, methods=[route.method], name=route.view.__name__)(views.make(route.view, route))


def register_later(app: Chalice, listed: Iterable[str], later: Later) -> None:
    """Register each ``METHOD path`` of ``listed``. The first request to any of them makes the views of all."""
    for method, path in map(str.split, listed):
        app.route(path, methods=[method], name="later")(later.view(method, path))


def made(view: Callable[..., Any]) -> Callable[..., Any]:
    """Return the real view behind a view of ``Later``, and make it if necessary. Return any other view unchanged."""
    make: Callable[[], Callable[..., Any]] | None = vars(view).get("made")
    return view if make is None else make()


def watch(app: Chalice, dispatch: Dispatch) -> None:
    """Prepare every route of the app, whether it is registered before or after this call.

    - If Baton made the view, Chalice accepts any media type, because Baton checks the media type.
    - If web pages of other origins may call the API, each path answers ``OPTIONS``.
    """
    registered = app.routes
    app.routes = _Paths(app, dispatch)
    for path, methods in registered.items():
        for method, entry in methods.items():
            app.routes[path][method] = entry


class _Paths(defaultdict[str, dict[str, Any]]):
    """The routes of an application: path -> method -> entry."""

    def __init__(self, app: Chalice, dispatch: Dispatch) -> None:
        super().__init__()
        self._app = app
        self._dispatch = dispatch

    def __missing__(self, path: str) -> dict[str, Any]:
        methods = self[path] = _Methods(self._app, self._dispatch, path)
        return methods


class _Methods(dict[str, Any]):
    """The methods of one path."""

    def __init__(self, app: Chalice, dispatch: Dispatch, path: str) -> None:
        super().__init__()
        self._app = app
        self._dispatch = dispatch
        self._path = path

    def __setitem__(self, method: str, entry: Any) -> None:  # noqa: ANN401 - Chalice's RouteEntry
        spec: RouteSpec | None = vars(entry.view_function).get("spec")
        if "made" in vars(entry.view_function):
            entry.content_types = []
        if spec is not None:
            if spec.once and method in SAFE_METHODS:
                raise TypeError(f"{method} {self._path}: once is for methods that change something")
            check_arguments(entry.view_function, spec, frozenset(entry.view_args))
            entry.content_types = []
        super().__setitem__(method, entry)
        if (self._dispatch.origins or self._dispatch.cookie_origins) and "OPTIONS" not in self and entry.cors is None:
            preflight = self._dispatch.preflight(self)
            self._app.route(self._path, methods=["OPTIONS"], content_types=[])(preflight)
