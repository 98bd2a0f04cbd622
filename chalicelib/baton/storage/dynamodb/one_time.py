"""Nonces, used tickets, step-up grants and rate limits, in the table ``ephemeral``.

If this table is lost, clients must retry, but no ended login becomes valid again. DynamoDB may delete expired items
days late. So the conditions check the expiry, and the key of a count contains the number of its time window.
"""

import hashlib
from base64 import urlsafe_b64encode
from typing import Final

from chalicelib.baton.effects import Again, Done, Refused
from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.lineages.assurance import assurance_number, read_assurance
from chalicelib.baton.policy import NONCE_KEPT_S, TICKET_CONSUMED_KEPT_S
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, all_of, binary, number, reading, text
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
    """``tokens.ports.OneTime`` and ``factors.ports.RateLimits`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def consume_nonce(self, keyid: str, nonce: str, *, now: int, mark: bytes) -> Done | Refused:
        """Consume a nonce of a key, once. A repetition returns ``Again`` for the same ``mark``, else ``Refused``."""
        return self._put_once(key_of("N", keyid, nonce), expires_at=now + NONCE_KEPT_S, now=now, mark=mark)

    def consume_ticket(self, ticket_id: bytes, *, expires_at: int, now: int, mark: bytes) -> Done | Refused:
        """Consume a ticket, once. A repetition returns ``Again`` for the same ``mark``, else ``Refused``."""
        key, kept_until = _ticket_key(ticket_id), expires_at + TICKET_CONSUMED_KEPT_S
        return self._put_once(key, expires_at=kept_until, now=now, mark=mark)

    def is_consumed(self, ticket_id: bytes, *, now: int) -> bool:
        """Return whether a ticket was consumed. An expired item counts as absent, because DynamoDB deletes it late."""
        item = self._database.read(self._database.tables.ephemeral, _ticket_key(ticket_id))
        if item is None:
            return False
        with reading("one-time value"):
            return int(item[EXPIRY]["N"]) > now

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
        """Store a step-up grant under the SHA-256 of its secret.

        An existing grant is never overwritten: a late repetition of this write must not renew a used grant.
        """
        grant_item: Item = {
            **key_of("G", grant),
            "lineage": text(lineage),
            "operation_digest": binary(_digest(operation.method, operation.path, operation.digest)),
            "proved_at": number(step_up.at),
            "assurance": number(assurance_number(step_up.assurance)),
            "v": number(credentials_version),
            EXPIRY: number(expires_at),
        }
        if step_up.second_factor:
            grant_item["second_factor"] = number(1)
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
        """Consume a grant, once, if it has not expired and is for this lineage, operation and credentials version.

        Otherwise the result is ``Refused``. A repetition with the same ``mark`` gets the same ``GrantUsed`` again.
        """
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
            # The mark is random and belongs to this call. If the grant has this mark, an earlier try of the call
            # consumed the grant.
            item = failed.item
            return _step_up(item) if item is not None and _consumed_by(item, mark) else Refused()

    def count(self, name: str, *, limit: int, window_s: int, now: int) -> Done | Refused:
        """Count one more in the current window of the rate limit ``name``. ``Refused``: ``limit`` is reached.

        If the answer of DynamoDB is lost, the repeated write adds one again.
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
        """Subtract one from the count of the rate limit ``name`` in the current window, never below zero.

        If the answer of DynamoDB is lost, the repeated write subtracts one again.
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
        """Store an item with a mark, if no item or an expired item is stored.

        If an unexpired item is stored, the result is ``Again`` for the same mark, and ``Refused`` for another mark.
        """
        try:
            put = _put_new(self._database.tables.ephemeral, key, expires_at=expires_at, now=now, mark=mark)
            self._database.write("put_item", **put)
        except ConditionFailed as failed:
            with reading("one-time value"):  # an item without a mark is damaged, and proves no replay
                spent_by = (failed.item or {})["spent_by"]["B"]
            return Again() if spent_by == mark else Refused()
        return Done()


def use_ticket(table: str, ticket_id: bytes, *, expires_at: int, now: int) -> dict[str, dict[str, object]]:
    """Build the write that consumes a ticket. The same transaction must also write the effect of the ticket.

    If the ticket is already consumed, the transaction fails. The caller must then read the stored effect. The
    effect shows whether an earlier try of the same call, whose answer was lost, consumed the ticket.
    """
    kept_until = expires_at + TICKET_CONSUMED_KEPT_S
    return {"Put": _put_new(table, _ticket_key(ticket_id), expires_at=kept_until, now=now, mark=ticket_id)}


def _put_new(table: str, key: Item, *, expires_at: int, now: int, mark: bytes) -> dict[str, object]:
    item: Item = {**key, "spent_by": binary(mark), EXPIRY: number(expires_at)}
    condition = expression({":now": number(now)}, condition=f"{IS_NEW} OR {IS_OVER}")
    return {"TableName": table, "Item": item, **condition}


def _ticket_key(ticket_id: bytes) -> Item:
    return key_of("X", encode_base64url(ticket_id))


def key_of(purpose: str, *parts: str) -> Item:
    """Return the key of a one-time value: ``N`` (nonce), ``X`` (ticket) or ``G`` (grant), then a hash of ``parts``."""
    return {"pk": text(f"{purpose}#{urlsafe_b64encode(_digest(*parts)).rstrip(b'=').decode()}")}


def _window_key(name: str, *, window_s: int, now: int) -> Item:
    return {"pk": text(f"T#{name}#{now // window_s}")}


def _digest(*parts: str) -> bytes:
    """Return the SHA-256 of parts, each after its length. So two different lists never give the same input."""
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in parts)).digest()


def _consumed_by(item: Item | None, mark: bytes) -> bool:
    return item is not None and item.get("spent_by") == binary(mark)


def _step_up(item: Item) -> GrantUsed:
    with reading("grant"):
        return GrantUsed(
            at=int(item["proved_at"]["N"]),
            assurance=read_assurance(int(item["assurance"]["N"]))[0],
            second_factor="second_factor" in item,
        )
