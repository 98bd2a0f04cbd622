"""The rule: what a presented generation means, and what it does to its lineage (exchange.md, E4 to E9)."""

from itertools import permutations, product
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.core.lineage import (
    Ahead,
    Current,
    Dead,
    Live,
    Overtaken,
    Retry,
    Reused,
    Superseded,
    attempt_digest,
    ended_of,
    exchange,
    expiry,
    judge,
    judge_use,
    replaced_by_login,
    slide,
)
from chalicelib.core.model import (
    NO_ATTEMPT,
    Ended,
    EndReason,
    Gate,
    Lineage,
    LineageId,
    NoBinding,
    Presented,
    SecretBinding,
    Status,
)
from chalicelib.core.policy import (
    ATTEMPT_CHARACTERS_MIN,
    ATTEMPT_SLOTS,
    MECHANISMS,
    SLIDE_AFTER_FRACTION,
    Mechanism,
    MechanismName,
)
from tests.making import (
    ATTEMPT,
    EPOCH,
    FENCE,
    HISTORY,
    IDLE_S,
    MINE_LIVE,
    NEWBORN,
    NOW,
    OTHER,
    OTHER_ATTEMPT,
    OTHER_KEY,
    OTHER_LIVE,
    gate_with,
    presented,
)

pytestmark = pytest.mark.promise(1, 2, 3, 7)


def verdict(lineage: Lineage, token: Presented, *, gate: Gate | None = None, now: int = NOW) -> object:
    """Judge a token of a lineage in a gate of its own, unless told otherwise."""
    return judge(gate or gate_with(lineage), token, now=now, fence=FENCE, idle_s=IDLE_S)


# --- A presented generation --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behind", "attempt", "expected"),
    [
        pytest.param(0, ATTEMPT, Current(MINE_LIVE), id="E5 current"),
        pytest.param(0, HISTORY[3], Current(MINE_LIVE), id="E5 current, whatever the attempt"),
        pytest.param(1, HISTORY[2], Retry(MINE_LIVE), id="E6 the one before, its attempt"),
        pytest.param(2, HISTORY[1], Superseded(), id="E7 two before, its attempt"),
        pytest.param(3, HISTORY[0], Superseded(), id="E7 three before, its attempt"),
        pytest.param(4, HISTORY[3], Superseded(), id="E7 four before, its attempt"),
        pytest.param(5, HISTORY[2], Reused(), id="E8 forgotten, though the slot's attempt matches"),
        pytest.param(1, OTHER_ATTEMPT, Reused(), id="E8 the one before, another attempt"),
        pytest.param(2, HISTORY[2], Reused(), id="E8 two before, the attempt of the one before"),
        pytest.param(-1, ATTEMPT, Ahead(), id="E9 newer"),
        pytest.param(-4, HISTORY[3], Ahead(), id="E9 newer, though a slot's attempt matches"),
    ],
)
def test_a_presented_generation_means(behind: int, attempt: bytes, expected: object) -> None:
    """Rows E5 to E9 of the table."""
    assert verdict(MINE_LIVE, presented(behind, attempt=attempt)) == expected


def by_its_whole_history(history: list[bytes], token: Presented) -> type:
    """Judge as a server with unlimited memory would, which remembers the last four attempts only."""
    current = len(history)
    if token.generation >= current:
        return Current if token.generation == current else Ahead
    remembered = token.generation >= current - ATTEMPT_SLOTS and history[token.generation] == token.attempt
    if not remembered:
        return Reused
    return Retry if token.generation == current - 1 else Superseded


@pytest.mark.parametrize("length", range(10))
def test_slots_remember_what_a_whole_history_would(length: int) -> None:
    """Every generation by every attempt ever made and one never made, for each length of history."""
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
def test_whatever_the_order_of_four_racers_a_token_has_one_child(order: tuple[int, ...]) -> None:
    """Promise 1: two attempts, each sent twice, in every order: one child; the other attempt is reuse."""
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


def test_an_exchange_changes_generation_slot_and_iat_alone() -> None:
    """E5, carried out."""
    child = exchange(MINE_LIVE, presented(), now=NOW)
    assert child == replace(
        MINE_LIVE, generation=8, issued_at=NOW, attempts=(HISTORY[0], HISTORY[1], HISTORY[2], ATTEMPT)
    )


def test_a_child_is_never_issued_before_its_parent() -> None:
    """Two of our own clocks may disagree: iat = max(now, the presented token's iat)."""
    token = replace(presented(), issued_at=NOW + 7)
    assert exchange(MINE_LIVE, token, now=NOW).issued_at == NOW + 7


# --- Dead or alive -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        pytest.param(gate_with(OTHER_LIVE), None, id="lineage unknown"),
        pytest.param(gate_with(MINE_LIVE, status=Status.DISABLED), None, id="disabled"),
        pytest.param(gate_with(MINE_LIVE, status=Status.DELETED), None, id="deleted"),
        pytest.param(gate_with(replace(MINE_LIVE, ended=Ended(NOW, EndReason.REUSE))), EndReason.REUSE, id="ended"),
        pytest.param(gate_with(replace(MINE_LIVE, epoch=EPOCH - 1)), EndReason.ENDED_EVERYWHERE, id="older epoch"),
        pytest.param(gate_with(replace(MINE_LIVE, epoch=EPOCH + 1)), EndReason.ENDED_EVERYWHERE, id="newer epoch"),
        pytest.param(
            replace(gate_with(replace(MINE_LIVE, epoch=EPOCH - 1)), raised=Ended(NOW, EndReason.PASSWORD_CHANGED)),
            EndReason.PASSWORD_CHANGED,
            id="older epoch, raised by a password change",
        ),
        pytest.param(
            gate_with(replace(MINE_LIVE, auth_time=FENCE - 1)), EndReason.ENDED_EVERYWHERE, id="before the fence"
        ),
        pytest.param(gate_with(replace(MINE_LIVE, expires_at=NOW)), EndReason.EXPIRED, id="expired"),
        pytest.param(gate_with(replace(MINE_LIVE, issued_at=NOW - IDLE_S - 1)), EndReason.IDLE, id="idle"),
        pytest.param(gate_with(replace(MINE_LIVE, client=2)), None, id="of another client"),
        pytest.param(gate_with(replace(MINE_LIVE, binding=OTHER_KEY)), None, id="bound to another key"),
        pytest.param(gate_with(replace(MINE_LIVE, binding=NoBinding())), None, id="bound to nothing"),
        pytest.param(gate_with(replace(MINE_LIVE, binding=SecretBinding())), None, id="bound by a secret"),
        pytest.param(gate_with(replace(MINE_LIVE, auth_time=MINE_LIVE.issued_at + 1)), None, id="begun since"),
    ],
)
@pytest.mark.parametrize(
    "token", [presented(), presented(1, attempt=HISTORY[2]), presented(1), presented(-1)], ids=["E5", "E6", "E8", "E9"]
)
def test_what_is_over_or_not_as_stored_is_dead(gate: Gate, reason: EndReason | None, token: Presented) -> None:
    """E4 comes before everything a generation could mean: a dead lineage is neither exchanged nor ended again."""
    assert verdict(MINE_LIVE, token, gate=gate) == Dead(reason)


def test_an_unknown_account_is_dead() -> None:
    """Without a gate there is nothing to tell."""
    assert judge(None, presented(), now=NOW, fence=FENCE, idle_s=IDLE_S) == Dead()


@pytest.mark.parametrize(
    "lineage",
    [
        replace(MINE_LIVE, expires_at=NOW + 1),
        replace(MINE_LIVE, issued_at=NOW - IDLE_S),
        replace(MINE_LIVE, auth_time=FENCE),
        replace(MINE_LIVE, auth_time=MINE_LIVE.issued_at),
    ],
    ids=["expiry", "idle", "fence", "begun then"],
)
def test_the_last_second_still_counts(lineage: Lineage) -> None:
    """One second from dead is alive."""
    assert verdict(lineage, presented(lineage=lineage)) == Current(lineage)


def test_the_first_reason_is_the_one_told() -> None:
    """Of a lineage that is over in several ways: its own end, the epoch, the fence, its expiry, idleness."""
    own_end, raised = Ended(NOW - 9, EndReason.REUSE), Ended(NOW - 5, EndReason.PASSWORD_CHANGED)
    over = replace(
        MINE_LIVE, ended=own_end, epoch=EPOCH - 1, auth_time=FENCE - 1, expires_at=NOW - 3, issued_at=NOW - IDLE_S - 2
    )
    gate = replace(gate_with(over), raised=raised)

    def told(lineage: Lineage) -> Ended | None:
        return ended_of(gate, lineage, now=NOW, fence=FENCE, idle_s=IDLE_S)

    assert told(over) == own_end
    over = replace(over, ended=None)
    assert told(over) == raised
    over = replace(over, epoch=EPOCH)
    assert told(over) == Ended(FENCE, EndReason.ENDED_EVERYWHERE)
    over = replace(over, auth_time=FENCE)
    assert told(over) == Ended(NOW - 3, EndReason.EXPIRED)
    over = replace(over, expires_at=NOW + 1)
    assert told(over) == Ended(NOW - 2, EndReason.IDLE)
    assert told(MINE_LIVE) is None


@pytest.mark.parametrize("reason", EndReason)
def test_ended_is_absorbing_whatever_the_time(reason: EndReason) -> None:
    """Promise 7: no clock, forward or back, makes an ended lineage active again."""
    over = replace(MINE_LIVE, ended=Ended(NOW, reason))
    for now in (0, NOW - 1, NOW, NOW + 1, 2**40):
        assert verdict(over, presented(), now=now) == Dead(reason)


# --- Use on calls ------------------------------------------------------------------------------------------------

EXCHANGE: Final = MECHANISMS[MechanismName.EXCHANGE]
SESSION: Final = MECHANISMS[MechanismName.SESSION]


def use(
    lineage: Lineage, token: Presented, *, expires_at: int = NOW + 1, now: int = NOW, mechanism: Mechanism = EXCHANGE
) -> object:
    """Judge the use of a token on a call."""
    return judge_use(gate_with(lineage), token, expires_at=expires_at, now=now, fence=FENCE, mechanism=mechanism)


@pytest.mark.parametrize(
    ("behind", "expires_at", "expected"),
    [
        pytest.param(0, NOW + 1, Live(gate_with(MINE_LIVE), MINE_LIVE), id="current"),
        pytest.param(1, NOW + 1, Live(gate_with(MINE_LIVE), MINE_LIVE), id="the one before: a call in flight"),
        pytest.param(0, NOW, Overtaken(), id="current, expired"),
        pytest.param(1, NOW, Overtaken(), id="the one before, expired"),
        pytest.param(2, NOW + 1, Overtaken(), id="two before, though unexpired"),
        pytest.param(-1, NOW + 1, Ahead(), id="newer than stored"),
    ],
)
def test_a_token_used_on_a_call_is(behind: int, expires_at: int, expected: object) -> None:
    """Current or the one before, each until its own expiry; the attempt plays no part."""
    assert use(MINE_LIVE, presented(behind), expires_at=expires_at) == expected


def test_a_token_of_a_dead_lineage_is_of_no_use() -> None:
    """The end of a lineage is seen by the next call."""
    over = replace(MINE_LIVE, ended=Ended(NOW, EndReason.LOGOUT))
    assert use(over, presented()) == Dead(EndReason.LOGOUT)


SESSION_IN_USE: Final = replace(MINE_LIVE, generation=0, issued_at=NOW, in_use_since=NOW - 3_000)


@pytest.mark.parametrize(
    ("issued_at", "now", "mechanism", "lives"),
    [
        pytest.param(NOW - 3_000, NOW, SESSION, True, id="issued when use began"),
        pytest.param(NOW - 3_001, NOW, SESSION, False, id="issued before a gap in use"),
        pytest.param(NOW - 3_000, NOW + SESSION.use_s - 1, SESSION, True, id="last used a moment less than a life ago"),
        pytest.param(NOW - 3_000, NOW + SESSION.use_s, SESSION, False, id="last used a life ago"),
        pytest.param(NOW - 3_000, NOW, EXCHANGE, False, id="of a mechanism that does not slide"),
    ],
)
def test_an_expired_session_id_lives_while_used_without_a_gap(
    issued_at: int, now: int, mechanism: Mechanism, *, lives: bool
) -> None:
    """The session slides; nothing else does."""
    token = replace(presented(lineage=SESSION_IN_USE), issued_at=issued_at)
    said = use(SESSION_IN_USE, token, expires_at=issued_at + SESSION.use_s, now=now, mechanism=mechanism)
    assert isinstance(said, Live if lives else Overtaken)


def test_a_login_never_in_use_does_not_slide() -> None:
    """Where no use was ever written down, a token lives by its own expiry."""
    lineage = replace(SESSION_IN_USE, in_use_since=None)
    assert use(lineage, presented(lineage=lineage), expires_at=NOW, mechanism=SESSION) == Overtaken()


SLIDE_AFTER_S: Final = SESSION.use_s // SLIDE_AFTER_FRACTION


@pytest.mark.parametrize(
    ("later", "renewed", "expected"),
    [
        pytest.param(SLIDE_AFTER_S - 1, False, None, id="written down recently"),
        pytest.param(
            SLIDE_AFTER_S, False, replace(SESSION_IN_USE, issued_at=NOW + SLIDE_AFTER_S), id="a sixth of a life later"
        ),
        pytest.param(
            SESSION.use_s - 1, False, replace(SESSION_IN_USE, issued_at=NOW + SESSION.use_s - 1), id="just in time"
        ),
        pytest.param(
            SESSION.use_s,
            False,
            replace(SESSION_IN_USE, issued_at=NOW + SESSION.use_s, in_use_since=NOW + SESSION.use_s),
            id="after a gap",
        ),
        pytest.param(
            1,
            True,
            replace(SESSION_IN_USE, issued_at=NOW + 1, in_use_since=NOW + 1),
            id="a renewal is always written down, and begins a new use",
        ),
        pytest.param(
            -5, True, replace(SESSION_IN_USE, in_use_since=NOW - 5), id="a renewal by a clock behind does not go back"
        ),
        pytest.param(-4_000, True, SESSION_IN_USE, id="nor does its use begin before the last"),
    ],
)
def test_a_use_is_written_down(later: int, expected: Lineage | None, *, renewed: bool) -> None:
    """Once in a sixth of a life; and a gap as long as a life begins a new use."""
    assert slide(SESSION_IN_USE, now=NOW + later, mechanism=SESSION, renewed=renewed) == expected


@pytest.mark.parametrize(
    ("later", "renewed", "since"),
    [
        pytest.param(SLIDE_AFTER_S, False, None, id="used: the id was never renewed, and needs no beginning"),
        pytest.param(1, True, NOW + 1, id="renewed now"),
        pytest.param(-9_000, True, MINE_LIVE.auth_time, id="renewed by a clock behind: not before the login"),
    ],
)
def test_the_first_use_of_a_login_is_written_down(later: int, since: int | None, *, renewed: bool) -> None:
    """Of a login whose use has no beginning yet."""
    written = slide(replace(SESSION_IN_USE, in_use_since=None), now=NOW + later, mechanism=SESSION, renewed=renewed)
    assert written == replace(SESSION_IN_USE, issued_at=NOW + max(0, later), in_use_since=since)


# --- Small rules -------------------------------------------------------------------------------------------------


def test_a_token_expires_with_its_life_or_its_lineage() -> None:
    """Whichever is first."""
    assert expiry(NOW, replace(MINE_LIVE, expires_at=NOW + 10_000), EXCHANGE) == NOW + EXCHANGE.use_s
    assert expiry(NOW, replace(MINE_LIVE, expires_at=NOW + 10), EXCHANGE) == NOW + 10


def test_attempts_are_told_apart_by_eight_bytes() -> None:
    """A digest fills a slot, and never looks like an empty one."""
    digests = {attempt_digest(f"{number:0{ATTEMPT_CHARACTERS_MIN}}") for number in range(1_000)}
    assert len(digests) == 1_000
    assert {len(digest) for digest in digests} == {len(NO_ATTEMPT)}
    assert NO_ATTEMPT not in digests


def test_an_attempt_that_hashes_to_an_empty_slot_is_moved_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in 2^64 attempts; then it must not match what was never exchanged."""

    class Nothing:
        """A hash of nothing but zeros."""

        def __init__(self, _value: bytes) -> None:
            """Take any value."""

        def digest(self) -> bytes:
            """Give zeros."""
            return bytes(32)

    monkeypatch.setattr("chalicelib.core.lineage.hashlib.sha256", Nothing)
    assert attempt_digest("any") != NO_ATTEMPT
    assert len(attempt_digest("any")) == len(NO_ATTEMPT)


def place(number: int, **changes: object) -> Lineage:
    """Make a lineage with an id of its own."""
    return replace(MINE_LIVE, id=LineageId(f"AQAAAAAAAAAAAA{number:02}"), **changes)


ENDED_EARLIER: Final = place(1, ended=Ended(NOW - 90, EndReason.LOGOUT))
ENDED_LATER: Final = place(2, ended=Ended(NOW - 80, EndReason.REUSE))
EXPIRED: Final = place(3, expires_at=NOW - 5)
IDLE: Final = place(4, issued_at=NOW - IDLE_S - 1)
IDLEST: Final = place(5, issued_at=NOW - 600)
BUSIEST: Final = place(6, issued_at=NOW - 1)
IN_THEIR_ORDER: Final = (ENDED_EARLIER, ENDED_LATER, EXPIRED, IDLE, IDLEST, BUSIEST)


@pytest.mark.parametrize("lineages_max", range(1, 14))
def test_a_login_replaces_as_many_as_are_too_many(lineages_max: int) -> None:
    """Ended, then expired, then the longest idle, and never more than needed, however the gate lists them."""
    for gate in (gate_with(*IN_THEIR_ORDER), gate_with(*reversed(IN_THEIR_ORDER))):
        replaced = replaced_by_login(gate, now=NOW, fence=FENCE, idle_s_of={1: IDLE_S}, lineages_max=lineages_max)
        assert replaced == IN_THEIR_ORDER[: max(0, 7 - lineages_max)]


def test_a_lineage_of_a_client_no_longer_registered_goes_before_the_living() -> None:
    """Without a mechanism it cannot be exchanged any more."""
    orphan = replace(BUSIEST, client=9)
    gate = gate_with(IDLEST, orphan)
    assert replaced_by_login(gate, now=NOW, fence=FENCE, idle_s_of={1: IDLE_S}, lineages_max=2) == (orphan,)


def test_a_neighbour_plays_no_part() -> None:
    """Whatever happened to another lineage of the account, this one is judged alone."""
    for neighbour in (OTHER_LIVE, replace(OTHER_LIVE, ended=Ended(NOW, EndReason.REUSE))):
        assert neighbour.id == OTHER
        assert verdict(MINE_LIVE, presented(), gate=gate_with(neighbour, MINE_LIVE)) == Current(MINE_LIVE)
