"""The size of an account state by DynamoDB's rules: six lineages cost one write unit, and each further six one more.

The rules: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from typing import Final

import pytest
from msgspec.structs import replace

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.assurance import ASSURANCES, PROVIDERS_MAX
from chalicelib.baton.lineages.model import AccountState, Attestation, Ended, EndReason, KeyBinding, Lineage, Status
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
from chalicelib.baton.storage.dynamodb.items import END_REASON_CODES, state_item
from chalicelib.baton.storage.dynamodb.passkeys import passkey_value
from chalicelib.baton.storage.dynamodb.values import Value
from chalicelib.baton.testing.contract.factor_values import PASSKEY
from chalicelib.baton.testing.contract.values import MINE_LIVE, NOW
from tools.dev.api.units import WRITE_UNIT_BYTES, size_of, size_of_item

ALL_ROLES: Final = frozenset(range(1, ROLES_MAX + 1))
BUSIEST: Final = MECHANISMS[MechanismName.EXCHANGE]
LARGEST: Final = replace(
    MINE_LIVE,
    epoch=999,
    # One exchange per lifetime of a token, for the lifetime of a lineage.
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


def state_of(lineage: Lineage, count: int, *, roles: frozenset[int] = frozenset()) -> AccountState:
    """Make an account state with this number of copies of a lineage."""
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
def test_the_sizes_of_values_are_those_of_dynamodb(value: Value, size: int) -> None:
    """The calculator is compared with values that were calculated by hand."""
    assert size_of(value) == size


@pytest.mark.parametrize("largest", [LARGEST, SESSION, ENDED, ENDED_SESSION], ids=["live", "session", "ended", "both"])
def test_six_lineages_cost_one_write_unit_and_each_further_six_one_more(largest: Lineage) -> None:
    """The lineages are active or ended, with a device name of 16 bytes. The largest account costs four units."""
    for units in range(1, LINEAGES_MAX // LINEAGES_IN_ONE_UNIT + 1):
        count = units * LINEAGES_IN_ONE_UNIT
        assert size_of_item(state_item(state_of(largest, count))) < units * WRITE_UNIT_BYTES


@pytest.mark.parametrize("largest", [LARGEST, ENDED, ENDED_SESSION], ids=["live", "ended", "both"])
def test_with_every_role_six_lineages_still_cost_one_write_unit(largest: Lineage) -> None:
    """An exchange therefore stays at one write unit. Six active sessions, which are not exchanged, cost two."""
    for units in range(1, LINEAGES_MAX // LINEAGES_IN_ONE_UNIT + 1):
        count = units * LINEAGES_IN_ONE_UNIT
        assert size_of_item(state_item(state_of(largest, count, roles=ALL_ROLES))) < units * WRITE_UNIT_BYTES
    assert size_of_item(state_item(state_of(SESSION, LINEAGES_IN_ONE_UNIT, roles=ALL_ROLES))) < 2 * WRITE_UNIT_BYTES


def test_with_every_right_and_fact_of_the_device_six_lineages_still_cost_one_write_unit() -> None:
    """The largest number of assurance, attestation and provider takes one byte more than a password alone.

    The owner ended every login 98 times. From the hundredth time on, the numbers of epochs would take seven bytes more.
    """
    attested = replace(LARGEST, attestation=Attestation.STRONGBOX, provider=PROVIDERS_MAX, epoch=99)
    largest = replace(
        state_of(attested, LINEAGES_IN_ONE_UNIT, roles=ALL_ROLES),
        epoch=99,
        attributes=bytes(ATTRIBUTES_BYTES_MAX),
        second_factor_required=True,
    )
    plain = {one.id: replace(one, attestation=Attestation.NONE, provider=0) for one in largest.lineages.values()}
    assert size_of_item(state_item(largest)) == 1023 < WRITE_UNIT_BYTES
    assert size_of_item(state_item(replace(largest, lineages=plain))) == 1023 - LINEAGES_IN_ONE_UNIT


@pytest.mark.parametrize("largest", [LARGEST, ENDED, ENDED_SESSION], ids=["live", "ended", "both"])
def test_with_every_right_six_lineages_still_cost_one_write_unit(largest: Lineage) -> None:
    """The account has all roles, the longest attributes, and an operator's requirement of a second factor.

    An exchange costs one unit.
    """
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


def test_roles_take_at_most_seven_bytes_and_none_without_roles() -> None:
    """An account without roles stores no attribute for them."""
    with_all = state_of(LARGEST, 1, roles=ALL_ROLES)
    without = state_item(replace(with_all, roles=frozenset()))
    assert "r" not in without
    assert size_of_item(state_item(with_all)) - size_of_item(without) == 7
    assert state_item(replace(with_all, roles=frozenset({1, 3, 32})))["r"] == {"N": str(1 + 4 + 2**31)}


@pytest.mark.parametrize("code", [0, -1, ROLES_MAX + 1])
def test_a_role_code_above_the_maximum_is_a_defect(code: int) -> None:
    """The registry limits the codes, so the value cannot come from a request."""
    with pytest.raises(ValueError, match="role"):
        state_item(replace(state_of(LARGEST, 1), roles=frozenset({1, code})))


def test_a_seventh_lineage_costs_another_write_unit() -> None:
    """A control of the test above: it fails if another lineage costs nothing."""
    assert size_of_item(state_item(state_of(LARGEST, LINEAGES_IN_ONE_UNIT + 1))) > WRITE_UNIT_BYTES


def test_six_lineages_with_long_names_cost_at_most_two_write_units() -> None:
    """The README promises one unit only for names of up to 16 bytes."""
    longest = replace(LARGEST, label="x" * LABEL_BYTES_MAX)
    assert WRITE_UNIT_BYTES < size_of_item(state_item(state_of(longest, LINEAGES_IN_ONE_UNIT))) < 2 * WRITE_UNIT_BYTES


def test_a_value_above_its_size_limit_is_a_defect() -> None:
    """A device name is cut before, and a thumbprint has 32 bytes, so the value cannot come from a request."""
    with pytest.raises(ValueError, match="label"):
        state_item(state_of(replace(LARGEST, label="é" * (LABEL_BYTES_MAX // 2) + "x"), 1))
    with pytest.raises(ValueError, match="thumbprint"):
        state_item(state_of(replace(LARGEST, binding=KeyBinding(b"k" * 33)), 1))


def test_a_passkey_takes_some_170_bytes() -> None:
    """It has a P-256 key, and a credential id and a name of 16 bytes each. Ten passkeys fit two write units."""
    passkey = replace(
        PASSKEY,
        credential_id=bytes(16),
        public_key=bytes(77),
        counter=0,
        transports=("hybrid", "internal"),
        name="Ada's telephones",
    )
    assert 150 <= size_of_item({passkey.id: passkey_value(passkey)}) <= 190


def test_every_reason_and_assurance_has_its_own_code() -> None:
    """Each value of the model can be stored, under a different number."""
    assert set(END_REASON_CODES) == set(EndReason)
    assert len(set(END_REASON_CODES.values())) == len(EndReason)
    assert len(set(ASSURANCES.values())) == len(ASSURANCES)
