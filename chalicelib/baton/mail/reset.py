"""Reset a forgotten password with a code or a link from the mailbox.

A reset ends every login of the account and issues no token. If logins of the account need a second factor, the
next login must prove or enrol one. If the address was never proved, a reset claims the account, because a stranger may
have registered it. A reset does not claim an account from a time without mail, or an account with a second factor
(`not_me.is_unproved`). An account can have a second factor and an unproved address if it enrolled the factor while mail
was off.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.login_request import Device, ReadLoginRequest
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.effects import Clock, Done, Entropy
from chalicelib.baton.events.ports import Told
from chalicelib.baton.events.record import Record
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.new_password import NewPassword
from chalicelib.baton.factors.normal_form import normalise
from chalicelib.baton.factors.password_hash import hash_password, verify_password
from chalicelib.baton.factors.refusals import InvalidCredentials
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.ring import CannotDecrypt, Ring
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.mail.links import MailProof, ReadMailLink
from chalicelib.baton.mail.not_me import is_unproved
from chalicelib.baton.mail.ports import MailUsers
from chalicelib.baton.mail.sessions import CheckMailCode, Started, StartMailSession, Wanted, count_try
from chalicelib.baton.mail.tickets import LinkUse, MailLink, MailSession, version_bytes
from chalicelib.baton.policy import START_OVER_MAX
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Message

RESET: frozenset[LinkUse] = frozenset({"reset"})


class ForgotPassword(Struct, frozen=True, kw_only=True):
    """Send a code to an address, if an account has this address."""

    clock: Clock
    key_ring: KeyRing
    introduce: ReadLoginRequest
    users: MailUsers
    lineage_store: LineageStore
    start: StartMailSession

    def __call__(self, message: Message, *, email: str, client_id: str, device: Device, language: str) -> Started:
        """Return the mail session of the code. The answer does not depend on whether an account has the address."""
        now = self.clock()
        ring = self.key_ring.current(now=now)
        login_request = self.introduce(message, email=email, client_id=client_id, device=device, now=now)
        address = login_request.email
        account = self.users.find(ring.email_index(address)) or ring.decoy_account(address)
        wanted = Wanted(
            use="reset",
            address=address,
            account=account,
            account_state=self.lineage_store.get(account),
            key=device.public_key,
            language=language,
        )
        return self.start(wanted, source=login_request.source, ring=ring, now=now)


class ResetPassword(Struct, frozen=True, kw_only=True):
    """Check the code or the link, set the new password and end every login."""

    clock: Clock
    entropy: Entropy
    key_ring: KeyRing
    new_password: NewPassword
    users: MailUsers
    lineage_store: LineageStore
    codes: CheckMailCode
    read_link: ReadMailLink
    record: Record
    claims_from: int = 0

    def __call__(self, message: Message, *, proof: MailProof, new_password: str) -> None:
        """Reset the password. A repetition with the same password gets the same answer. A link is valid on any device.

        Raises:
            InvalidCode: the code is wrong, or the code or the link is no longer valid.
            WeakPassword: the password is too weak. ``Breached`` is a subclass of this error: if a request with
                a code gets ``Breached``, it has used up one try.

        """
        now = self.clock()
        session = self._open(message, proof, now=now)
        secret = normalise(new_password)
        self.new_password.check_strength(new_password, email=session.address)
        if isinstance(session, MailSession):
            self.codes.check_code(session, proof.code or "", now=now)
        ring = self.key_ring.current(now=now)
        password_hash = ring.encrypt_for(
            hash_password(secret, salt=self.entropy(16)).encode(), account=session.account, nonce=self.entropy(12)
        )
        for _ in range(START_OVER_MAX):
            user = self._user(session)
            if user.reset_mark == session.id and _follows(user, session):
                if isinstance(session, MailLink):  # `check_code` has already counted the try of a code.
                    count_try(self.codes.ephemeral, session)
                _check_same_password(secret, user, ring)
                return
            if version_bytes(user.credentials_version) != session.version or user.email != session.address:
                raise InvalidCode("the credentials changed after the code was requested")
            self.new_password.check_breach(secret)
            claim = is_unproved(user, claims_from=self.claims_from)
            outcome = self.users.reset_password(user, password_hash, mark=session.id, claim=claim, now=now)
            if isinstance(outcome, Done):
                if claim:
                    self.record("account_claimed", account=session.account, told=Told())
                else:
                    told = Told(address=session.address, undo_since=now)
                    self.record("password_reset", account=session.account, told=told)
                return
        raise errors.Unavailable("the account kept changing during a reset", by_caller=True)

    def _open(self, message: Message, proof: MailProof, *, now: int) -> MailSession | MailLink:
        """Open the link, or the mail session of the code. If the session has a key, this key must sign the request."""
        if proof.link is not None:
            check_digest(message)
            return self.read_link(proof.link, uses=RESET, now=now)
        session = self.codes.open(proof.mail_session or "", use="reset", now=now)
        self.codes.check_key(message, session, now=now)
        return session

    def _user(self, session: MailSession | MailLink) -> User:
        """Return the user of a session or a link. Raises ``InvalidCode`` unless the account is active."""
        account_state = self.lineage_store.get(session.account)
        user = self.users.get(session.account)
        if account_state is None or user is None or account_state.status is not Status.ACTIVE:
            raise InvalidCode("the account is not active")
        return user


def _follows(user: User, session: MailSession | MailLink) -> bool:
    return version_bytes(user.credentials_version - 1) == session.version


def _check_same_password(password: bytes, user: User, ring: Ring) -> None:
    """Check that a repeated reset has the password that the first reset set. Raises ``InvalidCode``."""
    if user.password_hash is None:
        raise InvalidCode("the code was used, and the account has no password")
    try:
        stored = ring.decrypt_for(user.password_hash, account=user.account).decode()
        verify_password(password, password_hash=stored)
    except (CannotDecrypt, InvalidCredentials):
        raise InvalidCode("the code was used for another password") from None
