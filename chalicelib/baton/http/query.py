"""Query parameters: the names that a route takes, each at most once."""

from collections.abc import Iterable

from chalicelib.baton import errors
from chalicelib.baton.routing import Message


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
