"""The rule for a presented generation, and its effect on the lineage (exchange.md, E4 to E9)."""

from itertools import permutations, product
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.assurance import PASSKEY, PROVIDER, RESTORED
from chalicelib.baton.lineages.login_rules import NoRoom, has_device, last_used, removed_by_login, replaced_by_login
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Assurance,
    Ended,
    EndReason,
    Lineage,
    NoBinding,
    PresentedToken,
    SecretBinding,
    Status,
    UnfinishedLogin,
)
from chalicelib.baton.lineages.rules import (
    Active,
    Ahead,
    Current,
    Expired,
    Inactive,
    ProofOutdated,
    Retry,
    Reused,
    Superseded,
    attempt_digest,
    check_attributes,
    ended_of,
    exchange,
    expiry,
    has_role,
    judge,
    judge_access,
    may_act,
    may_go_on,
    record_use,
    slide,
    used_by,
)
from chalicelib.baton.policy import (
    ATTEMPT_CHARACTERS_MIN,
    ATTEMPT_SLOTS,
    ATTRIBUTES_BYTES_MAX,
    DAY_S,
    LINEAGE_KEPT_S,
    MECHANISMS,
    PREVIOUS_GENERATION_S,
    SLIDE_AFTER_FRACTION,
    Mechanism,
    MechanismName,
)
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ACTOR,
    ATTEMPT,
    EPOCH,
    HISTORY,
    IDLE_S,
    MINE_LIVE,
    MY_KEY,
    NEWBORN,
    NOT_BEFORE,
    NOW,
    OTHER,
    OTHER_ATTEMPT,
    OTHER_KEY,
    OTHER_LIVE,
    VERSION,
    presented,
    state_with,
)

pytestmark = pytest.mark.guarantee(1, 2, 3, 7)


def verdict(
    lineage: Lineage, token: PresentedToken, *, account_state: AccountState | None = None, now: int = NOW
) -> object:
    """Judge a token of a lineage. By default the account state has only this lineage."""
    return judge(account_state or state_with(lineage), token, now=now, not_before=NOT_BEFORE, idle_s=IDLE_S)


# --- A presented generation --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "attempt", "expected"),
    [
        pytest.param(0, ATTEMPT, Current(MINE_LIVE), id="E5 current"),
        pytest.param(0, HISTORY[3], Current(MINE_LIVE), id="E5 current, with any attempt"),
        pytest.param(1, HISTORY[2], Retry(MINE_LIVE), id="E6 one generation before, its attempt"),
        pytest.param(2, HISTORY[1], Superseded(), id="E7 two before, its attempt"),
        pytest.param(3, HISTORY[0], Superseded(), id="E7 three before, its attempt"),
        pytest.param(4, HISTORY[3], Superseded(), id="E7 four before, its attempt"),
        pytest.param(5, HISTORY[2], Reused(MINE_LIVE), id="E8 forgotten, though the slot's attempt matches"),
        pytest.param(1, OTHER_ATTEMPT, Reused(MINE_LIVE), id="E8 one generation before, another attempt"),
        pytest.param(2, HISTORY[2], Reused(MINE_LIVE), id="E8 two before, the attempt of one before"),
        pytest.param(-1, ATTEMPT, Ahead(), id="E9 newer"),
        pytest.param(-4, HISTORY[3], Ahead(), id="E9 newer, though a slot's attempt matches"),
    ],
)
def test_the_verdict_for_a_presented_generation(behind: int, attempt: bytes, expected: object) -> None:
    """The cases are rows E5 to E9 of the table."""
    assert verdict(MINE_LIVE, presented(behind, attempt=attempt)) == expected


def by_its_whole_history(history: list[bytes], token: PresentedToken) -> type:
    """Judge with the complete history, of which only the last four attempts count."""
    current = len(history)
    if token.generation >= current:
        return Current if token.generation == current else Ahead
    remembered = token.generation >= current - ATTEMPT_SLOTS and history[token.generation] == token.attempt
    if not remembered:
        return Reused
    return Retry if token.generation == current - 1 else Superseded


@pytest.mark.parametrize("length", range(10))
def test_four_slots_give_the_verdict_of_the_complete_history(length: int) -> None:
    """Each generation is tested with each past attempt and with a new attempt, for each length of history."""
    lineage, history = NEWBORN, []
    for generation in range(length):
        history.append(attempt_digest(f"attempt of generation {generation}"))
        token = presented(lineage=lineage, attempt=history[-1])
        lineage = exchange(lineage, token, now=NOW)
    assert lineage.generation == length
    for generation, attempt in product(range(length + 3), [*history, OTHER_ATTEMPT]):
        token = replace(presented(lineage=lineage, attempt=attempt), generation=generation)
        assert type(verdict(lineage, token)) is by_its_whole_history(history, token), token


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_a_token_has_one_child_in_any_order_of_four_requests(order: tuple[int, ...]) -> None:
    """Guarantee 1: two attempts are sent twice, in any order. There is one child, and the other attempt is reuse."""
    attempts = (ATTEMPT, ATTEMPT, OTHER_ATTEMPT, OTHER_ATTEMPT)
    lineage, verdicts = MINE_LIVE, []
    for racer in order:
        token = presented(attempt=attempts[racer])
        said = verdict(lineage, token)
        if isinstance(said, Current):
            lineage = exchange(said.lineage, token, now=NOW)
        verdicts.append(type(said))
    assert lineage.generation == MINE_LIVE.generation + 1
    assert sorted(one.__name__ for one in verdicts) == ["Current", "Retry", "Reused", "Reused"]


def test_an_exchange_changes_only_generation_slot_and_iat() -> None:
    """Row E5."""
    child = exchange(MINE_LIVE, presented(), now=NOW)
    assert child == replace(
        MINE_LIVE, generation=8, issued_at=NOW, attempts=(HISTORY[0], HISTORY[1], HISTORY[2], ATTEMPT)
    )


def test_a_child_is_never_issued_before_its_parent() -> None:
    """Two server clocks can disagree: iat = max(now, iat of the presented token)."""
    token = replace(presented(), issued_at=NOW + 7)
    assert exchange(MINE_LIVE, token, now=NOW).issued_at == NOW + 7


# --- Active or ended --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account_state", "reason"),
    [
        pytest.param(state_with(OTHER_LIVE), None, id="lineage unknown"),
        pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), None, id="disabled"),
        pytest.param(state_with(MINE_LIVE, status=Status.DELETED), None, id="deleted"),
        pytest.param(state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.REUSE))), EndReason.REUSE, id="ended"),
        pytest.param(state_with(replace(MINE_LIVE, epoch=EPOCH - 1)), EndReason.ENDED_EVERYWHERE, id="older epoch"),
        pytest.param(state_with(replace(MINE_LIVE, epoch=EPOCH + 1)), EndReason.ENDED_EVERYWHERE, id="newer epoch"),
        pytest.param(
            replace(state_with(replace(MINE_LIVE, epoch=EPOCH - 1)), raised=Ended(NOW, EndReason.PASSWORD_CHANGED)),
            EndReason.PASSWORD_CHANGED,
            id="older epoch, raised by a password change",
        ),
        pytest.param(
            state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1)),
            EndReason.ENDED_EVERYWHERE,
            id="before the not-before time",
        ),
        pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW)), EndReason.EXPIRED, id="expired"),
        pytest.param(state_with(replace(MINE_LIVE, issued_at=NOW - IDLE_S - 1)), EndReason.IDLE, id="idle"),
        pytest.param(state_with(replace(MINE_LIVE, client=2)), None, id="of another client"),
        pytest.param(state_with(replace(MINE_LIVE, binding=OTHER_KEY)), None, id="bound to another key"),
        pytest.param(state_with(replace(MINE_LIVE, binding=NoBinding())), None, id="bound to nothing"),
        pytest.param(state_with(replace(MINE_LIVE, binding=SecretBinding())), None, id="bound by a secret"),
        pytest.param(state_with(replace(MINE_LIVE, auth_time=MINE_LIVE.issued_at + 1)), None, id="began later"),
    ],
)
@pytest.mark.parametrize(
    "token", [presented(), presented(1, attempt=HISTORY[2]), presented(1), presented(-1)], ids=["E5", "E6", "E8", "E9"]
)
def test_an_ended_or_different_lineage_is_inactive(
    account_state: AccountState, reason: EndReason | None, token: PresentedToken
) -> None:
    """E4 comes before the generation. An ended lineage is neither exchanged nor ended again."""
    assert verdict(MINE_LIVE, token, account_state=account_state) == Inactive(reason)


def test_an_unknown_account_is_inactive() -> None:
    """Without an account state there is no end reason."""
    assert judge(None, presented(), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S) == Inactive()


@pytest.mark.parametrize(
    "lineage",
    [
        replace(MINE_LIVE, expires_at=NOW + 1),
        replace(MINE_LIVE, issued_at=NOW - IDLE_S),
        replace(MINE_LIVE, auth_time=NOT_BEFORE),
        replace(MINE_LIVE, auth_time=MINE_LIVE.issued_at),
    ],
    ids=["expiry", "idle", "not_before", "began then"],
)
def test_the_last_second_is_valid(lineage: Lineage) -> None:
    """Each lineage ends in the next second."""
    assert verdict(lineage, presented(lineage=lineage)) == Current(lineage)


def test_the_first_end_reason_is_returned() -> None:
    """The order is the lineage's own end, the epoch, the not-before time, the expiry, the idle limit."""
    own_end, raised = Ended(NOW - 9, EndReason.REUSE), Ended(NOW - 5, EndReason.PASSWORD_CHANGED)
    over = replace(
        MINE_LIVE,
        ended=own_end,
        epoch=EPOCH - 1,
        auth_time=NOT_BEFORE - 1,
        expires_at=NOW - 3,
        issued_at=NOW - IDLE_S - 2,
    )
    account_state = replace(state_with(over), raised=raised)

    def told(lineage: Lineage) -> Ended | None:
        return ended_of(account_state, lineage, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)

    assert told(over) == own_end
    over = replace(over, ended=None)
    assert told(over) == raised
    over = replace(over, epoch=EPOCH)
    assert told(over) == Ended(NOT_BEFORE, EndReason.ENDED_EVERYWHERE)
    over = replace(over, auth_time=NOT_BEFORE)
    assert told(over) == Ended(NOW - 3, EndReason.EXPIRED)
    over = replace(over, expires_at=NOW + 1)
    assert told(over) == Ended(NOW - 2, EndReason.IDLE)
    assert told(MINE_LIVE) is None


@pytest.mark.parametrize("reason", EndReason)
def test_an_ended_lineage_stays_ended_at_any_time(reason: EndReason) -> None:
    """Guarantee 7: no clock, forward or back, makes an ended lineage active again."""
    over = replace(MINE_LIVE, ended=Ended(NOW, reason))
    for now in (0, NOW - 1, NOW, NOW + 1, 2**40):
        assert verdict(over, presented(), now=now) == Inactive(reason)


# --- Use on calls ------------------------------------------------------------------------------------------------


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(
    ("account_state", "expected"),
    [
        pytest.param(state_with(MINE_LIVE, OTHER_LIVE), MINE_LIVE, id="live"),
        pytest.param(None, Inactive(), id="no account"),
        pytest.param(state_with(OTHER_LIVE), Inactive(), id="removed"),
        pytest.param(
            state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.REPLACED))),
            Inactive(EndReason.REPLACED),
            id="ended",
        ),
        pytest.param(
            replace(state_with(MINE_LIVE), epoch=EPOCH + 1, raised=Ended(NOW, EndReason.PASSWORD_CHANGED)),
            Inactive(EndReason.PASSWORD_CHANGED),
            id="of an older epoch",
        ),
        pytest.param(
            state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE - 1)),
            Inactive(EndReason.ENDED_EVERYWHERE),
            id="from before",
        ),
        pytest.param(
            state_with(replace(MINE_LIVE, auth_time=NOT_BEFORE)),
            replace(MINE_LIVE, auth_time=NOT_BEFORE),
            id="of the not-before",
        ),
        pytest.param(state_with(replace(MINE_LIVE, expires_at=NOW)), Inactive(EndReason.EXPIRED), id="expired"),
        pytest.param(
            state_with(replace(MINE_LIVE, issued_at=NOW - IDLE_S - 1)),
            replace(MINE_LIVE, issued_at=NOW - IDLE_S - 1),
            id="idle until now: the call itself is a use",
        ),
        pytest.param(state_with(MINE_LIVE, status=Status.DISABLED), Inactive(), id="of a disabled account"),
        pytest.param(
            replace(state_with(MINE_LIVE), credentials_version=VERSION + 1), ProofOutdated(), id="another password"
        ),
        pytest.param(
            replace(
                state_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))), credentials_version=VERSION + 1
            ),
            Inactive(EndReason.LOGOUT),
            id="ended, and another password",
        ),
    ],
)
def test_a_write_on_behalf_of_a_login_requires_an_active_login(
    account_state: AccountState | None, expected: object
) -> None:
    """The credentials version must also be unchanged."""
    assert may_act(account_state, ACTOR, now=NOW) == expected


EXCHANGE: Final = MECHANISMS[MechanismName.EXCHANGE]
SESSION: Final = MECHANISMS[MechanismName.SESSION]
REFRESH: Final = MECHANISMS[MechanismName.REFRESH]


def use(
    lineage: Lineage,
    token: PresentedToken,
    *,
    expires_at: int = NOW + 1,
    now: int = NOW,
    mechanism: Mechanism = EXCHANGE,
) -> object:
    """Judge the use of a token on a call."""
    return judge_access(
        state_with(lineage), token, expires_at=expires_at, now=now, not_before=NOT_BEFORE, mechanism=mechanism
    )


@pytest.mark.parametrize(
    ("behind", "expires_at", "expected"),
    [
        pytest.param(0, NOW + 1, Active(state_with(MINE_LIVE), MINE_LIVE), id="current"),
        pytest.param(0, NOW, Expired(), id="current, expired"),
        pytest.param(1, NOW + 1, Expired(), id="one generation before, exchanged 100 seconds ago"),
        pytest.param(2, NOW + 1, Expired(), id="two before, though unexpired"),
        pytest.param(-1, NOW + 1, Ahead(), id="newer than stored"),
    ],
)
def test_the_verdict_for_a_token_on_a_call(behind: int, expires_at: int, expected: object) -> None:
    """The current token is valid until its own expiry. The attempt does not matter."""
    assert use(MINE_LIVE, presented(behind), expires_at=expires_at) == expected


@pytest.mark.guarantee(5)
@pytest.mark.parametrize(
    ("after", "expires_in", "lives"),
    [
        pytest.param(0, 1, True, id="in the second of its exchange"),
        pytest.param(PREVIOUS_GENERATION_S, 1, True, id="a call in flight"),
        pytest.param(PREVIOUS_GENERATION_S + 1, 1, False, id="later"),
        pytest.param(0, 0, False, id="expired"),
    ],
)
def test_the_previous_token_is_valid_for_a_minute_after_its_exchange(
    after: int, expires_in: int, *, lives: bool
) -> None:
    """The limit is short, because a copy of the device can repeat that exchange for the same child."""
    moved = replace(MINE_LIVE, issued_at=NOW - after)
    said = use(moved, presented(1), expires_at=NOW + expires_in)
    assert isinstance(said, Active if lives else Expired)


@pytest.mark.guarantee(7)
def test_a_current_token_with_another_iat_is_inactive() -> None:
    """A thief with a leaked signing key does not know the stored iat."""
    for issued_at in (MINE_LIVE.issued_at - 1, MINE_LIVE.issued_at + 1):
        forged = replace(presented(), issued_at=issued_at)
        assert verdict(MINE_LIVE, forged) == Inactive()
        assert use(MINE_LIVE, forged) == Inactive()
    renewed = replace(presented(), issued_at=MINE_LIVE.issued_at + 1)
    assert isinstance(use(MINE_LIVE, renewed, mechanism=REFRESH), Active)


def test_a_token_of_an_ended_lineage_is_inactive() -> None:
    """The first call after the end is refused, with the reason of the end."""
    over = replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))
    assert use(over, presented()) == Inactive(EndReason.LOGOUT)


SESSION_IN_USE: Final = replace(MINE_LIVE, generation=0, issued_at=NOW, in_use_since=NOW - 3_000)


@pytest.mark.parametrize(
    ("issued_at", "now", "mechanism", "lives"),
    [
        pytest.param(NOW - 3_000, NOW, SESSION, True, id="issued when the use began"),
        pytest.param(NOW - 3_001, NOW, SESSION, False, id="issued before a gap in use"),
        pytest.param(NOW - 3_000, NOW + SESSION.access_s - 1, SESSION, True, id="last used less than a lifetime ago"),
        pytest.param(NOW - 3_000, NOW + SESSION.access_s, SESSION, False, id="last used a lifetime ago"),
        pytest.param(NOW - 3_000, NOW, REFRESH, False, id="of a mechanism that does not slide"),
    ],
)
def test_an_expired_session_id_is_valid_while_it_is_used_without_a_gap(
    issued_at: int, now: int, mechanism: Mechanism, *, lives: bool
) -> None:
    """Only the mechanism `session` slides."""
    token = replace(presented(lineage=SESSION_IN_USE), issued_at=issued_at)
    said = use(SESSION_IN_USE, token, expires_at=issued_at + SESSION.access_s, now=now, mechanism=mechanism)
    assert isinstance(said, Active if lives else Expired)


def test_a_login_without_recorded_use_does_not_slide() -> None:
    """The token is valid until its own expiry."""
    lineage = replace(SESSION_IN_USE, in_use_since=None)
    assert use(lineage, presented(lineage=lineage), expires_at=NOW, mechanism=SESSION) == Expired()


SLIDE_AFTER_S: Final = SESSION.access_s // SLIDE_AFTER_FRACTION


@pytest.mark.parametrize(
    ("later", "renewed", "expected"),
    [
        pytest.param(SLIDE_AFTER_S - 1, False, None, id="recorded recently"),
        pytest.param(
            SLIDE_AFTER_S,
            False,
            replace(SESSION_IN_USE, issued_at=NOW + SLIDE_AFTER_S),
            id="a sixth of the lifetime later",
        ),
        pytest.param(
            SESSION.access_s - 1,
            False,
            replace(SESSION_IN_USE, issued_at=NOW + SESSION.access_s - 1),
            id="just in time",
        ),
        pytest.param(
            SESSION.access_s,
            False,
            replace(SESSION_IN_USE, issued_at=NOW + SESSION.access_s, in_use_since=NOW + SESSION.access_s),
            id="after a gap",
        ),
        pytest.param(
            1,
            True,
            replace(SESSION_IN_USE, issued_at=NOW + 1, in_use_since=NOW + 1),
            id="a renewal is always recorded and begins a new use",
        ),
        pytest.param(
            -5, True, replace(SESSION_IN_USE, in_use_since=NOW - 5), id="a clock behind moves no issue time back"
        ),
        pytest.param(-4_000, True, SESSION_IN_USE, id="a clock far behind moves no start of use back"),
    ],
)
def test_the_use_of_a_session_is_recorded(later: int, expected: Lineage | None, *, renewed: bool) -> None:
    """The use is recorded once in a sixth of the lifetime. After a gap of one lifetime, a new use begins."""
    assert slide(SESSION_IN_USE, now=NOW + later, mechanism=SESSION, renewed=renewed) == expected


@pytest.mark.parametrize(
    ("later", "renewed", "since"),
    [
        pytest.param(SLIDE_AFTER_S, False, None, id="used, never renewed: no start of use is stored"),
        pytest.param(1, True, NOW + 1, id="renewed now"),
        pytest.param(-9_000, True, MINE_LIVE.auth_time, id="renewed by a clock behind: not before the login"),
    ],
)
def test_the_first_use_of_a_session_is_recorded(later: int, since: int | None, *, renewed: bool) -> None:
    """The lineage has no start of use yet."""
    written = slide(replace(SESSION_IN_USE, in_use_since=None), now=NOW + later, mechanism=SESSION, renewed=renewed)
    assert written == replace(SESSION_IN_USE, issued_at=NOW + max(0, later), in_use_since=since)


# --- Small rules -------------------------------------------------------------------------------------------------


def test_a_token_expires_with_its_lifetime_or_its_lineage() -> None:
    """The earlier of the two counts."""
    assert expiry(NOW, replace(MINE_LIVE, expires_at=NOW + 10_000), EXCHANGE) == NOW + EXCHANGE.access_s
    assert expiry(NOW, replace(MINE_LIVE, expires_at=NOW + 10), EXCHANGE) == NOW + 10


def test_attempts_are_compared_by_eight_bytes() -> None:
    """The digest fills a slot, and never equals an empty slot."""
    digests = {attempt_digest(f"{number:0{ATTEMPT_CHARACTERS_MIN}}") for number in range(1_000)}
    assert len(digests) == 1_000
    assert {len(digest) for digest in digests} == {len(NO_ATTEMPT)}
    assert NO_ATTEMPT not in digests


def test_an_attempt_whose_digest_equals_an_empty_slot_gets_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 2^64 attempts has this digest. It must not match a generation that was never exchanged."""

    class Nothing:
        """A hash of zero bytes only."""

        def __init__(self, _value: bytes) -> None:
            """Accept any value."""

        def digest(self) -> bytes:
            """Return zeros."""
            return bytes(32)

    monkeypatch.setattr("chalicelib.baton.lineages.rules.hashlib.sha256", Nothing)
    assert attempt_digest("any") != NO_ATTEMPT
    assert len(attempt_digest("any")) == len(NO_ATTEMPT)


def place(number: int, **changes: object) -> Lineage:
    """Make a lineage with its own id."""
    return replace(MINE_LIVE, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"), **changes)


OLD: Final = NOW - LINEAGE_KEPT_S
ENDED_EARLIER: Final = place(1, ended=Ended(NOW - 900, EndReason.LOGOUT))
ENDED_LATER: Final = place(2, ended=Ended(NOW - 800, EndReason.REUSE))
EXPIRED: Final = place(3, expires_at=NOW - 5)
IDLE: Final = place(4, issued_at=NOW - IDLE_S - 1)
IDLEST: Final = place(5, issued_at=NOW - 600)
BUSIEST: Final = place(6, issued_at=NOW - 1)
IN_THEIR_ORDER: Final = (ENDED_EARLIER, ENDED_LATER, EXPIRED, IDLE, IDLEST, BUSIEST)


def removed(account_state: AccountState, *replaced: Lineage, lineages_max: int) -> tuple[Lineage, ...] | NoRoom:
    """Return the lineages that a new login removes."""
    return removed_by_login(
        account_state, replaced, now=NOW, not_before=NOT_BEFORE, idle_s_of={1: IDLE_S}, lineages_max=lineages_max
    )


@pytest.mark.parametrize("lineages_max", range(1, 14))
def test_a_login_removes_only_the_lineages_above_the_limit(lineages_max: int) -> None:
    """The order is ended, expired, least recently used. The order in the account state does not matter."""
    for account_state in (state_with(*IN_THEIR_ORDER), state_with(*reversed(IN_THEIR_ORDER))):
        assert removed(account_state, lineages_max=lineages_max) == IN_THEIR_ORDER[: max(0, 7 - lineages_max)]


def test_a_replaced_lineage_is_removed_in_the_usual_order() -> None:
    """Expired and idle lineages keep their place.

    An active lineage that this login replaces comes after the ended lineages.
    """
    assert removed(state_with(EXPIRED, IDLE), IDLE, lineages_max=2) == (EXPIRED,)
    assert removed(state_with(ENDED_LATER, IDLEST, BUSIEST), BUSIEST, lineages_max=3) == (ENDED_LATER,)
    assert removed(state_with(EXPIRED, IDLEST, BUSIEST), BUSIEST, lineages_max=3) == (BUSIEST,)


def test_only_a_mechanism_with_a_fixed_iat_records_the_day_of_use() -> None:
    """An exchange changes iat, and a session moves it."""
    assert record_use(MINE_LIVE, now=NOW, mechanism=EXCHANGE, renewed=True) is None
    used = record_use(SESSION_IN_USE, now=NOW + 60, mechanism=SESSION, renewed=True)
    assert used == slide(SESSION_IN_USE, now=NOW + 60, mechanism=SESSION, renewed=True)


def test_a_lineage_of_an_unknown_client_is_not_idle() -> None:
    """A wrong deployment must not remove the logins of a client that its registry lacks."""
    unknown = replace(BUSIEST, client=9)
    assert removed(state_with(IDLEST, unknown), lineages_max=2) == (IDLEST,)


@pytest.mark.guarantee(7)
def test_a_lineage_younger_than_a_repeatable_request_is_not_removed() -> None:
    """If it were removed, the same login request could be repeated after a logout and restore the ended token."""
    young = [place(n, auth_time=OLD + 1 + n, ended=Ended(OLD + 1 + n, EndReason.LOGOUT)) for n in range(3)]
    assert removed(state_with(*young), lineages_max=3) == NoRoom(until=NOW + 1)
    assert removed(state_with(*young), lineages_max=2) == NoRoom(until=NOW + 2)
    assert removed(state_with(*young, BUSIEST), lineages_max=4) == (BUSIEST,)
    old = replace(young[0], auth_time=OLD, ended=Ended(OLD, EndReason.LOGOUT))
    assert removed(state_with(old), lineages_max=1) == (old,)
    assert removed(state_with(old, young[1]), lineages_max=1) == NoRoom(until=NOW + 2)


@pytest.mark.guarantee(7)
def test_a_lineage_that_ended_recently_is_not_removed() -> None:
    """An unsigned login request can be repeated at any time. A repetition must not begin the ended login again."""
    just_ended = place(1, ended=Ended(NOW, EndReason.LOGOUT))
    assert removed(state_with(just_ended), lineages_max=1) == NoRoom(until=NOW + LINEAGE_KEPT_S)
    assert removed(state_with(just_ended, IDLEST), lineages_max=2) == (IDLEST,)
    by_a_clock_ahead = replace(just_ended, ended=Ended(NOW + 60, EndReason.LOGOUT))
    assert removed(state_with(by_a_clock_ahead), lineages_max=1) == NoRoom(until=NOW + LINEAGE_KEPT_S)


def test_lineages_from_before_a_password_change_are_removed_at_any_age() -> None:
    """A thief with 24 logins must not keep the owner out after the password change."""
    young = [place(n, auth_time=NOW) for n in range(3)]
    changed = replace(state_with(*young), epoch=EPOCH + 1, raised=Ended(NOW, EndReason.PASSWORD_CHANGED))
    assert removed(changed, lineages_max=3) == (young[0],)
    since = place(7, epoch=EPOCH + 1, auth_time=NOW)
    assert isinstance(removed(replace(changed, lineages={since.id: since}), lineages_max=1), NoRoom)
    everywhere = replace(changed, raised=Ended(NOW, EndReason.ENDED_EVERYWHERE))
    assert isinstance(removed(everywhere, lineages_max=3), NoRoom)


@pytest.mark.guarantee(7)
@pytest.mark.parametrize("assurance", [PASSKEY, PROVIDER, RESTORED])
def test_a_login_without_the_password_is_not_removed_by_a_password_change(assurance: Assurance) -> None:
    """Bug: its request is still valid, for example with an id_token. A repetition would begin the ended login again."""
    young = place(1, auth_time=NOW, assurance=assurance)
    changed = replace(state_with(young), epoch=EPOCH + 1, raised=Ended(NOW, EndReason.PASSWORD_CHANGED))
    assert removed(changed, lineages_max=1) == NoRoom(until=NOW + LINEAGE_KEPT_S)


def test_the_last_use_decides_and_not_a_fixed_iat() -> None:
    """For `refresh` and `long_lived` the day of the last use is stored."""
    renewing = place(1, issued_at=NOW - 900, last_used_day=NOW // DAY_S)
    assert removed(state_with(renewing, IDLEST), lineages_max=2) == (IDLEST,)
    assert last_used(renewing, now=NOW) == NOW
    yesterday = replace(renewing, issued_at=NOW - 9 * DAY_S, last_used_day=NOW // DAY_S - 1)
    assert last_used(yesterday, now=NOW) == NOW // DAY_S * DAY_S - 1
    assert last_used(replace(renewing, last_used_day=0), now=NOW) == NOW - 900


@pytest.mark.guarantee(5)
def test_a_login_replaces_the_active_lineages_of_its_key() -> None:
    """The replaced lineages have the same key and epoch.

    Expired and idle lineages are included, because clocks differ.
    """
    other = place(7, binding=OTHER_KEY)
    older = place(8, epoch=EPOCH - 1)
    account_state = state_with(*IN_THEIR_ORDER, other, older)
    assert replaced_by_login(account_state, MY_KEY, proved=None) == (EXPIRED, IDLE, IDLEST, BUSIEST)
    assert replaced_by_login(account_state, NoBinding(), proved=None) == ()


@pytest.mark.guarantee(5)
def test_a_login_with_the_last_secret_replaces_that_lineage() -> None:
    """An HMAC device has no permanent key, only the secret of its last login."""
    last = place(7, binding=SecretBinding())
    another = place(8, binding=SecretBinding())
    assert replaced_by_login(state_with(last, another), SecretBinding(), proved=last.id) == (last,)
    assert replaced_by_login(state_with(last, another), SecretBinding(), proved=None) == ()


def test_an_unfinished_login_goes_on_while_its_account_is_as_it_was() -> None:
    """The account is active, and neither its epoch nor its credentials version has moved."""
    state = state_with(MINE_LIVE)
    login = UnfinishedLogin(ACCOUNT, state.epoch, state.credentials_version)
    assert may_go_on(state, login)
    assert not may_go_on(None, login)
    assert not may_go_on(replace(state, status=Status.DISABLED), login)
    for moved in (-1, 1):
        assert not may_go_on(replace(state, epoch=state.epoch + moved), login)
        assert not may_go_on(replace(state, credentials_version=state.credentials_version + moved), login)


def test_attributes_have_a_limit() -> None:
    """The limit itself is allowed."""
    check_attributes(bytes(ATTRIBUTES_BYTES_MAX))
    with pytest.raises(ValueError, match="33 are given"):
        check_attributes(bytes(ATTRIBUTES_BYTES_MAX + 1))


def test_a_device_is_known_by_its_key_or_by_the_login_of_its_secret() -> None:
    """Nothing else identifies a device. After a login on an unknown device, the owner gets a notice."""
    mine, other = replace(MINE_LIVE, binding=MY_KEY), replace(OTHER_LIVE, binding=OTHER_KEY)
    assert has_device(state_with(mine, other), MY_KEY, proved=None)
    assert not has_device(state_with(other), MY_KEY, proved=None)
    by_secret = replace(MINE_LIVE, binding=SecretBinding())
    assert has_device(state_with(by_secret), SecretBinding(), proved=by_secret.id)
    assert not has_device(state_with(by_secret), SecretBinding(), proved=None)
    assert not has_device(state_with(replace(MINE_LIVE, binding=NoBinding())), NoBinding(), proved=None)


def test_a_login_at_the_limit_removes_the_replaced_lineage_before_an_active_one() -> None:
    """The new login ends the replaced lineage, so it counts as ended."""
    mine = place(7, issued_at=NOW)
    assert removed(state_with(IDLEST, mine), mine, lineages_max=2) == (mine,)
    assert removed(state_with(ENDED_LATER, mine), mine, lineages_max=2) == (ENDED_LATER,)


@pytest.mark.parametrize(
    ("name", "renewed", "written"),
    [
        (MechanismName.REFRESH, True, True),
        (MechanismName.REFRESH, False, False),
        (MechanismName.LONG_LIVED, False, True),
        (MechanismName.EXCHANGE, False, False),
        (MechanismName.ROTATING_REFRESH, False, False),
    ],
)
def test_use_is_recorded_once_a_day_if_iat_does_not_change(
    name: MechanismName, *, renewed: bool, written: bool
) -> None:
    """The day is recorded at a renewal, or at a call if the mechanism has no renewal."""
    used = record_use(MINE_LIVE, now=NOW, mechanism=MECHANISMS[name], renewed=renewed)
    assert used == (replace(MINE_LIVE, last_used_day=NOW // DAY_S) if written else None)
    if used:
        assert record_use(used, now=NOW + 1, mechanism=MECHANISMS[name], renewed=renewed) is None
        tomorrow = record_use(used, now=NOW + DAY_S, mechanism=MECHANISMS[name], renewed=renewed)
        assert tomorrow == replace(MINE_LIVE, last_used_day=NOW // DAY_S + 1)


@pytest.mark.parametrize(
    ("roles", "asked", "has"),
    [
        ({1, 7}, {1}, True),
        ({1, 7}, {7, 8}, True),
        ({1, 7}, {2, 8}, False),
        (set(), {1}, False),
        ({1, 7}, set(), False),
        (set(), set(), False),
    ],
)
def test_one_of_the_required_roles_is_enough(roles: set[int], asked: set[int], *, has: bool) -> None:
    """Without a required role the result is false."""
    assert has_role(replace(state_with(MINE_LIVE), roles=frozenset(roles)), asked) is has


def test_another_lineage_of_the_account_does_not_matter() -> None:
    """The verdict depends only on the presented lineage."""
    for neighbour in (OTHER_LIVE, replace(OTHER_LIVE, ended=Ended(NOW, EndReason.REUSE))):
        assert neighbour.id == OTHER
        assert verdict(MINE_LIVE, presented(), account_state=state_with(neighbour, MINE_LIVE)) == Current(MINE_LIVE)


def test_the_attempt_of_a_generation_is_kept_for_four_generations() -> None:
    """The current generation has none yet. The fifth before it is overwritten."""
    slots = tuple(bytes([number]) * 8 for number in range(1, ATTEMPT_SLOTS + 1))
    lineage = replace(MINE_LIVE, generation=10, attempts=slots)
    known = {generation: used_by(lineage, generation) for generation in range(4, 12)}
    assert known == {4: None, 5: None, 10: None, 11: None} | {
        generation: slots[generation % ATTEMPT_SLOTS] for generation in range(6, 10)
    }


def test_a_generation_that_nothing_exchanged_has_no_attempt() -> None:
    """A password change in a browser raises the generation of its login without an exchange."""
    assert used_by(replace(MINE_LIVE, generation=1, attempts=(NO_ATTEMPT,) * ATTEMPT_SLOTS), 0) is None
