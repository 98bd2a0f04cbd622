"""Every interleaving of two and three sendings of a call: never two effects, unless the route allows a second effect.

The store is in memory or on DynamoDB. The tests fix the number of schedules: a smaller number means that some schedules
are not explored any more. The numbers change when the flow makes other calls. Then run with
``-m "prove or not prove"`` and write down the new numbers.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.effects import Done, Refused
from chalicelib.baton.http import once as flow
from chalicelib.baton.policy import ONCE_KEPT_S, ONCE_RUN_MAX_S
from chalicelib.baton.proof import once_rules
from chalicelib.baton.proof.once_rules import OnceCall, OnceKey, Verdict
from chalicelib.baton.proof.ports import OnceStore
from chalicelib.baton.storage.aws.service import AwsClient
from chalicelib.baton.storage.dynamodb.database import KEYS, DynamoDB, Tables
from chalicelib.baton.storage.dynamodb.once import OnceCalls
from tests.baton.memory import OwnOnceCalls
from tests.baton.proofs.interleavings.once import BETWEEN, CLOCKS, OTHER, SAME, Plan, scene
from tests.baton.proofs.interleavings.scheduler import Course, Refuted, explore
from tools.dev.engine import client, create_tables

pytestmark = pytest.mark.guarantee(8, 13)

TWO: Final = (
    Plan(((SAME, SAME),)),
    Plan(((SAME,), (SAME,))),
    Plan(((SAME,), (SAME,)), retry_safe=True),
    Plan(((SAME, OTHER),)),
)
THREE: Final = (
    Plan(((SAME, SAME, SAME),)),
    Plan(((SAME, SAME, SAME),), retry_safe=True),
    Plan(((SAME, SAME), (SAME,))),
    Plan(((SAME, SAME), (SAME,)), retry_safe=True),
    Plan(((SAME,), (SAME, SAME))),
    Plan(((SAME,), (SAME, SAME)), retry_safe=True),
    Plan(((SAME,), (SAME,), (SAME,))),
    Plan(((SAME,), (SAME,), (SAME,)), retry_safe=True),
    Plan(((SAME, OTHER), (SAME,)), retry_safe=True),
)
SCHEDULES: Final[dict[str, tuple[int, ...]]] = {
    "2": (4, 142, 2518, 24840),
    "1+1": (1, 31, 437, 3378),
    "1+1, retry safe": (1, 33, 675, 6769),
    "2, one other": (4, 142, 2518, 24840),
    "3": (18, 1182, 43212),
    "3, retry safe": (18, 1182, 43212),
    "2+1": (4, 198, 5236),
    "2+1, retry safe": (4, 206, 6332),
    "1+2": (2, 110, 3126),
    "1+2, retry safe": (2, 220, 11034),
    "1+1+1": (1, 39, 767),
    "1+1+1, retry safe": (1, 41, 1119),
    "2+1, one other, retry safe": (4, 202, 5784),
}
"""The number of schedules of each plan, without faults, with one fault and with two faults.

Plans with two sendings also have a number for three faults.
"""


@pytest.fixture(scope="module")
def dynamodb_calls(embedded_engine: None) -> Iterator[OnceStore]:
    """Create the store on DynamoDB. Every schedule has its own key."""
    del embedded_engine
    tables = Tables("baton-once")
    create_tables(tables)
    yield OnceCalls(DynamoDB(tables, AwsClient("dynamodb")))
    for table in KEYS:
        client().delete_table(TableName=tables.name(table))


def explored(plan: Plan, store: Callable[[], OnceStore], faults: int, record: Callable[[str, object], None]) -> None:
    """Explore all schedules of a plan, and compare their number."""
    found = explore(scene(plan, store, faults=faults)).schedules
    record("schedules", found)
    assert found == SCHEDULES[str(plan)][faults]


@pytest.mark.parametrize("plan", [*TWO, *THREE], ids=str)
@pytest.mark.parametrize("faults", [0, 1])
def test_two_or_three_sendings_with_a_fault_have_one_effect(
    plan: Plan, faults: int, record_property: Callable[[str, object], None]
) -> None:
    """The store is in memory. Two and three sendings have at most one fault, at any step."""
    explored(plan, OwnOnceCalls, faults, record_property)


@pytest.mark.parametrize("plan", TWO, ids=str)
@pytest.mark.parametrize("faults", [0, 1])
def test_two_sendings_with_a_fault_have_one_effect_on_dynamodb(
    plan: Plan, faults: int, dynamodb_calls: OnceStore, record_property: Callable[[str, object], None]
) -> None:
    """The schedules are the same, with conditional writes."""
    explored(plan, lambda: dynamodb_calls, faults, record_property)


@pytest.mark.prove
@pytest.mark.parametrize("plan", [*TWO, *THREE], ids=str)
def test_two_or_three_sendings_with_two_faults_have_one_effect(
    plan: Plan, record_property: Callable[[str, object], None]
) -> None:
    """The store is in memory, with up to two faults at any steps."""
    explored(plan, OwnOnceCalls, 2, record_property)


@pytest.mark.prove
@pytest.mark.parametrize("plan", TWO, ids=str)
def test_two_sendings_with_three_faults_have_one_effect(
    plan: Plan, record_property: Callable[[str, object], None]
) -> None:
    """The store is in memory, with up to three faults at any steps."""
    explored(plan, OwnOnceCalls, 3, record_property)


@pytest.mark.prove
@pytest.mark.parametrize(
    ("plan", "faults"),
    [*((plan, 1) for plan in THREE), *((plan, 2) for plan in TWO if len(plan.phases) > 1)],
    ids=str,
)
def test_more_sendings_and_faults_have_one_effect_on_dynamodb(
    plan: Plan, faults: int, dynamodb_calls: OnceStore, record_property: Callable[[str, object], None]
) -> None:
    """Three sendings have one fault, and two sendings have two faults."""
    explored(plan, lambda: dynamodb_calls, faults, record_property)


def test_a_phase_is_shorter_than_a_run_and_the_next_phase_is_later() -> None:
    """Within a phase no run counts as crashed. In the next phase, a run of the earlier phase may count as crashed."""
    assert max(CLOCKS) - min(CLOCKS) == ONCE_RUN_MAX_S - 1
    assert BETWEEN + max(CLOCKS) - min(CLOCKS) >= ONCE_RUN_MAX_S > BETWEEN + min(CLOCKS) - max(CLOCKS)


# --- Seeded faults -------------------------------------------------------------------------------------------------


class ClaimsAnything(OwnOnceCalls):
    """A claim replaces any stored call."""

    def claim(self, key: OnceKey, *, digest: bytes, mark: bytes, now: int) -> OnceCall:
        """Claim without the condition."""
        self.calls[key] = OnceCall(digest, now, mark, now + ONCE_KEPT_S)
        return self.calls[key]


class TakesAnything(OwnOnceCalls):
    """A takeover does not compare the mark that it read."""

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Take over any running call."""
        stored = self.calls.get(key)
        return super().take_over(key, old_mark=stored.mark if stored else old_mark, mark=mark, now=now)


class TakesAnswers(OwnOnceCalls):
    """A takeover does not check whether the call already has an answer."""

    def take_over(self, key: OnceKey, *, old_mark: bytes, mark: bytes, now: int) -> OnceCall | None:
        """Take over an answered call too."""
        stored = self.calls.get(key)
        if stored is not None and stored.mark == old_mark:
            stored = self.calls[key] = replace(stored, mark=mark, started=now)
        return stored


class StoresAnyones(OwnOnceCalls):
    """A sending that was taken over can still store its answer."""

    def store(self, key: OnceKey, *, mark: bytes, answer: bytes, now: int) -> Done | Refused:
        """Store without comparing the mark."""
        stored = self.calls.get(key)
        return super().store(key, mark=stored.mark if stored else mark, answer=answer, now=now)


class ReleasesAnyones(OwnOnceCalls):
    """A sending that was taken over can still release the call."""

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Release without comparing the mark."""
        stored = self.calls.get(key)
        super().release(key, mark=stored.mark if stored else mark)


class NeverReleases(OwnOnceCalls):
    """A call without an effect is not released."""

    def release(self, key: OnceKey, *, mark: bytes) -> None:
        """Do nothing."""


def judged_so(change: Callable[[OnceCall, dict[str, Any]], None]) -> Callable[[pytest.MonkeyPatch], None]:
    """Seed a fault in the rule: ``change`` changes the arguments of the rule."""
    right = once_rules.judge

    def wrong(stored: OnceCall, **named: Any) -> Verdict:
        change(stored, named)
        return right(stored, **named)

    return lambda patch: patch.setattr(flow, "judge", wrong)


Plant = Callable[[pytest.MonkeyPatch], None]
MISTAKES: Final[dict[str, tuple[type[OwnOnceCalls], Plant | None, Plan, str]]] = {
    "a claim has no condition": (ClaimsAnything, None, TWO[0], "after the answer"),
    "a taker compares no mark": (TakesAnything, None, THREE[5], "two effects in one phase"),
    "a taker overlooks an answer": (TakesAnswers, None, TWO[2], "after the answer"),
    "an answer needs no mark": (StoresAnyones, None, TWO[2], "lost the call"),
    "a release needs no mark": (ReleasesAnyones, None, THREE[0], "two effects"),
    "nothing is released": (NeverReleases, None, TWO[1], "no answer in the end"),
    "any failure of a view releases": (
        OwnOnceCalls,
        lambda patch: patch.setattr(flow, "NOTHING_DONE", (errors.Refusal,)),
        TWO[0],
        "two effects",
    ),
    "a run is over too soon": (
        OwnOnceCalls,
        lambda patch: patch.setattr(once_rules, "ONCE_RUN_MAX_S", max(CLOCKS) - min(CLOCKS)),
        THREE[1],
        "two effects in one phase",
    ),
    "every route is safe to repeat": (
        OwnOnceCalls,
        judged_so(lambda _, named: named.update(retry_safe=True)),
        TWO[1],
        "two effects",
    ),
    "the digest is not compared": (
        OwnOnceCalls,
        judged_so(lambda stored, named: named.update(digest=stored.digest)),
        TWO[3],
        "another request",
    ),
    "a sending does not know its own mark": (
        OwnOnceCalls,
        judged_so(lambda _, named: named.update(mark=b"")),
        TWO[1],
        "no answer in the end",
    ),
}
"""Each fault: the store, other changes, the plan that shows it, and the message."""


@pytest.mark.parametrize("name", MISTAKES)
def test_a_fault_in_run_once_is_refuted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The explorer needs at most two injected faults. The printed schedule can be repeated."""
    store, plant, plan, why = MISTAKES[name]
    if plant:
        plant(monkeypatch)
    refuted, faults = None, 0
    for faults in range(3):
        try:
            explore(scene(plan, store, faults=faults))
        except Refuted as refutation:
            refuted = refutation
            break
    assert refuted, "the exploration did not notice"
    assert why in refuted.why
    with pytest.raises(Refuted) as again:
        scene(plan, store, faults=faults)(Course(given=refuted.course))
    assert again.value.steps == refuted.steps
