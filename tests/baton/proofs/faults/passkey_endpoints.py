"""The endpoints of passkeys: one scenario for each different sequence of calls to DynamoDB."""

from typing import Any

from baton_client import BatonClient, Proof
from tests.baton.factors.authenticator import Authenticator
from tests.baton.proofs.faults.endpoints import EMAIL, proved, public, registered, scenario
from tests.baton.proofs.faults.factor_endpoints import KEY, enrolling
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import PASSWORD, Device
from tests.baton.wire.passkeys import (
    PASSKEYS,
    UPGRADE,
    add,
    enrol,
    options_of,
    send_passkey,
    sign_in_options,
    step_up_options,
    switch_on,
)
from tests.baton.wire.second_factor import ask, prove, stepped

RP_ID = "localhost"
"""The domain of the passkeys in the registry of the stage."""


def authenticator(**members: Any) -> Authenticator:
    """Make an authenticator for the registry of the stage."""
    return Authenticator(rp_id=RP_ID, origin="http://localhost:8000", **members)


def holder(stage: Stage) -> tuple[Device, Authenticator]:
    """Register a phone, and add a passkey to its account."""
    phone, mine = proved(stage, registered(stage)), authenticator()
    assert add(phone, mine).status == 201
    return phone, mine


def holding(stage: Stage) -> tuple[BatonClient, Authenticator]:
    """Register and add a passkey with the reference client."""
    phone, mine = stage.client(), authenticator()
    phone.register(EMAIL, PASSWORD, "phone")
    phone.verify_address(phone.request_address_code(), stage.code())
    phone.add_passkey(mine.create, "phone", confirm=lambda _: PASSWORD)
    return phone, mine


def asked(stage: Stage) -> tuple[Device, str, Authenticator]:
    """Return a device whose login waits for a passkey, and its session."""
    phone, mine = holder(stage)
    switch_on(phone)
    tablet = stage.device()
    return tablet, str(ask(tablet, EMAIL, attempt=KEY).members["auth_session"]), mine


for _file in ("apple-app-site-association", "assetlinks.json", "webauthn", "passkey-endpoints"):
    scenario(f"GET /.well-known/{_file}", asks_nobody=True)(
        lambda stage, path=f"/.well-known/{_file}": public(stage, path)  # type: ignore[misc] # of this round
    )


# --- Logins


@scenario("POST /login/passkey/options")
def _(stage: Stage) -> Act:
    return stage.by_device(stage.device(), sign_in_options)


@scenario("POST /login/passkey")
def _(stage: Stage) -> Act:
    _, mine = holder(stage)
    return stage.by_client(stage.client(), lambda phone: phone.login_with_passkey(mine.get, "tablet"))


@scenario("POST /login/passkey", "with a counter")
def _(stage: Stage) -> Act:
    _, mine = holder(stage)
    tablet = stage.device()
    credential = mine.get(options_of(sign_in_options(tablet)), counter=5)
    return stage.by_device(tablet, lambda tablet: send_passkey(tablet, credential, attempt=KEY))


@scenario("POST /login/passkey", "again, after it was answered")
def _(stage: Stage) -> Act:
    _, mine = holder(stage)
    tablet = stage.device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    assert send_passkey(tablet, credential, attempt=KEY).status == 200
    return stage.by_device(tablet, lambda tablet: send_passkey(tablet, credential, attempt=KEY))


@scenario("POST /login/passkey", "with a challenge that was used")
def _(stage: Stage) -> Act:
    _, mine = holder(stage)
    tablet = stage.device()
    credential = mine.get(options_of(sign_in_options(tablet)))
    assert send_passkey(tablet, credential).status == 200
    return stage.by_device(tablet, lambda tablet: send_passkey(tablet, credential, attempt=KEY))


@scenario("POST /login/passkey", "of nobody")
def _(stage: Stage) -> Act:
    _, mine = holder(stage)
    tablet = stage.device()
    credential = mine.get(options_of(sign_in_options(tablet)), user_handle=b"x" * 12)
    return stage.by_device(tablet, lambda tablet: send_passkey(tablet, credential, attempt=KEY))


@scenario("POST /login/factor/options")
def _(stage: Stage) -> Act:
    tablet, session, _ = asked(stage)
    body, headers = {"auth_session": session}, {"idempotency-key": KEY}
    return stage.by_device(tablet, lambda tablet: tablet.post("/login/factor/options", body, headers, token=None))


@scenario("POST /login/factor", "with a passkey")
def _(stage: Stage) -> Act:
    tablet, session, mine = asked(stage)
    begun = tablet.post("/login/factor/options", {"auth_session": session}, {"idempotency-key": KEY}, token=None)
    credential = mine.get(options_of(begun))
    return stage.by_device(tablet, lambda tablet: prove(tablet, session, attempt=KEY, passkey=credential))


@scenario("POST /login/factor", "that enrols a passkey")
def _(stage: Stage) -> Act:
    tablet, session = enrolling(stage)
    body, headers = {"auth_session": session}, {"idempotency-key": KEY}
    assert tablet.post("/login/email-code", body, headers, token=None).status == 202
    next_session = prove(tablet, session, attempt=KEY, email_code=stage.code())
    begun = enrol(tablet, next_session, attempt=KEY)
    proof = {"passkey": authenticator().create(options_of(begun)), "enrolment": begun.members["enrolment"]}
    return stage.by_device(tablet, lambda tablet: prove(tablet, next_session, attempt=KEY, **proof))


@scenario("POST /login/enrol", "for a passkey")
def _(stage: Stage) -> Act:
    tablet, session = enrolling(stage)
    body, headers = {"auth_session": session}, {"idempotency-key": KEY}
    assert tablet.post("/login/email-code", body, headers, token=None).status == 202
    next_session = prove(tablet, session, attempt=KEY, email_code=stage.code())
    return stage.by_device(tablet, lambda tablet: enrol(tablet, next_session, attempt=KEY))


# --- Calls


@scenario("POST /step-up/options")
def _(stage: Stage) -> Act:
    phone, _ = holder(stage)
    return stage.by_device(phone, lambda phone: step_up_options(phone, "DELETE", "/me"))


@scenario("POST /step-up", "with a passkey")
def _(stage: Stage) -> Act:
    phone, mine = holding(stage)
    return stage.by_client(phone, lambda phone: phone.step_up(Proof(passkey=mine.get), "DELETE", "/me"))


@scenario("GET /me/passkeys")
def _(stage: Stage) -> Act:
    phone, _ = holding(stage)
    return stage.by_client(phone, lambda phone: phone.passkeys())


@scenario("POST /me/passkeys/options")
def _(stage: Stage) -> Act:
    phone, _ = holding(stage)
    path = "/me/passkeys/options"
    return stage.by_client(phone, lambda phone: phone.call("POST", path, confirm=lambda _: PASSWORD))


@scenario("POST /me/passkeys/upgrade-options")
def _(stage: Stage) -> Act:
    phone, _ = holder(stage)
    return stage.by_device(phone, lambda phone: phone.request("POST", UPGRADE))


@scenario("POST /me/passkeys")
def _(stage: Stage) -> Act:
    phone = proved(stage, registered(stage))
    credential = authenticator().create(options_of(stepped(phone, "POST", "/me/passkeys/options")))
    return stage.by_device(phone, lambda phone: phone.post(PASSKEYS, {"credential": credential, "name": "phone"}))


@scenario("POST /me/passkeys", "of another account")
def _(stage: Stage) -> Act:
    _, mine = holder(stage)
    bob = stage.device()
    assert bob.register("bob@example.com").status == 201
    proved(stage, bob)
    credential = mine.create(options_of(stepped(bob, "POST", "/me/passkeys/options")))
    return stage.by_device(bob, lambda bob: bob.post(PASSKEYS, {"credential": credential, "name": "phone"}))


@scenario("PATCH /me/passkeys/{passkey_id}")
def _(stage: Stage) -> Act:
    phone, _ = holding(stage)
    (passkey,) = phone.passkeys()["passkeys"]
    path = f"{PASSKEYS}/{passkey['id']}"
    return stage.by_client(phone, lambda phone: phone.call("PATCH", path, json={"name": "Work"}, repeat=True))


# If the request is repeated after its effect, the answer says that there is no such passkey any more.
@scenario("DELETE /me/passkeys/{passkey_id}", outcomes=("refused (not_found), then done",))
def _(stage: Stage) -> Act:
    phone, _ = holding(stage)
    (passkey,) = phone.passkeys()["passkeys"]
    return stage.by_client(phone, lambda phone: phone.remove_passkey(passkey["id"], confirm=lambda _: PASSWORD))
