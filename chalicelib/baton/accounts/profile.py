"""The account, for its owner."""

from typing import Literal

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import EmailStatus, Users
from chalicelib.baton.effects import Clock
from chalicelib.baton.ids import AccountId, EmailIndex, LineageId
from chalicelib.baton.tokens.caller import Caller
from chalicelib.baton.tokens.issue import Seconds


class Profile(Struct, frozen=True):
    """An account, for its owner. Times are Unix times, in seconds.

    ``email_status``: if it is ``bouncing``, Baton sends no mail to the address. Ask the person for another address.
    ``roles``: the roles that this login has.
    ``acr``, ``amr``, ``auth_time``: how and when the person logged in on this device (RFC 9470, RFC 8176).
    """

    account_id: AccountId
    email: str
    created_at: int
    device_id: LineageId
    email_verified: bool
    email_status: Literal["ok", "bouncing"]
    roles: tuple[str, ...]
    acr: str
    amr: tuple[str, ...]
    auth_time: Seconds


def never_suppressed(email_index: EmailIndex, *, now: int) -> Literal["ok"]:
    """Return ``ok`` for every address. A deployment without mail uses this as its `ports.EmailStatus`."""
    del email_index, now
    return "ok"


class ShowAccount(Struct, frozen=True, kw_only=True):
    """Show the caller's account."""

    clock: Clock
    users: Users
    email_status: EmailStatus

    def __call__(self, caller: Caller) -> Profile:
        """Return the profile. Raises ``Unavailable`` if the user is missing."""
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("inconsistent account: the user is missing")
        return Profile(
            user.account,
            user.email,
            user.created_at,
            caller.device_id,
            email_verified=user.verified_at is not None,
            email_status=self.email_status(user.email_index, now=self.clock()),
            roles=tuple(sorted(caller.roles)),
            acr=caller.acr,
            amr=caller.amr,
            auth_time=caller.auth_time,
        )
