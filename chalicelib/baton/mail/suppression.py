"""Addresses that get no mails, because a mail bounced or was reported as spam: the rules, and the effect of a report.

Amazon SES reports bounces and complaints. Mails to such an address harm the reputation of the sender, and SES stops an
AWS account that continues to send them.

1. A permanent bounce stops mails to its address for 90 days. Then the next mail shows whether the mailbox exists.
2. A complaint stops mails until an operator lifts the suppression. The report "not spam" is not a complaint.
3. A temporary bounce changes nothing.

The address is stored as the HMAC that the e-mail index uses. The answers of routes for strangers do not depend on a
suppression: only the job that sends mails, and the owner's own routes (``GET /me``, ``GET /me/export``), read it.
"""

from typing import Literal

import msgspec
from msgspec import Struct, field

from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.accounts.refusals import InvalidEmail
from chalicelib.baton.effects import Clock
from chalicelib.baton.events.ports import Log
from chalicelib.baton.ids import EmailIndex
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.mail.ports import Suppression, Suppressions
from chalicelib.baton.policy import BOUNCE_SUPPRESSED_S, MAIL_FEEDBACK_BYTES_MAX


def is_suppressed(suppression: Suppression | None, *, now: int) -> bool:
    """Return whether an address with this suppression gets no mails now."""
    return suppression is not None and (suppression.until is None or now < suppression.until)


class ReadEmailStatus(Struct, frozen=True, kw_only=True):
    """Implement ``accounts.ports.EmailStatus``: the status of a suppressed address is ``bouncing``."""

    suppressions: Suppressions

    def __call__(self, email_index: EmailIndex, *, now: int) -> Literal["ok", "bouncing"]:
        """Return the status of an address."""
        if is_suppressed(self.suppressions.get(email_index), now=now):
            return "bouncing"
        return "ok"


class NoteForwarding(Struct, frozen=True, kw_only=True):
    """Implement ``federation.notices.Forwarding``: store or lift the suppression of an address of Apple's relay.

    If a person turns forwarding off, the relay refuses the mails, as if the mailbox did not exist.
    """

    key_ring: KeyRing
    suppressions: Suppressions
    log: Log

    def __call__(self, email: str, *, on: bool, now: int) -> None:
        """Suppress an address as after a bounce. If ``on`` is true, lift this suppression instead.

        An address that was suppressed after a complaint (a report as spam) stays suppressed.
        """
        try:
            index = self.key_ring.current(now=now).email_index(canonical_email(email))
        except InvalidEmail:
            return
        if on:
            self.suppressions.lift(index, only_bounce=True)
            return
        self.suppressions.suppress(index, Suppression(why="bounce", at=now, until=now + BOUNCE_SUPPRESSED_S))
        self.log.record("mail_suppressed", reason="relay")


class _Mail(Struct, frozen=True):
    """The mail of a report. ``destination``: its recipients. ``tags`` have the configuration set that sent it."""

    destination: list[str]
    tags: dict[str, list[str]]


class _Bounce(Struct, frozen=True):
    kind: str = field(name="bounceType")


class _Complaint(Struct, frozen=True):
    kind: str | None = field(name="complaintFeedbackType", default=None)


class _Report(Struct, frozen=True):
    """A report of Amazon SES about a mail. Members that Baton does not need are ignored.

    Source: Amazon SES Developer Guide, "Examples of event data that Amazon SES publishes to Amazon SNS".
    """

    kind: Literal["Bounce", "Complaint"] = field(name="eventType")
    mail: _Mail
    bounce: _Bounce | None = None
    complaint: _Complaint | None = None


_REPORTS = msgspec.json.Decoder(_Report)


class Ignored(Exception):
    """The report changes nothing. The text of the exception is the ``reason`` in the log, and has no e-mail address."""


class TakeFeedback(Struct, frozen=True, kw_only=True):
    """Store the bounce or complaint of a report of Amazon SES. The function ``mail_feedback`` runs this."""

    clock: Clock
    key_ring: KeyRing
    suppressions: Suppressions
    log: Log
    configuration_set: str

    def __call__(self, message: str) -> None:
        """Suppress the address of a report. Every message that is not such a report is logged and ignored.

        A repetition is safe: a repeated bounce begins the time of its suppression again, and a repeated complaint
        changes nothing. Raises ``Unavailable``. Lambda then calls the function again.
        """
        now = self.clock()
        try:
            why, address = self._read(message)
        except Ignored as ignored:
            self.log.record("mail_feedback_ignored", reason=str(ignored))
            return
        until = now + BOUNCE_SUPPRESSED_S if why == "bounce" else None
        index = self.key_ring.current(now=now).email_index(address)
        self.suppressions.suppress(index, Suppression(why=why, at=now, until=until))
        self.log.record("mail_suppressed", reason=why)

    def _read(self, message: str) -> tuple[Literal["bounce", "complaint"], str]:
        """Return the kind of the report, and the address that the mail was sent to. Raises ``Ignored``.

        The address is the recipient to which Baton sent the mail (``mail.destination``). A report can also name the
        recipient that bounced or complained. If a mailbox forwards its mails, that recipient has another address.
        """
        if len(message) > MAIL_FEEDBACK_BYTES_MAX:
            raise Ignored("too long")
        try:
            report = _REPORTS.decode(message)
        except (msgspec.MsgspecError, UnicodeError):  # the message of the error may quote an address
            raise Ignored("not a report of a bounce or complaint") from None
        if report.mail.tags.get("ses:configuration-set") != [self.configuration_set]:
            raise Ignored("a mail of another configuration set")
        if len(report.mail.destination) != 1:
            raise Ignored("a mail to several addresses, which Baton does not send")
        try:
            address = canonical_email(report.mail.destination[0])
        except InvalidEmail:
            raise Ignored("an address that no account can have") from None
        return _why(report), address


def _why(report: _Report) -> Literal["bounce", "complaint"]:
    match report:
        case _Report(kind="Bounce", bounce=_Bounce(kind="Permanent"), complaint=None):
            return "bounce"
        case _Report(kind="Bounce", bounce=_Bounce(), complaint=None):
            raise Ignored("not a permanent bounce")
        case _Report(kind="Complaint", bounce=None, complaint=_Complaint(kind="not-spam")):
            raise Ignored("the report says that the mail is not spam")
        case _Report(kind="Complaint", bounce=None, complaint=_Complaint()):
            return "complaint"
        case _:
            raise Ignored("a report without its contents")
