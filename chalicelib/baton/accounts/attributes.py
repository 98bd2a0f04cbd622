"""The attributes that the code of the team stores with an account, for the claims in the tokens of the account."""

from collections.abc import Mapping

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Refused
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.tokens.claims import encode_attributes


class Accounts(Struct, frozen=True):
    """The interface with which the code of the team stores attributes with an account."""

    lineage_store: LineageStore

    def set_attributes(self, account: AccountId, attributes: Mapping[str, object]) -> None:
        """Replace all attributes of an active account, such as ``{"plan": 2}``. An empty mapping removes them.

        Your claims function reads them in ``Claims.attributes``. ``set_attributes`` does not check who requests the
        change: your code must check this before the call.

        Raises:
            ValueError: the attributes have more than 32 bytes as MessagePack.
            TypeError: a value has a type that MessagePack does not have.
            NotFound: the account does not exist, or is not active.

        """
        if isinstance(self.lineage_store.set_attributes(account, encode_attributes(attributes)), Refused):
            raise errors.NotFound("the account is unknown, disabled or deleted")
