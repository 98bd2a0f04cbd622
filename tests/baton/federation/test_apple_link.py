"""Link and unlink an identity at Apple: its code is traded, and its refresh token waits for the revocation."""

import json
import secrets

import pytest

from tests.baton.federation.linking import MINE, registered, send, unlink
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import Said


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment that has its key for Apple."""
    scene = Scene()
    scene.set_key()
    return scene


def link(phone: Federated, code: str = "") -> Said:
    """Link an identity at Apple, with an authorization code."""
    phone.attempt = secrets.token_urlsafe(16)
    body = {"provider": "apple", "id_token": phone.id_token("apple")}
    return send(phone, json.dumps(body | ({"authorization_code": code} if code else {})).encode())


def test_the_code_of_a_link_is_traded(scene: Scene) -> None:
    """Each link brings a code, and the newest refresh token is kept. A link without a code sends Apple no request."""
    phone = registered(scene)
    assert link(phone).status == 201
    assert scene.apple.forms == []
    assert link(phone, scene.apple.code()).status == 200
    assert len(scene.tables.refresh_tokens) == 1
    assert [path for path, _ in scene.apple.forms] == ["/auth/token"]


def test_a_trade_that_fails_fails_no_link(scene: Scene) -> None:
    """Apple did not issue the code. The link succeeds."""
    phone = registered(scene)
    assert link(phone, "unknown").status == 201
    assert scene.events("apple_code_not_traded")
    assert [one["provider"] for one in phone.get(MINE).members["identities"]] == ["apple"]


def test_the_token_of_an_unlinked_identity_waits_for_its_revocation(scene: Scene) -> None:
    """The identity no longer has the token: it waits, or Apple has revoked it."""
    phone = registered(scene)
    assert link(phone, scene.apple.code()).status == 201
    assert unlink(phone, "apple").status == 204
    assert scene.tables.refresh_tokens == {}
    shards = range(16)
    waiting = [token for shard in shards for token in scene.baton._parts.storage.provider_tokens.waiting(shard)]
    revoked = [path for path, _ in scene.apple.forms if path == "/auth/revoke"]
    assert len(waiting) + len(revoked) == 1
