"""Write and read tokens of both forms, JWT and opaque. No I/O."""

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
    """Return the text of a token. ``auth_time`` and ``assurance`` are of its login. Only a JWT contains them."""
    if form == "opaque":
        return mint_opaque(token, ring)
    return mint_jwt(token, ring, now=now, names=names, client=client, auth_time=auth_time, assurance=assurance)


def read_token(text: str, *, ring: Ring, names: Names, clients: Clients) -> Token:
    """Verify and read a token of either form. The caller must check its expiry and its kind.

    Raises:
        FieldTooLarge: the text is longer than 8 KB. It is not parsed.
        UnknownKey: the ring does not have its key.
        ConfigurationMismatch: the token is genuine, but its issuer, audience or client is not in the configuration.
        TokenInvalid: Baton did not issue the token, or its key signed it after the time of the key.

    """
    if len(text) > TOKEN_BYTES_MAX:
        raise FieldTooLarge("token over 8 KB")
    try:
        if text.startswith(OPAQUE_PREFIX):
            return read_opaque(text, ring)
        return read_jwt(text, ring, names=names, clients=clients)
    except (ValueError, RecursionError, InvalidKey) as error:
        raise TokenInvalid(f"not a token: {type(error).__name__}") from None
