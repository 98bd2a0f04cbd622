"""Record: how often an alarm counts an event that one account can repeat."""

import secrets
import time

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import AccountId
from chalicelib.baton.policy import DAY_S
from tests.baton.memory import MemoryStores

PER_ACCOUNT = [event for event, kind in EVENTS.items() if kind.per_account]
ACCOUNT = AccountId("account")


def recording(stores: MemoryStores, now: int) -> Record:
    """Record into memory at this time."""
    return Record(
        clock=lambda: now,
        moment=time.time,
        entropy=secrets.token_bytes,
        ephemeral=stores.ephemeral,
        audit=stores.audit,
        log=stores.log,
    )


@pytest.mark.parametrize("event", PER_ACCOUNT)
def test_an_alarm_counts_a_repeated_event_of_an_account_once_a_day(event: str) -> None:
    """Otherwise one stranger with his own token could raise each alarm.

    Other accounts, and the next day, are counted again.
    """
    stores = MemoryStores()
    for now in (1, 2, DAY_S - 1):
        recording(stores, now)(event, account=ACCOUNT)
    recording(stores, DAY_S - 1)(event, account=AccountId("another"))
    recording(stores, DAY_S)(event, account=ACCOUNT)
    assert [facts["first_of_account"] for _, facts in stores.log.recorded] == [1, 0, 0, 1, 1]


@pytest.mark.parametrize("event", PER_ACCOUNT)
def test_a_failed_count_does_not_change_the_answer(event: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reuse is answered as a reuse, and has its audit row."""

    def fail(*_: object, **__: object) -> None:
        raise errors.Unavailable("planted")

    stores = MemoryStores()
    monkeypatch.setattr(stores.ephemeral, "count", fail)
    recording(stores, 7)(event, account=ACCOUNT)
    assert [facts["first_of_account"] for _, facts in stores.log.recorded] == [0]
    assert len(stores.audit.events) == EVENTS[event].audited


def test_other_events_are_not_counted_by_account() -> None:
    """Other events cause no additional write."""
    stores = MemoryStores()
    for event in EVENTS.keys() - set(PER_ACCOUNT):
        recording(stores, 7)(event, account=ACCOUNT)
    assert not any("first_of_account" in facts for _, facts in stores.log.recorded)
    assert not stores.tables.windows


def test_events_of_one_second_are_read_in_their_order() -> None:
    """Before the fix the ids were random, so `factor_removed` could be listed after a later `factor_added`."""
    stores = MemoryStores()
    moments = (7 + number / 1_000_000 for number in range(99))
    record = replace(recording(stores, 7), moment=lambda: next(moments))
    names = ["logged_in", "factor_added", "factor_removed"] * 10
    for name in names:
        record(name, account=ACCOUNT)
    read = stores.audit.newest(ACCOUNT, before=None, limit=99, now=7)
    assert [one.event.event for one in read] == names[::-1]
    assert len({one.key for one in read}) == len(names)
