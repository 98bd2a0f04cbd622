"""The part of ``make doctor`` about identity providers: the key for Apple, and the tokens that wait to be revoked."""

from collections.abc import Callable, Iterator

from chalicelib.baton import errors
from chalicelib.baton.federation.model import REVOCATIONS_STUCK_S, TOKEN_SHARDS
from chalicelib.baton.federation.ports import ProviderTokens
from chalicelib.baton.federation.providers import Providers
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.assurance import APPLE_CODE
from chalicelib.baton.policy import HOUR_S
from tools.printed import counted
from tools.provider_key import key_problem

Found = tuple[str, str, str]
"""The name of a check, its finding, and the remedy. The remedy is empty if there is no problem."""
RUNBOOK = "docs/baton/runbooks/apple.md"


def federation_rows(
    providers: Providers, tokens: ProviderTokens, key_ring: KeyRing, *, now: int, remedy_for: Callable[[str, str], str]
) -> Iterator[Found]:
    """List the providers. For Apple, check the stored key and the tokens that wait for their revocation."""
    for row in providers.by_name.values():
        yield row.name, f"{row.kind}; clients: {', '.join(sorted(row.audiences))}", ""
    apple = next((row for row in providers.by_name.values() if row.code == APPLE_CODE), None)
    if apple is None:
        return
    try:
        problem = key_problem(tokens, key_ring, apple.key_id, now=now)
        remedy = f".venv/bin/python -m tools.operate provider-key apple FILE: {RUNBOOK}"
        yield "key for Apple", problem or f"{apple.key_id}, of team {apple.team_id}", remedy if problem else ""
        waiting = [token.removed_at for shard in range(TOKEN_SHARDS) for token in tokens.waiting(shard)]
        stuck = bool(waiting) and now - min(waiting) > REVOCATIONS_STUCK_S
        since = f", the oldest for {counted((now - min(waiting)) // HOUR_S, 'hour')}" if waiting else ""
        yield "revocations at Apple", f"{len(waiting)} waiting{since}", RUNBOOK if stuck else ""
    except errors.Unavailable as failed:
        yield "stored", "cannot be read", remedy_for(failed.reason, "make deploy")
