"""Devices: list the active and the ended lineages of an account, and end one of them."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.record import Record
from chalicelib.baton.ids import LineageId
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.lineages.clients import Clients
from chalicelib.baton.lineages.model import EndReason, NoBinding
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import Seconds


class ListedDevice(Struct, frozen=True, kw_only=True):
    """One login of the account, active or ended.

    - ``current``: this login sent the request.
    - ``bound``: the login has a key or an HMAC secret.
    - ``last_exchange_at``: the time of the last exchange, or null before the first exchange. With mechanism
      ``session``: the time of the last recorded use, or null before the first use. With ``refresh`` and ``long_lived``:
      always null.
    - ``restored_from``: the login of the old phone from which this login was restored.
    - ``handed_over_from``: the login of the app that handed this login over to a browser. When the login of the app
      ends, this login ends too.
    """

    device_id: str
    name: str
    client_id: str
    created_at: Seconds
    last_exchange_at: Seconds | None
    current: bool
    bound: bool
    ended_at: Seconds | None
    ended_reason: EndReason | None
    restored_from: str | None
    handed_over_from: str | None


class ListDevices(Struct, frozen=True, kw_only=True):
    """List the lineages of the caller's account, the newest first."""

    clock: Clock
    key_ring: KeyRing
    clients: Clients

    def __call__(self, caller: Caller) -> list[ListedDevice]:
        """List the lineages of the account state that authorized the call. There is no further read."""
        now = self.clock()
        not_before = self.key_ring.current(now=now).not_before
        account_state = caller.account_state
        if account_state is None:
            return []
        entries = []
        for lineage in sorted(account_state.lineages.values(), key=lambda lineage: lineage.auth_time, reverse=True):
            client = self.clients.of(lineage.client)
            ended = ended_of(
                account_state,
                lineage,
                now=now,
                not_before=not_before,
                idle_s=client.mechanism.idle_s if client else None,
            )
            entries.append(
                ListedDevice(
                    device_id=lineage.id,
                    name=lineage.label,
                    client_id=client.id if client else "",
                    created_at=lineage.auth_time,
                    last_exchange_at=lineage.issued_at if lineage.issued_at > lineage.auth_time else None,
                    current=lineage.id == caller.device_id,
                    bound=not isinstance(lineage.binding, NoBinding),
                    ended_at=ended.at if ended else None,
                    ended_reason=ended.reason if ended else None,
                    restored_from=lineage.parent if lineage.app is None else None,
                    handed_over_from=lineage.app,
                )
            )
        return entries


class EndDevice(Struct, frozen=True, kw_only=True):
    """End one lineage of the caller's account."""

    clock: Clock
    lineage_store: LineageStore
    record: Record

    def __call__(self, caller: Caller, device_id: str) -> None:
        """End the lineage. Do nothing if the lineage has already ended.

        Raises ``NotFound`` for an unknown device, ``LoginRequired`` if the caller's own login has ended, and
        ``GrantInvalid`` if the credentials have changed. Baton looks the device up in the account state that it read to
        authorize the call. The condition of the write detects later changes.
        """
        now = self.clock()
        lineage = caller.account_state.lineages.get(LineageId(device_id)) if caller.account_state else None
        if lineage is None:
            raise errors.NotFound("no such lineage in the caller's account state")
        outcome = self.lineage_store.end_device(caller.actor, lineage.id, now=now)
        refuse_inactive(outcome)
        if isinstance(outcome, Done):
            by = {"by": caller.device_id}
            self.record("device_ended", account=caller.account, lineage=lineage.id, details=by)
