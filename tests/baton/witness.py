"""The witness: what the function did to AWS while it answered, and whether a secret of a request was kept or said.

It stands at the edges of the product and sees every test that sends a request: the event that goes in, the answer that
comes out, each call of the stores, each signal, each log line.
"""

import base64
import functools
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from chalice.app import Chalice

from chalicelib.baton.events.log import Log
from chalicelib.baton.policy import ATTEMPT_CHARACTERS_MIN
from chalicelib.baton.storage.aws.service import AwsClient
from tests.baton.repository import OURS, ROOT

POLICIES = [ROOT / ".chalice" / f"policy-{stage}.json" for stage in ("dev", "prod")] if OURS else []
"""A team's policies may allow more, for its own tables. `make upgrade-check` says what Baton misses in them."""
"""The policies of the API. `tests/baton/operations/test_stages.py` holds those of the scheduled functions."""


class Use(NamedTuple):
    """An action of IAM, and the table it is for; KMS has no table."""

    action: str
    table: str


FOR_TEAMS = frozenset({Use("dynamodb:ConditionCheckItem", "lineages")})
"""What Baton never does itself: a team's own transaction needs it (`liveness_condition`)."""

SECRET_CHARACTERS_MIN = ATTEMPT_CHARACTERS_MIN
"""What is shorter is a word of a test, and may stand anywhere."""

SECRET_FIELDS = frozenset({"authorization", "idempotency-key", "baton-grant"})
SECRET_MEMBERS = frozenset(
    {"password", "new_password", "access_token", "refresh_token", "token", "grant", "secret", "d", "private_key"}
)


_answering: ContextVar[bool] = ContextVar("answering", default=False)
_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}


@dataclass
class Witness:
    """What was seen: ``used`` by the whole run, the rest by one test."""

    used: set[Use] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Begin the next test."""
        self.secrets, self.kept, self.said = set(), [], []

    def leaks(self) -> list[str]:
        """Name the secrets that were kept or said, by their first characters."""
        stored, told = "\n".join(self.kept), "\n".join(self.said)
        return [
            f"a secret was {what}: {secret[:6]}..., beside {_beside(secret, where)}"
            for secret in sorted(self.secrets)
            for what, where in (("stored", stored), ("logged", told))
            if secret in where
        ]


def uses(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[Use]:
    """Name what a call needs to be allowed; a transaction needs what its parts need."""
    if operation == "transact_write_items":
        for write in request["TransactItems"]:
            for verb, part in write.items():
                yield Use(f"dynamodb:{_TRANSACTED[verb]}", part["TableName"].rpartition("-")[2])
        return
    action = "".join(word.title() for word in operation.split("_"))
    yield Use(f"{service}:{action}", str(request.get("TableName", "")).rpartition("-")[2])


OF_THE_TEAM = "App"
"""How the ``Sid`` of a team's own statements begins: docs/baton/tables.md."""


def of_baton(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the statements of a policy that are Baton's: those of a team are for what the team has beside it."""
    return [one for one in policy["Statement"] if not str(one.get("Sid", "")).startswith(OF_THE_TEAM)]


def allowed(policy: Mapping[str, Any]) -> set[Use]:
    """Read what a policy allows Baton, of DynamoDB and KMS."""
    return {
        Use(action, resource.rpartition("-")[2] if ":dynamodb:" in resource else "")
        for statement in of_baton(policy)
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
        for resource in statement["Resource"]
        if not action.startswith("logs:")
    }


def unlike(used: set[Use], policy: set[Use]) -> list[str]:
    """Say what a policy lacks, and what it allows that nothing used."""
    return [f"not allowed, and used: {' '.join(use)}" for use in sorted(used - policy)] + [
        f"allowed, and never used: {' '.join(use)}" for use in sorted(policy - used)
    ]


def secrets_of(event: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Find the secrets of a request and of its answer."""
    for name, values in (event.get("multiValueHeaders") or {}).items():
        if name.lower() in SECRET_FIELDS:
            yield from (re.sub(r"^(?:bearer|basic) ", "", value.strip(' "'), flags=re.IGNORECASE) for value in values)
    for body in (event.get("body"), answer.get("body")):
        yield from _secret_members(_parsed(body or ""))


def _parsed(body: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return dict(parse_qsl(body)) if len(body) < 1 << 16 else {}


def _secret_members(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            if isinstance(member, str) and name in SECRET_MEMBERS:
                yield member
            elif isinstance(member, dict):
                yield from _secret_members(member)


def _written(value: object) -> str:
    """Write a request of the stores out, bytes as text and in base64 too: in whichever way a secret might hide."""

    def shown(held: object) -> str:
        if isinstance(held, bytes):
            return (
                f"{held.decode('latin-1')} {base64.b64encode(held).decode()} {base64.urlsafe_b64encode(held).decode()}"
            )
        return str(held)

    return json.dumps(value, default=shown, ensure_ascii=False)


def _beside(secret: str, text: str) -> str:
    at = text.index(secret)
    return repr(text[max(0, at - 60) : at])


class _Ear(logging.Handler):
    """Hear every log line, with its traceback."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(0)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        self._witness.said.append(self.format(record))


@contextmanager
def watching(witness: Witness) -> Iterator[None]:
    """Let the witness see everything for as long as this lasts."""
    answer, call, record = Chalice.__call__, AwsClient.call, Log.record

    @functools.wraps(answer)
    def answered(app: Chalice, event: Any, context: Any) -> Any:
        token = _answering.set(True)
        try:
            given = answer(app, event, context)
        finally:
            _answering.reset(token)
        found = secrets_of(event, given)
        witness.secrets.update(secret for secret in found if len(secret) >= SECRET_CHARACTERS_MIN)
        return given

    @functools.wraps(call)
    def called(service: AwsClient, operation: str, **request: object) -> dict[str, Any]:
        # A development server makes its own ring, and looks for accounts first. A deployed function never makes one.
        if _answering.get() and operation != "scan":
            witness.used.update(uses(service._name, operation, request))
        if service._name == "dynamodb" and operation != "get_item":
            witness.kept.append(_written(request))
        return call(service, operation, **request)

    @functools.wraps(record)
    def recorded(log: Log, event: str, /, **facts: str | int) -> None:
        witness.said.append(f"{event} {facts}")
        record(log, event, **facts)

    ear = _Ear(witness)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chalice, "__call__", answered)
        patch.setattr(AwsClient, "call", called)
        patch.setattr(Log, "record", recorded)
        logging.getLogger().addHandler(ear)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(ear)


def verdict(used: Iterable[Use]) -> dict[str, list[str]]:
    """Hold what was used against every policy there is."""
    return {path.name: unlike(set(used) | FOR_TEAMS, allowed(json.loads(path.read_text("utf-8")))) for path in POLICIES}
