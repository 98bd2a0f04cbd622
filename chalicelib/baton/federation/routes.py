"""Routes of federation."""

from chalicelib.baton.accounts.routes import device_of
from chalicelib.baton.attestation.shapes import evidence_of
from chalicelib.baton.federation.log_in import LogInFederated
from chalicelib.baton.federation.manage import ManageIdentities
from chalicelib.baton.federation.notices import TakeNotice
from chalicelib.baton.federation.shapes import FederatedLoginShape, LinkShape, NoticeShape
from chalicelib.baton.routing import Answer, Message, Route, StepUp
from chalicelib.baton.tokens.caller import Caller


def routes(*, log_in: LogInFederated, manage: ManageIdentities, take_notice: TakeNotice) -> tuple[Route, ...]:
    """List the routes of federation: login with an identity, linked identities, and Apple's notices."""

    def enter(message: Message, body: FederatedLoginShape) -> Answer:
        entered = log_in(
            message,
            provider=body.provider,
            id_token=body.id_token,
            client_id=body.client_id,
            device=device_of(body.device),
            create=body.create,
            authorization_code=body.authorization_code,
            evidence=evidence_of(body.attestation),
        )
        return Answer(201 if entered.created else 200, entered.tokens)

    def show(caller: Caller) -> Answer:
        return Answer(200, manage.show(caller))

    def link(caller: Caller, body: LinkShape) -> Answer:
        linked = manage.link(
            caller, provider=body.provider, id_token=body.id_token, authorization_code=body.authorization_code
        )
        return Answer(201 if linked.created else 200, linked.shown)

    def unlink(caller: Caller, provider: str) -> Answer:
        manage.unlink(caller, provider)
        return Answer(204)

    def notice(_: Message, body: NoticeShape) -> Answer:
        take_notice(body.payload)
        return Answer(200, {})

    mine, proved = "/me/identities", StepUp()
    return (
        Route("POST", "/login/federated", enter, signed=False, body=FederatedLoginShape, takes_attempt=True),
        Route("GET", mine, show),
        Route("POST", mine, link, body=LinkShape, bound=True, step_up=proved, takes_attempt=True),
        Route("DELETE", f"{mine}/{{provider}}", unlink, step_up=proved, session="replaced"),
        Route("POST", "/federation/apple/notifications", notice, signed=False, body=NoticeShape, repeatable=True),
    )
