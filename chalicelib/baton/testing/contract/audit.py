"""What the store ``audit`` must do (``events/ports.py``)."""

from msgspec.structs import replace

from chalicelib.baton.events.ports import AuditEvent
from chalicelib.baton.testing.contract.under_test import Contract, StorageUnderTest
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    NEW,
    NOW,
    SOMEBODY_ELSE,
)


class AuditContract(Contract):
    """The store ``audit``: `events.ports.Audit`."""

    def test_events_are_read_back_in_their_order(self, storage: StorageUnderTest) -> None:
        """Every member of an event is stored, by account."""
        first = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT, lineage=NEW, details={"client": "mobile"})
        later = AuditEvent(at=NOW + 1, event="password_changed", account=ACCOUNT)
        storage.audit.append(first, event_id="z")
        storage.audit.append(later, event_id="a")
        assert storage.events(ACCOUNT) == [first, later]
        assert storage.events(SOMEBODY_ELSE) == []

    def test_an_event_is_never_written_over(self, storage: StorageUnderTest) -> None:
        """The store is append only: an event does not replace a stored event with the same id and time."""
        event = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT)
        storage.audit.append(event, event_id="a")
        storage.audit.append(replace(event, event="nothing happened"), event_id="a")
        assert storage.events(ACCOUNT) == [event]

    def test_two_events_of_one_second_are_two(self, storage: StorageUnderTest) -> None:
        """Two events with the same time have different ids, so both are stored."""
        event = AuditEvent(at=NOW, event="logged_in", account=ACCOUNT)
        storage.audit.append(event, event_id="a")
        storage.audit.append(event, event_id="b")
        assert len(storage.events(ACCOUNT)) == 2
