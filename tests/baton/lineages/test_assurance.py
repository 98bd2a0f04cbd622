"""The stored number of a way of authentication, an attestation and an identity provider."""

from itertools import product

import pytest

from chalicelib.baton.lineages.assurance import (
    ASSURANCES,
    PASSWORD,
    PROVIDERS_MAX,
    TOTP_ALONE,
    assurance_number,
    read_assurance,
)
from chalicelib.baton.lineages.model import Attestation


def test_the_number_is_the_code_with_attestation_and_provider_above_it() -> None:
    """The number is code + 64 * attestation + 512 * provider.

    Stored lineages have these numbers, so they must never change.
    """
    assert assurance_number(PASSWORD) == 1
    assert assurance_number(PASSWORD, Attestation.STRONGBOX) == 1 + 64 * 4
    assert assurance_number(TOTP_ALONE, Attestation.APP_IN_DEVELOPMENT, 15) == 8 + 64 * 2 + 512 * 15
    assert [int(one) for one in Attestation] == [0, 1, 2, 3, 4]


def test_every_number_is_read_as_it_was_written() -> None:
    """Two different values never have the same number."""
    parts = list(product(ASSURANCES.values(), Attestation, range(PROVIDERS_MAX + 1)))
    numbers = [assurance_number(*part) for part in parts]
    assert [read_assurance(number) for number in numbers] == parts
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("number", [0, 63, 64, 1 + 64 * 5, 1 + 64 * 7, 1 + 512 * 16, -1])
def test_a_number_that_baton_never_writes_is_refused(number: int) -> None:
    """An unknown code, attestation or provider becomes a server error, never a verdict."""
    with pytest.raises((KeyError, ValueError)):
        read_assurance(number)


@pytest.mark.parametrize("provider", [-1, PROVIDERS_MAX + 1])
def test_a_provider_without_a_code_is_a_defect(provider: int) -> None:
    """The registry limits the codes, so the value cannot come from a request."""
    with pytest.raises(ValueError, match="1 to 15"):
        assurance_number(PASSWORD, provider=provider)
