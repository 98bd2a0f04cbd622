"""Revoked certificates, the operator's switches, and the evidence of device keys, in memory."""

from msgspec.structs import replace

from chalicelib.baton.attestation.model import AttestedKey, RevokedList
from chalicelib.baton.effects import Done, Moved, Refused
from chalicelib.baton.lineages.model import Actor, Attestation, Lineage
from chalicelib.baton.lineages.rules import Inactive, ProofOutdated, may_act
from chalicelib.baton.storage.memory.tables import MemoryTables


class MemoryAttestations:
    """`attestation.ports.Attestations` in memory."""

    def __init__(self, tables: MemoryTables) -> None:
        """Use ``tables``, which other storages of this process may use too."""
        self._tables = tables

    def get(self, client: int, thumbprint: bytes, *, now: int) -> AttestedKey | None:
        """Return the evidence of a device key, or ``None`` if there is none or it has expired."""
        with self._tables.lock:
            known = self._tables.attested.get((client, thumbprint))
            return known if known is not None and known.expires_at > now else None

    def keep(self, client: int, thumbprint: bytes, known: AttestedKey, *, now: int) -> None:
        """Store evidence of a device key. If unexpired evidence of the same App Attest key is stored, do nothing."""
        with self._tables.lock:
            self._tables.sweep(now)
            stored = self.get(client, thumbprint, now=now)
            if stored is not None and known.apple_key and stored.apple_key == known.apple_key:
                return
            self._tables.attested[(client, thumbprint)] = known

    def count(
        self, client: int, thumbprint: bytes, known: AttestedKey, *, counter: int, attempt: bytes, now: int
    ) -> Done | Refused:
        """Store the counter of an assertion, if it is higher than the stored counter of the same App Attest key.

        A repeated request has the stored counter and the stored attempt. Its result is ``Done`` too.
        In any other case, nothing is stored, and the result is ``Refused``.
        """
        with self._tables.lock:
            stored = self._tables.attested.get((client, thumbprint))
            if stored is None or stored.apple_key != known.apple_key:
                return Refused()
            if not (stored.counter < counter or (stored.counter, stored.attempt) == (counter, attempt)):
                return Refused()
            self._tables.attested[(client, thumbprint)] = replace(stored, counter=counter, attempt=attempt, at=now)
            return Done()

    def extend(self, client: int, thumbprint: bytes, *, expires_at: int) -> None:
        """Replace the stored expiry of the evidence of a device key. If no evidence is stored, do nothing."""
        with self._tables.lock:
            stored = self._tables.attested.get((client, thumbprint))
            if stored is not None:
                self._tables.attested[(client, thumbprint)] = replace(stored, expires_at=expires_at)

    def attest(
        self, actor: Actor, attestation: Attestation, *, expected: Lineage, now: int
    ) -> Done | Moved | Inactive | ProofOutdated:
        """Store an attestation in the actor's login, if the login is live and its attestation is as in ``expected``.

        Otherwise nothing is stored, and the result is one of these:

        - ``Done``: the login may act, and already has this attestation.
        - ``Inactive``, ``ProofOutdated``: the result of `rules.may_act`.
        - ``Moved``: another request has stored another attestation.
        """
        with self._tables.lock:
            account_state = self._tables.lineages.get(actor.account)
            acting = may_act(account_state, actor, now=now)
            if not isinstance(acting, Lineage):
                return acting
            if acting.attestation not in {expected.attestation, attestation}:
                return Moved()
            assert account_state is not None
            attested = {acting.id: replace(acting, attestation=attestation)}
            self._tables.lineages[actor.account] = replace(
                account_state, lineages={**account_state.lineages, **attested}
            )
            return Done()

    def revoked(self) -> RevokedList | None:
        """Return the list of revoked certificates, or ``None`` if it was never fetched."""
        with self._tables.lock:
            return self._tables.revoked

    def replace_revoked(self, revoked: RevokedList) -> Done | Refused:
        """Replace the list of revoked certificates. ``Refused``: the stored list is newer."""
        with self._tables.lock:
            if self._tables.revoked is not None and self._tables.revoked.at > revoked.at:
                return Refused()
            self._tables.revoked = revoked
            return Done()

    def switches(self) -> str:
        """Return the encrypted ``attestation.model.Switches``, or an empty text if the operator never set a switch."""
        with self._tables.lock:
            return self._tables.switches

    def replace_switches(self, sealed: str) -> None:
        """Store the encrypted switches of the operator, in place of all earlier switches."""
        with self._tables.lock:
            self._tables.switches = sealed
