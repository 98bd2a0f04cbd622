"""Notices of Apple: a person removed the app, deleted the Apple Account, or stopped the forwarding of mails.

Source: developer.apple.com, "Processing changes for Sign in with Apple accounts". Apple repeats a notice until Baton
answers with status 200. So Baton first carries out a notice, and then stores its id. It is safe to carry out a notice
twice. A notice may arrive late. A late ``consent-revoked`` ends no login that began after Apple issued the notice.
"""

import hashlib
from typing import Any, Final, Protocol

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Done
from chalicelib.baton.events.ports import Log, Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.ports import Passwords
from chalicelib.baton.factors.rules import leaves_a_credential
from chalicelib.baton.federation.id_token import (
    EXPIRY_LEEWAY_S,
    ISSUED_WITHIN_S,
    IdTokenRefused,
    canonical_issuer,
    is_subject,
    read_head,
    verified_claims,
)
from chalicelib.baton.federation.model import NOTICE_KEPT_S, Identity
from chalicelib.baton.federation.ports import Identities, ProviderTokens
from chalicelib.baton.federation.provider_keys import ProviderKeys
from chalicelib.baton.federation.providers import Provider, Providers
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.strict_json import read_object
from chalicelib.baton.lineages.assurance import APPLE_CODE
from chalicelib.baton.lineages.model import EndReason, Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.tokens.ports import Tickets

JTI_CHARACTERS_MAX: Final = 255
_ID_BYTES: Final = 16
_NO_ACCOUNT: Final = "no account has the identity"


class Forwarding(Protocol):
    """Stop the mails to an address, or allow them again."""

    def __call__(self, email: str, *, on: bool, now: int) -> None:
        """Store whether mails to an address are sent (``on``). A text that is not an address changes nothing."""


class Notice(Struct, frozen=True, kw_only=True):
    """A notice that Apple signed. ``at`` is its claim ``iat``. ``email`` is the address in the notice, or empty."""

    id: bytes
    at: int
    type: str
    issuer: str
    sub: str
    email: str

    @property
    def until(self) -> int:
        """Return ``at`` plus a leeway for Apple's clock.

        A ``consent-revoked`` notice ends no login that began after this time. It deletes no refresh token that was
        stored after this time.
        """
        return self.at + EXPIRY_LEEWAY_S


class TakeNotice(Struct, frozen=True, kw_only=True):
    """Carry out the notices of Apple."""

    clock: Clock
    providers: Providers
    keys: ProviderKeys
    key_ring: KeyRing
    identities: Identities
    tokens: ProviderTokens
    users: Passwords
    lineage_store: LineageStore
    tickets: Tickets
    forwarding: Forwarding
    log: Log
    record: Record

    def __call__(self, payload: str) -> None:
        """Carry out a notice. Do nothing if Baton has already stored the id of the notice.

        Raises ``Malformed`` if ``payload`` is not a notice of Apple to an app of this service. Raises ``Unavailable``
        if Baton cannot carry out the notice now.
        """
        now = self.clock()
        notice = self._verified(payload, now=now)
        if self.tickets.is_consumed(notice.id, now=now):
            return
        outcome = self._done(notice, now=now)
        self.tickets.consume_ticket(notice.id, expires_at=max(now, notice.at) + NOTICE_KEPT_S, now=now, mark=notice.id)
        self.log.record("apple_notice", reason=f"{notice.type}: {outcome}")

    def _verified(self, payload: str, *, now: int) -> Notice:
        provider = next((one for one in self.providers.by_name.values() if one.code == APPLE_CODE), None)
        try:
            if provider is None:
                raise IdTokenRefused("iss", "no provider of kind apple")
            unread = read_head(payload, provider)
            keys = self.keys(provider, unread.kid, now=now)
            return read_notice(verified_claims(unread, provider, keys), provider, now=now)
        except IdTokenRefused as refused:
            raise errors.Malformed(
                str(refused), pointer="/payload", detail="`payload` is not a notice of Apple to an app of this service."
            ) from None

    def _done(self, notice: Notice, *, now: int) -> str:
        """Carry out the notice. Return a text that describes the effect."""
        match notice.type:
            case "email-disabled" | "email-enabled":
                self.forwarding(notice.email, on=notice.type == "email-enabled", now=now)
                return "the address was noted"
            case "consent-revoked":
                identity = self._identity(notice, now=now)
                return self._revoked(notice, identity, now=now) if identity is not None else _NO_ACCOUNT
            case "account-delete" | "account-deleted":
                identity = self._identity(notice, now=now)
                return self._deleted(notice, identity, now=now) if identity is not None else _NO_ACCOUNT
            case _:
                return "nothing to do"

    def _identity(self, notice: Notice, *, now: int) -> Identity | None:
        index = self.key_ring.current(now=now).identity_index(APPLE_CODE, notice.issuer, notice.sub)
        return self.identities.get(index)

    def _revoked(self, notice: Notice, identity: Identity, *, now: int) -> str:
        """End the logins that began with the identity at Apple. Delete its refresh token, which Apple has revoked."""
        self.tokens.drop(identity.index, identity.account, until=notice.until)
        account_state = self.lineage_store.get(identity.account)
        begun = account_state.lineages.values() if account_state is not None else ()
        ended = 0
        for lineage in begun:
            if lineage.provider == APPLE_CODE and lineage.ended is None and lineage.auth_time <= notice.until:
                self.lineage_store.end(identity.account, lineage.id, EndReason.ENDED_BY_OWNER, now=now)
                ended += 1
        return f"{ended} logins ended"

    def _deleted(self, notice: Notice, identity: Identity, *, now: int) -> str:
        """Remove the identity of a person who deleted the Apple Account. Return a text that describes the effect.

        The identity stays if the person could not log in without it, or if the account is not active.
        """
        self.tokens.drop(identity.index, identity.account, until=notice.until)
        for _ in range(START_OVER_MAX):
            user = self.users.get(identity.account)
            linked = user.identities.get(APPLE_CODE) if user is not None else None
            if user is None or linked is None or linked.index != identity.index:
                return "the account does not have the identity any more"
            if not leaves_a_credential(user, identities=1):
                return "the identity stays: it is the last way in"
            account_state = self.lineage_store.get(identity.account)
            if account_state is None or account_state.status is not Status.ACTIVE:
                return "the identity stays: its account is not active"
            if isinstance(self.identities.lose(user, APPLE_CODE, now=now), Done):
                details = {"provider": self.providers.names[APPLE_CODE], "by": "provider"}
                self.record("identity_unlinked", account=identity.account, details=details, told=Told())
                return "the identity was removed, and every login of the account ended"
        raise errors.Unavailable("the account kept changing during a notice", by_caller=True)


def read_notice(claims: dict[str, Any], provider: Provider, *, now: int) -> Notice:
    """Read a notice from its verified claims. The claim ``events`` is one event as JSON. Raises ``IdTokenRefused``."""
    audiences = {audience for of_client in provider.audiences.values() for audience in of_client}
    if not (isinstance(claims.get("aud"), str) and claims["aud"] in audiences):
        raise IdTokenRefused("aud", "not an app of this service")
    issued_at, expires_at = claims.get("iat"), claims.get("exp")
    if type(issued_at) is not int or not now - NOTICE_KEPT_S < issued_at <= now + ISSUED_WITHIN_S:
        raise IdTokenRefused("iat", "too old, from the future, or no whole number")
    if expires_at is not None and (type(expires_at) is not int or now > expires_at + EXPIRY_LEEWAY_S):
        raise IdTokenRefused("exp", "expired, or no whole number")
    jti, events = claims.get("jti"), claims.get("events")
    if not (isinstance(jti, str) and 1 <= len(jti) <= JTI_CHARACTERS_MAX and jti.isprintable()):
        raise IdTokenRefused("payload", "no jti")
    if not isinstance(events, str):
        raise IdTokenRefused("payload", "no events")
    try:
        event = read_object(events.encode())
    except ValueError:
        raise IdTokenRefused("payload", "events is not one JSON object") from None
    kind, sub, email = event.get("type"), event.get("sub"), event.get("email", "")
    if not (isinstance(kind, str) and isinstance(sub, str) and is_subject(sub)):
        raise IdTokenRefused("payload", "an event without type or subject")
    return Notice(
        id=hashlib.sha256(f"apple notice {jti}".encode()).digest()[:_ID_BYTES],
        at=issued_at,
        type=kind,
        issuer=canonical_issuer(provider, claims["iss"]),
        sub=sub,
        email=email if isinstance(email, str) else "",
    )
