"""Register with a code from the mailbox. Only a reader of the mailbox learns whether its address has an account."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.login_request import Device, ReadLoginRequest
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.effects import Clock
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.mail.sessions import CheckMailCode, Started, StartMailSession, Wanted
from chalicelib.baton.routing import Message


class StartRegistration(Struct, frozen=True, kw_only=True):
    """Send a code to an address.

    The job that sends the mail checks whether the address has an account. If so, the mail says this and has no code.
    """

    clock: Clock
    key_ring: KeyRing
    introduce: ReadLoginRequest
    start: StartMailSession

    def __call__(self, message: Message, *, email: str, client_id: str, device: Device, language: str) -> Started:
        """Return the mail session of the code. No account is read, so the answer is the same for every address."""
        now = self.clock()
        ring = self.key_ring.current(now=now)
        login_request = self.introduce(message, email=email, client_id=client_id, device=device, now=now)
        wanted = Wanted(
            use="register",
            address=login_request.email,
            account=ring.decoy_account(login_request.email),
            account_state=None,
            key=device.public_key,
            language=language,
        )
        return self.start(wanted, source=login_request.source, ring=ring, now=now)


class ProveAddress(Struct, frozen=True, kw_only=True):
    """Prove an address by a mail code. Implements ``accounts.ports.AddressProof``."""

    codes: CheckMailCode
    enabled: bool

    def __call__(self, mail_session: str, code: str, *, email: str, key: PublicKey | None, now: int) -> str:
        """Check the code of a registration. ``key`` signed the registration. Return the language for mails."""
        if not self.enabled:
            raise errors.NotFound("mail is off", detail="This deployment sends no mail. Register without a code.")
        session = self.codes.open(mail_session, use="register", now=now)
        if session.address != email or session.key != (key.raw if key else b""):
            raise InvalidCode("the session of another address or key")
        self.codes.check_code(session, code, now=now)
        return session.language
