"""Eight characters are enough only where no client admits a login on the password alone."""

import pytest

from chalicelib.baton import settings
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.policy import PASSWORD_BESIDE_FACTOR_CHARACTERS_MIN, PASSWORD_CHARACTERS_MIN
from chalicelib.baton.testing.world import World
from tests.baton.fixture import APP, FOLDER
from tests.baton.mail.town import ADA, Town

EIGHT = "vel7#pi!"


def town(clients: str) -> Town:
    """Make a deployment with this registry, without mail."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_FOLDER", FOLDER)
        return Town(World(APP, settings={"BATON_CLIENTS": clients, "BATON_MAIL": "off"}))


def test_eight_characters_are_enough_where_every_client_requires_a_second_factor() -> None:
    """A password without the second factor then begins no login. Seven characters are too few."""
    said = town("clients-strict.toml").device().register(ADA, password=EIGHT)
    assert (said.status, said.code) == (403, "enrolment_required")
    said = town("clients-strict.toml").device().register(ADA, password=EIGHT[:-1])
    assert (said.status, said.code) == (422, "too_short")
    assert said.members["characters_min"] == PASSWORD_BESIDE_FACTOR_CHARACTERS_MIN == 8


@pytest.mark.guarantee(14)
@pytest.mark.parametrize("client_id", ["mobile", "strict"])
def test_eight_characters_beside_one_optional_client_are_too_few(client_id: str) -> None:
    """If one client admits a login with only the password, every password needs fifteen characters.

    This is case 17 of docs/baton/attacks.md.
    """
    said = town("clients-factors.toml").device(client_id=client_id).register(ADA, password=EIGHT)
    assert (said.status, said.code) == (422, "too_short")
    assert said.members["characters_min"] == PASSWORD_CHARACTERS_MIN == 15


@pytest.mark.parametrize("rule", ["optional", "off"])
def test_a_retired_client_counts(rule: str) -> None:
    """A retired client can be put back into service, and the passwords stay."""
    registry = (FOLDER / "clients-strict.toml").read_text("utf-8")
    assert Clients.from_toml(registry).all_require_second_factor
    row = registry.rpartition("[client.retired]")
    assert not Clients.from_toml(row[0] + row[1] + row[2].replace('"required"', f'"{rule}"')).all_require_second_factor
