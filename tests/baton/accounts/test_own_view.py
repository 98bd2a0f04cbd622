"""The owner's own view: the activity of the account with the evidence of a reuse, and the erasure of its audit."""

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.activity import ENDED_BY, Evidence, FirstUse, SecondUse, shown
from chalicelib.baton.accounts.forget import Forget
from chalicelib.baton.events.names import EVENTS
from chalicelib.baton.events.ports import AuditEvent, StoredEvent
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.model import EndReason, Status
from chalicelib.baton.lineages.rules import attempt_digest
from chalicelib.baton.policy import ACTIVITY_PAGE, AUDIT_KEPT_S, EXPORT_EVENTS_MAX
from chalicelib.baton.tokens.refusals import TokenReused
from tests.baton.world import EMAIL, START, World


def fill(world: World, account: AccountId, count: int) -> None:
    """Write events of one second."""
    for number in range(count):
        world.stores.audit.append(AuditEvent(START - 9, "logged_in", account), event_id=f"{number:016x}")


def test_the_activity_shows_the_newest_events_first(world: World) -> None:
    """An event has the name of its device, if the account state still has this login. An end has its reason."""
    phone, tablet = world.phone(), world.phone()
    world.register(phone)
    world.clock.skip(60)
    token = world.login(tablet).access_token
    world.clock.skip(60)
    caller = world.use(phone, world.login(phone).access_token)
    world.clock.skip(60)
    world.logout(caller, everywhere=False)
    activity = world.show_activity(world.use(tablet, token), "")
    by_name = {one.event: one for one in activity.events}
    assert [one.at - START for one in activity.events] == [180, 120, 120, 60, 0]
    assert by_name.keys() == {"logged_out", "logged_in", "login_replaced", "registered"}
    ended = activity.events[0]
    assert (ended.event, ended.device_name, ended.reason, ended.details) == ("logged_out", "Ada's phone", "logout", {})
    assert (by_name["login_replaced"].reason, by_name["logged_in"].details) == ("replaced", {"client": "mobile"})


def test_a_page_has_fifty_events_and_the_place_of_the_next_page(world: World) -> None:
    """Every event is on one page. Events of the same second keep their order. The last page has no `next`."""
    phone = world.phone()
    token = world.register(phone).access_token
    caller = world.use(phone, token)
    fill(world, caller.account, 2 * ACTIVITY_PAGE - 1)
    first = world.show_activity(caller, "")
    assert len(first.events) == ACTIVITY_PAGE
    assert isinstance(first.next, str)
    second = world.show_activity(caller, first.next)
    assert (len(second.events), second.next.__class__.__name__) == (ACTIVITY_PAGE, "UnsetType")
    assert world.show_activity(caller, "0000000000.0").events == []


@pytest.mark.parametrize("before", ["x", "1800000000", "1800000000#0", "1800000000.", "1800000000.0 OR 1", "~"])
def test_a_cursor_that_no_page_returned_is_refused(world: World, before: str) -> None:
    """The refusal names the parameter."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    with pytest.raises(errors.WrongType):
        world.show_activity(caller, before)


def test_the_activity_has_no_event_of_another_account(world: World) -> None:
    """The account is that of the caller. No parameter can name another account."""
    phone, other = world.phone(), world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    world.register(other, email="eve@example.com")
    assert [one.device_id for one in world.show_activity(caller, "").events] == [caller.device_id]


@pytest.mark.parametrize("late", [False, True], ids=["its successor", "a later generation"])
def test_a_reuse_shows_both_uses_of_the_token(world: World, *, late: bool) -> None:
    """Each use has its time and attempt. The second use also has the key, the network and the user agent."""
    phone, tablet = world.phone(), world.phone()
    first = world.register(phone).access_token
    witness = world.login(tablet).access_token
    attempt, thief = world.attempt(), world.attempt()
    world.clock.skip(10)
    child = world.exchange(phone, first, attempt=attempt).access_token
    if late:
        world.clock.skip(10)
        world.exchange(phone, child)
    world.clock.skip(30)
    with pytest.raises(TokenReused):
        world.exchange(phone, first, attempt=thief)
    (reuse,) = [
        one for one in world.show_activity(world.use(tablet, witness), "").events if one.event == "token_reused"
    ]
    exchanged = FirstUse(generation=0, at=START + 10, attempt=attempt_digest(attempt).hex())
    assert reuse.evidence == Evidence(
        first=FirstUse(generation=0, attempt=exchanged.attempt) if late else exchanged,
        second=SecondUse(
            generation=0,
            at=world.clock.now,
            attempt=attempt_digest(thief).hex(),
            key="own",
            network="",
            user_agent="",
        ),
    )
    assert (reuse.reason, reuse.details, reuse.device_name) == ("reuse", {"client": "mobile"}, "Ada's phone")


def test_an_event_with_other_details_is_shown_as_it_is(world: World) -> None:
    """A row of an earlier release, or a damaged row, must not hide the other rows."""
    del world
    event = AuditEvent(START, "token_reused", AccountId("A" * 16), None, {"key": "stolen", "note": "x"})
    found = shown(StoredEvent(f"{START}#a", event), None)
    assert found.details == {"key": "stolen", "note": "x"}
    assert found.evidence.__class__.__name__ == "UnsetType"


def test_every_event_that_ends_logins_is_audited() -> None:
    """Each of these events is in the list of events, and is audited."""
    assert all(EVENTS[event].audited for event in ENDED_BY)


def test_an_export_of_many_events_is_truncated(world: World) -> None:
    """The export has the newest 5,000 events, and its member `truncated` is true."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    fill(world, caller.account, EXPORT_EVENTS_MAX - 1)
    whole = world.export(caller)
    assert (len(whole.events), whole.truncated) == (EXPORT_EVENTS_MAX, False)
    world.clock.skip(1)
    world.export(caller)
    cut = world.export(caller)
    assert (len(cut.events), cut.truncated) == (EXPORT_EVENTS_MAX, True)
    assert cut.events[0].event == "account_exported"


def test_an_export_names_the_apps_part(world: World) -> None:
    """The member `app` of the export is the result of the team's function."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    assert world.export(caller).app.__class__.__name__ == "UnsetType"
    with_app = replace(world.export, on_export=lambda: lambda account: {"orders": [account]})
    assert with_app(caller).app == {"orders": [caller.account]}


def test_a_deleted_account_leaves_one_event(world: World) -> None:
    """The event has the id and the time, and nothing else. A repetition is safe."""
    phone = world.phone()
    account = world.use(phone, world.register(phone).access_token).account
    world.register(world.phone(), email="eve@example.com")
    forget = Forget(lineage_store=world.stores.lineage_store, audit=world.stores.audit)
    with pytest.raises(errors.NotFound):
        forget(account, deleted_at=START)
    assert len(world.stores.audit.events) == 2, "the audit of a living account is not erased"
    world.set_status(EMAIL, Status.DELETED)
    for _ in range(2):
        forget(account, deleted_at=START + 5)
    left = [event for event in world.stores.audit.events if event.account == account]
    assert left == [AuditEvent(START + 5, "account_deleted", account)]
    assert len(world.stores.audit.events) == 2


def test_each_reason_that_an_event_gives_is_in_the_activity() -> None:
    """Time alone ends an idle or expired login, so no event has these reasons."""
    assert set(EndReason) - set(ENDED_BY.values()) == {EndReason.IDLE, EndReason.EXPIRED}


def test_an_old_event_is_not_shown(world: World) -> None:
    """An event is not shown after 400 days, even if the table still has it."""
    phone = world.phone()
    caller = world.use(phone, world.register(phone).access_token)
    world.clock.skip(AUDIT_KEPT_S)
    assert world.show_activity(caller, "").events == []
