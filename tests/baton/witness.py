"""The secret scan: record the AWS calls of the function, and detect secrets of requests that are stored or logged.

It observes every test that sends a request: the event, the answer, each call of the stores, each event of the log, each
log line.
"""

import base64
import functools
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import pytest
from chalice.app import Chalice

from chalicelib.baton.events.log import Log
from chalicelib.baton.mail.outbox import PendingOrders
from chalicelib.baton.policy import ATTEMPT_CHARACTERS_MIN
from chalicelib.baton.storage.aws.service import AwsClient
from tests.baton.repository import OURS, ROOT

POLICIES = [ROOT / ".chalice" / f"policy-{stage}.json" for stage in ("dev", "prod")] if OURS else []
"""The policies of the API. In the tree of a team there are none: its policies may allow more, for its own tables.

`make upgrade-check` reports the permissions of Baton that a team's policies lack.
`tests/baton/operations/test_stages.py` checks the policies of the scheduled functions.
"""


class Use(NamedTuple):
    """An IAM action and its table. KMS has no table."""

    action: str
    table: str


FOR_TEAMS = frozenset({Use("dynamodb:ConditionCheckItem", "lineages")})
"""A permission that Baton itself does not use: a team's own transaction needs it (`liveness_condition`)."""

SECRET_CHARACTERS_MIN = ATTEMPT_CHARACTERS_MIN
"""The minimum length of a value that counts as a secret. A shorter value is an ordinary word, and may occur
anywhere."""

SECRET_FIELDS = frozenset({"authorization", "idempotency-key", "baton-grant"})
SECRET_MEMBERS = frozenset(
    {
        *("password", "new_password", "access_token", "refresh_token", "token", "grant", "secret", "d", "private_key"),
        *("auth_session", "enrolment", "mail_session", "recovery_code", "recovery_codes", "id_token", "subject_token"),
    }
)
HANDOVER_CODE = "ho."
"""The beginning of a code of a handover. Its member ``code`` has the name of the code of an error."""


_answering: ContextVar[bool] = ContextVar("answering", default=False)
_TRANSACTED = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}

_PREFIXES = {"sesv2": "ses"}
"""The prefixes of IAM actions that differ from the name of the service."""


@dataclass
class Witness:
    """The observations. ``used`` collects over the whole run, the other members over one test."""

    used: set[Use] = field(default_factory=set)
    secrets: set[str] = field(default_factory=set)
    kept: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def forget(self) -> None:
        """Clear the observations of the last test."""
        self.secrets, self.kept, self.said = set(), [], []

    def leaks(self) -> list[str]:
        """List the secrets that were stored or logged, by their first characters."""
        stored, told = "\n".join(self.kept), "\n".join(self.said)
        return [
            f"a secret was {what}: {secret[:6]}..., beside {_beside(secret, where)}"
            for secret in sorted(self.secrets)
            for what, where in (("stored", stored), ("logged", told))
            if secret in where
        ]


def uses(service: str, operation: str, request: Mapping[str, Any]) -> Iterator[Use]:
    """Yield the permissions of a call. A transaction needs those of its parts."""
    if operation == "transact_write_items":
        for write in request["TransactItems"]:
            for verb, part in write.items():
                yield Use(f"dynamodb:{_TRANSACTED[verb]}", part["TableName"].rpartition("-")[2])
        return
    if operation == "batch_write_item":
        for table in request["RequestItems"]:
            yield Use("dynamodb:BatchWriteItem", table.rpartition("-")[2])
        return
    action = "".join(word.title() for word in operation.split("_"))
    service = _PREFIXES.get(service, service)
    yield Use(f"{service}:{action}", str(request.get("TableName", "")).rpartition("-")[2])


OF_THE_TEAM = "App"
"""The beginning of the ``Sid`` of a team's own statements: docs/baton/tables.md."""


def of_baton(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the statements of a policy that belong to Baton. Those of a team are for its own resources."""
    return [one for one in policy["Statement"] if not str(one.get("Sid", "")).startswith(OF_THE_TEAM)]


def allowed(policy: Mapping[str, Any]) -> set[Use]:
    """Return the permissions that a policy gives Baton, without those of the log."""
    return {
        Use(action, resource.rpartition("-")[2] if ":dynamodb:" in resource else "")
        for statement in of_baton(policy)
        if statement["Effect"] == "Allow"
        for action in statement["Action"]
        for resource in statement["Resource"]
        if not action.startswith("logs:")
    }


def unlike(used: set[Use], policy: set[Use]) -> list[str]:
    """List the permissions that a policy lacks, and those that were never used."""
    return [f"not allowed, and used: {' '.join(use)}" for use in sorted(used - policy)] + [
        f"allowed, and never used: {' '.join(use)}" for use in sorted(policy - used)
    ]


def secrets_of(event: Mapping[str, Any], answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secrets of a request and of its answer."""
    for name, values in (event.get("multiValueHeaders") or {}).items():
        if name.lower() in SECRET_FIELDS:
            yield from (re.sub(r"^(?:bearer|basic) ", "", value.strip(' "'), flags=re.IGNORECASE) for value in values)
    for sent in (event, answer):
        for name, values in (sent.get("multiValueHeaders") or {}).items():
            if name.lower() in {"cookie", "set-cookie"}:
                yield from (found for value in values for found in re.findall(r"__Host-baton[\w-]*=([^;]+)", value))
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
            if isinstance(member, str):
                if name in SECRET_MEMBERS or member.startswith(HANDOVER_CODE):
                    yield member
            elif isinstance(member, list) and name in SECRET_MEMBERS:
                yield from (one for one in member if isinstance(one, str))
            elif isinstance(member, dict):
                yield from _secret_members(member)


def _written(value: object) -> str:
    """Format a request of the stores, with bytes as text and as base64, to find a secret in each encoding."""

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


class _LogRecorder(logging.Handler):
    """A log handler that records every line with its traceback."""

    def __init__(self, witness: Witness) -> None:
        super().__init__(0)
        self._witness = witness

    def emit(self, record: logging.LogRecord) -> None:
        self._witness.said.append(self.format(record))


@contextmanager
def watching(witness: Witness) -> Iterator[None]:
    """Let the secret scan observe everything within this context."""
    answer, call, record, work_off = Chalice.__call__, AwsClient.call, Log.record, PendingOrders.work_off

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

    @functools.wraps(work_off)
    def worked_off(pending: PendingOrders, carry_out: Callable[[str], None]) -> None:
        # In development the answer waits for the queue. In a deployment, another function with other rights does it.
        token = _answering.set(False)
        try:
            work_off(pending, carry_out)
        finally:
            _answering.reset(token)

    @functools.wraps(call)
    def called(service: AwsClient, operation: str, **request: object) -> dict[str, Any]:
        # A development server creates its key ring, and looks for accounts first. A deployed function never creates
        # one.
        if _answering.get() and operation != "scan":
            witness.used.update(uses(service._name, operation, request))
        if service._name == "dynamodb" and operation != "get_item":
            witness.kept.append(_written(request))
        return call(service, operation, **request)

    @functools.wraps(record)
    def recorded(log: Log, event: str, /, **facts: str | int) -> None:
        witness.said.append(f"{event} {facts}")
        record(log, event, **facts)

    recorder = _LogRecorder(witness)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chalice, "__call__", answered)
        patch.setattr(AwsClient, "call", called)
        patch.setattr(Log, "record", recorded)
        patch.setattr(PendingOrders, "work_off", worked_off)
        logging.getLogger().addHandler(recorder)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(recorder)


def verdict(used: Iterable[Use], *, every_test: bool) -> dict[str, list[str]]:
    """Compare the used permissions with every policy. Without every test, a permission may be unused."""
    complaints = {}
    for path in POLICIES:
        policy = allowed(json.loads(path.read_text("utf-8")))
        complaints[path.name] = unlike(set(used) | FOR_TEAMS | (set() if every_test else policy), policy)
    return complaints
