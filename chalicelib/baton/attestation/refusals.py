"""Errors of attestation."""

from chalicelib.baton.attestation.rules import Reason
from chalicelib.baton.errors import Refusal


class AttestationChallengeInvalid(Refusal):
    """The challenge of the evidence is altered, of another client, or older than 24 hours."""

    error = code = "attestation_challenge_invalid"
    action = "attest"
    detail = (
        "The challenge is not valid, or is older than 24 hours. Get a new one from `POST /attestation-challenge`, and "
        "make evidence for it."
    )


class AttestationFailed(Refusal):
    """The evidence does not prove what the client requires. ``reason`` names the check."""

    status = 403
    error = code = "attestation_failed"
    detail = "The evidence is refused: `reason` names the check. The same evidence will be refused again."


class AttestationFailedOnce(Refusal):
    """The evidence is refused with ``reason`` ``key`` or ``counter``. Evidence of a new key can be accepted.

    On Android, the app must log in with the new key.
    """

    status = 403
    error = code = "attestation_failed"
    action = "attest"
    detail = (
        "The evidence is refused: `reason` names the check. On iOS, make a new App Attest key, and send evidence of "
        "this key. On Android, make a new device key, and log in with this key and its evidence."
    )


def failed(reason: Reason, why: str) -> Refusal:
    """Return the refusal of evidence. ``why`` is only for the log."""
    if reason in {"key", "counter"}:
        return AttestationFailedOnce(why, reason=reason)
    return AttestationFailed(why, reason=reason)
