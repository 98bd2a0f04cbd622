"""Make the flows of tokens: exchange, revocation, introspection, and token exchange."""

from typing import TYPE_CHECKING

from chalicelib.baton.parts import Parts
from chalicelib.baton.routing import Route
from chalicelib.baton.tokens import routes as tokens
from chalicelib.baton.tokens.exchange import Exchange
from chalicelib.baton.tokens.introspect import Introspect
from chalicelib.baton.tokens.reuse import EndReused, ForeignKeys
from chalicelib.baton.tokens.revoke import Revoke

if TYPE_CHECKING:
    from chalicelib.baton.tokens.narrow import Narrow


def token_routes_of(parts: Parts) -> tuple[Route, ...]:
    """Make the token flows, and return their routes."""
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
            resources=parts.settings.resources,
            add_claims=parts.add_claims,
        ),
        narrow=(lambda: _narrow(parts)) if parts.settings.resources else None,
    )


def _narrow(parts: Parts) -> "Narrow":
    """Make the flow of a token exchange (RFC 8693). Few requests need the flow, so it is not kept between requests."""
    from chalicelib.baton.tokens.narrow import Narrow  # noqa: PLC0415 - cold start

    return Narrow(
        clock=parts.clock,
        entropy=parts.entropy,
        proof=parts.proof,
        lineage_store=parts.storage.lineages,
        resources=parts.settings.resources,
        names=parts.names,
        log=parts.log,
    )
