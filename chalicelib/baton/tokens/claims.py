"""The claims that a team adds to the tokens of its deployment. No I/O.

A function of the team returns these claims. The function must be pure: equal arguments give equal claims. If the roles
and the attributes of the account have not changed, a repeated exchange therefore gets the same token, byte for byte.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from chalicelib.baton.errors import Unavailable
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.clients import Client
from chalicelib.baton.policy import TEAM_CLAIMS_BYTES_MAX

REGISTERED = frozenset(
    {
        # RFC 7519 section 4.1.
        *("iss", "sub", "aud", "exp", "nbf", "iat", "jti"),
        # RFC 9068 section 2.2, and the other claims of Baton, present and planned.
        *("client_id", "auth_time", "acr", "amr", "scope", "roles"),
        *("sid", "gen", "token_use", "cnf", "attested", "idp", "hwk"),
        # RFC 8693 section 4 (who acts), and the members of an introspection (RFC 7662 section 2.2).
        *("act", "may_act", "active", "token_type", "username"),
    }
)
"""The claims that a team cannot set, because resource servers rely on the values that Baton sets."""


class Claims(Struct, frozen=True):
    """The argument of the team's claims function: facts about the token that is to get the claims.

    - ``client``: the id of the client.
    - ``roles``: the roles that this login has.
    - ``attributes``: the attributes that ``baton.accounts.set_attributes`` stored for the account.
    """

    account: AccountId
    client: str
    scope: frozenset[str]
    roles: frozenset[str]
    attributes: Mapping[str, object]


_NAMES = msgspec.json.Decoder(dict[str, msgspec.Raw])

AddClaims = Callable[[Claims], Mapping[str, object]]
"""A team's function: it returns the claims to add."""


def claims_of_team(
    add_claims: AddClaims, account: AccountId, client: Client, roles: frozenset[str], attributes: bytes
) -> bytes:
    """Return the claims of the team as an object in JSON.

    Raises ``Unavailable`` if ``add_claims`` raises, or if its result is not JSON, is larger than 1 KB, or has a claim
    of ``REGISTERED``. When the team has corrected the function, a repeated exchange succeeds.
    """
    about = Claims(account, client.id, client.scope, roles, decode_attributes(attributes))
    try:
        encoded = msgspec.json.encode(dict(add_claims(about)), order="deterministic")
    except Exception as defect:
        # The text of the exception may contain a secret of the team.
        raise Unavailable(f"the claims function of the team raised {type(defect).__name__}") from defect
    if len(encoded) > TEAM_CLAIMS_BYTES_MAX:
        raise Unavailable(f"the claims of the team are {len(encoded)} bytes: the limit is {TEAM_CLAIMS_BYTES_MAX}")
    if taken := sorted(REGISTERED & _NAMES.decode(encoded).keys()):
        raise Unavailable(f"the claims of the team have a registered name: {', '.join(taken)}")
    return encoded


def encode_attributes(attributes: Mapping[str, object]) -> bytes:
    """Encode attributes as MessagePack, sorted by name. Without attributes, the result is empty bytes.

    Raises ``TypeError`` for a value of a type that cannot be encoded.
    """
    return msgspec.msgpack.encode(dict(attributes), order="deterministic") if attributes else b""


def decode_attributes(attributes: bytes) -> Mapping[str, object]:
    """Decode attributes that ``encode_attributes`` encoded."""
    return msgspec.msgpack.decode(attributes, type=dict[str, object]) if attributes else {}
