"""The caller of a signed route, and step-up. No I/O, except in the functions that a ``Caller`` receives."""

from collections.abc import Callable, Collection

from msgspec import Struct

from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.lineages.assurance import (
    PASSWORD_AND_RECOVERY_CODE,
    PROVIDER_AND_RECOVERY_CODE,
    TOTP_ALONE,
    Attested,
)
from chalicelib.baton.lineages.clients import level
from chalicelib.baton.lineages.model import AccountState, Actor, Assurance, KeyBinding
from chalicelib.baton.policy import DEMANDED_ACR_LEVELS, GRANT_S, RECOVERED_LOGIN_S
from chalicelib.baton.routing import StepUp
from chalicelib.baton.tokens.refusals import (
    AttestationRequired,
    InsufficientAcr,
    InsufficientRole,
    InsufficientScope,
    StepUpRequired,
)


class Operation(Struct, frozen=True):
    """The operation of a step-up: the exact method, path and body digest of the request that follows.

    - ``path``: as the client sends it, including the stage.
    - ``digest``: the ``Content-Digest`` field value (sha-256) of the body.
    """

    method: str
    path: str
    digest: str


class GrantUsed(Struct, frozen=True):
    """The proof behind a step-up grant: when (seconds since the epoch) and how the person proved a factor again."""

    at: int
    assurance: Assurance
    second_factor: bool = False
    """Whether the second factor was on at the proof. If the owner later switches it on or off, the grant is void."""


class OwnFactors(Struct, frozen=True):
    """Which factors an account has. ``on``: the owner has switched the second factor on.

    ``providers`` are the linked identity providers whose id_token the client of the call can use for a step-up.
    """

    on: bool = False
    totp: bool = False
    passkey: bool = False
    password: bool = True
    providers: tuple[str, ...] = ()


class Caller(Struct, kw_only=True, eq=False):
    """Who is calling a signed route. Every member is verified.

    - ``scope``: the words of the client's scope.
    - ``roles``: the names of the account's roles. If ``acr`` is below ``aal2``, roles that require a second factor are
      left out.
    - ``bound``: whether the login is bound to a key or to an HMAC secret.
    - ``auth_time`` (seconds since the epoch), ``acr``, ``amr``: when and how the person logged in.
    - ``stepped_up``: the proof behind the grant that this request used, if any.
    """

    account: AccountId
    device_id: LineageId
    client_id: str
    scope: frozenset[str]
    roles: frozenset[str] = frozenset()
    bound: bool
    auth_time: int
    acr: str
    amr: tuple[str, ...]
    attested: Attested | None = None
    """The attestation of the device: ``app``, ``tee`` or ``strongbox``. ``None``: nothing is attested."""
    stepped_up: GrantUsed | None = None
    account_state: AccountState | None = None
    not_before: int = 0
    now: int = 0
    source: str = ""
    attempt: str = ""
    """The attempt of this request, on a route that takes an attempt."""
    attempt_sent: bool = False
    """Whether the attempt came in ``Idempotency-Key``. If so, the app had the attempt before it built the request."""
    csrf_token: str = ""
    """The value that a form of your page must send in the field ``csrf_token``.

    It is empty for a caller without a cookie.
    """
    demands_second_factor: bool = False
    """Whether the client, an operator or a role of the account requires a second factor."""
    _use_grant: Callable[[], GrantUsed | None] | None = None
    """Use the grant of this request and return it, or return ``None`` if the request has no grant. On a route with a
    query, this member is ``None``."""
    _liveness: Callable[[Actor, frozenset[int] | None], dict[str, object]] | None = None
    _own_factors: Callable[[], OwnFactors] = OwnFactors
    """Read the factors of the account. `step_up_required` calls it to build a refusal."""
    _by_role: bool = False

    @property
    def actor(self) -> Actor:
        """The login of the caller, for a storage port that writes only while this login is active."""
        version, app = 0, None
        if self.account_state is not None:
            version, own = self.account_state.credentials_version, self.account_state.lineages.get(self.device_id)
            app = own.app if own else None
        return Actor(
            self.account,
            self.device_id,
            self.not_before,
            credentials_version=version,
            app=app,
            in_cookies=bool(self.csrf_token),
        )

    def require_step_up(self, *, max_age: int = GRANT_S, acr: str = "account") -> GrantUsed:
        """Require that the person proved a factor again for exactly this request, at most ``max_age`` seconds ago.

        Call this method before your view changes anything.

        ``acr="account"`` is ``aal2`` if the logins of the account need a second factor, otherwise ``aal1``. For
        ``acr="account"``, an authenticator app alone is never enough.

        Raises:
            StepUpRequired: the request has no grant, or the grant is too old or of a lower level.
            GrantInvalid: the grant is used, expired or for another request, or the credentials changed after the proof.
            ValueError: the route has a query, which no grant covers, or ``acr`` does not exist.

        """
        return self.prove_again(StepUp(max_age, acr))

    def prove_again(self, rule: StepUp, *, after_recovery: bool = False) -> GrantUsed:
        """Require a step-up as `require_step_up` does, for a ``StepUp`` rule.

        ``after_recovery``: for 15 minutes after a login by recovery code, ``acr="account"`` requires only ``aal1``.
        """
        if self._use_grant is None:
            raise ValueError("a grant covers method, path and body: a route with a query cannot require a step-up")
        if self.stepped_up is None:
            self.stepped_up = self._use_grant()
        used = self.stepped_up
        if used is None or self.now - used.at > rule.max_age or not self._suffices(used, rule, after_recovery):
            raise self.step_up_required(rule, after_recovery=after_recovery)
        return used

    def step_up_required(self, rule: StepUp, *, after_recovery: bool = False) -> StepUpRequired:
        """Return the refusal. It names the required level and the factors that prove this level.

        All entries of ``factors`` together prove the level. Each entry of ``instead`` proves the level alone. Only a
        login that is bound to a key can use a linked identity.
        """
        own = self._own_factors()
        wanted = self._wanted(rule, after_recovery, lambda: own.on)
        providers = own.providers if self._has_key() else ()
        first = "identity" if providers and not own.password else "password"
        factors, instead = [first], ["passkey"] if own.passkey else []
        if level(wanted) > level("aal2") or (level(wanted) == level("aal2") and own.passkey and not own.totp):
            factors, instead = ["passkey"], []
        elif level(wanted) == level("aal2"):
            factors = [first, "totp"]
        elif providers and own.password:
            instead.append("identity")
        elif own.passkey and not (own.password or providers):
            factors, instead = ["passkey"], []
        return StepUpRequired(
            max_age=rule.max_age,
            acr_values=wanted,
            factors=factors,
            instead=instead or None,
            providers=providers if "identity" in {*factors, *instead} else None,
        )

    def _has_key(self) -> bool:
        """Check whether this login is bound to a key. An id_token proves a factor only if its nonce names the key."""
        own = self.account_state.lineages.get(self.device_id) if self.account_state else None
        return own is not None and isinstance(own.binding, KeyBinding)

    def _suffices(self, used: GrantUsed, rule: StepUp, after_recovery: bool) -> bool:  # noqa: FBT001 - passed on
        if rule.acr == "account" and used.assurance == TOTP_ALONE:
            return False
        wanted = self._wanted(rule, after_recovery, lambda: used.second_factor)
        return level(used.assurance.acr) >= level(wanted)

    def _wanted(self, rule: StepUp, after_recovery: bool, is_on: Callable[[], bool]) -> str:  # noqa: FBT001 - passed on
        """Return the level that a rule requires.

        With ``after_recovery``, the level is lower for a short time after a login by recovery code, because the owner
        has lost the other factor.
        """
        if rule.acr != "account":
            return rule.acr
        by_code = self.amr in {PASSWORD_AND_RECOVERY_CODE.amr, PROVIDER_AND_RECOVERY_CODE.amr}
        recovered = by_code and self.now - self.auth_time <= RECOVERED_LOGIN_S
        if after_recovery and recovered:
            return "aal1"
        return "aal2" if self.demands_second_factor or is_on() else "aal1"

    def require_scope(self, scope: str) -> None:
        """Require that the scope of the client has all words of ``scope``. Raises ``InsufficientScope``."""
        missing = sorted(set(scope.split()) - self.scope)
        if missing:
            raise InsufficientScope(f"the client has no scope {' '.join(missing)}")

    def require_role(self, role: str) -> None:
        """Require that this login has a role. Raises ``InsufficientRole``."""
        self.require_any_role((role,))

    def require_any_role(self, roles: Collection[str]) -> None:
        """Require that this login has at least one of these roles. Raises ``InsufficientRole``."""
        if self.roles.isdisjoint(roles):
            raise InsufficientRole(f"the account has no role {' or '.join(sorted(roles))}")
        self._by_role = True

    def require_acr(self, acr: str) -> None:
        """Require a login of at least this level.

        Raises ``InsufficientAcr``, or ``ValueError`` for an unknown level.
        """
        if acr not in DEMANDED_ACR_LEVELS:
            raise ValueError(f"acr {acr!r} does not exist: use one of {', '.join(DEMANDED_ACR_LEVELS)}")
        if level(self.acr) < level(acr):
            raise InsufficientAcr(f"the login has acr {self.acr}, and the route requires {acr}")

    def require_attested(self) -> None:
        """Require evidence of a genuine app on a genuine device. Raises ``AttestationRequired``."""
        if self.attested is None:
            raise AttestationRequired("the login has no evidence")

    def live(self) -> dict[str, object]:
        """Return a ``ConditionCheck`` for your ``TransactWriteItems``, which then writes only while this login is live.

        - If the check fails, raise ``errors.TryAgain(by_caller=True)``: the app then repeats the request. The repeated
          request succeeds, or its answer is ``login_required`` or ``insufficient_role``.
        - If the route required a role, the check also fails if any role of the account has changed.
        - Your IAM policy must allow ``dynamodb:ConditionCheckItem`` on the table ``lineages``.

        Raises:
            NotImplementedError: the storage has no transactions, or this ``Caller`` was not made for a request.

        """
        if self._liveness is None:
            raise NotImplementedError("this caller comes from no request")
        roles = self.account_state.roles if self._by_role and self.account_state else None
        return self._liveness(self.actor, roles)

    def __repr__(self) -> str:
        """Show account, device and client. The whole account state would be too long."""
        return f"Caller(account={self.account!r}, device_id={self.device_id!r}, client_id={self.client_id!r})"
