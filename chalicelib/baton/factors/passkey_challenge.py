"""The challenge of a WebAuthn ceremony, and the options that carry it to the platform. No I/O.

A challenge is a ticket that contains its purpose, so the server stores nothing before the challenge is used. The
challenge is bound to one kind of ceremony, to the client, and to the device key or the login that fetched it. The
challenge of a step-up has the digest of the operation, so the authenticator signs exactly that operation.
"""

import hashlib
from collections.abc import Iterable
from enum import IntEnum
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Entropy
from chalicelib.baton.factors.model import Passkey, User
from chalicelib.baton.factors.refusals import ChallengeInvalid
from chalicelib.baton.factors.verify_passkey import ALGORITHMS, ANDROID_ORIGIN
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.tickets import Ticket, TicketInvalid, UnknownRoot, open_ticket, seal_ticket
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.relying_party import RelyingParty
from chalicelib.baton.policy import TICKET_ID_BYTES
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES, TicketPurpose
from chalicelib.baton.tokens.caller import Operation


class Ceremony(IntEnum):
    """The purpose of a challenge. A challenge of one ceremony is refused in another ceremony."""

    REGISTER = 1
    UPGRADE = 2
    """Register without a gesture of the person, right after a login (conditional create)."""
    ENROL = 3
    """Register in the middle of a login that must have a second factor."""
    SIGN_IN = 4
    FACTOR = 5
    STEP_UP = 6
    RESTORE_KEY = 7
    """Register a restore key. No person is asked."""
    RESTORE = 8


class Challenge(Ticket, frozen=True):
    """The contents of a challenge. Members that a ceremony does not use are empty.

    ``key``: the thumbprint of the device key of the login that fetched the challenge.
    ``operation``: the digest of the operation of a step-up (`digest_of`).
    ``proved``: whether the step-up (for ``REGISTER``) or the login (for ``UPGRADE``) proved a second factor. For
    ``RESTORE_KEY``: whether the caller stepped up.
    """

    purpose: ClassVar[TicketPurpose] = TICKET_PURPOSES["challenge"]

    ceremony: Ceremony
    client: int
    key: bytes = b""
    account: AccountId = AccountId("")
    lineage: LineageId = LineageId("")
    operation: bytes = b""
    credentials_version: int = 0
    proved: bool = False


class PasskeyOptions(Struct, frozen=True, kw_only=True):
    """The options that the app passes to the platform unchanged.

    The platform is ``navigator.credentials``, ``ASAuthorization`` or Credential Manager.

    The answer of the platform must be sent within ``expires_in`` seconds.
    """

    options: Annotated[
        dict[str, Any],
        msgspec.Meta(
            description="`PublicKeyCredentialCreationOptionsJSON` or `PublicKeyCredentialRequestOptionsJSON` of "
            "WebAuthn Level 3."
        ),
    ]
    expires_in: int


class Challenges(Struct, frozen=True, kw_only=True):
    """Make and open the challenges of WebAuthn ceremonies."""

    entropy: Entropy
    key_ring: KeyRing

    def make(self, ceremony: Ceremony, client: Client, *, now: int, **bound_to: Any) -> str:  # noqa: ANN401 - members
        """Return a challenge, in base64url. ``bound_to`` are members of `Challenge`."""
        ticket = Challenge(self.entropy(TICKET_ID_BYTES), now, ceremony, client.code, **bound_to)
        return seal_ticket(ticket, self.key_ring.current(now=now), now=now)

    def open(self, text: str, *ceremonies: Ceremony, client: Client, now: int, **bound_to: object) -> Challenge:
        """Open a challenge of one of these ceremonies, of this client, and with the members in ``bound_to``.

        Raises ``ChallengeInvalid`` if the challenge is altered, expired or does not fit these values.
        """
        bound_to["client"] = client.code
        try:
            try:
                ticket = open_ticket(Challenge, text, self.key_ring.current(now=now), now=now, bound_to=bound_to)
            except UnknownRoot:
                ring = self.key_ring.refreshed(now=now)
                ticket = open_ticket(Challenge, text, ring, now=now, bound_to=bound_to)
        except TicketInvalid as invalid:
            raise ChallengeInvalid(f"challenge: {invalid}") from None
        if ticket.ceremony not in ceremonies:
            raise ChallengeInvalid("challenge: of another ceremony")
        return ticket


def party_of(clients: Clients, client: Client | None) -> RelyingParty:
    """Return the relying party of a client. Raises ``NotFound`` if the client cannot use passkeys."""
    party = clients.relying_party
    if party is None or client is None or not origins_of(party, client):
        raise errors.NotFound(
            "the client has no passkeys",
            detail="This client cannot use passkeys: its operator has not registered an origin or an app for it.",
        )
    return party


def origins_of(party: RelyingParty, client: Client) -> tuple[str, ...]:
    """Return the origins of a client: its web origins, and the origins that the platforms give to its apps."""
    ios = (f"https://{party.rp_id}",) if client.apps.app_ids else ()
    certificates = sorted({one for listed in client.apps.packages.values() for one in listed})
    android = (f"{ANDROID_ORIGIN}{encode_base64url(one)}" for one in certificates)
    return tuple(dict.fromkeys((*client.apps.web_origins, *ios, *android)))


def creation_options(challenge: str, user: User, party: RelyingParty, *, restore: bool = False) -> PasskeyOptions:
    """Return the options to register a passkey or, if ``restore`` is true, a restore key.

    A restore key replaces the device's earlier restore key, so its options exclude no credential. The platform makes
    a restore key without asking the person, so its options discourage user verification.
    """
    return _options(
        challenge,
        rp={"id": party.rp_id, "name": party.rp_name},
        user={"id": user.account, "name": user.email, "displayName": user.email},
        pubKeyCredParams=[{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        excludeCredentials=[] if restore else _descriptors(user.factors.passkeys.values()),
        authenticatorSelection={
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "discouraged" if restore else "preferred",
        },
        attestation="none",
    )


def request_options(
    challenge: str,
    party: RelyingParty,
    *,
    allowed: Iterable[Passkey],
    user_verification: Literal["required", "preferred", "discouraged"],
) -> PasskeyOptions:
    """Return the options to sign with one of the passkeys in ``allowed``, or any passkey if ``allowed`` is empty."""
    return _options(
        challenge, rpId=party.rp_id, allowCredentials=_descriptors(allowed), userVerification=user_verification
    )


def digest_of(operation: Operation) -> bytes:
    """Return the digest of the operation of a step-up, 32 bytes."""
    parts = (operation.method, operation.path, operation.digest)
    return hashlib.sha256(b"".join(b"%d:%b" % (len(part.encode()), part.encode()) for part in parts)).digest()


def _options(challenge: str, **members: object) -> PasskeyOptions:
    life_s = Challenge.purpose.life_s
    return PasskeyOptions(options={"challenge": challenge, "timeout": life_s * 1000, **members}, expires_in=life_s)


def _descriptors(passkeys: Iterable[Passkey]) -> list[dict[str, Any]]:
    return [
        {"type": "public-key", "id": encode_base64url(one.credential_id), "transports": list(one.transports)}
        for one in passkeys
    ]
