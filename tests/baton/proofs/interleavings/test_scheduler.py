"""The scheduler explores every order exactly once, and sleep sets lose no result."""

from collections.abc import Callable
from math import comb

import pytest

from tests.baton.proofs.interleavings.deployment import Deployment
from tests.baton.proofs.interleavings.roles import Cast, Role
from tests.baton.proofs.interleavings.scheduler import Call, Course, Explored, Refuted, Scheduler, explore


def calls_of(
    places: dict[str, str], steps: dict[str, int], *, writes: bool = True
) -> tuple[Callable[[Course], None], list[str]]:
    """Make a scene in which each presenter makes this number of calls at its place, and a list of the orders."""
    orders = list[str]()

    def play(course: Course) -> None:
        scheduler, made = Scheduler(course, faults_left=0), list[str]()

        def act(name: str) -> None:
            for _ in range(steps[name]):
                call = Call(name, frozenset({places[name]}), writes)
                scheduler.step(call)
                course.made(call, changed=writes)
                made.append(name)

        for name in places:
            scheduler.enter(name, lambda name=name: act(name))  # type: ignore[misc] # the default binds the present value
        scheduler.run()
        orders.append("".join(made))

    return play, orders


@pytest.mark.parametrize(("one", "other"), [(1, 1), (2, 3), (4, 4)])
def test_every_order_of_two_presenters_is_explored(one: int, other: int) -> None:
    """The number of orders is the binomial coefficient, and all orders are different.

    If all calls are dependent, sleep sets change nothing.
    """
    for sleeping in (False, True):
        play, orders = calls_of({"a": "there", "b": "there"}, {"a": one, "b": other})
        assert explore(play, sleeping=sleeping) == Explored(comb(one + other, one), 0)
        assert len(set(orders)) == len(orders) == comb(one + other, one)


def test_every_order_of_three_presenters_is_explored() -> None:
    """Each of three presenters makes two calls: 6! / (2! 2! 2!) orders."""
    play, orders = calls_of({"a": "there", "b": "there", "c": "there"}, {"a": 2, "b": 2, "c": 2})
    assert explore(play).schedules == 90 == len(set(orders))


@pytest.mark.parametrize("places", [{"a": "here", "b": "there"}, {"a": "there", "b": "there"}])
def test_equivalent_orders_are_explored_once(places: dict[str, str]) -> None:
    """Calls at different places, and calls without a change, have one order."""
    writes = places["a"] != places["b"]
    play, _ = calls_of(places, {"a": 3, "b": 3}, writes=writes)
    assert explore(play).schedules == 1
    assert explore(play, sleeping=False).schedules == comb(6, 3)


def test_a_fault_happens_at_each_place_and_at_every_pair_of_places() -> None:
    """Five places and a budget of two: one schedule without faults, five with one, ten with two."""

    def play(course: Course) -> None:
        scheduler = Scheduler(course, faults_left=2)
        scheduler.enter("a", lambda: [scheduler.fault("lost") for _ in range(5)])
        scheduler.run()

    assert explore(play).schedules == 1 + 5 + 10


def test_a_failure_in_a_thread_fails_the_schedule() -> None:
    """The scheduler raises the presenter's assertion, ends the other presenters, and can run the next schedule."""

    def play(course: Course) -> None:
        scheduler = Scheduler(course, faults_left=0)

        def fail() -> None:
            scheduler.step(Call("a", frozenset({"there"}), writes=True))
            raise AssertionError("as planted")

        scheduler.enter("a", fail)
        scheduler.enter("b", lambda: scheduler.step(Call("b", frozenset({"there"}), writes=True)))
        scheduler.run()

    for _ in range(3):
        with pytest.raises(AssertionError, match="as planted"):
            explore(play)


def test_code_with_different_decisions_each_time_is_noticed() -> None:
    """The same decisions must lead to the same state. Otherwise the exploration is incomplete."""
    ways = iter([("x",), ("x", "y"), ("x", "y", "z")])

    def play(course: Course) -> None:
        scheduler = Scheduler(course, faults_left=1)
        scheduler.enter("a", lambda: scheduler.fault(*next(ways)))
        scheduler.run()

    with pytest.raises(AssertionError, match="led elsewhere"):
        explore(play)


ENDS = [
    (Role.RENEW, Role.RENEW),
    (Role.RENEW, Role.END_ALL),
    (Role.RENEW, Role.STEAL),
    (Role.LOG_IN, Role.DISABLE),
    (Role.LOG_IN, Role.CHANGE_PASSWORD),
    (Role.RENEW, Role.STEAL, Role.END_ONE),
]


@pytest.mark.parametrize("roles", ENDS, ids=" | ".join)
def test_sleep_sets_lose_no_final_state(roles: tuple[Role, ...]) -> None:
    """The final states of tables and storages are the same with every order and with sleep sets."""
    faults = 1 if set(roles) <= {Role.RENEW, Role.STEAL} else 0

    def ends(*, sleeping: bool) -> tuple[set[str], int]:
        cast, found = Cast.of(roles, Deployment()), set[str]()

        def play(course: Course) -> None:
            scheduler = Scheduler(course, faults)
            cast.deployment.restore(scheduler)
            for name, act in cast.acts:
                scheduler.enter(name, act)
            scheduler.run()
            tables = cast.deployment.stores.tables
            found.add(repr((tables.lineages, tables.users, cast.deployment.storages)))

        explored = explore(play, sleeping=sleeping)
        assert sleeping or not explored.asleep
        return found, explored.schedules

    few, fewer = ends(sleeping=True)
    every, all_of_them = ends(sleeping=False)
    assert few == every
    assert len(few) > 1
    assert fewer < all_of_them


def test_a_refutation_prints_the_schedule() -> None:
    """The message has the reason, the steps in order, and the command to repeat it."""
    text = str(Refuted("it broke", (0, 1), ["phone  lineages.exchange", "thief  lineages.exchange"]))
    assert text.splitlines() == [
        "it broke",
        "   1  phone  lineages.exchange",
        "   2  thief  lineages.exchange",
        "walk it again: course=(0, 1)",
    ]
