"""What the store ``audit`` must do (``events/ports.py``)."""

from msgspec.structs import replace

from chalicelib.baton.events.ports import AuditEvent, StoredEvent
from chalicelib.baton.policy import AUDIT_KEPT_S
from chalicelib.baton.testing.contract.under_test import Contract, StorageUnderTest
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    NEW,
    NOW,
    SOMEBODY_ELSE,
)


class AuditContract(Contract):
    """The tests of the store ``audit``: `events.ports.Audit`."""

    def fill(self, storage: StorageUnderTest, count: int) -> list[StoredEvent]:
        """Write events, two in each second, and return them, the newest first."""
        stored = [
            StoredEvent(
                f"{NOW + number // 2:010}#{number:016x}",
                AuditEvent(NOW + number // 2, "logged_in", ACCOUNT, NEW, {"number": str(number)}),
            )
            for number in range(count)
        ]
        for one in stored:
            storage.audit.append(one.event, event_id=one.key.partition("#")[2])
        return stored[::-1]

    def test_events_are_read_back_in_their_order(self, storage: StorageUnderTest) -> None:
        """Every member of an event is stored. A read returns only the events of one account."""
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

    def test_the_newest_events_are_read_a_page_at_a_time(self, storage: StorageUnderTest) -> None:
        """Each event is read once, even if two have the same second. No event of another account is read."""
        stored = self.fill(storage, 7)
        storage.audit.append(AuditEvent(NOW, "logged_in", SOMEBODY_ELSE), event_id="a")
        pages, before = [], None
        while page := storage.audit.newest(ACCOUNT, before=before, limit=3, now=NOW):
            pages.append(page)
            before = page[-1].key
        assert pages == [stored[:3], stored[3:6], stored[6:]]
        assert storage.audit.newest(ACCOUNT, before=None, limit=100, now=NOW) == stored

    def test_a_key_that_does_not_exist_is_a_place_too(self, storage: StorageUnderTest) -> None:
        """The event that a cursor names may have expired meanwhile. The next page must still be read."""
        stored = self.fill(storage, 4)
        assert storage.audit.newest(ACCOUNT, before=f"{NOW + 1:010}#", limit=9, now=NOW) == stored[2:]
        assert storage.audit.newest(ACCOUNT, before=f"{NOW:010}#", limit=9, now=NOW) == []

    def test_an_expired_event_is_not_read(self, storage: StorageUnderTest) -> None:
        """DynamoDB deletes an expired event days late, so the read must leave it out."""
        stored = self.fill(storage, 4)
        for late, read in ((AUDIT_KEPT_S - 1, stored), (AUDIT_KEPT_S, stored[:2]), (AUDIT_KEPT_S + 1, [])):
            assert storage.audit.newest(ACCOUNT, before=None, limit=9, now=NOW + late) == read

    def test_the_events_of_an_account_are_erased(self, storage: StorageUnderTest) -> None:
        """All events of one account are erased, in several batches if necessary. All other events stay."""
        self.fill(storage, 60)
        other = AuditEvent(NOW, "logged_in", SOMEBODY_ELSE)
        storage.audit.append(other, event_id="a")
        for _ in range(2):
            storage.audit.erase(ACCOUNT)
            assert storage.events(ACCOUNT) == []
        assert storage.events(SOMEBODY_ELSE) == [other]
        assert len(self.fill(storage, 2)) == len(storage.events(ACCOUNT)) == 2
