"""The rules of a new login: which lineages of its account it ends, and which it removes to make room. No I/O."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton.ids import LineageId
from chalicelib.baton.lineages.model import AccountState, Binding, EndReason, KeyBinding, Lineage
from chalicelib.baton.lineages.rules import ended_of
from chalicelib.baton.policy import DAY_S, HANDED_OVER_KEPT_S, LINEAGE_KEPT_S


class NoRoom(Struct, frozen=True):
    """Too few lineages can be removed to make room. From the time ``until`` (seconds) on, a retry may succeed."""

    until: int


_LIVE = 2
"""The rank of a live lineage: it is removed last."""
_VOID = frozenset({EndReason.PASSWORD_CHANGED, EndReason.PASSWORD_RESET, EndReason.CLAIMED, EndReason.UNDONE})
"""The end reasons after which the old password is not valid. A repeated login request with the old password fails."""


def has_device(account_state: AccountState, binding: Binding, *, proved: LineageId | None) -> bool:
    """Check whether the account state has a lineage of this device, live or ended.

    - ``binding``: if this is a key, it identifies the device.
    - ``proved``: the lineage whose HMAC secret signed the login request. This secret identifies the device.
    """
    key = binding if isinstance(binding, KeyBinding) else None
    return any(lineage.id == proved or lineage.binding == key for lineage in account_state.lineages.values())


def restored(lineage: Lineage, parent: Lineage) -> Lineage:
    """Return the lineage of a restored login. It expires no later than the login of the old phone.

    Both logins have the same identity provider, so both end if the person revokes the consent at Apple.
    """
    expires_at = min(lineage.expires_at, parent.expires_at)
    return replace(lineage, parent=parent.id, expires_at=expires_at, provider=parent.provider)


def handed_over(lineage: Lineage, app: Lineage, *, idle_s: int) -> Lineage:
    """Return the lineage of a login that an app hands over to a browser. It expires no later than the app's login.

    ``idle_s``: the idle limit of the app's login, in seconds. The new lineage expires no later than ``idle_s`` after
    ``app.issued_at``.
    """
    expires_at = min(lineage.expires_at, app.expires_at, app.issued_at + idle_s)
    return replace(
        lineage, parent=app.id, expires_at=expires_at, assurance=app.assurance, label=app.label, provider=app.provider
    )


def replaced_by_handover(
    account_state: AccountState, lineage: Lineage, *, over: LineageId | None
) -> tuple[Lineage, ...]:
    """Return the lineages that a handover ends, except those that have already ended.

    - The lineages of earlier handovers from the same login of the app to the same client. ``lineage`` is the new
      lineage.
    - ``over``: the lineage whose cookies the browser sent.
    """
    return tuple(
        one
        for one in account_state.lineages.values()
        if one.ended is None
        and one.epoch == account_state.epoch
        and (one.id == over or (one.app == lineage.app and one.client == lineage.client))
    )


def replaced_by_login(
    account_state: AccountState, binding: Binding, *, proved: LineageId | None, over: LineageId | None = None
) -> tuple[Lineage, ...]:
    """Return the lineages that a login ends, except those that have already ended. A device has only one login.

    - The lineages with the same device key.
    - ``proved``: the lineage whose HMAC secret signed the login request.
    - ``over``: the lineage whose cookies the browser sent.
    """
    return tuple(
        lineage
        for lineage in account_state.lineages.values()
        if lineage.ended is None
        and lineage.epoch == account_state.epoch
        and (lineage.id in {proved, over} or (isinstance(binding, KeyBinding) and lineage.binding == binding))
    )


def removed_by_login(  # noqa: PLR0913 - all that the choice depends on
    account_state: AccountState,
    replaced: Sequence[Lineage],
    *,
    now: int,
    not_before: int,
    idle_s_of: Mapping[int, int],
    lineages_max: int,
    parent: LineageId | None = None,
    live_too: bool = True,
) -> tuple[Lineage, ...] | NoRoom:
    """Return the lineages to remove, to make room for a new lineage. ``NoRoom``: too few can be removed.

    Ended lineages are removed first, then expired or idle lineages, then the least recently used live lineages.

    - ``replaced``: the lineages that the new login ends. They count as ended, except for their age (see below).
    - ``parent``: the login from which the new lineage is restored or handed over. It is never removed.
    - ``live_too=False``: no live lineage is removed.

    A lineage that began or ended in the last ``LINEAGE_KEPT_S`` is kept. If it were removed, a repetition of its login
    request could begin the login again. Exceptions:

    - If a lineage expired, is idle or is in ``replaced``, only its beginning counts.
    - If a lineage of a handover is no longer live, it is kept only for ``HANDED_OVER_KEPT_S``.
    - If a lineage began with a password that is no longer valid, it can be removed at any age.
    """
    surplus = len(account_state.lineages) + 1 - lineages_max
    if surplus <= 0:
        return ()
    ending = {lineage.id for lineage in replaced}

    def order(lineage: Lineage) -> tuple[int, int, LineageId]:
        ended = ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=idle_s_of.get(lineage.client))
        if ended is None and lineage.id in ending:
            return (0, now, lineage.id)
        if ended is None:
            return (_LIVE, last_used(lineage, now=now), lineage.id)
        return (1 if ended.reason in {EndReason.EXPIRED, EndReason.IDLE} else 0, ended.at, lineage.id)

    def age(lineage: Lineage) -> int:
        if void and lineage.epoch != account_state.epoch and "pwd" in lineage.assurance.amr:
            return LINEAGE_KEPT_S
        ended = ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=idle_s_of.get(lineage.client))
        if ended is None or ended.reason in {EndReason.EXPIRED, EndReason.IDLE}:
            return now - lineage.auth_time
        return now - max(lineage.auth_time, min(ended.at, now))

    void = account_state.raised is not None and account_state.raised.reason in _VOID
    ages = {lineage.id: age(lineage) for lineage in account_state.lineages.values()}
    others = [one for one in account_state.lineages.values() if one.id != parent]
    if not live_too:
        others = [one for one in others if order(one)[0] < _LIVE]
    waits = {
        one.id: (HANDED_OVER_KEPT_S if one.app and order(one)[0] < _LIVE else LINEAGE_KEPT_S) - ages[one.id]
        for one in others
    }
    removable = sorted((one for one in others if waits[one.id] <= 0), key=order)
    if len(removable) < surplus:
        later = sorted(wait for wait in waits.values() if wait > 0)
        missing = surplus - len(removable)
        return NoRoom(until=now + (later[missing - 1] if len(later) >= missing else LINEAGE_KEPT_S))
    return tuple(removable[:surplus])


def last_used(lineage: Lineage, *, now: int) -> int:
    """Return the time at which a lineage was last used, in seconds.

    If only the day is stored, the result is the end of that day, or ``now`` if this is earlier.
    """
    if lineage.last_used_day is None:
        return lineage.issued_at
    return max(lineage.issued_at, min(now, (lineage.last_used_day + 1) * DAY_S - 1))
