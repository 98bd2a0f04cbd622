"""Every limit and lifetime of Baton, with its unit and reason. Assertions check the relations between them.

The five mechanisms are rows of one table. The same rules serve all of them. A name that ends in ``_S`` is a number of
seconds, and a name with ``BYTES`` a number of bytes.
"""

from enum import StrEnum

from msgspec import Struct

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S


class MechanismName(StrEnum):
    """The names of the mechanisms, as in ``clients.toml``."""

    SESSION = "session"
    LONG_LIVED = "long_lived"
    REFRESH = "refresh"
    ROTATING_REFRESH = "rotating_refresh"
    EXCHANGE = "exchange"


class Mechanism(Struct, frozen=True):
    """The lifetimes and the renewal rule of the tokens of one login.

    - ``access_s``: the life of the token that is sent on calls, in seconds.
    - ``idle_s``: the idle limit. A login ends if it is not renewed for this many seconds.
    - ``absolute_s``: the absolute limit. A login always ends after this many seconds.
    - ``renewable``: the token for calls can be renewed.
    - ``single_use``: renewal is an exchange, so each token can be used for renewal only once.
    - ``one_token``: the same token is sent on calls and exchanged (``token_use`` is ``both``).
    - ``slides``: use extends the login.
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
        # ``access_s`` is short, because a resource server that gets the token could send it on calls of its own. The
        # idle limit is long: a phone that is not used for weeks can still exchange the token.
        Mechanism(
            MechanismName.EXCHANGE,
            access_s=15 * MINUTE_S,
            idle_s=30 * DAY_S,
            absolute_s=90 * DAY_S,
            single_use=True,
            one_token=True,
        ),
        # Rotation as in RFC 9700 section 4.14.2, for public clients without sender-constrained tokens.
        Mechanism(
            MechanismName.ROTATING_REFRESH,
            access_s=15 * MINUTE_S,
            idle_s=30 * DAY_S,
            absolute_s=90 * DAY_S,
            single_use=True,
        ),
        # Common OAuth 2.0. Use does not extend the login, so the login ends after 60 days.
        Mechanism(MechanismName.REFRESH, access_s=15 * MINUTE_S, idle_s=60 * DAY_S, absolute_s=60 * DAY_S),
        # Without use, the token for calls ends after 30 minutes, and the login after 30 days (OWASP ASVS 7.3). The
        # login always ends after 180 days.
        Mechanism(
            MechanismName.SESSION,
            access_s=30 * MINUTE_S,
            idle_s=30 * DAY_S,
            absolute_s=180 * DAY_S,
            slides=True,
        ),
        # The weakest mechanism, for devices without a keyboard. Its only protection is that a login can be ended.
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
"""The maximum difference of ``created`` from the server's clock: enough for a slow network and an inexact clock."""
SIGNATURE_LIFE_MAX_S = 600  # the maximum of `expires` - `created`: clients sign a request just before they send it
NONCE_KEPT_S = 2 * SIGNATURE_WINDOW_S + MINUTE_S
"""A nonce must be stored for as long as its signature can be accepted, plus the clock difference of two servers."""
ISSUED_AHEAD_MAX_S = 60
"""How far ahead of the clock the issue time of a token may be. If the issue time of a genuine token is further ahead,
the clocks of two servers differ, and the answer is 503."""

# Attempts.
ATTEMPT_SLOTS = 4
"""Each login keeps the attempts of this number of past exchanges, to distinguish a late retry from reuse. An attempt
takes eight bytes."""
ATTEMPT_CHARACTERS_MIN = 16
ATTEMPT_CHARACTERS_MAX = 128

SLIDE_AFTER_FRACTION = 6
"""Baton stores the use of a sliding login at most once in a sixth of ``access_s``, and not on every call."""

# Pages with a cookie.
WEB_LOGIN_S = 12 * HOUR_S
"""The life of a cookie login without ``remember`` (NIST SP 800-63B-4 section 2.2.3: at most 24 hours at AAL2)."""
HANDED_OVER_KEPT_S = 3 * MINUTE_S
"""The shortest time for which a login of a handover is kept after its end.

After this time, the code of the handover has expired on every clock, so it cannot begin the login again.
"""
BROWSER_PROOF_GRACE_S = MINUTE_S
"""For this time after a browser login is bound to a key, calls need no proof of the key. The first page may still load
during the binding."""
BOUND_COOKIE_S = 10 * MINUTE_S
"""How long a browser keeps the proof of its key. Chromium makes only about six signatures in a few minutes. A much
shorter time would need more signatures."""
BOUND_COOKIE_GRACE_S = MINUTE_S  # how much older than BOUND_COOKIE_S the proof may be, for requests under way
BROWSER_PROOF_BYTES_MAX = 2048  # a JWT with a P-256 key and a ticket has 900 bytes
FLOOR_GRACE_S = MINUTE_S  # how much older than the floor a session id may be, for requests that are under way
COOKIE_BYTES_MAX = 4096

# Lineages in an account state.
LINEAGES_MAX = 24
"""The maximum number of logins in an account state, ended logins included. Each six logins cost one write unit."""
LINEAGES_IN_ONE_UNIT = 6
"""The number of logins in one write unit (1 KB), with device names of up to 16 bytes."""
LABEL_BYTES_MAX = 32
LINEAGE_KEPT_S = NONCE_KEPT_S
"""A login is kept for at least this time after its beginning and after its end. Otherwise, a repetition of the login
request could begin the login again. ``lineages/login_rules.py`` lists the exceptions."""
PREVIOUS_GENERATION_S = MINUTE_S
"""How long the previous token may be used after its exchange, for calls that are under way."""

# Roles of accounts.
ROLES_MAX = 32  # the highest code of a role: each role is one bit of a number in the account state
ROLE_CHARACTERS_MAX = 32  # the maximum length of a role name. Tokens contain the names
ATTRIBUTES_BYTES_MAX = 32  # of an account, as MessagePack. With 32 bytes, six logins still cost one write unit
TEAM_CLAIMS_BYTES_MAX = 1024
"""The maximum size of the claims that a team adds to a token, as JSON. It is small: each call sends the token."""

# Step-up.
GRANT_S = 5 * MINUTE_S
"""The life of a step-up grant: long enough to confirm a payment, and too short for later misuse."""
ACR_LEVELS = ("0", "aal1", "aal2", "phr")
"""The levels of ``acr``, the lowest first: no level (OpenID Connect Core), two levels of NIST SP 800-63B, a passkey."""
DEMANDED_ACR_LEVELS = ACR_LEVELS[1:]

# Second factors.
REMEMBER_DAYS = 30
"""For how many days a device that proved a second factor needs no new proof. A client may set another number."""
REMEMBER_DAYS_MAX = 90
NEW_KEY_S = 7 * DAY_S  # a device is new for this time after its first login: the owner may not know of the device yet
TOTP_STEP_S = 30
TOTP_DIGITS = 6
TOTP_SECRET_BYTES = 20
"""SHA-1, six digits and 30 seconds are the only values that every authenticator app supports (RFC 6238)."""
TOTP_STEPS_AROUND = 1  # also accepted before and after the current step: a phone's clock may be wrong by half a minute
WRONG_TOTP_PER_DAY_MAX = 30
"""At any time, three of a million codes are right. So 30 guesses a day succeed with a probability of 0.009 % a day, or
3.2 % a year."""
WRONG_TOTP_IN_A_ROW_MAX = 100
"""After this number of wrong codes in a row, an unknown device must use another factor (NIST SP 800-63B-4 3.2.2)."""
WRONG_TOTP_IN_A_ROW_KEPT_S = 365 * DAY_S
SECOND_FACTOR_FAILING_AT = 5
"""After this number of wrong codes in a day, the owner gets a notice. Only a person with the password, a linked
identity or a token of the account can cause this notice."""
RECOVERY_CODES = 10
RECOVERY_CODE_CHARACTERS = 24
"""A code has 120 bits. From 112 bits on, a fast digest is enough, and no password hash is needed (OWASP ASVS 6.5.2)."""
RECOVERY_CODES_LOW = 3
"""If only this number of codes or fewer remain, the app reminds the person to make new codes."""
RECOVERED_LOGIN_S = 15 * MINUTE_S
"""For this time after a login by recovery code, the password alone is enough to change factors, because the owner has
lost the other factor."""
RESTORES_PER_DAY_MAX = 5  # logins restored on new phones, of one account in one UTC day

# Tickets: encrypted values that a client holds between two steps of one flow. The server stores nothing.
TICKET_BYTES_MAX = 1024
"""The maximum size of a ticket, before base64url: an e-mail address, a device name, a key and an attempt take half of
it."""
TICKET_ID_BYTES = 16
FORGET_AFTER_S = MINUTE_S
"""How long the order to finish a deletion waits in the queue. After this time, the request that queued the order has
ended, so the deletion of the account has succeeded or failed."""

TICKET_CONSUMED_KEPT_S = MINUTE_S
"""For this time after a ticket has expired, the record of its use is still stored: the clock of another environment may
be behind."""

# Rate limits: the failures in a time window. Baton counts a try before it hashes the password. If the password is
# right, Baton takes the counted try back.
THROTTLE_WINDOW_S = 15 * MINUTE_S
FAILURES_PER_ACCOUNT_MAX = 10
FAILURES_PER_KNOWN_DEVICE_MAX = 10
FAILURES_PER_SOURCE_MAX = 100
REGISTRATION_WINDOW_S = HOUR_S
REGISTRATIONS_PER_SOURCE_MAX = 100

# Mail. Requests of unknown devices are limited for each address and each kind of code, such as the codes of resets. A
# limit for each account would show which addresses have an account. A known device of the account has its own limit.
MAIL_CODE_DIGITS = 8
MAIL_CODE_TRIES_MAX = 5  # for one session: how many typed codes are compared with its mailed code
MAIL_SESSIONS_MAX = 5
MAIL_SESSIONS_WINDOW_S = 6 * HOUR_S
"""A session is one mailed code. Five sessions in six hours, of five tries each, are 100 guesses a day, and 10^8 codes
are possible. A stranger without a known device guesses right with a probability of 0.04 % a year, for each kind of
code."""
MAIL_SESSIONS_PER_ADDRESS_MAX = 20  # in six hours, for all known devices: a person with the password can add devices
MAIL_SESSIONS_PER_SOURCE_MAX = 30
MAIL_SESSIONS_PER_SOURCE_WINDOW_S = HOUR_S
MAIL_RESET_S = 20 * MINUTE_S  # the life of the code of a password reset. The other codes live for an hour
MAIL_RESET_LINK_S = MAIL_SESSIONS_WINDOW_S
"""The life of the link of a reset. If a stranger uses up the allowed resets, the owner can still use the links in the
mails of these resets."""
MAIL_UNDO_S = 3 * DAY_S  # how long the link in a notice can undo a change, except a change of the address
ADDRESS_KEPT_S = 7 * DAY_S
"""How long an account keeps an old address. A login with the old address finds no account. The link that undoes the
change of the address works for the same time."""
ADDRESSES_KEPT_MAX = 4
"""The maximum number of old addresses of an account. The transaction of an undo may write an item for each of them."""
NOTICES_PER_DAY_MAX = 20
"""The maximum number of notices to an owner in one UTC day. The exceptions are in ``events/names.py``."""
BOUNCE_SUPPRESSED_S = 90 * DAY_S  # how long an address gets no mails after a permanent bounce. Complaints never expire
MAIL_FEEDBACK_BYTES_MAX = 256 * 1024  # the longest message of SNS
MAILBOX_MAX = 100  # how many mails the development mailbox keeps

# Passwords (NIST SP 800-63B 3.1.1; OWASP Password Storage Cheat Sheet for the cost).
PASSWORD_CHARACTERS_MIN = 15
PASSWORD_BESIDE_FACTOR_CHARACTERS_MIN = 8
"""The minimum length if every client requires a second factor (NIST SP 800-63B-4 section 3.1.1.2)."""
PASSWORD_BYTES_MAX = 1024
BREACH_CHECK_MAX_S = 0.5
"""The time limit of a breach check: name resolution, connection and answer. If it is exceeded, Baton accepts the
password."""
BREACH_ANSWER_BYTES_MAX = 256 * 1024
"""The maximum size of an answer: three times the largest answer, which has 2,000 rows of 40 bytes."""
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
"""How long before its first use a key is published, because resource servers cache the JWKS."""
SIGNING_KEY_ROTATED_AFTER_S = 90 * DAY_S
"""How long a key signs new tokens. The ring also has the next key, so a thief can misuse a leaked ring for twice this
time."""
NEXT_SIGNING_KEY_AHEAD_S = 7 * DAY_S
"""How long before its first use a signing key is made. If the daily job fails for some days, the ring still has a key
that every environment has read."""
ISSUED_AFTER_KEY_MAX_S = 10 * MINUTE_S
"""The ``iat`` of a token may be at most this much later than the end of the period of its key. Reason: an environment
signs with the key of a cached ring for up to ``RING_SEEN_EVERYWHERE_S``, and its clock may be ``ISSUED_AHEAD_MAX_S``
ahead of the clock of another environment."""
ROOT_ROTATED_AFTER_S = 365 * DAY_S
"""How long a root secret is used for new ids. This time is long, because no root secret leaves the deployment, and a
ring has at most 255 root secrets."""
KEY_RING_REFRESH_S = 5 * MINUTE_S
KEY_RING_UNKNOWN_KID_S = MINUTE_S
"""Unknown `kid` values cause at most one read of the ring in this time, so invalid tokens cannot cause many reads."""
REQUEST_MAX_S = 15
"""The time-out of the Lambda function. A request keeps the ring that it read first, so it uses a ring for at most this
time."""
ASKING_MAX_S = 5
"""If the calls of a request to AWS and other services have taken this time in total, Baton begins no further call, and
answers 503. The rest of ``REQUEST_MAX_S`` is enough for the longest call and a second of computation. The time of a
team's view does not count."""
RING_SEEN_EVERYWHERE_S = KEY_RING_REFRESH_S + REQUEST_MAX_S

# Exactly-once calls.
ONCE_RUN_MAX_S = REQUEST_MAX_S + 5
"""A run that began longer ago has ended: Lambda stopped it after ``REQUEST_MAX_S``, and the clocks of two servers
differ by less than five seconds."""
ONCE_KEPT_S = DAY_S
"""How long a call and its answer are stored. A client may repeat its call during this time."""
ONCE_ANSWER_BYTES_MAX = 64 * 1024
"""The maximum size of an encrypted answer. Each KB of an item costs one write unit."""
ONCE_RETRY_AFTER_S = 1
"""If the first run of a call has not ended, the client repeats the call after this number of seconds. Most runs take
less than a second."""

MISMATCH_TOLD_EVERY_S = MINUTE_S
"""An environment reports genuine tokens that do not fit its configuration at most once in this time, because a client
can send such a token many times."""

# Reports of events that a client can cause any number of times with one token.
FOREIGN_KEY_TOLD_EVERY_S = 15 * MINUTE_S
"""A metric counts exchanges whose signature names another key than the key of the login. For each account, an
environment raises the metric at most once in this time."""
FOREIGN_KEYS_REMEMBERED = 256
"""The number of accounts for which an environment remembers when it last counted an exchange by another key."""

# Audit.
AUDIT_KEPT_S = 400 * DAY_S
"""How long an audit event is stored: a year, and one more month to read the events of that year."""

ACTIVITY_PAGE = 50  # the events of one page of ``GET /me/activity``
EXPORT_EVENTS_MAX = 5000  # an export has only the newest events: about 1.5 MB. Lambda returns at most 6 MB

START_OVER_MAX = 4
"""How often a flow is tried if the account state changes each time after the flow read it. If the last try fails too,
the answer is 503."""


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
    assert FORGET_AFTER_S > REQUEST_MAX_S  # otherwise the order could come before the deletion
    assert TICKET_CONSUMED_KEPT_S >= ISSUED_AHEAD_MAX_S
    assert 0 < REMEMBER_DAYS <= REMEMBER_DAYS_MAX
    assert TICKET_ID_BYTES < TICKET_BYTES_MAX
    assert TOKEN_BYTES_MAX <= BODY_BYTES_MAX
    assert FLOOR_GRACE_S < MECHANISMS[MechanismName.SESSION].access_s // SLIDE_AFTER_FRACTION < WEB_LOGIN_S
    assert REQUEST_MAX_S < ONCE_RUN_MAX_S < ONCE_KEPT_S
    assert BREACH_CHECK_MAX_S < ASKING_MAX_S  # the breach check must leave time for the write after it
    # A route with `once=True` consumes no nonce. So the stored call must be kept for as long as a nonce.
    assert ONCE_KEPT_S >= NONCE_KEPT_S


_assert_relations()
