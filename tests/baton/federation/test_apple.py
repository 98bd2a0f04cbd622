"""Sign in with Apple: the trade of the authorization code, after the login."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from chalicelib.baton.factors.ports import NotFetched, Posted
from chalicelib.baton.federation.model import CODE_CHARACTERS_MAX
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import Said


@pytest.fixture
def scene() -> Scene:
    """Begin a deployment that has its key for Apple."""
    scene = Scene()
    scene.set_key()
    return scene


def enter(phone: Federated, code: str = "", *, create: bool = False, **named: Any) -> Said:
    """Log in with Apple, with an authorization code."""
    members = {"authorization_code": code} if code else {}
    return phone.enter("apple", create=create, members=members, **named)


def reasons(scene: Scene, event: str = "apple_code_not_traded") -> list[str]:
    """Return the reason of each event with this name."""
    return [line["reason"] for line in scene.events(event)]


@pytest.mark.parametrize("create", [True, False])
def test_the_code_is_traded_after_the_login(scene: Scene, *, create: bool) -> None:
    """Baton trades a code at the sign-up and at each login. It stores the refresh token only sealed."""
    if not create:
        enter(scene.phone(), create=True)
    assert enter(scene.phone(), scene.apple.code(), create=create).status == (201 if create else 200)
    ((path, form),) = scene.apple.forms
    assert path == "/auth/token"
    assert form["client_id"] == "com.example.app"
    (refresh_token,) = scene.apple.live
    ((sealed, at),) = scene.tables.refresh_tokens.values()
    assert at == scene.clock.now
    assert refresh_token.encode() not in sealed
    assert reasons(scene) == []


def test_the_newest_refresh_token_stays(scene: Scene) -> None:
    """Each login trades its own code."""
    enter(scene.phone(), scene.apple.code(), create=True)
    first = dict(scene.tables.refresh_tokens)
    enter(scene.phone(), scene.apple.code())
    assert first.keys() == scene.tables.refresh_tokens.keys()
    assert first != scene.tables.refresh_tokens


def test_a_login_without_a_code_asks_apple_nothing(scene: Scene) -> None:
    """Baton also ignores the code of another provider."""
    assert enter(scene.phone(), create=True).status == 201
    assert scene.phone().enter(create=True, members={"authorization_code": "x"}).status == 201
    assert scene.apple.forms == []


def test_a_code_that_is_too_long_is_refused(scene: Scene) -> None:
    """Baton refuses it before it verifies anything."""
    said = enter(scene.phone(), "x" * (CODE_CHARACTERS_MAX + 1), create=True)
    assert (said.status, said.members["pointer"], scene.accounts) == (422, "/authorization_code", 0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (NotFetched("TimeoutError"), "TimeoutError"),
        (Posted(503, b"<html>"), "status 503"),
        (Posted(400, b'{"error": "invalid_client"}'), "invalid_client"),
        (Posted(400, b'{"error": "made up by the server"}'), "status 400"),
        (Posted(200, b"no JSON"), "an unexpected answer"),
        (Posted(200, b'{"refresh_token": "r", "id_token": "a.!.b"}'), "an unexpected answer"),
        (Posted(200, b'{"refresh_token": "r", "id_token": "none"}'), "the code is of another person or app"),
    ],
)
def test_a_login_while_the_trade_is_down(scene: Scene, answer: Posted | NotFetched, reason: str) -> None:
    """The login gets 200, the event has the reason, and Apple is called once."""
    enter(scene.phone(), create=True)
    scene.apple.hook = lambda *_: answer
    assert enter(scene.phone(), scene.apple.code()).status == 200
    assert reasons(scene) == [reason]
    assert len(scene.apple.forms) == 1
    assert scene.tables.refresh_tokens == {}


def test_the_code_of_another_person_is_not_kept(scene: Scene) -> None:
    """Otherwise a thief of a code could delete an account of their own, and so end the consent of the owner."""
    assert enter(scene.phone(), scene.apple.code(sub="bob"), create=True).status == 201
    assert reasons(scene) == ["the code is of another person or app"]
    assert scene.tables.refresh_tokens == {}


def test_an_answer_for_another_app_is_not_kept(scene: Scene) -> None:
    """The token would belong to another app, and this client secret cannot revoke it."""
    now = scene.clock.now
    claims = {"iss": "https://appleid.apple.com", "aud": "com.example.other", "sub": "ada", "iat": now, "exp": now}
    members = {"refresh_token": "r", "id_token": scene.providers["apple"].sign(claims)}
    scene.apple.hook = lambda *_: Posted(200, json.dumps(members).encode())
    assert enter(scene.phone(), scene.apple.code(), create=True).status == 201
    assert reasons(scene) == ["the code is of another person or app"]


def test_the_code_of_another_app_is_refused_by_apple(scene: Scene) -> None:
    """The client secret names the audience of the id_token."""
    assert enter(scene.phone(), scene.apple.code(audience="com.example.other"), create=True).status == 201
    assert reasons(scene) == ["invalid_grant"]


@pytest.mark.parametrize("create", [True, False])
def test_a_login_that_must_prove_a_second_factor_trades_too(scene: Scene, *, create: bool) -> None:
    """The lineage begins at `POST /login/factor`, without an authorization code. The audience is that of the client."""
    if not create:
        enter(scene.phone("strict"), create=True)
    said = enter(scene.phone("strict"), scene.apple.code(audience="com.example.strict"), create=create)
    assert said.status == 403, said
    assert reasons(scene) == []
    assert list(scene.apple.live.values()) == ["com.example.strict"]
    assert len(scene.tables.refresh_tokens) == 1


def test_no_key_and_a_wrong_key() -> None:
    """The login succeeds, and the event has the reason: no key, a wrong key, or a key that cannot be decrypted."""
    scene = Scene()
    assert enter(scene.phone(), scene.apple.code(), create=True).status == 201
    scene.set_key(ec.generate_private_key(ec.SECP256R1()))
    assert enter(scene.phone(), scene.apple.code()).status == 200
    scene.tables.apple_key = bytes(80)
    assert enter(scene.phone(), scene.apple.code()).status == 200
    assert reasons(scene) == [
        "the key for Apple: no key is stored",
        "invalid_client",
        "the key for Apple: it cannot be decrypted with the key ring of this deployment",
    ]


def test_a_storage_that_fails_after_the_trade(scene: Scene) -> None:
    """The login succeeds all the same."""
    scene.faults.fail(1, verb="keep")
    assert enter(scene.phone(), scene.apple.code(), create=True).status == 201
    assert len(reasons(scene)) == 1


def test_the_identity_that_was_removed_meanwhile_gets_no_token(scene: Scene) -> None:
    """The condition of the write includes the account."""

    def removed(path: str, _: object) -> None:
        assert path == "/auth/token"
        scene.tables.identities.clear()

    scene.apple.hook = removed
    assert enter(scene.phone(), scene.apple.code(), create=True).status == 201
    assert reasons(scene) == ["the identity was removed meanwhile"]


def test_a_refused_login_trades_nothing(scene: Scene) -> None:
    """The id_token is refused, or no account has the identity."""
    phone = scene.phone()
    assert enter(phone, scene.apple.code(), aud="com.example.foreign").status == 401
    assert enter(phone, scene.apple.code()).status == 404
    assert scene.apple.forms == []


def test_the_provider_is_down() -> None:
    """Logins with this provider get 503. Exchanges and calls are not affected."""
    scene = Scene()
    phone = scene.phone()
    assert enter(phone, create=True).status == 201
    scene.providers["apple"].outage = True
    scene.apple.hook = lambda *_: NotFetched("TimeoutError")
    scene.clock.skip(hours=25)
    assert phone.exchange().status == 200
    assert phone.get("/me").status == 200
    assert enter(scene.phone(), scene.apple.code()).status == 503
