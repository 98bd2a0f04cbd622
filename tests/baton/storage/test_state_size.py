"""An account state's size by DynamoDB's own rules: six lineages cost one write unit, each further six one more.

The rules: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.model import AccountState, Ended, EndReason, KeyBinding, Lineage, Status
from chalicelib.baton.policy import (
    ATTRIBUTES_BYTES_MAX,
    DAY_S,
    LABEL_BYTES_MAX,
    LINEAGES_IN_ONE_UNIT,
    LINEAGES_MAX,
    MECHANISMS,
    ROLES_MAX,
    MechanismName,
)
from chalicelib.baton.storage.dynamodb.items import ASSURANCES, END_REASON_CODES, Item, Value, state_item
from chalicelib.baton.testing.contract.values import MINE_LIVE, NOW

WRITE_UNIT_BYTES: Final = 1024

ALL_ROLES: Final = frozenset(range(1, ROLES_MAX + 1))
BUSIEST: Final = MECHANISMS[MechanismName.EXCHANGE]
LARGEST: Final = replace(
    MINE_LIVE,
    epoch=999,
    # One exchange per life of a token, for as long as a lineage lives.
    generation=BUSIEST.absolute_s // BUSIEST.access_s,
    issued_at=NOW + 123_457,
    expires_at=NOW + 90 * DAY_S + 1,
    auth_time=NOW + 1,
    client=255,
    label="Samsung Galaxy S",
)
SESSION: Final = replace(LARGEST, generation=0, in_use_since=NOW + 1)
ENDED: Final = replace(LARGEST, ended=Ended(NOW + 1, EndReason.REUSE))
ENDED_SESSION: Final = replace(SESSION, ended=Ended(NOW + 1, EndReason.REUSE))


def size_of_item(item: Item) -> int:
    """Add up names and values."""
    return sum(len(name.encode()) + size_of(value) for name, value in item.items())


def size_of(value: Value) -> int:
    """Weigh one value: containers cost 3 bytes, and 1 more for each element."""
    [(kind, held)] = value.items()
    match kind, held:
        case "S", str():
            return len(held.encode())
        case "B", bytes():
            return len(held)
        case "N", str():
            digits = held.lstrip("-").strip("0") or "0"
            return (len(digits) + 1) // 2 + 1 + held.startswith("-")
        case "M", dict():
            return 3 + sum(1 + len(name.encode()) + size_of(inner) for name, inner in held.items())
        case "L", list():
            return 3 + sum(1 + size_of(inner) for inner in held)
        case _:
            raise AssertionError(kind)


def state_of(lineage: Lineage, count: int, *, roles: frozenset[int] = frozenset()) -> AccountState:
    """Fill an account state with so many of a lineage."""
    ids = [LineageId(f"AQAAAAAAAAAAAA{number:02}") for number in range(count)]
    return AccountState(
        account=AccountId("A" * 16),
        status=Status.ACTIVE,
        epoch=999,
        credentials_version=999,
        lineages={one: replace(lineage, id=one) for one in ids},
        raised=Ended(NOW + 1, EndReason.ENDED_EVERYWHERE),
        roles=roles,
    )


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "é"}, 2),
        ({"B": b"123"}, 3),
        ({"N": "0"}, 2),
        ({"N": "1"}, 2),
        ({"N": "1700000000"}, 2),
        ({"N": "1700000001"}, 6),
        ({"N": "-27"}, 3),
        ({"L": [{"B": b"12"}, {"B": b"34"}]}, 9),
        ({"M": {"ab": {"S": "c"}}}, 7),
    ],
)
def test_values_weigh_what_dynamodb_says(value: Value, size: int) -> None:
    """The calculator itself is held against values weighed by hand."""
    assert size_of(value) == size


@pytest.mark.parametrize("largest", [LARGEST, SESSION, ENDED, ENDED_SESSION], ids=["live", "session", "ended", "both"])
def test_six_lineages_cost_one_write_unit_and_each_further_six_one_more(largest: Lineage) -> None:
    """Live or ended, with a device name of 16 bytes. The largest account costs four."""
    for units in range(1, LINEAGES_MAX // LINEAGES_IN_ONE_UNIT + 1):
        count = units * LINEAGES_IN_ONE_UNIT
        assert size_of_item(state_item(state_of(largest, count))) < units * WRITE_UNIT_BYTES


@pytest.mark.parametrize("largest", [LARGEST, ENDED, ENDED_SESSION], ids=["live", "ended", "both"])
def test_with_every_role_six_lineages_still_cost_one_write_unit(largest: Lineage) -> None:
    """So an exchange stays one write unit. Six live sessions, which exchange nothing, cost a second one then."""
    for units in range(1, LINEAGES_MAX // LINEAGES_IN_ONE_UNIT + 1):
        count = units * LINEAGES_IN_ONE_UNIT
        assert size_of_item(state_item(state_of(largest, count, roles=ALL_ROLES))) < units * WRITE_UNIT_BYTES
    assert size_of_item(state_item(state_of(SESSION, LINEAGES_IN_ONE_UNIT, roles=ALL_ROLES))) < 2 * WRITE_UNIT_BYTES


@pytest.mark.parametrize("largest", [LARGEST, ENDED, ENDED_SESSION], ids=["live", "ended", "both"])
def test_with_every_right_six_lineages_still_cost_one_write_unit(largest: Lineage) -> None:
    """All roles, the longest attributes, and a second factor that an operator requires: an exchange is one unit."""
    with_all = replace(
        state_of(largest, LINEAGES_IN_ONE_UNIT, roles=ALL_ROLES),
        attributes=bytes(ATTRIBUTES_BYTES_MAX),
        second_factor_required=True,
    )
    without = replace(with_all, attributes=b"", second_factor_required=False)
    assert size_of_item(state_item(with_all)) <= WRITE_UNIT_BYTES
    assert size_of_item(state_item(with_all)) - size_of_item(state_item(without)) == 1 + ATTRIBUTES_BYTES_MAX + 1 + 2
    assert {"A", "q"}.isdisjoint(state_item(without))


def test_attributes_over_their_limit_are_never_written() -> None:
    """The store checks the limit too."""
    with pytest.raises(ValueError, match="at most 32 bytes"):
        state_item(replace(state_of(LARGEST, 1), attributes=bytes(ATTRIBUTES_BYTES_MAX + 1)))


def test_roles_weigh_at_most_seven_bytes_and_nothing_where_there_are_none() -> None:
    """An account without roles stores none: its item is the one of before there were roles."""
    with_all = state_of(LARGEST, 1, roles=ALL_ROLES)
    without = state_item(replace(with_all, roles=frozenset()))
    assert "r" not in without
    assert size_of_item(state_item(with_all)) - size_of_item(without) == 7
    assert state_item(replace(with_all, roles=frozenset({1, 3, 32})))["r"] == {"N": str(1 + 4 + 2**31)}


@pytest.mark.parametrize("code", [0, -1, ROLES_MAX + 1])
def test_a_role_over_the_number_of_roles_is_never_written(code: int) -> None:
    """The registry bounds the codes: anything else is a defect."""
    with pytest.raises(ValueError, match="role"):
        state_item(replace(state_of(LARGEST, 1), roles=frozenset({1, code})))


def test_a_seventh_lineage_costs_another_write_unit() -> None:
    """The test above can fail."""
    assert size_of_item(state_item(state_of(LARGEST, LINEAGES_IN_ONE_UNIT + 1))) > WRITE_UNIT_BYTES


def test_six_lineages_with_long_names_cost_at_most_two_write_units() -> None:
    """As the README says of names over 16 bytes."""
    longest = replace(LARGEST, label="x" * LABEL_BYTES_MAX)
    assert WRITE_UNIT_BYTES < size_of_item(state_item(state_of(longest, LINEAGES_IN_ONE_UNIT))) < 2 * WRITE_UNIT_BYTES


def test_what_would_outgrow_the_budget_is_never_written() -> None:
    """A label is cut by whoever makes the lineage, and a thumbprint is 32 bytes: anything else is a defect."""
    with pytest.raises(ValueError, match="label"):
        state_item(state_of(replace(LARGEST, label="é" * (LABEL_BYTES_MAX // 2) + "x"), 1))
    with pytest.raises(ValueError, match="thumbprint"):
        state_item(state_of(replace(LARGEST, binding=KeyBinding(b"k" * 33)), 1))


def test_every_reason_and_assurance_has_a_code_of_its_own() -> None:
    """What the model knows can be stored, under different numbers."""
    assert set(END_REASON_CODES) == set(EndReason)
    assert len(set(END_REASON_CODES.values())) == len(EndReason)
    assert len(set(ASSURANCES.values())) == len(ASSURANCES)
