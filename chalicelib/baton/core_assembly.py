"""Make the routes that a cold start needs: those that apps call all the time. The others are in ``assembly.py``."""

from collections.abc import Iterable

from chalicelib.baton.accounts import own_routes
from chalicelib.baton.accounts.devices import ListDevices
from chalicelib.baton.accounts.logout import Logout
from chalicelib.baton.accounts.ports import EmailStatus
from chalicelib.baton.accounts.profile import ShowAccount, never_suppressed
from chalicelib.baton.http import public_routes
from chalicelib.baton.parts import Parts
from chalicelib.baton.routing import Route
from chalicelib.baton.tokens import routes as tokens
from chalicelib.baton.tokens.exchange import Exchange
from chalicelib.baton.tokens.introspect import Introspect
from chalicelib.baton.tokens.reuse import EndReused, ForeignKeys
from chalicelib.baton.tokens.revoke import Revoke


def core_routes(parts: Parts) -> Iterable[Route]:
    """Make the routes."""
    return (*_public(parts), *_own(parts), *_tokens(parts))


def email_status_of(parts: Parts) -> EmailStatus:
    """Make the reader of the state of an address."""
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
        region=parts.settings.region,
    )


def _tokens(parts: Parts) -> tuple[Route, ...]:
    clock, proof, lineage_store, log = parts.clock, parts.proof, parts.storage.lineages, parts.log
    end_reused = EndReused(lineage_store=lineage_store, record=parts.record)
    return tokens.routes(
        exchange=Exchange(
            clock=clock,
            entropy=parts.entropy,
            proof=proof,
            lineage_store=lineage_store,
            end_reused=end_reused,
            foreign_keys=ForeignKeys(log),
            log=log,
            issue=parts.issue,
            revoke_on_wrong_key=parts.settings.revoke_on_wrong_key,
        ),
        revoke=Revoke(
            clock=clock,
            proof=proof,
            lineage_store=lineage_store,
            end_reused=end_reused,
            log=log,
            record=parts.record,
        ),
        introspect=Introspect(
            clock=clock,
            proof=proof,
            lineage_store=lineage_store,
            resource_servers=parts.settings.resource_servers,
            names=parts.names,
            add_claims=parts.add_claims,
        ),
    )
