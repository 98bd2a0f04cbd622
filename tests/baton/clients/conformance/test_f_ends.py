"""Scenarios F: logouts, thefts, clones, backups, lost keys, broken storages."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.baton.testing.world import World
from tests.baton.clients.conformance.scene import EMAIL, PASSWORD, Agent, Scene, eventually, scenarios
from tests.baton.mail.town import find_code

pytestmark = pytest.mark.prove(ci=True)

NEW = "another lantern drifting sideways"


def confirmed(agent: Agent) -> Any:
    """Log out. Return whether the server has confirmed it."""
    return agent("logout")["confirmed"]


@scenarios(57)
def test_57_logout_and_again(scene: Scene) -> None:
    """The server confirms both logouts."""
    agent = scene.registered()
    other = scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    assert confirmed(agent)
    assert confirmed(agent)
    assert not agent("state")["signed_in"]
    assert sorted(scene.reasons(other), key=str) == [None, "logout"]


@scenarios(58)
def test_58_logout_offline(scene: Scene) -> None:
    """The person is logged out immediately, and the token is revoked later. A login in between stays active."""
    agent = scene.registered()
    lost = scene.line.fault("POST", "/oauth/revoke", "lose_request", times=999)
    assert not confirmed(agent)
    assert not agent("state")["signed_in"]
    assert agent.fails("me").kind == "not_logged_in"
    agent("login", email=EMAIL, password=PASSWORD)
    agent("me")
    lost.times = 0
    agent.kill()
    again = scene.agent()
    again("me")
    assert again("record")["revocations"] == 0
    assert len([one for one in scene.line.sent("/oauth/revoke") if one.status == 200]) == 1


@scenarios(59)
def test_59_killed_during_a_logout(scene: Scene) -> None:
    """The person is logged out, and the next process revokes the token."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    held = scene.line.fault("POST", "/oauth/revoke", "hold_request")
    agent.begin("logout")
    assert held.held.wait(10)
    agent.kill()
    again = scene.agent()
    assert not again("state")["signed_in"]
    again("logout")
    held.release.set()
    assert sorted(scene.reasons(other), key=str) == [None, "logout"]


@scenarios(60)
def test_60_logout_everywhere(scene: Scene) -> None:
    """The logins of both devices end."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    agent("logout_everywhere", password=PASSWORD)
    assert other.fails("me").reason == "ended_everywhere"
    assert not agent("state")["signed_in"]


@scenarios(60)
def test_60_the_answer_to_a_logout_everywhere_is_lost(scene: Scene) -> None:
    """The repetition finds the login ended. The method returns as usual, because the logins have ended as required."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    scene.line.fault("POST", "/logout", "lose_answer", skip=1)  # the first sending has no grant yet
    agent("logout_everywhere", password=PASSWORD)
    assert len(scene.line.sent("/logout")) == 3
    assert not agent("state")["signed_in"]
    assert other.fails("me").reason == "ended_everywhere"


@scenarios(60)
def test_60_a_logout_everywhere_after_that_of_another_device(scene: Scene) -> None:
    """The other device has logged in again. The method must not return as if that login had ended."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    other("logout_everywhere", password=PASSWORD)
    other("login", email=EMAIL, password=PASSWORD)
    assert agent.fails("logout_everywhere", password=PASSWORD).reason == "ended_everywhere"
    other("me")


@scenarios(61)
def test_61_ended_elsewhere(scene: Scene) -> None:
    """The app gets the end reason, which survives a restart."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    other("end_device", device_id=agent("record")["device_id"], password=PASSWORD)
    assert agent.fails("me").reason == "ended_by_owner"
    assert agent.fails("me").kind == "not_logged_in"
    assert scene.agent()("state") == {"signed_in": False, "reason": "ended_by_owner"}


@scenarios(62)
def test_62_the_password_is_changed_elsewhere(scene: Scene) -> None:
    """The login on the other device ends."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    other("change_password", password=PASSWORD, new_password=NEW)
    assert agent.fails("me").reason == "password_changed"
    other("me")


@scenarios(62)
def test_62_the_password_is_reset_by_mail(scene: Scene) -> None:
    """Every login ends, because the address was never proved before. The answers to both requests are lost once."""
    agent, other = scene.registered(), scene.agent("b")
    scene.line.fault("POST", "/password/forgot", "lose_answer")
    scene.line.fault("POST", "/password/reset", "lose_answer")
    session = other("forgot_password", email=EMAIL)
    code = find_code(scene.world.mails[-1])
    assert other.fails("reset_password", session=session, code="0000 0000", new_password=NEW).code == "invalid_code"
    other("reset_password", session=session, code=code, new_password=NEW)
    assert agent.fails("me").reason == "claimed"
    other("login", email=EMAIL, password=NEW)
    other("me")


@scenarios(63)
def test_63_the_account_is_deleted_elsewhere(scene: Scene) -> None:
    """The client is logged out."""
    agent, other = scene.registered(), scene.agent("b")
    other("login", email=EMAIL, password=PASSWORD)
    other("delete_account", password=PASSWORD)
    assert agent.fails("me").kind == "logged_out"
    assert not other("state")["signed_in"]


@scenarios(64)
def test_64_a_thief_with_his_own_attempt(scene: Scene) -> None:
    """Both devices are logged out with reason `reuse`, and the next login has a new key."""
    scene.own_attempts = True
    agent = scene.registered()
    scene.copied("a", "thief")
    thief = scene.agent("thief")
    thief("own_attempt")
    scene.exchanged(thief)
    key = agent("record")["key"]
    agent("expire")
    assert agent.fails("me").reason == "reuse"
    assert thief.fails("me").reason == "reuse"
    agent("login", email=EMAIL, password=PASSWORD)
    assert agent("record")["key"] != key


@scenarios(65)
def test_65_a_clone_exchanges_twice(scene: Scene) -> None:
    """Rule 8: the owner's client revokes its token, both devices are logged out, and the next login has a new key."""
    agent = scene.registered(scale=0.3)
    scene.copied("a", "clone")
    clone = scene.agent("clone")
    scene.exchanged(clone)
    scene.exchanged(clone)
    key = agent("record")["key"]
    agent("expire")
    ended = agent.fails("me")
    assert (ended.kind, ended.reason, ended.confirmed) == ("logged_out", "reuse", True)
    assert clone.fails("me").reason == "reuse"
    agent("login", email=EMAIL, password=PASSWORD)
    assert agent("record")["key"] != key
    assert "reuse" in scene.reasons(agent)


@scenarios(66)
def test_66_a_clone_while_the_revocation_is_lost(scene: Scene) -> None:
    """The client is logged out. It stores the revocation, and a later process sends it."""
    agent = scene.registered()
    scene.copied("a", "clone")
    clone = scene.agent("clone")
    scene.exchanged(clone)
    scene.exchanged(clone)
    agent("expire")
    lost = scene.line.fault("POST", "/oauth/revoke", "lose_request", times=999)
    ended = agent.fails("me")
    assert (ended.reason, ended.confirmed) == ("reuse", False)
    assert agent("record")["revocations"] == 1
    agent.kill()
    clone("me")
    lost.times = 0
    scene.agent()("login", email=EMAIL, password=PASSWORD)
    assert clone.fails("me").reason == "reuse"


@scenarios(67)
def test_67_a_sibling_exchanges_twice(scene: Scene) -> None:
    """A sibling process stored its children in the same record, so the client sends no revocation."""
    agent, sibling = scene.registered(), scene.agent()
    held = scene.line.fault("POST", "/oauth/token", "hold_request")
    agent("expire")
    number = agent.begin("me")
    assert held.held.wait(10)
    scene.exchanged(sibling)
    scene.exchanged(sibling)
    held.release.set()
    agent.wait(number)
    assert scene.line.sent("/oauth/revoke") == []
    assert scene.reasons(agent) == [None]


@scenarios(68, 69, 70)
@pytest.mark.parametrize(("generations", "ends"), [(1, False), (2, True), (6, True)])
def test_68_to_70_a_backup(scene: Scene, generations: int, ends: bool) -> None:  # noqa: FBT001 - a parameter
    """A backup that is one generation old continues. An older backup ends the login with reason `reuse`."""
    agent = scene.registered()
    scene.copied("a", "backup")
    for _ in range(generations):
        scene.exchanged(agent)
    agent.kill()
    scene.copied("backup", "a")
    restored = scene.agent()
    restored("expire")
    if ends:
        assert restored.fails("me").reason == "reuse"
    else:
        restored("me")


@scenarios(71)
def test_71_the_key_is_lost(scene: Scene) -> None:
    """The client is logged out, and the next login has a new key."""
    agent = scene.registered()
    agent("lose_key")
    ended = agent.fails("me")
    assert (ended.kind, ended.reason) == ("logged_out", "key_lost")
    agent("login", email=EMAIL, password=PASSWORD)
    agent("me")


@scenarios(72)
def test_72_the_storage_is_locked(scene: Scene) -> None:
    """The client sends nothing, and the login stays active."""
    agent = scene.registered()
    agent("set", locked=True)
    count = len(scene.line.log)
    assert agent.fails("me").kind == "storage_unavailable"
    assert len(scene.line.log) == count
    agent("set", locked=False)
    agent("me")


@scenarios(73)
def test_73_the_disk_is_full_at_the_child(scene: Scene) -> None:
    """The client does not use a child that it cannot store. With free space, it gets the same child again."""
    agent = scene.registered()
    agent("expire")
    agent("set", full=True)
    assert agent.fails("me").kind == "storage_unavailable"
    agent("set", full=False)
    agent("me")
    assert len(scene.line.sent("/oauth/token")) == 2
    assert scene.reasons(agent) == [None]


@scenarios(74, 75)
@pytest.mark.parametrize("text", ["{", '{"v": 9}'], ids=["74 broken", "75 newer"])
def test_74_and_75_a_record_that_cannot_be_read(scene: Scene, text: str) -> None:
    """The client does not change the record, and sends nothing."""
    agent = scene.registered()
    files = [path for path in (scene.folder / "a").rglob("record*") if path.is_file() and path.suffix != ".lock"]
    newest = max(files)
    newest.write_text(text, "utf-8")
    count = len(scene.line.log)
    assert agent.fails("me").kind == "broken_storage"
    assert agent.fails("login", email=EMAIL, password=PASSWORD).kind == "broken_storage"
    assert (newest.read_text("utf-8"), len(scene.line.log)) == (text, count)


@scenarios(76)
def test_76_a_token_that_is_unknown_here(scene: Scene, make_world: Callable[..., World]) -> None:
    """The server is another deployment with other keys: the client is logged out, and does not loop."""
    agent = scene.registered()
    make_world()
    count = len(scene.line.log)
    assert agent.fails("me").kind == "logged_out"
    assert len(scene.line.log) - count <= 2


def test_an_idle_login_has_ended(scene: Scene) -> None:
    """The client reports the end reason of the server."""
    agent = scene.registered()
    scene.world.clock.skip(days=31)
    agent("set", skew=scene.world.clock.time() - time.time())
    assert agent.fails("me").reason in {"idle", "login_required"}
    eventually(lambda: not agent("state")["signed_in"], "the session has ended")
