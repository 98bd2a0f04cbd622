"""DynamoDB items: expressions, and the account state with its one-letter attribute names. No I/O."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.lineages.assurance import assurance_number, read_assurance
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    NO_RIGHTS,
    AccountState,
    Binding,
    BrowserKey,
    Ended,
    EndReason,
    KeyBinding,
    Lineage,
    NoBinding,
    Rights,
    SecretBinding,
    Status,
)
from chalicelib.baton.lineages.rules import check_attributes
from chalicelib.baton.policy import LABEL_BYTES_MAX, ROLES_MAX
from chalicelib.baton.storage.dynamodb.values import Item, Value, all_of, binary, number, reading, text

NO_ATTEMPTS: Final = (NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT)

THUMBPRINT_BYTES: Final = 32
_TIME_BYTES: Final = 4
BY_SECRET: Final = b"h"
BY_NOTHING: Final = b"-"
"""A binding without a key is stored as ``BY_SECRET`` or ``BY_NOTHING``, in place of a thumbprint."""
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
    EndReason.PASSWORD_RESET: 9,
    EndReason.ACCOUNT_DISABLED: 10,
    EndReason.CLAIMED: 11,
    EndReason.UNDONE: 12,
    EndReason.ENDED_BY_OPERATOR: 13,
    EndReason.IDENTITY_UNLINKED: 14,
}
_END_REASONS: Final = {code: reason for reason, code in END_REASON_CODES.items()}

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
    "#second_factor_required": "q",
    "#team_attributes": "A",
    "#parent_id": "p",
    "#browser_key": "w",
}
"""The stored attribute names of account state and lineage, by their names in expressions.

In an account state, ``#ended_at`` and ``#ended_why`` are time and reason of the last rise of the epoch.
"""


REQUIRED: Final = number(1)
"""The value of ``q``: an operator or an import requires a second factor at each login. Otherwise ``q`` is missing."""


def of_account(account: AccountId) -> Item:
    """Return the key of an account's item, the same in the tables ``users`` and ``lineages``."""
    return {"pk": text(f"U#{account}")}


def expression(
    values: Mapping[str, Value], names: Mapping[str, str] = ATTRIBUTES, /, *, condition: str, update: str = ""
) -> dict[str, object]:
    """Build the arguments of a conditional write, with only the names and values that the expressions use.

    The reason: DynamoDB refuses a request with an unused name or value.
    """
    of_names, of_values = _mentioned(condition, update)
    return _parts(
        condition, update, {name: names[name] for name in of_names}, {value: values[value] for value in of_values}
    )


def _parts(condition: str, update: str, names: Mapping[str, str], values: Mapping[str, Value]) -> dict[str, object]:
    request: dict[str, object] = {"ConditionExpression": condition}
    if update:
        request["UpdateExpression"] = update
    if names:
        request["ExpressionAttributeNames"] = names
    if values:
        request["ExpressionAttributeValues"] = values
    return request


@lru_cache(maxsize=64)
def _mentioned(condition: str, update: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the placeholders of names (``#n``) and of values (``:v``) that occur in the two expressions.

    A small cache is enough, because this package has few different expressions.
    """
    mentioned = sorted(set(re.findall(r"[#:]\w+", f"{condition} {update}")))
    return (
        tuple(name for name in mentioned if name.startswith("#")),
        tuple(value for value in mentioned if value.startswith(":")),
    )


def state_item(account_state: AccountState) -> Item:
    """Return the item of an account state."""
    item = of_account(account_state.account)
    item["s"] = number(account_state.status)
    item["e"] = number(account_state.epoch)
    item["v"] = number(account_state.credentials_version)
    item["L"] = {"M": {lineage.id: lineage_value(lineage) for lineage in account_state.lineages.values()}}
    if account_state.deleted_by is not None:
        item["m"] = text(account_state.deleted_by)
    if account_state.roles:
        item["r"] = roles_value(account_state.roles)
    if account_state.second_factor_required:
        item["q"] = REQUIRED
    if account_state.attributes:
        check_attributes(account_state.attributes)
        item["A"] = binary(account_state.attributes)
    return item | _ended_value(account_state.raised)


def state_of(item: Item) -> AccountState:
    """Read an account state from its item."""
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
            attributes=item["A"]["B"] if "A" in item else b"",
            second_factor_required="q" in item,
        )


def lineage_of(item: Item, lineage: LineageId) -> Lineage:
    """Read one lineage of an account state. The other lineages are not decoded, which saves time in an exchange."""
    with reading("account state"):
        return _lineage(lineage, item["L"]["M"][lineage]["M"])


def stored_rights(item: Item) -> Rights:
    """Read the rights of an account (roles and attributes) from its account state."""
    if "r" not in item and "A" not in item:
        return NO_RIGHTS
    with reading("account state"):
        roles = _roles(int(item["r"]["N"])) if "r" in item else frozenset()
        return Rights(roles, item["A"]["B"] if "A" in item else b"")


def lineage_value(lineage: Lineage) -> Value:
    """Return the stored value of a lineage. Conditions compare whole values, so equal lineages must have equal values.

    The value of an ended lineage has no attempts, because no rule reads them.
    """
    if len(lineage.label.encode()) > LABEL_BYTES_MAX:
        message = f"a label is at most {LABEL_BYTES_MAX} bytes: cut it before the lineage is made"
        raise ValueError(message)
    stored: Item = {
        "g": number(lineage.generation),
        "e": number(lineage.epoch),
        "i": number(lineage.issued_at),
        "x": number(lineage.expires_at),
        "b": binding_value(lineage.binding),
        "c": number(lineage.client),
        "t": number(lineage.auth_time),
        "k": number(assurance_number(lineage.assurance, lineage.attestation, lineage.provider)),
        "n": text(lineage.label),
    }
    if lineage.ended is None:
        stored["a"] = {"L": [binary(attempt) for attempt in lineage.attempts]}
    if lineage.in_use_since is not None:
        stored["u"] = number(lineage.in_use_since)
    if lineage.last_used_day is not None:
        stored["d"] = number(lineage.last_used_day)
    if lineage.parent is not None:
        stored["p"] = lineage_id_value(lineage.parent)
    if lineage.browser_key is not None:
        stored["w"] = browser_key_value(lineage.browser_key)
    return {"M": stored | _ended_value(lineage.ended)}


def binding_value(binding: Binding) -> Value:
    """Return the stored value of a binding: the 32 bytes of a thumbprint, or one byte for a binding without a key."""
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


def lineage_id_value(lineage: LineageId) -> Value:
    """Return the stored value of a reference to a lineage: the 12 bytes of its id."""
    return binary(decode_base64url(lineage))


def browser_key_value(key: BrowserKey) -> Value:
    """Return the stored value of a browser key: the time of the binding in four bytes, then the compressed point."""
    return binary(key.at.to_bytes(_TIME_BYTES, "big") + key.point)


def roles_value(roles: frozenset[int]) -> Value:
    """Return the value of roles: one number, in which the role with code n is bit n - 1."""
    if not roles <= _ROLE_CODES:
        raise ValueError(f"the code of a role is 1 to {ROLES_MAX}")
    return number(sum(1 << (code - 1) for code in roles))


def _lineage(key: LineageId, stored: Item) -> Lineage:
    ended = _ended(stored)
    assurance, attestation, provider = read_assurance(int(stored["k"]["N"]))
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
        assurance=assurance,
        label=stored["n"]["S"],
        in_use_since=int(stored["u"]["N"]) if "u" in stored else None,
        last_used_day=int(stored["d"]["N"]) if "d" in stored else None,
        parent=LineageId(encode_base64url(stored["p"]["B"])) if "p" in stored else None,
        browser_key=_browser_key(stored["w"]["B"]) if "w" in stored else None,
        ended=ended,
        attestation=attestation,
        provider=provider,
    )


def _roles(bits: int) -> frozenset[int]:
    """Read roles. Raises ``ValueError`` for a number that Baton never writes."""
    if not 0 < bits < 1 << ROLES_MAX:
        raise ValueError("not the roles of an account")
    return frozenset(code for code in _ROLE_CODES if bits >> (code - 1) & 1)


def _binding(stored: bytes) -> Binding:
    if len(stored) == THUMBPRINT_BYTES:
        return KeyBinding(stored)
    return _BINDINGS[stored]


def _browser_key(stored: bytes) -> BrowserKey:
    return BrowserKey(at=int.from_bytes(stored[:_TIME_BYTES], "big"), point=stored[_TIME_BYTES:])


def _ended_value(ended: Ended | None) -> Item:
    return {} if ended is None else {"z": number(ended.at), "y": number(END_REASON_CODES[ended.reason])}


def _ended(stored: Item) -> Ended | None:
    if "z" not in stored:
        return None
    return Ended(at=int(stored["z"]["N"]), reason=_END_REASONS[int(stored["y"]["N"])])


_CONSTANTS: Final[dict[str, Value]] = {
    ":active": number(Status.ACTIVE),
    ":deleted": number(Status.DELETED),
    ":disabled": number(Status.DISABLED),
    ":one": number(1),
    ":no_lineages": {"M": {}},
    ":unbound": binary(BY_NOTHING),
    ":replaced": number(END_REASON_CODES[EndReason.REPLACED]),
}


def state_update(  # noqa: PLR0913 - the parts of a write
    table: str,
    account: AccountId,
    update: str,
    conditions: tuple[str, ...],
    *,
    values: dict[str, Value],
    lineage: LineageId | None = None,
    names: dict[str, LineageId] | None = None,
) -> dict[str, object]:
    """Build a conditional update of an account state, as one write or as a part of a transaction.

    ``lineage`` is the id for the placeholder ``#lineage``. ``names`` maps other placeholders to ids of lineages.
    """
    condition = all_of(*conditions)
    of_names, of_values, given_names, given_values = _blanks(condition, update)
    given: dict[str, str] = {**(names or {}), **({"#lineage": lineage} if lineage else {})}
    parts = _parts(
        condition,
        update,
        of_names | {name: given[name] for name in given_names},
        of_values | {value: values[value] for value in given_values},
    )
    return {"TableName": table, "Key": of_account(account), **parts}


@lru_cache(maxsize=64)
def _blanks(condition: str, update: str) -> tuple[dict[str, str], dict[str, Value], tuple[str, ...], tuple[str, ...]]:
    """Map the placeholders of names and values to their contents. List the placeholders that the caller must fill."""
    of_names, of_values = _mentioned(condition, update)
    return (
        {name: ATTRIBUTES.get(name, "") for name in of_names},
        {value: _CONSTANTS.get(value, {}) for value in of_values},
        tuple(name for name in of_names if name not in ATTRIBUTES),
        tuple(value for value in of_values if value not in _CONSTANTS),
    )
