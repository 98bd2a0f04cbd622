"""The guarantees hold in every interleaving of two and three presenters, with lost, repeated and aborted requests.

The tests fix the number of schedules: a smaller number means that some schedules are not explored any more. The numbers
change when a flow makes other calls. Then run with ``-m "prove or not prove"`` and write down the new numbers.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from tests.baton.proofs.interleavings.roles import ACTING, EVERY, OF_A_KEY, Arrangement, Role, scene
from tests.baton.proofs.interleavings.scheduler import explore

Roles = tuple[Role, ...]


def scenes(first: Role, presenters: int, among: Sequence[Role] = EVERY) -> list[Roles]:
    """List every choice of this number of roles in which this role comes first."""
    return [roles for roles in itertools.combinations_with_replacement(among, presenters) if roles[0] is first]


def schedules(among: Iterable[Roles], *, faults: int, **named: Any) -> int:
    """Explore all of these scenes, and count the schedules."""
    return sum(explore(scene(roles, faults=faults, **named)).schedules for roles in among)


def test_every_combination_of_roles_is_tested() -> None:
    """In the list of scenes, every pair and every triple of the eight roles occurs, also with the same role twice."""
    assert len(EVERY) == len(Role) - len(OF_A_KEY) == 8
    assert sum(len(scenes(first, 2)) for first in EVERY) == 36
    assert sum(len(scenes(first, 3)) for first in EVERY) == 120
    assert [*THREE_WITH_ONE_FAULT] == [*itertools.combinations_with_replacement(EVERY, 2)]


TWO_WITH_ONE_FAULT = {
    Role.RENEW: 549,
    Role.LOG_IN: 1231,
    Role.END_ONE: 726,
    Role.END_ALL: 505,
    Role.DELETE: 691,
    Role.DISABLE: 484,
    Role.CHANGE_PASSWORD: 134,
    Role.STEAL: 42,
}
TWO_WITH_TWO_FAULTS = {
    Role.RENEW: 8663,
    Role.LOG_IN: 33410,
    Role.END_ONE: 16544,
    Role.END_ALL: 9230,
    Role.DELETE: 14806,
    Role.DISABLE: 10357,
    Role.CHANGE_PASSWORD: 918,
    Role.STEAL: 562,
}
THREE_WITH_ONE_FAULT = {
    (Role.RENEW, Role.RENEW): 8606,
    (Role.RENEW, Role.LOG_IN): 9348,
    (Role.RENEW, Role.END_ONE): 4731,
    (Role.RENEW, Role.END_ALL): 3320,
    (Role.RENEW, Role.DELETE): 4434,
    (Role.RENEW, Role.DISABLE): 3261,
    (Role.RENEW, Role.CHANGE_PASSWORD): 1066,
    (Role.RENEW, Role.STEAL): 366,
    (Role.LOG_IN, Role.LOG_IN): 27711,
    (Role.LOG_IN, Role.END_ONE): 14141,
    (Role.LOG_IN, Role.END_ALL): 9676,
    (Role.LOG_IN, Role.DELETE): 11415,
    (Role.LOG_IN, Role.DISABLE): 17136,
    (Role.LOG_IN, Role.CHANGE_PASSWORD): 2720,
    (Role.LOG_IN, Role.STEAL): 866,
    (Role.END_ONE, Role.END_ONE): 7111,
    (Role.END_ONE, Role.END_ALL): 5455,
    (Role.END_ONE, Role.DELETE): 6835,
    (Role.END_ONE, Role.DISABLE): 6149,
    (Role.END_ONE, Role.CHANGE_PASSWORD): 1743,
    (Role.END_ONE, Role.STEAL): 529,
    (Role.END_ALL, Role.END_ALL): 3370,
    (Role.END_ALL, Role.DELETE): 3479,
    (Role.END_ALL, Role.DISABLE): 5774,
    (Role.END_ALL, Role.CHANGE_PASSWORD): 917,
    (Role.END_ALL, Role.STEAL): 637,
    (Role.DELETE, Role.DELETE): 5766,
    (Role.DELETE, Role.DISABLE): 6387,
    (Role.DELETE, Role.CHANGE_PASSWORD): 2326,
    (Role.DELETE, Role.STEAL): 832,
    (Role.DISABLE, Role.DISABLE): 12144,
    (Role.DISABLE, Role.CHANGE_PASSWORD): 4582,
    (Role.DISABLE, Role.STEAL): 720,
    (Role.CHANGE_PASSWORD, Role.CHANGE_PASSWORD): 1240,
    (Role.CHANGE_PASSWORD, Role.STEAL): 474,
    (Role.STEAL, Role.STEAL): 366,
}


@pytest.mark.parametrize(
    "first",
    [Role.RENEW, *(pytest.param(role, marks=pytest.mark.prove(ci=True)) for role in EVERY if role is not Role.RENEW)],
)
def test_the_guarantees_hold_for_two_roles_and_a_fault(first: Role) -> None:
    """Every pair of roles, with one fault anywhere or none."""
    assert schedules(scenes(first, 2), faults=1) == TWO_WITH_ONE_FAULT[first]


def test_the_guarantees_hold_for_an_exchange_and_two_roles() -> None:
    """An exchange and every pair of roles, in every order, without faults."""
    assert schedules(scenes(Role.RENEW, 3), faults=0) == 857


def test_the_guarantees_hold_for_two_processes_that_exchange_twice() -> None:
    """The processes share their storage, and every order is explored."""
    assert explore(scene((Role.RENEW, Role.RENEW), faults=0, times=2)).schedules == 90


def test_the_guarantees_hold_for_a_thief_and_an_owner_who_exchange_twice() -> None:
    """With one fault anywhere or none: reuse ends the login for both, and no token stays valid."""
    assert explore(scene((Role.RENEW, Role.STEAL), faults=1, times=2)).schedules == 176


# --- Two devices of one account, and two processes of one device ---------------------------------------------------

ACTORS = [pairs for first in ACTING for pairs in scenes(first, 2, ACTING)]
THREE_ACTORS = [triples for first in ACTING for triples in scenes(first, 3, ACTING)]
BESIDE = {Arrangement.AGAINST: (1105, 411, 19088), Arrangement.TOGETHER: (1324, 495, 26674)}
"""The number of schedules of each arrangement: two roles with a fault, three without a fault, and, in the long form,
two with two faults."""


@pytest.mark.prove(ci=True)
@pytest.mark.guarantee(6)
@pytest.mark.parametrize("arrangement", BESIDE)
def test_the_guarantees_hold_for_two_actions_with_a_grant_and_a_fault(arrangement: Arrangement) -> None:
    """The actions are `ACTING`. One comes first, and the other is refused if the first has ended its login or grant."""
    assert schedules(ACTORS, faults=1, arrangement=arrangement) == BESIDE[arrangement][0]


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("arrangement", BESIDE)
def test_the_guarantees_hold_for_three_actions_with_a_grant(arrangement: Arrangement) -> None:
    """Every order is explored, without faults."""
    assert schedules(THREE_ACTORS, faults=0, arrangement=arrangement) == BESIDE[arrangement][1]


@pytest.mark.prove
@pytest.mark.guarantee(6)
@pytest.mark.parametrize("arrangement", BESIDE)
def test_the_guarantees_hold_for_two_actions_with_a_grant_and_two_faults(arrangement: Arrangement) -> None:
    """Up to two faults happen, at any steps."""
    assert schedules(ACTORS, faults=2, arrangement=arrangement) == BESIDE[arrangement][2]


# --- The logins of one key ---------------------------------------------------------------------------------------

AGAIN: list[Roles] = [
    (Role.LOG_IN_AGAIN, other)
    for other in (Role.LOG_IN_AGAIN, Role.RENEW, Role.CALL, Role.STEAL, Role.LOG_IN, Role.DISABLE, *ACTING)
]
AGAIN_AND_TWO: list[Roles] = [
    (Role.LOG_IN_AGAIN, Role.LOG_IN_AGAIN, Role.LOG_IN_AGAIN),
    (Role.LOG_IN_AGAIN, Role.LOG_IN_AGAIN, Role.RENEW),
    (Role.LOG_IN_AGAIN, Role.LOG_IN_AGAIN, Role.CALL),
    (Role.LOG_IN_AGAIN, Role.RENEW, Role.STEAL),
    (Role.LOG_IN_AGAIN, Role.RENEW, Role.CALL),
]
BY_A_NEW_KEY: list[Roles] = [
    (Role.LOG_IN_BY_KEY, Role.LOG_IN_BY_KEY),
    (Role.LOG_IN_BY_KEY, Role.LOG_IN_BY_KEY, Role.LOG_IN_BY_KEY),
    (Role.LOG_IN_BY_KEY, Role.LOG_IN_BY_KEY, Role.CHANGE_PASSWORD),
    (Role.LOG_IN_BY_KEY, Role.LOG_IN_BY_KEY, Role.DELETE),
]
OF_ONE_KEY: dict[str, tuple[list[Roles], str, int, int]] = {
    "again, by its key": (AGAIN, "P-256", 1475, 39201),
    "again, by its secret": (AGAIN, "hmac", 1464, 38640),
    "again, by its key, beside two": (AGAIN_AND_TWO, "P-256", 115, 9485),
    "again, by its secret, beside two": (AGAIN_AND_TWO, "hmac", 115, 8873),
    "at once, by a new key": (BY_A_NEW_KEY, "hmac", 197, 16800),
}
"""Scenes, the binding of the phone's first login, and the number of schedules in the short and the long form.

Pairs have one fault in the short form and two in the long form. Larger scenes have none and one."""


@pytest.mark.guarantee(5)
@pytest.mark.parametrize(
    "which",
    [
        pytest.param(which, marks=pytest.mark.prove(ci=True)) if among is AGAIN else which
        for which, (among, *_) in OF_ONE_KEY.items()
    ],
)
def test_the_guarantees_hold_for_logins_of_one_key(which: str) -> None:
    """A key has one active login. Earlier logins of the same device, and of its copy, are ended."""
    among, kind, count, _ = OF_ONE_KEY[which]
    assert schedules(among, faults=1 if among is AGAIN else 0, kind=kind) == count


@pytest.mark.prove
@pytest.mark.guarantee(5)
@pytest.mark.parametrize("which", OF_ONE_KEY)
def test_the_guarantees_hold_for_logins_of_one_key_and_another_fault(which: str) -> None:
    """The same scenes as without ``another_fault``, with one more fault at any step."""
    among, kind, _, count = OF_ONE_KEY[which]
    assert schedules(among, faults=2 if among is AGAIN else 1, kind=kind) == count


# --- The long form -----------------------------------------------------------------------------------------------


@pytest.mark.prove
@pytest.mark.parametrize("first", EVERY)
def test_the_guarantees_hold_for_two_roles_and_two_faults(first: Role) -> None:
    """Every pair of roles, with up to two faults anywhere."""
    assert schedules(scenes(first, 2), faults=2) == TWO_WITH_TWO_FAULTS[first]


@pytest.mark.prove
def test_the_guarantees_hold_for_three_roles() -> None:
    """Every triple of roles, in every order, without faults."""
    assert schedules((roles for first in EVERY for roles in scenes(first, 3)), faults=0) == 3606


@pytest.mark.prove
@pytest.mark.parametrize(("first", "second"), THREE_WITH_ONE_FAULT)
def test_the_guarantees_hold_for_three_roles_and_a_fault(first: Role, second: Role) -> None:
    """Every triple of roles, with one fault anywhere or none."""
    among = [roles for roles in scenes(first, 3) if roles[1] is second]
    assert schedules(among, faults=1) == THREE_WITH_ONE_FAULT[first, second]


@pytest.mark.prove
def test_the_guarantees_hold_for_two_processes_a_thief_and_two_faults() -> None:
    """The most important scene is explored with up to two faults at any steps."""
    assert explore(scene((Role.RENEW, Role.RENEW, Role.STEAL), faults=2)).schedules == 13584


@pytest.mark.prove
def test_the_guarantees_hold_for_two_processes_that_exchange_twice_and_a_fault() -> None:
    """The processes share their storage. Every order is explored, with at most one fault at any step."""
    assert explore(scene((Role.RENEW, Role.RENEW), faults=1, times=2)).schedules == 2462
