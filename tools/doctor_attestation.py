"""The checks of attestation in ``make doctor``.

They cover the attestation rules of clients, the clients whose logins need no evidence, the rules that an operator has
lowered, and the stored list of revoked certificates.
"""

import time
from collections.abc import Callable, Iterator

from chalicelib.baton import errors
from chalicelib.baton.attestation.model import LIST_STALE_S
from chalicelib.baton.attestation.ports import Attestations
from chalicelib.baton.attestation.switches import stored_switches
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.policy import DAY_S

Found = tuple[str, str, str]
"""The name of a check, its finding, and the remedy. The remedy is empty if there is no problem."""


def attestation_rows(
    clients: Clients, store: Attestations, key_ring: KeyRing, *, now: int, remedy_for: Callable[[str, str], str]
) -> Iterator[Found]:
    """List the attestation rules of the clients, and the rules that an operator has lowered for some hours.

    Check the age of the list of revoked certificates.
    """
    judging = [client for client in clients if client.attestation.rule != "off"]
    if not judging:
        return
    for client in judging:
        yield client.id, f"{client.attestation.rule}; {_apps(client)}", ""
    required = {client.id for client in judging if client.attestation.rule == "required"}
    others = [client.id for client in clients if client.id not in required and not client.retired]
    if required and others:
        yield "other ways in", f"{', '.join(others)}: logins of these clients need no evidence", ""
    try:
        if any(client.apps.packages for client in judging):
            yield _list_row(store, now=now)
        for client_id, until in stored_switches(store, key_ring, now=now).items():
            if until > now:
                end = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(until))
                yield client_id, f"an operator has lowered its rule to report until {end}", ""
    except errors.Unavailable as failed:
        yield "stored", "cannot be read", remedy_for(failed.reason, "make deploy")


def _apps(client: Client) -> str:
    policy, apps = client.attestation, client.apps
    parts = []
    if apps.app_ids:
        parts.append(f"{', '.join(apps.app_ids)} ({', '.join(sorted(policy.environments))})")
    if apps.packages:
        parts.append(f"{', '.join(apps.packages)} ({policy.security.name.lower()})")
    return "; ".join(parts)


def _list_row(store: Attestations, *, now: int) -> Found:
    stored = store.revoked()
    remedy = "run the function android_revocations, and read its log: docs/baton/runbooks/attestation.md"
    if stored is None:
        return "revoked certificates", "never fetched", remedy
    age = f"{len(stored.digests)}, fetched {(now - stored.at) // DAY_S} days ago"
    return "revoked certificates", age, remedy if now - stored.at > LIST_STALE_S else ""
