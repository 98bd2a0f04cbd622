"""Make and read tokens of either form. No I/O."""

from chalicelib.baton.errors import FieldTooLarge
from chalicelib.baton.keys.refusals import InvalidKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Client, Clients, Form
from chalicelib.baton.lineages.model import Assurance
from chalicelib.baton.policy import TOKEN_BYTES_MAX
from chalicelib.baton.tokens.jwt import mint_jwt, read_jwt
from chalicelib.baton.tokens.opaque import OPAQUE_PREFIX, mint_opaque, read_opaque
from chalicelib.baton.tokens.refusals import TokenInvalid
from chalicelib.baton.tokens.token import Names, Token


def mint_token(  # noqa: PLR0913 - all of these go into a token
    token: Token,
    *,
    form: Form,
    ring: Ring,
    now: int,
    names: Names,
    client: Client,
    auth_time: int,
    assurance: Assurance,
) -> str:
    """Write a token out. ``auth_time`` and ``assurance`` are its login's, told by the JWT alone."""
    if form == "opaque":
        return mint_opaque(token, ring)
    return mint_jwt(token, ring, now=now, names=names, client=client, auth_time=auth_time, assurance=assurance)


def read_token(text: str, *, ring: Ring, names: Names, clients: Clients) -> Token:
    """Read a genuine token, of either form. Its expiry and its kind are for the caller to judge.

    Raises ``FieldTooLarge`` over 8 KB, before parsing; ``UnknownKey`` when the ring lacks its key;
    ``ConfigurationMismatch`` when issuer, audience or client are missing here; ``TokenInvalid`` for whatever else we
    did not issue, and for a key that signed after its time.
    """
    if len(text) > TOKEN_BYTES_MAX:
        raise FieldTooLarge("token over 8 KB")
    try:
        if text.startswith(OPAQUE_PREFIX):
            return read_opaque(text, ring)
        return read_jwt(text, ring, names=names, clients=clients)
    except (ValueError, RecursionError, InvalidKey) as error:
        raise TokenInvalid(f"not a token: {type(error).__name__}") from None
