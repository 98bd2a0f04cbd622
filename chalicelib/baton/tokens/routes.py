"""Routes for stock OAuth parties: token (RFC 6749), revocation (RFC 7009), introspection (RFC 7662)."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote_plus

from chalice.app import Blueprint
from msgspec import UNSET, Struct, UnsetType

from chalicelib.baton import errors
from chalicelib.baton.accounts.routes import token_response
from chalicelib.baton.http.dispatch import Dispatch
from chalicelib.baton.http.form import read_form
from chalicelib.baton.http.shapes import Confirmation, Introspection, IntrospectionForm, RevocationForm, TokenForm
from chalicelib.baton.lineages.model import KeyBinding, NoBinding, SecretBinding
from chalicelib.baton.routing import Answer, Dialect, Message
from chalicelib.baton.tokens.exchange import Exchange, TokenRequest
from chalicelib.baton.tokens.introspect import ActiveToken, Introspect
from chalicelib.baton.tokens.refusals import InvalidClient, UnsupportedGrantType, UnsupportedResponseType
from chalicelib.baton.tokens.revoke import Revoke
from chalicelib.baton.tokens.token import Names, Token


class OAuthJourneys(Struct, frozen=True):
    """What these routes call."""

    exchange: Exchange
    revoke: Revoke
    introspect: Introspect


def oauth(dispatch: Dispatch, journeys: OAuthJourneys, names: Names) -> Blueprint:
    """Make the blueprint."""
    routes = Blueprint(__name__)

    @routes.route("/oauth/token", methods=["POST"], content_types=[])
    @dispatch.view(Dialect.OAUTH)
    def token(message: Message) -> Answer:
        form = read_form(message, TokenForm.__struct_fields__)
        if _required(form, "grant_type") != "refresh_token":
            raise UnsupportedGrantType
        asked = TokenRequest(_required(form, "refresh_token"), form.get("client_id"), form.get("scope"))
        return Answer(200, token_response(journeys.exchange(message, asked, source=message.source), dispatch.clock()))

    @routes.route("/oauth/revoke", methods=["POST"], content_types=[])
    @dispatch.view(Dialect.OAUTH)
    def revoke(message: Message) -> Answer:
        form = read_form(message, RevocationForm.__struct_fields__)
        journeys.revoke(message, token=_required(form, "token"), client_id=form.get("client_id"), source=message.source)
        return Answer(200)

    @routes.route("/oauth/introspect", methods=["POST"], content_types=[])
    @dispatch.view(Dialect.OAUTH)
    def introspect(message: Message) -> Answer:
        resource_server, secret = _basic(message)
        form = read_form(message, IntrospectionForm.__struct_fields__)
        active = journeys.introspect(token=_required(form, "token"), resource_server=resource_server, secret=secret)
        return Answer(200, _facts(active, names) if active else Introspection(active=False))

    @routes.route("/oauth/authorize", methods=["GET", "POST"], content_types=[])
    @dispatch.view(Dialect.OAUTH, query=None, page=True)
    def authorize(_: Message) -> Answer:
        raise UnsupportedResponseType

    return routes


def _required(form: Mapping[str, str], name: str) -> str:
    try:
        return form[name]
    except KeyError:
        raise errors.Malformed("missing", pointer=f"/{name}", detail=f"`{name}` is missing.") from None


def _basic(message: Message) -> tuple[str, str]:
    """Read HTTP Basic credentials (RFC 7617), form-encoded within as RFC 6749 section 2.3.1 has it."""
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


def _facts(active: ActiveToken, names: Names) -> Introspection:
    """Write the facts of an active token (RFC 7662 section 2.2)."""
    token, lineage = active.token, active.lineage
    return Introspection(
        active=True,
        token_type="Bearer",  # noqa: S106 - a type, not a token
        scope=" ".join(sorted(active.client.scope)),
        client_id=active.client.id,
        sub=token.account,
        iss=names.issuer,
        aud=names.audience,
        iat=token.issued_at,
        exp=active.expires_at,
        sid=token.lineage,
        gen=token.generation,
        token_use=token.kind,
        auth_time=lineage.auth_time,
        acr=lineage.assurance.acr,
        amr=lineage.assurance.amr,
        cnf=_confirmation(token),
    )


def _confirmation(token: Token) -> Confirmation | UnsetType:
    match token.binding:
        case KeyBinding():
            return Confirmation(jkt=token.key.keyid) if token.key else Confirmation()
        case SecretBinding():
            return Confirmation(kid=token.lineage)
        case NoBinding():
            return UNSET
