"""`@signed`: the decorator that lets proved callers, and nobody else, into a route: ours and yours."""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from chalice.app import Response
from msgspec import Struct

from chalicelib.baton.http.body import read_json
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.routing import Answer, Message, Nothing
from chalicelib.baton.tokens.call import Call, StepUp


class Asks(Struct, frozen=True):
    """What a signed route asks for and answers: kept with its view as ``asks``, for the OpenAPI description."""

    body: type[msgspec.Struct]
    step_up: StepUp | None
    bound: bool
    query: frozenset[str]
    answers: Mapping[int, type]
    sometimes: bool = False
    """Whether ``step_up`` depends on the body."""


class Signed(Struct, frozen=True):
    """Build the decorator for a deployment."""

    dispatch: Dispatch
    call: Call

    def __call__(
        self,
        *,
        body: type[msgspec.Struct] = Nothing,
        step_up: StepUp | None = None,
        step_up_when: Callable[[Any], bool] | None = None,
        bound: bool = False,
        query: Iterable[str] = (),
        answers: Mapping[int, type] | None = None,
    ) -> Callable[[Callable[..., Answer]], Callable[..., Response]]:
        """Decorate ``(caller, body, **path_parameters) -> Answer``, below ``@app.route``.

        The view runs only for a genuine token of a live login; where the login is bound to a key, that key signed
        this very request. ``bound`` refuses the others, whose token is all they prove. ``body`` is the shape of the
        JSON. ``step_up`` asks the person again for exactly this operation; with ``step_up_when``, only where that is
        true of the body. ``query`` names the query parameters, which the signature covers and the view gets as a third
        argument, a dict, where any are named. Path parameters arrive as they were sent, percent-encoded. Raise a
        ``core.errors.Refusal`` to say no. ``answers`` tells the description (``make openapi`` writes it) the shape of
        each successful status: ``{201: Receipt}``.
        """
        names = frozenset(query)
        if step_up and names:
            raise ValueError("a grant covers method, path and body: a route with step_up takes no query")

        def decorate(view: Callable[..., Answer]) -> Callable[..., Response]:
            @functools.wraps(view)
            def checked(message: Message, **path_parameters: str) -> Answer:
                proved = self.call.authenticate(message, bound=bound)
                shaped: Any = read_json(message, body)
                asked = step_up if step_up_when is None or step_up_when(shaped) else None
                caller = self.call.authorize(proved, step_up=asked)
                arguments = (caller, shaped, dict(message.query)) if names else (caller, shaped)
                return view(*arguments, **path_parameters)

            vars(checked)["asks"] = Asks(body, step_up, bound, names, answers or {}, sometimes=step_up_when is not None)
            return self.dispatch.view(query=names)(checked)

        return decorate
