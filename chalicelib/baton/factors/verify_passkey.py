"""Verify the two kinds of passkey data: the registration of a passkey, and an assertion by it (WebAuthn Level 3).

The library ``webauthn`` (py_webauthn) verifies the data, and is imported only for this. First, this module reads the
client data (`client_data`) and every CBOR value (`keys.cbor`) strictly. Strict reading is necessary because the library
accepts members that are given twice, bytes after the value, and CBOR tags. More rules:

1. ``attestationObject`` is rewritten to the format ``none`` before the library sees it. Baton requests no attestation,
   and the parsers of the other formats are attack surface.
2. Every exception of the library becomes ``InvalidPasskey``, even the ``KeyError`` that a key without ``alg`` causes.
3. The counter is not judged here. A counter that did not grow causes an event, but no refusal, because synced passkeys
have no counter.

The challenge is a ticket (`passkey_challenge`), which the caller opens. No I/O.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidSignature
from msgspec import Struct

from chalicelib.baton.factors.client_data import ClientData, read_client_data
from chalicelib.baton.factors.refusals import InvalidPasskey
from chalicelib.baton.keys.base64url import decode_base64url, encode_base64url
from chalicelib.baton.keys.cbor import encode_byte_string, read_cbor, read_cbor_at

ALGORITHMS: Final = (-7, -8, -257)
"""ES256, EdDSA and RS256, in the order of preference: every platform has one of them."""
TRANSPORTS: Final = frozenset({"ble", "cable", "hybrid", "internal", "nfc", "smart-card", "usb"})
CREDENTIAL_ID_BYTES_MAX: Final = 1023
"""The maximum length of a credential id, in bytes (WebAuthn Level 3, section 4)."""
PASSKEY_KEY_BYTES_MAX: Final = 600
"""The maximum length of a COSE key, in bytes. P-256 needs 77, Ed25519 needs 42, and RSA with 4,096 bits needs 530."""
ANDROID_ORIGIN: Final = "android:apk-key-hash:"

_UP, _UV, _BE, _BS, _AT, _ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
_FIXED: Final = 37
"""The length of the fixed part of authenticator data, in bytes: hash of the RP ID, flags and counter."""
_AAGUID_BYTES: Final = 16
_COSE_ALGORITHM: Final = 3
_HINT_CHARACTERS_MAX: Final = 400

T = TypeVar("T")


class Assertion(Struct, frozen=True):
    """The parts of an assertion, decoded and not verified. ``user_handle``: ``None`` if the client sent none."""

    credential_id: bytes
    client_data: ClientData
    client_data_json: bytes
    authenticator_data: bytes
    signature: bytes
    user_handle: bytes | None


class Registration(Struct, frozen=True):
    """The parts of a registration, decoded and not verified."""

    credential_id: bytes
    client_data: ClientData
    client_data_json: bytes
    attestation_object: bytes
    transports: tuple[str, ...]


class Asserted(Struct, frozen=True):
    """The facts of a verified assertion: the counter, whether the passkey can be synced, and whether it is synced."""

    counter: int
    backup_eligible: bool
    backed_up: bool


class Registered(Struct, frozen=True):
    """A verified new passkey. ``public_key``: a COSE key. ``aaguid``: the model of the authenticator, or zeros."""

    credential_id: bytes
    public_key: bytes
    counter: int
    backup_eligible: bool
    backed_up: bool
    transports: tuple[str, ...]
    aaguid: bytes


class _AuthenticatorData(Struct, frozen=True):
    flags: int
    counter: int
    aaguid: bytes = b""
    credential_id: bytes = b""
    public_key: bytes = b""


def read_assertion(credential: Mapping[str, Any]) -> Assertion:
    """Read an assertion in WebAuthn JSON (``toJSON()``). Unknown members are ignored. Raises ``InvalidPasskey``."""
    credential_id, response = _credential(credential)
    client_data_json = _bytes(response, "clientDataJSON")
    return Assertion(
        credential_id,
        _client_data(client_data_json),
        client_data_json,
        _bytes(response, "authenticatorData"),
        _bytes(response, "signature"),
        None if response.get("userHandle") is None else _bytes(response, "userHandle"),
    )


def read_registration(credential: Mapping[str, Any]) -> Registration:
    """Read a registration in WebAuthn JSON. Every unknown member or transport is ignored. Raises ``InvalidPasskey``."""
    credential_id, response = _credential(credential)
    client_data_json = _bytes(response, "clientDataJSON")
    transports = response.get("transports", [])
    named = {one for one in transports if isinstance(one, str)} if isinstance(transports, list) else set[str]()
    return Registration(
        credential_id,
        _client_data(client_data_json),
        client_data_json,
        _bytes(response, "attestationObject"),
        tuple(sorted(named & TRANSPORTS)),
    )


def verify_assertion(
    assertion: Assertion, *, rp_id: str, origins: Sequence[str], public_key: bytes, user_verified: bool
) -> Asserted:
    """Verify an assertion with the COSE key of a passkey. ``user_verified``: require a PIN or biometry.

    Raises ``InvalidPasskey``, whose ``hint`` names the check that failed.
    """
    facts = _checked("authenticatorData", lambda: _authenticator_data(assertion.authenticator_data, attested=False))

    def verify() -> None:
        from webauthn.authentication.verify_authentication_response import (  # noqa: PLC0415 - cold start
            verify_authentication_response,
        )
        from webauthn.helpers.structs import (  # noqa: PLC0415 - cold start
            AuthenticationCredential,
            AuthenticatorAssertionResponse,
        )

        verify_authentication_response(
            credential=AuthenticationCredential(
                id=encode_base64url(assertion.credential_id),
                raw_id=assertion.credential_id,
                response=AuthenticatorAssertionResponse(
                    client_data_json=assertion.client_data_json,
                    authenticator_data=assertion.authenticator_data,
                    signature=assertion.signature,
                    user_handle=assertion.user_handle,
                ),
            ),
            expected_challenge=decode_base64url(assertion.client_data.challenge),
            expected_rp_id=rp_id,
            expected_origin=_accepted(origins),
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=user_verified,
        )

    _by_library(verify)
    return Asserted(facts.counter, bool(facts.flags & _BE), bool(facts.flags & _BS))


def verify_silent_assertion(assertion: Assertion, *, rp_id: str, origins: Sequence[str], public_key: bytes) -> None:
    """Verify an assertion without user presence. A restore key on a new phone makes such an assertion.

    The library's function for assertions requires user presence. So Baton makes the other checks of that function here.
    Raises ``InvalidPasskey``, whose ``hint`` names the check that failed.
    """
    facts = _checked("authenticatorData", lambda: _authenticator_data(assertion.authenticator_data, attested=False))
    client_data, accepted = assertion.client_data, _accepted(origins)
    if client_data.type != "webauthn.get":
        raise _invalid(f'type: expected "webauthn.get", seen "{client_data.type}"')
    if client_data.origin not in accepted:
        raise _invalid(f'origin: expected one of {accepted}, seen "{client_data.origin}"')
    if assertion.authenticator_data[:32] != hashlib.sha256(rp_id.encode()).digest():
        raise _invalid("authenticatorData: of another RP ID")
    if facts.flags & _BS and not facts.flags & _BE:
        raise _invalid("authenticatorData: backed up, and not eligible for it")

    def verify() -> None:
        from webauthn.helpers import (  # noqa: PLC0415 - cold start
            decode_credential_public_key,
            decoded_public_key_to_cryptography,
            verify_signature,
        )
        from webauthn.helpers.exceptions import InvalidAuthenticationResponse  # noqa: PLC0415 - cold start

        key = decode_credential_public_key(public_key)
        signed = assertion.authenticator_data + hashlib.sha256(assertion.client_data_json).digest()
        try:
            verify_signature(
                public_key=decoded_public_key_to_cryptography(key),
                signature_alg=key.alg,
                signature=assertion.signature,
                data=signed,
            )
        except InvalidSignature:
            raise InvalidAuthenticationResponse("Could not verify authentication signature") from None

    _by_library(verify)


def verify_registration(
    registration: Registration, *, rp_id: str, origins: Sequence[str], user_present: bool
) -> Registered:
    """Verify a new passkey. ``user_present``: refuse a passkey that was made without a gesture of the person.

    Raises ``InvalidPasskey``, whose ``hint`` names the check that failed.
    """
    facts, rewritten = _checked("attestationObject", lambda: _attested(registration))

    def verify() -> None:
        from webauthn.helpers import (  # noqa: PLC0415 - cold start
            decode_credential_public_key,
            decoded_public_key_to_cryptography,
        )
        from webauthn.helpers.structs import (  # noqa: PLC0415 - cold start
            AuthenticatorAttestationResponse,
            RegistrationCredential,
        )
        from webauthn.registration.verify_registration_response import (  # noqa: PLC0415 - cold start
            verify_registration_response,
        )

        verify_registration_response(
            credential=RegistrationCredential(
                id=encode_base64url(registration.credential_id),
                raw_id=registration.credential_id,
                response=AuthenticatorAttestationResponse(
                    client_data_json=registration.client_data_json, attestation_object=rewritten
                ),
            ),
            expected_challenge=decode_base64url(registration.client_data.challenge),
            expected_rp_id=rp_id,
            expected_origin=_accepted(origins),
            require_user_presence=user_present,
        )
        # Without an attestation, the new key signs nothing, so the library has not decoded it. Refuse a bad key here.
        decoded_public_key_to_cryptography(decode_credential_public_key(facts.public_key))

    _by_library(verify)
    return Registered(
        facts.credential_id,
        facts.public_key,
        facts.counter,
        bool(facts.flags & _BE),
        bool(facts.flags & _BS),
        registration.transports,
        facts.aaguid,
    )


def _by_library(verify: Callable[[], None]) -> None:
    try:
        verify()
    except Exception as error:  # noqa: BLE001 - the library parses bytes of a stranger, and can raise any error
        from webauthn.helpers.exceptions import WebAuthnException  # noqa: PLC0415 - cold start

        # The messages of the library name the check, the expected and the received value. They have no secret.
        raise _invalid(str(error) if isinstance(error, WebAuthnException) else "the credential is malformed") from None


def _attested(registration: Registration) -> tuple[_AuthenticatorData, bytes]:
    """Read ``attestationObject`` and write it again without the attestation. Raises ``ValueError``."""
    attestation = read_cbor(registration.attestation_object)
    if not isinstance(attestation, dict) or attestation.keys() != {"fmt", "attStmt", "authData"}:
        raise ValueError("the members must be `fmt`, `attStmt` and `authData`")
    authenticator_data = attestation["authData"]
    if not isinstance(authenticator_data, bytes):
        raise ValueError("`authData` must be a byte string")  # noqa: TRY004 - of the content
    facts = _authenticator_data(authenticator_data, attested=True)
    if facts.credential_id != registration.credential_id:
        raise ValueError("it is for another credential id")
    none = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData"
    return facts, none + encode_byte_string(authenticator_data)


def _authenticator_data(value: bytes, *, attested: bool) -> _AuthenticatorData:
    """Read authenticator data (WebAuthn Level 3, 6.1). Raises ``ValueError``, for example if bytes follow the data."""
    if len(value) < _FIXED:
        raise ValueError(f"fewer than {_FIXED} bytes")
    flags, counter, end = value[32], int.from_bytes(value[33:_FIXED], "big"), _FIXED
    if bool(flags & _AT) is not attested:
        raise ValueError("a registration has a new key, and an assertion has none")
    aaguid = credential_id = public_key = b""
    if attested:
        aaguid, end = value[end : end + _AAGUID_BYTES], end + _AAGUID_BYTES
        length, end = int.from_bytes(value[end : end + 2], "big"), end + 2
        credential_id, end = value[end : end + length], end + length
        start = end
        key, end = read_cbor_at(value, start)
        public_key = value[start:end]
        if not isinstance(key, dict) or key.get(_COSE_ALGORITHM) not in ALGORITHMS:
            raise ValueError(f"the algorithm of the key must be one of {', '.join(map(str, ALGORITHMS))}")
        if len(public_key) > PASSKEY_KEY_BYTES_MAX:
            raise ValueError(f"the key has more than {PASSKEY_KEY_BYTES_MAX} bytes")
    if flags & _ED:
        extensions, end = read_cbor_at(value, end)
        if not isinstance(extensions, dict):
            raise ValueError("the extensions must be a map")
    if end != len(value):
        raise ValueError("bytes follow the data")
    return _AuthenticatorData(flags, counter, aaguid, credential_id, public_key)


def _credential(credential: Mapping[str, Any]) -> tuple[bytes, Mapping[str, Any]]:
    """Return the id of a credential and its response."""
    if credential.get("type") != "public-key" or credential.get("id") != credential.get("rawId"):
        raise _invalid('credential: `type` must be "public-key", and `id` and `rawId` must be the same')
    credential_id = _bytes(credential, "id")
    response = credential.get("response")
    if not 1 <= len(credential_id) <= CREDENTIAL_ID_BYTES_MAX or not isinstance(response, dict):
        raise _invalid(f"credential: `id` has 1 to {CREDENTIAL_ID_BYTES_MAX} bytes, and `response` is an object")
    return credential_id, response


def _bytes(members: Mapping[str, Any], name: str) -> bytes:
    value = members.get(name)
    try:
        if isinstance(value, str):
            return decode_base64url(value)
    except ValueError:
        pass
    raise _invalid(f"{name}: must be base64url without padding, as `toJSON()` writes it")


def _client_data(value: bytes) -> ClientData:
    return _checked("clientDataJSON", lambda: read_client_data(value))


def _checked(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ValueError as error:
        raise _invalid(f"{what}: {error}") from None


def _accepted(origins: Sequence[str]) -> list[str]:
    """Return every accepted spelling of the origins. Some Android phones pad the hash of an app with ``=``."""
    return [*origins, *(f"{one}=" for one in origins if one.startswith(ANDROID_ORIGIN))]


def _invalid(hint: str) -> InvalidPasskey:
    return InvalidPasskey(hint[:_HINT_CHARACTERS_MAX], hint=hint[:_HINT_CHARACTERS_MAX])
