"""The rule: what a presented generation means, and what it does to its lineage (exchange.md, E4 to E9).

`judge` is the one place that decides. The store writes the same rule as a condition, and lets `judge` explain a
condition that failed.
"""

import hashlib
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.core.model import NO_ATTEMPT, Ended, EndReason, Gate, Lineage, LineageId, Presented, Status
from chalicelib.core.policy import ATTEMPT_SLOTS, SLIDE_AFTER_FRACTION, Mechanism


class Current(Struct, frozen=True):
    """E5: the presented generation is the current one. Its exchange may go ahead."""

    lineage: Lineage


class Retry(Struct, frozen=True):
    """E6: the one before, by the same attempt. The child it got is ``lineage``'s current generation."""

    lineage: Lineage


class Superseded(Struct, frozen=True):
    """E7: older, by the attempt that once exchanged it. A late repetition; nothing ends."""


class Reused(Struct, frozen=True):
    """E8: used before, by another attempt or one forgotten. Somebody has a copy."""


class Ahead(Struct, frozen=True):
    """E9: genuinely ours and newer than the stored one. The table was rolled back."""


class Dead(Struct, frozen=True):
    """E4: over, or not as stored. ``reason`` when there is one to tell."""

    reason: EndReason | None = None


Verdict = Current | Retry | Superseded | Reused | Ahead | Dead


class Exchanged(Struct, frozen=True):
    """E5, carried out: ``lineage`` has moved on, its current generation is the child."""

    lineage: Lineage


def judge(gate: Gate | None, presented: Presented, *, now: int, fence: int, idle_s: int) -> Verdict:
    """Decide what a presented generation means.

    ``fence`` is the time before which every lineage is dead; ``idle_s`` the idle limit of the client's mechanism.
    """
    lineage = live(gate, presented, now=now, fence=fence, idle_s=idle_s)
    if isinstance(lineage, Dead):
        return lineage
    behind = lineage.generation - presented.generation
    if behind == 0:
        return Current(lineage)
    if behind < 0:
        return Ahead()
    if behind > ATTEMPT_SLOTS or lineage.attempts[presented.generation % ATTEMPT_SLOTS] != presented.attempt:
        return Reused()
    return Retry(lineage) if behind == 1 else Superseded()


def live(gate: Gate | None, presented: Presented, *, now: int, fence: int, idle_s: int) -> Lineage | Dead:
    """Find the presented lineage, alive, or say that it is dead and why (E4)."""
    lineage = gate.lineages.get(presented.lineage) if gate else None
    if gate is None or lineage is None:
        return Dead()
    ended = ended_of(gate, lineage, now=now, fence=fence, idle_s=idle_s)
    if ended is not None:
        return Dead(ended.reason)
    if gate.status is not Status.ACTIVE:
        return Dead()
    if lineage.client != presented.client or lineage.binding != presented.binding:
        return Dead()
    if presented.issued_at < lineage.auth_time:
        # A token of an earlier life: this lineage was evicted, and begun anew by the same attempt.
        return Dead()
    return lineage


def ended_of(gate: Gate, lineage: Lineage, *, now: int, fence: int, idle_s: int) -> Ended | None:
    """Tell when and why a lineage is over, or ``None`` while it lives.

    A lineage of an older epoch was ended by the raising of the epoch; the gate remembers the last raise only.
    A lineage from before the fence ended when the fence was raised, everywhere.
    """
    if lineage.ended is not None:
        return lineage.ended
    if lineage.epoch != gate.epoch:
        return gate.raised or Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
    if lineage.auth_time < fence:
        return Ended(at=fence, reason=EndReason.ENDED_EVERYWHERE)
    if lineage.expires_at <= now:
        return Ended(at=lineage.expires_at, reason=EndReason.EXPIRED)
    if lineage.issued_at + idle_s < now:
        return Ended(at=lineage.issued_at + idle_s, reason=EndReason.IDLE)
    return None


def exchange(lineage: Lineage, presented: Presented, *, now: int) -> Lineage:
    """Move a lineage to its next generation, remembering the attempt that used up this one (E5)."""
    slots = list(lineage.attempts)
    slots[presented.generation % ATTEMPT_SLOTS] = presented.attempt
    return replace(
        lineage,
        generation=lineage.generation + 1,
        attempts=(slots[0], slots[1], slots[2], slots[3]),
        issued_at=max(now, presented.issued_at),
    )


class Live(Struct, frozen=True):
    """A token may be used: its lineage lives and its generation is the current one, or the one before."""

    gate: Gate
    lineage: Lineage


class Overtaken(Struct, frozen=True):
    """Genuine and of a live lineage, but expired, or exchanged away more than once."""


Use = Live | Overtaken | Ahead | Dead


def judge_use(
    gate: Gate | None, presented: Presented, *, expires_at: int, now: int, fence: int, mechanism: Mechanism
) -> Use:
    """Decide whether a token may be used on a call.

    The current generation may, and the one before, each until its own expiry: an exchange must not kill calls in
    flight. A sliding mechanism's token lives on for as long as the login was used without a gap.
    """
    lineage = live(gate, presented, now=now, fence=fence, idle_s=mechanism.idle_s)
    if isinstance(lineage, Dead):
        return lineage
    assert gate is not None
    behind = lineage.generation - presented.generation
    if behind < 0:
        return Ahead()
    if behind > 1:
        return Overtaken()
    slid = (
        mechanism.slides
        and lineage.in_use_since is not None
        and presented.issued_at >= lineage.in_use_since
        and now < lineage.issued_at + mechanism.use_s
    )
    return Live(gate, lineage) if now < expires_at or slid else Overtaken()


def slide(lineage: Lineage, *, now: int, mechanism: Mechanism, renewed: bool) -> Lineage | None:
    """Write down that a sliding login was used, or ``None`` when a call finds it written down recently enough.

    A renewal is always written down. ``in_use_since`` moves with it, so that an earlier id lives by its own expiry
    only, and with a gap longer than an id's life, so that ids from before it stay dead.
    """
    if not renewed and now - lineage.issued_at < mechanism.use_s // SLIDE_AFTER_FRACTION:
        return None
    since = lineage.in_use_since
    if renewed or now >= lineage.issued_at + mechanism.use_s:
        since = max(now, since or lineage.auth_time)
    return replace(lineage, issued_at=max(now, lineage.issued_at), in_use_since=since)


def attempt_digest(attempt: str) -> bytes:
    """Shorten an attempt to the 8 bytes a slot holds."""
    digest = hashlib.sha256(b"baton attempt\0" + attempt.encode()).digest()[: len(NO_ATTEMPT)]
    return digest if digest != NO_ATTEMPT else b"\1" * len(NO_ATTEMPT)


def expiry(issued_at: int, lineage: Lineage, mechanism: Mechanism) -> int:
    """Tell when a token for calls expires: min(iat + life, absolute expiry)."""
    return min(issued_at + mechanism.use_s, lineage.expires_at)


def replaced_by_login(
    gate: Gate, *, now: int, fence: int, idle_s_of: Mapping[int, int], lineages_max: int
) -> tuple[Lineage, ...]:
    """Choose which lineages make room for a new one: ended, then expired or idle, then the longest unused."""
    surplus = len(gate.lineages) + 1 - lineages_max
    if surplus <= 0:
        return ()

    def order(lineage: Lineage) -> tuple[int, int, LineageId]:
        ended = ended_of(gate, lineage, now=now, fence=fence, idle_s=idle_s_of.get(lineage.client, 0))
        if ended is None:
            return (2, lineage.issued_at, lineage.id)
        return (1 if ended.reason in {EndReason.EXPIRED, EndReason.IDLE} else 0, ended.at, lineage.id)

    return tuple(sorted(gate.lineages.values(), key=order)[:surplus])
