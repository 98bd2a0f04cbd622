"""Routes of the account: register, login, and changes of the account. ``own_routes.py`` has the frequent routes."""

from collections.abc import Callable

from chalicelib.baton import errors
from chalicelib.baton.accounts.activity import ShowActivity
from chalicelib.baton.accounts.deletion import DeleteAccount
from chalicelib.baton.accounts.devices import EndDevice
from chalicelib.baton.accounts.export import ExportAccount
from chalicelib.baton.accounts.login import Login
from chalicelib.baton.accounts.login_email import ProveLoginEmail
from chalicelib.baton.accounts.login_factor import FinishLogin, Proof
from chalicelib.baton.accounts.login_passkey import LoginWithPasskey
from chalicelib.baton.accounts.login_request import Device
from chalicelib.baton.accounts.login_restore import RestoreLogin
from chalicelib.baton.accounts.password import ChangePassword
from chalicelib.baton.accounts.register import Register
from chalicelib.baton.accounts.shapes import (
    ActivityQuery,
    DeviceShape,
    EnrolShape,
    Entry,
    FactorOptionsShape,
    FactorShape,
    PasskeyLoginOptionsShape,
    PasskeyLoginShape,
    PasswordShape,
    Registration,
    RestoreLoginShape,
    SessionShape,
)
from chalicelib.baton.attestation.shapes import evidence_of
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.routing import Answer, Message, Route, StepUp
from chalicelib.baton.tokens.caller import Caller


def routes(  # noqa: PLR0913 - one flow for each route
    *,
    register: Register,
    login: Login,
    finish_login: FinishLogin,
    prove_email: ProveLoginEmail,
    login_with_passkey: LoginWithPasskey,
    restore_login: RestoreLogin,
    delete: DeleteAccount,
    change_password: ChangePassword,
    end_device: EndDevice,
) -> tuple[Route, ...]:
    """List the routes for registration, login, deletion, a new password and the end of a device."""

    def enter(message: Message, entry: Registration) -> Answer:
        tokens = register(
            message,
            email=entry.email,
            password=entry.password,
            client_id=entry.client_id,
            device=device_of(entry.device),
            remember=entry.remember,
            evidence=evidence_of(entry.attestation),
            mail_session=entry.mail_session,
            code=entry.code,
        )
        return Answer(201, tokens)

    def log_in(message: Message, entry: Entry) -> Answer:
        tokens = login(
            message,
            email=entry.email,
            password=entry.password,
            client_id=entry.client_id,
            device=device_of(entry.device),
            remember=entry.remember,
            evidence=evidence_of(entry.attestation),
        )
        return Answer(200, tokens)

    def delete_account(caller: Caller) -> Answer:
        delete(caller)
        return Answer(204)

    def new_password(caller: Caller, body: PasswordShape) -> Answer:
        change_password(caller, body.new_password)
        return Answer(204)

    def end(caller: Caller, device_id: str) -> Answer:
        end_device(caller, device_id)
        return Answer(204)

    return (
        Route("POST", "/register", enter, signed=False, body=Registration, takes_attempt=True),
        Route("POST", "/login", log_in, signed=False, body=Entry, takes_attempt=True),
        *_second_steps(finish_login, prove_email),
        *_login_by_key(login_with_passkey, restore_login),
        Route("DELETE", "/me", delete_account, step_up=StepUp(), session="ended"),
        Route("POST", "/me/password", new_password, body=PasswordShape, step_up=StepUp(), session="replaced"),
        Route("DELETE", "/me/devices/{device_id}", end, step_up=StepUp()),
    )


def own_view_routes(*, show_activity: ShowActivity, export: ExportAccount) -> tuple[Route, ...]:
    """List the routes that show the owner the stored data of the account."""

    def activity(caller: Caller, query: ActivityQuery) -> Answer:
        return Answer(200, show_activity(caller, query.before))

    def export_account(caller: Caller) -> Answer:
        return Answer(200, export(caller))

    return (
        Route("GET", "/me/activity", activity, query=ActivityQuery),
        Route("GET", "/me/export", export_account, step_up=StepUp()),
    )


def _second_steps(finish_login: FinishLogin, prove_email: ProveLoginEmail) -> tuple[Route, ...]:
    """List the routes of a login that needs a second factor."""

    def finish(message: Message, body: FactorShape) -> Answer:
        if body.email_code is not None:
            if (body.totp, body.recovery_code, body.passkey, body.enrolment) != (None, None, None, None):
                raise errors.Malformed("not one proof", detail="Send only `email_code`. Enrol the factor after it.")
            raise prove_email.prove(message, body.auth_session, body.email_code)
        proof = Proof(body.totp, body.recovery_code, body.passkey, body.enrolment)
        tokens = finish_login.prove(message, body.auth_session, proof, remember_device=body.remember_device)
        return Answer(200, tokens)

    def options(message: Message, body: FactorOptionsShape) -> Answer:
        return Answer(200, finish_login.options(message, body.auth_session))

    def enrol(message: Message, body: EnrolShape) -> Answer:
        begin = finish_login.enrol_passkey if body.kind == "passkey" else finish_login.enrol
        return Answer(200, begin(message, body.auth_session))

    def send_email_code(message: Message, body: SessionShape) -> Answer:
        return Answer(202, prove_email.send(message, body.auth_session))

    email_code = "/login/email-code"
    return (
        Route("POST", email_code, send_email_code, signed=False, body=SessionShape, takes_attempt=True),
        Route("POST", "/login/factor", finish, signed=False, body=FactorShape, takes_attempt=True),
        Route("POST", "/login/factor/options", options, signed=False, body=FactorOptionsShape, repeatable=True),
        Route("POST", "/login/enrol", enrol, signed=False, body=EnrolShape, takes_attempt=True),
    )


def _login_by_key(login: LoginWithPasskey, restore: RestoreLogin) -> tuple[Route, ...]:
    """List the routes of a login with only a passkey, and of a login with a restore key."""

    def log_in(message: Message, body: PasskeyLoginShape) -> Answer:
        tokens = login(
            message,
            client_id=body.client_id,
            device=device_of(body.device),
            credential=body.credential,
            remember=body.remember,
            evidence=evidence_of(body.attestation),
        )
        return Answer(200, tokens)

    def log_in_restored(message: Message, body: RestoreLoginShape) -> Answer:
        tokens = restore(
            message,
            client_id=body.client_id,
            device=device_of(body.device),
            credential=body.credential,
            evidence=evidence_of(body.attestation),
        )
        return Answer(200, tokens)

    def options_of(flow: LoginWithPasskey | RestoreLogin) -> Callable[..., Answer]:
        def options(message: Message, body: PasskeyLoginOptionsShape) -> Answer:
            return Answer(200, flow.options(message, client_id=body.client_id, device=device_of(body.device)))

        return options

    asked = PasskeyLoginOptionsShape
    return (
        Route("POST", "/login/passkey/options", options_of(login), signed=False, body=asked, repeatable=True),
        Route("POST", "/login/passkey", log_in, signed=False, body=PasskeyLoginShape, takes_attempt=True),
        Route("POST", "/login/restore/options", options_of(restore), signed=False, body=asked, repeatable=True),
        Route("POST", "/login/restore", log_in_restored, signed=False, body=RestoreLoginShape, takes_attempt=True),
    )


def device_of(shape: DeviceShape) -> Device:
    """Return the device that a request body describes. Raises ``InvalidKey``."""
    key = None
    if shape.public_key is not None:
        key = PublicKey.from_jwk(shape.public_key)
        key.check_point()
    return Device(name=shape.name, public_key=key, hmac=shape.binding == "hmac")
