"""The deletion of an account revokes its refresh token at Apple (TN3194)."""

import re

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.baton.factors.ports import NotFetched, Posted
from chalicelib.baton.federation.model import (
    REVOCATIONS_STUCK_S,
    REVOKED_WITHIN_S,
    REVOKING_MAX_S,
)
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.policy import HOUR_S
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import PASSWORD

EMAIL = "ada@privaterelay.appleid.com"
DOWN = NotFetched("TimeoutError")


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment that has its key for Apple."""
    scene = Scene(environ={"BATON_MAIL": "mailbox"})
    scene.set_key()
    return scene


def owner(scene: Scene) -> Federated:
    """Return the phone of a person who signed up with Apple, and set a password by mail."""
    phone = scene.phone()
    assert phone.enter("apple", create=True, email=EMAIL, email_verified="true").status == 201
    device = {"public_key": phone.key.jwk()}
    begun = phone.post("/password/forgot", {"email": EMAIL, "client_id": "mobile", "device": device}, token=None)
    [code] = re.findall(r"\d{4} \d{4}", scene.mailbox.mails[-1].text)
    reset = {"mail_session": begun.members["mail_session"], "code": code, "new_password": PASSWORD}
    assert phone.post("/password/reset", reset, token=None).status == 204
    assert phone.enter("apple", members={"authorization_code": scene.apple.code()}).status == 200
    return phone


def events(scene: Scene) -> dict[str, str]:
    """Return the last reason of each event of a revocation."""
    return {
        str(line["message"]).removeprefix("apple_"): line.get("reason", "")
        for line in scene.lines
        if str(line.get("message")).startswith("apple_")
    }


def run(scene: Scene) -> None:
    """Run the hourly job."""
    scene.baton._revoke_tokens()


def test_a_deletion_revokes_the_token(scene: Scene) -> None:
    """Apple gets one revocation, after the deletion. Baton keeps no part of the token."""
    phone = owner(scene)
    (token,) = scene.apple.live
    assert phone.confirmed("DELETE", "/me").status == 204
    assert scene.apple.revoked == [token]
    assert [path for path, _ in scene.apple.forms] == ["/auth/token", "/auth/revoke"]
    assert (scene.accounts, scene.tables.identities, scene.tables.refresh_tokens) == (0, {}, {})
    assert scene.tables.to_revoke == {}
    assert events(scene) == {}


def test_the_account_is_deleted_while_apple_is_down(scene: Scene) -> None:
    """The answer is 204 after one try. The hourly job revokes the token later, and the person may sign up again."""
    phone = owner(scene)
    (token,) = scene.apple.live
    scene.apple.hook = lambda *_: DOWN
    assert phone.confirmed("DELETE", "/me").status == 204
    assert len(scene.apple.forms) == 2
    assert (scene.accounts, len(scene.tables.to_revoke)) == (0, 1)
    assert events(scene) == {"token_not_revoked": "TimeoutError"}
    run(scene)
    assert events(scene)["revocations_checked"] == "TimeoutError"
    assert len(scene.tables.to_revoke) == 1
    scene.apple.hook = None
    scene.clock.skip(hours=1)
    run(scene)
    assert (scene.apple.revoked, scene.tables.to_revoke) == ([token], {})
    assert events(scene)["revocations_checked"] == ""
    assert scene.phone().enter("apple", create=True).status == 201


def test_a_token_that_apple_revoked_is_done(scene: Scene) -> None:
    """The person removed the app before, so Apple answers `invalid_grant`. The deletion is complete."""
    phone = owner(scene)
    scene.apple.live.clear()
    assert phone.confirmed("DELETE", "/me").status == 204
    assert (scene.tables.to_revoke, events(scene)) == ({}, {})


def test_a_deletion_without_a_token_asks_apple_nothing(scene: Scene) -> None:
    """The account is deleted, and Apple gets no request."""
    phone = owner(scene)
    scene.tables.refresh_tokens.clear()
    scene.apple.forms.clear()
    assert phone.confirmed("DELETE", "/me").status == 204
    assert (scene.accounts, scene.apple.forms) == (0, [])


@pytest.mark.parametrize("verb", ["of", "end"])
def test_a_storage_that_fails_around_the_revocation(scene: Scene, verb: str) -> None:
    """The account is deleted, and the job revokes the token."""
    phone = owner(scene)
    scene.faults.fail(1, verb=verb)
    assert phone.confirmed("DELETE", "/me").status == 204
    assert (scene.accounts, len(scene.tables.to_revoke)) == (0, 1)
    run(scene)
    assert (len(scene.apple.revoked), scene.tables.to_revoke) == (1, {})


def test_an_operator_deletes_an_account(scene: Scene) -> None:
    """The operator's function does not call Apple. The hourly job revokes the token."""
    owner(scene)
    (account,) = scene.tables.users
    scene.baton.lineage_store.set_status(account, Status.DELETED, now=scene.clock.now)
    scene.baton.users.forget(account, scene.tables.users[account].email_index, now=scene.clock.now)
    assert len(scene.apple.forms) == 1
    run(scene)
    assert (len(scene.apple.revoked), scene.tables.to_revoke) == (1, {})


def waiting(scene: Scene, people: int) -> None:
    """Delete the accounts of this number of people."""
    for number in range(people):
        code = scene.apple.code(sub=f"person {number}")
        phone = scene.phone()
        members = {"authorization_code": code}
        assert phone.enter("apple", f"person {number}", create=True, members=members).status == 201
    for account in list(scene.tables.users):
        scene.baton.lineage_store.set_status(account, Status.DELETED, now=scene.clock.now)
        scene.baton.users.forget(account, scene.tables.users[account].email_index, now=scene.clock.now)
    assert len(scene.tables.to_revoke) == people


def test_one_token_does_not_keep_the_others(scene: Scene) -> None:
    """One token cannot be decrypted, and Apple refuses one. Each other token is revoked."""
    waiting(scene, 3)
    bad = next(iter(scene.tables.to_revoke.values()))
    refused = list(scene.apple.live)[1]

    def hook(_: str, form: object) -> Posted | None:
        return Posted(400, b'{"error": "invalid_request"}') if refused in str(form) else None

    scene.apple.hook = hook
    scene.tables.to_revoke[bad.id] = type(bad)("another account", bad.sealed, bad.removed_at)  # type: ignore[arg-type]
    run(scene)
    assert len(scene.apple.revoked) >= 1
    assert len(scene.apple.revoked) + len(scene.tables.to_revoke) == 3
    assert bad.id in scene.tables.to_revoke


def test_a_run_ends_in_time(scene: Scene) -> None:
    """Each call may last two seconds, and Lambda ends the function after fifteen."""
    waiting(scene, 8)

    def slow(_: str, __: object) -> NotFetched:
        scene.clock.skip(seconds=2)
        return DOWN

    scene.apple.hook, scene.apple.forms = slow, []
    run(scene)
    assert len(scene.apple.forms) == REVOKING_MAX_S / 2
    assert len(scene.tables.to_revoke) == 8


def test_a_token_that_waits_too_long_is_told_and_then_dropped(scene: Scene) -> None:
    """After a day an event raises an alarm. After 30 days the token is dropped."""
    waiting(scene, 1)
    scene.apple.hook = lambda *_: DOWN
    scene.clock.skip(seconds=REVOCATIONS_STUCK_S)
    run(scene)
    assert "revocations_stuck" not in events(scene)
    scene.clock.skip(seconds=HOUR_S)
    run(scene)
    assert events(scene)["revocations_stuck"] == "TimeoutError"
    scene.clock.skip(seconds=REVOKED_WITHIN_S - REVOCATIONS_STUCK_S - HOUR_S)
    run(scene)
    assert len(scene.tables.to_revoke) == 1
    scene.clock.skip(seconds=1)
    run(scene)
    assert scene.tables.to_revoke == {}
    assert events(scene)["revocation_given_up"] == "TimeoutError"


def test_a_missing_and_a_replaced_key(scene: Scene) -> None:
    """A new key revokes the tokens that the old one traded."""
    waiting(scene, 1)
    sealed, scene.tables.apple_key = scene.tables.apple_key, b""
    run(scene)
    assert events(scene)["revocations_checked"] == "the key for Apple: no key is stored"
    scene.tables.apple_key = sealed
    scene.apple.private = ec.generate_private_key(ec.SECP256R1())
    run(scene)
    assert events(scene)["revocations_checked"] == "invalid_client"
    scene.set_key()
    run(scene)
    assert (len(scene.apple.revoked), scene.tables.to_revoke) == (1, {})


def test_the_job_without_an_apple_row(scene: Scene) -> None:
    """The event names why the tokens wait."""
    waiting(scene, 1)
    other = Scene(rows="", tables=scene.tables)
    run(other)
    assert events(other)["revocations_checked"] == "providers.toml has no provider of kind apple"
    assert len(scene.tables.to_revoke) == 1
