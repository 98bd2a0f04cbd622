"""The rules of a lineage: what a presented token may do, and how its use changes the lineage. No I/O.

An exchange presents generation p of a lineage whose current generation is g (docs/baton/exchange.md):

| presented | attempt | verdict |
|---|---|---|
| the lineage has ended, or the token does not belong to it | any | ``Inactive`` (E4) |
| p = g | any | ``Current`` (E5): the exchange may happen |
| p = g - 1 | the attempt that exchanged p | ``Retry`` (E6): the same child again |
| p = g - 2 to g - 4 | the attempt that exchanged p | ``Superseded`` (E7): the login does not end |
| p < g | another attempt, or the attempt is no longer stored | ``Reused`` (E8): a sign of theft, the login ends |
| p > g | any | ``Ahead`` (E9): the DynamoDB table was rolled back, or a key leaked |

At an exchange, only ``judge`` decides. On DynamoDB, the write has the conditions of ``Current``: ``CURRENT`` and, for
an unbound token, ``NO_PARENT`` (``state_writes.py``). If any is false, the store calls ``judge`` with the stored item.
"""

import hashlib
from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    NO_RIGHTS,
    AccountState,
    Actor,
    Ended,
    EndReason,
    Lineage,
    PresentedToken,
    Rights,
    Status,
    UnfinishedLogin,
)
from chalicelib.baton.policy import (
    ATTEMPT_SLOTS,
    ATTRIBUTES_BYTES_MAX,
    DAY_S,
    PREVIOUS_GENERATION_S,
    SLIDE_AFTER_FRACTION,
    Mechanism,
)


class Current(Struct, frozen=True):
    """E5: the presented generation is the current generation. The exchange may happen."""

    lineage: Lineage


class Retry(Struct, frozen=True):
    """E6: the client presented the previous generation with the stored attempt, and gets the same child again.

    The child is the current generation of ``lineage``. ``rights`` are the present rights of the account.
    """

    lineage: Lineage
    rights: Rights = NO_RIGHTS


class Superseded(Struct, frozen=True):
    """E7: the client presented a token two to four generations old, with the stored attempt. No login ends."""


class Reused(Struct, frozen=True):
    """E8: the client presented an exchanged generation, but not with the stored attempt of its exchange.

    Baton stores the attempts of the last four exchanges only. ``lineage`` is the stored lineage.
    """

    lineage: Lineage


class Ahead(Struct, frozen=True):
    """E9: the token has a newer generation than the stored lineage. The table was rolled back, or a key leaked."""


class Inactive(Struct, frozen=True):
    """E4: the login has ended, or the token does not match the stored login.

    ``reason`` is the reason that `ended_of` returns for an ended login. In any other case, it is ``None``.
    """

    reason: EndReason | None = None


Verdict = Current | Retry | Superseded | Reused | Ahead | Inactive


class Exchanged(Struct, frozen=True):
    """The result of an exchange (E5): ``lineage`` is the lineage after the write. Its current generation is the child.

    ``rights`` are the rights of the account at the time of the write.
    """

    lineage: Lineage
    rights: Rights = NO_RIGHTS


def judge(
    account_state: AccountState | None, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
) -> Verdict:
    """Return the verdict on a presented token at an exchange.

    Lineages that began before ``not_before`` have ended. ``idle_s`` is the idle limit of the client's mechanism.
    """
    lineage = active_lineage(account_state, presented, now=now, not_before=not_before, idle_s=idle_s)
    if isinstance(lineage, Inactive) or lineage.app is not None:  # the login of a browser is never exchanged
        return lineage if isinstance(lineage, Inactive) else Inactive()
    behind = lineage.generation - presented.generation
    if behind == 0:
        # The current token has the stored iat. A token with another iat was signed with a leaked key.
        return Current(lineage) if presented.issued_at == lineage.issued_at else Inactive()
    if behind < 0:
        return Ahead()
    if behind > ATTEMPT_SLOTS or lineage.attempts[presented.generation % ATTEMPT_SLOTS] != presented.attempt:
        return Reused(lineage)
    if behind > 1:
        return Superseded()
    assert account_state is not None
    return Retry(lineage, rights_of(account_state))


def active_lineage(
    account_state: AccountState | None, presented: PresentedToken, *, now: int, not_before: int, idle_s: int
) -> Lineage | Inactive:
    """Return the presented lineage if it is active and matches the token, otherwise ``Inactive`` (E4)."""
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
        # Baton removed the login of the token. Then a repeated login request began the stored login with the same id.
        return Inactive()
    return lineage


def ended_of(
    account_state: AccountState, lineage: Lineage, *, now: int, not_before: int, idle_s: int | None
) -> Ended | None:
    """Return time and reason of the end of a lineage, or ``None`` if it is active. ``idle_s=None``: no idle limit.

    If a rise of the epoch ended the lineage, the result has the time and reason of the last rise. Earlier rises are not
    stored. If the login of an app has ended, the lineages that the app handed over have ended too.
    """
    if lineage.ended is not None:
        return lineage.ended
    if lineage.epoch != account_state.epoch:
        return account_state.raised or Ended(at=now, reason=EndReason.ENDED_EVERYWHERE)
    if lineage.auth_time < not_before:
        return Ended(at=not_before, reason=EndReason.ENDED_EVERYWHERE)
    if lineage.expires_at <= now:
        return Ended(at=lineage.expires_at, reason=EndReason.EXPIRED)
    ended = _end_of_app(account_state, lineage, now=now, not_before=not_before)
    if ended is None and idle_s is not None and lineage.issued_at + idle_s < now:
        return Ended(at=lineage.issued_at + idle_s, reason=EndReason.IDLE)
    return ended


def _end_of_app(account_state: AccountState, lineage: Lineage, *, now: int, not_before: int) -> Ended | None:
    """Return the end of the app's login, if an app handed ``lineage`` over to a browser.

    ``None``: no app did so, or the app's login is live. If no stored login has the id of the app's login, or the
    login with this id began after ``lineage``, Baton has removed the app's login. The result then has the time of the
    last use of ``lineage``. The app's idle limit is not checked: ``lineage`` expires before that limit is reached.
    """
    if lineage.app is None:
        return None
    app = account_state.lineages.get(lineage.app)
    if app is None or app.auth_time > lineage.auth_time:
        return Ended(at=lineage.issued_at, reason=EndReason.REPLACED)
    return ended_of(account_state, app, now=now, not_before=not_before, idle_s=None)


def exchange(lineage: Lineage, presented: PresentedToken, *, now: int) -> Lineage:
    """Return the lineage after an exchange: the next generation is current, and the attempt is in its slot (E5)."""
    slots = list(lineage.attempts)
    slots[presented.generation % ATTEMPT_SLOTS] = presented.attempt
    return replace(
        lineage,
        generation=lineage.generation + 1,
        attempts=(slots[0], slots[1], slots[2], slots[3]),
        issued_at=max(now, presented.issued_at),
    )


class Active(Struct, frozen=True):
    """The token may be used: its lineage is active, and its generation is the current or the previous generation."""

    account_state: AccountState
    lineage: Lineage


def proved_login(account_state: AccountState, lineage: Lineage) -> Lineage:
    """Return the lineage, or the login of the app if a handover made the lineage.

    A caller must take login time and rate limits from the returned login. A handover proves no factor, and a thief with
    the token of the app can repeat the handover.
    """
    return lineage if lineage.app is None else account_state.lineages[lineage.app]


class Expired(Struct, frozen=True):
    """The lineage is active, but the token has expired, or a newer token has replaced it."""


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
    """Return the verdict on a token that is sent on a call.

    - The current token may be used until it expires. With a sliding mechanism, calls can extend this time (`slide`).
    - The previous token may be used until it expires, but at most ``PREVIOUS_GENERATION_S`` after its exchange.
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
    """The credentials version was raised after the caller was authenticated."""


def may_act(account_state: AccountState | None, actor: Actor, *, now: int) -> Lineage | Inactive | ProofOutdated:
    """Return the actor's lineage if the actor may write. ``ProofOutdated``: the actor's credentials version is old.

    The account must be active, and the lineage must not have ended (`ended_of`). Otherwise the result is ``Inactive``.
    The idle limit is not checked here: it was checked when the caller was authenticated.
    """
    lineage = account_state.lineages.get(actor.lineage) if account_state else None
    if account_state is None or lineage is None:
        return Inactive()
    ended = ended_of(account_state, lineage, now=now, not_before=actor.not_before, idle_s=None)
    if ended is not None:
        return Inactive(ended.reason)
    if account_state.status is not Status.ACTIVE or lineage.app != actor.app:
        return Inactive()
    return lineage if account_state.credentials_version == actor.credentials_version else ProofOutdated()


def may_go_on(account_state: AccountState | None, login: UnfinishedLogin) -> bool:
    """Decide whether an unfinished login is still valid.

    It is valid while the account is active, with the same epoch and credentials version as when the first factor was
    proved.
    """
    return (
        account_state is not None
        and account_state.status is Status.ACTIVE
        and account_state.epoch == login.epoch
        and account_state.credentials_version == login.credentials_version
    )


def rights_of(account_state: AccountState) -> Rights:
    """Return roles and attributes of an account, for the tokens of its logins."""
    return Rights(account_state.roles, account_state.attributes)


def has_role(account_state: AccountState, codes: Collection[int]) -> bool:
    """Check whether the account has at least one of these roles. For an empty collection the result is false."""
    return not account_state.roles.isdisjoint(codes)


def check_attributes(attributes: bytes) -> None:
    """Check the size of attributes: an account state has room for few bytes. Raises ``ValueError``."""
    if len(attributes) > ATTRIBUTES_BYTES_MAX:
        message = f"the attributes of an account are at most {ATTRIBUTES_BYTES_MAX} bytes: {len(attributes)} are given"
        raise ValueError(message)


def record_use(lineage: Lineage, *, now: int, mechanism: Mechanism, renewed: bool) -> Lineage | None:
    """Return the lineage with this use recorded, or ``None`` when no write is needed.

    - A single-use mechanism: always ``None``, because the exchange records the use.
    - A sliding mechanism: see `slide`.
    - The mechanism ``refresh``: the first renewal of a day sets ``last_used_day``.
    - The mechanism ``long_lived``: the first use of a day sets ``last_used_day``.
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
    """Return a sliding login with this use recorded, or ``None`` if a recent use is already stored.

    Only a renewal, or the first use after a gap of ``access_s`` or more, sets ``in_use_since`` to ``now``. From then
    on, a use no longer extends the tokens that were issued before ``in_use_since`` (`judge_access`).
    """
    if not renewed and now - lineage.issued_at < mechanism.access_s // SLIDE_AFTER_FRACTION:
        return None
    since = lineage.in_use_since
    if renewed or now >= lineage.issued_at + mechanism.access_s:
        since = max(now, since or lineage.auth_time)
    return replace(lineage, issued_at=max(now, lineage.issued_at), in_use_since=since)


def attempt_digest(attempt: str) -> bytes:
    """Return the 8-byte digest of an attempt, as ``Lineage.attempts`` stores it. It never equals ``NO_ATTEMPT``."""
    digest = hashlib.sha256(b"baton attempt\0" + attempt.encode()).digest()[: len(NO_ATTEMPT)]
    return digest if digest != NO_ATTEMPT else b"\1" * len(NO_ATTEMPT)


def used_by(lineage: Lineage, generation: int) -> bytes | None:
    """Return the digest of the attempt that exchanged a generation, or ``None`` if no digest is stored."""
    digest = lineage.attempts[generation % ATTEMPT_SLOTS]
    return digest if 0 < lineage.generation - generation <= ATTEMPT_SLOTS and digest != NO_ATTEMPT else None


def expiry(issued_at: int, lineage: Lineage, mechanism: Mechanism) -> int:
    """Return the time at which a token for calls expires: min(iat + life, absolute expiry)."""
    return min(issued_at + mechanism.access_s, lineage.expires_at)
