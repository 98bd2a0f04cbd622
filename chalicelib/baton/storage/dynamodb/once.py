"""Calls that run once, in the table ``ephemeral``: four conditional writes, and no read.

An item has ``pk``, ``digest``, ``started``, ``mark`` and ``expires``. After the call has ended, the item also has
``answer``. The ``mark`` identifies the request that runs the call. DynamoDB may delete expired items days late, so the
condition of ``claim`` checks the expiry.
"""

from typing import Final

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.errors import Unavailable
from chalicelib.baton.policy import ONCE_KEPT_S
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.one_time import IS_NEW, IS_OVER
from chalicelib.baton.storage.dynamodb.values import Item, all_of, binary, number, reading, text

RUN_BY_US: Final = "mark = :mark"
RUN_AS_READ: Final = "mark = :old_mark"
UNANSWERED: Final = "attribute_not_exists(answer)"
RUN_AGAIN: Final = f"SET mark = :mark, started = :now, {EXPIRY} = :expires"
STORE_ANSWER: Final = f"SET answer = :answer, {EXPIRY} = :expires"


class OnceCalls:
    """``proof.ports.OnceStore`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def claim(self, key: OnceKey, *, digest: bytes, mark: bytes, now: int) -> OnceCall:
        """Store a running call, unless an unexpired call is stored. Return the call that is stored afterwards."""
        call = OnceCall(digest, now, mark, now + ONCE_KEPT_S)
        item: Item = {
            **_key(key),
            "digest": binary(call.digest),
            "started": number(call.started),
            "mark": binary(call.mark),
            EXPIRY: number(call.expires_at),
        }
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.ephemeral,
                Item=item,
                **expression({":now": number(now)}, condition=f"{IS_NEW} OR {IS_OVER}"),
            )
        except ConditionFailed as failed:
            if failed.item is None:
                raise Unavailable("a refused claim does not show the call that is stored") from None
            return _call_of(failed.item)
        return call

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Replace the mark of a running call, if the mark is ``old_mark``.

        Return the call that is stored afterwards, or ``None`` if no call is stored.
        """
        values = {
            ":old_mark": binary(old_mark),
            ":mark": binary(mark),
            ":now": number(now),
            ":expires": number(now + ONCE_KEPT_S),
        }
        try:
            return _call_of(
                self._database.write(
                    "update_item",
                    TableName=self._database.tables.ephemeral,
                    Key=_key(key),
                    ReturnValues="ALL_NEW",
                    **expression(values, condition=all_of(RUN_AS_READ, UNANSWERED), update=RUN_AGAIN),
                )
            )
        except ConditionFailed as failed:
            return _call_of(failed.item) if failed.item is not None else None

    def store(self, key: OnceKey, *, mark: bytes, answer: bytes, now: int) -> Done | Refused:
        """Store the encrypted answer of a call, if the call has this ``mark`` and no answer.

        Otherwise the result is ``Refused``, or ``Done`` if the same answer is already stored.
        """
        values = {":mark": binary(mark), ":answer": binary(answer), ":expires": number(now + ONCE_KEPT_S)}
        try:
            self._database.write(
                "update_item",
                TableName=self._database.tables.ephemeral,
                Key=_key(key),
                **expression(values, condition=all_of(RUN_BY_US, UNANSWERED), update=STORE_ANSWER),
            )
        except ConditionFailed as failed:
            item = failed.item or {}
            # The ciphertext has a random nonce, so an equal answer was written by an earlier try of this call.
            return Done() if item.get("answer") == binary(answer) else Refused()
        return Done()

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Delete a call, if it has this ``mark`` and no answer."""
        try:
            self._database.write(
                "delete_item",
                TableName=self._database.tables.ephemeral,
                Key=_key(key),
                **expression({":mark": binary(mark)}, condition=all_of(RUN_BY_US, UNANSWERED)),
            )
        except ConditionFailed:
            return


def _key(key: OnceKey) -> Item:
    return {"pk": text(key)}


def _call_of(item: Item) -> OnceCall:
    with reading("once call"):
        return OnceCall(
            digest=item["digest"]["B"],
            started=int(item["started"]["N"]),
            mark=item["mark"]["B"],
            expires_at=int(item[EXPIRY]["N"]),
            answer=item["answer"]["B"] if "answer" in item else None,
        )
