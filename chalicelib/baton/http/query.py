"""Query parameters: the names that a route takes, each at most once, converted to the types of a struct."""

import math
from collections.abc import Iterable
from typing import TypeVar

import msgspec
from msgspec import structs

from chalicelib.baton import errors
from chalicelib.baton.http.explain import explain
from chalicelib.baton.routing import Message, Query

Parameters = TypeVar("Parameters", bound=Query)


def refuse_query(message: Message, known: Iterable[str] = ()) -> None:
    """Refuse a query parameter that the route does not take, and one that is given twice.

    Two readers of a request may take different values of a parameter that is given twice.
    """
    given: set[str] = set()
    for name, _ in message.query:
        if name not in known:
            raise errors.UnknownParameter(parameter=name[:64])
        if name in given:
            raise errors.DuplicateField(field=name)
        given.add(name)


def read_query(message: Message, shape: type[Parameters]) -> Parameters:
    """Read the query as a struct.

    Raises ``UnknownParameter`` and ``DuplicateField``; ``Malformed`` for a missing parameter; ``WrongType`` for one
    that does not convert to the type of its field.
    """
    refuse_query(message, shape.__struct_encode_fields__)
    values = dict(message.query)
    try:
        parameters = msgspec.convert(values, type=shape, strict=False)
    except msgspec.ValidationError:
        pass  # the message may quote the request: the shape explains the error instead
    else:
        _refuse_infinite(parameters, values)
        return parameters
    raise explain(values, shape, strict=False)


def _refuse_infinite(parameters: Query, given: Iterable[str]) -> None:
    """Refuse NaN and Infinity, as in a body: no comparison with NaN holds, so a limit of the view would let it pass."""
    for field in structs.fields(parameters):
        value = getattr(parameters, field.name)
        if field.encode_name in given and isinstance(value, float) and not math.isfinite(value):
            at = f"/{field.encode_name}"
            raise errors.WrongType(pointer=at, expected="number", detail=f"`{at}` must be a finite number.")
