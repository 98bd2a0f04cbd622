"""Compare two OpenAPI descriptions, and find the changes that break calls of an old app.

A minor version may only add. Therefore the new description must have all parts of the old description, by three rules:

1. A request: a new member or parameter must be optional, and no limit may be narrower.
2. A response: every member of the old description must exist, and a required member must stay required.
3. Both: no path, method, status, media type, field, type or value of an enumeration may be missing.

Texts and examples may change. This module does no I/O.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Json = Mapping[str, Any]

REQUEST: Final = "request"
RESPONSE: Final = "response"
_UPPER_LIMITS: Final = ("maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties")
_LOWER_LIMITS: Final = ("minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties")
_ALTERNATIVES: Final = ("anyOf", "oneOf", "allOf")
_METHODS: Final = ("get", "put", "post", "delete", "patch", "head", "options")


def wire_changes(old: Json, new: Json) -> list[str]:
    """Return one sentence for each change from ``old`` to ``new`` that breaks calls of an old app."""
    return list(dict.fromkeys(_Comparison(old, new).changes()))


class _Comparison:
    """Two descriptions, and the pairs of schemas that were compared."""

    def __init__(self, old: Json, new: Json) -> None:
        """Store both descriptions."""
        self._old, self._new = old, new
        self._compared: set[tuple[str, str, str]] = set()

    def changes(self) -> Iterator[str]:
        """Compare the descriptions route by route. Yield a sentence for each change that breaks calls of an old app."""
        for path, item in self._old["paths"].items():
            for method in filter(item.__contains__, _METHODS):
                where = f"{method.upper()} {path}"
                operation = self._new["paths"].get(path, {}).get(method)
                if operation is None:
                    yield f"{where} was removed"
                else:
                    yield from self._operation(where, item[method], operation)

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[str]:
        if "security" in new and [one for one in old.get("security", [{}]) if one not in new["security"]]:
            yield f"{where}: a way to authenticate was removed"
        yield from self._parameters(where, old, new)
        yield from self._request(where, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old.get("responses", {}).items():
            successor = new.get("responses", {}).get(status)
            if successor is None:
                yield f"{where}: response {status} was removed"
            else:
                yield from self._response(f"{where}: response {status}", answer, successor)

    def _parameters(self, where: str, old: Json, new: Json) -> Iterator[str]:
        before, after = self._by_name(self._old, old), self._by_name(self._new, new)
        for (place, name), parameter in before.items():
            successor = after.get((place, name))
            if successor is None:
                yield f"{where}: {place} parameter {name} was removed"
                continue
            schemas = parameter.get("schema", {}), successor.get("schema", {})
            yield from self._schema(f"{where}: {place} parameter {name}", *schemas, REQUEST)
        for (place, name), parameter in after.items():
            if parameter.get("required") and not before.get((place, name), {}).get("required"):
                yield f"{where}: {place} parameter {name} is required now"

    def _by_name(self, description: Json, operation: Json) -> dict[tuple[str, str], Json]:
        resolved = [_resolved(description, one)[1] for one in operation.get("parameters", ())]
        return {(one["in"], one["name"]): one for one in resolved}

    def _request(self, where: str, old: Json | None, new: Json | None) -> Iterator[str]:
        if old is None or new is None:
            if old is not None:
                yield f"{where}: the request body was removed"
            elif new is not None and new.get("required"):
                yield f"{where}: a request body is required now"
            return
        if new.get("required") and not old.get("required"):
            yield f"{where}: a request body is required now"
        yield from self._content(f"{where}: request", old, new, REQUEST)

    def _response(self, where: str, old: Json, new: Json) -> Iterator[str]:
        for name in old.get("headers", {}):
            if name not in new.get("headers", {}):
                yield f"{where}: header {name} was removed"
        for code, action in old.get("x-codes", {}).items():
            if new.get("x-codes", {}).get(code) != action:
                yield f"{where}: code {code} with action {action} was removed"
        yield from self._content(where, old, new, RESPONSE)

    def _content(self, where: str, old: Json, new: Json, direction: str) -> Iterator[str]:
        for media_type, content in old.get("content", {}).items():
            successor = new.get("content", {}).get(media_type)
            if successor is None:
                yield f"{where}: media type {media_type} was removed"
            else:
                yield from self._schema(where, content.get("schema", {}), successor.get("schema", {}), direction)

    def _schema(self, where: str, old: Json, new: Json, direction: str) -> Iterator[str]:
        old_name, old = _resolved(self._old, old)
        new_name, new = _resolved(self._new, new)
        if old_name and new_name:
            if (old_name, new_name, direction) in self._compared:
                return
            self._compared.add((old_name, new_name, direction))
            where = f"{direction} schema {old_name}"
        yield from _values(where, old, new, direction)
        yield from self._members(where, old, new, direction)
        for key in ("items", "additionalProperties"):
            if isinstance(old.get(key), Mapping) and isinstance(new.get(key), Mapping):
                yield from self._schema(f"{where}/*", old[key], new[key], direction)
        for key in _ALTERNATIVES:
            for part in old.get(key, ()):
                partner = _partner(part, new.get(key) or [new])
                if partner is None:
                    yield f"{where}: an alternative was removed: {part.get('$ref') or part.get('type')}"
                else:
                    yield from self._schema(where, part, partner, direction)

    def _members(self, where: str, old: Json, new: Json, direction: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in before:
            if name not in after:
                yield f"{where}: member {name} was removed"
            else:
                yield from self._schema(f"{where}/{name}", before[name], after[name], direction)
        required = set(old.get("required", ())), set(new.get("required", ()))
        if direction == REQUEST:
            yield from (f"{where}: member {name} is required now" for name in sorted(required[1] - required[0]))
        else:
            yield from (
                f"{where}: member {name} may be missing now"
                for name in sorted(required[0] - required[1])
                if name in after
            )


def _values(where: str, old: Json, new: Json, direction: str) -> Iterator[str]:
    """Compare the types and values that a schema allows."""
    before, after = _types(old), _types(new)
    narrowed = before - after if direction == REQUEST else after - before
    if after and narrowed and (before or direction == REQUEST):
        yield f"{where}: the type changed from {_written(before)} to {_written(after)}"
    if missing := [value for value in _enumerated(old) if _enumerated(new) and value not in _enumerated(new)]:
        yield f"{where}: values were removed: {', '.join(map(str, missing))}"
    if direction == REQUEST:
        yield from _limits(where, old, new)


def _limits(where: str, old: Json, new: Json) -> Iterator[str]:
    """Compare the limits of a schema for a request."""
    if _enumerated(new) and not _enumerated(old):
        yield f"{where}: only some values are allowed now"
    for limit in _UPPER_LIMITS:
        if limit in new and new[limit] < old.get(limit, float("inf")):
            yield f"{where}: {limit} is {new[limit]} now"
    for limit in _LOWER_LIMITS:
        if limit in new and new[limit] > old.get(limit, float("-inf")):
            yield f"{where}: {limit} is {new[limit]} now"
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where}: the pattern changed"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{where}: unknown members are refused now"


def _types(schema: Json) -> set[str]:
    """Return the types that a schema and its alternatives have. A reference has no type."""
    types = schema.get("type", ())
    found = {types} if isinstance(types, str) else set(types)
    return found.union(*(_types(part) for key in _ALTERNATIVES for part in schema.get(key, ())))


def _written(types: set[str]) -> str:
    return " or ".join(sorted(types)) or "any"


def _enumerated(schema: Json) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _partner(part: Json, candidates: list[Json]) -> Json | None:
    """Find the alternative of the new description that corresponds to an old alternative. ``None``: there is none.

    The new alternative may refer to a component with another name.
    """
    same = [one for one in candidates if one.get("$ref") == part.get("$ref") and one.get("type") == part.get("type")]
    renamed = [one for one in candidates if "$ref" in part and "$ref" in one]
    return next(iter([*same, *renamed]), None)


def _resolved(description: Json, value: Json) -> tuple[str, Json]:
    """Follow a reference within a description. Return the name and the value of its target.

    If ``value`` is not a reference, return an empty name, and ``value``.
    """
    reference = value.get("$ref")
    if reference is None:
        return "", value
    target: Any = description
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return reference.rpartition("/")[2], target
