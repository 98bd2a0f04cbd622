"""Routes of mail: register with a code, prove the address, and reset a forgotten password."""

from chalicelib.baton import errors
from chalicelib.baton.accounts.routes import device_of
from chalicelib.baton.mail.registration import StartRegistration
from chalicelib.baton.mail.reset import ForgotPassword, ResetPassword
from chalicelib.baton.mail.shapes import AddressCode, AddressVerification, CodeRequest, Reset
from chalicelib.baton.mail.verify import RequestAddressCode, VerifyAddress
from chalicelib.baton.routing import Answer, Message, Route
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
    """List the routes of mail. Every deployment has them. With ``BATON_MAIL=off`` they answer 404 ``not_found``."""

    def require_mail() -> None:
        if not enabled:
            raise errors.NotFound("mail is off", detail="This deployment sends no mail. Its operator can switch it on.")

    def start(flow: StartRegistration | ForgotPassword, message: Message, body: CodeRequest) -> Answer:
        require_mail()
        started = flow(
            message,
            source=message.source,
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
        require_mail()
        reset(message, mail_session=body.mail_session, code=body.code, new_password=body.new_password)
        return Answer(204)

    def request_address_code(caller: Caller, body: AddressCode) -> Answer:
        require_mail()
        return Answer(202, request_code(caller, language=body.language, source=caller.source))

    def verify_address(caller: Caller, body: AddressVerification) -> Answer:
        require_mail()
        verify(caller, mail_session=body.mail_session, code=body.code)
        return Answer(204)

    return (
        Route("POST", "/register/start", register_with_code, signed=False, body=CodeRequest, repeatable=True),
        Route("POST", "/password/forgot", forgot_password, signed=False, body=CodeRequest, repeatable=True),
        Route("POST", "/password/reset", reset_password, signed=False, body=Reset, repeatable=True),
        Route("POST", "/me/email/code", request_address_code, body=AddressCode, repeatable=True),
        Route("POST", "/me/email/verify", verify_address, body=AddressVerification, repeatable=True),
    )
