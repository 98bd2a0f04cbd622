"""The routes of browsers."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from chalicelib.baton.browser.bound import BoundBrowsers
from chalicelib.baton.browser.sessions import WebSessions
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.routing import Answer, Message, Route
from chalicelib.baton.tokens.issue import Seconds


class ShownSession(Struct, frozen=True, kw_only=True):
    """Whether this browser is logged in. If ``active`` is false, it is the only member.

    ``device_bound`` is ``dbsc`` if the cookies are bound to a key of the browser.
    """

    active: bool
    account_id: AccountId | UnsetType = UNSET
    device_id: LineageId | UnsetType = UNSET
    expires_in: int | UnsetType = UNSET
    remembered: bool | UnsetType = UNSET
    csrf_token: str | UnsetType = UNSET
    device_bound: Literal["dbsc", "none"] | UnsetType = UNSET
    server_time: Seconds | UnsetType = UNSET


def routes(sessions: WebSessions | None, bound: BoundBrowsers) -> tuple[Route, ...]:
    """List the routes of browsers.

    ``sessions`` is ``None`` if there is no cookie client. Then no browser can be logged in.
    """

    def show_session(message: Message) -> Answer:
        login, is_bound, cookies = sessions.show(message) if sessions is not None else (None, False, ())
        shown = ShownSession(active=False)
        if login is not None:
            members = {name: value for name, value in asdict(login).items() if not name.startswith("recovery_")}
            shown = ShownSession(active=True, **members, device_bound="dbsc" if is_bound else "none")
        return Answer(200, shown, headers={"Vary": "Cookie"}, cookies=cookies)

    def bind_browser(message: Message) -> Answer:
        return bound.bind(message)

    def refresh_proof(message: Message) -> Answer:
        return bound.refresh(message)

    return (
        Route("GET", "/session", show_session, signed=False),
        Route("POST", "/session/bind", bind_browser, signed=False, repeatable=True),
        Route("POST", "/session/proof", refresh_proof, signed=False, repeatable=True),
    )
