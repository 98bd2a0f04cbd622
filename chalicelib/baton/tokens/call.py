"""Authenticate signed calls without the account state, then authorize them with the account state."""

from collections.abc import Callable

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Clock, Entropy, Refused
from chalicelib.baton.events.ports import Log
from chalicelib.baton.ids import AccountId
from chalicelib.baton.lineages.assurance import attested_as
from chalicelib.baton.lineages.model import EndReason, NoBinding
from chalicelib.baton.lineages.ports import LineageStore
from chalicelib.baton.lineages.rules import (
    Active,
    Ahead,
    Expired,
    Inactive,
    ProofOutdated,
    judge_access,
    proved_login,
    record_use,
)
from chalicelib.baton.proof.refusals import SignatureRequired
from chalicelib.baton.proof.signature import VerifiedSignature, content_digest
from chalicelib.baton.routing import Message, RouteSpec
from chalicelib.baton.tokens.caller import Caller, GrantUsed, Operation, OwnFactors
from chalicelib.baton.tokens.ports import OneTime
from chalicelib.baton.tokens.presented import RequestVerifier, VerifiedToken, attempt_of
from chalicelib.baton.tokens.refusals import GrantInvalid, ReplayedNonce, TokenExpired, TokenInvalid
from chalicelib.baton.tokens.source import source_of
from chalicelib.baton.tokens.token import Kind

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HTTPSIG = "httpsig"
_SCHEMES = frozenset({"bearer", _HTTPSIG})
_SEND_ONE = "Send `Authorization: Bearer <token>`."
_ANY = RouteSpec()
"""A route that requires a login and nothing else."""


class VerifiedCall(Struct, frozen=True):
    """A call with a verified token and, for a bound token, a verified signature.

    The login may have ended: ``authorize`` checks this.
    """

    message: Message
    proved: VerifiedToken
    signature: VerifiedSignature | None
    now: int


class Call(Struct, frozen=True, kw_only=True):
    """Authenticate and authorize a request to a signed route."""

    clock: Clock
    entropy: Entropy
    proof: RequestVerifier
    lineage_store: LineageStore
    ephemeral: OneTime
    log: Log
    own_factors: Callable[[AccountId, str], OwnFactors] = lambda _account, _client: OwnFactors()
    """Read the factors of an account. The second argument is the id of the client of the call.

    ``Caller`` calls this function only to build a refusal.
    """

    def authenticate(self, message: Message, *, bound: bool = False) -> VerifiedCall:
        """Check the token and the signature. This method reads the database only to refresh the cached key ring.

        With ``bound``, a token without a binding is refused.
        """
        now = self.clock()
        httpsig, text = presented_token(message)
        proved = self.proof.token(text, now=now)
        token, mechanism = proved.token, proved.client.mechanism
        self.log.set_lineage(lineage=token.lineage)
        if token.kind is Kind.REFRESH:
            raise TokenInvalid("a token for renewal cannot be used on calls")
        if bound and isinstance(token.binding, NoBinding):
            raise SignatureRequired(
                "this route takes bound logins only",
                path=message.path,
                detail="This route requires a login that is bound to a key or secret. Log in with a key.",
            )
        signature = self.proof.call_signature(message, proved, httpsig=httpsig, now=now)
        proved.check_in_service()
        if token.expires_at <= now and not mechanism.slides:
            if not mechanism.renewable:
                raise errors.LoginRequired(reason=EndReason.EXPIRED.value)
            raise TokenExpired
        return VerifiedCall(message, proved, signature, now)

    def authorize(
        self, call: VerifiedCall, *, spec: RouteSpec = _ANY, once: bool = False, live: Active | None = None
    ) -> Caller:
        """Compare a verified call with the account state and with the requirements of its route, and return the caller.

        - ``once``: consume neither nonce nor grant. The ``Idempotency-Key`` replaces the nonce, and ``http/signed.py``
          consumes the grant later.
        - ``live``: the result of an earlier read of the account state, if any.

        A safe request (GET, HEAD, OPTIONS) does not consume its nonce.

        Raises, in the order of the checks: ``TokenExpired`` or ``LoginRequired``, ``InsufficientScope``,
        ``InsufficientRole``, ``InsufficientAcr``, ``AttestationRequired``, ``StepUpRequired`` (no grant),
        ``ReplayedNonce``, ``GrantInvalid``, ``StepUpRequired`` (the grant is too old or too weak).
        """
        live = live or self._live(call)
        grant = self._grant(call.message)
        caller = self._caller(call, live, grant, spec=spec)
        if spec.scope:
            caller.require_scope(" ".join(spec.scope))
        if spec.roles:
            caller.require_any_role(spec.roles)
        if spec.acr:
            caller.require_acr(spec.acr)
        if spec.attested:
            caller.require_attested()
        if spec.step_up and not grant:
            raise caller.step_up_required(spec.step_up, after_recovery=spec.after_recovery)
        if once:
            return caller
        if call.signature and call.message.method not in SAFE_METHODS:
            consumed = self.ephemeral.consume_nonce(
                call.signature.keyid, call.signature.nonce, now=call.now, mark=self.entropy(8)
            )
            if isinstance(consumed, Refused):
                self.log.record("nonce_replayed", lineage=live.lineage.id)
                raise ReplayedNonce
        if spec.step_up:
            caller.prove_again(spec.step_up, after_recovery=spec.after_recovery)
        return caller

    def _caller(self, call: VerifiedCall, live: Active, grant: str, *, spec: RouteSpec) -> Caller:
        account, client = live.account_state.account, call.proved.client
        return Caller(
            account=account,
            device_id=live.lineage.id,
            client_id=client.id,
            scope=client.scope,
            roles=self.proof.clients.roles_of_login(live.account_state.roles, acr=live.lineage.assurance.acr),
            bound=not isinstance(live.lineage.binding, NoBinding),
            auth_time=proved_login(live.account_state, live.lineage).auth_time,
            acr=live.lineage.assurance.acr,
            amr=live.lineage.assurance.amr,
            attested=attested_as(live.lineage.attestation),
            account_state=live.account_state,
            not_before=call.proved.ring.not_before,
            now=call.now,
            source=source_of(call.message, client) if client.trusted_sources else call.message.source,
            attempt=attempt_of(call.message, call.signature, self.entropy) if spec.takes_attempt else "",
            attempt_sent="idempotency-key" in call.message.fields,
            demands_second_factor=self.proof.clients.demand_second_factor(client, live.account_state),
            _use_grant=(lambda: self._spend(grant, call, live) if grant else None) if spec.query is None else None,
            _own_factors=lambda: self.own_factors(account, client.id),
            _liveness=lambda actor, roles: self.lineage_store.liveness_condition(actor, roles=roles, now=self.clock()),
        )

    def _live(self, call: VerifiedCall) -> Active:
        token, mechanism = call.proved.token, call.proved.client.mechanism
        not_before = call.proved.ring.not_before
        use = judge_access(
            self.lineage_store.get(token.account),
            call.proved.presented(),
            expires_at=token.expires_at,
            now=call.now,
            not_before=not_before,
            mechanism=mechanism,
        )
        match use:
            case Active():
                used = record_use(use.lineage, now=call.now, mechanism=mechanism, renewed=False)
                if used is not None:
                    # Ignore the result: if another request wrote first, the next call reads the state that it wrote.
                    self.lineage_store.record_use(
                        used, account=token.account, expected=use.lineage, now=call.now, not_before=not_before
                    )
                return use
            case Expired():
                raise TokenExpired
            case Ahead():
                self.log.record("generation_ahead", lineage=token.lineage)
                raise errors.LoginRequired(
                    "a generation newer than the stored one: the table was rolled back, or a key leaked"
                )
            case Inactive(reason):
                raise errors.LoginRequired(reason=reason.value if reason else None)

    def _grant(self, message: Message) -> str:
        return message.fields.get("baton-grant", ("",))[0].strip(" \t")

    def _spend(self, grant: str, call: VerifiedCall, live: Active) -> GrantUsed:
        message = call.message
        consumed = self.ephemeral.consume_grant(
            grant,
            lineage=call.proved.token.lineage,
            operation=Operation(message.method, message.path, content_digest(message.body)),
            credentials_version=live.account_state.credentials_version,
            now=call.now,
            mark=self.entropy(8),
        )
        if isinstance(consumed, Refused):
            raise GrantInvalid(
                path=message.path,
                hint="A grant is valid for one request with the method, path and body that it names, for five minutes. "
                "`operation.path` must be this `path`, the stage included.",
            )
        return consumed


def refuse_inactive(outcome: object) -> None:
    """Refuse a caller whose login ended, or whose credentials changed, after the call was authorized.

    ``outcome``: the result of a conditional write or of ``may_act``. Only the two results below raise an error.

    Raises:
        LoginRequired: the outcome is ``Inactive``.
        GrantInvalid: the outcome is ``ProofOutdated``.

    """
    match outcome:
        case Inactive(reason):
            raise errors.LoginRequired(
                "the login ended after the call was authorized", reason=reason.value if reason else None
            )
        case ProofOutdated():
            raise GrantInvalid(
                "the credentials were changed after the proof",
                detail="The password or a factor was changed after this grant was issued. POST /step-up again.",
            )
        case _:
            return


def presented_token(message: Message) -> tuple[bool, str]:
    """Return whether the scheme is ``HTTPSig`` (draft-richer-oauth-httpsig), and the token.

    The only other scheme is ``Bearer`` (RFC 6750 section 2.1). For a missing header or any other scheme, this function
    raises ``TokenInvalid``.
    """
    values = message.fields.get("authorization")
    if values is None:
        raise TokenInvalid("no Authorization field", detail=f"The Authorization header is missing. {_SEND_ONE}")
    value = values[0].strip(" \t")
    scheme, blank, text = value.partition(" ")
    if not blank or scheme.lower() not in _SCHEMES:
        raise TokenInvalid("not a Bearer token", detail=f"No access token was sent. {_SEND_ONE}")
    return scheme.lower() == _HTTPSIG, text.strip(" ")
