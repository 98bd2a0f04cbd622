"""Compare answers with the OpenAPI description."""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.baton.fixture import description
from tests.baton.wire.conversation import PREFIX, Said, Send

Json = dict[str, Any]


def closed(schemas: Mapping[str, Json]) -> Json:
    """Forbid unknown members in the schemas of answers.

    An app must ignore new members, but these tests must find them.
    """
    return {
        name: {**schema, "additionalProperties": False}
        if schema.get("properties") and not name.endswith("Problem")
        else schema
        for name, schema in schemas.items()
    }


@dataclass
class Contract:
    """Compares answers with a description, and records the operations, statuses and codes that occurred."""

    document: Json = field(default_factory=description)
    seen: set[tuple[str, str, int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Compile the paths and the schemas."""
        components = {"schemas": closed(self.document["components"]["schemas"])}
        self._validators = {
            name: Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components})
            for name in components["schemas"]
        }
        # A fixed segment has priority over a parameter.
        self._paths = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))), template)
            for template in sorted(self.document["paths"], key=lambda template: template.count("{"))
        ]

    def fresh(self) -> "Contract":
        """Return the same compiled description, without the answers that occurred."""
        fresh = copy.copy(self)
        fresh.seen = set()
        return fresh

    def judged(self, send: Send) -> Send:
        """Wrap ``send``, and fail for an answer that does not match the description."""

        def carry(method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Said:
            said = send(method, target, headers, body)
            complaint = self.complaint(method, target, said)
            assert not complaint, (complaint, method, target, headers, body[:500], said)
            return said

        return carry

    def operation(self, method: str, target: str) -> tuple[str, Json] | None:
        """Find the operation of a request, with the template of its path."""
        if not target.startswith(f"{PREFIX}/") or not method.isupper():
            return None
        path = target.partition("#")[0].partition("?")[0].removeprefix(PREFIX)
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and method.lower() in self.document["paths"][template]:
                return template, self.document["paths"][template][method.lower()]
        return None

    def complaint(self, method: str, target: str, said: Said) -> str:
        """Return the problem of an answer. It is empty if the answer matches, or if the operation is not described."""
        found = self.operation(method, target)
        if found is None:
            return ""
        template, operation = found
        if said.status == 431:  # from the gateway
            return self._judged(said, "Problem", "application/problem+json")
        # A team's own view may answer anything (`2XX`). The answers that Baton itself sends on the route of such a view
        # are described exactly.
        described = operation["responses"].get(str(said.status)) or (
            operation["responses"].get("2XX") if said.status < 300 else None
        )
        if described is None:
            return f"{said.status} is not described"
        complaint = self._headers(described, said) or self._content(described, said)
        if said.headers.get("content-type", "").startswith("text/html"):
            return complaint
        codes = described.get("x-codes")
        if not complaint and codes is not None and said.members["action"] not in codes.get(said.code, "").split(" or "):
            complaint = f"{said.status} {said.code} ({said.members['action']}) is not described"
        if not complaint:
            self.seen.add((method, template, said.status, said.code if said.status >= 400 else ""))
        return complaint

    def _headers(self, described: Json, said: Said) -> str:
        wanted = {name.lower() for name in described["headers"]}
        if missing := wanted - said.headers.keys():
            # Only 429 and 503 have Retry-After, and they always have it.
            return f"the headers {', '.join(sorted(missing))} are missing"
        return "" if "retry-after" in wanted or "retry-after" not in said.headers else "Retry-After is not described"

    def _content(self, described: Json, said: Said) -> str:
        if described.get("x-may-be-empty") and not said.body:
            return ""
        if described["description"] == "Anything.":
            return ""
        if "content" not in described:
            return "a body that is not described" if said.body else ""
        media_type = str(said.headers.get("content-type"))
        if media_type not in described["content"]:
            return f"the media type is {media_type}"
        schema = described["content"][media_type]["schema"]
        if schema == {"type": "string"}:  # a page
            return ""
        return self._judged(said, schema["$ref"].rpartition("/")[2] if "$ref" in schema else "", media_type)

    def _judged(self, said: Said, shape: str, media_type: str) -> str:
        if said.headers.get("content-type") != media_type:
            return f"the media type is {said.headers.get('content-type')}"
        try:
            value = json.loads(said.body)
        except ValueError:
            return "the body is no JSON"
        wrong = next(iter(self._validators[shape].iter_errors(value)), None) if shape else None
        return f"{shape}: {wrong.message} at {wrong.instance_path}" if wrong else ""
