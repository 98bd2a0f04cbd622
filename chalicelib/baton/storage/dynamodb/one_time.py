"""Ephemeral things: nonces, consumed tickets, step-up grants, rate-limit windows. Losing them means "try again".

Each carries ``expires`` for DynamoDB to sweep by, days late at times: so expiry is in the condition, or the window's
number in the key.
"""

import hashlib
from base64 import urlsafe_b64encode
from typing import Final

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.policy import NONCE_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB
from chalicelib.baton.storage.dynamodb.items import (
    ASSURANCES,
    Item,
    all_of,
    assurance_code,
    binary,
    expression,
    number,
    reading,
    text,
)
from chalicelib.baton.tokens.caller import GrantUsed, Operation

IS_NEW: Final = "attribute_not_exists(pk)"
IS_OVER: Final = f"{EXPIRY} <= :now"

FOR_THIS_LINEAGE: Final = "lineage = :lineage"
FOR_THIS_OPERATION: Final = "operation_digest = :operation_digest"
NOT_EXPIRED: Final = f"{EXPIRY} > :now"
NOT_CONSUMED: Final = "attribute_not_exists(spent_by)"
FOR_THIS_VERSION: Final = "v = :credentials_version"
CONSUME: Final = "SET spent_by = :mark"

BELOW_LIMIT: Final = "attribute_not_exists(taken) OR taken < :limit"
COUNT: Final = f"ADD taken :one SET {EXPIRY} = :window_end"
ABOVE_ZERO: Final = "taken > :zero"
UNCOUNT: Final = "ADD taken :minus_one"


class Ephemeral:
    """``ports.Ephemeral`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Keep the database."""
        self._database = database

    def consume_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Spend a nonce of a key, once, by putting it where none stands."""
        return self._put_once(key_of("N", keyid, nonce), expires_at=now + NONCE_KEPT_S, now=now, mark=mark)

    def consume_ticket(self, ticket_id: bytes, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Consume a ticket, once, by putting its record where none exists."""
        key, kept_until = key_of("X", encode_base64url(ticket_id)), expires_at + TICKET_CONSUMED_KEPT_S
        return self._put_once(key, expires_at=kept_until, now=now, mark=mark)

    def store_grant(
        self,
        grant: str,
        *,
        lineage: LineageId,
        operation: Operation,
        step_up: GrantUsed,
        credentials_version: int,
        expires_at: int,
    ) -> None:
        """Keep a step-up grant, under the SHA-256 of its secret.

        Never over one that stands there: a late second sending must not make a spent grant new again.
        """
        grant_item: Item = {
            **key_of("G", grant),
            "lineage": text(lineage),
            "operation_digest": binary(_digest(operation.method, operation.path, operation.digest)),
            "proved_at": number(step_up.at),
            "assurance": number(assurance_code(step_up.assurance)),
            "v": number(credentials_version),
            EXPIRY: number(expires_at),
        }
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.ephemeral,
                Item=grant_item,
                **expression({}, condition=IS_NEW),
            )
        except ConditionFailed:
            return

    def consume_grant(
        self, grant: str, *, lineage: LineageId, operation: Operation, credentials_version: int, now: int, mark: bytes
    ) -> GrantUsed | Refused:
        """Spend a grant, once, when it is unexpired and for exactly this lineage, operation and password."""
        values = {
            ":lineage": text(lineage),
            ":operation_digest": binary(_digest(operation.method, operation.path, operation.digest)),
            ":credentials_version": number(credentials_version),
            ":now": number(now),
            ":mark": binary(mark),
        }
        condition = all_of(FOR_THIS_LINEAGE, FOR_THIS_OPERATION, FOR_THIS_VERSION, NOT_EXPIRED, NOT_CONSUMED)
        try:
            return _step_up(
                self._database.write(
                    "update_item",
                    TableName=self._database.tables.ephemeral,
                    Key=key_of("G", grant),
                    ReturnValues="ALL_NEW",
                    **expression(values, condition=condition, update=CONSUME),
                )
            )
        except ConditionFailed as failed:
            # A mark is drawn for one call with these very arguments: ours on the grant means that we spent it.
            item = failed.item
            return _step_up(item) if item is not None and _consumed_by(item, mark) else Refused()

    def count(self, name: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Count one more in this window, unless the limit is reached.

        Sent twice after a lost answer it counts twice: a limiter errs on the safe side, and carries no marks.
        """
        if limit < 1:
            return Refused()
        values = {
            ":one": number(1),
            ":limit": number(limit),
            ":window_end": number((now // window_s + 1) * window_s),
        }
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_window_key(name, window_s=window_s, now=now),
                **expression(values, condition=BELOW_LIMIT, update=COUNT),
            )
        except ConditionFailed:
            return Refused()
        return Done()

    def uncount(self, name: str, *, window_s: int, now: int) -> None:
        """Take one from the count again, never below zero.

        Sent again after a lost answer it takes another one: as many as a call is sent, in a brown-out alone.
        """
        values = {":minus_one": number(-1), ":zero": number(0)}
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_window_key(name, window_s=window_s, now=now),
                **expression(values, condition=ABOVE_ZERO, update=UNCOUNT),
            )
        except ConditionFailed:
            return

    def _put_once(self, key: Item, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Put an item with a mark where none exists or the one there has expired. Our own mark is success."""
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.ephemeral,
                Item={**key, "spent_by": binary(mark), EXPIRY: number(expires_at)},
                **expression({":now": number(now)}, condition=f"{IS_NEW} OR {IS_OVER}"),
            )
        except ConditionFailed as failed:
            return Done() if _consumed_by(failed.item, mark) else Refused()
        return Done()


def key_of(purpose: str, *parts: str) -> Item:
    """Build the key of a one-time thing: ``N`` for a nonce, ``X`` a ticket, ``G`` a grant; then its SHA-256."""
    return {"pk": text(f"{purpose}#{urlsafe_b64encode(_digest(*parts)).rstrip(b'=').decode()}")}


def _window_key(name: str, *, window_s: int, now: int) -> Item:
    return {"pk": text(f"T#{name}#{now // window_s}")}


def _digest(*parts: str) -> bytes:
    """Hash parts, each preceded by its length: no two lists of parts run together into the same bytes."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in parts)).digest()


def _consumed_by(item: Item | None, mark: bytes) -> bool:
    return item is not None and item.get("spent_by") == binary(mark)


def _step_up(item: Item) -> GrantUsed:
    with reading("grant"):
        return GrantUsed(at=int(item["proved_at"]["N"]), assurance=ASSURANCES[int(item["assurance"]["N"])])
