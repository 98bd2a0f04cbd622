"""Scenarios of people who come from another system, and of narrowed tokens."""

import secrets

import bcrypt

from chalicelib.baton.accounts.arriving import Arrival, account_of
from chalicelib.baton.accounts.migration import Migrated, Migration
from chalicelib.baton.effects import Done
from tests.baton.proofs.faults.endpoints import EMAIL, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import PASSWORD
from tests.baton.wire.test_narrowed import narrow

HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


def arrive(stage: Stage, arrival: Arrival) -> None:
    """Import a person."""
    baton, now = stage.module.baton, int(stage.clock.time())
    made = account_of(arrival, baton.key_ring.current(now=now), entropy=secrets.token_bytes, now=now)
    assert baton.users.register(*made) == Done()


def asked_elsewhere(stage: Stage) -> None:
    """Let the deployment call another system, which has one person."""
    elsewhere = Migration(lambda email, typed: Migrated() if (email, typed) == (EMAIL, PASSWORD) else None, 2**33)
    stage.module.baton._migration = elsewhere


@scenario("POST /login", "of an imported person")
def _(stage: Stage) -> Act:
    arrive(stage, Arrival(email=EMAIL, source_id="old", password_hash=HASH))
    return stage.by_client(stage.client(), lambda phone: phone.login(EMAIL, PASSWORD, "tablet"))


@scenario("POST /login", "of a person who moves")
def _(stage: Stage) -> Act:
    asked_elsewhere(stage)
    return stage.by_client(stage.client(), lambda phone: phone.login(EMAIL, PASSWORD, "tablet"))


@scenario("POST /login", "of a person who was imported and moves")
def _(stage: Stage) -> Act:
    asked_elsewhere(stage)
    arrive(stage, Arrival(email=EMAIL, source_id="old", migrate=True))
    return stage.by_client(stage.client(), lambda phone: phone.login(EMAIL, PASSWORD, "tablet"))


@scenario("POST /oauth/token", "for another server")
def _(stage: Stage) -> Act:
    return stage.by_device(registered(stage), narrow)
