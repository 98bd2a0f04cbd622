"""Logins, links and step-ups with an identity provider: one scenario for each different list of DynamoDB calls."""

import json

from baton_client import Identity, Proof
from chalicelib.baton.federation.id_token import login_nonce
from tests.baton.proofs.faults.endpoints import ATTEMPT, proved, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import Device, Said
from tests.baton.wire.second_factor import stepped

PROVIDER = "google"
CLIENT = "mobile"


def entered(
    stage: Stage,
    phone: Device,
    attempt: str,
    *,
    create: bool,
    sub: str = "ada",
    provider: str = PROVIDER,
    code: str = "",
) -> Said:
    """Sign in at the provider, and log in with this attempt."""
    nonce = login_nonce(provider=provider, client_id=CLIENT, keyid=phone.key.thumbprint(), attempt=attempt)
    body = {
        "provider": provider,
        "id_token": stage.providers[provider].token(sub, nonce, CLIENT),
        "authorization_code": code,
        "client_id": CLIENT,
        "device": {"name": "phone", "public_key": phone.key.jwk()},
        "create": create,
    }
    return phone._kept(phone.post("/login/federated", body, {"idempotency-key": attempt}, token=None))


def warm(stage: Stage) -> None:
    """Let the environment read the keys of the provider, which it keeps for ten minutes."""
    assert entered(stage, stage.device(CLIENT), "the-attempt-of-another", create=True, sub="grace").status == 201


@scenario("POST /login/federated", outcomes=("200 ",))
def _(stage: Stage) -> Act:
    warm(stage)
    phone, attempt = stage.device(CLIENT), ATTEMPT.replace(" ", "-")
    return stage.by_device(phone, lambda it: entered(stage, it, attempt, create=True))


@scenario("POST /login/federated", "of a person who has an account")
def _(stage: Stage) -> Act:
    warm(stage)
    phone, attempt = stage.device(CLIENT), ATTEMPT.replace(" ", "-")
    assert entered(stage, phone, "the-attempt-of-the-sign-up", create=True).status == 201
    return stage.by_device(phone, lambda it: entered(stage, it, attempt, create=False))


def stepping_up(stage: Stage, *, sub: str = "ada") -> Act:
    """Sign up at Acme, which counts for a step-up, and prove ``sub`` for the deletion of the account."""
    phone, acme = stage.client(), stage.providers["acme"]

    def sign_in(nonce: str, *, sub: str = sub) -> str:
        return acme.token(sub, nonce, CLIENT, auth_time=int(stage.clock.time()))

    phone.login_federated("acme", lambda nonce: sign_in(nonce, sub="ada"), "phone", create=True)
    proof = Proof(identity=Identity("acme", sign_in))
    return stage.by_client(phone, lambda phone: phone.step_up(proof, "DELETE", "/me"))


@scenario("POST /step-up", "at an identity provider")
def _(stage: Stage) -> Act:
    return stepping_up(stage)


@scenario("POST /step-up", "at an identity provider, of another person")
def _(stage: Stage) -> Act:
    return stepping_up(stage, sub="eve")


MINE = "/me/identities"


def linked(stage: Stage, phone: Device, *, attempt: str = "the-attempt-of-the-link", sub: str = "ada") -> Said:
    """Sign in at the provider, step up, and link the identity."""
    nonce = login_nonce(provider=PROVIDER, client_id=CLIENT, keyid=phone.key.thumbprint(), attempt=attempt)
    body = json.dumps({"provider": PROVIDER, "id_token": stage.providers[PROVIDER].token(sub, nonce, CLIENT)}).encode()
    return stepped(phone, "POST", MINE, body, headers={"idempotency-key": attempt})


@scenario("GET /me/identities")
def _(stage: Stage) -> Act:
    phone = registered(stage)
    return stage.by_device(phone, lambda it: it.get(MINE))


# If the request is repeated after its effect, the identity is linked already.
@scenario("POST /me/identities", outcomes=("200 ",))
def _(stage: Stage) -> Act:
    warm(stage)
    phone = proved(stage, registered(stage))
    return stage.by_device(phone, lambda it: linked(stage, it))


@scenario("POST /me/identities", "of another account")
def _(stage: Stage) -> Act:
    warm(stage)
    phone = proved(stage, registered(stage))
    return stage.by_device(phone, lambda it: linked(stage, it, sub="grace"))


# If the request is repeated after its effect, the answer says that there is no such identity any more.
@scenario("DELETE /me/identities/{provider}", outcomes=("404 not_found",))
def _(stage: Stage) -> Act:
    warm(stage)
    phone = proved(stage, registered(stage))
    assert linked(stage, phone).status == 201
    return stage.by_device(phone, lambda it: stepped(it, "DELETE", f"{MINE}/{PROVIDER}"))


def at_apple(stage: Stage) -> Device:
    """Return the phone of a person who signed up with Apple, whose refresh token is stored."""
    phone, code = stage.device(CLIENT), stage.apple.code()
    assert entered(stage, phone, "the-attempt-of-the-sign-up", create=True, provider="apple", code=code).status == 201
    return phone


@scenario("POST /login/federated", "of a person at Apple, with a code")
def _(stage: Stage) -> Act:
    """Log in, whether or not the code is traded."""
    phone, attempt = at_apple(stage), ATTEMPT.replace(" ", "-")

    def enter(it: Device) -> Said:
        return entered(stage, it, attempt, create=False, provider="apple", code=stage.apple.code())

    return stage.by_device(phone, enter)


@scenario("POST /federation/apple/notifications", "of a person who removed the app")
def _(stage: Stage) -> Act:
    """Repeat the notice until it is answered with 200, as Apple does."""
    phone, now = at_apple(stage), int(stage.clock.time())
    events = json.dumps({"type": "consent-revoked", "sub": "ada", "event_time": now})
    claims = {"iss": "https://appleid.apple.com", "aud": "com.example.app", "iat": now, "jti": "one", "events": events}
    body = {"payload": stage.providers["apple"].sign(claims)}
    return stage.by_device(phone, lambda it: it.post("/federation/apple/notifications", body, token=None))
