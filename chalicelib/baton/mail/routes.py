"""Routes of mail: register with a code, prove or change the address, reset a forgotten password, and undo changes."""

from chalicelib.baton import errors
from chalicelib.baton.accounts.routes import device_of
from chalicelib.baton.mail.links import ACTION_PATH, MailProof
from chalicelib.baton.mail.new_address import ConfirmNewAddress, RequestNewAddress
from chalicelib.baton.mail.not_me import DeleteUnproved
from chalicelib.baton.mail.page import action_page
from chalicelib.baton.mail.registration import StartRegistration
from chalicelib.baton.mail.reset import ForgotPassword, ResetPassword
from chalicelib.baton.mail.shapes import (
    AddressCode,
    AddressVerification,
    CodeRequest,
    NewAddress,
    NewAddressCode,
    Reset,
    UndoLink,
)
from chalicelib.baton.mail.undo import UndoChanges
from chalicelib.baton.mail.verify import RequestAddressCode, VerifyAddress
from chalicelib.baton.routing import Answer, Message, Route, StepUp
from chalicelib.baton.tokens.caller import Caller


def routes(
    *,
    enabled: bool,
    start_registration: StartRegistration,
    forgot: ForgotPassword,
    reset: ResetPassword,
    request_code: RequestAddressCode,
    verify: VerifyAddress,
) -> tuple[Route, ...]:
    """List the routes that start a registration with a code, reset a password, or prove the address of an account.

    With ``BATON_MAIL=off`` these routes exist too, and answer 404 ``not_found``.
    """

    def start(flow: StartRegistration | ForgotPassword, message: Message, body: CodeRequest) -> Answer:
        _require_mail(enabled=enabled)
        started = flow(
            message,
            email=body.email,
            client_id=body.client_id,
            device=device_of(body.device),
            language=body.language,
        )
        return Answer(202, started)

    def register_with_code(message: Message, body: CodeRequest) -> Answer:
        return start(start_registration, message, body)

    def forgot_password(message: Message, body: CodeRequest) -> Answer:
        return start(forgot, message, body)

    def reset_password(message: Message, body: Reset) -> Answer:
        _require_mail(enabled=enabled)
        reset(message, proof=_proof_of(body), new_password=body.new_password)
        return Answer(204)

    def request_address_code(caller: Caller, body: AddressCode) -> Answer:
        _require_mail(enabled=enabled)
        return Answer(202, request_code(caller, language=body.language, source=caller.source))

    def verify_address(caller: Caller, body: AddressVerification) -> Answer:
        _require_mail(enabled=enabled)
        verify(caller, _proof_of(body))
        return Answer(204)

    return (
        Route("POST", "/register/start", register_with_code, signed=False, body=CodeRequest, repeatable=True),
        Route("POST", "/password/forgot", forgot_password, signed=False, body=CodeRequest, repeatable=True),
        Route("POST", "/password/reset", reset_password, signed=False, body=Reset, repeatable=True),
        Route("POST", "/me/email/code", request_address_code, body=AddressCode, repeatable=True),
        Route("POST", "/me/email/verify", verify_address, body=AddressVerification, repeatable=True),
    )


def change_routes(
    *,
    enabled: bool,
    new_address: RequestNewAddress,
    confirm: ConfirmNewAddress,
    undo: UndoChanges,
    not_me: DeleteUnproved,
) -> tuple[Route, ...]:
    """List the routes that change the address, and the routes for the undo and not-me links in mails.

    A link opens the page at ``ACTION_PATH``, and this page sends the request to undo or to delete. Without mail, all
    routes answer 404.
    """

    def request_new_address(caller: Caller, body: NewAddress) -> Answer:
        _require_mail(enabled=enabled)
        started = new_address(caller, new_email=body.new_email, language=body.language, source=caller.source)
        return Answer(202, started)

    def confirm_new_address(caller: Caller, body: NewAddressCode) -> Answer:
        _require_mail(enabled=enabled)
        confirm(caller, mail_session=body.mail_session, code=body.code)
        return Answer(204)

    def show_action(_: Message) -> Answer:
        _require_mail(enabled=enabled)
        return action_page()

    def undo_changes(message: Message, body: UndoLink) -> Answer:
        _require_mail(enabled=enabled)
        undo(message, link=body.link)
        return Answer(204)

    def delete_unproved(message: Message, body: UndoLink) -> Answer:
        _require_mail(enabled=enabled)
        not_me(message, link=body.link)
        return Answer(204)

    return (
        Route("POST", "/me/email", request_new_address, body=NewAddress, step_up=StepUp()),
        Route("POST", "/me/email/confirm", confirm_new_address, body=NewAddressCode, repeatable=True),
        Route("GET", ACTION_PATH, show_action, signed=False, any_query=True),
        Route("HEAD", ACTION_PATH, show_action, signed=False, any_query=True),
        Route("POST", "/mail/undo", undo_changes, signed=False, body=UndoLink, repeatable=True),
        Route("POST", "/mail/not-me", delete_unproved, signed=False, body=UndoLink, repeatable=True),
    )


def _require_mail(*, enabled: bool) -> None:
    if not enabled:
        raise errors.NotFound("mail is off", detail="This deployment sends no mail. Its operator can switch it on.")


def _proof_of(body: Reset | AddressVerification) -> MailProof:
    return MailProof(mail_session=body.mail_session, code=body.code, link=body.link)
