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


def sessions_of(parts: Parts) -> WebSessions:
    """Make the object that checks the logins of browsers."""
    return WebSessions(
        clock=parts.clock,
        entropy=parts.entropy,
        proof=parts.proof,
        clients=parts.clients,
        lineage_store=parts.storage.lineages,
        tickets=parts.storage.one_time,
        site=parts.site,
        bound=bound_browsers(parts),
        log=parts.log,
        record=parts.record,
    )


def delivery_of(parts: Parts) -> Deliver:
    """Make the function that puts the tokens of a cookie client into cookies."""
    bound = bound_browsers(parts)
    return Deliver(
        entropy=parts.entropy,
        proof=parts.proof,
        clients=parts.clients,
        lineage_store=parts.storage.lineages,
        record=parts.record,
        offer=bound.offer_to_new_login,
        check=bound.check,
    )


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
    """List the routes of browsers and of the handover. ``web`` is ``None`` if there is no cookie client."""
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
