"""The routes of browsers."""

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict

from chalicelib.baton.browser.sessions import WebSessions
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.routing import Answer, Message, Route
from chalicelib.baton.tokens.issue import Seconds


class ShownSession(Struct, frozen=True, kw_only=True):
    """Whether this browser is logged in. If ``active`` is false, it is the only member."""

    active: bool
    account_id: AccountId | UnsetType = UNSET
    device_id: LineageId | UnsetType = UNSET
    expires_in: int | UnsetType = UNSET
    remembered: bool | UnsetType = UNSET
    csrf_token: str | UnsetType = UNSET
    server_time: Seconds | UnsetType = UNSET


def routes(sessions: WebSessions | None) -> tuple[Route, ...]:
    """List the routes of browsers. Without a client that delivers cookies, no browser is logged in."""

    def show_session(message: Message) -> Answer:
        login, cookies = sessions.show(message) if sessions is not None else (None, ())
        shown = ShownSession(active=False)
        if login is not None:
            members = {name: value for name, value in asdict(login).items() if not name.startswith("recovery_")}
            shown = ShownSession(active=True, **members)
        return Answer(200, shown, headers={"Vary": "Cookie"}, cookies=cookies)

    return (Route("GET", "/session", show_session, signed=False),)
