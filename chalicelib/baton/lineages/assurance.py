"""The ways in which a person can be authenticated. Each has an ``acr``, an ``amr`` and a stored code. No I/O.

``acr`` is a level of ``policy.ACR_LEVELS``. ``amr`` has the methods of RFC 8176. ``recovery`` is Baton's own method:
RFC 8176 has no method for a recovery code. For a new way of authentication, add a row to ``ASSURANCES``. Never give the
code of a row another meaning.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal

from chalicelib.baton.lineages.model import Assurance, Attestation

Attested = Literal["app", "tee", "strongbox"]

PASSWORD: Final = Assurance(acr="aal1", amr=("pwd",))
PASSWORD_AND_TOTP: Final = Assurance(acr="aal2", amr=("pwd", "otp", "mfa"))
PASSWORD_AND_RECOVERY_CODE: Final = Assurance(acr="aal2", amr=("pwd", "recovery", "mfa"))
PASSWORD_AND_PASSKEY: Final = Assurance(acr="phr", amr=("pwd", "pop", "user", "mfa"))
PASSKEY: Final = Assurance(acr="phr", amr=("pop", "user", "mfa"))
"""Only a passkey. The authenticator verified the person, by PIN or biometry."""
PASSWORD_ON_REMEMBERED_KEY: Final = Assurance(acr="aal2", amr=("pwd", "pop", "mfa"))
RESTORED: Final = Assurance(acr="0", amr=("pop",))
"""A login restored on a new phone. The phone proved the restore key, and no person proved anything."""
TOTP_ALONE: Final = Assurance(acr="aal1", amr=("otp",))
"""For a step-up only. A code of an authenticator app never replaces the password: a thief of the phone has the app."""

PROVIDER: Final = Assurance(acr="aal1", amr=("fed",))
"""An identity provider (`federation`), without a second factor. It has the same level as a password alone."""
PROVIDER_AND_TOTP: Final = Assurance(acr="aal2", amr=("fed", "otp", "mfa"))
PROVIDER_AND_RECOVERY_CODE: Final = Assurance(acr="aal2", amr=("fed", "recovery", "mfa"))
PROVIDER_AND_PASSKEY: Final = Assurance(acr="phr", amr=("fed", "pop", "user", "mfa"))
PROVIDER_ON_REMEMBERED_KEY: Final = Assurance(acr="aal2", amr=("fed", "pop", "mfa"))

ASSURANCES: Final[Mapping[int, Assurance]] = {
    1: PASSWORD,
    2: PASSWORD_AND_TOTP,
    3: PASSWORD_AND_RECOVERY_CODE,
    4: PASSWORD_AND_PASSKEY,
    5: PASSKEY,
    6: PASSWORD_ON_REMEMBERED_KEY,
    7: RESTORED,
    8: TOTP_ALONE,
    9: PROVIDER,
    10: PROVIDER_AND_TOTP,
    11: PROVIDER_AND_RECOVERY_CODE,
    12: PROVIDER_AND_PASSKEY,
    13: PROVIDER_ON_REMEMBERED_KEY,
}
CODES: Final = {assurance: code for code, assurance in ASSURANCES.items()}

_BY_PROVIDER: Final = {
    PASSWORD: PROVIDER,
    PASSWORD_AND_TOTP: PROVIDER_AND_TOTP,
    PASSWORD_AND_RECOVERY_CODE: PROVIDER_AND_RECOVERY_CODE,
    PASSWORD_AND_PASSKEY: PROVIDER_AND_PASSKEY,
    PASSWORD_ON_REMEMBERED_KEY: PROVIDER_ON_REMEMBERED_KEY,
}

APPLE_CODE: Final = 1
"""The code of the provider of kind ``apple``."""
PROVIDERS_MAX: Final = 15
"""The highest code of an identity provider."""
_CODES_MAX: Final = 64
_ATTESTATIONS_MAX: Final = 8
"""A lineage stores one number: the code in ``ASSURANCES``, plus 64 times the attestation, plus 512 times the code of
the provider."""

_ATTESTED: Final[Mapping[Attestation, Attested]] = {
    Attestation.APP: "app",
    Attestation.APP_IN_DEVELOPMENT: "app",
    Attestation.TEE: "tee",
    Attestation.STRONGBOX: "strongbox",
}
_HARDWARE_KEY: Final = "hwk"
"""The value of ``amr`` for a key that an attestation proves to be in hardware (RFC 8176). A login with App Attest does
not get this value: App Attest proves the app, but not where the key of the device is."""


def assurance_number(assurance: Assurance, attestation: Attestation = Attestation.NONE, provider: int = 0) -> int:
    """Return the one number that stores a way of authentication, an attestation and the code of a provider.

    Raises ``ValueError`` unless ``provider`` is 0 (none) to ``PROVIDERS_MAX``.
    """
    if not 0 <= provider <= PROVIDERS_MAX:
        raise ValueError("the code of a provider is 1 to 15, or 0 for none")
    return CODES[assurance] + _CODES_MAX * (attestation + _ATTESTATIONS_MAX * provider)


@lru_cache(maxsize=64)
def read_assurance(number: int) -> tuple[Assurance, Attestation, int]:
    """Decode a stored number. Return its way of authentication, its attestation, and the code of its provider.

    Raises ``KeyError`` or ``ValueError`` if ``number`` has an unknown code, attestation or provider.
    """
    above, code = divmod(number, _CODES_MAX)
    provider, attestation = divmod(above, _ATTESTATIONS_MAX)
    if not 0 <= provider <= PROVIDERS_MAX:
        raise ValueError("not the code of a provider")
    return ASSURANCES[code], Attestation(attestation), provider


def attested_as(attestation: Attestation) -> Attested | None:
    """Return the value of the claim ``attested`` for an attestation. ``None``: nothing is attested."""
    return _ATTESTED.get(attestation)


def amr_of(assurance: Assurance, attestation: Attestation) -> tuple[str, ...]:
    """Return the ``amr`` of a login. It includes ``hwk`` if an attestation proves that the key is in hardware."""
    hardware = attestation in {Attestation.TEE, Attestation.STRONGBOX}
    return (*assurance.amr, _HARDWARE_KEY) if hardware else assurance.amr


def by_provider(assurance: Assurance) -> Assurance:
    """Return ``assurance`` with an identity provider in place of the password.

    An assurance without a password is returned unchanged.
    """
    return _BY_PROVIDER.get(assurance, assurance)
