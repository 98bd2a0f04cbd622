"""The audit in DynamoDB: one item for each event, in the table ``audit``."""

from typing import Final

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.events.ports import AuditEvent, Log, StoredEvent
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.policy import AUDIT_KEPT_S
from chalicelib.baton.storage.aws.service import ConditionFailed
from chalicelib.baton.storage.dynamodb.database import EXPIRY, DynamoDB
from chalicelib.baton.storage.dynamodb.items import expression, of_account
from chalicelib.baton.storage.dynamodb.values import Item, number, reading, text

IS_NEW: Final = "attribute_not_exists(pk)"
OLDER: Final = "pk = :account AND sk < :before"
AFTER_ALL: Final = "~"
"""A sort key after all events: the sort key of an event begins with a digit."""
ERASED_AT_ONCE: Final = 25
"""The number of events in one ``BatchWriteItem``, which takes at most 25 items."""


class Audit:
    """``events.ports.Audit`` on DynamoDB."""

    def __init__(self, database: DynamoDB, log: Log) -> None:
        """Use the tables of ``database``, and ``log`` for events that could not be written."""
        self._database = database
        self._log = log

    def append(self, event: AuditEvent, *, event_id: str) -> None:
        """Write an event. The write never replaces another event. A failure is only logged."""
        try:
            self._database.write(
                "put_item",
                TableName=self._database.tables.audit,
                Item=_event_item(event, event_id),
                **expression({}, condition=IS_NEW),
            )
        except ConditionFailed:
            return  # an earlier try of this call wrote it: each event has its own random id
        except Exception as error:  # noqa: BLE001 - the audited action has already succeeded
            # The message of a defect may quote the event. So only the type of the defect is logged.
            reason = error.reason if isinstance(error, Unavailable) else type(error).__name__
            self._log.record("audit_write_failed", event=event.event, account=event.account, reason=reason)

    def newest(self, account: AccountId, *, before: str | None, limit: int, now: int) -> list[StoredEvent]:
        """Return at most ``limit`` events of an account, the newest first, strongly consistent.

        ``before`` is the key of an event: only older events are returned. ``None``: begin with the newest event.
        """
        items = self._database.query(
            self._database.tables.audit,
            OLDER,
            {":account": of_account(account)["pk"], ":before": text(before or AFTER_ALL)},
            limit=limit,
        )
        stored = [_stored_event(account, item) for item in items]
        return [one for one in stored if one.event.at + AUDIT_KEPT_S > now]

    def erase(self, account: AccountId) -> None:
        """Delete every event of an account, a page at a time."""
        table = self._database.tables.audit
        whole = {":account": of_account(account)["pk"], ":before": text(AFTER_ALL)}
        while items := self._database.query(table, OLDER, whole, limit=ERASED_AT_ONCE):
            self._database.delete_batch(table, [{"pk": item["pk"], "sk": item["sk"]} for item in items])


def _stored_event(account: AccountId, item: Item) -> StoredEvent:
    with reading("audit event"):
        event = AuditEvent(
            at=int(item["at"]["N"]),
            event=item["event"]["S"],
            account=account,
            lineage=LineageId(item["lineage"]["S"]) if "lineage" in item else None,
            details={name: value["S"] for name, value in item["details"]["M"].items()},
        )
        return StoredEvent(item["sk"]["S"], event)


def _event_item(event: AuditEvent, event_id: str) -> Item:
    item: Item = {
        **of_account(event.account),
        "sk": text(f"{event.at:010}#{event_id}"),
        "event": text(event.event),
        "at": number(event.at),
        "details": {"M": {name: text(value) for name, value in event.details.items()}},
        EXPIRY: number(event.at + AUDIT_KEPT_S),
    }
    return item if event.lineage is None else {**item, "lineage": text(event.lineage)}
