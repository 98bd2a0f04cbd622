"""Routes of factors: step-up, the authenticator app, recovery codes and the second-factor switch."""

from typing import Annotated, Literal

from msgspec import Meta

from chalicelib.baton.factors.changes import ChangeFactors
from chalicelib.baton.factors.passkey_routes import Credential
from chalicelib.baton.factors.ports import PresentedIdentity
from chalicelib.baton.factors.step_up import IssueStepUpGrant
from chalicelib.baton.policy import TOTP_DIGITS
from chalicelib.baton.routing import Answer, Body, Route, StepUp
from chalicelib.baton.tokens.caller import Caller, Operation

TotpCode = Annotated[
    str, Meta(pattern=rf"^[0-9]{{{TOTP_DIGITS}}}$", description="The current code of the authenticator app.")
]
IdToken = Annotated[str, Meta(max_length=8192, description="The id_token of the provider, a signed JWT.")]
ProviderName = Annotated[str, Meta(max_length=32, description="The name of a row of `providers.toml`.")]
TicketText = Annotated[str, Meta(max_length=4096)]


class OperationShape(Body):
    """The operation of a step-up: the exact method, path and body digest of the request that follows."""

    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"]
    path: Annotated[str, Meta(pattern=r"^/[!-~]*$", max_length=2048)]
    digest: Annotated[str, Meta(pattern=r"^sha-256=:[A-Za-z0-9+/]{43}=:$")]


class IdentityShape(Body):
    """An id_token of a provider that ``step_up_required`` lists. The nonce of this token covers the operation."""

    provider: ProviderName
    id_token: IdToken


class StepUpShape(Body):
    """``POST /step-up``. The error ``step_up_required`` lists the factors to send.

    Send all factors that the error's member ``factors`` lists, or one factor that its member ``instead`` lists. A
    ``passkey`` signs options of ``POST /step-up/options`` for the same operation. An ``identity`` is sent alone, or
    with ``totp``.
    """

    operation: OperationShape
    password: str | None = None
    totp: TotpCode | None = None
    passkey: Credential | None = None
    identity: IdentityShape | None = None


class StepUpOptionsShape(Body):
    """``POST /step-up/options``: the operation that the passkey will sign."""

    operation: OperationShape


class ConfirmShape(Body):
    """``POST /me/factors/totp/confirm``: enrol an authenticator app.

    ``enrolment`` is from the answer of ``POST /me/factors/totp``. ``totp`` is the first code of the app.
    """

    enrolment: TicketText
    totp: TotpCode


class SwitchShape(Body):
    """``PUT /me/second-factor``. ``on``: each login needs a second factor, except on a remembered device."""

    on: bool


def routes(*, step_up: IssueStepUpGrant, factors: ChangeFactors) -> tuple[Route, ...]:
    """List the routes of step-up, the authenticator app, recovery codes and the second-factor switch."""

    def issue_grant(caller: Caller, body: StepUpShape) -> Answer:
        presented = PresentedIdentity(body.identity.provider, body.identity.id_token) if body.identity else None
        operation = _operation(body.operation)
        return Answer(200, step_up(caller, operation, body.password, body.totp, body.passkey, presented))

    def step_up_options(caller: Caller, body: StepUpOptionsShape) -> Answer:
        return Answer(200, step_up.options(caller, _operation(body.operation)))

    def show_factors(caller: Caller) -> Answer:
        return Answer(200, factors.show(caller))

    def switch_second_factor(caller: Caller, body: SwitchShape) -> Answer:
        return Answer(200, factors.switch(caller, on=body.on))

    def begin_totp(caller: Caller) -> Answer:
        return Answer(200, factors.begin_totp(caller))

    def confirm_totp(caller: Caller, body: ConfirmShape) -> Answer:
        return Answer(200, factors.confirm_totp(caller, body.enrolment, body.totp))

    def remove_totp(caller: Caller) -> Answer:
        factors.remove_totp(caller)
        return Answer(204)

    def renew_recovery_codes(caller: Caller) -> Answer:
        return Answer(200, factors.renew_recovery_codes(caller))

    proved, codes = StepUp(), "/me/factors/recovery-codes"
    totp = "/me/factors/totp"
    return (
        Route("POST", "/step-up", issue_grant, body=StepUpShape, takes_attempt=True, session="renewed"),
        Route("POST", "/step-up/options", step_up_options, body=StepUpOptionsShape, repeatable=True),
        Route("GET", "/me/factors", show_factors),
        Route("PUT", "/me/second-factor", switch_second_factor, body=SwitchShape, step_up=proved, takes_attempt=True),
        Route("POST", totp, begin_totp, step_up=proved, after_recovery=True),
        Route("DELETE", totp, remove_totp, step_up=proved, after_recovery=True),
        Route("POST", f"{totp}/confirm", confirm_totp, body=ConfirmShape, takes_attempt=True),
        Route("POST", codes, renew_recovery_codes, step_up=proved, after_recovery=True, takes_attempt=True),
    )


def _operation(shape: OperationShape) -> Operation:
    return Operation(shape.method, shape.path, shape.digest)
