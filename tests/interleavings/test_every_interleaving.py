"""The promises hold in every interleaving of two and three presenters, whatever is lost, repeated or cut off.

The numbers of schedules are known: a number that shrinks has stopped looking somewhere. They change when a journey
makes other calls; run with ``-m "prove or not prove"`` and write the new ones down.
"""

import itertools
from collections.abc import Iterable

import pytest

from tests.interleavings.roles import Role, scene
from tests.interleavings.scheduler import explore


def scenes(first: Role, presenters: int) -> list[tuple[Role, ...]]:
    """List every choice of so many roles in which this one comes first."""
    return [roles for roles in itertools.combinations_with_replacement(Role, presenters) if roles[0] is first]


def schedules(among: Iterable[tuple[Role, ...]], *, faults: int) -> int:
    """Walk all of these scenes, and count."""
    return sum(explore(scene(roles, faults=faults)).schedules for roles in among)


def test_all_roles_meet() -> None:
    """Every pair and every triple of the nine, twice the same included, comes first somewhere."""
    assert sum(len(scenes(first, 2)) for first in Role) == 45
    assert sum(len(scenes(first, 3)) for first in Role) == 165


TWO_WITH_ONE_FAULT = {
    Role.RENEW: 587,
    Role.LOG_IN: 1336,
    Role.END_ONE: 780,
    Role.END_ALL: 599,
    Role.DISABLE: 957,
    Role.CHANGE_PASSWORD: 445,
    Role.DELETE: 558,
    Role.LOG_IN_AGAIN: 223,
    Role.STEAL: 38,
}

TWO_WITH_TWO_FAULTS = {
    Role.RENEW: 8770,
    Role.LOG_IN: 35123,
    Role.END_ONE: 16623,
    Role.END_ALL: 11261,
    Role.DISABLE: 23222,
    Role.CHANGE_PASSWORD: 6110,
    Role.DELETE: 14307,
    Role.LOG_IN_AGAIN: 5556,
    Role.STEAL: 480,
}
THREE_WITH_ONE_FAULT = {
    Role.RENEW: 24683,
    Role.LOG_IN: 60859,
    Role.END_ONE: 17030,
    Role.END_ALL: 9670,
    Role.DISABLE: 17438,
    Role.CHANGE_PASSWORD: 1696,
    Role.STEAL: 342,
}


@pytest.mark.parametrize("first", Role)
def test_any_two_and_a_fault(first: Role) -> None:
    """Every pair of roles, with a fault anywhere or none."""
    assert schedules(scenes(first, 2), faults=1) == TWO_WITH_ONE_FAULT[first]


def test_an_exchange_and_any_two() -> None:
    """Whoever else is there, in every order, nothing lost."""
    assert schedules(scenes(Role.RENEW, 3), faults=0) == 1062


def test_two_processes_that_exchange_twice() -> None:
    """Over one storage, in every order."""
    assert explore(scene((Role.RENEW, Role.RENEW), faults=0, times=2)).schedules == 90


def test_a_thief_and_its_owner_who_exchange_twice() -> None:
    """With a fault anywhere or none: reuse ends it for both, and nothing goes on."""
    assert explore(scene((Role.RENEW, Role.STEAL), faults=1, times=2)).schedules == 164


@pytest.mark.prove
@pytest.mark.parametrize("first", Role)
def test_any_two_and_two_faults(first: Role) -> None:
    """Every pair of roles, with up to two faults anywhere."""
    assert schedules(scenes(first, 2), faults=2) == TWO_WITH_TWO_FAULTS[first]


@pytest.mark.prove
def test_any_three() -> None:
    """Every triple of roles, in every order, nothing lost."""
    assert schedules((roles for first in Role for roles in scenes(first, 3)), faults=0) == 5430


@pytest.mark.prove
@pytest.mark.parametrize("first", THREE_WITH_ONE_FAULT)
def test_any_three_and_a_fault(first: Role) -> None:
    """Every triple of the seven roles that were there first, with a fault anywhere or none.

    A deletion and a repeated login meet every pair, and every role with two faults: triples of nine would take an hour.
    """
    among = [roles for roles in scenes(first, 3) if not {Role.DELETE, Role.LOG_IN_AGAIN} & {*roles}]
    assert schedules(among, faults=1) == THREE_WITH_ONE_FAULT[first]


@pytest.mark.prove
def test_two_processes_a_thief_and_two_faults() -> None:
    """The heart of it, with up to two faults anywhere."""
    assert explore(scene((Role.RENEW, Role.RENEW, Role.STEAL), faults=2)).schedules == 12046


@pytest.mark.prove
def test_two_processes_that_exchange_twice_and_a_fault() -> None:
    """Over one storage, in every order, with a fault anywhere or none."""
    assert explore(scene((Role.RENEW, Role.RENEW), faults=1, times=2)).schedules == 2462
