"""The operator's switch: for some hours, apply the rule ``report`` to a client whose rule is ``required``.

The switch is for an outage of Apple or Google. Only an operator sets the switch. Failures never set it, because a
stranger can cause any number of failures.
"""

from typing import Final

from msgspec import Struct

from chalicelib.baton.attestation.model import REPORT_HOURS_MAX, Switches
from chalicelib.baton.attestation.ports import Attestations
from chalicelib.baton.effects import Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.tickets import TicketInvalid, open_ticket, seal_ticket
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.policy import HOUR_S, KEY_RING_REFRESH_S, TICKET_ID_BYTES

_NONE: Final[dict[str, int]] = {}


class ReadSwitches(Struct, kw_only=True):
    """Read the operator's switches, and cache them for ``KEY_RING_REFRESH_S`` seconds.

    A switch has an effect only on a client with the rule ``required``.
    """

    key_ring: KeyRing
    store: Attestations
    log: Log
    _until: dict[str, int] | None = None
    _read_at: int = 0

    def reported(self, client: Client, *, now: int) -> bool:
        """Check whether an operator has lowered ``required`` to ``report`` for a client, and log an event if so."""
        if self._until is None or not 0 <= now - self._read_at < KEY_RING_REFRESH_S:
            self._until, self._read_at = stored_switches(self.store, self.key_ring, now=now), now
        lowered = self._until.get(client.id, 0) > now
        if lowered:
            self.log.record("attestation_lowered", client=client.id)
        return lowered


def stored_switches(store: Attestations, key_ring: KeyRing, *, now: int) -> dict[str, int]:
    """Return the end of each switch (Unix time), by client id.

    One encrypted value has all switches. If this value is altered or has itself expired, the result is empty. The
    result can contain switches that have already ended.
    """
    sealed = store.switches()
    if not sealed:
        return _NONE
    try:
        return open_ticket(Switches, sealed, key_ring.current(now=now), now=now, bound_to={}).reported_until
    except TicketInvalid:
        return _NONE


class LowerToReport(Struct, frozen=True, kw_only=True):
    """Set the switch of a client, for the operator."""

    entropy: Entropy
    key_ring: KeyRing
    store: Attestations

    def __call__(self, client: Client, *, hours: int, now: int) -> int:
        """Lower ``required`` to ``report`` for some hours. Return the time at which the switch ends (Unix time).

        0 hours end the switch now. Raises ``ValueError`` if the rule of the client is not ``required``, or if ``hours``
        is not a number from 0 to ``REPORT_HOURS_MAX``.
        """
        if client.attestation.rule != "required":
            raise ValueError(f'client.{client.id} has attestation = "{client.attestation.rule}": nothing to lower')
        if not 0 <= hours <= REPORT_HOURS_MAX:
            raise ValueError(f"hours is a whole number from 0 to {REPORT_HOURS_MAX}")
        standing = stored_switches(self.store, self.key_ring, now=now)
        until = now + hours * HOUR_S
        changed = {one: end for one, end in standing.items() if end > now} | {client.id: until}
        ticket = Switches(self.entropy(TICKET_ID_BYTES), now, changed)
        self.store.replace_switches(seal_ticket(ticket, self.key_ring.current(now=now), now=now))
        return until
