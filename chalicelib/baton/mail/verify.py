"""Prove the address of an account, with a code or a link from the mailbox.

Only the login that requested a code can use it. Every login of the account can use a link. A login of the account is
required. Otherwise, if a stranger registered the address of another person, that person could confirm the stranger's
account by opening the link in the mail.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.refusals import InvalidCode, InvalidEmail
from chalicelib.baton.effects import Clock, Refused
from chalicelib.baton.events.record import Record
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.mail.links import MailProof, ReadMailLink
from chalicelib.baton.mail.ports import MailUsers
from chalicelib.baton.mail.sessions import CheckMailCode, Started, StartMailSession, Wanted
from chalicelib.baton.mail.tickets import LinkUse, version_bytes
from chalicelib.baton.tokens.call import refuse_inactive
from chalicelib.baton.tokens.caller import Caller

VERIFY: frozenset[LinkUse] = frozenset({"verify"})


class RequestAddressCode(Struct, frozen=True, kw_only=True):
    """Send a code to the address of the caller's account."""

    clock: Clock
    key_ring: KeyRing
    users: MailUsers
    start: StartMailSession

    def __call__(self, caller: Caller, *, language: str, source: str) -> Started:
        """Return the mail session of the code. Only the login of ``caller`` can use the code.

        Raises ``InvalidEmail`` if the account has no address.
        """
        now = self.clock()
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        if not user.email:
            detail = "The account has no e-mail address. Set one with `POST /me/email`."
            raise InvalidEmail("no address", detail=detail)
        wanted = Wanted(
            use="verify",
            address=user.email,
            account=caller.account,
            account_state=caller.account_state,
            lineage=caller.device_id,
            language=language,
        )
        return self.start(wanted, source=source, ring=self.key_ring.current(now=now), now=now)


class VerifyAddress(Struct, frozen=True, kw_only=True):
    """Check the code or the link, and store that the address is proved."""

    clock: Clock
    users: MailUsers
    codes: CheckMailCode
    read_link: ReadMailLink
    record: Record

    def __call__(self, caller: Caller, proof: MailProof) -> None:
        """Prove the address. A link is valid on any login of its account. A repetition is safe.

        Raises ``InvalidCode``.
        """
        now = self.clock()
        language = self._of_link(caller, proof.link, now=now) if proof.link else self._of_code(caller, proof, now=now)
        outcome = self.users.verify_address(caller.actor, language=language, now=now)
        refuse_inactive(outcome)
        if isinstance(outcome, Refused):
            raise errors.Unavailable("inconsistent account: the user is missing")
        self.record("address_verified", account=caller.account, lineage=caller.device_id)

    def _of_code(self, caller: Caller, proof: MailProof, *, now: int) -> str:
        """Check a code, and return the language of mails."""
        session = self.codes.open(proof.mail_session or "", use="verify", now=now)
        mine = (session.account, session.lineage) == (caller.account, caller.device_id)
        if not mine or session.version != version_bytes(caller.actor.credentials_version):
            raise InvalidCode("the session of another login, or of earlier credentials")
        self.codes.check_code(session, proof.code or "", now=now)
        return session.language

    def _of_link(self, caller: Caller, text: str, *, now: int) -> str:
        """Check that a link is of the account of this login. Return an empty text, because a link has no language."""
        link = self.read_link(text, uses=VERIFY, now=now)
        if link.account != caller.account or link.version != version_bytes(caller.actor.credentials_version):
            raise InvalidCode("the link of another account, or of earlier credentials")
        return ""
