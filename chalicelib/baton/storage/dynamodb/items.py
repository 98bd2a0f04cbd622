"""Items: values as DynamoDB stores them, and the account state in its one-letter names.

A stored item that cannot be read is our own trouble, never a verdict: ``errors.Unavailable``.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, TypedDict

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Assurance,
    Binding,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    NoBinding,
    SecretBinding,
    Status,
)
from chalicelib.baton.policy import LABEL_BYTES_MAX, ROLES_MAX


class Value(TypedDict, total=False):
    """One attribute value: a string, a number, bytes, a list or a map."""

    S: str
    N: str
    B: bytes
    L: "list[Value]"
    M: "dict[str, Value]"


Item = dict[str, Value]

NO_ATTEMPTS: Final = (NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT)

THUMBPRINT_BYTES: Final = 32
BY_SECRET: Final = b"h"
BY_NOTHING: Final = b"-"
"""What stands for a binding that is no key, in the place of a thumbprint."""
_BINDINGS: Final[Mapping[bytes, Binding]] = {BY_SECRET: SecretBinding(), BY_NOTHING: NoBinding()}

END_REASON_CODES: Final[Mapping[EndReason, int]] = {
    EndReason.LOGOUT: 1,
    EndReason.ENDED_BY_OWNER: 2,
    EndReason.REUSE: 3,
    EndReason.ENDED_EVERYWHERE: 4,
    EndReason.PASSWORD_CHANGED: 5,
    EndReason.REPLACED: 6,
    EndReason.IDLE: 7,
    EndReason.EXPIRED: 8,
    EndReason.ACCOUNT_DISABLED: 10,
}
_END_REASONS: Final = {code: reason for reason, code in END_REASON_CODES.items()}

ASSURANCES: Final[Mapping[int, Assurance]] = {
    1: Assurance(acr="aal1", amr=("pwd",)),
}
"""How a login can have been proved, by stored code. A new factor adds a row; a code is never used again."""
_ASSURANCE_CODES: Final = {assurance: code for code, assurance in ASSURANCES.items()}

_ROLE_CODES: Final = frozenset(range(1, ROLES_MAX + 1))

ATTRIBUTES: Final[Mapping[str, str]] = {
    "#status": "s",
    "#epoch": "e",
    "#credentials_version": "v",
    "#lineages": "L",
    "#generation": "g",
    "#attempts": "a",
    "#issued_at": "i",
    "#expires_at": "x",
    "#binding": "b",
    "#client": "c",
    "#auth_time": "t",
    "#assurance": "k",
    "#label": "n",
    "#in_use_since": "u",
    "#ended_at": "z",
    "#ended_why": "y",
    "#deleted_by": "m",
    "#roles": "r",
}
"""The stored names of state and lineage. Ended means the same on both: of the state, when its epoch was last raised."""


def text(value: str) -> Value:
    """Store a string."""
    return {"S": value}


def number(value: int) -> Value:
    """Store an integer."""
    return {"N": str(value)}


def binary(value: bytes) -> Value:
    """Store bytes."""
    return {"B": value}


def of_account(account: AccountId) -> Item:
    """Build the key of an account's item, the same in ``users`` and ``account states``."""
    return {"pk": text(f"U#{account}")}


def expression(
    values: Mapping[str, Value], names: Mapping[str, str] = ATTRIBUTES, /, *, condition: str, update: str = ""
) -> dict[str, object]:
    """Build the arguments of a conditional write; of names and values it takes those that are mentioned.

    DynamoDB refuses a request with one too many.
    """
    of_names, of_values = _mentioned(condition, update)
    request: dict[str, object] = {"ConditionExpression": condition}
    if update:
        request["UpdateExpression"] = update
    if of_names:
        request["ExpressionAttributeNames"] = {name: names[name] for name in of_names}
    if of_values:
        request["ExpressionAttributeValues"] = {value: values[value] for value in of_values}
    return request


@lru_cache(maxsize=64)
def _mentioned(condition: str, update: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find the names and the values in an expression. They are few, and written in ``stores`` alone."""
    mentioned = sorted(set(re.findall(r"[#:]\w+", f"{condition} {update}")))
    return (
        tuple(name for name in mentioned if name.startswith("#")),
        tuple(value for value in mentioned if value.startswith(":")),
    )


def all_of(*conditions: str) -> str:
    """Join named conditions, each of which must hold."""
    return " AND ".join(conditions)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn an item that is not as we wrote it into ``Unavailable``."""
    try:
        yield
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise Unavailable(f"malformed {what}: {type(error).__name__}") from None


def state_item(account_state: AccountState) -> Item:
    """Write an account state down."""
    item = of_account(account_state.account)
    item["s"] = number(account_state.status)
    item["e"] = number(account_state.epoch)
    item["v"] = number(account_state.credentials_version)
    item["L"] = {"M": {lineage.id: lineage_value(lineage) for lineage in account_state.lineages.values()}}
    if account_state.deleted_by is not None:
        item["m"] = text(account_state.deleted_by)
    if account_state.roles:
        item["r"] = roles_value(account_state.roles)
    return item | _ended_value(account_state.raised)


def state_of(item: Item) -> AccountState:
    """Read an account state."""
    with reading("account state"):
        return AccountState(
            account=AccountId(item["pk"]["S"].removeprefix("U#")),
            status=Status(int(item["s"]["N"])),
            epoch=int(item["e"]["N"]),
            credentials_version=int(item["v"]["N"]),
            lineages={LineageId(key): _lineage(LineageId(key), value["M"]) for key, value in item["L"]["M"].items()},
            raised=_ended(item),
            deleted_by=LineageId(item["m"]["S"]) if "m" in item else None,
            roles=_roles(int(item["r"]["N"])) if "r" in item else frozenset(),
        )


def lineage_of(item: Item, lineage: LineageId) -> Lineage:
    """Read one lineage of an state, and leave the others alone: an account's other devices cost an exchange nothing."""
    with reading("account state"):
        return _lineage(lineage, item["L"]["M"][lineage]["M"])


def lineage_value(lineage: Lineage) -> Value:
    """Write a lineage down, always in the same form: a condition may compare it whole.

    An ended one forgets its attempts, for nothing asks them any more: so six fit one write unit, ended or not.
    """
    if len(lineage.label.encode()) > LABEL_BYTES_MAX:
        message = f"a label is at most {LABEL_BYTES_MAX} bytes: whoever makes the lineage cuts it"
        raise ValueError(message)
    stored: Item = {
        "g": number(lineage.generation),
        "e": number(lineage.epoch),
        "i": number(lineage.issued_at),
        "x": number(lineage.expires_at),
        "b": binding_value(lineage.binding),
        "c": number(lineage.client),
        "t": number(lineage.auth_time),
        "k": number(assurance_code(lineage.assurance)),
        "n": text(lineage.label),
    }
    if lineage.ended is None:
        stored["a"] = {"L": [binary(attempt) for attempt in lineage.attempts]}
    if lineage.in_use_since is not None:
        stored["u"] = number(lineage.in_use_since)
    if lineage.last_used_day is not None:
        stored["d"] = number(lineage.last_used_day)
    return {"M": stored | _ended_value(lineage.ended)}


def binding_value(binding: Binding) -> Value:
    """Write a binding down: 32 bytes of thumbprint, or a mark of one byte."""
    match binding:
        case KeyBinding(thumbprint):
            if len(thumbprint) != THUMBPRINT_BYTES:
                message = f"a thumbprint is {THUMBPRINT_BYTES} bytes, raw (RFC 7638)"
                raise ValueError(message)
            return binary(thumbprint)
        case SecretBinding():
            return binary(BY_SECRET)
        case NoBinding():
            return binary(BY_NOTHING)


def roles_value(roles: frozenset[int]) -> Value:
    """Write roles down: one number, in which the role of code n is bit n - 1. An account without roles has none."""
    if not roles <= _ROLE_CODES:
        message = f"the code of a role is 1 to {ROLES_MAX}"
        raise ValueError(message)
    return number(sum(1 << (code - 1) for code in roles))


def assurance_code(assurance: Assurance) -> int:
    """Shorten how a login was proved to its stored code."""
    return _ASSURANCE_CODES[assurance]


def _lineage(key: LineageId, stored: Item) -> Lineage:
    ended = _ended(stored)
    first, second, third, fourth = [slot["B"] for slot in stored["a"]["L"]] if ended is None else NO_ATTEMPTS
    return Lineage(
        id=key,
        epoch=int(stored["e"]["N"]),
        generation=int(stored["g"]["N"]),
        attempts=(first, second, third, fourth),
        issued_at=int(stored["i"]["N"]),
        expires_at=int(stored["x"]["N"]),
        binding=_binding(stored["b"]["B"]),
        client=int(stored["c"]["N"]),
        auth_time=int(stored["t"]["N"]),
        assurance=ASSURANCES[int(stored["k"]["N"])],
        label=stored["n"]["S"],
        in_use_since=int(stored["u"]["N"]) if "u" in stored else None,
        last_used_day=int(stored["d"]["N"]) if "d" in stored else None,
        ended=ended,
    )


def _roles(bits: int) -> frozenset[int]:
    """Read roles. A number that is never written is malformed, none of its bits a role."""
    if not 0 < bits < 1 << ROLES_MAX:
        raise ValueError("not the roles of an account")
    return frozenset(code for code in _ROLE_CODES if bits >> (code - 1) & 1)


def _binding(stored: bytes) -> Binding:
    if len(stored) == THUMBPRINT_BYTES:
        return KeyBinding(stored)
    return _BINDINGS[stored]


def _ended_value(ended: Ended | None) -> Item:
    return {} if ended is None else {"z": number(ended.at), "y": number(END_REASON_CODES[ended.reason])}


def _ended(stored: Item) -> Ended | None:
    if "z" not in stored:
        return None
    return Ended(at=int(stored["z"]["N"]), reason=_END_REASONS[int(stored["y"]["N"])])
