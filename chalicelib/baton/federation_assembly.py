"""Make the flows of federation, and the routes that run them."""

from chalicelib.baton.accounts.auth_session import AskForFactor
from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import Judge, ReadLoginRequest
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.federation import routes as federation
from chalicelib.baton.federation.apple import Apple
from chalicelib.baton.federation.apple_tokens import TradeCode
from chalicelib.baton.federation.log_in import LogInFederated
from chalicelib.baton.federation.manage import ManageIdentities
from chalicelib.baton.federation.notices import TakeNotice
from chalicelib.baton.federation.prove import ProveIdentity
from chalicelib.baton.federation.provider_keys import ProviderKeys
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.mail.suppression import NoteForwarding
from chalicelib.baton.parts import Parts
from chalicelib.baton.passkey_assembly import enrollable_of
from chalicelib.baton.routing import Route


def prove_identity_of(parts: Parts) -> ProveIdentity:
    """Make the verifier of id_tokens. All flows of an environment share the verifier and its cached provider keys."""
    return ProveIdentity(
        providers=parts.settings.providers or Providers(),
        keys=ProviderKeys(
            fetch=parts.fetch,
            key_ring=parts.storage.key_ring,
            entropy=parts.entropy,
            store=parts.storage.identities,
            log=parts.log,
        ),
        ephemeral=parts.storage.one_time,
        log=parts.log,
        limits=parts.settings.limits,
    )


def federation_routes_of(
    parts: Parts,
    *,
    introduce: ReadLoginRequest,
    judge_evidence: JudgeEvidence,
    prove: ProveIdentity,
    admit: Admit,
) -> tuple[Route, ...]:
    """List the routes of federation.

    If no provider is configured, the routes still exist, but every provider name is unknown.
    """
    storage = parts.storage
    trade = TradeCode(
        entropy=parts.entropy,
        key_ring=storage.key_ring,
        tokens=storage.provider_tokens,
        apple=Apple(post=parts.post),
        log=parts.log,
    )
    return federation.routes(
        log_in=LogInFederated(
            clock=parts.clock,
            entropy=parts.entropy,
            key_ring=storage.key_ring,
            introduce=introduce,
            judge_evidence=judge_evidence,
            prove=prove,
            identities=storage.identities,
            users=storage.accounts,
            lineage_store=storage.lineages,
            ephemeral=storage.one_time,
            trade=trade,
            judge=Judge(clients=parts.clients, enrollable=enrollable_of(parts)),
            ask=AskForFactor(entropy=parts.entropy, email_first=parts.settings.mail != "off"),
            admit=admit,
            log=parts.log,
            record=parts.record,
            limits=parts.settings.limits,
        ),
        manage=ManageIdentities(
            clock=parts.clock,
            entropy=parts.entropy,
            key_ring=storage.key_ring,
            clients=parts.clients,
            prove=prove,
            identities=storage.identities,
            users=storage.accounts,
            lineage_store=storage.lineages,
            trade=trade,
            record=parts.record,
        ),
        take_notice=TakeNotice(
            clock=parts.clock,
            providers=prove.providers,
            keys=prove.keys,
            key_ring=storage.key_ring,
            identities=storage.identities,
            tokens=storage.provider_tokens,
            users=storage.accounts,
            lineage_store=storage.lineages,
            tickets=storage.one_time,
            forwarding=NoteForwarding(key_ring=storage.key_ring, suppressions=storage.suppressions, log=parts.log),
            log=parts.log,
            record=parts.record,
        ),
    )
