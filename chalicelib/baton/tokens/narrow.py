"""Token exchange (RFC 8693): for a token of a login, Baton issues a narrowed token for one other server.

A narrowed token has the audience of that server, the binding of the login, and a part of the scope of the login. It is
valid for at most ``Resource.max_s`` seconds. Its ``token_use`` is ``narrowed``, so Baton refuses it everywhere: on
calls, at the exchange, and as a subject token. The login must be live, so the account state is read once. Nothing is
written.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.base64url import encode_base64url
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.model import Status
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.resources import Resource, Resources
from chalicelib.baton.lineages.rules import Active, ended_of, judge_access
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.jwt import Binds, binding_claim, sign_claims, verified_payload
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken
from chalicelib.baton.tokens.refusals import InvalidScope, InvalidTarget, SubjectTokenInvalid, TokenInvalid
from chalicelib.baton.tokens.token import Kind, Names

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - a type, not a token
JWT = "urn:ietf:params:oauth:token-type:jwt"
NARROWED: Final = "narrowed"

Form = Mapping[str, str]


class NarrowedResponse(Struct, frozen=True, kw_only=True):
    """A narrowed token (RFC 8693 section 2.2.1)."""

    access_token: str
    issued_token_type: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - a type, not a token
    expires_in: Annotated[int, msgspec.Meta(ge=0, description="Seconds.")]
    scope: str

    def __repr__(self) -> str:
        """Mask the token."""
        return "NarrowedResponse('**********')"


class Claims(Struct, kw_only=True):
    """The claims of a narrowed token, in the order on the wire."""

    iss: str
    aud: str
    sub: str
    client_id: str
    jti: str
    iat: int
    exp: int
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    sid: str
    token_use: Literal["narrowed"]
    scope: str
    cnf: Binds | UnsetType = UNSET


_CLAIMS = msgspec.json.Decoder(Claims)


class Narrow(Struct, frozen=True, kw_only=True):
    """Issue narrowed tokens."""

    clock: Clock
    entropy: Entropy
    proof: RequestVerifier
    lineage_store: LineageStore
    resources: Resources
    names: Names
    log: Log

    def __call__(self, message: Message, form: Form) -> NarrowedResponse:
        """Return a narrowed token.

        Raises:
            Malformed: a parameter is missing, or is not supported.
            SubjectTokenInvalid: the token is not usable on calls, or its login has ended.
            InvalidTarget: the server is unknown, or is not for this client.
            InvalidScope: ``scope`` has no word, or a word that the server or the login does not have. If ``scope`` is
                missing: the server and the login have no word in common.

        """
        now = self.clock()
        issued_as = _check_form(form)
        resource = self.resources.find(audience=form.get("audience"), identifier=form.get("resource"))
        if resource is None:
            raise InvalidTarget("unknown resource")
        proved = self._subject(form, now=now)
        self.log.set_lineage(lineage=proved.token.lineage)
        self.proof.signature(message, proved, now=now)
        if proved.client.id not in resource.clients:
            raise InvalidTarget("not a resource of this client")
        active = self._live(proved, now=now)
        scope = _scope(form.get("scope"), proved.client.scope & resource.scopes)
        expires_at = min(now + resource.max_s, self._rest(proved, active), active.lineage.expires_at)
        token, lineage = proved.token, active.lineage
        claims = Claims(
            iss=self.names.issuer,
            aud=resource.identifier,
            sub=token.account,
            client_id=proved.client.id,
            jti=encode_base64url(self.entropy(16)),
            iat=now,
            exp=expires_at,
            auth_time=lineage.auth_time,
            acr=lineage.assurance.acr,
            amr=lineage.assurance.amr,
            sid=lineage.id,
            token_use=NARROWED,
            scope=scope,
            cnf=binding_claim(token),
        )
        return NarrowedResponse(
            access_token=sign_claims(msgspec.json.encode(claims), proved.ring.signer(now)),
            issued_token_type=issued_as,
            expires_in=max(0, expires_at - now),
            scope=scope,
        )

    def _subject(self, form: Form, *, now: int) -> VerifiedToken:
        """Verify the subject token. It must be a token for calls."""
        text = form.get("subject_token")
        if text is None:
            raise errors.Malformed("missing", pointer="/subject_token", detail="`subject_token` is missing.")
        try:
            proved = self.proof.token_of(form.get("client_id"), text, now=now)
        except (TokenInvalid, errors.FieldTooLarge) as invalid:
            raise SubjectTokenInvalid(f"subject token: {invalid.reason}") from None
        if proved.token.kind is Kind.REFRESH or proved.client.retired:
            raise SubjectTokenInvalid("the subject token cannot be used on calls")
        return proved

    def _live(self, proved: VerifiedToken, *, now: int) -> Active:
        verdict = judge_access(
            self.lineage_store.get(proved.token.account),
            proved.presented(),
            expires_at=proved.token.expires_at,
            now=now,
            not_before=proved.ring.not_before,
            mechanism=proved.client.mechanism,
        )
        if not isinstance(verdict, Active):
            raise SubjectTokenInvalid(f"the subject token is not live: {type(verdict).__name__}")
        return verdict

    def _rest(self, proved: VerifiedToken, active: Active) -> int:
        """Return the time at which the subject token expires. In a sliding login, this can be later than ``exp``."""
        mechanism, expires_at = proved.client.mechanism, proved.token.expires_at
        return max(expires_at, active.lineage.issued_at + mechanism.access_s) if mechanism.slides else expires_at


def _check_form(form: Form) -> str:
    """Check the parameters except subject token and scope. Return the type of the issued token, as it was requested."""
    if form.get("subject_token_type") != ACCESS_TOKEN:
        raise errors.Malformed(
            "subject_token_type",
            pointer="/subject_token_type",
            detail=f"`subject_token_type` must be `{ACCESS_TOKEN}`.",
        )
    if "actor_token" in form or "actor_token_type" in form:
        raise errors.Malformed(
            "actor_token", pointer="/actor_token", detail="`actor_token` is not supported. Leave it out."
        )
    issued_as = form.get("requested_token_type", ACCESS_TOKEN)
    if issued_as not in {ACCESS_TOKEN, JWT}:
        raise errors.Malformed(
            "requested_token_type",
            pointer="/requested_token_type",
            detail=f"`requested_token_type` must be `{ACCESS_TOKEN}` or `{JWT}`, or be left out.",
        )
    if ("audience" in form) is ("resource" in form):
        raise errors.Malformed(
            "audience and resource",
            pointer="/audience",
            detail="Send one of `audience` (the name of the server) and `resource` (its identifier).",
        )
    return issued_as


def _scope(wanted: str | None, allowed: frozenset[str]) -> str:
    scope = allowed if wanted is None else frozenset(wanted.split())
    if not scope or not scope <= allowed:
        raise InvalidScope(
            "beyond login and resource",
            detail="The scope must have at least one word, and only words that both the login and the server have.",
        )
    return " ".join(sorted(scope))


def read_narrowed(
    text: str, resource: Resource, *, ring: Ring, lineage_store: LineageStore, names: Names, now: int
) -> Claims | None:
    """Return the claims of a narrowed token, if it is for ``resource`` and its login is live. Else return ``None``."""
    try:
        payload, signed_by = verified_payload(text, ring)
        claims = _CLAIMS.decode(payload)
    except (TokenInvalid, ValueError, RecursionError):
        return None
    known = claims.iss == names.issuer or claims.iss in names.earlier_issuers
    if not known or claims.aud != resource.identifier or claims.exp <= now or not ring.serves(signed_by, claims.iat):
        return None
    account_state = lineage_store.get(AccountId(claims.sub))
    lineage = account_state.lineages.get(LineageId(claims.sid)) if account_state else None
    if account_state is None or lineage is None or account_state.status is not Status.ACTIVE:
        return None
    if lineage.auth_time != claims.auth_time:  # a later login with the id of a removed login
        return None
    ended = ended_of(account_state, lineage, now=now, not_before=ring.not_before, idle_s=None)
    return claims if ended is None else None
