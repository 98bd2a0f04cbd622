"""What people do with the identities of an account: link, unlink, and step up without a password."""

import json
import secrets
from collections.abc import Callable
from typing import Any, Final

from chalicelib.baton.ids import AccountId
from tests.baton.factors.authenticator import Authenticator
from tests.baton.federation.scene import Federated, Scene
from tests.baton.wire.conversation import JSON, Said
from tests.baton.wire.passkeys import PASSKEYS, UPGRADE, options_of, step_up_options
from tests.baton.wire.second_factor import grant_of, stepped

ADA: Final = "ada@example.com"
MINE: Final = "/me/identities"


def registered(scene: Scene, email: str = ADA) -> Federated:
    """Return a phone that registered with a password."""
    phone = scene.phone()
    assert phone.register(email).status == 201
    return phone


def body_of(phone: Federated, provider: str = "google", sub: str = "ada", *, token: str = "", **claims: Any) -> bytes:
    """Return the body of a link, with an id_token for the attempt of the phone."""
    return json.dumps({"provider": provider, "id_token": token or phone.id_token(provider, sub, **claims)}).encode()


def link(phone: Federated, provider: str = "google", sub: str = "ada", *, again: bool = False, **claims: Any) -> Said:
    """Link an identity with a step-up by password, with a new attempt unless ``again``."""
    if not again:
        phone.attempt = secrets.token_urlsafe(16)
    return send(phone, body_of(phone, provider, sub, **claims))


def send(phone: Federated, body: bytes) -> Said:
    """Send the body of a link, with a step-up by password."""
    return stepped(phone, "POST", MINE, body, headers={"idempotency-key": phone.attempt})


def granted(phone: Federated, method: str, path: str, body: bytes = b"") -> Callable[[], Said]:
    """Step up by password for a request, and return the function that sends it."""
    headers = {"baton-grant": phone.step_up(method, path, body)} | (JSON if body else {})
    if path == MINE:
        headers["idempotency-key"] = phone.attempt
    return lambda: phone.request(method, path, body, headers)


def unlink(phone: Federated, provider: str = "google") -> Said:
    """Unlink an identity with a step-up by password."""
    return stepped(phone, "DELETE", f"{MINE}/{provider}")


def with_passkey_added(phone: Federated) -> Authenticator:
    """Add a passkey right after a login, without a step-up."""
    mine = Authenticator()
    options = options_of(phone.post(UPGRADE, {}))
    said = phone.post(PASSKEYS, {"credential": mine.create(options), "name": "phone"})
    assert said.status == 201, said
    return mine


def account_of(scene: Scene) -> AccountId:
    """Return the only account."""
    (account,) = scene.tables.users
    return account


def names(phone: Federated) -> list[str]:
    """Return the providers of which the account has an identity."""
    return [one["provider"] for one in phone.get(MINE).members["identities"]]


def link_with_passkey(phone: Federated, mine: Authenticator, provider: str, **claims: Any) -> Said:
    """Link an identity with a step-up by passkey."""
    body = body_of(phone, provider, **claims)
    headers = {"baton-grant": grant_by_passkey(phone, mine, "POST", MINE, body), "content-type": "application/json"}
    return phone.request("POST", MINE, body, headers | {"idempotency-key": phone.attempt})


def grant_by_passkey(phone: Federated, mine: Authenticator, method: str, path: str, body: bytes = b"") -> str:
    """Get a step-up grant with a passkey."""
    credential = mine.get(options_of(step_up_options(phone, method, path, body)))
    granted = grant_of(phone, method, path, body, passkey=credential)
    assert granted.status == 200, granted
    return str(granted.members["grant"])
