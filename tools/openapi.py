"""Write ``chalicelib/baton/http/openapi.json``, the OpenAPI 3.1 description, from the app: ``make openapi``.

The routes are those of the application, including the team's routes. Bodies, forms and answers come from the classes of
each package. The requirements of a signed route come from its decorator. Only the texts and the list of refusals of
each route are in this module. Refusals under ``/oauth/*`` have the form of OAuth (RFC 6749), all others the form of RFC
9457. The tests compare each answer that they get with the description.
"""

import dataclasses
import inspect
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from chalice.app import Chalice

from chalicelib import __version__
from chalicelib.baton import errors
from chalicelib.baton.accounts.activity import Activity
from chalicelib.baton.accounts.export import Export
from chalicelib.baton.accounts.handover import HandoverCode
from chalicelib.baton.accounts.handover_routes import Redeemed
from chalicelib.baton.accounts.login_email import CodeSent
from chalicelib.baton.accounts.login_factor import LoginTokens
from chalicelib.baton.accounts.own_routes import Devices
from chalicelib.baton.accounts.profile import Profile
from chalicelib.baton.accounts.refusals import AccountExists, InvalidCode, InvalidEmail, VerificationRequired
from chalicelib.baton.attestation.refusals import (
    AttestationChallengeInvalid,
    AttestationFailed,
    AttestationFailedOnce,
)
from chalicelib.baton.attestation.shapes import AttestedAnswer, ChallengeAnswer
from chalicelib.baton.browser.bound import Instructions
from chalicelib.baton.browser.delivery import WebLogin
from chalicelib.baton.browser.refusals import (
    CookiesTooLarge,
    CrossSite,
    DeviceProofRequired,
    HandoverInvalid,
    NextInvalid,
    ProofInvalid,
    SessionSuperseded,
)
from chalicelib.baton.browser.routes import ShownSession
from chalicelib.baton.errors import Action, Refusal
from chalicelib.baton.factors.changes import FactorsShown, NewRecoveryCodes
from chalicelib.baton.factors.enrolment import TotpEnrolment
from chalicelib.baton.factors.passkey_challenge import PasskeyOptions
from chalicelib.baton.factors.passkeys import NewPasskey, ShownPasskeys
from chalicelib.baton.factors.refusals import (
    ChallengeInvalid,
    EmailUnverified,
    EnrolmentRequired,
    FactorExists,
    FactorMissing,
    FactorRequired,
    InvalidCredentials,
    InvalidFactor,
    InvalidPasskey,
    InvalidSession,
    LastCredential,
    PasskeyExists,
    PasswordTooLarge,
    RestoreRefused,
    SecondFactorRequired,
    SecondFactorUnsupported,
    TooManyPasskeys,
    UnknownPasskey,
    WeakPassword,
)
from chalicelib.baton.factors.step_up import Grant
from chalicelib.baton.federation.manage import ShownIdentities, ShownIdentity
from chalicelib.baton.federation.refusals import (
    AccountDisabled,
    IdentityNotAllowed,
    IdentityOfOthers,
    IdentityTokenInvalid,
    IdentityUnknown,
    ReauthenticationUnsupported,
    TooManyIdentities,
)
from chalicelib.baton.http.answer import status_and_error
from chalicelib.baton.http.dispatch import may_repeat
from chalicelib.baton.http.register import made
from chalicelib.baton.http.shapes import (
    AppleFile,
    Health,
    Jwks,
    Metadata,
    OpenIdMetadata,
    PasskeyEndpoints,
    ProtectedResource,
    RelatedOrigins,
    ServerTime,
)
from chalicelib.baton.keys.refusals import InvalidKey
from chalicelib.baton.mail.sessions import Started
from chalicelib.baton.policy import ATTEMPT_CHARACTERS_MAX, ATTEMPT_CHARACTERS_MIN
from chalicelib.baton.proof.refusals import (
    CallInProgress,
    CallOutcomeUnknown,
    ClockSkew,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    IdempotencyUnsupported,
    InvalidDigest,
    InvalidSignature,
)
from chalicelib.baton.routing import PAGE, Dialect, RouteSpec
from chalicelib.baton.tokens.call import SAFE_METHODS
from chalicelib.baton.tokens.issue import Seconds, TokenResponse
from chalicelib.baton.tokens.narrow import NarrowedResponse
from chalicelib.baton.tokens.refusals import (
    AttestationRequired,
    GrantInvalid,
    InsufficientAcr,
    InsufficientRole,
    InsufficientScope,
    InvalidClient,
    InvalidScope,
    InvalidTarget,
    ReplayedNonce,
    StepUpRequired,
    SubjectTokenInvalid,
    TokenExpired,
    TokenInvalid,
    TokenReused,
    UnauthorizedClient,
    UnknownClient,
    UnsupportedGrantType,
    UnsupportedResponseType,
)
from chalicelib.baton.tokens.shapes import Introspection
from tools.errors_page import leaves

ROOT = Path(__file__).parents[1]
DESCRIPTION = ROOT / "chalicelib" / "baton" / "http" / "openapi.json"

Json = dict[str, Any]

_ABOUT = """\
A login backend for apps. Decide by `code`. For a code that your app does not handle, do what `action` says.

**Signed calls.** A login that is bound to the key of a device, or to an issued HMAC secret, signs every call (RFC
9421). The signature has `tag="baton"` and the parameters `created`, `keyid` and `nonce`. It covers `@method`,
`@authority`, `@path` (as sent, with the prefix) and every query parameter as `@query-param`. If the request has a body,
the signature also covers `content-digest` (RFC 9530). If the request has the fields `authorization`, `idempotency-key`
or `baton-grant`, the signature covers them too. An unbound login sends its token without a signature.

**Attempts.** Store a random `Idempotency-Key` before you register, log in or exchange. Send the same value until you
get an answer: the same request with the same attempt gets the same answer.

**Time.** The header `Baton-Time` has the server's time. On `sync_clock`, set the offset of your clock from this header,
and sign again, once.
"""


class Problem(msgspec.Struct, kw_only=True):
    """Every error outside ``/oauth/*`` (RFC 9457). ``code`` is the reason, and ``action`` the client's next step."""

    type: str
    title: str
    status: int
    detail: str
    error: str
    code: str
    action: Action
    retryable: bool
    request_id: str
    server_time: Seconds
    pointer: Annotated[str, msgspec.Meta(description="The place in the body: a JSON Pointer (RFC 6901).")] = ""
    field: Annotated[str, msgspec.Meta(description="The name of the header, form field, member or parameter.")] = ""
    parameter: Annotated[str, msgspec.Meta(description="The name of the query parameter.")] = ""
    expected: Annotated[str, msgspec.Meta(description="The Content-Type that this route accepts.")] = ""
    limit: Annotated[int, msgspec.Meta(description="The limit, in bytes.")] = 0
    characters_min: Annotated[int, msgspec.Meta(description="The smallest number of characters of a password.")] = 0
    reason: Annotated[str, msgspec.Meta(description="Why a login ended.")] = ""
    resource_metadata: Annotated[
        str, msgspec.Meta(description="The URL of the metadata of this API as a protected resource (RFC 9728).")
    ] = ""
    auth_session: Annotated[str, msgspec.Meta(description="The unfinished login, for `/login/factor`.")] = ""
    expires_in: Annotated[int, msgspec.Meta(description="Seconds until `auth_session` expires.")] = 0
    factors: Annotated[list[str], msgspec.Meta(description="The factors to prove.")] = []
    instead: Annotated[
        list[str], msgspec.Meta(description="Other factors: one of them is enough, in place of all of `factors`.")
    ] = []
    enrol: Annotated[list[str], msgspec.Meta(description="The kinds of factors that can be enrolled.")] = []
    max_age: Annotated[int, msgspec.Meta(description="The maximum age of the step-up, in seconds (RFC 9470).")] = 0
    acr_values: Annotated[str, msgspec.Meta(description="The required level of the step-up (RFC 9470).")] = ""
    created: Annotated[int, msgspec.Meta(description="The parameter `created` of the signature.")] = 0
    window: Annotated[int, msgspec.Meta(description="How far `created` may be from the server's time, seconds.")] = 0
    missing: Annotated[list[str], msgspec.Meta(description="Components that the signature must cover and lacks.")] = []
    path: Annotated[str, msgspec.Meta(description="The path that the server received.")] = ""
    hint: Annotated[str, msgspec.Meta(description="What is wrong with the signature or the passkey.")] = ""
    credential_id: Annotated[str, msgspec.Meta(description="The passkey that is not registered, in base64url.")] = ""
    rp_id: Annotated[str, msgspec.Meta(description="The RP ID of the passkey that is not registered.")] = ""
    signature_base: Annotated[
        str, msgspec.Meta(description="The base that the server verified, with the digest of `authorization`.")
    ] = ""


class OAuthProblem(msgspec.Struct, kw_only=True):
    """Every error under ``/oauth/*``. ``error`` and ``error_description`` are those of RFC 6749 section 5.2.

    All other members have the same meaning as in a ``Problem``.
    """

    error: str
    error_description: str
    code: str
    action: Action
    retryable: bool
    request_id: str
    server_time: Seconds


class BegunEnrolment(msgspec.Struct, kw_only=True):
    """The enrolment of a factor, begun in a login: ``secret`` for an authenticator app, ``options`` for a passkey."""

    enrolment: str
    expires_in: int
    secret: Annotated[str, msgspec.Meta(description="The secret of an authenticator app, base32.")] = ""
    otpauth_uri: Annotated[str, msgspec.Meta(description="The URI of the app's secret, for a QR code.")] = ""
    options: Annotated[
        dict[str, Any], msgspec.Meta(description="The options of a passkey: `PublicKeyCredentialCreationOptionsJSON`.")
    ] = {}


PROBLEMS: Mapping[Dialect, type] = {Dialect.PROBLEM: Problem, Dialect.OAUTH: OAuthProblem}

# --- Possible refusals -------------------------------------------------------------------------------------------

Refusals = tuple[type[Refusal], ...]

READING: Refusals = (
    errors.Malformed,
    errors.FieldTooLarge,
    errors.DuplicateField,
    errors.UnknownParameter,
    errors.BodyTooLarge,
)
OURS: Refusals = (errors.Unavailable,)
FORM: Refusals = (errors.UnsupportedMediaType,)
JSON: Refusals = (errors.UnsupportedMediaType, errors.UnknownField, errors.WrongType)
SIGNATURE: Refusals = (*InvalidSignature.__subclasses__(), InvalidDigest, ClockSkew)
TOKEN: Refusals = (TokenExpired, errors.LoginRequired, TokenInvalid)
SITE: Refusals = (CrossSite, CookiesTooLarge)
BROWSER: Refusals = (*SITE, SessionSuperseded, DeviceProofRequired)
STEP_UP: Refusals = (StepUpRequired, GrantInvalid)
ASKED: Refusals = (FactorRequired, EnrolmentRequired, SecondFactorUnsupported)
SESSION: Refusals = (*JSON, *SIGNATURE, *SITE, InvalidSession)
ONCE: Refusals = (IdempotencyKeyRequired, IdempotencyKeyReused, CallInProgress, CallOutcomeUnknown)
STRENGTH: Refusals = (PasswordTooLarge, *WeakPassword.__subclasses__())
PASSWORD: Refusals = (PasswordTooLarge, InvalidCredentials, errors.TooManyRequests)
PASSKEY: Refusals = (InvalidPasskey, UnknownPasskey, ChallengeInvalid, errors.NotFound)
MAIL: Refusals = (errors.NotFound, errors.TooManyRequests, *OURS)
EVIDENCE: Refusals = (
    AttestationRequired,
    AttestationChallengeInvalid,
    AttestationFailed,
    AttestationFailedOnce,
)
ENTRY: Refusals = (
    *JSON,
    *SIGNATURE,
    *SITE,
    InvalidEmail,
    InvalidKey,
    UnknownClient,
    errors.Superseded,
    *EVIDENCE,
)

# --- Texts of Baton's routes -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """The description of a route. ``name`` is its ``operationId``."""

    name: str
    summary: str
    answers: Mapping[int, type | None]
    refusals: Refusals = OURS
    proof: bool = False
    """Whether the request may be signed, although the route needs no access token."""
    cached: bool = False
    """Whether a cache may keep the answers. Then they have no header ``Baton-Time``."""
    web: bool = False
    """Whether a cookie client gets the body `WebLogin`."""
    may_be_empty: bool = False
    """Whether an answer with a described body may also have no body."""
    fields: tuple[str, ...] = ()
    """Further header fields that the request has or may have."""
    other: type | None = None
    """A second body that a successful answer may have."""


ROWS: Mapping[tuple[str, str], Row] = {
    ("GET", "/time"): Row("getTime", "Return the server's time.", {200: ServerTime}, ()),
    ("GET", "/health"): Row("getHealth", "Report whether Baton can reach its database.", {200: Health}),
    ("GET", "/.well-known/jwks.json"): Row("getJwks", "Publish the keys that verify tokens.", {200: Jwks}, cached=True),
    ("GET", "/.well-known/oauth-authorization-server"): Row(
        "getMetadata", "Describe the authorization server (RFC 8414).", {200: Metadata}, (), cached=True
    ),
    ("GET", "/.well-known/openid-configuration"): Row(
        "getOpenidConfiguration",
        "Describe the authorization server at the path of OpenID clients.",
        {200: OpenIdMetadata},
        (),
        cached=True,
    ),
    ("GET", "/.well-known/oauth-protected-resource"): Row(
        "getProtectedResource",
        "Describe this API as a protected resource (RFC 9728).",
        {200: ProtectedResource},
        (),
        cached=True,
    ),
    **{
        ("GET", f"/.well-known/{name}"): Row(
            operation, f"Publish {what}.", {200: kind}, (errors.NotFound,), cached=True
        )
        for name, operation, what, kind in (
            ("apple-app-site-association", "getAppleAppSiteAssociation", "the iOS apps of this deployment", AppleFile),
            ("assetlinks.json", "getAssetLinks", "the Android apps of this deployment", list),
            ("webauthn", "getRelatedOrigins", "the related origins of the passkeys", RelatedOrigins),
            ("passkey-endpoints", "getPasskeyEndpoints", "the pages on which passkeys are managed", PasskeyEndpoints),
        )
    },
    ("GET", "/openapi.json"): Row("getDescription", "Return this description.", {200: dict}, (), cached=True),
    ("POST", "/register"): Row(
        "register",
        "Create an account and log in on this device. Sign the request with the key in its body, if any.",
        {201: TokenResponse},
        (
            *ENTRY,
            *STRENGTH,
            AccountExists,
            VerificationRequired,
            InvalidCode,
            *ASKED,
            errors.NotFound,
            errors.TooManyRequests,
            *OURS,
        ),
        proof=True,
        web=True,
    ),
    ("POST", "/login"): Row(
        "logIn",
        "Log in on this device. Sign the request with the key in its body, if any.",
        {200: TokenResponse},
        (*ENTRY, *PASSWORD, *ASKED, *OURS),
        proof=True,
        web=True,
    ),
    ("POST", "/login/factor"): Row(
        "proveFactor",
        "Finish a login: prove a second factor, or complete the enrolment of a factor. Sign with the key of the login.",
        {200: LoginTokens},
        (
            *SESSION,
            InvalidFactor,
            InvalidCode,
            *PASSKEY,
            PasskeyExists,
            TooManyPasskeys,
            FactorRequired,
            EnrolmentRequired,
            FactorExists,
            errors.NotFound,
            InvalidCredentials,
            errors.Superseded,
            errors.TooManyRequests,
            *OURS,
        ),
        proof=True,
        web=True,
    ),
    ("POST", "/login/enrol"): Row(
        "enrolAtLogin",
        "Begin the enrolment of a factor, for a login that must have one. Sign with the key of the login.",
        {200: BegunEnrolment},
        (*SESSION, FactorRequired, EnrolmentRequired, FactorExists, EmailUnverified, errors.NotFound, *OURS),
        proof=True,
    ),
    ("POST", "/login/federated"): Row(
        "logInFederated",
        "Log in, or sign up, with an id_token of an identity provider. Sign the request with the key in its body.",
        {200: TokenResponse, 201: TokenResponse},
        (
            *ENTRY,
            *ASKED,
            IdentityTokenInvalid,
            IdentityNotAllowed,
            IdentityUnknown,
            AccountDisabled,
            AccountExists,
            InvalidCredentials,
            errors.TooManyRequests,
            *OURS,
        ),
        proof=True,
    ),
    ("POST", "/federation/apple/notifications"): Row(
        "takeAppleNotice",
        "Receive a notice from Apple about a person: the server-to-server notification of Sign in with Apple.",
        {200: dict},
        (*JSON, InvalidDigest, errors.Unavailable),
    ),
    ("POST", "/attestation-challenge"): Row(
        "getAttestationChallenge",
        "Get a challenge for evidence of the app and its device. It can be used several times until it expires.",
        {200: ChallengeAnswer},
        (*JSON, UnknownClient, UnauthorizedClient),
    ),
    ("POST", "/attest"): Row(
        "attest",
        "Send evidence of the app and its device for an existing login: the first evidence, or newer evidence.",
        {200: AttestedAnswer},
        (*EVIDENCE, errors.NotFound, *OURS),
    ),
    ("POST", "/login/email-code"): Row(
        "sendLoginCode",
        "Send a code to the address of an account whose login must enrol a factor. Sign with the key of the login.",
        {202: CodeSent},
        (*SESSION, FactorRequired, errors.NotFound, errors.TooManyRequests, *OURS),
        proof=True,
    ),
    ("POST", "/login/factor/options"): Row(
        "getFactorOptions",
        "Get the options to prove a passkey in the second step of a login. Sign with the key of the login.",
        {200: PasskeyOptions},
        (*SESSION, errors.NotFound, *OURS),
        proof=True,
    ),
    ("POST", "/login/passkey/options"): Row(
        "getPasskeyLoginOptions",
        "Get the options to log in with any passkey. Sign the request with the key in its body, if any.",
        {200: PasskeyOptions},
        (*JSON, *SIGNATURE, InvalidKey, UnknownClient, errors.NotFound, *OURS),
        proof=True,
    ),
    ("POST", "/login/passkey"): Row(
        "logInWithPasskey",
        "Log in on this device with only a passkey. Sign the request with the key in its body, if any.",
        {200: TokenResponse},
        (
            *JSON,
            *SIGNATURE,
            InvalidKey,
            UnknownClient,
            errors.Superseded,
            *EVIDENCE,
            *PASSKEY,
            InvalidCredentials,
            errors.TooManyRequests,
            *OURS,
        ),
        proof=True,
        web=True,
    ),
    ("POST", "/login/restore/options"): Row(
        "getRestoreOptions",
        "Get the options to restore a login on this new phone. Sign the request with the new key in its body.",
        {200: PasskeyOptions},
        (*JSON, *SIGNATURE, InvalidKey, UnknownClient, RestoreRefused, errors.NotFound, *OURS),
        proof=True,
    ),
    ("POST", "/login/restore"): Row(
        "restoreLogin",
        "Restore a login on this new phone, with the restore key of the old phone. Sign with the new key in the body.",
        {200: TokenResponse},
        (
            *JSON,
            *SIGNATURE,
            InvalidKey,
            UnknownClient,
            errors.Superseded,
            *EVIDENCE,
            *PASSKEY,
            RestoreRefused,
            InvalidCredentials,
            errors.TooManyRequests,
            *OURS,
        ),
        proof=True,
    ),
    ("POST", "/me/restore-key/options"): Row(
        "getRestoreKeyOptions",
        "Get the options to make a restore key, within 5 minutes after a login or after a step-up.",
        {200: PasskeyOptions},
        (RestoreRefused, errors.NotFound, *OURS),
    ),
    ("PUT", "/me/restore-key"): Row(
        "keepRestoreKey",
        "Store the restore key that the platform made. It replaces an earlier restore key of this device.",
        {204: None},
        (InvalidPasskey, ChallengeInvalid, RestoreRefused, errors.NotFound, *OURS),
    ),
    ("DELETE", "/me/restore-key"): Row(
        "removeRestoreKey", "Delete the restore key of this device.", {204: None}, (RestoreRefused, *OURS)
    ),
    ("POST", "/me/passkeys/options"): Row(
        "getPasskeyOptions",
        "Get the options to register a passkey.",
        {200: PasskeyOptions},
        (errors.NotFound, EmailUnverified, TooManyPasskeys, *OURS),
    ),
    ("POST", "/me/passkeys/upgrade-options"): Row(
        "getPasskeyUpgradeOptions",
        "Get the options to add a passkey without asking the person, within 5 minutes after a login by password.",
        {200: PasskeyOptions},
        (errors.NotFound, EmailUnverified, TooManyPasskeys, StepUpRequired, *OURS),
    ),
    ("GET", "/me/identities"): Row(
        "listIdentities", "List the identities of the account at providers.", {200: ShownIdentities}, OURS
    ),
    ("POST", "/me/identities"): Row(
        "linkIdentity",
        "Link an identity of a provider. 200 if the account has it already. Send `Idempotency-Key`: the attempt in the "
        "nonce of the id_token.",
        {200: ShownIdentity, 201: ShownIdentity},
        (
            IdentityTokenInvalid,
            IdentityNotAllowed,
            IdentityOfOthers,
            TooManyIdentities,
            errors.TooManyRequests,
            *OURS,
        ),
    ),
    ("DELETE", "/me/identities/{provider}"): Row(
        "unlinkIdentity",
        "Unlink the identity of a provider, and end every other login.",
        {204: None},
        (errors.NotFound, LastCredential, *OURS),
    ),
    ("GET", "/me/passkeys"): Row(
        "listPasskeys", "List the passkeys of the account.", {200: ShownPasskeys}, (errors.NotFound, *OURS)
    ),
    ("POST", "/me/passkeys"): Row(
        "addPasskey",
        "Add the passkey that the platform registered. A repetition gets the same answer.",
        {201: NewPasskey},
        (InvalidPasskey, ChallengeInvalid, PasskeyExists, TooManyPasskeys, errors.NotFound, *OURS),
    ),
    ("PATCH", "/me/passkeys/{passkey_id}"): Row(
        "renamePasskey", "Name a passkey.", {204: None}, (errors.NotFound, *OURS)
    ),
    ("DELETE", "/me/passkeys/{passkey_id}"): Row(
        "removePasskey", "Remove a passkey.", {204: None}, (errors.NotFound, LastCredential, *OURS)
    ),
    ("GET", "/me/factors"): Row("getFactors", "Show the second factors of the account.", {200: FactorsShown}),
    ("PUT", "/me/second-factor"): Row(
        "switchSecondFactor",
        "Turn the second factor at each login on or off.",
        {200: NewRecoveryCodes},
        (FactorMissing, SecondFactorRequired, *OURS),
    ),
    ("POST", "/me/factors/totp"): Row(
        "beginTotp",
        "Make the secret of an authenticator app. Nothing is stored before the first code is confirmed.",
        {200: TotpEnrolment},
        (EmailUnverified, FactorExists, *OURS),
    ),
    ("DELETE", "/me/factors/totp"): Row(
        "removeTotp", "Remove the authenticator app.", {204: None}, (errors.NotFound, *OURS)
    ),
    ("POST", "/me/factors/totp/confirm"): Row(
        "confirmTotp",
        "Enrol the authenticator app with its first code. From then on, logins require a second factor.",
        {200: NewRecoveryCodes},
        (InvalidSession, InvalidFactor, EmailUnverified, FactorExists, *OURS),
    ),
    ("POST", "/me/factors/recovery-codes"): Row(
        "renewRecoveryCodes",
        "Replace the recovery codes. The new codes are shown once.",
        {200: NewRecoveryCodes},
        (FactorMissing, *OURS),
    ),
    ("POST", "/oauth/token"): Row(
        "exchangeToken",
        "Exchange a token for the next token, or for a narrowed token (RFC 8693). A bound login must sign.",
        {200: TokenResponse},
        (
            *FORM,
            *SIGNATURE,
            UnsupportedGrantType,
            UnknownClient,
            UnauthorizedClient,
            InvalidScope,
            InvalidTarget,
            SubjectTokenInvalid,
            TokenInvalid,
            errors.LoginRequired,
            TokenReused,
            errors.Superseded,
            *OURS,
        ),
        proof=True,
        other=NarrowedResponse,
    ),
    ("POST", "/oauth/revoke"): Row(
        "revokeToken",
        "End the login of a token (RFC 7009). A bound login must sign. An invalid token is no error.",
        {200: None},
        (*FORM, *SIGNATURE, UnknownClient, UnauthorizedClient, TokenInvalid, *OURS),
        proof=True,
    ),
    ("POST", "/oauth/introspect"): Row(
        "introspectToken",
        "Introspect a token for a resource server (RFC 7662).",
        {200: Introspection},
        (*FORM, InvalidClient, *OURS),
    ),
    ("GET", "/oauth/authorize"): Row(
        "refuseAuthorization",
        "Refuse an authorization request: Baton has no login page. It never redirects, and ignores the query.",
        {},
        (UnsupportedResponseType,),
    ),
    ("POST", "/oauth/authorize"): Row(
        "refuseAuthorizationForm",
        "Refuse an authorization request that is sent as a form.",
        {},
        (UnsupportedResponseType,),
    ),
    ("POST", "/step-up"): Row(
        "stepUp",
        "Prove factors again for one exact operation (RFC 9470), and get a grant for it.",
        {200: Grant},
        (
            *PASSWORD,
            InvalidFactor,
            *PASSKEY,
            IdentityTokenInvalid,
            IdentityNotAllowed,
            ReauthenticationUnsupported,
            *OURS,
        ),
    ),
    ("POST", "/step-up/options"): Row(
        "getStepUpOptions",
        "Get the options to prove a passkey for one exact operation.",
        {200: PasskeyOptions},
        (errors.NotFound, *OURS),
    ),
    ("GET", "/session"): Row(
        "getSession",
        "Show whether this browser is logged in, by its cookies.",
        {200: ShownSession},
        (*SITE, DeviceProofRequired, *OURS),
    ),
    ("POST", "/session/bind"): Row(
        "bindBrowser",
        "Bind the cookies of a login to the key of its browser (DBSC). The browser itself sends this request.",
        {200: Instructions},
        (ProofInvalid, *OURS),
        fields=("Secure-Session-Response",),
    ),
    ("POST", "/session/proof"): Row(
        "renewBrowserProof",
        "Renew the proof of the browser's key (DBSC). 403 has the challenge to sign. The browser itself sends this.",
        {200: Instructions, 403: None},
        (ProofInvalid, *OURS),
        may_be_empty=True,
        fields=("Sec-Secure-Session-Id", "Secure-Session-Response"),
    ),
    ("POST", "/session/handover"): Row(
        "handOver",
        "Get a code with which a browser takes over this login: for one minute and one use.",
        {200: HandoverCode},
        (UnknownClient, NextInvalid, InsufficientAcr, *OURS),
    ),
    ("GET", "/session/open"): Row(
        "openBrowser",
        "Open the page that redeems the code in its fragment. With the header `Baton-Handover`, log in immediately.",
        {200: str, 303: None},
        (HandoverInvalid, InsufficientAcr, errors.TooManyRequests, *SITE, *OURS),
        fields=("Baton-Handover",),
    ),
    ("POST", "/session/redeem"): Row(
        "redeemCode",
        "Show the account of the code, or log this browser in with the code. Send an attempt with `confirm`.",
        {200: Redeemed},
        (*JSON, HandoverInvalid, InsufficientAcr, InvalidDigest, errors.TooManyRequests, *SITE, *OURS),
        fields=("Idempotency-Key",),
    ),
    ("POST", "/logout"): Row(
        "logOut",
        "End this login, or every login of the account.",
        {204: None},
    ),
    ("GET", "/me"): Row("getAccount", "Show the account.", {200: Profile}),
    ("GET", "/me/activity"): Row(
        "listActivity",
        "List the events of the account, the newest first, 50 a page.",
        {200: Activity},
        (errors.WrongType, *OURS),
    ),
    ("GET", "/me/export"): Row(
        "exportAccount", "Export everything that is stored about the account. It contains no secret.", {200: Export}
    ),
    ("DELETE", "/me"): Row(
        "deleteAccount", "Delete the account. Its e-mail address can be registered again.", {204: None}
    ),
    ("POST", "/me/password"): Row(
        "changePassword", "Change the password. Every other login ends.", {204: None}, (*STRENGTH, *OURS)
    ),
    ("POST", "/register/start"): Row(
        "startRegistration",
        "Send a code to an address, for a registration with it. Sign the request with the key in its body, if any.",
        {202: Started},
        (*MAIL, *SIGNATURE, *JSON, InvalidEmail, InvalidKey, UnknownClient),
        proof=True,
    ),
    ("POST", "/password/forgot"): Row(
        "forgotPassword",
        "Send a code to an address, if an account has it. Sign the request with the key in its body, if any.",
        {202: Started},
        (*MAIL, *SIGNATURE, *JSON, InvalidEmail, InvalidKey, UnknownClient),
        proof=True,
    ),
    ("POST", "/password/reset"): Row(
        "resetPassword",
        "Set a new password with the code or the link of a mail. Every login of the account ends. With a code, sign "
        "with the key that requested it.",
        {204: None},
        (*MAIL, *SIGNATURE, *JSON, *STRENGTH, InvalidCode),
        proof=True,
    ),
    ("POST", "/me/email/code"): Row(
        "requestAddressCode", "Send a code to the address of the account.", {202: Started}, (*MAIL, InvalidEmail)
    ),
    ("POST", "/me/email/verify"): Row(
        "verifyAddress",
        "Prove the address of the account with the code or the link of a mail.",
        {204: None},
        (*MAIL, InvalidCode),
    ),
    ("POST", "/me/email"): Row(
        "requestNewAddress",
        "Send a code to the new address of the account. The code is sent even if another account has this address.",
        {202: Started},
        (*MAIL, *OURS, InvalidEmail),
    ),
    ("POST", "/me/email/confirm"): Row(
        "confirmNewAddress",
        "Change the address with the code of the new mailbox. No login ends. The old address is kept for 7 days.",
        {204: None},
        (*MAIL, InvalidCode, AccountExists),
    ),
    ("GET", "/mail/action"): Row(
        "showMailAction",
        "The page that a link of a mail opens: an undo, or the deletion of an account. The page changes nothing.",
        {200: str},
        (errors.NotFound,),
    ),
    ("POST", "/mail/undo"): Row(
        "undoChanges",
        "Undo changes of an account with the link of a notice. Every login of the account ends.",
        {204: None},
        (*JSON, InvalidDigest, InvalidCode, errors.NotFound),
    ),
    ("POST", "/mail/not-me"): Row(
        "deleteUnprovedAccount",
        "Delete an account that a stranger registered, with the link of its verification mail.",
        {204: None},
        (*JSON, InvalidDigest, InvalidCode, errors.NotFound),
    ),
    ("GET", "/me/devices"): Row("listDevices", "List the account's logins, active and ended.", {200: Devices}),
    ("DELETE", "/me/devices/{device_id}"): Row(
        "endDevice", "End one login of the account.", {204: None}, (errors.NotFound, *OURS)
    ),
}

_PARAMETERS: Mapping[str, Json] = {
    "Signature-Input": {
        "description": "The components of the signature (RFC 9421). Only a bound login sends this header.",
        "schema": {"type": "string"},
        "example": 'baton=("@method" "@authority" "@path" "authorization");created=1767225600;keyid="<thumbprint of '
        'the key, or key_id>";nonce="<fresh>";tag="baton"',
    },
    "Signature": {
        "description": "The signature (RFC 9421): 64 raw bytes of ECDSA P-256 or Ed25519, or an HMAC-SHA256.",
        "schema": {"type": "string"},
        "example": "baton=:<base64>:",
    },
    "Content-Digest": {
        "description": "The digest of the body (RFC 9530). The signature must cover it if there is a body.",
        "schema": {"type": "string"},
        "example": "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    },
    "Idempotency-Key": {
        "description": "The attempt: a random value. Store it before the request, and send it with each retry.",
        "schema": {
            "type": "string",
            "pattern": rf'^("[!#-\[\]-~]{{{ATTEMPT_CHARACTERS_MIN},{ATTEMPT_CHARACTERS_MAX}}}"|'
            rf"[!#-\[\]-~]{{{ATTEMPT_CHARACTERS_MIN},{ATTEMPT_CHARACTERS_MAX}}})$",
        },
    },
    "Baton-Handover": {
        "description": "The code of `POST /session/handover`, at the first request of an embedded view.",
        "schema": {"type": "string"},
    },
    "Sec-Secure-Session-Id": {
        "description": "The `session_identifier` of the binding (DBSC).",
        "schema": {"type": "string"},
    },
    "Secure-Session-Response": {
        "description": "The proof of the browser's key: a JWT with `typ` `dbsc+jwt` and `alg` ES256 (DBSC).",
        "schema": {"type": "string", "maxLength": 2048},
    },
    "Baton-Grant": {
        "description": "The grant of `POST /step-up` for exactly this request. Without it: `step_up_required`.",
        "schema": {"type": "string"},
    },
}
_HEADERS: Mapping[str, Json] = {
    "Baton-Time": {"description": "The server's time, seconds since the epoch.", "schema": {"type": "integer"}},
    "Baton-Request-Id": {"description": "The id of the request. Quote it in a report.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}
_SECURITY: Json = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token whose `token_use` is `access` or `both`. A bound login must also sign its calls.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-baton",
        "description": "The session of a browser, for clients that deliver cookies. The site of the page is checked.",
    },
    "resource_server": {"type": "http", "scheme": "basic", "description": "The id and secret of a resource server."},
}
_TAGS = {
    "accounts": "Accounts and their logins",
    "oauth": "OAuth 2.0, for standard clients and servers",
    "meta": "Public information about the deployment",
    "app": "This deployment's own routes",
}
_TAG_OF_PACKAGE = {
    **dict.fromkeys(("accounts", "browser", "factors", "mail"), "accounts"),
    "tokens": "oauth",
    "http": "meta",
}


# --- The document ------------------------------------------------------------------------------------------------


def describe(app: Chalice) -> Json:
    """Return the OpenAPI description of every route of an application, except for the ``OPTIONS`` routes of CORS."""
    shapes = _Shapes()
    paths: dict[str, Json] = {}
    for path, method, view in sorted(_routes(app), key=lambda route: (route[0], route[1])):
        paths.setdefault(path, {})[method.lower()] = _operation(path, method, view, shapes)
    tags = {operation["tags"][0] for item in paths.values() for operation in item.values()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Baton",
            "version": __version__,
            "summary": "A login backend for mobile apps",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [
            {
                "url": "https://{host}/{stage}",
                "description": "The issuer. `GET /openapi.json` returns the URL of its deployment.",
                "variables": {"host": {"default": "api.example.com"}, "stage": {"default": "api"}},
            }
        ],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items() if name in tags],
        "paths": paths,
        "components": {
            "schemas": shapes.schemas(),
            "parameters": {
                name: {"name": name, "in": "header", "required": False, **words} for name, words in _PARAMETERS.items()
            },
            "headers": {name: {"required": True, **words} for name, words in _HEADERS.items()},
            "securitySchemes": _SECURITY,
        },
    }


def render(app: Chalice) -> str:
    """Return the OpenAPI description of an application as JSON text."""
    return json.dumps(describe(app), indent=1, ensure_ascii=False) + "\n"


class _Shapes:
    """The structs that the description refers to. `reference` adds a struct."""

    def __init__(self) -> None:
        self._types: dict[str, type] = {shape.__name__: shape for shape in PROBLEMS.values()}

    def reference(self, shape: type) -> Json:
        """Return a reference to a struct. For ``dict`` and ``list``, return a general schema."""
        if shape is dict:
            return {"type": "object"}
        if shape is list:
            return {"type": "array", "items": {"type": "object"}}
        known = self._types.setdefault(shape.__name__, shape)
        if known is not shape:
            raise ValueError(f"two shapes are called {shape.__name__}")
        return {"$ref": f"#/components/schemas/{shape.__name__}"}

    def schemas(self) -> Json:
        """Return the schemas of all referenced structs and of their members."""
        _, schemas = msgspec.json.schema_components(self._types.values(), ref_template="#/components/schemas/{name}")
        for schema in schemas.values():
            _tidy(schema)
        codes = sorted({leaf.code for leaf in leaves()})
        for shape in PROBLEMS.values():
            members = schemas[shape.__name__]["properties"]
            members["code"] |= {
                "description": "Stable. Later versions may add codes. For an unknown code, do what `action` says.",
                "x-extensible-enum": codes,
            }
            for member in members.values():
                member.pop("default", None)  # an absent member does not mean the default
        return dict(sorted(schemas.items()))


def _tidy(schema: Json) -> None:
    """Add the type of enumerations, which client generators need, and format docstrings as Markdown."""
    if "enum" in schema:
        schema.setdefault("type", "string")
    if "description" in schema:
        schema["description"] = inspect.cleandoc(schema["description"]).replace("``", "`")
    if schema.get("required") == []:
        del schema["required"]
    for part in [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), schema.get("items")]:
        if isinstance(part, dict):
            _tidy(part)


def _routes(app: Chalice) -> Iterator[tuple[str, str, Any]]:
    for path, methods in app.routes.items():
        for method, entry in methods.items():
            if method != "OPTIONS":
                yield path, method, made(entry.view_function)


def _operation(path: str, method: str, view: Any, shapes: _Shapes) -> Json:  # noqa: ANN401 - any function
    spec: RouteSpec = vars(view).get("spec", _PLAIN)
    row = _head(ROWS[("GET", path)]) if method == "HEAD" and ("GET", path) in ROWS else ROWS.get((method, path))
    ours, row = row is not None, row or _derived(view, spec)
    described: Json = {
        "operationId": row.name,
        "tags": [_tag(view)],
        "summary": row.summary,
    }
    if spec.step_up:
        described["description"] = (
            f"Requires a step-up of {_level(spec)}, at most {spec.step_up.max_age} seconds old: "
            "`POST /step-up`, then send its grant as `Baton-Grant`."
        )
    elif spec.may_step_up:
        where = f"{spec.may_step_up[0].upper()}{spec.may_step_up[1:]}"
        described["description"] = (
            f"{where}, requires a step-up: `POST /step-up`, then send its grant as `Baton-Grant`."
        )
    described["parameters"] = list(_parameters(path, row, spec, ours=ours))
    body = spec.body or spec.form
    if body is not None:
        media_type = "application/x-www-form-urlencoded" if spec.form else "application/json"
        described["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(body)),
            "content": {media_type: {"schema": shapes.reference(body)}},
        }
    described["responses"] = {
        **{
            str(status): _answer(shape, shapes, cached=row.cached, other=WebLogin if row.web else row.other)
            for status, shape in row.answers.items()
        },
        **_refused(_refusals(method, row, spec, ours=ours), spec.dialect, shapes, page=spec.page),
        **({} if ours else _unforeseen(row, spec.dialect, shapes)),
    }
    if row.may_be_empty:
        for status in row.answers:
            described["responses"][str(status)]["x-may-be-empty"] = True
    if method == "HEAD":  # no answer has a body (RFC 9110 section 9.3.2)
        for answer in described["responses"].values():
            answer.pop("content", None)
            answer.pop("x-codes", None)
    if spec.signed:
        described["security"] = [{"token": []}] if spec.bound else [{"token": []}, {"cookie": []}]
    elif path == "/oauth/introspect":
        described["security"] = [{"resource_server": []}]
    return described


_PLAIN = RouteSpec(signed=False)
"""A route that was not made by Baton's decorators, so its requirements are unknown."""


def _head(row: Row) -> Row:
    """Describe HEAD as GET, without the body."""
    return dataclasses.replace(
        row,
        name=f"head{row.name.removeprefix('get')}",
        summary=f"{row.summary.removesuffix('.')}: only the header fields.",
        answers=dict.fromkeys(row.answers),
    )


def _derived(view: Any, spec: RouteSpec) -> Row:  # noqa: ANN401 - any function
    """Describe a route of the team by its decorator and its docstring."""
    first, *others = view.__name__.split("_")
    name = first + "".join(word.title() for word in others)
    summary = (inspect.getdoc(view) or view.__name__.replace("_", " ")).split("\n\n")[0].replace("\n", " ")
    return Row(name, summary, dict(spec.answers))


def _tag(view: Any) -> str:  # noqa: ANN401 - any function
    return _TAG_OF_PACKAGE.get(view.__module__.removeprefix("chalicelib.baton.").partition(".")[0], "app")


def _parameters(path: str, row: Row, spec: RouteSpec, *, ours: bool) -> Iterator[Json]:
    for segment in path.split("/"):
        if segment.startswith("{"):
            yield {"name": segment[1:-1], "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    yield from _query_parameters(spec)
    wanted: list[str] = []
    if spec.signed or row.proof:
        wanted += ["Signature-Input", "Signature"]
        if spec.body or spec.form:
            wanted.append("Content-Digest")
    if row.proof or spec.once:
        wanted.append("Idempotency-Key")
    if _may_step_up(spec, ours=ours):
        wanted.append("Baton-Grant")
    for name in (*wanted, *row.fields):
        yield _header(name, spec)


def _query_parameters(spec: RouteSpec) -> Iterator[Json]:
    if spec.query is None:
        return
    schema = msgspec.json.schema(spec.query, ref_template="#/components/schemas/{name}")["$defs"][spec.query.__name__]
    for name, described in schema["properties"].items():
        yield {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": described}


def _level(spec: RouteSpec) -> str:
    """Describe the lowest level (``acr``) that a route accepts for a step-up. Empty: the route needs no step-up."""
    if spec.step_up is None or spec.step_up.acr != "account":
        return spec.step_up.acr if spec.step_up else ""
    level = "aal2 if logins of the account require a second factor, otherwise aal1"
    return f"{level} (aal1 within 15 minutes of a login by recovery code)" if spec.after_recovery else level


def _may_step_up(spec: RouteSpec, *, ours: bool) -> bool:
    """Decide whether a route can require a step-up. Any signed view of a team may call ``require_step_up``."""
    return bool(spec.step_up or spec.may_step_up or (not ours and spec.signed and spec.query is None))


def _header(name: str, spec: RouteSpec) -> Json:
    """Describe a request header, by reference if every route has the same description."""
    if spec.bound and name.startswith("Signature"):
        return {"name": name, "in": "header", "required": True, **_PARAMETERS[name]}
    if spec.once and name == "Idempotency-Key":
        words = "The key of this operation: random, stored before it is sent, the same for every repetition."
        return {"name": name, "in": "header", "required": True, **_PARAMETERS[name], "description": words}
    if spec.may_step_up and name == "Baton-Grant":
        words = f"{_PARAMETERS[name]['description']} Needed only {spec.may_step_up}."
        return {"name": name, "in": "header", "required": False, **_PARAMETERS[name], "description": words}
    return {"$ref": f"#/components/parameters/{name}"}


def _refusals(method: str, row: Row, spec: RouteSpec, *, ours: bool) -> Refusals:
    refusals = [*READING, errors.ServerError if may_repeat(method, spec) else errors.OutcomeUnclear, *row.refusals]
    if spec.signed:
        refusals += [*TOKEN, *BROWSER, *SIGNATURE, *JSON, *(STEP_UP if _may_step_up(spec, ours=ours) else ())]
        refusals += [InsufficientScope] if spec.scope else []
        refusals += [InsufficientRole] if spec.roles else []
        refusals += [InsufficientAcr] if spec.acr else []
        refusals += [AttestationRequired] if spec.attested else []
    if spec.once:
        refusals += ONCE
    elif method not in SAFE_METHODS:
        refusals += [ReplayedNonce] if spec.signed else []
        refusals += [] if spec.takes_attempt or spec.repeatable else [IdempotencyUnsupported]
    return tuple(dict.fromkeys(refusals))


def _answer(shape: type | None, shapes: _Shapes, *, cached: bool = False, other: type | None = None) -> Json:
    headers = _header_references(*(() if cached else ("Baton-Time",)), "Baton-Request-Id")
    if shape is None:
        return {"description": "Done.", "headers": headers}
    if shape is str:
        return {"description": "A page.", "headers": headers, "content": {PAGE: {"schema": {"type": "string"}}}}
    plain: Mapping[type, str] = {dict: "This description.", list: "The statements of Digital Asset Links."}
    words = plain.get(shape) or inspect.cleandoc(shape.__doc__ or "Done.").split("\n")[0]
    return {
        "description": words.replace("``", "`"),
        "headers": headers,
        "content": {
            "application/json": {"schema": _either(shape, other, shapes) if other else shapes.reference(shape)}
        },
    }


def _either(shape: type, other: type, shapes: _Shapes) -> Json:
    return {"anyOf": [shapes.reference(shape), shapes.reference(other)]}


def _refused(refusals: Iterable[type[Refusal]], dialect: Dialect, shapes: _Shapes, *, page: bool = False) -> Json:
    """Group errors by their status. ``x-codes`` lists each code with its action."""
    codes: dict[int, dict[str, str]] = {}
    waits: set[int] = set()
    for refusal in refusals:
        said = refusal()
        status, _ = status_and_error(said, dialect)
        of_status = codes.setdefault(status, {})
        actions = {*of_status.get(said.code, said.action).split(" or "), said.action}  # the action can vary by reason
        of_status[said.code] = " or ".join(sorted(actions))
        if refusal in {errors.Unavailable, errors.TooManyRequests, CallInProgress}:
            waits.add(status)
    return {
        str(status): {
            "description": ", ".join(f"`{code}` ({action})" for code, action in sorted(codes[status].items())),
            "headers": _header_references(
                "Baton-Time", "Baton-Request-Id", *(("Retry-After",) if status in waits else ())
            ),
            "content": {
                dialect.value: {"schema": shapes.reference(PROBLEMS[dialect])},
                **({PAGE: {"schema": {"type": "string"}}} if page else {}),
            },
            "x-codes": dict(sorted(codes[status].items())),
        }
        for status in sorted(codes)
    }


def _unforeseen(row: Row, dialect: Dialect, shapes: _Shapes) -> Json:
    """Describe the answers of a team's route in general terms: only the code of the route determines the answers."""
    headers = _header_references("Baton-Time", "Baton-Request-Id")
    refused = {dialect.value: {"schema": shapes.reference(PROBLEMS[dialect])}}
    told = {} if row.answers else {"2XX": {"description": "Anything.", "headers": headers}}
    return {**told, "4XX": {"description": "A refusal of the route itself.", "headers": headers, "content": refused}}


def _header_references(*names: str) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def current() -> str:
    """Return the text of ``openapi.json`` for the application in this tree.

    Every deployment has the same routes, so fixed settings are enough.
    """
    from tools.dev.gateway import load_environment  # noqa: PLC0415 - after the settings

    settings = {"DEVELOPMENT": "1", "ISSUER": "https://api.example.com/api", "KEY_RING": "local", "TABLE_PREFIX": "x"}
    os.environ.update({f"BATON_{name}": value for name, value in settings.items()})
    return render(load_environment().app)


def main() -> None:
    """Write ``chalicelib/baton/http/openapi.json``."""
    DESCRIPTION.write_text(current(), encoding="utf-8")
    print(f"{DESCRIPTION.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
