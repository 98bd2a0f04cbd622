"""Evidence, and the part of it that is stored. No I/O. Times and durations are integer seconds."""

from typing import ClassVar, Final

from msgspec import Struct

from chalicelib.baton.keys.tickets import Ticket
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.lineages.model import Attestation
from chalicelib.baton.policy import DAY_S
from chalicelib.baton.ticket_purposes import TICKET_PURPOSES, TicketPurpose

RENEWED_AFTER_S: Final = 90 * DAY_S
"""How long evidence of App Attest is valid, in seconds. After this time, the app must make an assertion."""
KEPT_S: Final = 400 * DAY_S
"""How long evidence is stored after the last login of its device key, in seconds."""
MOVED_AFTER_S: Final = 30 * DAY_S
"""The shortest time between two changes of the stored expiry of evidence, in seconds."""

OBJECT_BYTES_MAX: Final = 16 * 1024
CHAIN_BYTES_MAX: Final = 16 * 1024
CHAIN_CERTIFICATES: Final = range(3, 7)

REVOKED_MAX: Final = 40_000
"""The maximum number of revoked serials. One item stores their digests, which take 320 KB."""
LIST_BYTES_MAX: Final = 8 * 1024 * 1024
LIST_WITHIN_S: Final = 10.0
LIST_STALE_S: Final = 7 * DAY_S
LIST_CACHED_S: Final = 3600

REPORT_HOURS_MAX: Final = 168
"""The longest time for which one command of an operator can lower ``required`` to ``report``, in hours."""

CHALLENGE_PURPOSE: Final = TICKET_PURPOSES["attestation"]
SWITCHES_PURPOSE: Final = TICKET_PURPOSES["switches"]


class Challenge(Ticket, frozen=True):
    """The value that evidence must contain. ``client`` is the code of the client.

    A challenge may be used more than once. Evidence names a device key, and is valid only for this key. So a thief who
    sends stolen evidence gains nothing without the key.
    """

    purpose: ClassVar[TicketPurpose] = CHALLENGE_PURPOSE

    client: int


class Switches(Ticket, frozen=True):
    """The switches of an operator. A switch lowers the attestation rule of a client from ``required`` to ``report``.

    ``reported_until``: client id -> when the switch of this client ends or has ended (Unix time).
    """

    purpose: ClassVar[TicketPurpose] = SWITCHES_PURPOSE

    reported_until: dict[str, int]


class Evidence(Struct, frozen=True):
    """The decoded evidence of a request. ``kind`` is its format. The members of other formats are empty.

    ``unavailable`` is the reason why the app has no evidence.
    """

    kind: str
    challenge: str = ""
    key_id: bytes = b""
    object: bytes = b""
    chain: tuple[bytes, ...] = ()
    unavailable: str = ""


class AttestedKey(Struct, frozen=True):
    """The stored evidence of a device key.

    ``at`` is the time at which the app last sent evidence. Only evidence of an iOS app has these members:

    - ``apple_key``: the id of the App Attest key.
    - ``point``: the public key of the App Attest key.
    - ``counter``: the highest counter of its assertions.
    - ``attempt``: the digest of the attempt that sent this counter.
    """

    attestation: Attestation
    app: str
    at: int
    expires_at: int
    apple_key: bytes = b""
    point: bytes = b""
    counter: int = 0
    attempt: bytes = b""


class RevokedList(Struct, frozen=True):
    """The digests of revoked serials (`rules.revoked_digest`). ``at`` is the time at which the list was fetched."""

    at: int
    digests: frozenset[bytes]


def is_of_apple(attestation: Attestation) -> bool:
    """Check whether an attestation is from App Attest, also for an app in development."""
    return attestation in {Attestation.APP, Attestation.APP_IN_DEVELOPMENT}


def unfit(known: AttestedKey, client: Client, *, now: int) -> str:
    """Return why stored evidence does not suffice for a client, or an empty text if it suffices.

    The checks are:

    - App Attest: the app, the age (at most 90 days) and, for an app in development, the environment.
    - Android: the app and the security level.

    Other requirements, such as ``categories`` and ``boot_keys``, are not checked again.
    """
    policy, apps = client.attestation, client.apps
    if is_of_apple(known.attestation):
        if known.app not in apps.app_ids:
            return "of an app that the client no longer has"
        if known.attestation is Attestation.APP_IN_DEVELOPMENT and "development" not in policy.environments:
            return "of an app in development"
        return "older than 90 days" if now - known.at > RENEWED_AFTER_S else ""
    if known.app not in apps.packages:
        return "of an app that the client no longer has"
    return "" if known.attestation >= policy.security else "of a lower security level"
