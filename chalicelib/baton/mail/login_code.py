"""``accounts.ports.LoginCodes`` by mail: the code that a login needs before it enrols a second factor.

The code derives from the id of the ``auth_session``, so it is valid only with that session, and nothing is stored. A
session has five tries. A person with the password can make any number of sessions. So the tries are also limited for
each known device of the account, and for all other devices together. With a client that requires no second factor, this
person can also make any number of known devices. So the tries of all known devices together are limited too.
"""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.auth_session import OpenSession
from chalicelib.baton.accounts.refusals import InvalidCode
from chalicelib.baton.effects import Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.ports import RateLimits
from chalicelib.baton.keys.ring import Root
from chalicelib.baton.lineages.model import AccountState
from chalicelib.baton.mail.codes import code_of, is_code
from chalicelib.baton.mail.sessions import StartMailSession, Wanted, count_try, known_device
from chalicelib.baton.policy import (
    MAIL_CODE_TRIES_MAX,
    MAIL_SESSIONS_MAX,
    MAIL_SESSIONS_PER_ADDRESS_MAX,
    MAIL_SESSIONS_WINDOW_S,
    MINUTE_S,
)

_TRIES_MAX = MAIL_SESSIONS_MAX * MAIL_CODE_TRIES_MAX
"""The maximum number of tries in six hours, for one known device of an account, or for all other devices together.

This is five tries for each of at most five mails.
"""
_TRIES_OF_DEVICES_MAX = MAIL_SESSIONS_PER_ADDRESS_MAX * MAIL_CODE_TRIES_MAX
"""The maximum number of tries in six hours, for all known devices together: five tries for each of at most 20 mails."""


class LoginCodesByMail(Struct, frozen=True, kw_only=True):
    """Send and check the mail codes of logins. Implements ``accounts.ports.LoginCodes``."""

    start: StartMailSession
    ephemeral: RateLimits
    log: Log

    def send(self, user: User, account_state: AccountState, session: OpenSession, *, source: str, now: int) -> int:
        """Send the code of a session, and return for how many seconds it is valid."""
        lives_s = session.ticket.expires_at - now
        self.start.send(
            _wanted(user, account_state, session),
            session_id=session.ticket.id,
            root=_root_of(session),
            minutes=max(1, lives_s // MINUTE_S),
            source=source,
            ring=session.ring,
            now=now,
        )
        return lives_s

    def check(self, user: User, account_state: AccountState, session: OpenSession, typed: str, *, now: int) -> None:
        """Count the try against the limits of the session and of the devices. Then compare the code."""
        device = known_device(_wanted(user, account_state, session))
        index = session.ring.email_index(user.email)  # an account that is made again has a new id, but the same index
        self._count(f"{user.account}:{device}" if device else f"{index}:unknown", limit=_TRIES_MAX, now=now)
        if device:
            self._count(f"{index}:devices", limit=_TRIES_OF_DEVICES_MAX, now=now)
        count_try(self.ephemeral, session.ticket)
        code = code_of(_root_of(session).secret, use="login", session_id=session.ticket.id, address=user.email)
        if not is_code(typed, code):
            self.log.record("mail_codes_guessed")
            raise InvalidCode("wrong code")

    def _count(self, name: str, *, limit: int, now: int) -> None:
        counted = self.ephemeral.count(f"mail:login:{name}", limit=limit, window_s=MAIL_SESSIONS_WINDOW_S, now=now)
        if isinstance(counted, Refused):
            self.log.record("throttled", limit="mail")
            raise errors.TooManyRequests(
                "too many codes of logins", retry_after=MAIL_SESSIONS_WINDOW_S - now % MAIL_SESSIONS_WINDOW_S
            )


def _wanted(user: User, account_state: AccountState, session: OpenSession) -> Wanted:
    key = session.login_request.device.public_key
    return Wanted(use="login", address=user.email, account=user.account, account_state=account_state, key=key)


def _root_of(session: OpenSession) -> Root:
    """Return the root secret that was in use when the session began.

    The code derives from this root secret, even if a newer root secret is in use.
    """
    return session.ring.root_for_new(session.ticket.issued_at)
