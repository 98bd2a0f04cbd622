"""Addresses that get no mails, in DynamoDB: one item for each address, in the table ``users``."""

from typing import Final, Literal, cast

from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.mail.ports import Suppression
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression
from chalicelib.baton.storage.dynamodb.values import Item, number, reading, text

_NAMES: Final = {"#until": "until"}
# A complaint has no `until`, and a comparison with a missing attribute is false. So no bounce replaces a complaint.
FOR_A_BOUNCE: Final = "attribute_not_exists(pk) OR #until < :until"
FOR_A_COMPLAINT: Final = "attribute_not_exists(pk) OR attribute_exists(#until)"
EXISTS: Final = "attribute_exists(pk)"
IS_BOUNCE: Final = "attribute_exists(#until)"


class SuppressedAddresses:
    """``mail.ports.Suppressions`` on DynamoDB."""

    def __init__(self, database: DynamoDB) -> None:
        """Use the tables of ``database``."""
        self._database = database

    def get(self, email_index: EmailIndex) -> Suppression | None:
        """Return the suppression of an address, even if it has ended, or ``None`` if none is stored."""
        item = self._database.read(self._database.tables.users, _key(email_index))
        if item is None:
            return None
        with reading("suppression"):
            why = item["why"]["S"]
            if why not in {"bounce", "complaint"}:
                raise ValueError(why)
            return Suppression(
                why=cast("Literal['bounce', 'complaint']", why),
                at=int(item["at"]["N"]),
                until=int(item["until"]["N"]) if "until" in item else None,
            )

    def suppress(self, email_index: EmailIndex, suppression: Suppression) -> None:
        """Store a suppression. A bounce replaces only a bounce that ends earlier. A complaint replaces every bounce."""
        item = {**_key(email_index), "why": text(suppression.why), "at": number(suppression.at)}
        condition, until = FOR_A_COMPLAINT, suppression.until
        if until is not None:
            item["until"], condition = number(until), FOR_A_BOUNCE
        values = {":until": number(until or 0)}
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.users,
                Item=item,
                **expression(values, _NAMES, condition=condition),
            )
        except ConditionFailed:
            return

    def lift(self, email_index: EmailIndex, *, only_bounce: bool = False) -> Done | Refused:
        """Delete the suppression of an address. ``Refused``: nothing is deleted.

        With ``only_bounce``, the suppression of a complaint is not deleted.
        """
        condition = expression({}, _NAMES, condition=IS_BOUNCE) if only_bounce else expression({}, condition=EXISTS)
        try:
            self._database.write(
                "delete_item",
                TableName=self._database.tables.users,
                Key=_key(email_index),
                **condition,
            )
        except ConditionFailed:
            return Refused()
        return Done()


def _key(email_index: EmailIndex) -> Item:
    return {"pk": text(f"S#{email_index}")}
