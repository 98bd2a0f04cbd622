"""The condition of an exchange equals the rule `lineages.rules.judge`, written for DynamoDB.

All combinations are tested: each cause that makes a lineage inactive, alone and together, with each kind of presented
generation. In memory these are all 16,128 cases. A call to moto takes milliseconds, so DynamoDB gets each combination
of causes (768) with a current, a repeated and a reused generation, and each generation with each attempt (21) for an
active lineage and for each single cause: 2,535 cases.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.lineages.model import (
    AccountState,
    Binding,
    Ended,
    EndReason,
    Lineage,
    NoBinding,
    PresentedToken,
    SecretBinding,
    Status,
)
from chalicelib.baton.lineages.rules import Current, Exchanged, Inactive, exchange, judge
from chalicelib.baton.policy import ATTEMPT_SLOTS
from chalicelib.baton.storage.dynamodb import lineages as states_module
from chalicelib.baton.storage.dynamodb.database import DynamoDB
from chalicelib.baton.storage.dynamodb.lineages import LineageStore
from chalicelib.baton.storage.dynamodb.state_writes import ACTIVE, CURRENT
from chalicelib.baton.testing.contract.values import (
    ACCOUNT,
    ATTEMPT,
    EPOCH,
    HISTORY,
    IDLE_S,
    MINE,
    MINE_LIVE,
    MY_KEY,
    NOT_BEFORE,
    NOW,
    OTHER_ATTEMPT,
    OTHER_KEY,
    OTHER_LIVE,
    presented,
    state_with,
)
from tests.baton.memory import MemoryStores
from tests.baton.storage.test_dynamodb import put_state

pytestmark = pytest.mark.guarantee(1, 3, 7)


@dataclass(frozen=True, slots=True)
class Life:
    """The facts that make a lineage active. Each can be wrong separately."""

    status: Status = Status.ACTIVE
    of_this_epoch: bool = True
    ended: bool = False
    idle: bool = False
    expired: bool = False
    before_the_not_before_time: bool = False
    born_after_its_token: bool = False
    client_as_stored: bool = True
    binding_as_stored: bool = True

    def account_state(self) -> AccountState:
        """Make the account state with these facts. It also has another lineage, which must not matter."""
        mine = replace(
            MINE_LIVE,
            epoch=EPOCH if self.of_this_epoch else EPOCH - 1,
            issued_at=NOW - IDLE_S - self.idle,
            expires_at=NOW + (not self.expired),
            auth_time=NOT_BEFORE - self.before_the_not_before_time,
            ended=Ended(NOW - 1, EndReason.LOGOUT) if self.ended else None,
            attempts=(bytes(8),) * 4 if self.ended else HISTORY,
        )
        return state_with(mine, OTHER_LIVE, status=self.status)

    def present(self, token: PresentedToken) -> PresentedToken:
        """Change a token to match these facts."""
        auth_time = NOT_BEFORE - self.before_the_not_before_time
        issued_at = NOW - IDLE_S - self.idle
        if self.born_after_its_token:
            issued_at = auth_time - 1
        return replace(
            token,
            issued_at=issued_at,
            client=MINE_LIVE.client if self.client_as_stored else MINE_LIVE.client + 1,
            binding=MY_KEY if self.binding_as_stored else OTHER_KEY,
        )


LIVES: Final = [Life(status, *facts) for status in Status for facts in product((False, True), repeat=8)]
ALIVE: Final = Life()
DEAD_IN_ONE_WAY: Final = [
    Life(status=Status.DISABLED),
    Life(status=Status.DELETED),
    Life(of_this_epoch=False),
    Life(ended=True),
    Life(idle=True),
    Life(expired=True),
    Life(before_the_not_before_time=True),
    Life(born_after_its_token=True),
    Life(client_as_stored=False),
    Life(binding_as_stored=False),
]

BEHIND: Final = range(-1, 6)


def tokens(behind: int) -> Iterator[PresentedToken]:
    """Yield tokens of a generation: with the attempt in its slot, with another attempt, and with an empty attempt."""
    for attempt in (HISTORY[(MINE_LIVE.generation - behind) % ATTEMPT_SLOTS], OTHER_ATTEMPT, bytes(8)):
        yield presented(behind, attempt=attempt)


TOKENS: Final = [token for behind in BEHIND for token in tokens(behind)]
CURRENT_RETRY_AND_REUSE: Final = (
    presented(0),
    presented(1, attempt=HISTORY[(MINE_LIVE.generation - 1) % ATTEMPT_SLOTS]),
    presented(1, attempt=OTHER_ATTEMPT),
)


def verdict_of_the_rule(account_state: AccountState, token: PresentedToken) -> object:
    """Return the verdict of the rule. If it permits the exchange, return the lineage after it."""
    verdict = judge(account_state, token, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
    return Exchanged(exchange(verdict.lineage, token, now=NOW)) if isinstance(verdict, Current) else verdict


def state_after(account_state: AccountState, verdict: object) -> AccountState:
    """Return the account state after the verdict: with the child, or unchanged."""
    if not isinstance(verdict, Exchanged):
        return account_state
    return replace(account_state, lineages={**account_state.lineages, verdict.lineage.id: verdict.lineage})


def test_all_combinations_are_tested() -> None:
    """The facts have 768 combinations, of which one is active. There are 21 tokens."""
    assert len(LIVES) == len(set(LIVES)) == 768
    assert [
        life
        for life in LIVES
        if not isinstance(verdict_of_the_rule(life.account_state(), life.present(TOKENS[3])), Inactive)
    ] == [ALIVE]
    assert len(TOKENS) == 21
    assert {type(verdict_of_the_rule(ALIVE.account_state(), ALIVE.present(token))).__name__ for token in TOKENS} == {
        "Exchanged",
        "Retry",
        "Superseded",
        "Reused",
        "Ahead",
    }


def test_storage_in_memory_answers_and_writes_as_the_rule_says() -> None:
    """All 16,128 cases are tested."""
    stores = MemoryStores()
    for life, token in product(LIVES, TOKENS):
        account_state, asked = life.account_state(), life.present(token)
        stores.tables.lineages[ACCOUNT] = account_state
        said = verdict_of_the_rule(account_state, asked)
        assert stores.lineage_store.exchange(asked, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S) == said, (
            life,
            token,
        )
        assert stores.lineage_store.get(ACCOUNT) == state_after(account_state, said), (life, token)


class Walk:
    """Presents tokens to DynamoDB. It writes the account state again only after an exchange has changed it."""

    def __init__(self, engine: DynamoDB) -> None:
        """Start without an account state."""
        self.engine = engine
        self.lineage_store = LineageStore(engine)
        self.stands: AccountState | None = None

    def check(self, life: Life, token: PresentedToken) -> None:
        """Compare one case with the rule: answer and account state."""
        account_state, asked = life.account_state(), life.present(token)
        if self.stands != account_state:
            put_state(self.engine, account_state)
            self.stands = account_state
        said = verdict_of_the_rule(account_state, asked)
        assert self.lineage_store.exchange(asked, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S) == said, (life, token)
        if isinstance(said, Exchanged):
            self.stands = self.lineage_store.get(ACCOUNT)
            assert self.stands == state_after(account_state, said), (life, token)

    def check_nothing_moved(self) -> None:
        """Check that no refused exchange has written anything."""
        assert self.lineage_store.get(ACCOUNT) == self.stands


@pytest.mark.prove(ci=True)
@pytest.mark.parametrize("status", Status)
def test_dynamodb_agrees_for_every_combination_of_facts(engine: DynamoDB, status: Status) -> None:
    """768 combinations are tested, each with a current, a repeated and a reused generation."""
    walk = Walk(engine)
    for life in LIVES:
        if life.status is status:
            for token in CURRENT_RETRY_AND_REUSE:
                walk.check(life, token)
            walk.check_nothing_moved()


@pytest.mark.parametrize("life", [ALIVE, *DEAD_IN_ONE_WAY], ids=str)
def test_dynamodb_agrees_on_every_generation_and_attempt(engine: DynamoDB, life: Life) -> None:
    """21 tokens are presented to an active lineage, and to a lineage with each single cause."""
    walk = Walk(engine)
    for token in TOKENS:
        walk.check(life, token)
    walk.check_nothing_moved()


@pytest.mark.parametrize("stored", [MY_KEY, SecretBinding(), NoBinding()], ids=str)
@pytest.mark.parametrize("shown", [MY_KEY, OTHER_KEY, SecretBinding(), NoBinding()], ids=str)
def test_dynamodb_agrees_on_every_pair_of_bindings(engine: DynamoDB, stored: Binding, shown: Binding) -> None:
    """A key is different from another key, from a secret and from no binding."""
    account_state = state_with(replace(MINE_LIVE, binding=stored))
    token = replace(presented(), binding=shown)
    put_state(engine, account_state)
    answer = LineageStore(engine).exchange(token, now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
    assert answer == verdict_of_the_rule(account_state, token)
    assert isinstance(answer, Exchanged) == (stored == shown)


@pytest.mark.parametrize("idle_s", [0, 1, IDLE_S])
@pytest.mark.parametrize("seconds", range(-2, 3))
@pytest.mark.parametrize("limit", ["idle", "expiry", "not_before"])
def test_dynamodb_applies_each_limit_at_the_same_second(
    engine: DynamoDB, limit: str, seconds: int, idle_s: int
) -> None:
    """The times are from two seconds before to two seconds after each limit."""
    line: dict[str, Lineage] = {
        "idle": replace(MINE_LIVE, issued_at=NOW - idle_s + seconds),
        "expiry": replace(MINE_LIVE, issued_at=NOW, expires_at=NOW + seconds),
        "not_before": replace(MINE_LIVE, issued_at=NOW, auth_time=NOT_BEFORE + seconds),
    }
    account_state, token = state_with(line[limit]), presented(lineage=line[limit])
    put_state(engine, account_state)
    said = judge(account_state, token, now=NOW, not_before=NOT_BEFORE, idle_s=idle_s)
    answer = LineageStore(engine).exchange(token, now=NOW, not_before=NOT_BEFORE, idle_s=idle_s)
    assert isinstance(answer, Exchanged) == isinstance(said, Current)


@pytest.mark.parametrize("part", CURRENT)
def test_without_any_part_the_condition_differs_from_the_rule(
    engine: DynamoDB, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without one part, an inactive lineage or an old generation is exchanged, or the write fails."""
    monkeypatch.setattr(states_module, "CURRENT", tuple(one for one in CURRENT if one != part))
    disagreed = 0
    for life, token in [*((life, presented()) for life in DEAD_IN_ONE_WAY), (ALIVE, presented(1))]:
        put_state(engine, life.account_state())
        try:
            answer = LineageStore(engine).exchange(life.present(token), now=NOW, not_before=NOT_BEFORE, idle_s=IDLE_S)
        except Unavailable:  # an ended lineage has no attempts, so its exchange cannot be written
            disagreed += 1
        else:
            disagreed += isinstance(answer, Exchanged)
    assert disagreed == (2 if part == ACTIVE else 1)


def test_the_presented_lineage_is_the_tested_one() -> None:
    """The token of the test presents the lineage that the cases change."""
    assert presented().lineage == MINE
    assert presented(attempt=ATTEMPT).attempt not in HISTORY
