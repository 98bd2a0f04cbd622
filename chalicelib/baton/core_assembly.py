"""Make the routes of a cold start: the routes that apps call most often. ``assembly.py`` makes the other routes."""

from collections.abc import Iterable

from chalicelib.baton.accounts import own_routes
from chalicelib.baton.accounts.devices import ListDevices
from chalicelib.baton.accounts.logout import Logout
from chalicelib.baton.accounts.ports import EmailStatus
from chalicelib.baton.accounts.profile import ShowAccount, never_suppressed
from chalicelib.baton.http import public_routes
from chalicelib.baton.parts import Parts
from chalicelib.baton.routing import Route
from chalicelib.baton.token_assembly import token_routes_of


def core_routes(parts: Parts) -> Iterable[Route]:
    """Make the routes that apps call most often."""
    return (*_public(parts), *_own(parts), *token_routes_of(parts))


def email_status_of(parts: Parts) -> EmailStatus:
    """Make the function that returns the mail status of an address: ``ok`` or ``bouncing``."""
    if parts.settings.mail == "off":
        return never_suppressed
    from chalicelib.baton.mail.suppression import ReadEmailStatus  # noqa: PLC0415 - cold start

    return ReadEmailStatus(suppressions=parts.storage.suppressions)


def _own(parts: Parts) -> tuple[Route, ...]:
    clock, lineage_store = parts.clock, parts.storage.lineages
    return own_routes.routes(
        logout=Logout(clock=clock, lineage_store=lineage_store, record=parts.record),
        show=ShowAccount(clock=clock, users=parts.storage.accounts, email_status=email_status_of(parts)),
        list_devices=ListDevices(clock=clock, key_ring=parts.storage.key_ring, clients=parts.clients),
    )


def _public(parts: Parts) -> tuple[Route, ...]:
    return public_routes.routes(
        clock=parts.clock,
        key_ring=parts.storage.key_ring,
        lineage_store=parts.storage.lineages,
        names=parts.names,
        clients=parts.clients,
        narrows=bool(parts.settings.resources),
        region=parts.settings.region,
    )
