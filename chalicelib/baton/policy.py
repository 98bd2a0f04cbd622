"""Every number, with its unit and its reason, and the relations that must hold between them.

The five mechanisms are rows of one table here: data, not code. The same lineage engine serves them all.
"""

from enum import StrEnum

from msgspec import Struct

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


class MechanismName(StrEnum):
    """How tokens live."""

    SESSION = "session"
    LONG_LIVED = "long_lived"
    REFRESH = "refresh"
    ROTATING_REFRESH = "rotating_refresh"
    EXCHANGE = "exchange"


class Mechanism(Struct, frozen=True):
    """How the tokens of one login live.

    ``access_s``: life of the token sent on calls. ``idle_s``: a login not renewed for so long is over.
    ``absolute_s``: a login is over after so long, in any case. ``renewable``: something renews the token on calls.
    ``single_use``: renewing is an exchange (the generation moves) rather than a repeatable renewal.
    ``one_token``: the token on calls renews itself (kind ``both``). ``slides``: use keeps the login alive.
    """

    name: MechanismName
    access_s: int
    idle_s: int
    absolute_s: int
    renewable: bool = True
    single_use: bool = False
    one_token: bool = False
    slides: bool = False


MECHANISMS: dict[MechanismName, Mechanism] = {
    row.name: row
    for row in (
        # Short, because every resource server it is shown to could keep it; exchangeable while it sleeps in a drawer.
        Mechanism(
            MechanismName.EXCHANGE,
            access_s=15 * MINUTE_S,
            idle_s=30 * DAY_S,
            absolute_s=90 * DAY_S,
            single_use=True,
            one_token=True,
        ),
        # RFC 9700 section 4.14.2 for public clients without sender-constrained tokens.
        Mechanism(
            MechanismName.ROTATING_REFRESH,
            access_s=15 * MINUTE_S,
            idle_s=30 * DAY_S,
            absolute_s=90 * DAY_S,
            single_use=True,
        ),
        # OAuth 2.0 as most people run it: never slides, so 60 days is the end.
        Mechanism(MechanismName.REFRESH, access_s=15 * MINUTE_S, idle_s=60 * DAY_S, absolute_s=60 * DAY_S),
        # Session and remember-me: 30 minutes and 30 days of silence (OWASP ASVS 7.3), half a year in all.
        Mechanism(
            MechanismName.SESSION,
            access_s=30 * MINUTE_S,
            idle_s=30 * DAY_S,
            absolute_s=180 * DAY_S,
            slides=True,
        ),
        # The weakest, for things without a keyboard: revocable, and nothing else can be said for it.
        Mechanism(
            MechanismName.LONG_LIVED,
            access_s=180 * DAY_S,
            idle_s=180 * DAY_S,
            absolute_s=180 * DAY_S,
            renewable=False,
        ),
    )
}

# Signed calls.
SIGNATURE_WINDOW_S = 300
"""A phone's clock after one sync, and a slow network, stay well inside."""
SIGNATURE_LIFE_MAX_S = 600
"""`expires` - `created` beyond this is a mistake, or a signature made to be kept."""
NONCE_KEPT_S = 2 * SIGNATURE_WINDOW_S + MINUTE_S
"""A nonce must outlive the last second at which its signature could still be accepted, and clock skew of ours."""
ISSUED_AHEAD_MAX_S = 60
"""A genuine token from further ahead means our own clocks disagree: answer 503, touch nothing."""

# Attempts.
ATTEMPT_SLOTS = 4
"""How many past exchanges a late retry is told apart from a thief. Eight bytes each in the account state."""
ATTEMPT_CHARACTERS_MIN = 16
ATTEMPT_CHARACTERS_MAX = 128

SLIDE_AFTER_FRACTION = 6
"""A sliding login writes its use down once in a sixth of its life, not on every call."""

# Lineages in an account state.
LINEAGES_MAX = 24
"""How many logins an account holds, ended ones included. Each further six above six cost one write unit more."""
LINEAGES_IN_ONE_UNIT = 6
"""Six logins with device names of up to 16 bytes stay under 1 KB, so an exchange costs one write unit."""
LABEL_BYTES_MAX = 32
LINEAGE_KEPT_S = NONCE_KEPT_S
"""A login removed earlier could begin anew by a repetition of its request, and its logged-out token would live."""
PREVIOUS_GENERATION_S = MINUTE_S
"""How long the token before the current one may be used after its exchange: for calls in flight."""

# Roles of accounts.
ROLES_MAX = 32
"""A role has a code from 1 to this, and one bit of a number in the account state."""
ROLE_CHARACTERS_MAX = 32
"""Of the name of a role: tokens carry the names."""

# Step-up.
GRANT_S = 5 * MINUTE_S
"""Long enough to confirm a payment, short enough not to be found later."""
ACR_LEVELS = ("aal1",)
"""The levels at which a person can be authenticated (``acr``, NIST SP 800-63B), the least first."""

# Tickets: what a client holds between two steps of one flow. The server stores nothing.
TICKET_BYTES_MAX = 1024
"""The longest ticket, before base64url: an e-mail address, a device name, a key and an attempt take half of it."""
TICKET_ID_BYTES = 16


class TicketPurpose(Struct, frozen=True):
    """What a ticket is for. A ticket of one purpose does not open as a ticket of another one.

    ``prefix`` begins its text and lets secret scanners find a leaked one. ``life_s`` is the longest life of a ticket:
    one ticket may have a shorter life.
    """

    name: str
    prefix: str
    life_s: int


TICKET_PURPOSES: dict[str, TicketPurpose] = {
    row.name: row
    for row in (
        # A half-finished login. Shorter than LINEAGE_KEPT_S, in which no entry of a login is removed.
        TicketPurpose("auth_session", prefix="as.", life_s=10 * MINUTE_S),
        # A WebAuthn challenge, raw bytes in base64url. The sheets of the platforms give up earlier.
        TicketPurpose("challenge", prefix="", life_s=5 * MINUTE_S),
        # A TOTP enrolment: people install an authenticator app meanwhile.
        TicketPurpose("enrolment", prefix="en.", life_s=15 * MINUTE_S),
        # A mail code on its way: the session that it is typed into. That of a reset lives for 20 minutes.
        TicketPurpose("mail_session", prefix="ms.", life_s=HOUR_S),
        # A link in a mail. The longest-lived one undoes a change of the address.
        TicketPurpose("mail_link", prefix="ml.", life_s=7 * DAY_S),
    )
}

TICKET_CONSUMED_KEPT_S = MINUTE_S
"""How long the record of a consumed ticket outlives the ticket: the clock of another environment may be behind."""

# Throttles: failures in a window, counted before hashing, given back on success.
THROTTLE_WINDOW_S = 15 * MINUTE_S
FAILURES_PER_ACCOUNT_MAX = 10
FAILURES_PER_KNOWN_DEVICE_MAX = 10
FAILURES_PER_SOURCE_MAX = 100
REGISTRATION_WINDOW_S = HOUR_S
REGISTRATIONS_PER_SOURCE_MAX = 100

# Passwords (NIST SP 800-63B 3.1.1; OWASP Password Storage Cheat Sheet for the cost).
PASSWORD_CHARACTERS_MIN = 15
PASSWORD_BYTES_MAX = 1024
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
ARGON2_LANES = 1
EMAIL_BYTES_MAX = 254

# Input from outside.
BODY_BYTES_MAX = 64 * 1024
TOKEN_BYTES_MAX = 8 * 1024
FIELD_BYTES_MAX = 8 * 1024
JSON_DEPTH_MAX = 16

# Keys.
SIGNING_KEY_PUBLISHED_BEFORE_USE_S = 10 * MINUTE_S
"""Other companies' servers cache the JWKS; they must have seen a key before the first token it signs."""
SIGNING_KEY_ROTATED_AFTER_S = 90 * DAY_S
"""How long a key signs. The ring holds the next key too, so a ring that leaked unseen is of use for twice as long."""
NEXT_SIGNING_KEY_AHEAD_S = 7 * DAY_S
"""The key after the next one is made so long before the next one signs: the daily job may fail for some days, and the
ring still holds a key that every environment has."""
ISSUED_AFTER_KEY_MAX_S = 10 * MINUTE_S
"""How much later than the end of its key's time a token's iat may be. An environment signs with the key of a cached
ring for ``RING_SEEN_EVERYWHERE_S`` longer, and an iat may be ``ISSUED_AHEAD_MAX_S`` ahead of another clock."""
ROOT_ROTATED_AFTER_S = 365 * DAY_S
"""Roots leave this deployment never, and have 255 versions."""
KEY_RING_REFRESH_S = 5 * MINUTE_S
KEY_RING_UNKNOWN_KID_S = MINUTE_S
"""An unknown `kid` may ask for a fresh ring once in so long, so that garbage cannot make us read."""
REQUEST_MAX_S = 15
"""No request outlives it: Lambda's time-out. So long, a request may go on with the ring it began with."""
ASKING_MAX_S = 5
"""A request that has lasted so long begins no further call to the engine, and answers 503 itself: what is left of
``REQUEST_MAX_S`` is the longest that one call can take."""
RING_SEEN_EVERYWHERE_S = KEY_RING_REFRESH_S + REQUEST_MAX_S

# Exactly-once calls.
ONCE_RUN_MAX_S = REQUEST_MAX_S + 5
"""A call that began so long ago has ended: Lambda stopped it after ``REQUEST_MAX_S``, and the clocks of two servers
differ by less than five seconds."""
ONCE_KEPT_S = DAY_S
"""How long a call and its answer are stored. A client may repeat its call for so long."""
ONCE_ANSWER_BYTES_MAX = 64 * 1024
"""The size of an encrypted answer. Each KB of an item costs one write unit."""
ONCE_RETRY_AFTER_S = 1
"""When to repeat a call whose first run has not ended: most runs take less than a second."""

MISMATCH_TOLD_EVERY_S = MINUTE_S
"""An environment reports a token that its configuration does not know once in so long: one token can repeat it."""

# Reports of what one token can repeat.
FOREIGN_KEY_TOLD_EVERY_S = 15 * MINUTE_S
"""How often the same account may raise the metric of exchanges that another key signed."""
FOREIGN_KEYS_REMEMBERED = 256
"""Accounts that an environment remembers for it."""

# Audit.
AUDIT_KEPT_S = 400 * DAY_S
"""Thirteen months: a year, and the time to look back on it."""

START_OVER_MAX = 4
"""How often a journey whose account state moved under it starts over before it answers 503."""


def _assert_relations() -> None:
    """Refuse to load numbers that contradict each other."""
    for row in MECHANISMS.values():
        assert 0 < row.access_s <= row.absolute_s, row
        assert row.access_s <= row.idle_s <= row.absolute_s, row
        assert row.renewable or not (row.single_use or row.slides), row
        assert not row.one_token or row.single_use, row
        assert not (row.slides and row.single_use), row
    assert NONCE_KEPT_S > 2 * SIGNATURE_WINDOW_S
    assert SIGNATURE_LIFE_MAX_S >= SIGNATURE_WINDOW_S
    assert LINEAGES_IN_ONE_UNIT <= LINEAGES_MAX
    assert LINEAGE_KEPT_S >= 2 * SIGNATURE_WINDOW_S + ISSUED_AHEAD_MAX_S
    assert all(row.access_s > PREVIOUS_GENERATION_S for row in MECHANISMS.values())
    assert ROOT_ROTATED_AFTER_S >= SIGNING_KEY_ROTATED_AFTER_S > DAY_S > SIGNING_KEY_PUBLISHED_BEFORE_USE_S
    assert SIGNING_KEY_PUBLISHED_BEFORE_USE_S > RING_SEEN_EVERYWHERE_S > KEY_RING_REFRESH_S > KEY_RING_UNKNOWN_KID_S
    assert ISSUED_AFTER_KEY_MAX_S > RING_SEEN_EVERYWHERE_S + 2 * ISSUED_AHEAD_MAX_S
    assert SIGNING_KEY_ROTATED_AFTER_S > NEXT_SIGNING_KEY_AHEAD_S > 2 * DAY_S
    assert ISSUED_AHEAD_MAX_S < SIGNATURE_WINDOW_S
    assert TICKET_PURPOSES["auth_session"].life_s < LINEAGE_KEPT_S
    assert len({row.prefix for row in TICKET_PURPOSES.values()}) == len(TICKET_PURPOSES)
    assert TICKET_CONSUMED_KEPT_S >= ISSUED_AHEAD_MAX_S
    assert TICKET_ID_BYTES < TICKET_BYTES_MAX
    assert TOKEN_BYTES_MAX <= BODY_BYTES_MAX
    assert REQUEST_MAX_S < ONCE_RUN_MAX_S < ONCE_KEPT_S
    # A claim takes the place of the nonce, so a stored call must outlive the signature.
    assert ONCE_KEPT_S >= NONCE_KEPT_S


_assert_relations()
