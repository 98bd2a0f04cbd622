"""The OAuth routes: token (RFC 6749), revocation (RFC 7009), introspection (RFC 7662)."""

import base64
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus

from chalicelib.baton import errors
from chalicelib.baton.routing import Answer, Dialect, Message, Route
from chalicelib.baton.tokens.exchange import Exchange, TokenRequest
from chalicelib.baton.tokens.introspect import Introspect
from chalicelib.baton.tokens.refusals import InvalidClient, UnsupportedGrantType, UnsupportedResponseType
from chalicelib.baton.tokens.revoke import Revoke
from chalicelib.baton.tokens.shapes import IntrospectionForm, RevocationForm, TokenForm

if TYPE_CHECKING:
    from chalicelib.baton.tokens.narrow import Narrow

Form = Mapping[str, str]
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type


def routes(
    *, exchange: Exchange, revoke: Revoke, introspect: Introspect, narrow: "Callable[[], Narrow] | None" = None
) -> tuple[Route, ...]:
    """List the OAuth routes.

    ``narrow`` returns the flow that issues narrowed tokens (RFC 8693). ``narrow`` is ``None`` if no other server is
    registered as a resource.
    """

    def token(message: Message, form: Form) -> Answer:
        grant_type = _required(form, "grant_type")
        if grant_type == TOKEN_EXCHANGE and narrow is not None:
            return Answer(200, narrow()(message, form))
        if grant_type != "refresh_token":
            raise UnsupportedGrantType
        asked = TokenRequest(_required(form, "refresh_token"), form.get("client_id"), form.get("scope"))
        return Answer(200, exchange(message, asked))

    def revoke_token(message: Message, form: Form) -> Answer:
        revoke(message, token=_required(form, "token"), client_id=form.get("client_id"))
        return Answer(200)

    def introspect_token(message: Message, form: Form) -> Answer:
        resource_server, secret = _basic(message)
        token = _required(form, "token")
        return Answer(200, introspect(token=token, resource_server=resource_server, secret=secret))

    def authorize(_: Message) -> Answer:
        raise UnsupportedResponseType

    def refuse(method: str) -> Route:
        return Route(
            method,
            "/oauth/authorize",
            authorize,
            signed=False,
            any_query=True,
            page=True,
            repeatable=True,
            dialect=Dialect.OAUTH,
        )

    return (
        Route("POST", "/oauth/token", token, signed=False, form=TokenForm, takes_attempt=True, dialect=Dialect.OAUTH),
        Route("POST", "/oauth/revoke", revoke_token, signed=False, form=RevocationForm, dialect=Dialect.OAUTH),
        Route(
            "POST",
            "/oauth/introspect",
            introspect_token,
            signed=False,
            form=IntrospectionForm,
            repeatable=True,
            dialect=Dialect.OAUTH,
        ),
        refuse("GET"),
        refuse("POST"),
    )


def _required(form: Form, name: str) -> str:
    try:
        return form[name]
    except KeyError:
        raise errors.Malformed("missing", pointer=f"/{name}", detail=f"`{name}` is missing.") from None


def _basic(message: Message) -> tuple[str, str]:
    """Read HTTP Basic credentials (RFC 7617). Both parts are form-encoded (RFC 6749 section 2.3.1)."""
    value = message.fields.get("authorization", ("",))[0].strip(" \t")
    scheme, _, encoded = value.partition(" ")
    try:
        if scheme.lower() != "basic":
            raise InvalidClient("no Basic credentials")
        name, colon, secret = base64.b64decode(encoded.strip(" "), validate=True).decode().partition(":")
    except ValueError:
        raise InvalidClient("Basic credentials that cannot be read") from None
    if not colon:
        raise InvalidClient("Basic credentials without a colon")
    return unquote_plus(name), unquote_plus(secret)
