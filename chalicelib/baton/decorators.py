"""The decorators for the routes of a team."""

from collections.abc import Mapping

from chalicelib.baton.http.signed import Decorator, Views, demanded
from chalicelib.baton.routing import Body, Once, Query, RouteSpec, StepUp


class Decorators:
    """The decorators that turn a team's functions into views that Chalice can call. ``Baton`` is a subclass."""

    _views: Views

    def signed(  # noqa: PLR0913 - what a route may require
        self,
        *,
        body: type[Body] | None = None,
        query: type[Query] | None = None,
        scope: str | None = None,
        role: str | tuple[str, ...] | None = None,
        acr: str | None = None,
        step_up: StepUp | None = None,
        bound: bool = False,
        attested: bool = False,
        once: bool | Once = False,
        answers: Mapping[int, type] | None = None,
    ) -> Decorator:
        """Decorate a view below ``@app.route``. The view runs only for a verified caller with a live login.

        The view gets the caller, then the body and the query (only if they are declared here), then the path parameters
        by name. The view returns an ``Answer`` or raises a refusal of ``errors``.

        Args:
            body: the shape of the JSON. Without it, the body must be empty or ``{}``.
            query: the query parameters. Without it, the query must be empty.
            scope: words that the client's scope must have, separated by spaces. Otherwise 403 ``insufficient_scope``.
            role: one or several roles. The login must have one of them. Otherwise 403 ``insufficient_role``.
            acr: the lowest accepted level of the login. Otherwise 401 ``insufficient_acr``.
            step_up: require that the person proved a factor again for this request. Otherwise 401 ``step_up_required``.
            bound: require a login that is bound to a key or a secret. Otherwise 401 ``signature_required``.
            attested: require evidence of a genuine app. Otherwise 403 ``attestation_required``.
            once: run the view once for each ``Idempotency-Key``. For 24 hours, a retry gets the stored answer.
            answers: the shape of the answer by status, for the OpenAPI description.

        Raises:
            TypeError: at import, if an argument is invalid or the view does not match its route. docs/baton/routes.md
                lists the mistakes.

        """
        spec = RouteSpec(
            body=body,
            query=query,
            scope=demanded("scope", scope.split() if isinstance(scope, str) else scope),
            roles=demanded("role", (role,) if isinstance(role, str) else role),
            acr=acr,
            step_up=step_up,
            bound=bound,
            attested=attested,
            once=Once() if once is True else None if once is False else once,
            answers=answers or {},
        )
        return lambda view: self._views.make(view, spec)

    def page(
        self,
        *,
        login: str,
        form: type[Body] | None = None,
        query: type[Query] | None = None,
        scope: str | None = None,
        role: str | tuple[str, ...] | None = None,
        acr: str | None = None,
    ) -> Decorator:
        """Decorate the view of a page, below ``@app.route``, as ``signed`` does.

        Without a login, a browser that opens the page gets 303 to ``login?next=...``. A GET without ``Sec-Fetch-Mode``
        gets the same answer. Any other request gets 401.

        Args:
            login: the path of your login page on this site, such as ``/login``. That page must check the parameter
                ``next`` before it uses the value.
            form: the fields of an HTML form, all ``str``. The view gets a dict of the fields that are not empty.
            query: as for ``signed``.
            scope: as for ``signed``.
            role: as for ``signed``.
            acr: as for ``signed``.

        Raises:
            TypeError: at import, as for ``signed``, or if ``login`` is not a path of this site or has a query.

        """
        from chalicelib.baton.browser.pages import is_next  # noqa: PLC0415 - cold start

        if not is_next(login) or "?" in login:
            raise TypeError(f"login is a path of this site, such as /login, without a query: {login!r}")
        spec = RouteSpec(
            form=form,
            query=query,
            scope=demanded("scope", scope.split() if isinstance(scope, str) else scope),
            roles=demanded("role", (role,) if isinstance(role, str) else role),
            acr=acr,
            login_page=login,
            answers={200: str},
        )
        return lambda view: self._views.make(view, spec)

    def public(
        self,
        *,
        body: type[Body] | None = None,
        query: type[Query] | None = None,
        answers: Mapping[int, type] | None = None,
    ) -> Decorator:
        """Decorate a view below ``@app.route``: the view runs for every caller, with or without a login.

        In place of the caller, the view gets the request as a `routing.Message`.
        """
        spec = RouteSpec(signed=False, body=body, query=query, answers=answers or {})
        return lambda view: self._views.make(view, spec)
