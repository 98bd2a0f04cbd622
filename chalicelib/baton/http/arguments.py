"""Check the arguments of a view that is not an ordinary function, and describe the wrong arguments of any view."""

import inspect
from collections.abc import Callable

_NOT_PLAIN = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check(view: Callable[..., object], first: list[str], path: frozenset[str] | None) -> None:
    """Compare the arguments of a view with those of its route. Raises ``TypeError`` if they do not match.

    - ``first``: the arguments that the route passes by position. Only their number is compared.
    - ``path``: the names of the path parameters, which the route passes by name. ``None``: they are not compared.
    """
    parameters = list(inspect.signature(view).parameters.values())
    given, named = parameters[: len(first)], parameters[len(first) :]
    wanted = ", ".join([*first, *(sorted(path) if path is not None else ["path parameters by name"])])
    complaint = f"{view.__name__} must take ({wanted}): that is what its route passes"
    if any(kind(view) for kind in _NOT_PLAIN):
        raise TypeError(f"{view.__name__} must be a plain function that returns an Answer: use def, without yield")
    if len(given) < len(first) or any(one.kind not in _POSITIONAL for one in given):
        raise TypeError(complaint)
    if any(one.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL) for one in named):
        raise TypeError(complaint)
    if path is not None and not path.isdisjoint(one.name for one in given):
        raise TypeError(complaint)
    if path is None or any(one.kind is inspect.Parameter.VAR_KEYWORD for one in named):
        return
    required = {one.name for one in named if one.default is inspect.Parameter.empty}
    if not required <= path <= {one.name for one in named}:
        raise TypeError(complaint)
