"""Make the flows of browsers: logins by cookie, and the handover from an app."""

from urllib.parse import urlsplit

from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.handover import HandOver
from chalicelib.baton.accounts.handover_routes import handover_routes
from chalicelib.baton.browser import routes as browser
from chalicelib.baton.browser.bound import BoundBrowsers
from chalicelib.baton.browser.delivery import Deliver
from chalicelib.baton.browser.sessions import WebSessions
from chalicelib.baton.http.signed import Web
from chalicelib.baton.parts import Parts
from chalicelib.baton.routing import Route


def web_of(parts: Parts) -> Web | None:
    """Make the check and the delivery of the logins of browsers, if a client delivers cookies."""
    if not parts.clients.by_cookie:
        return None
    bound = bound_browsers(parts)
    sessions = WebSessions(
        clock=parts.clock,
        entropy=parts.entropy,
        proof=parts.proof,
        clients=parts.clients,
        lineage_store=parts.storage.lineages,
        tickets=parts.storage.one_time,
        site=parts.site,
        bound=bound,
        log=parts.log,
        record=parts.record,
    )
    deliver = Deliver(
        entropy=parts.entropy,
        proof=parts.proof,
        clients=parts.clients,
        lineage_store=parts.storage.lineages,
        record=parts.record,
        offer=bound.offer_to_new_login,
    )
    return Web(sessions, deliver)


def bound_browsers(parts: Parts) -> BoundBrowsers:
    """Make the flows that bind cookies to the keys of browsers."""
    issuer = urlsplit(parts.settings.issuer)
    return BoundBrowsers(
        clock=parts.clock,
        entropy=parts.entropy,
        key_ring=parts.storage.key_ring,
        proof=parts.proof,
        clients=parts.clients,
        lineage_store=parts.storage.lineages,
        log=parts.log,
        base_path=issuer.path,
        https=issuer.scheme == "https",
    )


def browser_routes_of(parts: Parts, web: Web | None, admit: Admit) -> tuple[Route, ...]:
    """List the routes of browsers."""
    hand_over = HandOver(
        clock=parts.clock,
        entropy=parts.entropy,
        key_ring=parts.storage.key_ring,
        clients=parts.clients,
        users=parts.storage.accounts,
        lineage_store=parts.storage.lineages,
        tickets=parts.storage.one_time,
        proof=parts.proof,
        site=parts.site,
        admit=admit,
        deliver=web.deliver if web else None,
    )
    bound = web.sessions.bound if web else bound_browsers(parts)
    return (*browser.routes(web.sessions if web else None, bound), *handover_routes(hand_over))
