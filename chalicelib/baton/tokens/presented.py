"""Verify the token and signature of a request, and read its attempt. The only store that it reads is the key ring."""

import re

from msgspec import Struct

from chalicelib.baton import errors
from chalicelib.baton.effects import Entropy
from chalicelib.baton.events.ports import Log
from chalicelib.baton.ids import LineageId, Secret
from chalicelib.baton.keys.ports import KeyRing
from chalicelib.baton.keys.public_key import PublicKey
from chalicelib.baton.keys.refusals import InvalidKey
from chalicelib.baton.keys.ring import Ring
from chalicelib.baton.lineages.clients import Client, Clients
from chalicelib.baton.lineages.model import NO_ATTEMPT, KeyBinding, NoBinding, PresentedToken, SecretBinding
from chalicelib.baton.lineages.rules import attempt_digest
from chalicelib.baton.policy import (
    ATTEMPT_CHARACTERS_MAX,
    ATTEMPT_CHARACTERS_MIN,
    ISSUED_AHEAD_MAX_S,
    MISMATCH_TOLD_EVERY_S,
    SIGNATURE_WINDOW_S,
    TOKEN_BYTES_MAX,
)
from chalicelib.baton.proof.refusals import SignatureRequired, WrongKey
from chalicelib.baton.proof.signature import VerifiedSignature, check_digest, verify_signature, verify_target
from chalicelib.baton.proof.signature_input import HTTPSIG, defective, read_signature, signature_missing
from chalicelib.baton.routing import Message
from chalicelib.baton.tokens import token as tokens
from chalicelib.baton.tokens.jwt import read_jwt
from chalicelib.baton.tokens.opaque import OPAQUE_PREFIX, read_opaque
from chalicelib.baton.tokens.refusals import TokenInvalid, UnauthorizedClient, UnknownClient
from chalicelib.baton.tokens.token import ConfigurationMismatch, KnownTokens, Names, Token


class VerifiedToken(Struct, frozen=True):
    """A verified token, its client, and the key ring that verified it.

    The checks of this token's login use the not-before time of this ring. New tokens of the login are made with
    the keys of this ring.
    """

    token: Token
    client: Client
    ring: Ring

    def check_in_service(self) -> None:
        """Refuse a token (E4, exchange.md) if its client is out of service: ``retired = true`` in the registry."""
        if self.client.retired:
            raise errors.LoginRequired("the client of the login is out of service")

    def presented(self, attempt: str = "") -> PresentedToken:
        """Return the facts that the rules compare with the account state."""
        return PresentedToken(
            account=self.token.account,
            lineage=self.token.lineage,
            generation=self.token.generation,
            issued_at=self.token.issued_at,
            client=self.token.client,
            binding=self.token.binding,
            attempt=attempt_digest(attempt) if attempt else NO_ATTEMPT,
        )


class Mismatches:
    """Report genuine tokens whose issuer, audience or client is not in this configuration, at most once a minute.

    The limit is necessary because a client can send such a token many times.
    """

    def __init__(self, log: Log) -> None:
        """Report to ``log``. Each execution environment of Lambda has one ``Mismatches``."""
        self._log = log
        self._told_at: int | None = None

    def report(self, mismatch: ConfigurationMismatch, *, now: int) -> None:
        """Record the event ``configuration_mismatch``, unless it was recorded within the last minute."""
        if self._told_at is None or not 0 <= now - self._told_at < MISMATCH_TOLD_EVERY_S:
            self._told_at = now
            self._log.record("configuration_mismatch", reason=mismatch.what)


class RequestVerifier(Struct, frozen=True, kw_only=True):
    """Verify tokens with the key ring, and signatures with a device key or an HMAC secret."""

    key_ring: KeyRing
    clients: Clients
    names: Names
    authorities: frozenset[str]
    mismatches: Mismatches
    known: KnownTokens
    development: bool = False
    """Whether errors list the accepted hosts."""

    def token(self, text: str, *, now: int, cookie: bool = False) -> VerifiedToken:
        """Verify a token and find its client. ``cookie``: the token came in a cookie.

        The token of a cookie client is valid only in a cookie, and every other token only in a header or body.
        Otherwise a thief could send a stolen cookie as a header, and so avoid the checks of browser requests.

        Raises:
            FieldTooLarge: the token is longer than 8 KB.
            TokenInvalid: Baton did not issue the token, or the rule about cookies refuses it.
            ConfigurationMismatch: the issuer, audience or client of the token is not in this configuration (E1b).
            Unavailable: the ``iat`` of the token is more than a minute in the future.

        """
        try:
            proved = self._token(text, now=now)
        except ConfigurationMismatch as mismatch:
            self.mismatches.report(mismatch, now=now)
            raise
        if proved.token.issued_at > now + ISSUED_AHEAD_MAX_S:
            raise errors.Unavailable("a genuine token from the future: the clocks of this deployment disagree")
        if cookie != (proved.client.delivery == "cookie"):
            raise TokenInvalid("a token of a cookie outside a cookie, or the reverse")
        return proved

    def _token(self, text: str, *, now: int) -> VerifiedToken:
        ring = self.key_ring.current(now=now)
        try:
            token = self._read(text, ring)
        except tokens.UnknownKey:
            ring = self.key_ring.refreshed(now=now)
            token = self._read(text, ring)
        client = self.clients.of(token.client)
        if client is None:
            raise ConfigurationMismatch("client")
        return VerifiedToken(token, client, ring)

    def _read(self, text: str, ring: Ring) -> Token:
        if text.startswith(OPAQUE_PREFIX) or len(text) > TOKEN_BYTES_MAX or not text.isascii():
            return read_token(text, ring=ring, names=self.names, clients=self.clients)
        token = self.known.find(text, ring)
        if token is None:
            token = read_token(text, ring=ring, names=self.names, clients=self.clients)
            self.known.add(text, token, ring)
        return token

    def token_of(self, client_id: str | None, text: str, *, now: int) -> VerifiedToken:
        """Verify a token. ``client_id`` is the id that came with the token, if any (RFC 6749 section 3.2.1).

        A wrong id does not raise ``TokenInvalid``, because standard OAuth clients delete the session after this error.

        Raises:
            ConfigurationMismatch: as in ``token`` (E1b). This error takes precedence over ``UnknownClient``.
            UnknownClient: no client has this id. This error takes precedence over ``TokenInvalid``.
            TokenInvalid, FieldTooLarge, Unavailable: as in ``token``.
            UnauthorizedClient: the token is of another client.

        """
        unknown = client_id is not None and self.clients.get(client_id) is None
        try:
            proved = self.token(text, now=now)
        except TokenInvalid:
            if unknown:
                raise UnknownClient from None
            raise
        if unknown:
            raise UnknownClient
        if client_id is not None and client_id != proved.client.id:
            raise UnauthorizedClient(
                "issued to another client", detail="The token was issued to another client than client_id names."
            )
        return proved

    def signature(self, message: Message, proved: VerifiedToken, *, now: int) -> VerifiedSignature | None:
        """Verify the signature of a request with a bound token.

        For an unbound token, check only ``Content-Digest``, if it is present, and return ``None``.
        """
        if isinstance(proved.token.binding, NoBinding):
            check_digest(message)
            return None
        key, keyid = self._key_of(message, proved, now=now)
        return self._verify(message, key, keyid, now=now)

    def call_signature(
        self, message: Message, proved: VerifiedToken, *, httpsig: bool, now: int
    ) -> VerifiedSignature | None:
        """Verify the signature of a call. ``httpsig``: the token came as ``Authorization: HTTPSig``.

        With ``httpsig``, a signature with the tag ``httpsig-oauth`` is required. If the call also has a signature with
        the tag ``baton``, both must verify and have the same nonce: Baton consumes only one nonce per call. Without
        ``httpsig``, the tag ``httpsig-oauth`` is refused, and the call is verified as in `signature`.
        """
        if not httpsig:
            if any(HTTPSIG.tag in line for line in message.fields.get("signature-input", ())):
                self._refuse_other_scheme(message)
            return self.signature(message, proved, now=now)
        key, keyid = self._key_of(message, proved, now=now)
        signature = read_signature(message, HTTPSIG)
        if signature is None:
            raise signature_missing(message, HTTPSIG)
        verified = verify_target(
            message,
            signature,
            key=key,
            keyid=keyid,
            scheme=self.names.issuer.partition("://")[0],
            expected_authorities=self.authorities,
            now=now,
            window_s=SIGNATURE_WINDOW_S,
        )
        if read_signature(message) is not None:
            other = self.signature(message, proved, now=now)
            if other is None or other.nonce != verified.nonce:
                raise defective(
                    message,
                    "two nonces",
                    "Both signatures of this request must have the same `nonce`. Send one `nonce`.",
                )
        return verified

    def _refuse_other_scheme(self, message: Message) -> None:
        if read_signature(message, HTTPSIG) is not None:
            raise defective(
                message,
                "httpsig-oauth with Bearer",
                "A signature with the tag `httpsig-oauth` needs `Authorization: HTTPSig <token>`.",
            )

    def _key_of(self, message: Message, proved: VerifiedToken, *, now: int) -> tuple[PublicKey | bytes, str]:
        """Return the key or HMAC secret to which a token is bound, and the required value of ``keyid``.

        Raises ``SignatureRequired`` for an unbound token.
        """
        token = proved.token
        match token.binding:
            case NoBinding():
                raise SignatureRequired(
                    "httpsig without a key",
                    path=message.path,
                    detail="This login has no key, so nothing can be verified. Send `Authorization: Bearer <token>`.",
                )
            case SecretBinding():
                secret = self._lineage_secret(token.lineage, proved.ring, now=now)
                if secret is None:
                    raise errors.Unavailable("the root of a genuine token is not in the ring")
                return secret.reveal(), token.lineage
            case KeyBinding():
                if token.key is None:
                    raise TokenInvalid("the token is bound to a key and does not contain it")
                return token.key, token.key.keyid

    def introduced(self, message: Message, key: PublicKey, *, now: int) -> VerifiedSignature:
        """Verify that a registration or login is signed with the key in its body."""
        try:
            return self._verify(message, key, key.keyid, now=now)
        except WrongKey:
            members = ",".join(f'"{name}":"{value}"' for name, value in key.to_jwk().items())
            raise WrongKey(
                "keyid is not the thumbprint of the key introduced",
                path=message.path,
                detail=f"`keyid` must be the JWK thumbprint (RFC 7638) of `device.public_key`: `{key.keyid}`.",
                hint=f"Compute it as the base64url, without padding, of the SHA-256 of `{{{members}}}`.",
            ) from None

    def last_login(self, message: Message, *, now: int) -> VerifiedSignature | None:
        """Verify that a login request is signed with the HMAC secret of the device's last login.

        Return ``None`` if the request has no signature. The ``keyid`` of the signature is the ``key_id`` in the answer
        of the last login.
        """
        signature = read_signature(message)
        if signature is None:
            return None
        lineage = LineageId(signature.keyid)
        if not _LINEAGE_ID.fullmatch(lineage):
            raise WrongKey(
                "keyid is no lineage id", detail="The keyid must be the key_id of an earlier login of this device."
            )
        secret = self._lineage_secret(lineage, self.key_ring.current(now=now), now=now)
        if secret is None:
            raise WrongKey(
                "the root of the last login is no longer in the ring",
                detail="The key_id is too old to be recognised. Log in without a signature.",
            )
        return self._verify(message, secret.reveal(), lineage, now=now)

    def _lineage_secret(self, lineage: LineageId, ring: Ring, *, now: int) -> Secret | None:
        """Derive the HMAC secret of a lineage. If the ring does not have the root secret, read the ring again."""
        return ring.lineage_secret(lineage) or self.key_ring.refreshed(now=now).lineage_secret(lineage)

    def _verify(self, message: Message, key: PublicKey | bytes, keyid: str, *, now: int) -> VerifiedSignature:
        signature = read_signature(message)
        if signature is None:
            raise signature_missing(message)
        return verify_signature(
            message,
            signature,
            key=key,
            expected_keyid=keyid,
            expected_authorities=self.authorities,
            now=now,
            window_s=SIGNATURE_WINDOW_S,
            tell_authorities=self.development,
        )


_LINEAGE_ID = re.compile("[A-Za-z0-9_-]{16}")


def read_token(text: str, *, ring: Ring, names: Names, clients: Clients) -> Token:
    """Verify and read a token, either a JWT or opaque. The caller must check its expiry and its kind.

    Raises:
        FieldTooLarge: the text is longer than 8 KB.
        UnknownKey: the ring does not have the key of the token.
        ConfigurationMismatch: the issuer, audience or client of a genuine token is not in the configuration.
        TokenInvalid: Baton did not issue the token, or a key signed the token after the key's period.

    """
    if len(text) > TOKEN_BYTES_MAX:
        raise errors.FieldTooLarge("token over 8 KB")
    try:
        if text.startswith(OPAQUE_PREFIX):
            return read_opaque(text, ring)
        return read_jwt(text, ring, names=names, clients=clients)
    except (ValueError, RecursionError, InvalidKey) as error:
        raise TokenInvalid(f"not a token: {type(error).__name__}") from None


_ATTEMPT = re.compile(rf"[!#-\[\]-~]{{{ATTEMPT_CHARACTERS_MIN},{ATTEMPT_CHARACTERS_MAX}}}\Z")


def attempt_header(message: Message) -> str | None:
    r"""Return the attempt in ``Idempotency-Key``, or ``None`` if it is missing. Quotes around the attempt are removed.

    Raises ``Malformed`` if the attempt is not 16 to 128 visible ASCII characters, or contains ``"`` or ``\``.
    """
    values = message.fields.get("idempotency-key")
    if values is None:
        return None
    value = values[0].strip(" \t")
    if len(value) >= 2 and value[0] == value[-1] == '"':  # noqa: PLR2004 - the two quotes
        value = value[1:-1]
    if not _ATTEMPT.match(value):
        raise errors.Malformed(
            "idempotency-key",
            detail=f"`Idempotency-Key` must have {ATTEMPT_CHARACTERS_MIN} to {ATTEMPT_CHARACTERS_MAX} visible ASCII "
            'characters without `"` and `\\`, with or without quotes around them.',
        )
    return value


def attempt_of(message: Message, signature: VerifiedSignature | None, entropy: Entropy) -> str:
    """Return the attempt: the header, or else the nonce of the signature, or else random bytes."""
    return attempt_header(message) or (signature.nonce if signature else None) or entropy(16).hex()
