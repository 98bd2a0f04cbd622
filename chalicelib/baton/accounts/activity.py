"""The activity of an account, for its owner: the audited events, and the two uses of a reused token."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.ports import Audit, StoredEvent
from chalicelib.baton.lineages.model import AccountState, EndReason
from chalicelib.baton.policy import ACTIVITY_PAGE
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import Seconds

ENDED_BY: Mapping[str, EndReason] = {
    "token_reused": EndReason.REUSE,
    "logged_out": EndReason.LOGOUT,
    "revoked": EndReason.LOGOUT,
    "device_ended": EndReason.ENDED_BY_OWNER,
    "login_replaced": EndReason.REPLACED,
    "logged_out_everywhere": EndReason.ENDED_EVERYWHERE,
    "password_changed": EndReason.PASSWORD_CHANGED,
    "password_reset": EndReason.PASSWORD_RESET,
    "account_claimed": EndReason.CLAIMED,
    "changes_undone": EndReason.UNDONE,
    "account_disabled": EndReason.ACCOUNT_DISABLED,
    "ended_by_operator": EndReason.ENDED_BY_OPERATOR,
    "identity_unlinked": EndReason.IDENTITY_UNLINKED,
}
"""The end reason of the logins that an event ends, by the name of the event."""

_CURSOR = re.compile(r"([0-9]{10})\.([0-9a-zA-Z]{1,64})")
_OF_THE_EVIDENCE = frozenset(
    {"generation", "attempt", "first_attempt", "key", "network", "user_agent", "current_generation", "last_exchange_at"}
)


class FirstUse(Struct, frozen=True, kw_only=True):
    """The first exchange of a token that was used twice. The network and user agent of this exchange are not stored."""

    generation: int
    at: Annotated[Seconds | UnsetType, msgspec.Meta(description="Missing if the child was exchanged too.")] = UNSET
    attempt: Annotated[str | UnsetType, msgspec.Meta(description="The digest of the attempt, in hex.")] = UNSET


class SecondUse(Struct, frozen=True, kw_only=True):
    """The request that ended the login: the second use of the token, except if ``key`` is ``another``.

    ``key`` is the key that signed this request:

    - ``own``: the key or HMAC secret of the login.
    - ``another``: another key, so Baton could not verify the signature. Because of the wrong key, Baton ended the
      login, even if this request was the first use of the token.
    - ``none``: no key, because the login has none.
    """

    generation: int | UnsetType = UNSET
    at: Seconds
    attempt: Annotated[str | UnsetType, msgspec.Meta(description="The digest of the attempt, in hex.")] = UNSET
    key: Literal["own", "another", "none"]
    network: str
    user_agent: str


class Evidence(Struct, frozen=True, kw_only=True):
    """The two uses of a reused token. The owner can compare them, to distinguish a copied device from a faulty app.

    ``first`` is missing if ``second.key`` is ``another``.
    """

    first: FirstUse | UnsetType = UNSET
    second: SecondUse


class ActivityEvent(Struct, frozen=True, kw_only=True):
    """An event of the account. ``reason`` is the end reason of the logins that the event ended."""

    at: Seconds
    event: str
    device_id: str | UnsetType = UNSET
    device_name: str | UnsetType = UNSET
    reason: EndReason | UnsetType = UNSET
    details: dict[str, str]
    evidence: Evidence | UnsetType = UNSET


class Activity(Struct, frozen=True, kw_only=True):
    """A page of events, the newest first. Send ``next`` as ``before`` to get the next page.

    The last page has no ``next``.
    """

    events: list[ActivityEvent]
    next: str | UnsetType = UNSET


class ShowActivity(Struct, frozen=True, kw_only=True):
    """List the events of the caller's account."""

    clock: Clock
    audit: Audit

    def __call__(self, caller: Caller, before: str) -> Activity:
        """Return a page of at most 50 events, the newest first.

        If ``before`` is empty, the page begins with the newest event. Otherwise the page has only events that are older
        than this cursor.

        Raises ``WrongType`` if ``before`` does not have the form of a cursor.
        """
        stored = self.audit.newest(
            caller.account, before=_key_of(before) if before else None, limit=ACTIVITY_PAGE + 1, now=self.clock()
        )
        events = [shown(one, caller.account_state) for one in stored[:ACTIVITY_PAGE]]
        more = len(stored) > ACTIVITY_PAGE
        return Activity(events=events, next=stored[ACTIVITY_PAGE - 1].key.replace("#", ".") if more else UNSET)


def shown(stored: StoredEvent, account_state: AccountState | None) -> ActivityEvent:
    """Convert a stored event for the owner. ``device_name`` is missing if the account state no longer has the login."""
    event = stored.event
    login = account_state.lineages.get(event.lineage) if account_state and event.lineage else None
    evidence = _evidence(stored) if event.event == "token_reused" else UNSET
    details = event.details
    if not isinstance(evidence, UnsetType):
        details = {name: value for name, value in details.items() if name not in _OF_THE_EVIDENCE}
    return ActivityEvent(
        at=event.at,
        event=event.event,
        device_id=event.lineage or UNSET,
        device_name=login.label if login else UNSET,
        reason=ENDED_BY.get(event.event, UNSET),
        details=dict(details),
        evidence=evidence,
    )


def _evidence(stored: StoredEvent) -> Evidence | UnsetType:
    """Read the `Evidence` from a ``token_reused`` event. ``UNSET``: a detail of the event is missing or unreadable."""
    told = stored.event.details
    try:
        first: FirstUse | UnsetType = UNSET
        if "current_generation" in told:
            generation = int(told["generation"])
            last = int(told["current_generation"]) == generation + 1
            first = FirstUse(
                generation=generation,
                at=int(told["last_exchange_at"]) if last else UNSET,
                attempt=told.get("first_attempt", UNSET),
            )
        # The audit stores strings. With `strict=False` the conversion makes numbers of them.
        second = {name: told[name] for name in SecondUse.__struct_fields__ if name in told}
        return Evidence(first=first, second=msgspec.convert({**second, "at": stored.event.at}, SecondUse, strict=False))
    except (KeyError, ValueError, msgspec.ValidationError):
        return UNSET


def _key_of(before: str) -> str:
    cursor = _CURSOR.fullmatch(before)
    if cursor is None:
        raise errors.WrongType(
            "a cursor that no page returned",
            pointer="/before",
            expected="cursor",
            detail="`before` must be the `next` of an earlier page.",
        )
    return f"{cursor[1]}#{cursor[2]}"
