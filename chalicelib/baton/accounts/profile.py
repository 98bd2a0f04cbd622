"""The account itself: show it, delete it, and (the operator) disable or enable it."""

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.accounts.ports import Users
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.tokens.caller import Caller


class Profile(Struct, frozen=True):
    """An account as its owner sees it. Times are seconds since the epoch."""

    account_id: AccountId
    email: str
    created_at: int
    device_id: LineageId


class ShowAccount(Struct, frozen=True, kw_only=True):
    """Show a caller their account."""

    users: Users

    def __call__(self, caller: Caller) -> Profile:
        """Read the user."""
        user = self.users.get(caller.account)
        if user is None:
            raise errors.Unavailable("an account whose account state let its owner in has no user")
        return Profile(user.account, user.email, user.created_at, caller.device_id)
