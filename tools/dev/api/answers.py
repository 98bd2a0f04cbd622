"""Requests to the development API, and its answers."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from msgspec import Struct

from chalicelib.baton.testing.gateway import GatewayResponse

NO_STORE: Final = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class DevRefusal(Exception):
    """A request that the development API refuses. ``members`` are added to the answer."""

    def __init__(self, status: int, code: str, detail: str, **members: object) -> None:
        """Keep the parts of the answer."""
        super().__init__(detail)
        self.status, self.code, self.detail, self.members = status, code, detail, members

    def answer(self) -> GatewayResponse:
        """Return the answer, in the form of Baton's errors."""
        told = {"title": self.code.replace("_", " ").capitalize(), "status": self.status, "detail": self.detail}
        return as_json({"code": self.code, **told, **self.members}, self.status, "application/problem+json")


class DevRequest(Struct, frozen=True):
    """A request to the development API. ``path`` has the segments after ``/_dev``."""

    method: str
    path: tuple[str, ...]
    query: str
    body: bytes
    gone: Callable[[], bool] = lambda: False
    """Whether the client has closed the connection."""

    def parameters(self, *known: str) -> dict[str, str]:
        """Return the query parameters. Raises ``DevRefusal`` for an unknown or repeated name."""
        pairs = parse_qsl(self.query, keep_blank_values=True)
        refuse_unknown("parameter", [name for name, _ in pairs], known)
        if len(dict(pairs)) < len(pairs):
            raise DevRefusal(400, "malformed", "A query parameter is repeated.")
        return dict(pairs)

    def members(self, *known: str) -> dict[str, Any]:
        """Return the members of the body. Raises ``DevRefusal`` for an unknown member, or if the body is no object."""
        members = self.any_members(*known)
        refuse_unknown("member", list(members), known)
        return members

    def any_members(self, *known: str) -> dict[str, Any]:
        """Return all members of the body. Raises ``DevRefusal`` if the body is not a JSON object.

        ``known``: the names of the members that the route takes. If the body is JSON but not an object, the error lists
        these names. The result can also have members that are not in ``known``.
        """
        try:
            members = json.loads(self.body or b"{}")
        except ValueError:
            raise DevRefusal(400, "malformed", "The body is not JSON.") from None
        if not isinstance(members, dict):
            raise DevRefusal(400, "malformed", "The body must be a JSON object.", known=list(known))
        return members


Answered = TypeVar("Answered")


def routed(routes: Mapping[str, Callable[[DevRequest], Answered]], request: DevRequest) -> Answered:
    """Call the route that matches a request, and return its answer. Raises ``DevRefusal`` if no route matches.

    The keys of ``routes`` have a method and a path, such as ``GET requests/{}``.
    """
    fitting = {name: answer for name, answer in routes.items() if _fits(name.partition(" ")[2], request.path)}
    if not fitting:
        known = sorted({f"/_dev/{name.partition(' ')[2]}" for name in routes})
        raise DevRefusal(404, "not_found", "There is no such route here.", known=known)
    for name, answer in fitting.items():
        if name.partition(" ")[0] == request.method:
            return answer(request)
    allowed = sorted(name.partition(" ")[0] for name in fitting)
    raise DevRefusal(405, "method_not_allowed", f"Use {' or '.join(allowed)}.", known=allowed)


def _fits(template: str, path: tuple[str, ...]) -> bool:
    parts = template.split("/")
    return len(parts) == len(path) and all(part in {"{}", given} for part, given in zip(parts, path, strict=True))


def refuse_unknown(kind: str, given: list[str], known: tuple[str, ...]) -> None:
    """Raise ``DevRefusal`` if a given name is not known. The error lists the known names."""
    unknown = [name for name in given if name not in known]
    if unknown:
        detail = f"Unknown {kind}: {unknown[0][:64]!r}. Known: {', '.join(known) or 'none'}."
        raise DevRefusal(400, f"unknown_{kind}", detail, known=list(known))


def integer(members: Mapping[str, Any], name: str, *, least: int, most: int, otherwise: int) -> int:
    """Return a member as a whole number. The value may be a text of digits. ``otherwise`` is the default.

    Raises ``DevRefusal`` if the value is not a whole number from ``least`` to ``most``.
    """
    value = members.get(name, otherwise)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        raise DevRefusal(400, "wrong_type", f"`{name}` must be a whole number from {least} to {most}.")
    return value


def string(members: Mapping[str, Any], name: str, *, most: int = 8192) -> str:
    """Return a member that is a text. Raises ``DevRefusal`` if it is missing, empty or too long."""
    value = members.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise DevRefusal(400, "wrong_type", f"`{name}` must be a text of 1 to {most} characters.")
    return value


def as_json(value: object, status: int = 200, media_type: str = "application/json") -> GatewayResponse:
    """Return an answer with ``value`` as its JSON body. An object that JSON cannot represent becomes its ``str``."""
    body = json.dumps(value, ensure_ascii=False, indent=1, default=str).encode()
    return GatewayResponse(status, (("Content-Type", media_type), *NO_STORE), body)


NO_CONTENT: Final = GatewayResponse(204, NO_STORE, b"")
