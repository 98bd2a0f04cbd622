"""The purposes of tickets, and the life of each. A client holds a ticket between two steps of one flow. No I/O."""

from msgspec import Struct

from chalicelib.baton.policy import (
    ADDRESS_KEPT_S,
    BOUND_COOKIE_GRACE_S,
    BOUND_COOKIE_S,
    DAY_S,
    HANDED_OVER_KEPT_S,
    HOUR_S,
    LINEAGE_KEPT_S,
    MAIL_RESET_LINK_S,
    MAIL_RESET_S,
    MAIL_SESSIONS_WINDOW_S,
    MAIL_UNDO_S,
    MINUTE_S,
    RECOVERED_LOGIN_S,
    TICKET_CONSUMED_KEPT_S,
)


class TicketPurpose(Struct, frozen=True):
    """The purpose of a ticket. A ticket of one purpose cannot be decrypted for another purpose.

    ``prefix`` begins the text of a ticket: secret scanners can search for it. ``life_s`` is the longest life of a
    ticket, in seconds.
    """

    name: str
    prefix: str
    life_s: int


TICKET_PURPOSES: dict[str, TicketPurpose] = {
    row.name: row
    for row in (
        # An unfinished login. The lineage that the login begins is kept for LINEAGE_KEPT_S. The ticket must expire
        # earlier: otherwise, a repeated request with the ticket could begin a removed login again.
        TicketPurpose("auth_session", prefix="as.", life_s=10 * MINUTE_S),
        # A WebAuthn challenge, raw bytes in base64url. The dialogs of the platforms time out earlier.
        TicketPurpose("challenge", prefix="", life_s=5 * MINUTE_S),
        # A TOTP enrolment: people install an authenticator app meanwhile.
        TicketPurpose("enrolment", prefix="en.", life_s=15 * MINUTE_S),
        # The session of a mailed code, until the person types the code. The session of a reset lives for 20 minutes.
        TicketPurpose("mail_session", prefix="ms.", life_s=HOUR_S),
        # A link in a mail. The link with the longest life undoes a change of the address.
        TicketPurpose("mail_link", prefix="ml.", life_s=7 * DAY_S),
        # The code of a handover from an app to a browser. The person may have to confirm in the browser.
        TicketPurpose("handover", prefix="ho.", life_s=MINUTE_S),
        # The offer to bind cookies to a key of the browser, the proof of this key, and the challenge for a later proof.
        TicketPurpose("browser_offer", prefix="bd.", life_s=5 * MINUTE_S),
        TicketPurpose("browser_bound", prefix="bc.", life_s=BOUND_COOKIE_S + BOUND_COOKIE_GRACE_S),
        TicketPurpose("browser_challenge", prefix="dc.", life_s=15 * MINUTE_S),
        # A challenge for evidence of an app. Apple requires that an app repeats a failed attestation unchanged, so the
        # challenge must stay valid.
        TicketPurpose("attestation", prefix="at.", life_s=DAY_S),
        # The clients whose attestation rule an operator has lowered, for a week at most.
        TicketPurpose("switches", prefix="sw.", life_s=7 * DAY_S + HOUR_S),
    )
}

MAIL_ORDER = TicketPurpose("mail_order", prefix="mo.", life_s=2 * HOUR_S)  # the queue keeps an order for an hour
FORGET_ORDER = TicketPurpose("forget_order", prefix="fo.", life_s=2 * DAY_S)  # longer than the life of a dead letter


def _assert_relations() -> None:
    """Refuse to load lives that contradict each other."""
    assert TICKET_PURPOSES["auth_session"].life_s < LINEAGE_KEPT_S
    assert TICKET_PURPOSES["handover"].life_s + TICKET_CONSUMED_KEPT_S < HANDED_OVER_KEPT_S < LINEAGE_KEPT_S
    assert TICKET_PURPOSES["browser_challenge"].life_s > TICKET_PURPOSES["browser_bound"].life_s
    assert len({row.prefix for row in TICKET_PURPOSES.values()}) == len(TICKET_PURPOSES)
    assert not {MAIL_ORDER.prefix, FORGET_ORDER.prefix} & {row.prefix for row in TICKET_PURPOSES.values()}
    assert not {MAIL_ORDER.name, FORGET_ORDER.name} & TICKET_PURPOSES.keys()
    assert TICKET_PURPOSES["mail_session"].life_s >= MAIL_RESET_S
    assert MAIL_UNDO_S <= ADDRESS_KEPT_S <= TICKET_PURPOSES["mail_link"].life_s
    assert MAIL_SESSIONS_WINDOW_S <= MAIL_RESET_LINK_S <= TICKET_PURPOSES["mail_link"].life_s
    assert TICKET_PURPOSES["auth_session"].life_s <= RECOVERED_LOGIN_S


_assert_relations()
