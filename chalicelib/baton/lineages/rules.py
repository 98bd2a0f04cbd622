"""The rule: what a presented generation means, and what it does to its lineage (exchange.md, E4 to E9).

`judge` is the one place that decides. The store writes the same rule as a condition, and lets `judge` explain a
condition that failed.
"""

import hashlib
from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Actor,
    Ended,
    EndReason,
    Lineage,
    PresentedToken,
    Status,
)
from chalicelib.baton.policy import (
    ATTEMPT_SLOTS,
    DAY_S,
    PREVIOUS_GENERATION_S,
    SLIDE_AFTER_FRACTION,
    Mechanism,
)


class Current(Struct, frozen=True):
    """E5: the presented generation is the current one. Its exchange may go ahead."""

    lineage: Lineage


class Retry(Struct, frozen=True):
    """E6: the one before, by the same attempt. The child it got is ``lineage``'s current generation."""

    lineage: Lineage


class Superseded(Struct, frozen=True):
    """E7: older, by the attempt that once exchanged it. A late repetition; nothing ends."""


class Reused(Struct, frozen=True):
    """E8: used before, by another attempt or one forgotten. ``lineage`` as it is, with what is known of that use."""

    lineage: Lineage


class Ahead(Struct, frozen=True):
    """E9: genuinely ours and newer than the stored one. The table was rolled back."""


class Inactive(Struct, frozen=True):
    """E4: over, or not as stored. ``reason`` when there is one to tell."""

    reason: EndReason | None = None


Verdict = Current | Retry | Superseded | Reused | Ahead | Inactive


class Exchanged(Struct, frozen=True):
    """E5, carried out: ``lineage`` has moved on, its current generation is the child."""

    lineage: Lineage


def judge(
    account_state: AccountState | None, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
) -> Verdict:
    """Decide what a presented generation means.

    ``not-before`` is the time before which every lineage is dead; ``idle_s`` the idle limit of the client's mechanism.
    """
    lineage = active_lineage(account_state, presented, now=now, not_before=not_before, idle_s=idle_s)
    if isinstance(lineage, Inactive):
        return lineage
    behind = lineage.generation - presented.generation
    if behind == 0:
        # The current token has the stored iat. Another iat was minted outside, with a leaked key.
        return Current(lineage) if presented.issued_at == lineage.issued_at else Inactive()
    if behind < 0:
        return Ahead()
    if behind > ATTEMPT_SLOTS or lineage.attempts[presented.generation % ATTEMPT_SLOTS] != presented.attempt:
        return Reused(lineage)
    return Retry(lineage) if behind == 1 else Superseded()


def active_lineage(
    account_state: AccountState | None, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
) -> Lineage | Inactive:
    """Find the presented lineage, alive, or say that it is dead and why (E4)."""
    lineage = account_state.lineages.get(presented.lineage) if account_state else None
    if account_state is None or lineage is None:
        return Inactive()
    ended = ended_of(account_state, lineage, now=now, not_before=not_before, idle_s=idle_s)
    if ended is not None:
        return Inactive(ended.reason)
    if account_state.status is not Status.ACTIVE:
        return Inactive()
    if lineage.client != presented.client or lineage.binding != presented.binding:
        return Inactive()
    if presented.issued_at < lineage.auth_time:
        # A token of an earlier life: this lineage was evicted, and begun anew by the same attempt.
        return Inactive()
    return lineage


def ended_of(
    account_state: AccountState, lineage: Lineage, *, now: int, not_before: int, idle_s: int | None
) -> Ended | None:
    """Return when and why a lineage ended, or ``None`` while it lives. ``idle_s=None`` ignores the idle limit.

    A lineage of an older epoch was ended by the raising of the epoch; the account state remembers the last raise only.
    A lineage from before the not-before time ended when the not-before time was raised, everywhere.
    """
    if lineage.ended is not None:
        return lineage.ended
    if lineage.epoch != account_state.epoch:
        return account_state.raised or Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
    if lineage.auth_time < not_before:
        return Ended(at=not_before, reason=EndReason.ENDED_EVERYWHERE)
    if lineage.expires_at <= now:
        return Ended(at=lineage.expires_at, reason=EndReason.EXPIRED)
    if idle_s is not None and lineage.issued_at + idle_s < now:
        return Ended(at=lineage.issued_at + idle_s, reason=EndReason.IDLE)
    return None


def exchange(lineage: Lineage, presented: PresentedToken, *, now: int) -> Lineage:
    """Move a lineage to its next generation, remembering the attempt that used up this one (E5)."""
    slots = list(lineage.attempts)
    slots[presented.generation % ATTEMPT_SLOTS] = presented.attempt
    return replace(
        lineage,
        generation=lineage.generation + 1,
        attempts=(slots[0], slots[1], slots[2], slots[3]),
        issued_at=max(now, presented.issued_at),
    )


class Active(Struct, frozen=True):
    """A token may be used: its lineage lives and its generation is the current one, or the one before."""

    account_state: AccountState
    lineage: Lineage


class Expired(Struct, frozen=True):
    """Genuine and of a live lineage, but expired, or exchanged away more than once."""


AccessVerdict = Active | Expired | Ahead | Inactive


def judge_access(
    account_state: AccountState | None,
    presented: PresentedToken,
    *,
    expires_at: int,
    now: int,
    not_before: int,
    mechanism: Mechanism,
) -> AccessVerdict:
    """Decide whether a token may be used on a call.

    The current generation may be used until its own expiry. The generation before it may be used for
    ``PREVIOUS_GENERATION_S`` after its exchange, because calls were in flight: no longer, since a copy of the device
    can repeat that exchange. A sliding mechanism's token lives for as long as the login was used without a gap.
    """
    lineage = active_lineage(account_state, presented, now=now, not_before=not_before, idle_s=mechanism.idle_s)
    if isinstance(lineage, Inactive):
        return lineage
    assert account_state is not None
    behind = lineage.generation - presented.generation
    if behind < 0:
        return Ahead()
    if behind > 1 or (behind == 1 and now > lineage.issued_at + PREVIOUS_GENERATION_S):
        return Expired()
    if behind == 0 and mechanism.single_use and presented.issued_at != lineage.issued_at:
        return Inactive()
    slid = (
        mechanism.slides
        and lineage.in_use_since is not None
        and presented.issued_at >= lineage.in_use_since
        and now < lineage.issued_at + mechanism.access_s
    )
    return Active(account_state, lineage) if now < expires_at or slid else Expired()


class ProofOutdated(Struct, frozen=True):
    """The password was changed after the caller proved it for this operation."""


def may_act(account_state: AccountState | None, actor: Actor, *, now: int) -> Lineage | Inactive | ProofOutdated:
    """Decide whether a write on behalf of a login may happen: only while that login is live.

    Live means: the account is active, the lineage is of its epoch, not ended, not expired, and began at the
    not-before time or later. The idle limit does not count: the call itself is a use.
    """
    lineage = account_state.lineages.get(actor.lineage) if account_state else None
    if account_state is None or lineage is None:
        return Inactive()
    ended = ended_of(account_state, lineage, now=now, not_before=actor.not_before, idle_s=None)
    if ended is not None:
        return Inactive(ended.reason)
    if account_state.status is not Status.ACTIVE:
        return Inactive()
    return lineage if account_state.credentials_version == actor.credentials_version else ProofOutdated()


def has_role(account_state: AccountState, codes: Collection[int]) -> bool:
    """Decide whether the account has any one of these roles. No role of an empty collection can be had."""
    return not account_state.roles.isdisjoint(codes)


def record_use(lineage: Lineage, *, now: int, mechanism: Mechanism, renewed: bool) -> Lineage | None:
    """Return the lineage with this use recorded, or ``None`` when no write is needed.

    A single-use mechanism records its use by the exchange. A sliding one records it by iat, the others by the day.
    """
    if mechanism.single_use:
        return None
    if mechanism.slides:
        return slide(lineage, now=now, mechanism=mechanism, renewed=renewed)
    today = now // DAY_S
    if lineage.last_used_day is not None and lineage.last_used_day >= today:
        return None
    return replace(lineage, last_used_day=today) if renewed or not mechanism.renewable else None


def slide(lineage: Lineage, *, now: int, mechanism: Mechanism, renewed: bool) -> Lineage | None:
    """Write down that a sliding login was used, or ``None`` when a call finds it written down recently enough.

    A renewal is always written down. ``in_use_since`` moves with it, so that an earlier id lives by its own expiry
    only, and with a gap longer than an id's life, so that ids from before it stay dead.
    """
    if not renewed and now - lineage.issued_at < mechanism.access_s // SLIDE_AFTER_FRACTION:
        return None
    since = lineage.in_use_since
    if renewed or now >= lineage.issued_at + mechanism.access_s:
        since = max(now, since or lineage.auth_time)
    return replace(lineage, issued_at=max(now, lineage.issued_at), in_use_since=since)


def attempt_digest(attempt: str) -> bytes:
    """Shorten an attempt to the 8 bytes a slot holds."""
    digest = hashlib.sha256(b"baton attempt\0" + attempt.encode()).digest()[: len(NO_ATTEMPT)]
    return digest if digest != NO_ATTEMPT else b"\1" * len(NO_ATTEMPT)


def used_by(lineage: Lineage, generation: int) -> bytes | None:
    """Return the digest of the attempt that used a generation; ``None`` when it is forgotten."""
    behind = lineage.generation - generation
    return lineage.attempts[generation % ATTEMPT_SLOTS] if 0 < behind <= ATTEMPT_SLOTS else None


def expiry(issued_at: int, lineage: Lineage, mechanism: Mechanism) -> int:
    """Tell when a token for calls expires: min(iat + life, absolute expiry)."""
    return min(issued_at + mechanism.access_s, lineage.expires_at)
