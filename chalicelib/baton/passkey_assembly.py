"""Make the flows of passkeys and restore keys, and the parts that the other flows need for passkeys."""

from chalicelib.baton.accounts.first_tokens import Admit
from chalicelib.baton.accounts.login_request import ReadLoginRequest
from chalicelib.baton.accounts.login_restore import RestoreLogin
from chalicelib.baton.attestation.judge import JudgeEvidence
from chalicelib.baton.factors import passkey_routes, restore_routes
from chalicelib.baton.factors.add_passkey import Enrollable
from chalicelib.baton.factors.passkey_ceremonies import PasskeyCeremonies
from chalicelib.baton.factors.passkey_challenge import Challenges
from chalicelib.baton.factors.passkeys import ManagePasskeys
from chalicelib.baton.factors.prove_passkey import ProvePasskey
from chalicelib.baton.factors.restore_keys import ManageRestoreKey
from chalicelib.baton.parts import Parts
from chalicelib.baton.routing import Route


def enrollable_of(parts: Parts) -> Enrollable:
    """Make the rule that decides which factors a login may enrol."""
    return Enrollable(clients=parts.clients, mail=parts.settings.mail != "off")


def passkey_ceremonies(parts: Parts) -> PasskeyCeremonies:
    """Make the parts that all flows with passkeys share."""
    storage = parts.storage
    return PasskeyCeremonies(
        clients=parts.clients,
        challenges=_challenges(parts),
        enrollable=enrollable_of(parts),
        prove=ProvePasskey(clients=parts.clients, store=storage.factors, tickets=storage.one_time, record=parts.record),
    )


def passkey_routes_of(parts: Parts) -> tuple[Route, ...]:
    """Return the routes with which callers manage their passkeys."""
    return passkey_routes.routes(
        ManagePasskeys(
            clock=parts.clock,
            ceremonies=passkey_ceremonies(parts),
            users=parts.storage.accounts,
            store=parts.storage.factors,
            lineage_store=parts.storage.lineages,
            record=parts.record,
        )
    )


def restore_routes_of(parts: Parts) -> tuple[Route, ...]:
    """Return the routes with which callers manage the restore key of their device."""
    return restore_routes.routes(
        ManageRestoreKey(
            clock=parts.clock,
            clients=parts.clients,
            challenges=_challenges(parts),
            users=parts.storage.accounts,
            store=parts.storage.factors,
            lineage_store=parts.storage.lineages,
        )
    )


def restore_login_of(
    parts: Parts, introduce: ReadLoginRequest, admit: Admit, judge_evidence: JudgeEvidence
) -> RestoreLogin:
    """Make the flow that restores a login on a new phone."""
    return RestoreLogin(
        clock=parts.clock,
        key_ring=parts.storage.key_ring,
        introduce=introduce,
        judge_evidence=judge_evidence,
        clients=parts.clients,
        challenges=_challenges(parts),
        users=parts.storage.accounts,
        lineage_store=parts.storage.lineages,
        tickets=parts.storage.one_time,
        limits=parts.storage.one_time,
        admit=admit,
        record=parts.record,
    )


def _challenges(parts: Parts) -> Challenges:
    return Challenges(entropy=parts.entropy, key_ring=parts.storage.key_ring)
