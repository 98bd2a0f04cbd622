"""The endpoints of second factors: one scenario for each different sequence of calls to DynamoDB."""

from baton_client import BatonClient, Proof
from chalicelib.baton.effects import Done
from chalicelib.baton.ids import AccountId
from tests.baton.proofs.faults.endpoints import ATTEMPT, EMAIL, proved, registered, scenario
from tests.baton.proofs.faults.stage import Act, Stage
from tests.baton.wire.conversation import PASSWORD, Device
from tests.baton.wire.second_factor import Person, ask, prove

KEY = ATTEMPT.replace(" ", "-")


def person(stage: Stage) -> tuple[Device, Person]:
    """Register a phone, and enrol an authenticator app on it."""
    phone, ada = proved(stage, registered(stage)), Person(lambda: int(stage.clock.time()))
    ada.enrol(phone)
    return phone, ada


def by_app(stage: Stage) -> tuple[Device, str, str]:
    """Return a device whose login waits for a second factor, its session, and the code that it needs."""
    _, ada = person(stage)
    tablet = stage.device()
    return tablet, str(ask(tablet, EMAIL, attempt=KEY).members["auth_session"]), ada.code(1)


def switched_off(stage: Stage) -> BatonClient:
    """Return a phone whose account has an app, but needs no second factor: the password is enough for a step-up."""
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    phone.verify_address(phone.request_address_code(), stage.code())
    begun = phone.call("POST", "/me/factors/totp", confirm=lambda _: PASSWORD).json()
    ada = Person(lambda: int(stage.clock.time()), begun["secret"])
    confirmed = {"enrolment": begun["enrolment"], "totp": ada.code()}
    phone.call("POST", "/me/factors/totp/confirm", json=confirmed, repeat=True)
    both = Proof(password=PASSWORD, totp=ada.code(1))
    phone.call("PUT", "/me/second-factor", json={"on": False}, confirm=lambda _: both)
    return phone


@scenario("POST /login", "that needs a second factor")
def _(stage: Stage) -> Act:
    person(stage)
    return stage.by_device(stage.device(), lambda tablet: ask(tablet, EMAIL, attempt=KEY))


@scenario("POST /login/factor")
def _(stage: Stage) -> Act:
    tablet, session, code = by_app(stage)
    return stage.by_device(tablet, lambda tablet: prove(tablet, session, attempt=KEY, totp=code))


@scenario("POST /login/factor", "with a wrong code")
def _(stage: Stage) -> Act:
    tablet, session, _ = by_app(stage)
    return stage.by_device(tablet, lambda tablet: prove(tablet, session, attempt=KEY, totp="000000"))


@scenario("POST /login/factor", "with a recovery code")
def _(stage: Stage) -> Act:
    _, ada = person(stage)
    tablet, recovery_code = stage.device(), ada.codes[0]
    session = ask(tablet, EMAIL, attempt=KEY)
    return stage.by_device(tablet, lambda tablet: prove(tablet, session, attempt=KEY, recovery_code=recovery_code))


@scenario("POST /login/enrol", "of an account that has a factor")
def _(stage: Stage) -> Act:
    tablet, session, _ = by_app(stage)
    body, headers = {"auth_session": session, "kind": "totp"}, {"idempotency-key": KEY}
    return stage.by_device(tablet, lambda tablet: tablet.post("/login/enrol", body, headers, token=None))


@scenario("GET /me/factors")
def _(stage: Stage) -> Act:
    phone = switched_off(stage)
    return stage.by_client(phone, lambda phone: phone.factors())


@scenario("POST /me/factors/totp")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    phone.verify_address(phone.request_address_code(), stage.code())
    return stage.by_client(phone, lambda phone: phone.call("POST", "/me/factors/totp", confirm=lambda _: PASSWORD))


@scenario("POST /me/factors/totp/confirm")
def _(stage: Stage) -> Act:
    phone = stage.client()
    phone.register(EMAIL, PASSWORD, "phone")
    phone.verify_address(phone.request_address_code(), stage.code())
    begun = phone.call("POST", "/me/factors/totp", confirm=lambda _: PASSWORD).json()
    code = Person(lambda: int(stage.clock.time()), begun["secret"]).code()
    body = {"enrolment": begun["enrolment"], "totp": code}
    return stage.by_client(phone, lambda phone: phone.call("POST", "/me/factors/totp/confirm", json=body, repeat=True))


# If the request is repeated after its effect, the answer says that there is no app any more.
@scenario("DELETE /me/factors/totp", outcomes=("refused (not_found), then done",))
def _(stage: Stage) -> Act:
    phone = switched_off(stage)
    return stage.by_client(phone, lambda phone: phone.call("DELETE", "/me/factors/totp", confirm=lambda _: PASSWORD))


@scenario("POST /me/factors/recovery-codes")
def _(stage: Stage) -> Act:
    phone = switched_off(stage)
    path = "/me/factors/recovery-codes"
    return stage.by_client(
        phone, lambda phone: phone.call("POST", path, confirm=lambda _: PASSWORD, idempotency_key=KEY)
    )


# After the effect, the account needs its second factor: the password is not enough to repeat the request.
@scenario(
    "PUT /me/second-factor",
    outcomes=("refused (step_up_required), then done", "refused (grant_invalid), then done"),
)
def _(stage: Stage) -> Act:
    phone = switched_off(stage)
    return stage.by_client(
        phone, lambda phone: phone.call("PUT", "/me/second-factor", json={"on": True}, confirm=lambda _: PASSWORD)
    )


def enrolling(stage: Stage) -> tuple[Device, str]:
    """Return a device whose login must enrol a factor, because an operator requires a factor.

    Return its session too.
    """
    phone = registered(stage)
    account = AccountId(phone.get("/me").members["account_id"])
    assert stage.module.baton.lineage_store.set_second_factor(account, required=True) == Done()
    tablet = stage.device()
    return tablet, str(ask(tablet, EMAIL, attempt=KEY).members["auth_session"])


@scenario("POST /login/email-code")
def _(stage: Stage) -> Act:
    tablet, session = enrolling(stage)
    body, headers = {"auth_session": session}, {"idempotency-key": KEY}
    return stage.by_device(tablet, lambda tablet: tablet.post("/login/email-code", body, headers, token=None))


@scenario("POST /login/factor", "with the code of the mailbox")
def _(stage: Stage) -> Act:
    tablet, session = enrolling(stage)
    body, headers = {"auth_session": session}, {"idempotency-key": KEY}
    assert tablet.post("/login/email-code", body, headers, token=None).status == 202
    code = stage.code()
    return stage.by_device(tablet, lambda tablet: prove(tablet, session, attempt=KEY, email_code=code))
