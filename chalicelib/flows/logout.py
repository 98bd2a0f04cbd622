"""Logout: end this lineage, or every lineage of the account in one write."""

from msgspec import Struct

from chalicelib.core.model import AuditEvent, Caller, EndReason
from chalicelib.core.ports import Audit, Clock, Entropy, Gates, Signals
from chalicelib.flows.call import refuse_inactive


class Logout(Struct, frozen=True):
    """Log the caller out here, or everywhere."""

    clock: Clock
    entropy: Entropy
    gates: Gates
    audit: Audit
    signals: Signals

    def __call__(self, caller: Caller, *, everywhere: bool) -> None:
        """End before answering: once this returns, nothing it ended is let in again."""
        now = self.clock()
        if not everywhere:
            self.gates.end(caller.account, caller.device_id, EndReason.LOGOUT, now=now)
            self.signals.emit("logged_out", lineage=caller.device_id)
            return
        refuse_inactive(self.gates.end_all(caller.actor, now=now))
        self.signals.emit("logged_out_everywhere", account=caller.account)
        event = AuditEvent(now, "logged_out_everywhere", caller.account, caller.device_id)
        self.audit.append(event, event_id=self.entropy(8).hex())
