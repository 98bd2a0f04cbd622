"""The routes that hand a login over from an app to a browser."""

from typing import Annotated
from urllib.parse import quote

from msgspec import UNSET, Meta, Struct, UnsetType

from chalicelib.baton.accounts.handover import HandOver, masked
from chalicelib.baton.browser.open_page import open_page
from chalicelib.baton.factors.routes import TicketText
from chalicelib.baton.routing import Answer, Body, Message, Route
from chalicelib.baton.tokens.caller import Caller

_HEADER = "baton-handover"
_VISIBLE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


class HandoverShape(Body):
    """``POST /session/handover``: the client of the browser, and the page that the browser opens.

    ``next`` must be a path of this site: one ``/`` at the beginning, and at most 512 bytes. Otherwise the error is
    ``next_invalid``. If ``next`` has more than 4,096 characters, the error is ``wrong_type``.
    """

    client_id: Annotated[str, Meta(max_length=256)]
    next: Annotated[str, Meta(max_length=4096)] = "/"


class RedeemShape(Body):
    """``POST /session/redeem``. If ``confirm`` is true, the request uses the code and logs the browser in.

    Otherwise, the answer only shows the account and the device.
    """

    code: TicketText
    confirm: bool = False


class Redeemed(Struct, frozen=True, kw_only=True):
    """The login that a code hands over.

    - ``account``: the masked e-mail address, or a fixed text if the account has no address.
    - ``device``: the name of the app's device.
    - ``next``: the page to open. It is missing if the code was not used.
    """

    account: str
    device: str
    next: str | UnsetType = UNSET


def handover_routes(hand_over: HandOver) -> tuple[Route, ...]:
    """List the routes ``POST /session/handover``, ``GET /session/open`` and ``POST /session/redeem``."""

    def hand_over_login(caller: Caller, body: HandoverShape) -> Answer:
        return Answer(200, hand_over.make(caller, client_id=body.client_id, next_page=body.next))

    def open_browser(message: Message) -> Answer:
        code = message.fields.get(_HEADER, ("",))[0].strip(" \t")
        if not code:
            return open_page()
        offered, cookies = hand_over.redeem(message, code, by_app=True)
        location = {"Location": quote(offered.ticket.next, safe=_VISIBLE), "Vary": "Cookie"}
        return Answer(303, headers=location, cookies=cookies)

    def redeem(message: Message, body: RedeemShape) -> Answer:
        if body.confirm:
            offered, cookies = hand_over.redeem(message, body.code)
        else:
            offered, cookies = hand_over.show(message, body.code), ()
        shown = Redeemed(
            account=masked(offered.user.email),
            device=offered.app.label,
            next=offered.ticket.next if body.confirm else UNSET,
        )
        return Answer(200, shown, headers={"Vary": "Cookie"}, cookies=cookies)

    return (
        Route("POST", "/session/handover", hand_over_login, body=HandoverShape, bound=True),
        Route("GET", "/session/open", open_browser, signed=False),
        Route("POST", "/session/redeem", redeem, signed=False, body=RedeemShape, takes_attempt=True),
    )
