"""Evidence of a person who moves here from another system at this login."""

from chalicelib.baton.accounts.migration import Migrated, Migration
from tests.baton.attestation.scene import Scene

EMAIL = "ada@example.com"
OLD = "the password of the other system"


def test_the_evidence_of_a_person_who_moves_is_recorded_for_the_new_account() -> None:
    """It must not belong to the account id of the unknown address. Otherwise the activity would lack the device."""
    scene = Scene()
    for baton in scene.batons:
        baton._migration = Migration(lambda _, password: Migrated() if password == OLD else None, scene.clock.now + 1)
    phone = scene.phone()
    assert phone.login(EMAIL, password=OLD, attestation=phone.evidence()).status == 200
    [attested] = scene.events("attested")
    [logged_in] = scene.events("logged_in")
    assert attested["account"] == logged_in["account"]
