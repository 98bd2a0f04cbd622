"""`@signed`: the decorator that lets proved callers, and nobody else, into a route: ours and yours."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from chalice.app import Response
from msgspec import Struct

from chalicelib.flows.call import Call, StepUpRule
from chalicelib.web.edge import Answer, Edge
from chalicelib.web.request import Nothing, Request, read_json


class Signed(Struct, frozen=True):
    """Build the decorator for a deployment."""

    edge: Edge
    call: Call

    def __call__(
        self,
        *,
        body: type[msgspec.Struct] = Nothing,
        step_up: StepUpRule | None = None,
        bound: bool = False,
        query: Iterable[str] = (),
    ) -> Callable[[Callable[..., Answer]], Callable[..., Response]]:
        """Decorate ``(caller, body, **path_parameters) -> Answer``, below ``@app.route``.

        The view runs only for a genuine token of a live login whose key signed this very request. ``body`` is the
        shape of its JSON; ``step_up`` asks the person again for exactly this operation; ``bound`` refuses bearer
        logins; ``query`` names the query parameters, which are covered by the signature and handed on as a third
        argument, a dict, where there are any. Raise a ``core.errors.Refusal`` to say no.
        """
        names = frozenset(query)
        if step_up and names:
            raise ValueError("a grant covers method, path and body: a route with step_up takes no query")

        def decorate(view: Callable[..., Answer]) -> Callable[..., Response]:
            @functools.wraps(view)
            def checked(request: Request, **path_parameters: str) -> Answer:
                proved = self.call.prove(request.message, bound=bound)
                shaped: Any = read_json(request, body)
                caller = self.call.admit(proved, step_up=step_up)
                arguments = (caller, shaped, dict(request.message.query)) if names else (caller, shaped)
                return view(*arguments, **path_parameters)

            return self.edge.view(query=names)(checked)

        return decorate
