"""The common parts of registration and login: address, client, device key, attempt, and the second-factor verdict."""

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.baton import errors
from chalicelib.baton.accounts.email import canonical_email
from chalicelib.baton.attestation.judge import Judged, JudgeEvidence
from chalicelib.baton.browser.delivery import replaced_login
from chalicelib.baton.browser.sites import SiteRule
from chalicelib.baton.effects import Entropy
from chalicelib.baton.factors.add_passkey import Enrollable
from chalicelib.baton.factors.model import User
from chalicelib.baton.factors.rules import Verdict, judge_login
from chalicelib.baton.ids import AccountId, LineageId
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.assurance import by_provider
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import (
    NO_ATTEMPT,
    AccountState,
    Assurance,
    Attestation,
    Binding,
    KeyBinding,
    Lineage,
    NoBinding,
    SecretBinding,
)
from chalicelib.baton.policy import LABEL_BYTES_MAX, WEB_LOGIN_S
from chalicelib.baton.proof.refusals import SignatureRequired
from chalicelib.baton.proof.signature import check_digest
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens.presented import RequestVerifier, attempt_of
from chalicelib.baton.tokens.refusals import UnauthorizedClient, UnknownClient
from chalicelib.baton.tokens.source import source_of

_RETIRED = "This client_id is out of service. Update the app, or use the client_id that replaces it."


class Device(Struct, frozen=True):
    """The device in a request. ``hmac``: the device requests an HMAC secret instead of sending a public key."""

    name: str = ""
    public_key: PublicKey | None = None
    hmac: bool = False


class LoginRequest(Struct, frozen=True):
    """A verified request to begin a lineage. ``email`` is canonical, or empty if the request has no address."""

    email: str
    client: Client
    device: Device
    binding: Binding
    attempt: str
    attempt_sent: bool = False
    """The attempt came in ``Idempotency-Key``, so the device has stored it."""
    proved: LineageId | None = None
    """The last login of the device, if its HMAC secret signed this request."""
    remember: bool = False
    """The login continues after the browser is closed."""
    over: LineageId | None = None
    """The login whose cookies the browser sent with the request. The new login replaces that login."""
    source: str = ""
    """The network address of the person, as far as Baton can determine it."""
    attestation: Attestation = Attestation.NONE
    """What the device attested. It is stored in the new login."""
    provider: int = 0
    """The code of the identity provider that vouched for the person in place of a password. 0: none."""

    @property
    def label(self) -> str:
        """Return the name of the device as a lineage stores it: at most 32 bytes, cut between two characters."""
        return self.device.name.encode()[:LABEL_BYTES_MAX].decode(errors="ignore")

    @property
    def life_s(self) -> int:
        """Return the absolute limit of the login in seconds.

        The result is the absolute limit of the client. For a cookie login without ``remember``, the result is at most
        ``WEB_LOGIN_S``.
        """
        absolute_s = self.client.mechanism.absolute_s
        short = self.client.delivery == "cookie" and not self.remember
        return min(absolute_s, WEB_LOGIN_S) if short else absolute_s

    def lineage(self, lineage_id: LineageId, *, epoch: int, assurance: Assurance, now: int) -> Lineage:
        """Return the new lineage of this request, at generation 0. Nothing is stored."""
        mechanism = self.client.mechanism
        return Lineage(
            id=lineage_id,
            epoch=epoch,
            generation=0,
            attempts=(NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT, NO_ATTEMPT),
            issued_at=now,
            expires_at=now + self.life_s,
            binding=self.binding,
            client=self.client.code,
            auth_time=now,
            assurance=by_provider(assurance) if self.provider else assurance,
            label=self.label,
            in_use_since=now if mechanism.slides else None,
            attestation=self.attestation,
            provider=self.provider,
        )


class ReadLoginRequest(Struct, frozen=True, kw_only=True):
    """Check the client and device of a registration or login, and its e-mail address, if any. No account is read."""

    entropy: Entropy
    clients: Clients
    proof: RequestVerifier
    site: SiteRule

    def __call__(
        self,
        message: Message,
        *,
        email: str | None,
        client_id: str,
        device: Device,
        now: int,
        remember: bool = False,
    ) -> LoginRequest:
        """Check address, client and key, and return the login request. The key in the body must sign the request.

        A request of a cookie client has no key. It must come from a page of the client.

        ``email`` is ``None`` for a login that needs no address.

        A device that requests an HMAC secret may sign with the secret of its last login. The device is then a known
        device.
        """
        canonical = "" if email is None else canonical_email(email)
        client = self.clients.get(client_id)
        if client is None:
            raise UnknownClient
        if client.retired:
            raise UnauthorizedClient("out of service", detail=_RETIRED)
        if client.delivery == "cookie":
            self.site.check(message, client.origins, changes=True)
        self._check_browser(client, device, remember=remember)
        if device.public_key is not None and device.hmac:
            raise errors.Malformed(
                "two bindings", pointer="/device/binding", detail="Send `public_key` or `binding`, not both."
            )
        signature = None
        binding: Binding = SecretBinding() if device.hmac else NoBinding()
        if device.public_key is not None:
            signature = self.proof.introduced(message, device.public_key, now=now)
            binding = KeyBinding(device.public_key.thumbprint)
        else:
            check_digest(message)
            signature = self.proof.last_login(message, now=now) if device.hmac else None
        if client.binding == "required" and isinstance(binding, NoBinding):
            raise SignatureRequired(
                "this client's logins are bound",
                path=message.path,
                detail="Logins of this client are bound to a key. Send `device.public_key` and sign with that key, or "
                'send `device.binding` "hmac". For a first try by hand use client `simple`, which requires no key.',
            )
        return LoginRequest(
            email=canonical,
            client=client,
            device=device,
            binding=binding,
            attempt=attempt_of(message, signature, self.entropy),
            attempt_sent="idempotency-key" in message.fields,
            proved=LineageId(signature.keyid) if signature and device.hmac else None,
            remember=remember,
            over=lineage_over(self.proof, message, client, now=now),
            source=source_of(message, client) if client.trusted_sources else message.source,
        )

    def _check_browser(self, client: Client, device: Device, *, remember: bool) -> None:
        by_cookie = client.delivery == "cookie"
        if by_cookie and (device.public_key is not None or device.hmac):
            raise errors.Malformed(
                "a key at a cookie client",
                pointer="/device",
                detail="Logins of this client have cookies, and no device key. Send only the name of the device.",
            )
        if remember and not by_cookie:
            raise errors.Malformed(
                "remember without cookies",
                pointer="/remember",
                detail="`remember` is for clients that deliver cookies. Leave it out.",
            )


def lineage_over(proof: RequestVerifier, message: Message, client: Client, *, now: int) -> LineageId | None:
    """Return the login whose cookies the request has. The new login replaces that login.

    ``None``: the request has no genuine cookie of a login, or the client delivers no cookies.
    """
    if client.delivery != "cookie" or "cookie" not in message.fields:
        return None
    token = replaced_login(proof, message, now=now)
    return token.lineage if token else None


class Judge(Struct, frozen=True, kw_only=True):
    """Decide whether a login needs a second factor. This calls `judge_login` with the values of the login request."""

    clients: Clients
    enrollable: Enrollable

    def __call__(
        self,
        login_request: LoginRequest,
        account_state: AccountState,
        user: User,
        *,
        ring: Ring,
        now: int,
        verified: bool = False,
    ) -> Verdict:
        """Return the verdict of `judge_login` on this login request.

        ``verified``: treat the address as proved, even if ``user`` was read before the proof.
        """
        client = login_request.client
        return judge_login(
            self.clients,
            client,
            account_state,
            user.factors,
            binding=login_request.binding,
            enrol=lambda: self.enrollable(client, verified=verified or user.has_no_unproved_address),
            now=now,
            not_before=ring.not_before,
        )


def attested(
    login_request: LoginRequest, judge_evidence: JudgeEvidence, judged: Judged, *, account: AccountId, now: int
) -> LoginRequest:
    """Store the accepted evidence. Return the login request with ``attestation`` set.

    A login calls this after the check of its first factor. A registration calls this before it makes the account.
    """
    attestation = judge_evidence.remember(
        judged,
        client=login_request.client,
        binding=login_request.binding,
        account=account,
        attempt=login_request.attempt,
        now=now,
    )
    return replace(login_request, attestation=attestation)
